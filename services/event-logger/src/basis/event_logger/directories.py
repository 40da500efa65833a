"""LogDirectoryManager: the writing half of the run directories; ``basis.results.directories`` reads them."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING

from basis.event_logger.core.plan import event_path, log_path
from basis.models.errors import ComponentError, InputError
from basis.models.events import EVENT_MODELS
from basis.results.directories import METADATA, RunDir, RunDirectories
from basis.runtime.structured_logger import COMPONENTS

if TYPE_CHECKING:
    from pathlib import Path

    from basis.models.messages import RunMetadata

__all__ = ["METADATA", "STATE_DIR", "LogDirectoryManager", "RunDir", "write_atomically"]

STATE_DIR = ".event-logger"
"""Folder of the event-logger's own position, beside the runs."""
_COMPONENT = "log_directory_manager"


class LogDirectoryManager(RunDirectories):
    """Directories of runs under one root, for the event-logger alone: what others read, and what only it writes.

    Args:
        root: folder of all runs; made when the first one begins.
    """

    def create(self, correlation_id: str, pid: int) -> RunDir:
        """Make the directory of a run; it may be there already.

        Raises:
            InputError: RUN-001, as :meth:`run_dir`.
            ComponentError: LOG-003, it cannot be made; names the path and the reason.
        """
        run = self.run_dir(correlation_id, pid)
        try:
            run.events.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ComponentError("LOG-003", f"{run.events}: {error.strerror or error}", _COMPONENT) from error
        return run

    def event_file(self, run: RunDir, event_type: str) -> Path:
        """File of an event type.

        Raises:
            InputError: LOG-003, unknown event type.
        """
        if event_type not in EVENT_MODELS:
            raise InputError("LOG-003", f"unknown event type {event_type!r}", _COMPONENT)
        return run.path / event_path(event_type)

    def component_log(self, run: RunDir, component: str) -> Path:
        """Log of a component.

        Raises:
            InputError: LOG-003, unknown component.
        """
        if component not in COMPONENTS:
            raise InputError("LOG-003", f"unknown component {component!r}", _COMPONENT)
        return run.path / log_path(component)

    def check_writable(self) -> None:
        """Prove that runs can be written: make the root and a file in it, and remove the file.

        Raises:
            ComponentError: LOG-003, it cannot; names the path and the reason.
        """
        probe = self.root / f".writable-{os.getpid()}-{uuid.uuid4().hex}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"ok")
            probe.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                probe.unlink()
            reason = error.strerror or str(error)
            raise ComponentError("LOG-003", f"cannot write to {self.root}: {reason}", _COMPONENT) from error

    def write_metadata(self, run: RunDir, metadata: RunMetadata, *, sync: bool = False) -> None:
        """Replace ``run_metadata.json`` in one step: readers see the old one or the new one, whole.

        Args:
            run: whose.
            metadata: what.
            sync: wait until it is on the disk itself.

        Raises:
            OSError: the disk is full or broken; the old file stays.
        """
        write_atomically(run.metadata, metadata.model_dump_json(indent=2).encode() + b"\n", sync=sync)


def write_atomically(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, whole.

    Args:
        path: file to replace.
        content: all of it.
        sync: wait until it is on the disk itself.

    Raises:
        OSError: the disk is full or broken; the old file stays.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
