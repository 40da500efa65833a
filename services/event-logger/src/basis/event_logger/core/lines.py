"""Event lines cut a block at a time: where each begins and ends, and its order, as arrays; merged without touching a byte.

What :mod:`basis.event_logger.core.canonical` says of one line, for many at once. The lines of one message are alike up to
their order, so they are found, checked and cut by a few calls a message; a line is a slice of its block until the
canonical text is joined. Where they are not alike they are cut line by line: same result, only dearer.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from basis.event_logger.core.canonical import HEAD, ORDER, WALL_CLOCK_END, keyed_lines, sorted_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from basis.event_logger.core.canonical import Keyed

_NEWLINE: Final = ord("\n")
_COMMA: Final = ord(",")
_ZERO: Final = ord("0")
_MS: Final = int.from_bytes(b"ms", sys.byteorder)
_FEW_BYTES: Final = 4096
"""A shorter block is cut line by line: the calls that cut many at once would cost more."""
_MOST_PIECES: Final = 8
"""So often a block is begun again where its lines change; behind that it is cut line by line."""
_POWERS: Final = 10 ** np.arange(17, -1, -1, dtype=np.int64)
"""What each digit of an order is worth; more digits than these might not fit into 64 bits."""


class DisorderError(ValueError):
    """A file's lines are not in strictly ascending order."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of one event file in canonical form, each without its first brace and with its newline."""

    text: bytes
    """Holds the lines, and between them what is left out."""
    orders: NDArray[Any]
    """Order of each line: 64-bit integers, objects where one of them does not fit."""
    begins: NDArray[np.intp]
    """Where each line begins in the text."""
    ends: NDArray[np.intp]
    """Where it ends, behind its newline."""

    def part(self, begin: int, end: int) -> Lines:
        """Lines ``begin`` to ``end``, that one not included; without copying the text."""
        return Lines(self.text, self.orders[begin:end], self.begins[begin:end], self.ends[begin:end])

    def size(self) -> int:
        """Bytes of the lines."""
        return int((self.ends - self.begins).sum())

    def last(self) -> int:
        """Order of the last line."""
        return int(self.orders[-1])

    def is_ascending(self, above: int) -> bool:
        """True where every order is higher than the one before it, and the first higher than ``above``."""
        return bool(self.orders[0] > above and (self.orders[1:] > self.orders[:-1]).all())


def lines_of(block: bytes, correlation_id: str) -> list[Lines]:
    """Lines of a block that is not empty: one stretch, or some where the head or the number of digits changes.

    Raises:
        ValueError: a line that is no event.
    """
    found: list[Lines] = []
    while len(block) >= _FEW_BYTES and len(found) < _MOST_PIECES and not _has_durations(block):
        alike, rest = _cut_alike(block, correlation_id.encode())
        if alike is None:
            break
        found.append(alike)
        block = rest
    return [*found, from_keyed(keyed_lines(block, correlation_id))] if block else found


def _has_durations(block: bytes) -> bool:
    """True where a key ends as those of durations do.

    Its two letters are looked for as 16-bit numbers, at even places and at odd ones, five times as fast as a text is: few
    messages hold them at all.
    """
    for place in (0, 1):
        pairs = np.frombuffer(block, np.uint16, (len(block) - place) // 2, place)
        if (pairs == _MS).any():
            return WALL_CLOCK_END in block
    return False


def from_keyed(keyed: Keyed) -> Lines:
    """Lines that were cut one by one, at least one."""
    orders = [order for order, _ in keyed]
    text = b"".join([line + b"\n" for _, line in keyed])
    ends = np.cumsum([len(line) + 1 for _, line in keyed])
    try:
        return Lines(text, np.array(orders, dtype=np.int64), _begins(ends), ends)
    except OverflowError:
        return Lines(text, np.array(orders, dtype=object), _begins(ends), ends)


def _begins(ends: NDArray[np.intp]) -> NDArray[np.intp]:
    begins = np.zeros_like(ends)
    begins[1:] = ends[:-1]
    return begins


def _cut_alike(block: bytes, correlation_id: bytes) -> tuple[Lines | None, bytes]:
    """The first lines of a block, as many as have one head and equally many digits in their orders; and the rest of it.

    All lines of a message are like that, but where ticks get a digit more. None where the first line does not begin as
    DomainEventLogger begins it, or the last one is not complete.
    """
    found = HEAD.match(block)
    if found is None or correlation_id not in found[0] or not block.endswith(b"\n"):
        return None, block
    digits = found.end()
    comma = block.find(b",", digits)
    if not 0 < comma - digits <= len(_POWERS):
        return None, block
    ends = _ends(block)
    if ends[0] <= comma:
        return None, block
    begins = _begins(ends)
    orders = _orders(block, begins[begins < len(block) - comma], digits, comma)
    count = len(orders)
    if count == 0:
        return None, block
    begins, ends = begins[:count] + (digits - len(ORDER)), ends[:count]
    rest = block[ends[-1] :]
    if rest:
        block = block[: ends[-1]]
    if block.count(correlation_id) == count:
        return Lines(block, orders, begins, ends), rest
    # ids embed the correlation_id: it is cut out of what is behind the heads. As hex it can only stand inside strings
    places = zip(begins.tolist(), ends.tolist(), strict=True)
    text = b"".join([block[begin:end] for begin, end in places]).replace(correlation_id, b"")
    ends = _ends(text)
    return Lines(text, orders, _begins(ends), ends), rest


def _ends(text: bytes) -> NDArray[np.intp]:
    """Places behind each newline."""
    return np.flatnonzero(np.frombuffer(text, np.uint8) == _NEWLINE) + 1


def _orders(block: bytes, begins: NDArray[np.intp], digits: int, comma: int) -> NDArray[np.int64]:
    """Orders of the first lines that begin as the block does up to ``digits``, and whose comma is where the first one's is."""
    size = comma + 1
    # one item at every byte of the block, without copying; of these the ones where a line begins are taken, and seen as bytes
    windows = np.ndarray(len(block) - comma, f"V{size}", block, strides=(1,))
    rows = windows[begins].view(np.uint8).reshape(-1, size)
    values = rows[:, digits:comma] - _ZERO  # below zero is far above nine
    alike = rows[:, :digits] == rows[0, :digits]
    if not alike.all() or (values > 9).any() or (rows[:, comma] != _COMMA).any():
        good = alike.all(axis=1) & (values <= 9).all(axis=1) & (rows[:, comma] == _COMMA)
        values = values[: int(good.argmin())]
    return values @ _POWERS[digits - comma :]


def taken(held: list[Lines], limit: int | None) -> list[Lines]:
    """Take away what is below a limit, or all of it.

    Args:
        held: what there is of one file, ascending; what is taken is no longer in it.
        limit: lowest order that stays.
    """
    found: list[Lines] = []
    while held and (limit is None or held[0].last() < limit):
        found.append(held.pop(0))
    if held and limit is not None:
        place = int(np.searchsorted(held[0].orders, limit))
        if place:
            found.append(held[0].part(0, place))
            held[0] = held[0].part(place, len(held[0].orders))
    return found


def text_of(parts: Sequence[Lines]) -> bytes:
    """The canonical text of lines: by order; equal orders stay in the sequence of the parts."""
    if not parts:
        return b""
    sequence = np.argsort(np.concatenate([part.orders for part in parts]), kind="stable")
    sources = np.repeat(np.arange(len(parts)), [len(part.orders) for part in parts])[sequence]
    begins = np.concatenate([part.begins for part in parts])[sequence]
    ends = np.concatenate([part.ends for part in parts])[sequence]
    texts = [memoryview(part.text) for part in parts]  # slices of these copy nothing
    places = zip(sources.tolist(), begins.tolist(), ends.tolist(), strict=True)
    return b"{".join([b"", *[texts[source][begin:end] for source, begin, end in places]])


def orders_of(parts: Sequence[Lines]) -> list[int]:
    """Orders of lines, ascending."""
    return np.sort(np.concatenate([part.orders for part in parts])).tolist() if parts else []


def merged(files: Iterable[Iterable[Lines]]) -> Iterator[list[Lines]]:
    """Parts of files of ascending lines, so that no line of what comes later belongs before what is given.

    Raises:
        DisorderError: a file is not strictly ascending.
    """
    sources = [iter(file) for file in files]
    held: list[list[Lines]] = [[] for _ in sources]
    last = [-1 for _ in sources]
    open_ones = set(range(len(sources)))
    while open_ones or any(held):
        for number in sorted(open_ones):
            if not held[number] and not _refill(sources[number], held[number], last, number):
                open_ones.discard(number)
        # what is above the lowest end of a file still being read may have something before it
        limit = min((held[number][-1].last() + 1 for number in open_ones), default=None)
        found = [part for lines in held for part in taken(lines, limit)]
        if found:
            yield found


def _refill(source: Iterator[Lines], held: list[Lines], last: list[int], number: int) -> bool:
    for lines in source:
        if not lines.is_ascending(last[number]):
            raise DisorderError(f"an order is not above the one before, after {last[number]}")
        last[number] = lines.last()
        held.append(lines)
        return True
    return False


def canonical_blocks(files: Iterable[Iterable[bytes]], correlation_id: str) -> Iterator[bytes]:
    """The canonical log, streaming: memory does not grow with the number of events.

    Args:
        files: each event file as blocks of complete lines.
        correlation_id: run.

    Raises:
        ValueError: a line that is no event.
        DisorderError: a file is not strictly ascending; :func:`~basis.event_logger.core.canonical.sorted_log` copes.
    """
    for parts in merged(chain.from_iterable(lines_of(block, correlation_id) for block in file) for file in files):
        yield text_of(parts)


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
