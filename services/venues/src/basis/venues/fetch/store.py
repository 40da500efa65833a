"""Pages on disk, and the series that they become. Every file appears whole or not at all.

A page is ``<catalogue>/.fetch/<series>/<start ms>-<end ms>.parquet``; it stays until its series is written.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from basis.models.errors import InputError
from basis.venues.data.catalogue import Catalogue
from basis.venues.fetch.series import Rows, empty, join

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.venues.fetch.series import SeriesPlan

_COMPONENT = "fetch"
_PAGE = re.compile(r"(\d+)-(\d+)\.parquet")


class PageStore:
    """Pages and file of one series.

    Args:
        root: folder of the catalogue.
        plan: the series.
    """

    def __init__(self, root: Path, plan: SeriesPlan) -> None:
        self._root, self._plan = root, plan
        self._folder = root / ".fetch" / plan.name
        self.path = root / f"{plan.name}.parquet"
        """The series."""

    def pages(self) -> list[tuple[int, int, Path]]:
        """(start, end, file) of the pages that are there, by start; what a crash left half-written is removed."""
        found = []
        if self._folder.is_dir():
            for file in sorted(self._folder.iterdir()):
                match = _PAGE.fullmatch(file.name)
                if match is None:
                    file.unlink()
                else:
                    found.append((int(match[1]), int(match[2]), file))
        return sorted(found)

    def keep(self, start_ms: int, end_ms: int, rows: Rows) -> None:
        """Keep a page.

        Raises:
            InputError: DATA-002, it cannot be written.
        """
        self._write(self._folder / f"{start_ms}-{end_ms}.parquet", rows)

    def written(self) -> Rows:
        """The series as it is in the catalogue; no rows where there is none.

        Raises:
            InputError: DATA-002, the file cannot be read.
        """
        if not self.path.exists():
            return empty(self._plan)
        catalogue = Catalogue(self._root)
        fields = catalogue.series(self._plan.name, self._plan.fields).fields
        columns = catalogue.series(self._plan.name, fields).columns
        times = np.asarray(columns["timestamp"], dtype=np.int64)
        return Rows(times, {field: np.asarray(columns[field], dtype=np.float64) for field in fields})

    def _read_page(self, path: Path) -> Rows:
        import pyarrow as pa  # noqa: PLC0415 - half a second
        import pyarrow.parquet as pq  # noqa: PLC0415

        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise InputError("DATA-002", f"{path}: not readable: delete it and fetch again", _COMPONENT) from error
        times = table.column("timestamp").cast(pa.int64()).to_numpy()
        return Rows(times, {field: table.column(field).to_numpy() for field in self._plan.fields})

    def finish(self, check: Callable[[Rows], None]) -> Rows:
        """Join the pages with what the catalogue has, check the whole, write the series, remove the pages.

        Args:
            check: raises where the whole cannot be a series although each page could.

        Raises:
            InputError: DATA-002, they contradict one another, or cannot be written; the catalogue is as it was.
        """
        whole, pages = self.written(), self.pages()
        if not pages:
            return whole
        for _, _, file in pages:
            whole = join(self._plan, whole, self._read_page(file))
        check(whole)
        if len(whole.times):
            self._write(self.path, whole)
        shutil.rmtree(self._folder, ignore_errors=True)
        for parent in (self._folder.parent, self._root / ".fetch"):
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        return whole

    def _write(self, path: Path, rows: Rows) -> None:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        columns = {"timestamp": pa.array(rows.times, pa.timestamp("ms", tz="UTC"))}
        columns |= {field: pa.array(values, pa.float64()) for field, values in rows.columns.items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
            os.close(handle)
            try:
                pq.write_table(pa.table(columns), draft, compression="zstd", use_dictionary=False)
                Path(draft).chmod(0o644)
                Path(draft).replace(path)
            except BaseException:
                Path(draft).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise InputError("DATA-002", f"{path} cannot be written: {error.strerror}", _COMPONENT) from error
