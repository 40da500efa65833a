"""PnLMonitor: what was earned, and by what cause; the parts sum to the whole at every tick. Pure.

Attribution changes one factor at a time, index, then exchange rate, then price, so that the parts sum exactly
(behaviour.md section 5). Costs enter when orders are applied (``position_update_handler``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from basis.models.errors import ComponentError
from basis.models.events import ATTRIBUTION
from basis.monitors.core.columns import running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.monitors.core.columns import Floats
    from basis.monitors.core.position_monitor import Holding, ValuedWindow
    from basis.runtime.domain_events import DomainEventLogger

GAP_TOLERANCE = 1e-6
"""Largest accepted attribution gap, as a fraction of capital (behaviour.md section 5)."""
COSTS = ("fees", "gas", "slippage")
"""Attribution parts that are costs, negative."""
REALIZED = ("rewards", "funding", *COSTS)
"""Attribution parts that are settled for good."""


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


class PnLMonitor:
    """Computes and reports PnL."""

    @staticmethod
    def assess(window: ValuedWindow) -> PnL:
        """PnL at each tick.

        Raises:
            ComponentError: PNL-001 where attribution does not close within GAP_TOLERANCE of capital.
        """
        plan, before, ticks = window.plan, window.before, window.ticks
        causes = {cause: np.zeros(ticks) for cause in ATTRIBUTION}
        by_venue = {venue: np.zeros(ticks) for venue in plan.venues}
        by_asset = {asset: np.zeros(ticks) for asset in plan.assets}
        for holding in window.holdings:
            change = _attribute(holding, causes)
            by_venue[holding.line.how.instrument.venue] += change
            by_asset[holding.line.how.instrument.asset] += change
        attribution = {cause: running(before.attribution.get(cause, 0.0), part) for cause, part in causes.items()}
        total = window.equity - before.capital
        explained = np.zeros(ticks)
        for part in attribution.values():
            explained += part
        gap = total - explained
        _check_gap(gap, before.capital, window.first_tick)
        return PnL(
            attribution,
            {venue: running(before.pnl_by_venue.get(venue, 0.0), part) for venue, part in by_venue.items()},
            {asset: running(before.pnl_by_asset.get(asset, 0.0), part) for asset, part in by_asset.items()},
            total,
            gap,
        )

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


def _attribute(holding: Holding, causes: Mapping[str, Floats]) -> Floats:
    """Add the change of value over each tick of what was held into it; returns the change."""
    line, factors = holding.line, holding.factors
    signed = line.how.sign * holding.held
    index, rate, price = factors.index, factors.rate, factors.price
    interest = signed * np.diff(index) * rate[:-1] * price[:-1]
    staking = signed * index[1:] * np.diff(rate) * price[:-1]
    move = signed * index[1:] * rate[1:] * np.diff(price)
    for cause, part in (
        ("borrow" if line.how.sign < 0 else "supply", interest),
        ("staking", staking),
        (line.price_cause, move),
    ):
        np.add(causes[cause], part, out=causes[cause])
    total: Floats = interest + staking + move
    return total


def _check_gap(gap: Floats, capital: float, first_tick: int) -> None:
    limit = GAP_TOLERANCE * capital
    bad = ~(np.abs(gap) <= limit)  # also catches NaN
    if bad.any():
        place = int(np.argmax(bad))
        message = (
            f"tick {first_tick + place}: PnL and the sum of its parts differ by {gap[place]!r}, more than {limit!r}"
        )
        raise ComponentError("PNL-001", message, "pnl_monitor")
