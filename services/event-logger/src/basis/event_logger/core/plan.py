"""What to do with messages of the event stream: which payload goes to the end of which file."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple

from basis.event_logger.core.canonical import order_of
from basis.event_logger.core.journal import EarlyLine, FileMark, Position, Record

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

EARLY_BYTES = 256_000
"""Room for the early log lines of one run; what is more is dropped with a warning."""
EARLY_RUNS = 64
"""Runs whose early log lines wait at once; the oldest give way."""

Kind = Literal["events", "logs", "start", "end", "ignored"]

_CID = re.compile("[0-9a-f]{32}")
_RUN_KINDS: Mapping[str, Kind] = {"start": "start", "end": "end", "sealed": "ignored"}
"""``sealed`` is our own word to the engine."""


class Incoming(NamedTuple):
    """A message of the stream."""

    seq: int
    """Stream sequence."""
    subject: str
    """``basis.<cid>.<...>``."""
    payload: bytes
    """NDJSON lines, or a run message."""
    orders: str | None = None
    """Header ``Basis-Orders``, ``first:last:count``."""
    behind: int = 0
    """Messages of the stream that wait behind this one."""


class Target(NamedTuple):
    """Where a subject leads."""

    kind: Kind
    cid: str
    name: str
    """Event type or component; empty for the rest."""


class Plan(NamedTuple):
    """Appends of one batch, and the journal record that is true once they are done."""

    appends: dict[str, dict[str, list[bytes]]]
    """correlation_id -> path relative to the run's directory -> payloads in sequence."""
    record: Record
    """To be written to the journal after them."""
    warnings: tuple[str, ...]
    """What was dropped, and why; for stderr."""


def target(subject: str, event_types: Container[str], components: Container[str]) -> Target:
    """Where a subject leads; ``ignored`` with the reason as name where nothing can come of it."""
    tokens = subject.split(".")
    if len(tokens) != 4 or tokens[0] != "basis" or not is_cid(tokens[1]):
        return Target("ignored", "", f"{subject}: no subject of a run")
    _, cid, group, name = tokens
    if group == "run" and name in _RUN_KINDS:
        return Target(_RUN_KINDS[name], cid, "")
    if group == "events" and name in event_types:
        return Target("events", cid, name)
    if group == "logs" and name in components:
        return Target("logs", cid, name)
    return Target("ignored", cid, f"{subject}: unknown event type or component")


def is_cid(text: str) -> bool:
    """True for 32 lower-case hex digits: nothing else ever touches a path."""
    return _CID.fullmatch(text) is not None


def segments(
    messages: Sequence[Incoming], event_types: Container[str], components: Container[str]
) -> Iterator[tuple[Kind, list[tuple[Incoming, Target]]]]:
    """Split at the starts and ends of runs, which stand alone; the kind of all between is ``events``."""
    routed = [(message, target(message.subject, event_types, components)) for message in messages]

    def key(item: tuple[Incoming, Target]) -> tuple[Kind, int]:
        kind = item[1].kind
        return (kind, item[0].seq) if kind in {"start", "end"} else ("events", 0)

    for (kind, _), group in groupby(routed, key):
        yield kind, list(group)


def plan(position: Position, routed: Sequence[tuple[Incoming, Target]], sealed: Container[str]) -> Plan:
    """Appends for messages between two starts or ends of runs.

    Args:
        position: what is in the files.
        routed: messages in the sequence of the stream, all after the position, none of them a start or an end.
        sealed: runs that are sealed: what still comes for them is dropped.
    """
    work = _Work(position, sealed)
    for message, where in routed:
        match where.kind:
            case "events":
                work.events(message, where)
            case "logs":
                work.log(message, where)
            case _ if where.name:
                work.warnings.append(where.name)
    return Plan(
        work.appends,
        Record(routed[-1][0].seq, files=work.marks, early=work.early),
        tuple(dict.fromkeys(work.warnings)),
    )


class _Work:
    """The plan while it grows; seen by :func:`plan` alone."""

    def __init__(self, position: Position, sealed: Container[str]) -> None:
        self._position = position
        self._sealed = sealed
        self.appends: dict[str, dict[str, list[bytes]]] = {}
        self.marks: dict[str, dict[str, FileMark]] = {}
        self.early: dict[str, tuple[EarlyLine, ...]] = {}
        self.warnings: list[str] = []

    def _mark(self, cid: str, path: str) -> FileMark:
        return self.marks.get(cid, {}).get(path) or self._position.runs[cid].files.get(path) or FileMark(0, -1)

    def _append(self, cid: str, path: str, payload: bytes, last: int) -> None:
        mark = self._mark(cid, path)
        parts = self.appends.setdefault(cid, {}).setdefault(path, [])
        parts.append(payload)
        size = mark.size + len(payload)
        if not payload.endswith(b"\n"):
            parts.append(b"\n")
            size += 1
        self.marks.setdefault(cid, {})[path] = FileMark(size, last)

    def events(self, message: Incoming, where: Target) -> None:
        """Events: what is at or below the file's last order was written before."""
        cid = where.cid
        if cid not in self._position.runs:
            why = "sealed" if cid in self._sealed else "not started"
            self.warnings.append(f"{message.subject}: events of a run that is {why} are dropped")
            return
        path = event_path(where.name)
        mark = self._mark(cid, path)
        payload = message.payload
        try:
            first, last = _range(message)
            if last <= mark.last or not payload:
                return
            if first <= mark.last:
                payload = _above(payload, mark.last)
        except ValueError as error:
            self.warnings.append(f"{message.subject}: malformed events are dropped: {error}")
            return
        self._append(cid, path, payload, last)

    def log(self, message: Incoming, where: Target) -> None:
        """Log lines: those of a run that has not begun wait for it."""
        cid = where.cid
        if cid in self._position.runs:
            path = log_path(where.name)
            if message.seq > self._mark(cid, path).last and message.payload:
                self._append(cid, path, message.payload, message.seq)
        elif cid in self._sealed:
            self.warnings.append(f"{message.subject}: log lines after the seal are dropped")
        else:
            self._wait(message, where)

    def _wait(self, message: Incoming, where: Target) -> None:
        cid = where.cid
        waiting = self.early.get(cid, self._position.early.get(cid, ()))
        if waiting and message.seq <= waiting[-1].seq:
            return  # read again from an earlier place
        if sum(len(line.text) for line in waiting) + len(message.payload) > EARLY_BYTES:
            self.warnings.append(f"{message.subject}: too many log lines before the run's start, dropped")
            return
        known = {**self._position.early, **self.early}
        present = [run for run, lines in known.items() if lines]
        if cid not in present and len(present) >= EARLY_RUNS:
            self.early[present[0]] = ()
            self.warnings.append(f"log lines of {present[0]}, which never started, are dropped")
        line = EarlyLine(message.seq, where.name, message.payload.decode("latin-1"))
        self.early[cid] = (*waiting, line)


def event_path(event_type: str) -> str:
    """Path of an event file, relative to the run's directory."""
    return f"events/{event_type}.jsonl"


def log_path(component: str) -> str:
    """Path of a component log, relative to the run's directory."""
    return f"{component}.log"


def _range(message: Incoming) -> tuple[int, int]:
    parts = (message.orders or "").split(":")
    if len(parts) == 3 and all(part.isdigit() for part in parts):
        return int(parts[0]), int(parts[1])
    lines = message.payload.splitlines()
    return order_of(lines[0]), order_of(lines[-1])


def _above(payload: bytes, last: int) -> bytes:
    return b"".join(line + b"\n" for line in payload.split(b"\n") if line and order_of(line) > last)
