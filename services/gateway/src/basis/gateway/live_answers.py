"""Bodies of the HTTP answers about paper and live runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from basis.models.base import CorrelationId, FrozenModel
from basis.models.messages import RunMode, RunStatus

if TYPE_CHECKING:
    from basis.models.messages import RunOutcome, RunRecord


class LiveRun(FrozenModel):
    """One paper or live run in a list."""

    mode: RunMode
    """``paper`` or ``live``."""
    status: RunStatus
    """Where it is."""


class Stopped(FrozenModel):
    """What an emergency stop did at once."""

    cancelled_orders: int = Field(ge=0)
    """Open orders that the venues cancelled."""
    status: RunStatus
    """Where the run is; it ends on its own."""


class LivePerformance(FrozenModel):
    """What a run holds and has earned so far, in the share class."""

    correlation_id: CorrelationId
    """Run."""
    mode: RunMode
    """``paper`` or ``live``."""
    status: str
    """Where it is."""
    ticks: int = Field(ge=0)
    """Ticks committed."""
    skipped_ticks: int = Field(default=0, ge=0)
    """Ticks that were missed and skipped."""
    equity: float | None
    """Equity at the last tick; None before the first."""
    capital: float | None
    """Capital put in, less what was paid out."""
    total_return: float | None
    """Time-weighted, a fraction."""
    max_drawdown: float | None
    """Deepest fall from a peak, a fraction, zero or negative."""
    attribution: dict[str, float]
    """Cause -> part of the PnL so far."""
    positions: dict[str, float]
    """Instrument key -> quantity."""
    orders_by_type: dict[str, int]
    """Operation type -> confirmed orders."""
    failed_orders: int = Field(ge=0)
    """Orders that did not execute."""
    pending_withdrawal: float
    """Withdrawals asked for and not yet paid out."""


def live_run(record: RunRecord) -> LiveRun:
    """A run in a list."""
    return LiveRun(mode=record.run_mode, status=record.status)


def performance(record: RunRecord, outcome: RunOutcome | None) -> LivePerformance:
    """From the checkpoint of a run that goes on, or the result of one that has ended."""
    status, state = record.status, record.checkpoint
    known = {
        "correlation_id": status.correlation_id,
        "mode": record.run_mode,
        "status": status.status,
        "ticks": status.ticks,
        "equity": status.equity,
    }
    if state is not None:
        statistics = state.statistics
        return LivePerformance.model_validate(
            known
            | {
                "skipped_ticks": state.skipped,
                "capital": state.portfolio.capital,
                "total_return": statistics.growth - 1.0,
                "max_drawdown": statistics.max_drawdown,
                "attribution": state.portfolio.attribution,
                "positions": state.portfolio.positions,
                "orders_by_type": state.orders_by_type,
                "failed_orders": state.failed_orders,
                "pending_withdrawal": state.pending_withdrawal,
            }
        )
    result = outcome.result if outcome is not None else None
    return LivePerformance.model_validate(
        known
        | {
            "capital": result.initial_capital + result.net_flows if result else None,
            "total_return": result.total_return if result else None,
            "max_drawdown": result.max_drawdown if result else None,
            "attribution": result.attribution if result else {},
            "positions": result.final_positions if result else {},
            "orders_by_type": result.orders_by_type if result else {},
            "failed_orders": result.failed_orders if result else 0,
            "pending_withdrawal": 0.0,
        }
    )
