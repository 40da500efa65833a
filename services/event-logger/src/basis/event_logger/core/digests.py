"""Hashes of a run's files and of its canonical log while they grow, so that the seal has nothing left to read.

Pure; fed with what is in the files, in the sequence of each file. What cannot be hashed on the way is void, and the seal
reads the files instead: same result, only dearer.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from basis.event_logger.core.lines import lines_of, taken, text_of
from basis.event_logger.core.plan import event_path
from basis.event_logger.core.seal import Inspected
from basis.models.events.base import TICK_SPAN
from basis.models.messages import FileSeal
from basis.runtime.domain_events import EVERY_TICK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.event_logger.core.lines import Lines

HELD_BYTES: Final = 64 * 1024**2
"""Event lines of one run that wait for their place, at most."""
RELEASE_BYTES: Final = 1024**2
"""Less is not worth a release."""
_EVERY_TICK: Final = frozenset(map(event_path, EVERY_TICK))


class EventDigest(NamedTuple):
    """Digest over event files, to which later events may be added."""

    digest: hashlib._Hash
    last: int
    """Highest order in it; -1 where there is none."""


class FileDigest:
    """Lines, bytes and SHA-256 of a file that grows."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self.duration_ms = 0.0
        """Time that hashing took, as the caller says."""
        self._digest = hashlib.sha256()

    def add(self, part: bytes, count: int) -> None:
        """What is appended, and how many newlines it holds."""
        self._digest.update(part)
        self.count += count
        self.size += len(part)

    def inspected(self) -> Inspected:
        """What a reading of the file would find."""
        return Inspected(FileSeal(count=self.count, bytes=self.size, sha256=self._digest.hexdigest()), self.duration_ms)


class CanonicalDigest:
    """SHA-256 of the canonical log while events come.

    Commits are strictly in sequence: once every type of :data:`EVERY_TICK` has an event of tick T or later, all events
    of the ticks before T are there. Up to that limit lines are sorted and hashed; those above are held. It says so of the
    stream, not of its files: whoever takes a stretch of the stream apart by file adds all of it before :meth:`release`.

    Args:
        correlation_id: run.
    """

    def __init__(self, correlation_id: str) -> None:
        self.void: str | None = None
        """Why the digest is worth nothing; None while it is good."""
        self._correlation_id = correlation_id
        self._digest = hashlib.sha256()
        self._held: dict[str, list[Lines]] = {}
        self._last: dict[str, int] = {}
        self._size = 0
        self._limit = 0
        self._released = -1

    def add(self, path: str, block: bytes) -> int:
        """Complete lines that are appended to an event file; returns how many."""
        if self.void is not None:
            return block.count(b"\n")
        try:
            stretches = lines_of(block, self._correlation_id)
        except ValueError as error:
            self._give_up(str(error))
            return block.count(b"\n")
        count = sum(len(lines.orders) for lines in stretches)
        for lines in stretches:
            if not lines.is_ascending(max(self._last.get(path, -1), self._released)):
                self._give_up(f"{path}: out of order")
                return count
            self._held.setdefault(path, []).append(lines)
            self._last[path] = lines.last()
        self._size += len(block)
        if self._size > HELD_BYTES:
            self._give_up("too much to hold")
        return count

    def release(self) -> None:
        """Hash the events of the ticks that are complete, where that is worth it: all that came until now is added."""
        if self.void is not None or self._size < RELEASE_BYTES:
            return
        limit = min(self._last.get(path, 0) for path in _EVERY_TICK) // TICK_SPAN * TICK_SPAN
        if limit > self._limit:
            self._limit = limit
            self._release(limit)

    def _give_up(self, reason: str) -> None:
        self.void = reason
        self._held.clear()
        self._size = 0

    def _release(self, limit: int | None) -> None:
        released: list[Lines] = []
        for _, held in sorted(self._held.items()):  # equal orders come in the sequence of the files
            released += taken(held, limit)
        if released:
            self._released = max(lines.last() for lines in released)
            self._size = sum(lines.size() for held in self._held.values() for lines in held)
            self._digest.update(text_of(released))

    def finish(self) -> EventDigest | None:
        """Digest over all that was added; None where it is void."""
        if self.void is None:
            self._release(None)
        return None if self.void is not None else EventDigest(self._digest.copy(), self._released)


class RunDigests:
    """Digests of one run, whose files were all empty when it began.

    Args:
        correlation_id: run.
    """

    def __init__(self, correlation_id: str) -> None:
        self.files: dict[str, FileDigest] = {}
        """Path relative to the run's directory -> digest."""
        self.events = CanonicalDigest(correlation_id)

    def add(self, path: str, parts: Sequence[bytes]) -> None:
        """Hash what is appended to a file: for the file, and where it holds events, for the canonical log."""
        digest = self.files.setdefault(path, FileDigest())
        if is_event_path(path):
            for block in _blocks(parts):
                digest.add(block, self.events.add(path, block))
        else:
            for part in parts:
                digest.add(part, part.count(b"\n"))


def _blocks(parts: Sequence[bytes]) -> Sequence[bytes]:
    """Payloads as blocks of complete lines: one without its last newline has that in a part of its own."""
    return parts if all(part.endswith(b"\n") and part != b"\n" for part in parts) else [b"".join(parts)]


def known_files(digests: RunDigests | None, sizes: Mapping[str, int]) -> dict[str, Inspected]:
    """What need not be read: files whose digest covers all that is on disk, and empty ones.

    Args:
        digests: of the run; None where there are none.
        sizes: path relative to the run's directory -> bytes on disk.
    """
    known = {path: FileDigest() for path, size in sizes.items() if size == 0}
    if digests is not None:
        known |= {path: digest for path, digest in digests.files.items() if digest.size == sizes.get(path)}
    return {path: digest.inspected() for path, digest in known.items()}


def known_events(digests: RunDigests | None, sizes: Mapping[str, int]) -> EventDigest | None:
    """Digest over the run's events; None where the event files have to be read for it.

    Args:
        digests: of the run; None where there are none.
        sizes: path relative to the run's directory -> bytes on disk.
    """
    if digests is None:
        return None
    covered = {path: digest.size for path, digest in digests.files.items() if is_event_path(path)}
    on_disk = {path: size for path, size in sizes.items() if is_event_path(path)}
    return digests.events.finish() if covered == on_disk else None


def is_event_path(path: str) -> bool:
    """True for an event file, False for a component log."""
    return path.startswith("events/")
