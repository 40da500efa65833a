"""One event file, read in bounded pieces: binary search by ``order``, first and last line, lines from there on.

Files are sorted by ``order``. They may still grow: what has no newline yet does not exist. Nothing is mapped into memory:
a file that shrinks meanwhile is an error, not a signal.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

import orjson

from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Any

BLOCK_BYTES: Final = 256 * 1024
"""Lines are read in blocks of this size."""
MAX_LINE_BYTES: Final = 64 * 1024**2
"""A line beyond it is damage, not an event."""
_PROBE_BYTES: Final = 2048
_ORDER: Final = b'"order":'
_COMPONENT = "event_file"


class EventFile:
    """Lines of one event type; a context manager. A missing file reads as an empty one.

    Args:
        path: ``events/<event_type>.jsonl``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1
        self.size = 0
        """Bytes up to the end of the last complete line."""

    def __enter__(self) -> Self:
        try:
            self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return self
        self.size = self._end_of_last_line(os.fstat(self._handle).st_size)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def offset_of(self, order: int) -> int:
        """Where the first line at or after an order begins; :attr:`size` where there is none.

        Raises:
            ComponentError: LOG-004, a line that is no event.
        """
        low, high = 0, self.size
        while low < high:
            middle = (low + high) // 2
            start, line = self._line_after(middle)
            if line and order_of(line, self.path) < order:
                low = start + len(line)
            else:
                high = middle
        return self._line_after(low)[0]

    def first(self) -> bytes | None:
        """First line with its newline; None where there is none."""
        return self._line_after(0)[1] or None

    def last(self) -> bytes | None:
        """Last line with its newline; None where there is none."""
        return self.before(self.size)

    def before(self, offset: int) -> bytes | None:
        """Line that ends where another one begins; None at the beginning of the file."""
        if offset <= 0:
            return None
        length, reach = 0, _PROBE_BYTES
        while length <= MAX_LINE_BYTES:
            length = min(reach, offset)
            text = self._read(offset - length, length)
            start = text.rfind(b"\n", 0, -1) + 1
            if start or length == offset:
                return text[start:]
            reach *= 8
        raise self._damaged(f"the line that ends at byte {offset} has no beginning")

    def lines(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Lines with their newlines, from one line's beginning up to another's."""
        for block in self.blocks(start, end):
            yield from block.splitlines(keepends=True)

    def blocks(self, start: int = 0, end: int | None = None, size: int = BLOCK_BYTES) -> Iterator[bytes]:
        """Whole lines in blocks of about a size."""
        end = self.size if end is None else min(end, self.size)
        rest = b""
        while start < end:
            block = self._read(start, min(size, end - start))
            start += len(block)
            cut = block.rfind(b"\n") + 1
            if cut:
                yield rest + block[:cut]
                rest = block[cut:]
            else:
                rest += block
                if len(rest) > MAX_LINE_BYTES:
                    raise self._damaged("a line has no end")

    def sample(self, count: int) -> list[bytes]:
        """At most ``count`` lines, spread evenly over the bytes of the file, the first and the last among them."""
        if not self.size:
            return []
        places = [self.size * number // max(count - 1, 1) for number in range(max(count - 1, 1))]
        found = {start: line for start, line in map(self._line_after, places) if line}
        last = self.before(self.size)
        assert last is not None
        found[self.size - len(last)] = last
        return [line for _, line in sorted(found.items())]

    def parse(self, line: bytes) -> dict[str, Any]:
        """A line as an object.

        Raises:
            ComponentError: LOG-004, it is none; names the file and where.
        """
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise self._damaged(f"{error}: {line[:80]!r}") from error
        if not isinstance(event, dict):
            raise self._damaged(f"no event: {line[:80]!r}")
        return event

    def _line_after(self, place: int) -> tuple[int, bytes]:
        """First line that begins at or after a byte, and where; empty at the end of the file."""
        start = 0 if place <= 0 else self._newline(place - 1) + 1
        if start >= self.size:
            return self.size, b""
        return start, self._read(start, self._newline(start) + 1 - start)

    def _newline(self, place: int) -> int:
        """Where the first newline at or after a byte is."""
        reach, start = _PROBE_BYTES, place
        while place < self.size:
            found = self._read(place, min(reach, self.size - place)).find(b"\n")
            if found >= 0:
                return place + found
            place += reach
            reach *= 2
            if place - start > MAX_LINE_BYTES:
                break
        raise self._damaged(f"a line at byte {start} has no end")

    def _end_of_last_line(self, size: int) -> int:
        reach = _PROBE_BYTES
        while size:
            length = min(reach, size)
            found = os.pread(self._handle, length, size - length).rfind(b"\n")
            if found >= 0:
                return size - length + found + 1
            if length == size:
                return 0
            if reach > MAX_LINE_BYTES:
                raise self._damaged("its last line has no end")
            reach *= 8
        return 0

    def _read(self, start: int, length: int) -> bytes:
        text = os.pread(self._handle, length, start)
        if len(text) != length:
            raise self._damaged(f"it ended at byte {start + len(text)}, while {start + length} were there before")
        return text

    def _damaged(self, what: str) -> ComponentError:
        return ComponentError("LOG-004", f"{self.path}: {what}", _COMPONENT)


def order_of(line: bytes, path: Path) -> int:
    """Order key of an event line, read without parsing the line.

    Raises:
        ComponentError: LOG-004, it has none; names the file.
    """
    start = line.find(_ORDER) + len(_ORDER)
    end = line.find(b",", start)
    if start >= len(_ORDER) and line[start:end].isdigit():
        return int(line[start:end])
    raise ComponentError("LOG-004", f"{path}: a line without order: {line[:80]!r}", _COMPONENT)
