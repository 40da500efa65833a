"""The digests of the runs that are being written, fed beside the appending: a thread that hashes while others wait.

SHA-256 runs without the interpreter's lock, so appending goes on meanwhile. It is one thread: two that cut and hash for
the interpreter's lock in turn cost more than they win.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from basis.event_logger.core.digests import RunDigests

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
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digest")
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._backlog = 0

    def begin(self, correlation_id: str) -> None:
        """A run begins whose files are all empty. Runs that are never begun here have no digests."""
        self._runs[correlation_id] = RunDigests(correlation_id)

    def forget(self, correlation_id: str) -> None:
        """A run is over."""
        self._runs.pop(correlation_id, None)

    def feed(self, appends: Mapping[str, Mapping[str, Sequence[bytes]]], behind: int = 0) -> None:
        """Hash what is in the files now; waits where the thread is too far behind.

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
        self._waiting.append((size, self._thread.submit(_digest, work)))
        self._backlog += size
        self._wait(BACKLOG_BYTES)

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
        """End the thread; what it has not done is dropped."""
        self._runs.clear()
        self._thread.shutdown(cancel_futures=True)


def _digest(work: Work) -> None:
    for digests, path, parts in work:
        began = time.perf_counter()
        digests.add(path, parts)
        digests.files[path].duration_ms += (time.perf_counter() - began) * 1e3
    for digests, _, _ in work:  # the batch is taken apart by file: only now all of a tick's events are there
        digests.events.release()
