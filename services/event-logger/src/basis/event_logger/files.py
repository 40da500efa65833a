"""Files that grow: bounded open handles, whole appends or none, line counts and hashes."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from basis.event_logger.core.canonical import order_of, sorted_log
from basis.event_logger.core.digests import EventDigest
from basis.event_logger.core.lines import DisorderError, canonical_blocks
from basis.event_logger.core.seal import Inspected
from basis.models.messages import FileSeal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

MAX_OPEN: Final = 128
"""Files held open at once."""
BLOCK_BYTES: Final = 256 * 1024
"""Files are read in blocks of this size."""
HASH_BYTES: Final = 4 * 1024**2
"""Hashing lets other threads run; in small pieces it would wait for the interpreter after each."""
_MAX_PARTS: Final = 512
"""Buffers in one writev; Linux takes 1,024."""


class AppendFiles:
    """Appends to many files with few open handles. Paths are the caller's: they exist or their directory does."""

    def __init__(self, max_open: int = MAX_OPEN) -> None:
        self._max_open = max_open
        self._open: OrderedDict[Path, int] = OrderedDict()

    def append(self, path: Path, parts: Sequence[bytes], *, sync: bool = False) -> None:
        """Append buffers, in sequence.

        Args:
            path: file; made where it is missing.
            parts: what.
            sync: wait until they are on the disk itself.

        Raises:
            OSError: the disk is full or broken; part of it may be in the file.
        """
        new = sync and not path.exists()
        handle = self._handle(path)
        for begin in range(0, len(parts), _MAX_PARTS):
            _write_all(handle, parts[begin : begin + _MAX_PARTS])
        if sync:
            os.fsync(handle)
        if new:
            sync_directory(path.parent)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file to a size in bytes; size 0 removes it. A missing file is no error."""
        self.forget(path)
        if size == 0:
            path.unlink(missing_ok=True)
        elif path.exists() and path.stat().st_size > size:
            os.truncate(path, size)

    def forget(self, path: Path) -> None:
        """Close a file."""
        handle = self._open.pop(path, None)
        if handle is not None:
            os.close(handle)

    def close(self) -> None:
        """Close all."""
        for path in list(self._open):
            self.forget(path)

    def _handle(self, path: Path) -> int:
        handle = self._open.get(path)
        if handle is None:
            while len(self._open) >= self._max_open:
                os.close(self._open.popitem(last=False)[1])
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._open[path] = handle
        self._open.move_to_end(path)
        return handle


def _write_all(handle: int, parts: Sequence[bytes]) -> None:
    expected = sum(map(len, parts))
    written = os.writev(handle, parts)
    if written < expected:  # a nearly full disk takes a part; the next write says why
        rest = memoryview(b"".join(parts))[written:]
        while rest:
            rest = rest[os.write(handle, rest) :]


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk itself."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def blocks(path: Path) -> Iterator[bytes]:
    """A file as blocks of complete lines; a last line without its end comes as it is."""
    with path.open("rb", buffering=0) as file:
        rest = b""
        while block := file.read(BLOCK_BYTES):
            end = block.rfind(b"\n") + 1
            if end:
                yield rest + block[:end]
                rest = block[end:]
            else:
                rest += block
        if rest:
            yield rest


def inspect(path: Path) -> Inspected:
    """Lines, bytes and SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    began = time.perf_counter()
    digest, count, size = hashlib.sha256(), 0, 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(HASH_BYTES):
            digest.update(block)
            count += block.count(b"\n")
            size += len(block)
    seal = FileSeal(count=count, bytes=size, sha256=digest.hexdigest())
    return Inspected(seal, (time.perf_counter() - began) * 1e3)


def inspect_all(paths: Iterable[Path]) -> dict[Path, Inspected]:
    """:func:`inspect` for many files."""
    return {path: inspect(path) for path in sorted(paths)}


def event_digest(paths: Iterable[Path], correlation_id: str) -> EventDigest:
    """Digest of the canonical log over event files; memory does not grow with their size.

    Raises:
        ValueError: a line that is no event.
        OSError: a file cannot be read.
    """
    ordered = sorted(paths)
    try:
        canonical = canonical_blocks((blocks(path) for path in ordered), correlation_id)
        return _digest_beside(_joined(canonical))
    except DisorderError:  # a producer's fault, which verify reports: the hash is still defined, only dearer
        return _digest_beside([sorted_log((blocks(path) for path in ordered), correlation_id)])


def _digest_beside(texts: Iterable[bytes]) -> EventDigest:
    """One block is hashed in a thread while the next is merged."""
    digest, text, before = hashlib.sha256(), b"", None
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="seal") as pool:
        for text in texts:
            if before is not None:
                before.result()
            before = pool.submit(digest.update, text)
    return EventDigest(digest, order_of(text[text.rfind(b"\n", 0, -1) + 1 :]) if text else -1)


def _joined(texts: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks large enough that handing one to another thread is cheap beside hashing it."""
    held: list[bytes] = []
    for text in texts:
        held.append(text)
        if sum(map(len, held)) >= HASH_BYTES:
            yield b"".join(held)
            held.clear()
    if held:
        yield b"".join(held)


def event_hash(paths: Iterable[Path], correlation_id: str) -> str:
    """SHA-256 of the canonical log over event files.

    Raises:
        ValueError: a line that is no event.
        OSError: a file cannot be read.
    """
    return event_digest(paths, correlation_id).digest.hexdigest()
