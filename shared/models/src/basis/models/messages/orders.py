"""The orders of a tick: to execution, to venues, and back through reconciliation."""

from __future__ import annotations

from pydantic import Field

from basis.models.base import FrozenModel
from basis.models.execution import ExecutionHandshake
from basis.models.messages.run import Balances, RunRef
from basis.models.messages.window import PortfolioState, Window
from basis.models.order import Order

Lines = dict[str, tuple[bytes, ...]]
"""Event type -> lines of JSON that are still to be published."""


class LogLine(FrozenModel):
    """A line of a component log that is still to be published."""

    component: str
    """Whose log."""
    digest: str
    """Hash of what is in it, wall clock left out: a repeated request logs once."""
    line: bytes
    """JSON, with its newline."""


class OrdersRequest(FrozenModel):
    """Engine to execution: all orders of one tick."""

    run: RunRef
    """Run."""
    tick: int = Field(ge=0)
    """Tick at which they execute."""
    orders: tuple[Order, ...] = Field(min_length=1)
    """In sequence; orders of one atomic group are neighbours."""
    ledger: Balances
    """Venue-side balances before them."""
    portfolio: PortfolioState
    """Monitors' state before them."""
    window: Window
    """The tick alone, without its settlements: what it is assessed on once more after its orders."""


class OrdersReply(FrozenModel):
    """Execution to engine, once all is reconciled."""

    handshakes: tuple[ExecutionHandshake, ...]
    """One for each order that was tried, in sequence."""
    ledger: Balances
    """Venue-side balances after them."""
    portfolio: PortfolioState
    """Monitors' state after them."""
    equity: float
    """Equity after them, share class."""
    events: Lines
    """For the engine to publish once the tick's own events are in the stream (ADR 0017): those of orders at simulated
    venues, and the assessment after the orders."""
    logs: tuple[LogLine, ...]
    """Lines of component logs, likewise."""
    counts: dict[str, int]
    """Event type -> events that execution has published itself: those of orders at real venues."""
    fatal: tuple[str, str] | None = None
    """Error code and message where the run must stop (EXEC-003, EXEC-004)."""


class ExecuteRequest(FrozenModel):
    """Execution to venues: one order, or one atomic group."""

    run: RunRef
    """Run."""
    tick: int = Field(ge=0)
    """Tick at which it executes."""
    orders: tuple[Order, ...] = Field(min_length=1)
    """One order, or every step of one atomic group in sequence."""
    following: tuple[tuple[Order, ...], ...] = ()
    """What comes next, each as ``orders``. A simulated venue is a pure function: it may execute these as well, as long as
    each is confirmed, and what turns out not to be wanted is thrown away. A real venue leaves them alone."""
    ledger: Balances
    """Venue-side balances before."""


class Outcome(FrozenModel):
    """What became of one order or atomic group."""

    handshakes: tuple[ExecutionHandshake, ...]
    """One for each order, in sequence."""
    ledger: Balances
    """Venue-side balances after; as before unless confirmed."""
    balances: Balances
    """Instrument key -> balance as the venue has it after: what the first comparison is made with."""


class ExecuteReply(Outcome):
    """Venues to execution."""

    ahead: tuple[Outcome, ...] = ()
    """Outcomes of the first of ``following``, to the first that is not confirmed; none from a real venue."""


class PositionsRequest(FrozenModel):
    """Execution to venues: what do you hold, and what became of this operation?"""

    run: RunRef
    """Run."""
    ledger: Balances
    """Venue-side balances (backtest); a live venue asks its counterpart instead."""


class PositionsReply(FrozenModel):
    """Venues to execution."""

    balances: Balances
    """Instrument key -> balance as the venue has it."""


class ExecutedTransaction(FrozenModel):
    """One order or atomic group with its outcome."""

    position: int = Field(ge=0)
    """Place of the first order in the tick's batch: decides the order keys of its events."""
    orders: tuple[Order, ...] = Field(min_length=1)
    """One order, or every step of one atomic group."""
    handshakes: tuple[ExecutionHandshake, ...] = Field(min_length=1)
    """One for each order."""
    balances: Balances
    """Balances as the venue has them after."""


class ReconcileRequest(FrozenModel):
    """Execution to monitors: apply these handshakes once, and compare."""

    run: RunRef
    """Run."""
    tick: int = Field(ge=0)
    """Tick."""
    transactions: tuple[ExecutedTransaction, ...]
    """In sequence; those after the first that does not agree are not looked at."""
    portfolio: PortfolioState
    """State before."""
    retry_attempt: int = Field(default=0, ge=0)
    """Re-queries of the first so far."""
    window: Window | None = None
    """The tick alone, where it is to be assessed once more on what comes out."""


class AfterOrders(FrozenModel):
    """A tick once more, after its orders."""

    portfolio: PortfolioState
    """State after."""
    equity: float
    """Share class."""
    events: Lines
    """Its positions, exposure, risk and PnL."""


class ReconcileReply(FrozenModel):
    """Monitors to execution."""

    portfolio: PortfolioState
    """State after what was compared."""
    compared: int = Field(default=1, ge=0)
    """How many transactions were."""
    success: bool
    """True where every key agrees within tolerance, after each of them."""
    mismatches: tuple[str, ...]
    """Each difference of the last of them in words."""
    events: Lines
    """To be published with execution's own (ADR 0016)."""
    logs: tuple[LogLine, ...] = ()
    """Lines of component logs, published likewise."""
    after: AfterOrders | None = None
    """The tick once more, where it was asked for."""
