"""Position of the sink in the event stream: which messages are in the files, and how long the files are with them.

The journal is NDJSON, one :class:`Record` a line. Replaying it gives the :class:`Position`; a torn or damaged line ends
it.
"""

from __future__ import annotations

import zlib

import msgspec

_SUM = 8
"""Hex digits of the CRC-32 before each line."""


class FileMark(msgspec.Struct, frozen=True, array_like=True):
    """How far a file is."""

    size: int
    """Bytes."""
    last: int
    """Event files: order of the last line. Component logs: stream sequence of the last message."""


class RunMark(msgspec.Struct, frozen=True, array_like=True):
    """A run that is being written."""

    pid: int
    """Process id of the run's engine at its start."""
    durable: bool
    """True where every batch is synced to disk: live runs."""
    start_seq: int
    """Stream sequence from which the whole run can be read again."""
    files: dict[str, FileMark]
    """Path relative to the run's directory -> mark."""


class EarlyLine(msgspec.Struct, frozen=True, array_like=True):
    """Log payload that came before its run's start."""

    seq: int
    """Stream sequence."""
    component: str
    """Whose log."""
    text: str
    """Payload, byte for byte as latin-1."""


class Position(msgspec.Struct, frozen=True):
    """What is in the files."""

    seq: int = 0
    """Stream sequence of the last message that is."""
    runs: dict[str, RunMark] = {}
    """correlation_id -> run that is being written."""
    early: dict[str, tuple[EarlyLine, ...]] = {}
    """correlation_id -> lines that wait for the run's start."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of the position."""

    seq: int
    """Stream sequence of the last message that it covers."""
    started: dict[str, RunMark] = {}
    """Runs that began."""
    files: dict[str, dict[str, FileMark]] = {}
    """correlation_id -> files that grew."""
    early: dict[str, tuple[EarlyLine, ...]] = {}
    """Lines that wait, all of those of a run."""
    ended: tuple[str, ...] = ()
    """Runs that are sealed."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


def advance(position: Position, record: Record) -> Position:
    """Position after one more record."""
    runs = {cid: run for cid, run in position.runs.items() if cid not in record.ended} | record.started
    for cid, files in record.files.items():
        if cid in runs:
            runs[cid] = msgspec.structs.replace(runs[cid], files=runs[cid].files | files)
    waiting = (position.early | record.early).items()
    early = {cid: lines for cid, lines in waiting if lines and cid not in runs and cid not in record.ended}
    return Position(record.seq, runs, early)


def snapshot(position: Position) -> Record:
    """One record that says all: what a compacted journal begins with."""
    return Record(position.seq, started=position.runs, early=position.early)


def encode(record: Record) -> bytes:
    """A line of the journal."""
    body = _encoder.encode(record)
    return b"%08x %b\n" % (zlib.crc32(body), body)


def replay(content: bytes) -> tuple[Position, int]:
    """Position that a journal says, and how many of its bytes say it (the rest is torn)."""
    position, good = Position(), 0
    while (end := content.find(b"\n", good)) >= 0:
        record = _decode(content[good:end])
        if record is None:
            break
        position, good = advance(position, record), end + 1
    return position, good


def _decode(line: bytes) -> Record | None:
    body = line[_SUM + 1 :]
    if line[: _SUM + 1] != b"%08x " % zlib.crc32(body):
        return None
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return None


def rewound(position: Position, cid: str) -> Position:
    """Position from which one run is read again from its start; the others recognise repeats by their marks."""
    runs = {other: run for other, run in position.runs.items() if other != cid}
    return Position(min(position.seq, position.runs[cid].start_seq - 1), runs, position.early)
