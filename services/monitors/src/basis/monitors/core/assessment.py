"""Position, exposure, risk and PnL of a window of ticks, on columns. Pure.

Every figure of a tick depends on that tick and the one before alone, and running sums are carried in sequence: however a
run is cut into windows, the same floats come out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from basis.models.events import Phase, tick_keys
from basis.models.messages import PortfolioState
from basis.monitors.core import postings
from basis.monitors.core.exposure_monitor import Exposure, ExposureMonitor
from basis.monitors.core.pnl_monitor import PnL, PnLMonitor
from basis.monitors.core.position_monitor import PositionMonitor, ValuedWindow, cross_check, value_window
from basis.monitors.core.risk_monitor import Risk, RiskMonitor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from basis.monitors.core.columns import Floats
    from basis.monitors.core.plan import MonitorPlan
    from basis.runtime.domain_events import DomainEventLogger
    from basis.runtime.settlements import SettlementColumns

_PHASES = {
    "tick": (Phase.POSITION, Phase.EXPOSURE, Phase.RISK, Phase.PNL),
    "after_execution": (Phase.AFTER_POSITION, Phase.AFTER_EXPOSURE, Phase.AFTER_RISK, Phase.AFTER_PNL),
}


class VenueBalances(NamedTuple):
    """What the venues say they hold."""

    ledger: Mapping[str, float]
    """Balances before the window."""
    balances: Mapping[str, Floats]
    """Those that change within it, one a tick."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """Figures of each tick of a window."""

    window: ValuedWindow
    market: Mapping[str, Floats]
    exposure: Exposure
    risk: Risk
    pnl: PnL

    def columns(self) -> dict[str, Floats]:
        """What the strategy reads, by name."""
        return {
            "equity": self.window.equity,
            "capital": self.window.capital,
            "total_value_usd": self.window.total_value_usd,
            "net_delta_usd": self.exposure.net_delta_usd,
            "total_pnl": self.pnl.total,
            "collateral_usd": self.risk.collateral,
            "debt_usd": self.risk.debt,
            "threshold_usd": self.risk.threshold,
            **{f"margin:{venue}": column for venue, column in self.risk.margin.items()},
            **{f"notional:{venue}": column for venue, column in self.risk.notional.items()},
        }

    def sums(self) -> dict[str, Mapping[str, Floats]]:
        """Cumulative sums of the portfolio state, by the name of its field."""
        return {
            "attribution": self.pnl.attribution,
            "pnl_by_venue": self.pnl.by_venue,
            "pnl_by_asset": self.pnl.by_asset,
        }

    def state_at(self, place: int) -> PortfolioState:
        """Portfolio state after the tick at a place of the window."""
        before, tick = self.window.before, self.window.first_tick + place
        return PortfolioState(
            positions=before.positions | _row(self.window.quantities, place),
            capital=float(self.window.capital[place]),
            attribution=_row(self.pnl.attribution, place),
            pnl_by_venue=_row(self.pnl.by_venue, place),
            pnl_by_asset=_row(self.pnl.by_asset, place),
            market=_row(self.market, place),
            applied=before.applied if tick == before.tick else (),
            tick=tick,
        )

    def emit(self, ticks: int, stamps: Sequence[str], trigger_source: str, logger: DomainEventLogger) -> None:
        """Log the four events of each of the first ``ticks`` ticks; arguments as those of :meth:`parts`."""
        for part in self.parts(ticks, stamps, trigger_source, logger):
            part()

    def parts(
        self, ticks: int, stamps: Sequence[str], trigger_source: str, logger: DomainEventLogger
    ) -> tuple[Callable[[], None], ...]:
        """What logs the four events of each of the first ``ticks`` ticks, one of them a part.

        Args:
            ticks: how many of the window's ticks happened.
            stamps: ISO 8601 time of each tick.
            trigger_source: ``tick`` or ``after_execution``.
            logger: filled with the lines.
        """
        first = self.window.first_tick
        position, exposure, risk, pnl = (tick_keys(first, ticks, phase) for phase in _PHASES[trigger_source])
        return (
            partial(PositionMonitor.emit, self.window, position, stamps, trigger_source, logger),
            partial(ExposureMonitor.emit, self.window, self.exposure, exposure, stamps, logger),
            partial(RiskMonitor.emit, self.risk, risk, stamps, logger),
            partial(PnLMonitor.emit, self.pnl, pnl, stamps, logger),
        )


def assess(
    plan: MonitorPlan,
    before: PortfolioState,
    market: Mapping[str, Floats],
    first_tick: int,
    ticks: int,
    settlements: Sequence[SettlementColumns] = (),
    venue: VenueBalances | None = None,
    initial_capital: float = 0.0,
) -> Assessment:
    """Assess a window.

    Args:
        plan: compiled configuration.
        before: state before the window.
        market: column -> values, one a tick.
        first_tick: index of the first tick.
        ticks: how many.
        settlements: what venues did on their own within the window.
        venue: what the venues say they hold; None compares nothing (the tight loop has compared already).
        initial_capital: capital at tick 0, share class: tolerances are fractions of it, or of capital where that is more.

    Raises:
        ComponentError: as :func:`value_window`, :func:`cross_check`, :meth:`PnLMonitor.assess`; PNL-003 where a
            settlement does not balance.
    """
    window = value_window(plan, before, market, first_tick, ticks, settlements)
    if venue is not None:
        cross_check(window, venue.ledger, venue.balances, initial_capital, market)
    for settlement in settlements:
        if postings.counter_account(settlement) is None:  # else it balances by construction
            for row in settlement.rows():
                postings.of_settlement(row)
    pnl = PnLMonitor.assess(window, initial_capital)
    exposure = ExposureMonitor.assess(window)
    return Assessment(window, market, exposure, RiskMonitor.assess(window, exposure), pnl)


def _row(columns: Mapping[str, Floats], place: int) -> dict[str, float]:
    return {name: float(column[place]) for name, column in columns.items()}
