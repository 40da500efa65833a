"""``basis runs``, ``basis events``, ``basis verify``: reading what runs left behind; needs no NATS."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import orjson

from basis.cli.output import Rows, print_json, print_rows, refusal
from basis.event_logger.directories import LogDirectoryManager
from basis.event_logger.verify import verify as verify_run
from basis.models.errors import ComponentError, InputError
from basis.models.events import EVENT_MODELS
from basis.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from basis.models.messages import RunMetadata


def _guarded(work: Callable[[LogDirectoryManager], int], logs: Path | None, *, as_json: bool) -> int:
    """Run a read command on the log root; a refusal is one line and exit code 2."""
    try:
        return work(LogDirectoryManager(logs or Settings().logs_dir))
    except ComponentError as error:
        return refusal(error, 2, as_json=as_json)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
        return 0


def _summary(metadata: RunMetadata) -> dict[str, object]:
    result = metadata.result
    return {
        "correlation_id": metadata.correlation_id,
        "strategy": metadata.strategy,
        "mode": metadata.mode,
        "status": metadata.status,
        "started_at": metadata.started_at.isoformat(),
        "start_time": metadata.start_time.isoformat(),
        "end_time": metadata.end_time.isoformat() if metadata.end_time is not None else None,
        "ticks": metadata.ticks,
        "initial_capital": metadata.initial_capital,
        "share_class": metadata.share_class,
        "final_value": result.final_value if result else None,
        "total_return": result.total_return if result else None,
        "event_hash": metadata.event_hash,
        "error_code": metadata.error_code,
        "error": metadata.error,
    }


def list_runs(logs: Path | None, *, as_json: bool) -> int:
    """All runs under the log root, newest first."""

    def work(manager: LogDirectoryManager) -> int:
        found = [_summary(manager.read_metadata(run)) for run in manager.runs()]
        found.sort(key=lambda run: str(run["started_at"]), reverse=True)
        if as_json:
            return print_json(found)
        names = ("correlation_id", "strategy", "status", "ticks", "final_value", "total_return", "started_at")
        return print_rows(
            Rows(f"{len(found)} runs in {manager.root}", names, [[run[name] for name in names] for run in found])
        )

    return _guarded(work, logs, as_json=as_json)


def show(correlation_id: str, logs: Path | None, *, as_json: bool) -> int:
    """``run_metadata.json`` of a run."""

    def work(manager: LogDirectoryManager) -> int:
        run = manager.find(correlation_id)
        metadata = manager.read_metadata(run)
        if as_json:
            return print_json(metadata.model_dump(mode="json") | {"log_directory": str(run.path)})
        plain = _summary(metadata) | {"log_directory": str(run.path)}
        if metadata.result is not None:
            plain |= {f"fees.{kind}": paid for kind, paid in metadata.result.fees.items()}
            plain |= {f"attribution.{cause}": part for cause, part in metadata.result.attribution.items() if part}
        plain |= {f"events.{name}": count for name, count in metadata.counts.items()}
        return print_rows(Rows(f"run {correlation_id}", ("", ""), [[name, value] for name, value in plain.items()]))

    return _guarded(work, logs, as_json=as_json)


def compare(first: str, second: str, logs: Path | None, *, as_json: bool) -> int:
    """Two runs side by side; exit code 1 where their canonical logs differ."""

    def work(manager: LogDirectoryManager) -> int:
        runs = [manager.read_metadata(manager.find(cid)) for cid in (first, second)]
        same = runs[0].event_hash is not None and runs[0].event_hash == runs[1].event_hash
        left, right = (_flat(run) for run in runs)
        different = {
            name: [left.get(name), right.get(name)] for name in left | right if left.get(name) != right.get(name)
        }
        if as_json:
            print_json({"same_events": same, "different": different})
        else:
            title = "the same events" if same else "different events"
            print_rows(Rows(title, ("", first[:8], second[:8]), [[name, *pair] for name, pair in different.items()]))
        return 0 if same else 1

    return _guarded(work, logs, as_json=as_json)


def _flat(run: RunMetadata) -> dict[str, object]:
    plain: dict[str, object] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else str(name), inner)
        else:
            plain[prefix] = value

    skipped = {"correlation_id", "pid", "files", "started_at", "ended_at", "sealed_at"}
    walk("", {name: value for name, value in run.model_dump(mode="json").items() if name not in skipped})
    return plain


def events(correlation_id: str, event_type: str | None, logs: Path | None, limit: int | None, *, as_json: bool) -> int:
    """Event lines of a run as they are on disk, or the number of lines of each type."""

    def work(manager: LogDirectoryManager) -> int:
        run = manager.find(correlation_id)
        if event_type is None:
            counts = {name: _lines(run.events / f"{name}.jsonl") for name in EVENT_MODELS}
            if as_json:
                return print_json(counts)
            return print_rows(
                Rows(f"events of {correlation_id}", ("type", "lines"), [list(pair) for pair in counts.items()])
            )
        if event_type not in EVENT_MODELS:
            raise InputError("RUN-001", f"unknown event type {event_type!r}; known: {', '.join(EVENT_MODELS)}", "cli")
        path = run.events / f"{event_type}.jsonl"
        if path.exists():
            with path.open("rb") as file:
                for number, line in enumerate(file):
                    if limit is not None and number >= limit:
                        break
                    sys.stdout.write(line.decode())
        return 0

    return _guarded(work, logs, as_json=as_json)


def _lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def verify(correlation_id: str, logs: Path | None, *, as_json: bool) -> int:
    """Re-check a sealed run; exit code 1 where it is not what was sealed."""

    def work(manager: LogDirectoryManager) -> int:
        report = verify_run(manager.find(correlation_id))
        if as_json:
            body = {name: getattr(report, name) for name in report.__slots__} | {"ok": report.ok}
            sys.stdout.write(orjson.dumps(body).decode() + "\n")
        elif report.ok:
            print(
                f"{correlation_id}: as sealed, {report.files} files, {report.events:,} events, hash {report.event_hash}"
            )
        for problem in () if as_json else report.problems:
            print(f"basis: [LOG-004] {correlation_id}: {problem}", file=sys.stderr)
        return 0 if report.ok else 1

    return _guarded(work, logs, as_json=as_json)
