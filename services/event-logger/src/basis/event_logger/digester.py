"""The digests of the runs that are being written: two threads follow the files that the store appends to.

They read back what was appended (from the page cache, so that nothing has to be kept for them however far they are
behind), and only while the store is not busy: what they have not done by then is done when the run ends.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from basis.event_logger.core.digests import RunDigests, event_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

QUIET_S: Final = 0.003
"""The threads go on when nothing was appended for so long: under full load they would only be in the way."""
PATIENCE_S: Final = 0.25
"""They go on after so long in any case."""


class _Appended(NamedTuple):
    """What one call of the store appended to one file."""

    digests: RunDigests
    file: Path
    path: str
    offset: int
    sizes: list[int]
    """Bytes of each payload."""


class Digester:
    """Digests by run. Called by one thread at a time, as the store is."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[RunDigests, Path]] = {}
        self._offsets: dict[tuple[str, str], int] = {}
        self._of_files = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest-files")
        self._of_events = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest-events")
        self._last: dict[str, list[Future[None]]] = {}
        self._hurry = threading.Event()
        self._appended_at = 0.0

    def begin(self, correlation_id: str, directory: Path) -> None:
        """A run begins whose files are all empty. Runs that are never begun here have no digests."""
        self._runs[correlation_id] = (RunDigests(correlation_id), directory)

    def forget(self, correlation_id: str) -> None:
        """A run is over."""
        self._runs.pop(correlation_id, None)
        self._last.pop(correlation_id, None)
        self._offsets = {key: offset for key, offset in self._offsets.items() if key[0] != correlation_id}

    def feed(self, correlation_id: str, by_path: Mapping[str, Sequence[bytes]]) -> None:
        """Payloads are in the files of a run: hash them some time.

        Args:
            correlation_id: run; ignored where it was not begun.
            by_path: path relative to the run's directory -> payloads in sequence.
        """
        self._appended_at = time.monotonic()
        if correlation_id not in self._runs or not by_path:
            return
        digests, directory = self._runs[correlation_id]
        work = []
        for path, parts in by_path.items():
            offset, sizes = self._offsets.get((correlation_id, path), 0), list(map(len, parts))
            self._offsets[correlation_id, path] = offset + sum(sizes)
            work.append(_Appended(digests, directory / path, path, offset, sizes))
        self._last[correlation_id] = [
            self._of_files.submit(self._follow, work, _digest_file),
            self._of_events.submit(self._follow, work, _digest_events),
        ]

    def _follow(self, work: list[_Appended], digest: Callable[[_Appended], None]) -> None:
        for appended in work:
            self._wait_for_quiet()
            digest(appended)

    def _wait_for_quiet(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while (now := time.monotonic()) < min(until, self._appended_at + QUIET_S):
            if self._hurry.wait(min(until, self._appended_at + QUIET_S) - now):
                return

    def finished(self, correlation_id: str) -> RunDigests | None:
        """Digests of a run with all that was fed; None where there are none."""
        self._hurry.set()
        try:
            for future in self._last.get(correlation_id, ()):
                future.result()
        finally:
            self._hurry.clear()
        return self._runs[correlation_id][0] if correlation_id in self._runs else None

    def close(self) -> None:
        """End the threads; what they have not done is dropped."""
        self._runs.clear()
        self._hurry.set()
        for pool in (self._of_files, self._of_events):
            pool.shutdown(cancel_futures=True)


def _parts(appended: _Appended) -> Iterator[bytes]:
    """The payloads, from the file.

    Raises:
        OSError: it is gone.
    """
    handle = os.open(appended.file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset = appended.offset
        for size in appended.sizes:
            yield os.pread(handle, size, offset)
            offset += size
    finally:
        os.close(handle)


def _digest_file(appended: _Appended) -> None:
    began = time.perf_counter()
    try:
        digest = appended.digests.add_to_file(appended.path, _parts(appended))
    except OSError:  # its size differs from then on: the seal reads the file, and says what is wrong with it
        return
    digest.duration_ms += (time.perf_counter() - began) * 1e3


def _digest_events(appended: _Appended) -> None:
    events = appended.digests.events
    try:
        for block in event_blocks(appended.path, _parts(appended)):
            events.add(appended.path, block)
    except OSError as error:
        events.give_up(str(error))
