"""Columns of a series as memory-mapped ``.npy`` files, keyed by the SHA-256 of the Parquet file they came from.

An entry is a folder ``<sha256>`` with ``<column>.npy`` for each column and ``manifest.json`` with the CRC-32 of each
of them (against accidents, and ten times as fast as SHA-256). It appears in one rename, so it is whole or absent. One
that does not match its manifest is never used, which is also why nothing here is synced to disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[Any]]

_FORMAT = 2
_MANIFEST = "manifest.json"
TIMESTAMP = "timestamp"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(cache_dir: Path, key: str, fields: Iterable[str]) -> tuple[Columns, tuple[str, ...]] | None:
    """Timestamp and the fields wanted of an entry, memory-mapped, and the names of all fields it has.

    A field that the entry does not have is left out. None where there is no entry, or none that matches its manifest.
    """
    folder = cache_dir / key
    try:
        manifest = orjson.loads((folder / _MANIFEST).read_bytes())
        if manifest["format"] != _FORMAT:
            return None
        checksums: dict[str, int] = manifest["columns"]
        wanted = [TIMESTAMP, *(name for name in fields if name in checksums)]
        columns = {name: _mapped(folder / f"{name}.npy", checksums[name]) for name in wanted}
        return columns, tuple(sorted(name for name in checksums if name != TIMESTAMP))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(cache_dir: Path, key: str, columns: Columns) -> bool:
    """Write an entry, replacing one that is broken. False where the folder cannot be written: then do without.

    Concurrent writers of one key write the same bytes; the first rename wins.
    """
    draft: Path | None = None
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{key[:12]}-", dir=cache_dir))
        checksums = {name: _write(draft / f"{name}.npy", values) for name, values in columns.items()}
        (draft / _MANIFEST).write_bytes(orjson.dumps({"format": _FORMAT, "columns": checksums}))
        _publish(draft, cache_dir / key)
    except OSError:
        return False
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
    return True


def _publish(draft: Path, target: Path) -> None:
    """Rename onto the target; what is there already was found broken, or another writer was first: swap it out."""
    try:
        draft.replace(target)
    except OSError:
        if not target.is_dir():
            raise
        aside = draft.with_name(f"{draft.name}-old")
        target.replace(aside)
        shutil.rmtree(aside, ignore_errors=True)
        with contextlib.suppress(OSError):
            draft.replace(target)


def _write(path: Path, values: NDArray[Any]) -> int:
    """Write a column; its checksum."""
    with path.open("xb") as file:
        np.save(file, values, allow_pickle=False)
    return zlib.crc32(path.read_bytes())


def _mapped(path: Path, checksum: int) -> NDArray[Any]:
    if zlib.crc32(path.read_bytes()) != checksum:
        raise ValueError(f"{path} does not match its manifest")
    # a plain view: np.memmap pays for its bookkeeping at every slice
    mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped.view(np.ndarray)
