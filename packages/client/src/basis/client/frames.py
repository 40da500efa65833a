"""Answers as data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import polars as pl

Kind = Literal["polars", "pandas"]
"""Library of a frame; ``pandas`` needs the extra ``basis-client[pandas]``."""


def curves(answers: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Answers of ``/curves`` one below the other: tick, time (UTC), one column a curve; null where not defined."""
    import polars as pl  # noqa: PLC0415 - a tenth of a second that not every script needs

    frames = [
        pl.DataFrame(
            {
                "tick": pl.Series(answer["ticks"], dtype=pl.Int64),
                "time": pl.Series(answer["times"], dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")),
                **{name: pl.Series(values, dtype=pl.Float64) for name, values in answer["columns"].items()},
            }
        )
        for answer in answers
    ]
    return pl.concat(frames)


def records(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a frame: maps become structs, ISO times of ``timestamp`` become times, UTC."""
    import polars as pl  # noqa: PLC0415

    frame = pl.DataFrame(list(rows), infer_schema_length=None, strict=False)
    times = [name for name in ("timestamp", "real_utc_time") if frame.schema.get(name) == pl.String]
    return frame.with_columns(pl.col(name).str.to_datetime(time_zone="UTC", time_unit="us") for name in times)


def as_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """The same as a pandas frame.

    Raises:
        ImportError: pandas is not installed.
    """
    return frame.to_pandas()
