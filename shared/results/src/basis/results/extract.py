"""Columns from event files: one value a tick, read with polars in blocks, so that memory does not grow with the log.

A tick that had orders is there twice (before and after them): the last line of a tick counts.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from basis.models.errors import ComponentError
from basis.models.events.base import TICK_SPAN
from basis.models.events.pnl_calculation import ATTRIBUTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future

    from basis.results.lines import EventFile

BLOCK_BYTES: Final = 8 * 1024**2
"""Bytes of lines that are parsed at once."""
_EXAMPLES: Final = 16
"""Lines that show which instruments, assets and venues a file has."""
_SIDE_BY_SIDE: Final = 3
"""Blocks in hand: two that are parsed, and one that is read meanwhile."""
TICK: Final = "tick"
"""Name of the column of tick numbers."""
_F: Final = pl.Float64
_COMPONENT = "extract"


class Group(NamedTuple):
    """Columns that are read from one event file together."""

    name: str
    event_type: str
    required: bool
    """Whether every line must have every column."""


GROUPS: Final[Mapping[str, Group]] = {
    group.name: group
    for group in (
        Group("equity", "exposures", required=True),
        Group("exposure", "exposures", required=False),
        Group("attribution", "pnl_calculations", required=True),
        Group("risk", "risk_assessments", required=False),
        Group("position", "positions", required=False),
    )
}
"""Name -> group. ``equity`` alone is what a run page needs first, and quick to read."""
RISK_COLUMNS: Final = ("health_factor", "ltv_ratio", "margin_usage")


class Shape(NamedTuple):
    """Which columns a file of a run holds."""

    names: tuple[str, ...]
    """Names of the columns."""
    schema: dict[str, pl.DataType | type[pl.DataType]]
    """What polars is told to read of a line."""
    exprs: tuple[pl.Expr, ...]
    """The columns from what it read."""


def shape(group: str, *examples: Mapping[str, Any]) -> Shape:
    """Columns of a group, as example events show them; a value that a line does not have is null."""
    schema: dict[str, pl.DataType | type[pl.DataType]] = {"order": pl.Int64}
    columns: dict[str, pl.Expr] = {}
    match group:
        case "equity":
            schema |= {"share_class_value": _F, "total_value_usd": _F, "net_delta_usd": _F}
            columns = {
                "equity": pl.col("share_class_value"),
                "total_value_usd": pl.col("total_value_usd"),
                "net_delta_usd": pl.col("net_delta_usd"),
            }
        case "exposure":
            names = _keys(examples, "asset_exposures")
            schema["asset_exposures"] = pl.Struct({name: pl.Struct({"usd_value": _F}) for name in names})
            held = pl.col("asset_exposures").struct
            columns = {f"exposure.{name}": held.field(name).struct.field("usd_value") for name in names}
        case "attribution":
            schema |= {"total_pnl": _F, "attribution": pl.Struct(dict.fromkeys(ATTRIBUTION, _F))}
            columns = {"pnl": pl.col("total_pnl")}
            columns |= {f"attribution.{name}": pl.col("attribution").struct.field(name) for name in ATTRIBUTION}
        case "risk":
            schema |= dict.fromkeys(RISK_COLUMNS, _F)
            columns = {name.removesuffix("_ratio"): pl.col(name) for name in RISK_COLUMNS}
            venues = _keys([example.get("metadata", {}) for example in examples], "margin_ratio")
            if venues:
                schema["metadata"] = pl.Struct({"margin_ratio": pl.Struct(dict.fromkeys(venues, _F))})
                ratios = pl.col("metadata").struct.field("margin_ratio").struct
                columns |= {f"margin_ratio.{venue}": ratios.field(venue) for venue in venues}
        case "position":
            names = _keys(examples, "positions")
            schema["positions"] = pl.Struct(dict.fromkeys(names, _F))
            columns = {f"position.{name}": pl.col("positions").struct.field(name) for name in names}
        case _:
            raise ValueError(f"no group {group!r}")
    return Shape(tuple(columns), schema, tuple(expr.alias(name) for name, expr in columns.items()))


def shape_of(file: EventFile, group: Group) -> Shape:
    """Columns of a group in a file: instruments and assets are those of some lines, the first and the last among them."""
    return shape(group.name, *(file.parse(line) for line in file.sample(_EXAMPLES)))


def _keys(examples: Any, field: str) -> list[str]:
    return list(dict.fromkeys(key for example in examples for key in example.get(field) or {}))


def read(file: EventFile, group: Group, start: int = 0) -> pl.DataFrame:
    """Columns of a group, one row a tick, from one line's beginning to the end of the file.

    Raises:
        ComponentError: LOG-004, a line is no event of that type; names the file and the line.
    """
    wanted = shape_of(file, group)
    parts = list(_parsed(file, group, wanted, start))
    return last_of_tick(pl.concat(parts)) if parts else empty(wanted)


def _parsed(file: EventFile, group: Group, wanted: Shape, start: int) -> Iterator[pl.DataFrame]:
    """Blocks parsed side by side: a few at a time, so that memory stays bounded."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="extract") as pool:
        waiting: deque[Future[pl.DataFrame]] = deque()
        for block in file.blocks(start, size=BLOCK_BYTES):
            waiting.append(pool.submit(_parse, file, group, wanted, block))
            if len(waiting) == _SIDE_BY_SIDE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def empty(wanted: Shape) -> pl.DataFrame:
    """No ticks."""
    return pl.DataFrame(schema={TICK: pl.Int64, **dict.fromkeys(wanted.names, _F)})


def last_of_tick(frame: pl.DataFrame) -> pl.DataFrame:
    """The last row of each tick; rows are in order."""
    return frame.filter(pl.col(TICK).ne_missing(pl.col(TICK).shift(-1)))


def _parse(file: EventFile, group: Group, wanted: Shape, block: bytes) -> pl.DataFrame:
    try:
        rows = pl.read_ndjson(block, schema=wanted.schema)
        frame = rows.select((pl.col("order") // TICK_SPAN).alias(TICK), *wanted.exprs)
    except pl.exceptions.PolarsError as error:
        raise _damage(file, block, str(error)) from error
    needed = frame if group.required else frame.select(TICK)
    if frame.height != block.count(b"\n") or any(column.null_count() for column in needed):
        raise _damage(file, block, f"a line is no event of {group.event_type}")
    return frame


def _damage(file: EventFile, block: bytes, what: str) -> ComponentError:
    """The error that names the line, where a line is no JSON at all; else what polars said."""
    for line in block.splitlines():
        file.parse(line)
    return ComponentError("LOG-004", f"{file.path}: {' '.join(what.split())[:200]}", _COMPONENT)


def client_flows(file: EventFile) -> dict[int, float]:
    """Tick -> deposits less withdrawals, share class, from the double entry of ``execution_deltas``.

    Raises:
        ComponentError: LOG-004, a line is no event.
    """
    flows: dict[int, float] = {}
    for line in file.lines():
        if b'"account":"client"' not in line:
            continue
        event = file.parse(line)
        prices = {delta["instrument_key"].rpartition(":")[2]: delta["price"] for delta in event["deltas"]}
        tick = event["order"] // TICK_SPAN
        for posting in event["postings"]:
            if posting["account"] == "client":
                price = prices.get(posting["token"])
                flows[tick] = flows.get(tick, 0.0) - posting["amount"] * (1.0 if price is None else price)
    return flows


def operations(file: EventFile) -> Iterator[dict[str, Any]]:
    """Events of a file that is small beside the others."""
    return (file.parse(line) for line in file.lines())
