"""What a fetched series is made of, and what its rows must be like. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from basis.models.errors import InputError
from basis.models.instruments import CEX_VENUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Table = Mapping[str, NDArray[np.float64]]

_COMPONENT = "fetch"
BARS = ("open", "high", "low", "close", "volume")
"""Fields of bars."""
FUNDING = ("funding_rate",)
"""Field of funding."""
CHAIN = "ethereum"
"""In place of an exchange, of series that are read from the chain."""
_CHAIN_FIELDS = {
    "index": (
        "liquidity_index",
        "variable_borrow_index",
        "supply_apr",
        "borrow_apr",
        "total_supplied",
        "total_variable_debt",
    ),
    "price": ("price_usd",),
    "rate": ("price_eth",),
    "gas": ("base_fee_gwei", "priority_fee_p25_gwei", "priority_fee_p50_gwei", "priority_fee_p75_gwei"),
}
_DAY_MS = 86_400_000
_TOKENS = {"usdt": "USDT", "weth": "WETH", "weeth": "weETH", "wsteth": "wstETH"}
_INDICES = ("liquidity_index", "variable_borrow_index")
_NAME = re.compile(
    r"(?P<venue>[a-z0-9]+)/(?P<pair>[a-z0-9]+)_(?:(?P<kind>spot|perp)_(?P<bar>1m|5m|15m|1h)|(?P<funding>funding))"
)
_BARS_MS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000}
_FUNDING_MS = 8 * 3_600_000
_STAMP_SLACK_MS = 10_000
"""How late an exchange may stamp a payment."""


class SeriesPlan(NamedTuple):
    """One series of an exchange, or of the chain."""

    name: str
    """Series of the catalogue, e.g. ``binance/btcusdt_perp_1h``."""
    venue: str
    """Exchange, or ``ethereum``."""
    pair: str
    """Symbol of the system, e.g. BTCUSDT; of the chain a token, empty for gas."""
    kind: Literal["spot", "perp", "funding", "index", "price", "rate", "gas"]
    """Bars of a spot market or of a perp, or funding; Aave's indices, oracle prices in USD, ETH per staked token, or gas."""
    bar: str
    """Length of a bar in ccxt's words; empty for all else."""
    period_ms: int
    """Regular distance of two rows."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Columns besides the timestamp."""
        return _CHAIN_FIELDS.get(self.kind) or (FUNDING if self.kind == "funding" else BARS)

    @property
    def perp(self) -> bool:
        """True for what is of a perp."""
        return self.kind != "spot"


_CHAIN_PLANS = {
    plan.name: plan
    for plan in (
        *(SeriesPlan(f"aave_v3/{name}", CHAIN, token, "index", "", _DAY_MS) for name, token in _TOKENS.items()),
        *(SeriesPlan(f"oracle/{name}_usd", CHAIN, token, "price", "", _DAY_MS) for name, token in _TOKENS.items()),
        *(SeriesPlan(f"oracle/{name}_eth", CHAIN, _TOKENS[name], "rate", "", _DAY_MS) for name in ("weeth", "wsteth")),
        SeriesPlan("gas/ethereum_fees", CHAIN, "", "gas", "", 2 * 3_600_000),
    )
}
"""Series of the chain by name."""


def plan_of(name: str) -> SeriesPlan:
    """Plan of a series by its name.

    Raises:
        InputError: DATA-001, no series of an exchange or of the chain; says what names there are.
    """
    if (chain := _CHAIN_PLANS.get(name)) is not None:
        return chain
    match = _NAME.fullmatch(name)
    if match is None or match["venue"] not in CEX_VENUES:
        message = (
            f"{name!r} is no series of an exchange or of the chain: expected <{'|'.join(CEX_VENUES)}>/<pair>_<spot|perp>_"
            f"<1m|5m|15m|1h>, <exchange>/<pair>_funding, or one of {', '.join(_CHAIN_PLANS)}"
        )
        raise InputError("DATA-001", message, _COMPONENT)
    pair = match["pair"].upper()
    if match["funding"]:
        return SeriesPlan(name, match["venue"], pair, "funding", "", _FUNDING_MS)
    kind: Literal["spot", "perp"] = "spot" if match["kind"] == "spot" else "perp"
    return SeriesPlan(name, match["venue"], pair, kind, match["bar"], _BARS_MS[match["bar"]])


def is_chain_series(name: str) -> bool:
    """True where it is read from the chain."""
    return name in _CHAIN_PLANS


def is_exchange_series(name: str) -> bool:
    """True where :func:`plan_of` knows it as one of an exchange."""
    match = _NAME.fullmatch(name)
    return match is not None and match["venue"] in CEX_VENUES


class Rows(NamedTuple):
    """Rows of a series, by time."""

    times: NDArray[np.int64]
    """Milliseconds since the epoch."""
    columns: Table
    """Field -> values, float64."""

    def between(self, start_ms: int, end_ms: int) -> Rows:
        """Those in [start, end)."""
        chosen = (self.times >= start_ms) & (self.times < end_ms)
        return Rows(self.times[chosen], {name: values[chosen] for name, values in self.columns.items()})


def rows_of(plan: SeriesPlan, raw: Iterable[Sequence[float]]) -> Rows:
    """Rows as a source gives them, (ms, field, field, ...), in any sequence; stamps of payments to the minute they are of.

    Raises:
        InputError: DATA-002, a payment is stamped at no minute, or a time comes twice.
    """
    table = sorted((int(row[0]), *(float(value) for value in row[1:])) for row in raw)
    times = np.array([row[0] for row in table], dtype=np.int64)
    if plan.kind == "funding":
        times = _to_minutes(plan, times)
    values = np.array([row[1:] for row in table], dtype=np.float64).reshape(len(table), len(plan.fields))
    twice = np.flatnonzero(np.diff(times) <= 0)
    if len(twice):
        raise _fault(plan, int(times[twice[0]]), "comes twice")
    return Rows(times, {field: values[:, place].copy() for place, field in enumerate(plan.fields)})


def _to_minutes(plan: SeriesPlan, times: NDArray[np.int64]) -> NDArray[np.int64]:
    minutes = (times + 30_000) // 60_000 * 60_000
    off = np.flatnonzero(np.abs(times - minutes) > _STAMP_SLACK_MS)
    if len(off):
        raise _fault(plan, int(times[off[0]]), "is stamped at no minute")
    return minutes


def check_rows(plan: SeriesPlan, rows: Rows) -> None:
    """Refuse what cannot be market data; a row that is missing is no fault here, it stays missing.

    Raises:
        InputError: DATA-002, a value is no number, no price, or out of range, or a stamp is off the period; names the row.
    """
    for field in plan.fields:
        values = rows.columns[field]
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise _fault(plan, int(rows.times[bad[0]]), f"has no {field}")
    if plan.kind == "funding":
        _refuse(plan, rows, np.abs(rows.columns["funding_rate"]) >= 1.0, "has a funding_rate of 100 % or more")
        return
    if plan.kind in _CHAIN_FIELDS:
        _check_chain(plan, rows)
        return
    opened, high, low, close, volume = (rows.columns[field] for field in BARS)
    _refuse(plan, rows, rows.times % plan.period_ms != 0, f"does not start at a multiple of {plan.bar}")
    _refuse(plan, rows, low <= 0.0, "has a low that is no price")
    _refuse(plan, rows, volume < 0.0, "has a volume below zero")
    _refuse(plan, rows, high < np.maximum(opened, close), "has a high below its open or close")
    _refuse(plan, rows, low > np.minimum(opened, close), "has a low above its open or close")


def _check_chain(plan: SeriesPlan, rows: Rows) -> None:
    _refuse(plan, rows, rows.times % plan.period_ms != 0, "is not at a multiple of its period")
    for field in plan.fields:
        values = rows.columns[field]
        if field in _INDICES:
            _refuse(plan, rows, values < 1.0, f"has a {field} below 1, where it began")
            _refuse(
                plan, rows, np.diff(values, prepend=values[:1]) < 0.0, f"has a {field} below that of the row before"
            )
        elif field in {"price_usd", "price_eth"}:
            _refuse(plan, rows, values <= 0.0, f"has a {field} that is no price")
        else:
            _refuse(plan, rows, values < 0.0, f"has a {field} below zero")


def _refuse(plan: SeriesPlan, rows: Rows, wrong: NDArray[np.bool_], words: str) -> None:
    if wrong.any():
        raise _fault(plan, int(rows.times[np.argmax(wrong)]), words)


def join(plan: SeriesPlan, old: Rows, new: Rows) -> Rows:
    """Both, by time. Where both have a row they must agree: what has been observed is not rewritten.

    Raises:
        InputError: DATA-002, they do not agree on open, close or rate; names the row.
    """
    _, mine, theirs = np.intersect1d(old.times, new.times, return_indices=True)
    for field in plan.fields:
        if field == "volume" or field not in old.columns:
            continue
        differ = np.flatnonzero(old.columns[field][mine] != new.columns[field][theirs])
        if len(differ):
            at = int(old.times[mine[differ[0]]])
            before, now = old.columns[field][mine[differ[0]]], new.columns[field][theirs[differ[0]]]
            raise _fault(plan, at, f"differs from the file: {field} is {before!r} there, {now!r} was fetched")
    fresh = np.setdiff1d(np.arange(len(new.times)), theirs)
    times = np.concatenate([old.times, new.times[fresh]])
    order = np.argsort(times, kind="stable")
    columns = {}
    for field in dict.fromkeys(
        (*plan.fields, *old.columns)
    ):  # what the file has besides stays, and is not known further on
        before = old.columns.get(field, np.full(len(old.times), np.nan))
        after = new.columns.get(field, np.full(len(new.times), np.nan))[fresh]
        columns[field] = np.concatenate([before, after])[order]
    return Rows(times[order], columns)


def gaps(plan: SeriesPlan, rows: Rows) -> list[tuple[int, int]]:
    """(last row before, first row after) of each stretch without rows."""
    steps = np.diff(rows.times)
    wide = np.flatnonzero(steps > (1.5 * plan.period_ms if plan.kind == "funding" else plan.period_ms))
    return [(int(rows.times[place]), int(rows.times[place + 1])) for place in wide]


def empty(plan: SeriesPlan) -> Rows:
    """No rows."""
    return Rows(np.array([], dtype=np.int64), {field: np.array([], dtype=np.float64) for field in plan.fields})


def _fault(plan: SeriesPlan, at_ms: int, words: str) -> InputError:
    stamp = np.datetime64(at_ms, "ms")
    return InputError("DATA-002", f"series {plan.name}: the row of {stamp}Z {words}", _COMPONENT)
