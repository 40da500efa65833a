"""Bodies of the HTTP answers about paper and live runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import ConfigDict, Field

from basis.models.base import CorrelationId, FrozenModel
from basis.models.messages import RunMode, RunStatus

if TYPE_CHECKING:
    from basis.models.messages import RunOutcome, RunRecord


_ID: Final = "4f0c7a9e5d2b4c1e8a6f3b2d1c0e9f8a"
_STATUS: Final[dict[str, Any]] = {
    "correlation_id": _ID,
    "strategy": "btc_basis",
    "status": "running",
    "progress": 0.0,
    "ticks": 1440,
    "total_ticks": 0,
    "started_at": "2026-05-01T00:00:01Z",
    "equity": 100123.4,
}


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


class LiveRun(FrozenModel):
    """One paper or live run in a list."""

    model_config = _example(mode="paper", status=_STATUS)

    mode: RunMode
    """``paper`` or ``live``."""
    status: RunStatus
    """Where it is."""


class LiveRuns(FrozenModel):
    """Paper and live runs, newest first."""

    model_config = _example(items=[{"mode": "paper", "status": _STATUS}])

    items: tuple[LiveRun, ...]
    """The runs."""


class Stopped(FrozenModel):
    """What an emergency stop did at once."""

    model_config = _example(cancelled_orders=2, status=_STATUS)

    cancelled_orders: int = Field(ge=0)
    """Open orders that the venues cancelled."""
    status: RunStatus
    """Where the run is; it ends on its own."""


class LivePerformance(FrozenModel):
    """What a run holds and has earned so far, in the share class."""

    model_config = _example(
        correlation_id=_ID,
        mode="paper",
        status="running",
        ticks=1440,
        skipped_ticks=1,
        equity=100123.4,
        capital=100000.0,
        total_return=0.001234,
        max_drawdown=-0.0003,
        attribution={"funding": 150.2, "fees": -26.8},
        positions={"binance:BaseToken:BTC": 0.95, "binance:Perp:BTCUSDT": -0.38},
        orders_by_type={"spot_trade": 1, "perp_trade": 3},
        failed_orders=0,
        pending_withdrawal=0.0,
    )

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
