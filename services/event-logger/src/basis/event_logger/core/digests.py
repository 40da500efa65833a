"""Hashes of a run's files and of its canonical log while they grow, so that the seal has nothing left to read.

Pure; fed with what is in the files, in the sequence of each file. What cannot be hashed on the way is void, and the seal
reads the files instead: same result, only dearer.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from operator import itemgetter, lt
from typing import TYPE_CHECKING, Final

from basis.event_logger.core.canonical import keyed_lines, text_of
from basis.event_logger.core.plan import is_event_path
from basis.models.events.base import TICK_SPAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from basis.event_logger.core.canonical import Keyed

HELD_BYTES: Final = 64 * 1024**2
"""Events of one run that wait for their place, at most."""
RELEASE_BYTES: Final = 1024**2
"""Less is not worth a release."""
_first = itemgetter(0)


class FileDigest:
    """Lines, bytes and SHA-256 of a file that grows."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._digest = hashlib.sha256()

    def add(self, part: bytes) -> None:
        """What is appended."""
        self._digest.update(part)
        self.count += part.count(b"\n")
        self.size += len(part)

    @property
    def sha256(self) -> str:
        """Of all so far, in hex."""
        return self._digest.hexdigest()


class CanonicalDigest:
    """SHA-256 of the canonical log while events come.

    Commits are strictly in sequence: once every type that comes at every tick has an event of tick T or later, all
    events of the ticks before T are there. Up to that limit lines are sorted and hashed; those above are held.

    Args:
        correlation_id: run.
        every_tick: event files that get lines at every tick.
    """

    def __init__(self, correlation_id: str, every_tick: Iterable[str]) -> None:
        self.void: str | None = None
        """Why the digest is worth nothing; None while it is good."""
        self._correlation_id = correlation_id
        self._every_tick = tuple(every_tick)
        self._digest = hashlib.sha256()
        self._held: dict[str, Keyed] = {}
        self._last: dict[str, int] = {}
        self._size = 0
        self._limit = 0
        self._released = -1

    def add(self, path: str, block: bytes) -> None:
        """Complete lines that are appended to an event file."""
        if self.void is not None or not block:
            return
        try:
            keyed = keyed_lines(block, self._correlation_id)
        except ValueError as error:
            self._give_up(str(error))
            return
        if self._is_disorder(path, list(map(_first, keyed))):
            self._give_up(f"{path}: out of order")
            return
        self._held.setdefault(path, []).extend(keyed)
        self._last[path] = keyed[-1][0]
        self._size += len(block)
        if self._size >= RELEASE_BYTES:
            self._release_ticks()
        if self._size > HELD_BYTES:
            self._give_up("too much to hold")

    def _is_disorder(self, path: str, orders: list[int]) -> bool:
        above = max(self._last.get(path, -1), self._released)
        return orders[0] <= above or not all(map(lt, orders, orders[1:]))

    def _give_up(self, reason: str) -> None:
        self.void = reason
        self._held.clear()
        self._size = 0

    def _release_ticks(self) -> None:
        """Hash the events of the ticks that are complete."""
        limit = min(self._last.get(path, 0) for path in self._every_tick) // TICK_SPAN * TICK_SPAN
        if limit > self._limit:
            self._limit = limit
            self._release(limit)

    def _release(self, limit: int | None) -> None:
        released: Keyed = []
        for _, keyed in sorted(self._held.items()):  # equal orders come in the sequence of the files
            place = len(keyed) if limit is None else bisect_left(keyed, limit, key=_first)
            released += keyed[:place]
            del keyed[:place]
        if released:
            released.sort(key=_first)  # of a few ascending runs: a merge
            self._released = released[-1][0]
            self._size = sum(len(text) for keyed in self._held.values() for _, text in keyed)
            self._digest.update(text_of(released))

    def finish(self) -> int | None:
        """Take in what is still held; returns the highest order, -1 where there is none, None where it is void."""
        if self.void is not None:
            return None
        self._release(None)
        return self._released

    def hash_with(self, later: bytes) -> str:
        """SHA-256 in hex, after :meth:`finish`.

        Args:
            later: canonical text that comes after all that was added.
        """
        digest = self._digest.copy()
        digest.update(later)
        return digest.hexdigest()


def event_blocks(path: str, parts: Iterable[bytes]) -> Iterator[bytes]:
    """What is appended to a file as blocks of complete lines for :meth:`CanonicalDigest.add`; none for a log."""
    rest = b""
    for part in parts if is_event_path(path) else ():
        if part.endswith(b"\n"):
            yield rest + part
            rest = b""
        else:  # its newline comes as a part of its own
            rest += part
    if rest:
        yield rest
