"""Taking the directory of a run away: whole or not at all, and never that of a run that is being written."""

from __future__ import annotations

import fcntl
import os
import shutil
from typing import TYPE_CHECKING, Final

from basis.event_logger.directories import STATE_DIR
from basis.models.errors import ComponentError
from basis.results.directories import runs_of

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from basis.event_logger.directories import LogDirectoryManager, RunDir

_DOOMED: Final = ".removed-"
"""What is renamed to this is gone for every reader; a crash leaves it, and the next removal clears it."""
_COMPONENT = "event_logger"


def remove(logs: LogDirectoryManager, correlation_id: str, own_lock: Path | None, own_runs: Container[str]) -> int:
    """Remove the directories of a run; returns how many there were.

    A run that is not sealed may still be written: by this event-logger, or by another that holds a lock beside the runs.
    Where neither does, it is what a crash left behind.

    Args:
        logs: root of the runs.
        correlation_id: run.
        own_lock: lock that this event-logger holds; None where it holds none.
        own_runs: runs that it writes.

    Raises:
        InputError: RUN-001, not a correlation_id.
        ComponentError: RUN-002, somebody may still write it.
        OSError: the disk refuses.
    """
    logs.run_dir(correlation_id, 1)  # refuses what is no id before a path is touched
    for left in logs.root.glob(f"{_DOOMED}*"):
        shutil.rmtree(left)
    folder = logs.root / correlation_id
    if not folder.is_dir():
        return 0
    runs = list(runs_of(folder))
    written = correlation_id in own_runs or any(_is_held(lock) for lock in _locks(logs.root) if lock != own_lock)
    if written and not all(_is_sealed(logs, run) for run in runs):
        message = f"run {correlation_id} has not ended: cancel it first, or wait until its log is sealed"
        raise ComponentError("RUN-002", message, _COMPONENT)
    doomed = logs.root / f"{_DOOMED}{correlation_id}"
    folder.rename(doomed)
    shutil.rmtree(doomed)
    return len(runs)


def _is_sealed(logs: LogDirectoryManager, run: RunDir) -> bool:
    try:
        return logs.read_metadata(run).sealed_at is not None
    except ComponentError:  # damaged: nobody writes on at that
        return True


def _locks(root: Path) -> list[Path]:
    return list((root / STATE_DIR).glob("*.lock"))


def _is_held(lock: Path) -> bool:
    """Whether a process holds a lock; its own counts too, so the caller leaves that out."""
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)
