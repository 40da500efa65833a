"""Where the files of a run are, and how a run is found again from its directory alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from basis.models.errors import ComponentError, InputError
from basis.models.messages import RunMetadata

if TYPE_CHECKING:
    from collections.abc import Iterator

METADATA: Final = "run_metadata.json"
_CID = re.compile("[0-9a-f]{32}")
_COMPONENT = "run_directories"


def is_cid(text: str) -> bool:
    """True for 32 lower-case hex digits: nothing else ever touches a path."""
    return _CID.fullmatch(text) is not None


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

    def event_file(self, event_type: str) -> Path:
        """File of an event type; the caller names one of ``EVENT_MODELS``."""
        return self.path / "events" / f"{event_type}.jsonl"


class RunDirectories:
    """Directories of runs under one root: ``<root>/<correlation_id>/<pid>/``. Reads only.

    Args:
        root: folder of all runs; it need not be there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def run_dir(self, correlation_id: str, pid: int) -> RunDir:
        """Directory of a run, whether it is there or not.

        Raises:
            InputError: RUN-001, not a correlation_id, or a pid below 1; no path is touched.
        """
        _check_cid(correlation_id)
        if pid < 1:
            raise InputError("RUN-001", f"{pid} is no process id", _COMPONENT)
        return RunDir(correlation_id, pid, self.root / correlation_id / str(pid))

    def runs(self) -> list[RunDir]:
        """All runs that have metadata, by correlation_id and pid."""
        return sorted(self._runs())

    def _runs(self) -> Iterator[RunDir]:
        if not self.root.is_dir():
            return
        for folder in self.root.iterdir():
            if is_cid(folder.name):
                yield from runs_of(folder)

    def find(self, correlation_id: str) -> RunDir:
        """Directory of a run by its id; the one last begun where there are several.

        Raises:
            InputError: RUN-001, not a correlation_id, or no such run.
        """
        _check_cid(correlation_id)
        found = list(runs_of(self.root / correlation_id))
        if not found:
            raise InputError("RUN-001", f"no run {correlation_id} under {self.root}", _COMPONENT)
        return max(found, key=lambda run: run.metadata.stat().st_mtime_ns)

    def read_metadata(self, run: RunDir) -> RunMetadata:
        """``run_metadata.json`` of a run.

        Raises:
            InputError: RUN-001, not there.
            ComponentError: LOG-004, not what the event-logger wrote; names the file and the first thing wrong in it.
        """
        try:
            return RunMetadata.model_validate_json(run.metadata.read_bytes())
        except FileNotFoundError as error:
            raise InputError("RUN-001", f"no run at {run.path}", _COMPONENT) from error
        except ValidationError as error:
            raise ComponentError("LOG-004", f"{run.metadata}: {_first_fault(error)}", _COMPONENT) from error


def runs_of(folder: Path) -> Iterator[RunDir]:
    """Runs in the folder of one correlation_id; none where it is not there."""
    if not folder.is_dir():
        return
    for place in folder.iterdir():
        if place.name.isdecimal() and (place / METADATA).is_file():
            yield RunDir(folder.name, int(place.name), place)


def _check_cid(text: str) -> None:
    if not is_cid(text):
        raise InputError("RUN-001", f"{text!r} is no correlation_id (32 hex digits)", _COMPONENT)


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where + ': ' if where else ''}{first['msg']}"
