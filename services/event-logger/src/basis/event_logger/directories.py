"""LogDirectoryManager: the one place that knows where the files of a run are."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from basis.event_logger.core.plan import event_path, is_cid, log_path
from basis.models.errors import ComponentError, InputError
from basis.models.events import EVENT_MODELS
from basis.models.messages import RunMetadata
from basis.runtime.structured_logger import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

METADATA = "run_metadata.json"
STATE_DIR = ".event-logger"
"""Folder of the event-logger's own position, beside the runs."""
_COMPONENT = "log_directory_manager"


class RunDir(NamedTuple):
    """Directory of one run."""

    correlation_id: str
    pid: int
    """Process id of the run's engine at its start."""
    path: Path
    """``<root>/<correlation_id>/<pid>``."""

    @property
    def events(self) -> Path:
        """Folder of the event files."""
        return self.path / "events"

    @property
    def metadata(self) -> Path:
        """``run_metadata.json``."""
        return self.path / METADATA


class LogDirectoryManager:
    """Directories of runs under one root: ``<root>/<correlation_id>/<pid>/``.

    Args:
        root: folder of all runs; made when the first one begins.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def run_dir(self, correlation_id: str, pid: int) -> RunDir:
        """Directory of a run, whether it is there or not.

        Raises:
            InputError: RUN-001, not a correlation_id, or a pid below 1; no path is touched.
        """
        if not is_cid(correlation_id):
            raise InputError("RUN-001", f"{correlation_id!r} is no correlation_id (32 hex digits)", _COMPONENT)
        if pid < 1:
            raise InputError("RUN-001", f"{pid} is no process id", _COMPONENT)
        return RunDir(correlation_id, pid, self.root / correlation_id / str(pid))

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

    def runs(self) -> list[RunDir]:
        """All runs that have metadata, by correlation_id and pid."""
        return sorted(self._runs())

    def _runs(self) -> Iterator[RunDir]:
        if not self.root.is_dir():
            return
        for folder in self.root.iterdir():
            if is_cid(folder.name):
                yield from self._runs_of(folder)

    def _runs_of(self, folder: Path) -> Iterator[RunDir]:
        if not folder.is_dir():
            return
        for place in folder.iterdir():
            if place.name.isdecimal() and (place / METADATA).is_file():
                yield RunDir(folder.name, int(place.name), place)

    def find(self, correlation_id: str) -> RunDir:
        """Directory of a run by its id; the one last begun where there are several.

        Raises:
            InputError: RUN-001, not a correlation_id, or no such run.
        """
        if not is_cid(correlation_id):
            raise InputError("RUN-001", f"{correlation_id!r} is no correlation_id (32 hex digits)", _COMPONENT)
        found = list(self._runs_of(self.root / correlation_id))
        if not found:
            raise InputError("RUN-001", f"no run {correlation_id} under {self.root}", _COMPONENT)
        return max(found, key=lambda run: run.metadata.stat().st_mtime_ns)

    def read_metadata(self, run: RunDir) -> RunMetadata:
        """``run_metadata.json`` of a run.

        Raises:
            InputError: RUN-001, not there.
            ComponentError: LOG-004, not what the event-logger wrote.
        """
        try:
            return RunMetadata.model_validate_json(run.metadata.read_bytes())
        except FileNotFoundError as error:
            raise InputError("RUN-001", f"no run at {run.path}", _COMPONENT) from error
        except ValidationError as error:
            raise ComponentError("LOG-004", f"{run.metadata}: {error}", _COMPONENT) from error

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
