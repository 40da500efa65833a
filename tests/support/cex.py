"""Exchanges in tests: small modes of perps and spot, ticks made of columns, and settling them in pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from basis.runtime.valuation import Valuer
from basis.testkit.runs import START, custom_config, market_row
from basis.venues.core.interface import At, Stretch, set_entries
from basis.venues.core.settlement import settle
from basis.venues.manager import VenueInterfaceFactory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.messages import Settlement

    Floats = NDArray[np.float64]

USDT, PERP = "binance:BaseToken:USDT", "binance:Perp:BTCUSDT"
BTC, INVERSE = "binance:BaseToken:BTC", "binance:Perp:BTCUSD"
FREE = {"spot_taker_fee_bps": 0, "perp_taker_fee_bps": 0, "execution_cost_bps": {}}
"""An exchange that costs nothing."""


def levels(*perps: str) -> dict[str, Any]:
    """A strategy that reads highs and lows of perps (``binance:BTCUSDT``)."""
    return {"family": "custom", "columns": [f"perp_{side}:{name}" for name in perps for side in ("high", "low")]}


LINEAR = custom_config([USDT, BTC, PERP], asset="BTC", strategy=levels("binance:BTCUSDT"))
COIN = custom_config([BTC, USDT, INVERSE], asset="BTC", share_class="BTC", strategy=levels("binance:BTCUSD"))


def at_tick(config: RunConfig, tick: int = 5, before: Mapping[str, float] | None = None, **changes: float) -> At:
    """A tick of the typical market; ``perp__binance__BTCUSDT=...`` changes a column."""
    row = market_row(config, **changes)
    return At(tick, config.time_step_s, row, config, Valuer.of(config), row if before is None else {**row, **before})


def ticks_of(
    config: RunConfig, columns: Mapping[str, Sequence[float] | Floats], ledger: Mapping[str, float], first_tick: int = 0
) -> Stretch:
    """Ticks with given columns (values of the ticks themselves); every other column is typical and still, funding 0."""
    count = len(next(iter(columns.values())))
    row = market_row(config)
    for name in row:
        if name.startswith("funding:"):
            row[name] = 0.0
    market = {name: np.full(count + 1, value) for name, value in row.items()}
    for name, values in columns.items():
        given = np.asarray(values, dtype=np.float64)
        market[name] = np.concatenate((given[:1], given))
    return Stretch(first_tick, count, START, config.time_step_s, market, dict(ledger), config, Valuer.of(config))


class Run(NamedTuple):
    """Ticks that were settled."""

    balances: dict[str, Floats]
    settlements: list[Settlement]
    ledger: dict[str, float]


def settled(stretch: Stretch, cuts: Sequence[int] = ()) -> Run:
    """Settle in the pieces that cuts make, each from the balances that the one before left."""
    venues = VenueInterfaceFactory().simulated(stretch.config)
    ledger = dict(stretch.ledger)
    columns: dict[str, Floats] = {}
    events: list[Settlement] = []
    for begin, end in pairwise(sorted({0, *cuts, stretch.ticks})):
        piece = stretch._replace(
            first_tick=stretch.first_tick + begin,
            ticks=end - begin,
            market={name: column[begin : end + 1] for name, column in stretch.market.items()},
            ledger=dict(ledger),
        )
        done = settle(piece, venues)
        for key, column in done.balances.items():
            assert column.shape == (end - begin,)
            whole = columns.setdefault(key, np.full(stretch.ticks, stretch.ledger.get(key, 0.0)))
            whole[begin:end] = column
            ledger[key] = float(column[-1])
            set_entries(ledger, {key: ledger[key]} if ":BaseToken:" not in key and ":Perp:" not in key else {})
        for key, column in columns.items():
            column[end:] = ledger.get(key, 0.0)
        events += done.settlements
    return Run(columns, events, ledger)


def walk(seed: int, count: int, start: float = 60_000.0, sd: float = 0.01) -> Floats:
    """A random walk of prices."""
    steps = np.random.default_rng(seed).normal(0.0, sd, count)
    return np.asarray(start * np.exp(np.cumsum(steps)))
