"""The dashboard that stays in the background: at most one for each log root, found again by a locked file.

The process holds a lock on its file as long as it lives, so that a file left behind by a crash, or a process id that the
system gave to somebody else, is never taken for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import orjson

from basis.models.errors import ComponentError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(".cache/basis/dashboard")
PORT: Final = 8011
"""First choice of ports; not the gateway's, which ``basis services up`` and ``make up`` need."""
IDLE_END_S: Final = 12 * 3600.0
"""After so long without a request a dashboard in the background ends by itself, seconds."""
_START_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.05
_COMPONENT: Final = "cli"


class Running(NamedTuple):
    """A dashboard in the background."""

    pid: int
    """Its process."""
    url: str
    """Where its page is, without a slash at the end."""
    logs: str
    """Log root that it serves."""


def state_file(logs: Path) -> Path:
    """The file of the dashboard of a log root."""
    root = str(logs.resolve())
    return FOLDER / f"{hashlib.sha256(root.encode()).hexdigest()[:12]}.json"


def find(logs: Path) -> Running | None:
    """The dashboard of a log root, where one runs."""
    return _read(state_file(logs))


def _read(path: Path) -> Running | None:
    try:
        with path.open("rb") as file:
            return _content(file) if _is_held(file) else None
    except OSError:
        return None


def _is_held(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _is_taken(path: Path) -> bool:
    """True while some dashboard has the file: one that starts has not said where it is yet."""
    try:
        with path.open("rb") as file:
            return _is_held(file)
    except OSError:
        return False


def _content(file: IO[bytes]) -> Running | None:
    try:
        found = orjson.loads(file.read())
    except orjson.JSONDecodeError:
        return None  # it starts, and has not said where yet
    return Running(int(found["pid"]), str(found["url"]), str(found["logs"]))


@contextlib.contextmanager
def held(path: Path) -> Iterator[IO[bytes]]:
    """The lock of a dashboard, for the process that is it; the file is gone afterwards.

    Raises:
        InputError: CONFIG-003, another one has it.
        ComponentError: ENGINE-001, the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        raise ComponentError("ENGINE-001", message, _COMPONENT) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError("CONFIG-003", f"another dashboard has {path}", _COMPONENT) from error
        file.truncate(0)
        try:
            yield file
        finally:
            path.unlink(missing_ok=True)


def announce(file: IO[bytes], running: Running) -> None:
    """Say where the dashboard is, once it answers."""
    file.write(orjson.dumps(running._asdict()))
    file.flush()


def ensure(logs: Path, host: str) -> Running:
    """The dashboard of a log root: the one that runs, or a new one in the background.

    Raises:
        ComponentError: ENGINE-001, it does not start; shows the end of its log.
    """
    found = find(logs)
    if found is not None:
        return found
    path = state_file(logs)
    log = path.with_suffix(".log")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "basis.cli", "dashboard", "--logs", str(logs.resolve()), "--detached"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(os.environ) | {"BASIS_GATEWAY_HOST": host},
                start_new_session=True,  # Ctrl-C and the end of the shell are not for it
            )
    except OSError as error:
        raise ComponentError("ENGINE-001", f"the dashboard does not start: {error}", _COMPONENT) from error
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        found = find(logs)  # ours, or that of another command that was faster
        if found is not None:
            return found
        if child.poll() is not None and not _is_taken(path):
            break
        time.sleep(_LOOK_EVERY_S)
    child.kill()
    child.wait()
    said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
    raise ComponentError("ENGINE-001", f"the dashboard does not start ({log}): {said[0]}", _COMPONENT)


def stop_all() -> list[Running]:
    """End every dashboard that was started from this folder; returns those that ran.

    Raises:
        ComponentError: ENGINE-001, one does not end.
    """
    ended = []
    for path in sorted(FOLDER.glob("*.json")):
        found = _read(path)
        if found is not None:
            _stop(path, found)
            ended.append(found)
    return ended


def _stop(path: Path, running: Running) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_TIMEOUT_S
    while _read(path) is not None:
        if time.monotonic() > deadline:
            raise ComponentError("ENGINE-001", f"the dashboard, process {running.pid}, does not end", _COMPONENT)
        time.sleep(_LOOK_EVERY_S)
