"""The process that follows the files of a sink and hashes them, so that the seal has nothing left to read.

A process and not a thread: hashing takes half as much time as a run does, and a thread would take the interpreter from
whatever else the sink's process does. It reads what was appended back from the page cache, says nothing unless asked,
and ends with its standard input.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from basis.event_logger.core import following
from basis.event_logger.core.digests import CanonicalDigest, FileDigest, event_blocks
from basis.event_logger.core.following import Appended, Begin, Command, Finish, Followed, FollowedFile, HashWith

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO


class _Run:
    """One run that is followed."""

    def __init__(self, begin: Begin) -> None:
        self._directory = Path(begin.directory)
        self._files: dict[str, FileDigest] = {}
        self._took_ms: dict[str, float] = {}
        self.events = CanonicalDigest(begin.cid, begin.every_tick)

    def follow(self, appended: Appended) -> None:
        """Hash what was appended.

        Raises:
            OSError: it is not there.
        """
        began = time.perf_counter()
        path = appended.path
        for block in event_blocks(path, self._hashed(appended)):
            self.events.add(path, block)
        self._took_ms[path] = self._took_ms.get(path, 0.0) + (time.perf_counter() - began) * 1e3

    def _hashed(self, appended: Appended) -> list[bytes]:
        digest = self._files.setdefault(appended.path, FileDigest())
        parts = list(_read(self._directory / appended.path, digest.size, appended.sizes))
        for part in parts:
            digest.add(part)
        return parts

    def finish(self) -> Followed:
        """All that there is to know."""
        files = {
            path: FollowedFile(digest.count, digest.size, digest.sha256, self._took_ms.get(path, 0.0))
            for path, digest in self._files.items()
        }
        return Followed(files, self.events.finish())


def _read(file: Path, offset: int, sizes: list[int]) -> Iterator[bytes]:
    with file.open("rb", buffering=0) as handle:
        handle.seek(offset)
        for size in sizes:
            yield handle.read(size)


class Follower:
    """Does what it is told; a run whose files are not as told is not followed any further."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    def do(self, command: Command) -> Followed | str | None:
        """Returns the answer to a question, else None."""
        if isinstance(command, Begin):
            self._runs[command.cid] = _Run(command)
            return None
        run = self._runs.get(command.cid)
        match command:
            case Appended() if run is not None:
                try:
                    run.follow(command)
                except OSError:
                    del self._runs[command.cid]
            case Finish():
                return Followed({}, None) if run is None else run.finish()
            case HashWith():
                return "" if run is None else run.events.hash_with(command.later)
            case _:
                self._runs.pop(command.cid, None)
        return None


def main(commands: BinaryIO, answers: BinaryIO) -> None:
    """Serve until the commands end."""
    follower = Follower()
    for line in commands:
        answer = follower.do(following.decode(line))
        if answer is not None:
            answers.write(following.encode(answer))
            answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sink decides when it is over
    main(sys.stdin.buffer, sys.stdout.buffer)
