"""PnLMonitor: what was earned, and by what cause; the parts sum to the whole at every tick. Pure.

Order within a tick: index, exchange rate and price move what was held into it; perps held into it settle on mark;
settlements follow at the tick's prices. Costs of orders enter when they are applied (``position_update_handler``).

* ``delta`` is the net delta before the tick x the change of each asset's price: units held before x dP, and for a perp its
  base units before x the change of the asset's price in the perp's quote. What the mark does beyond that is ``basis``.
* ``price_effect`` is the cross term: units grown by index and rate within the tick x dP.
* ``dust`` is the price move of reward tokens.
* A settlement counts under its kind; its fees under ``fees``; what a venue closes on its own beyond fees is a price move
  against the mark: ``delta``. Arrivals and deposits earn nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from basis.models.errors import ComponentError
from basis.models.events import ATTRIBUTION
from basis.models.instruments import INSTRUMENTS, margin_token
from basis.models.operations import SettlementKind
from basis.monitors.core.columns import running
from basis.monitors.core.plan import EXACT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.monitors.core.columns import Floats, Places, Prices
    from basis.monitors.core.position_monitor import Holding, MarkedPerp, ValuedWindow
    from basis.runtime.domain_events import DomainEventLogger
    from basis.runtime.settlements import SettlementColumns

GAP_TOLERANCE = EXACT.gap
"""Largest accepted attribution gap of a backtest, as a fraction of capital (behaviour.md section 5)."""
COSTS = ("fees", "gas", "slippage")
"""Attribution parts that are costs, negative."""
REALIZED = ("rewards", "funding", *COSTS)
"""Attribution parts that count as realised. Mark-to-market of perps does not, although it is settled at every tick: it is
the counterpart of price moves that are still held, and would make a hedged book look as if it earned and lost in turn."""
_CAUSES = {
    SettlementKind.FUNDING: "funding",
    SettlementKind.REWARD: "rewards",
    SettlementKind.LIQUIDATION: "delta",
    SettlementKind.TAKE_PROFIT: "delta",
    SettlementKind.STOP_LOSS: "delta",
}
_QUOTE = "USDT"


@dataclass(frozen=True, slots=True)
class PnL:
    """PnL since the start of the run at each tick, share class."""

    attribution: Mapping[str, Floats]
    """Cause -> cumulative; all of ATTRIBUTION."""
    by_venue: Mapping[str, Floats]
    """Venue -> cumulative."""
    by_asset: Mapping[str, Floats]
    """Asset -> cumulative."""
    total: Floats
    """Equity less capital."""
    gap: Floats
    """total less the sum of attribution."""


class _Sums:
    """Parts of the window by cause, venue and asset; a column exists once something is added to it."""

    def __init__(self, ticks: int) -> None:
        self._ticks = ticks
        self._single: dict[tuple[int, str], list[tuple[Places, Floats]]] = {}
        self.causes: dict[str, Floats] = {}
        self.venues: dict[str, Floats] = {}
        self.assets: dict[str, Floats] = {}

    def add(self, venue: str, asset: str, parts: Sequence[tuple[str, Floats]]) -> None:
        """Add the causes of one instrument."""
        total: Floats | None = None
        for cause, part in parts:
            _into(self.causes, cause, part)
            total = part if total is None else total + part
        if total is not None:
            _into(self.venues, venue, total)
            _into(self.assets, asset, total)

    def add_at(self, places: Places, venue: str, asset: str, cause: str, values: Floats) -> None:
        """Add a value at each of some ticks, none of them twice, once :meth:`close` is called."""
        for which, name in enumerate((cause, venue, asset)):
            self._single.setdefault((which, name), []).append((places, values))

    def close(self) -> None:
        """Add the values of single ticks to the columns, in their sequence."""
        tables = (self.causes, self.venues, self.assets)
        for (which, name), parts in self._single.items():
            columns = tables[which]
            column = columns[name].copy() if name in columns else np.zeros(self._ticks)
            for places, values in parts:
                column[places] += values
            columns[name] = column


class PnLMonitor:
    """Computes and reports PnL."""

    @staticmethod
    def assess(window: ValuedWindow, scale: float = 0.0) -> PnL:
        """PnL at each tick.

        Args:
            window: holdings.
            scale: initial capital, share class; with the capital put in so far it sets the tolerance.

        Raises:
            ComponentError: PNL-001 where attribution, or the parts by venue or by asset, do not close within
                GAP_TOLERANCE of capital.
        """
        plan, before = window.plan, window.before
        sums = _Sums(window.ticks)
        for holding in window.holdings:
            if not holding.idle:
                entry = holding.line.how.instrument
                sums.add(entry.venue, entry.asset, _growth(holding, window.prices.move(entry.asset)))
        for perp in window.perps:
            if not perp.idle:
                sums.add(perp.line.venue, perp.line.asset, _marking(perp, window.prices))
        for settlement in window.settlements:
            _settle(settlement, window, sums)
        sums.close()
        total = window.equity - window.capital
        limit = plan.slack.gap * np.maximum(np.abs(window.capital), scale)
        found = {
            what: _carried(parts, names, carried, window.ticks)
            for what, parts, names, carried in (
                ("its parts by cause", sums.causes, ATTRIBUTION, before.attribution),
                ("its parts by venue", sums.venues, plan.venues, before.pnl_by_venue),
                ("its parts by asset", sums.assets, plan.assets, before.pnl_by_asset),
            )
        }
        gaps = {what: _gap(total, parts, limit, what, window.first_tick) for what, parts in found.items()}
        causes, venues, assets = found.values()
        return PnL(causes, venues, assets, total, gaps["its parts by cause"])

    @staticmethod
    def emit(pnl: PnL, orders: Sequence[int], stamps: Sequence[str], logger: DomainEventLogger) -> None:
        """Log one PnLCalculation for each order key."""
        realized = _sum_of(pnl.attribution, REALIZED)
        logger.write_columns(
            "pnl_calculations",
            orders,
            stamps,
            {
                "realized_pnl": realized,
                "unrealized_pnl": pnl.total - realized,
                "total_pnl": pnl.total,
                "fees_paid": 0.0 - _sum_of(pnl.attribution, COSTS),
                "funding_received": pnl.attribution["funding"],
                "pnl_by_venue": dict(pnl.by_venue),
                "pnl_by_asset": dict(pnl.by_asset),
                "attribution": dict(pnl.attribution),
                "attribution_gap": pnl.gap,
            },
        )


def _sum_of(attribution: Mapping[str, Floats], causes: Sequence[str]) -> Floats:
    total = np.zeros_like(attribution[causes[0]])
    for cause in causes:
        total = total + attribution[cause]
    return total


def _into(columns: dict[str, Floats], name: str, part: Floats) -> None:
    found = columns.get(name)
    columns[name] = part if found is None else found + part


def _growth(holding: Holding, move: Floats | None) -> list[tuple[str, Floats]]:
    """Change of value over each tick of what was held into it, by cause: index, then exchange rate, then price."""
    line, index, rate, unit, price = holding.line, holding.index, holding.rate, holding.unit, holding.price
    signed = holding.held if line.how.sign == 1.0 else line.how.sign * holding.held
    parts: list[tuple[str, Floats]] = []
    if index is not None:
        interest = signed * np.diff(index)
        if rate is not None:
            interest = interest * rate[:-1]
        parts.append(("borrow" if line.how.sign < 0 else "supply", _valued(interest, price)))
    if rate is not None:
        staking = signed * np.diff(rate)
        if index is not None:
            staking = staking * index[1:]
        parts.append(("staking", _valued(staking, price)))
    if move is not None:
        parts.append((line.price_cause, (holding.held if unit is None else holding.held * unit[:-1]) * move))
        if unit is not None and (index is not None or rate is not None):
            parts.append(("price_effect", holding.held * np.diff(unit) * move))
    return parts


def _valued(units: Floats, price: Floats | None) -> Floats:
    """Units at the price of the tick before."""
    return units if price is None else units * price[:-1]


def _marking(perp: MarkedPerp, prices: Prices) -> list[tuple[str, Floats]]:
    """Mark-to-market of a perp: what the asset's own price explains is delta, the rest basis."""
    line = perp.line
    margin = prices.share(margin_token(line.symbol))
    settled = perp.pnl if margin is None else perp.pnl * margin[1:]
    asset, quote = prices.share(line.asset), prices.share(_QUOTE)
    if quote is None:  # the share class is the quote: the asset's price is in it already
        moved = prices.move(line.asset)
        explained = perp.units_before * moved if moved is not None else np.zeros_like(settled)
    else:
        reference = 1.0 / quote if asset is None else asset / quote
        explained = perp.units_before * np.diff(reference) * quote[1:]
    return [("delta", explained), ("basis", settled - explained)]


def _settle(settlement: SettlementColumns, window: ValuedWindow, sums: _Sums) -> None:
    """Value of settlements at the prices of their ticks."""
    cause = _CAUSES.get(settlement.kind)
    if cause is None:
        return
    places = settlement.ticks - window.first_tick
    for key, deltas in settlement.deltas.items():
        holding = window.holding(key)
        if holding is None:
            continue
        units = holding.unit_values(places)
        entry = INSTRUMENTS[key]
        venue = settlement.venue if settlement.venue in window.plan.venues else str(entry.venue)
        fees = settlement.fees.get(key)
        if fees is None:
            sums.add_at(places, venue, entry.asset, cause, deltas * units)
        else:
            paid = fees * np.abs(units)
            sums.add_at(places, venue, entry.asset, cause, deltas * units + paid)
            sums.add_at(places, venue, entry.asset, "fees", -paid)


def _carried(
    parts: Mapping[str, Floats], names: Sequence[str], carried: Mapping[str, float], ticks: int
) -> dict[str, Floats]:
    """Running sums that go on from the state before."""
    return {
        name: running(carried.get(name, 0.0), parts[name]) if name in parts else np.full(ticks, carried.get(name, 0.0))
        for name in names
    }


def _gap(total: Floats, parts: Mapping[str, Floats], limit: Floats, what: str, first_tick: int) -> Floats:
    explained = np.zeros(len(total))
    for part in parts.values():
        explained += part
    gap: Floats = total - explained
    bad = ~(np.abs(gap) <= limit)  # also catches NaN
    if bad.any():
        place = int(np.argmax(bad))
        message = (
            f"tick {first_tick + place}: PnL and {what} differ by {float(gap[place])!r}, "
            f"more than {float(limit[place])!r}"
        )
        raise ComponentError("PNL-001", message, "pnl_monitor")
    return gap
