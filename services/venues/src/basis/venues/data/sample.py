"""A synthetic catalogue: made-up market data for trying things out, never a statement about a real market."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from basis.models.errors import InputError
from basis.venues.data import synthetic

if TYPE_CHECKING:
    from basis.venues.data.synthetic import Table

MARKER = "SYNTHETIC.json"
"""File of a catalogue that says how a generator made it; a catalogue without it holds observed data."""

_COMPONENT = "market_data"
_README = """# Synthetic market data

Made up by `basis.venues.data.sample` from seed {seed}: no price, rate or payment here was ever observed anywhere, and
no result computed from it says anything about a real market. Regimes and their dates: `{marker}`. Format and units:
`docs/reference/market-data-format.md`.
"""


def is_synthetic(folder: Path) -> bool:
    """True where the catalogue says that a generator made it."""
    return (folder / MARKER).is_file()


def write_sample(folder: Path, seed: int = 7, years: int = 2) -> list[str]:
    """Write a synthetic catalogue that feeds every mode from 2022-01-01T00:00Z for so many calendar years.

    Deterministic: the same seed and years give the same bytes on one machine. The folder appears whole or not at all.

    Args:
        folder: target; must not exist, or be empty.
        seed: of all randomness, 0 or above.
        years: length, at least 1.

    Returns:
        Files written, relative to the folder, sorted.

    Raises:
        InputError: CONFIG-003, the folder is in use or cannot be written, seed or years out of range.
    """
    if seed < 0 or years < 1:
        raise InputError("CONFIG-003", f"seed {seed} must not be negative, years {years} at least 1", _COMPONENT)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("CONFIG-003", f"{folder} exists and is not an empty folder: name another one", _COMPONENT)
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        draft.chmod(0o755)
        _write_all(draft, seed, years)
        files = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
        draft.replace(folder)
    except OSError as error:
        raise InputError("CONFIG-003", f"{folder} cannot be written: {error.strerror}", _COMPONENT) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
    return files


def _write_all(folder: Path, seed: int, years: int) -> None:
    for name, table in synthetic.tables(seed, years).items():
        _write(folder / f"{name}.parquet", table)
    about = {
        "text": "Synthetic market data, made up by a generator. Nothing here was observed in any market.",
        "seed": seed,
        "version": synthetic.VERSION,
        "start": f"{synthetic.START.isoformat()}T00:00:00+00:00",
        "years": years,
        "regimes": synthetic.regimes(years),
        "otherwise": "calm",
    }
    (folder / MARKER).write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    (folder / "README.md").write_text(_README.format(seed=seed, marker=MARKER), encoding="utf-8")


_DECIMALS = 12


def _write(path: Path, table: Table) -> None:
    # Imported here, not at the top: half a second that only a writer needs to pay.
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    moment = pa.timestamp("ms", tz="UTC")
    # integers are times: every other column is float64, cut to twelve decimals so that machines whose exp and log differ
    # in the last bit write the same sample
    columns = {
        name: pa.array(values, type=moment)
        if values.dtype == np.int64
        else pa.array(np.round(values, _DECIMALS), type=pa.float64())
        for name, values in table.items()
    }
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="zstd", use_dictionary=False)
