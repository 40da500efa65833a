"""The canonical log of a run, and its SHA-256: equal for two runs that did the same.

All event lines by ``order``; each without what differs between two equal runs: correlation_id, pid, the wall-clock
fields, and the correlation_id's text inside other strings (ids embed it). Lines must be orjson's own output, as
``DomainEventLogger`` writes them: then cutting a line's head off (:func:`canonical_hash`) and parsing the line
(:func:`reference_hash`) give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from basis.models.events import WALL_CLOCK_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Keyed = list[tuple[int, bytes]]

_DROPPED = WALL_CLOCK_FIELDS | {"correlation_id", "pid"}
_HEAD = re.compile(rb'\{"correlation_id":"[0-9a-f]{32}","pid":[0-9]+,"real_utc_time":"[^"\\]*","order":')
_ORDER = b'"order":'
_first, _second = itemgetter(0), itemgetter(1)


class DisorderError(ValueError):
    """A file's lines are not in strictly ascending order."""


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


def canonical_blocks(files: Iterable[Iterable[bytes]], correlation_id: str) -> Iterator[bytes]:
    """The canonical log, streaming: memory does not grow with the number of events.

    Args:
        files: each event file as blocks of complete lines.
        correlation_id: run.

    Raises:
        ValueError: a line that is no event.
        DisorderError: a file is not strictly ascending; :func:`sorted_log` copes with that.
    """
    for block in merged((keyed_lines(block, correlation_id) for block in file) for file in files):
        yield text_of(block)


def sorted_log(files: Iterable[Iterable[bytes]], correlation_id: str) -> bytes:
    """The canonical log of files in any order, all of it in memory; equal orders stay in the sequence of the files.

    Raises:
        ValueError: a line that is no event.
    """
    keyed = chain.from_iterable(keyed_lines(block, correlation_id) for file in files for block in file)
    return text_of(sorted(keyed, key=_first))


def canonical_hash(files: Callable[[], Iterable[Iterable[bytes]]], correlation_id: str) -> str:
    """SHA-256 of the canonical log.

    Args:
        files: gives, each time it is called, each event file anew as blocks of complete lines.
        correlation_id: run.

    Raises:
        ValueError: a line that is no event.
    """
    digest = hashlib.sha256()
    try:
        for block in canonical_blocks(files(), correlation_id):
            digest.update(block)
    except DisorderError:  # a producer's fault, which verify reports: the hash is still defined, only dearer
        digest = hashlib.sha256(sorted_log(files(), correlation_id))
    return digest.hexdigest()


def text_of(keyed: Keyed) -> bytes:
    """The canonical text of lines from :func:`keyed_lines`."""
    return b"{" + b"\n{".join(map(_second, keyed)) + b"\n" if keyed else b""


def keyed_lines(block: bytes, correlation_id: str) -> Keyed:
    """Lines of a block as (order, canonical line without its first brace and its newline).

    Raises:
        ValueError: a line that is no event.
    """
    cid = correlation_id.encode()
    # no durations: then what is behind the head is canonical as it stands, but for ids that embed the correlation_id, which
    # as hex can only stand inside strings
    if b'_ms":' not in block:
        cut = _cut_alike(block, cid) or _cut(block, cid)
        if cut is not None:
            return cut if block.count(cid) == len(cut) else [(order, line.replace(cid, b"")) for order, line in cut]
    return [_keyed(line, cid) for line in _lines(block)]


def _lines(block: bytes) -> list[bytes]:
    lines = block.split(b"\n")  # not splitlines: that would also split at a bare carriage return
    return [line + b"\n" for line in lines[:-1]] + lines[-1:] * bool(lines[-1])


def _cut_alike(block: bytes, correlation_id: bytes) -> Keyed | None:
    """As :func:`_cut` where all lines have the same head, as those of one message: a few calls a block, not a line."""
    found = _HEAD.match(block)
    if found is None or correlation_id not in found[0] or not block.endswith(b"\n"):
        return None
    head = found[0][: -len(_ORDER)]
    lines = block[len(head) : -1].split(b"\n" + head)
    # a line more than heads: one of them has another
    if block.count(b"\n") != len(lines) or [line for line in lines if not line.startswith(_ORDER)]:
        return None
    try:
        numbers = [line[len(_ORDER) : line.index(b",")] for line in lines]
    except ValueError:
        return None
    if not (all(numbers) and b"".join(numbers).isdigit()):
        return None
    return list(zip(map(int, numbers), lines, strict=True))


def _cut(block: bytes, correlation_id: bytes) -> Keyed | None:
    """Every line without its head; None where a line does not begin as DomainEventLogger begins it."""
    cut: Keyed = []
    head, length, place, size = b"\0", 0, 0, len(block)
    begins, find, add = block.startswith, block.find, cut.append
    while place < size:
        if not begins(head, place):
            found = _HEAD.match(block, place)
            if found is None or correlation_id not in found[0]:
                return None
            head = found[0]
            length = len(head) - len(_ORDER)
        begin = place + length
        comma = find(b",", begin)
        end = find(b"\n", begin)
        number = block[begin + len(_ORDER) : comma]
        if not (end > comma > 0 and number.isdigit()):
            return None
        add((int(number), block[begin:end]))
        place = end + 1
    return cut


def _keyed(line: bytes, correlation_id: bytes) -> tuple[int, bytes]:
    if line.count(correlation_id) == 1 and b'_ms":' not in line:
        cut = _cut(line, correlation_id)
        if cut:
            return cut[0]
    return order_of(line), reference_line(line, correlation_id.decode())[1:-1]


def merged(files: Iterable[Iterable[Keyed]]) -> Iterator[Keyed]:
    """Merge files of ascending lines, block by block, into ascending blocks.

    Whole blocks are sorted at once (a sort of a few ascending runs is a merge): five times as fast as a heap of lines.

    Raises:
        DisorderError: a file is not strictly ascending.
    """
    sources = [iter(file) for file in files]
    held: list[Keyed] = [[] for _ in sources]
    last = [-1 for _ in sources]
    open_ones = set(range(len(sources)))
    while open_ones or any(held):
        for number in sorted(open_ones):
            if not held[number] and not _refill(sources[number], held[number], last, number):
                open_ones.discard(number)
        # what is above the lowest end of a file still being read may have something before it
        limit = min((held[number][-1][0] for number in open_ones), default=None)
        block: Keyed = []
        for keyed in held:
            place = len(keyed) if limit is None else bisect_right(keyed, limit, key=_first)
            block += keyed[:place]
            del keyed[:place]
        block.sort(key=_first)
        if block:
            yield block


def _refill(source: Iterator[Keyed], held: Keyed, last: list[int], number: int) -> bool:
    for keyed in source:
        if not keyed:
            continue
        for order, _ in keyed:
            if order <= last[number]:
                raise DisorderError(f"order {order} comes after {last[number]}")
            last[number] = order
        held += keyed
        return True
    return False
