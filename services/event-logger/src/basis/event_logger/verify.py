"""Is a sealed run still what was sealed? Reads every line; needs no NATS."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from basis.event_logger import files
from basis.event_logger.core.canonical import order_of
from basis.event_logger.core.lines import Lines, from_keyed, merged, orders_of
from basis.event_logger.core.plan import event_path
from basis.event_logger.directories import METADATA, LogDirectoryManager, RunDir
from basis.models.errors import ComponentError
from basis.models.events import EVENT_MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from basis.models.messages import FileSeal, RunMetadata

_EXAMPLES: Final = 3
"""Bad lines named in full for each file; the rest are counted."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found."""

    correlation_id: str
    """Run."""
    directory: str
    """Where it is."""
    files: int
    """Files read."""
    events: int
    """Event lines read."""
    event_hash: str | None
    """SHA-256 of the canonical log as it is now; None where a line is no event."""
    problems: tuple[str, ...]
    """Each difference in plain words; empty where the run is as sealed."""

    @property
    def ok(self) -> bool:
        """True where nothing differs."""
        return not self.problems


def verify(run: RunDir) -> VerifyReport:
    """Compare a run's files with its ``run_metadata.json``, and every event with its model.

    Args:
        run: from ``LogDirectoryManager.find`` or ``.runs``.

    Raises:
        InputError: RUN-001, no metadata there.
        OSError: a file cannot be read.
    """
    try:
        metadata = LogDirectoryManager(run.path.parent.parent).read_metadata(run)
    except ComponentError as error:
        if error.error_code != "LOG-004":
            raise
        return VerifyReport(run.correlation_id, str(run.path), 0, 0, None, (f"{METADATA} is damaged: {error.message}",))
    present = {path.relative_to(run.path).as_posix(): path for path in sorted(run.path.rglob("*")) if path.is_file()}
    found = {name: files.inspect(path).seal for name, path in present.items() if name != METADATA}
    known = {event_path(name): name for name in EVENT_MODELS}
    events = {name: present[name] for name in found if name in known}
    problems = [*_of_metadata(run, metadata), *_of_files(metadata, found)]
    for name, path in events.items():
        problems += _of_lines(run, name, known[name], path)
    problems += _of_orders(events)
    event_hash = _hash(run, events)
    if event_hash != metadata.event_hash and metadata.sealed_at is not None:
        problems.append(f"event hash is {event_hash}, sealed as {metadata.event_hash}")
    lines = sum(found[name].count for name in events)
    return VerifyReport(run.correlation_id, str(run.path), len(found), lines, event_hash, tuple(problems))


def _of_metadata(run: RunDir, metadata: RunMetadata) -> Iterator[str]:
    if (metadata.correlation_id, metadata.pid) != (run.correlation_id, run.pid):
        yield f"{METADATA} is that of run {metadata.correlation_id}, pid {metadata.pid}"
    if metadata.sealed_at is None:
        yield f"the run is not sealed: status {metadata.status}"
    if metadata.seal_error is not None:
        yield f"sealed with an error: {metadata.seal_error}"


def _of_files(metadata: RunMetadata, found: Mapping[str, FileSeal]) -> Iterator[str]:
    if metadata.sealed_at is None:
        return
    for name in sorted(metadata.files.keys() | found.keys()):
        then, now = metadata.files.get(name), found.get(name)
        if now is None:
            yield f"{name} is missing"
        elif then is None:
            yield f"{name} was not there when the run was sealed"
        elif now.count != then.count:
            yield f"{name} has {now.count} lines, sealed with {then.count}"
        elif now.sha256 != then.sha256:
            yield f"{name} is changed: SHA-256 {now.sha256}, sealed as {then.sha256}"
    for event_type, count in sorted(metadata.counts.items()):
        seal = metadata.files.get(event_path(event_type))
        if seal is None or seal.count != count:
            yield f"{METADATA} contradicts itself on the number of {event_type}"


def _of_lines(run: RunDir, name: str, event_type: str, path: Path) -> Iterator[str]:
    bad = list(_bad_lines(run, event_type, path))
    yield from (f"{name} {reason}" for reason in islice(bad, _EXAMPLES))
    if len(bad) > _EXAMPLES:
        yield f"{name} has {len(bad) - _EXAMPLES} more bad lines"


def _bad_lines(run: RunDir, event_type: str, path: Path) -> Iterator[str]:
    model, number = EVENT_MODELS[event_type], 0
    for block in files.blocks(path):
        for line in block.split(b"\n")[: None if not block.endswith(b"\n") else -1]:
            number += 1
            try:
                event = model.model_validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(map(str, first["loc"]))
                yield f"line {number} is no {model.__name__}: {where + ': ' if where else ''}{first['msg']}"
                continue
            if (event.correlation_id, event.pid) != (run.correlation_id, run.pid):
                yield f"line {number} belongs to run {event.correlation_id}, pid {event.pid}"


def _of_orders(events: Mapping[str, Path]) -> Iterator[str]:
    """Orders must ascend within a file and be unique in the run."""
    seen: Counter[str] = Counter()
    sources = [_orders(name, path, seen) for name, path in events.items()]
    before = -1
    repeated: list[int] = []
    for parts in merged(sources):
        for order in orders_of(parts):
            if order == before:
                repeated.append(order)
            before = order
    for name, count in sorted(seen.items()):
        yield f"{name} is out of order at {count} lines"
    if repeated:
        yield f"{len(repeated)} orders occur more than once, the first is {repeated[0]}"


def _orders(name: str, path: Path, disorder: Counter[str]) -> Iterator[Lines]:
    last = -1
    for block in files.blocks(path):
        ascending = []
        for line in block.splitlines():
            try:
                order = order_of(line)
            except ValueError:  # told of with its line number, as no event
                continue
            if order > last:
                ascending.append((order, b""))
                last = order
            else:
                disorder[name] += 1
        if ascending:
            yield from_keyed(ascending)


def _hash(run: RunDir, events: Mapping[str, Path]) -> str | None:
    try:
        return files.event_hash(events.values(), run.correlation_id)
    except ValueError:  # told of with its line number, as no event
        return None
