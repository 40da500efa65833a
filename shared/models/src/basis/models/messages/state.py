"""What survives an engine: its state between two windows."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from basis.models.base import FrozenModel, NonNegative
from basis.models.messages.run import Balances, Control, RequestedFlow, RunMode, RunStatus
from basis.models.messages.window import PortfolioState


class RunStatistics(FrozenModel):
    """Running sums over the equity of a run: metrics at its end without keeping the curve."""

    returns: int = Field(default=0, ge=0)
    """Returns seen: ticks less one."""
    return_sum: float = 0.0
    """Sum of returns per tick."""
    return_square_sum: float = 0.0
    """Sum of their squares."""
    peak: float = 0.0
    """Highest equity so far, share class."""
    max_drawdown: float = 0.0
    """Deepest fall from a peak so far, a fraction, zero or negative."""
    equity: float | None = None
    """Equity at the last tick seen, share class; None before the first."""
    capital: float | None = None
    """Capital put in by the last tick seen, share class; None before the first."""
    growth: float = 1.0
    """First equity over capital times the product of (1 + return): time-weighted growth, deposits and withdrawals left out."""


class Checkpoint(FrozenModel):
    """All there is to a run between two windows: with it another engine goes on where one died."""

    pid: int = Field(ge=1)
    """Process id of the run's engine at its start; stays when another engine resumes."""
    started_at: AwareDatetime
    """Wall clock of the start."""
    next_tick: int = Field(ge=0)
    """First tick that is not committed."""
    window: int = Field(ge=1)
    """Ticks that the next window asks for."""
    since_orders: int = Field(default=0, ge=0)
    """Ticks since the last one that ordered, or since the run's start."""
    ledger: Balances
    """Venue-side balances."""
    portfolio: PortfolioState
    """Monitors' state."""
    reference_equity: float | None = None
    """Strategy's memory: equity at the last rebalance, share class."""
    pending_withdrawal: NonNegative = 0.0
    """Strategy's memory: withdrawals asked for and not yet paid out, share class."""
    statistics: RunStatistics = Field(default_factory=RunStatistics)
    """Running sums."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Event type -> events published."""
    orders_by_type: dict[str, int] = Field(default_factory=dict)
    """Operation type -> confirmed orders."""
    failed_orders: int = Field(default=0, ge=0)
    """Orders that did not execute."""
    skipped: int = Field(default=0, ge=0)
    """Ticks that a paper or live run missed: skipped, never made up for."""
    requests_done: tuple[str, ...] = ()
    """``request_id`` of the last deposits and withdrawals that were obeyed."""
    flows: tuple[RequestedFlow, ...] = ()
    """Backtests: deposits and withdrawals asked for during the run, as if its configuration had held them."""


class Trading(FrozenModel):
    """Orders of a live tick that are under way: written before the first is sent, so that another engine finishes them."""

    tick: int = Field(ge=0)
    """Tick that ordered."""
    orders: str
    """The OrdersRequest as sent, base64 of its message."""
    window: str
    """The tick's Window, base64 of its message."""
    reference_equity: float | None
    """Strategy's memory, as decided."""
    pending_withdrawal: NonNegative
    """Strategy's memory, as decided."""


class InHand(FrozenModel):
    """A live tick without orders that is being committed: another engine does it again before it goes on, to the same end."""

    tick: int = Field(ge=0)
    """Index of the tick."""
    requests: int = Field(ge=0)
    """How many of the record's requests it obeys."""


class RunRecord(FrozenModel):
    """Entry of the KV bucket ``runs``; written by the run's engine alone, by revision."""

    status: RunStatus
    """For people."""
    checkpoint: Checkpoint | None = None
    """For another engine; None before the first window and after the end."""
    trading: Trading | None = None
    """Orders under way; None between ticks, and always in a backtest."""
    in_hand: InHand | None = None
    """Tick without orders that is being committed; None between ticks, and always in a backtest."""
    requests: tuple[Control, ...] = ()
    """What was asked of a paper or live run, to be obeyed at its next tick."""
    run_mode: RunMode = "backtest"
    """Kind of the run."""
