"""The digests of the runs that are being written, fed beside the appending: two threads that hash while others wait.

SHA-256 runs without the interpreter's lock, so this costs the sink little more than a second core.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from basis.event_logger.core.digests import RunDigests, event_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Work = list[tuple[RunDigests, str, Sequence[bytes]]]

BACKLOG_BYTES: Final = 16 * 1024**2
"""Appended and not yet hashed, at most: appending waits for the rest."""

FLOOD_MESSAGES: Final = 512
"""So many messages behind the last one appended: the stream is full and waits for us. Hashing beside the appending would
slow it fivefold, so the run's hashes are left to its seal, which reads the files. A run in progress is some tens behind."""


class Digester:
    """Digests by run. Called by one thread at a time, as the store is."""

    def __init__(self) -> None:
        self._runs: dict[str, RunDigests] = {}
        self._of_files = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest-files")
        self._of_events = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest-events")
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._backlog = 0

    def begin(self, correlation_id: str) -> None:
        """A run begins whose files are all empty. Runs that are never begun here have no digests."""
        self._runs[correlation_id] = RunDigests(correlation_id)

    def forget(self, correlation_id: str) -> None:
        """A run is over."""
        self._runs.pop(correlation_id, None)

    def feed(self, appends: Mapping[str, Mapping[str, Sequence[bytes]]], behind: int = 0) -> None:
        """Hash what is in the files now; waits where the threads are too far behind.

        Args:
            appends: correlation_id -> path relative to the run's directory -> payloads in sequence.
            behind: messages that wait in the stream.
        """
        work = [
            (self._runs[cid], path, parts)
            for cid, by_path in appends.items()
            if cid in self._runs
            for path, parts in by_path.items()
        ]
        if not work:
            return
        if behind > FLOOD_MESSAGES:
            for cid in appends:
                self.forget(cid)
            return
        size = sum(len(part) for _, _, parts in work for part in parts)
        for pool, digest in ((self._of_files, _digest_files), (self._of_events, _digest_events)):
            self._waiting.append((size, pool.submit(digest, work)))
            self._backlog += size
        self._wait(2 * BACKLOG_BYTES)  # each of the two counts all of it

    def _wait(self, backlog: int) -> None:
        while self._waiting and (self._backlog > backlog or self._waiting[0][1].done()):
            size, future = self._waiting.popleft()
            self._backlog -= size
            future.result()

    def finished(self, correlation_id: str) -> RunDigests | None:
        """Digests of a run with all that was fed; None where there are none."""
        self._wait(-1)
        return self._runs.get(correlation_id)

    def close(self) -> None:
        """End the threads; what they have not done is dropped."""
        self._runs.clear()
        for pool in (self._of_files, self._of_events):
            pool.shutdown(cancel_futures=True)


def _digest_files(work: Work) -> None:
    for digests, path, parts in work:
        began = time.perf_counter()
        digest = digests.add_to_file(path, parts)
        digest.duration_ms += (time.perf_counter() - began) * 1e3


def _digest_events(work: Work) -> None:
    for digests, path, parts in work:
        for block in event_blocks(path, parts):
            digests.events.add(path, block)
            time.sleep(0)  # let go of the interpreter: who waits for it would else wait for its switch interval
    for digests, _, _ in work:
        digests.events.release()
