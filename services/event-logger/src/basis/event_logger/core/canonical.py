"""The canonical log of a run, and its SHA-256: equal for two runs that did the same.

All event lines by ``order``; each without what differs between two equal runs: correlation_id, pid, the wall-clock
fields, and the correlation_id's text inside other strings (ids embed it). Lines must be orjson's own output, as
``DomainEventLogger`` writes them: then cutting a line's head off (:func:`keyed_lines`, and many at once in
:mod:`basis.event_logger.core.lines`) and parsing the line (:func:`reference_line`) give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from basis.models.events import WALL_CLOCK_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    Keyed = list[tuple[int, bytes]]

_DROPPED = WALL_CLOCK_FIELDS | {"correlation_id", "pid"}
WALL_CLOCK_END = b'_ms":'
"""Every duration's key ends like this: a line without it is canonical behind its head as it stands."""
HEAD = re.compile(rb'\{"correlation_id":"[0-9a-f]{32}","pid":[0-9]+,"real_utc_time":"[^"\\]*","order":')
"""What a line of ours begins with."""
ORDER = b'"order":'
_first = itemgetter(0)


def order_of(line: bytes) -> int:
    """``order`` of an event line.

    Raises:
        ValueError: not a JSON object with an integer order.
    """
    order = _event(line).get("order")
    if type(order) is not int:
        raise ValueError(f"no order in event line {line[:200]!r}")
    return order


def _event(line: bytes) -> dict[str, Any]:
    event = orjson.loads(line)
    if isinstance(event, dict):
        return event
    raise ValueError(f"event line is no JSON object: {line[:200]!r}")


def reference_line(line: bytes, correlation_id: str) -> bytes:
    """Canonical form of one line, by parsing it; with its newline.

    Raises:
        ValueError: not a JSON object.
    """
    kept = {key: value for key, value in _event(line).items() if key not in _DROPPED}
    return orjson.dumps(_without(kept, correlation_id)) + b"\n"


def _without(value: Any, text: str) -> Any:
    match value:
        case str():
            return value.replace(text, "")
        case dict():
            return {key.replace(text, ""): _without(item, text) for key, item in value.items()}
        case list():
            return [_without(item, text) for item in value]
        case _:
            return value


def reference_hash(lines: Iterable[bytes], correlation_id: str) -> str:
    """SHA-256 of the canonical log, the plain way: every line parsed, all of them in memory.

    Raises:
        ValueError: a line that is no event.
    """
    keyed = sorted(((order_of(line), line) for line in lines), key=_first)
    return hashlib.sha256(b"".join(reference_line(line, correlation_id) for _, line in keyed)).hexdigest()


def sorted_log(files: Iterable[Iterable[bytes]], correlation_id: str) -> bytes:
    """The canonical log of files in any order, all of it in memory; equal orders stay in the sequence of the files.

    Raises:
        ValueError: a line that is no event.
    """
    keyed = chain.from_iterable(keyed_lines(block, correlation_id) for file in files for block in file)
    return b"".join([b"{%b\n" % line for _, line in sorted(keyed, key=_first)])


def keyed_lines(block: bytes, correlation_id: str) -> Keyed:
    """Lines of a block as (order, canonical line without its first brace and its newline).

    Raises:
        ValueError: a line that is no event.
    """
    cid = correlation_id.encode()
    # no durations: then what is behind the head is canonical as it stands, but for ids that embed the correlation_id, which
    # as hex can only stand inside strings
    if WALL_CLOCK_END not in block:
        cut = _cut(block, cid)
        if cut is not None:
            return cut if block.count(cid) == len(cut) else [(order, line.replace(cid, b"")) for order, line in cut]
    return [_keyed(line, cid) for line in _lines(block)]


def _lines(block: bytes) -> list[bytes]:
    lines = block.split(b"\n")  # not splitlines: that would also split at a bare carriage return
    return [line + b"\n" for line in lines[:-1]] + lines[-1:] * bool(lines[-1])


def _cut(block: bytes, correlation_id: bytes) -> Keyed | None:
    """Every line without its head; None where a line does not begin as DomainEventLogger begins it."""
    cut: Keyed = []
    head, length, place, size = b"\0", 0, 0, len(block)
    begins, find, add = block.startswith, block.find, cut.append
    while place < size:
        if not begins(head, place):
            found = HEAD.match(block, place)
            if found is None or correlation_id not in found[0]:
                return None
            head = found[0]
            length = len(head) - len(ORDER)
        begin = place + length
        comma = find(b",", begin)
        end = find(b"\n", begin)
        number = block[begin + len(ORDER) : comma]
        if not (end > comma > 0 and number.isdigit()):
            return None
        add((int(number), block[begin:end]))
        place = end + 1
    return cut


def _keyed(line: bytes, correlation_id: bytes) -> tuple[int, bytes]:
    if line.count(correlation_id) == 1 and WALL_CLOCK_END not in line:
        cut = _cut(line, correlation_id)
        if cut:
            return cut[0]
    return order_of(line), reference_line(line, correlation_id.decode())[1:-1]
