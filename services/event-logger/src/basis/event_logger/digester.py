"""The sink's side of the :mod:`follower <basis.event_logger.follower>`: tell it what was appended, ask it at the seal.

Nothing depends on it: without it, or where it is wrong about the size of a file, the seal reads the files itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec

from basis.event_logger.core import following
from basis.event_logger.core.following import Appended, Begin, Finish, Followed, Forget, HashWith
from basis.event_logger.core.plan import event_path
from basis.runtime.domain_events import EVERY_TICK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from basis.event_logger.core.following import Command

_log = logging.getLogger(__name__)

START_BYTES: Final = 16 * 1024**2
"""A run is followed once it is so large; smaller ones are read at the seal before a process would have started."""
ANSWER_S: Final = 120.0
"""A process that does not answer for so long is given up."""
_PIPE_BYTES: Final = 64 * 1024
_EVERY_TICK: Final = tuple(sorted(map(event_path, EVERY_TICK)))


class _Run:
    """What the follower has to be told of a run, as long as it has not been."""

    def __init__(self, begin: Begin) -> None:
        self.untold: list[Command] = [begin]
        self.size = 0
        self.told = False


class Digester:
    """Digests of the runs that are being written. Called by one thread at a time, as the store is."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._unsent = bytearray()

    def begin(self, correlation_id: str, directory: Path) -> None:
        """A run begins whose files are all empty. Runs that are never begun here have no digests."""
        self._runs[correlation_id] = _Run(Begin(correlation_id, str(directory), _EVERY_TICK))

    def feed(self, correlation_id: str, by_path: Mapping[str, Sequence[bytes]]) -> None:
        """Payloads are in the files of a run.

        Args:
            correlation_id: run; ignored where it was not begun.
            by_path: path relative to the run's directory -> payloads in sequence.
        """
        run = self._runs.get(correlation_id)
        if run is None:
            return
        for path, parts in by_path.items():
            sizes = list(map(len, parts))
            run.untold.append(Appended(correlation_id, path, sizes))
            run.size += sum(sizes)
        if run.size >= START_BYTES:
            self._tell(run)

    def _tell(self, run: _Run) -> None:
        if self._process is None and not self._start():
            self._runs.clear()
            return
        self._unsent += b"".join(map(following.encode, run.untold))
        run.untold.clear()
        run.told = True
        self._send()

    def finished(self, correlation_id: str) -> Followed | None:
        """What is known of a run with all that was fed; None where nothing is."""
        run = self._runs.get(correlation_id)
        if run is None or not run.told:
            return None
        answer = self._ask(Finish(correlation_id))
        return None if answer is None else msgspec.json.decode(answer, type=Followed)

    def hash_with(self, correlation_id: str, later: bytes) -> str | None:
        """Event hash of a run that is :meth:`finished`; None where it has to be found otherwise.

        Args:
            correlation_id: run.
            later: canonical text after all events that were fed.
        """
        answer = self._ask(HashWith(correlation_id, later))
        return msgspec.json.decode(answer, type=str) or None if answer is not None else None

    def forget(self, correlation_id: str) -> None:
        """A run is over."""
        run = self._runs.pop(correlation_id, None)
        if run is not None and run.told:
            self._unsent += following.encode(Forget(correlation_id))
            self._send()

    # ------------------------------------------------------------------------------------------------- process

    def _start(self) -> bool:
        command = [sys.executable, "-m", "basis.event_logger.follower"]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
            )
        except OSError as error:
            _log.warning("no process to hash with: %s", error)
            return False
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self._process = process
        return True

    def _send(self) -> None:
        """Write as much as the pipe takes."""
        if self._process is None or self._process.stdin is None:
            return
        try:
            while self._unsent:
                sent = os.write(self._process.stdin.fileno(), self._unsent[:_PIPE_BYTES])
                del self._unsent[:sent]
        except BlockingIOError:  # it is behind: the rest goes with the next
            return
        except OSError as error:
            self._give_up(str(error))

    def _ask(self, question: Command) -> bytes | None:
        self._unsent += following.encode(question)
        answer, until = b"", time.monotonic() + ANSWER_S
        while self._process is not None and not answer.endswith(b"\n"):
            self._send()
            if self._process is None:
                break
            part = self._receive(self._process, until - time.monotonic())
            if part == b"":
                self._give_up("no answer")
            answer += part or b""
        return answer if answer.endswith(b"\n") else None

    def _receive(self, process: subprocess.Popen[bytes], patience_s: float) -> bytes | None:
        """A piece of an answer; None where there was only room to send more, empty where there will be none."""
        assert process.stdin is not None
        assert process.stdout is not None
        writing = [process.stdin] if self._unsent else []
        readable, writable, _ = select.select([process.stdout], writing, [], max(patience_s, 0.0))
        if readable:
            return os.read(process.stdout.fileno(), _PIPE_BYTES)
        return None if writable else b""

    def _give_up(self, reason: str) -> None:
        _log.warning("the process that hashes is given up (%s): runs are read when they end", reason)
        self.close()

    def close(self) -> None:
        """End the process; what it knows is lost."""
        self._runs.clear()
        self._unsent.clear()
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()
