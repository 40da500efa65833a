"""Columns of runs, extracted once: in memory for those last looked at, as Parquet in a folder for sealed ones.

The folder is safe to delete at any time. What cannot be written there stays in memory only: logs and cache may be read-only.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl
from pydantic import ValidationError

from basis.models.errors import ComponentError
from basis.results import extract
from basis.results.core import growth
from basis.results.directories import is_cid
from basis.results.lines import EventFile
from basis.results.models import Derived

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from basis.models.messages import RunMetadata
    from basis.results.directories import RunDir

_IN_MEMORY: Final = 192 * 1024**2
"""Bytes of columns kept in memory; all groups of a 105,121-tick run are about 25 MB."""
_FORMAT: Final = "1"
"""Changes when what is cached changes."""
_COMPUTED: Final = ("capital", "growth", "drawdown")
"""Columns of the group ``equity`` that are not in the log."""
_COMPONENT = "results_cache"
_log = logging.getLogger(__name__)


class _Kept(NamedTuple):
    frame: pl.DataFrame
    offset: int
    """Bytes of the event file that are in it."""
    sealed: bool


class ColumnCache:
    """Groups of columns of runs; threads may share one.

    Args:
        folder: where Parquet files go; None keeps everything in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._kept: OrderedDict[tuple[str, ...], _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._busy: dict[tuple[str, ...], threading.Lock] = {}

    def get(self, run: RunDir, metadata: RunMetadata, group: str) -> pl.DataFrame:
        """Columns of a group, one row a tick, with the column ``tick``. Of a run that goes on: those on disk so far.

        Raises:
            ComponentError: LOG-004, a file is not what was sealed, or not what the event-logger writes.
        """
        check_size(run, metadata, extract.GROUPS[group].event_type)
        key = (run.correlation_id, str(run.path), seal_key(metadata), group)
        with self._lock:
            one_at_a_time = self._busy.setdefault(key, threading.Lock())
        with one_at_a_time:
            kept = self._remembered(key)
            if kept is None or not kept.sealed:
                kept = self._load(run, metadata, group, kept)
                self._remember(key, kept)
        with self._lock:
            self._busy.pop(key, None)
        return kept.frame

    def derived(self, run: RunDir, metadata: RunMetadata, derive: Callable[[], Derived]) -> Derived:
        """What was derived from a sealed run before, else what is derived now.

        Raises:
            ComponentError: LOG-004, a file is not what was sealed, or what deriving raises.
        """
        for event_type in ("exposures", "execution_deltas", "operation_executions"):
            check_size(run, metadata, event_type)
        path = self._file(run, metadata, "derived.json")
        if path is None:
            return derive()
        with contextlib.suppress(OSError, ValidationError):  # not there, or not whole: made again
            return Derived.model_validate_json(path.read_bytes())
        found = derive()
        self._keep(run, path, lambda beside: beside.write_bytes(found.model_dump_json().encode()))
        return found

    def forget(self, correlation_id: str) -> None:
        """Let go of all that is kept of a run; trouble with the cache is no trouble of the caller's."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == correlation_id]:
                del self._kept[key]
        if self._folder is not None and is_cid(correlation_id):
            shutil.rmtree(self._folder / correlation_id, ignore_errors=True)

    def _remembered(self, key: tuple[str, ...]) -> _Kept | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _remember(self, key: tuple[str, ...], kept: _Kept) -> None:
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            sizes = [one.frame.estimated_size() for one in self._kept.values()]
            held = sum(sizes)
            for size in sizes[:-1]:  # the oldest first; what is asked for now stays, however large it is
                if held <= _IN_MEMORY:
                    break
                self._kept.popitem(last=False)
                held -= size

    def _load(self, run: RunDir, metadata: RunMetadata, group: str, before: _Kept | None) -> _Kept:
        path = self._file(run, metadata, f"{group}.parquet")
        if path is not None:
            with contextlib.suppress(OSError, pl.exceptions.PolarsError):  # not there, or not whole: made again
                return _Kept(pl.read_parquet(path, memory_map=False), 0, sealed=True)
        kept = _extracted(run, metadata, group, before)
        if path is not None:
            self._keep(run, path, lambda beside: kept.frame.write_parquet(beside, compression="lz4"))
        return kept

    def _keep(self, run: RunDir, path: Path, write: Callable[[Path], object]) -> None:
        """Write a file of a run; none stays where the run was deleted meanwhile."""
        _write(path, write)
        if not run.path.is_dir():
            self.forget(run.correlation_id)

    def _file(self, run: RunDir, metadata: RunMetadata, name: str) -> Path | None:
        """Where something of a sealed run is kept; None where nothing is."""
        if self._folder is None or metadata.sealed_at is None:
            return None
        return self._folder / run.correlation_id / f"{run.pid}-{seal_key(metadata)}" / name


def _extracted(run: RunDir, metadata: RunMetadata, group: str, before: _Kept | None) -> _Kept:
    """Read a group from its file; only what is new where a part is known."""
    known = extract.GROUPS[group]
    with EventFile(run.event_file(known.event_type)) as file:
        offset = before.offset if before is not None and before.offset <= file.size else 0
        frame = extract.read(file, known, offset)
        if before is not None and offset:
            known_part = before.frame.drop(_COMPUTED, strict=False)
            frame = extract.last_of_tick(pl.concat([known_part, frame], how="diagonal"))
        size = file.size
    if group == "equity":
        frame = _with_capital(frame, run, metadata)
    return _Kept(frame, size, sealed=metadata.sealed_at is not None)


def _with_capital(frame: pl.DataFrame, run: RunDir, metadata: RunMetadata) -> pl.DataFrame:
    check_size(run, metadata, "execution_deltas")
    with EventFile(run.event_file("execution_deltas")) as file:
        flows = extract.client_flows(file)
    ticks, equity = frame[extract.TICK].to_numpy(), frame["equity"].to_numpy()
    capital = growth.capital_column(metadata.initial_capital, ticks, flows)
    found = growth.growth(equity, capital)
    return frame.with_columns(
        **{
            name: pl.Series(values)
            for name, values in zip(_COMPUTED, (capital, found.unit, found.drawdown), strict=True)
        }
    )


def seal_key(metadata: RunMetadata) -> str:
    """What tells the content of two directories apart: a hash over the seals of the event files."""
    if metadata.sealed_at is None:
        return "open"
    seals = sorted((name, seal.sha256) for name, seal in metadata.files.items())
    return hashlib.sha256(f"{_FORMAT} {metadata.event_hash} {seals}".encode()).hexdigest()[:16]


def check_size(run: RunDir, metadata: RunMetadata, event_type: str) -> None:
    """A file of a sealed run must be as long as it was sealed: a cheap look that finds copies cut short.

    Raises:
        ComponentError: LOG-004, it is not; ``basis verify`` reads every line.
    """
    path = run.event_file(event_type)
    seal = metadata.files.get(f"events/{path.name}")
    if metadata.sealed_at is None or seal is None:
        return
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise ComponentError("LOG-004", f"{path} is missing: the directory is incomplete", _COMPONENT) from None
    if size != seal.bytes:
        message = (
            f"{path} has {size:,} bytes, sealed with {seal.bytes:,}: copy the directory again, or see 'basis verify'"
        )
        raise ComponentError("LOG-004", message, _COMPONENT)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Beside, then renamed: readers see a whole file or none. Trouble with the cache is no trouble of the reader's."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        beside.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        _log.info("curves are not cached at %s: %s", path, error)
        with contextlib.suppress(OSError):
            beside.unlink()
