"""A run as one zip, written while it is read: the log as it is on disk, a summary, and its curves as Parquet."""

from __future__ import annotations

import io
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Final, Self

import polars as pl

from basis.results import curves, extract
from basis.results.core.columns import EQUITY_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from basis.models.messages import RunMetadata
    from basis.results.cache import ColumnCache
    from basis.results.directories import RunDir
    from basis.results.models import RunReport

CHUNK_BYTES: Final = 1024**2
"""Read and compressed at once: what an export holds in memory, whatever the size of the run."""
_LEVEL: Final = (
    1  # JSON lines shrink to a tenth at the lowest level; the highest takes ten times as long for little more
)


class _Pipe(io.RawIOBase):
    """What the zip writes, until somebody takes it. Not seekable: the zip then needs no second look."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self.held = 0

    def __enter__(self) -> Self:
        return self

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        part = bytes(data)
        self._parts.append(part)
        self.held += len(part)
        return len(part)

    def take(self) -> bytes:
        """All that was written since the last time."""
        found = b"".join(self._parts)
        self._parts.clear()
        self.held = 0
        return found


def stream(cache: ColumnCache, run: RunDir, metadata: RunMetadata, report: RunReport) -> Iterator[bytes]:
    """The zip in pieces: ``<correlation_id>/<pid>/`` as on disk, ``summary.json``, ``curves.parquet``, ``attribution.parquet``.

    A file that grows meanwhile is taken up to the length that it had at its turn.

    Raises:
        ComponentError: LOG-004, the log is damaged.
        OSError: a file cannot be read.
    """
    pipe = _Pipe()
    root = f"{run.correlation_id}/"
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        archive.writestr(f"{root}summary.json", report.model_dump_json(indent=2))
        for name, frame in (("curves", equity_frame), ("attribution", attribution_frame)):
            archive.writestr(f"{root}{name}.parquet", parquet(frame(cache, run, metadata)), zipfile.ZIP_STORED)
            yield pipe.take()
        for path in sorted(one for one in run.path.rglob("*") if one.is_file() and not one.is_symlink()):
            inside = f"{root}{run.pid}/{path.relative_to(run.path).as_posix()}"
            with closing(_copied(archive, path, inside)) as copying:  # a reader that leaves leaves no file half open
                for _ in copying:
                    if pipe.held >= CHUNK_BYTES:
                        yield pipe.take()
    yield pipe.take()


def _copied(archive: zipfile.ZipFile, path: Path, name: str) -> Generator[int, None, None]:
    info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
    info.compress_type = zipfile.ZIP_DEFLATED
    left = info.file_size
    with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
        while left and (block := source.read(min(CHUNK_BYTES, left))):
            target.write(block)
            left -= len(block)
            yield len(block)


def equity_frame(cache: ColumnCache, run: RunDir, metadata: RunMetadata) -> pl.DataFrame:
    """tick, timestamp (UTC) and the columns of equity; one row a tick."""
    return _stamped(cache.get(run, metadata, "equity").select(extract.TICK, *EQUITY_COLUMNS), metadata)


def attribution_frame(cache: ColumnCache, run: RunDir, metadata: RunMetadata) -> pl.DataFrame:
    """tick, timestamp (UTC), pnl, and one column a cause, all since the start; one row a tick."""
    return _stamped(cache.get(run, metadata, "attribution"), metadata)


def _stamped(frame: pl.DataFrame, metadata: RunMetadata) -> pl.DataFrame:
    times = pl.Series("timestamp", curves.times_ms(frame[extract.TICK].to_numpy(), metadata))
    stamps = times.cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    columns = [column.rename(column.name.removeprefix("attribution.")) for column in frame.get_columns()[1:]]
    return pl.DataFrame([frame[extract.TICK], stamps, *columns])


def parquet(frame: pl.DataFrame) -> bytes:
    """A frame as Parquet."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
