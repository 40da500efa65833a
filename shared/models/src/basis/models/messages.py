"""What travels on the bus: run, window, execution and reconciliation messages.

On the wire each is one msgpack map (``basis.runtime.codec``). *Columns* are raw little-endian float64, one entry a tick,
under the name of what they hold; a missing name means that the value does not change within the window.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AwareDatetime, Field, JsonValue, model_validator

from basis.models.base import CorrelationId, FrozenModel, NonNegative, Positive, Sha256
from basis.models.execution import ExecutionHandshake
from basis.models.operations import SettlementKind
from basis.models.order import Order

Columns = dict[str, bytes]
"""Name -> float64 values, little-endian, one a tick."""
RunMode = Literal["backtest", "paper", "live"]
"""Where data and fills come from, and what the clock is: history and simulated; live data and simulated; both real."""
OPEN_END = 2**31 - 1
"""``RunRef.last_tick`` of a paper or live run without an end."""
Balances = dict[str, float]
"""Instrument key (or a venue's own ledger entry) -> quantity."""


class RunRef(FrozenModel):
    """Which run a message belongs to; enough for any replica to answer it."""

    correlation_id: CorrelationId
    """Run."""
    pid: int = Field(ge=1)
    """Process id of the run's engine at its start."""
    config_sha256: Sha256
    """SHA-256 of ``config``: services cache what they derive from it under this key."""
    config: bytes
    """Merged configuration (RunConfig) as JSON."""
    start: AwareDatetime
    """Time of tick 0."""
    time_step_s: int = Field(ge=1)
    """Seconds between two ticks."""
    last_tick: int = Field(ge=0)
    """Index of the last tick; its time is the run's end."""
    initial_capital: Positive
    """Capital at tick 0, share class."""
    data_sha256: Sha256
    """SHA-256 over the series that the run reads."""
    run_mode: RunMode = "backtest"
    """Where data and fills come from, and what the clock is."""


class RunSubmit(FrozenModel):
    """A run to be done: the payload of ``basis.<cid>.run.submit``."""

    correlation_id: CorrelationId
    """Run."""
    run_mode: RunMode
    """Where data and fills come from, and what the clock is."""
    config: bytes
    """Merged configuration (RunConfig) as JSON."""
    config_sha256: Sha256
    """SHA-256 of ``config``."""
    start: AwareDatetime
    """Time of tick 0."""
    end: AwareDatetime | None
    """Time of the last tick; None = until it is stopped (paper and live)."""
    initial_capital: Positive
    """Capital at tick 0, share class."""
    initial_balances: Balances | None = None
    """Instrument key -> what the venues held when a live run was accepted; None = all capital in one balance."""
    data_sha256: Sha256
    """SHA-256 over the series that the run reads, as the venues service found them when the run was accepted."""
    data_path: str
    """Folder of the catalogue, as the venues service names it."""
    data_notes: tuple[str, ...] = ()
    """How data is read where a choice was made, e.g. the interpolation of indices."""
    submitted_at: AwareDatetime
    """Wall clock of the submission."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.end is None:
            if self.run_mode == "backtest":
                raise ValueError("a backtest needs an end")
        elif self.start >= self.end:
            raise ValueError(f"start {self.start.isoformat()} is not before end {self.end.isoformat()}")
        return self


class CoverageRequest(FrozenModel):
    """Can the market data feed this run? Asked before a run is accepted."""

    config: bytes
    """Merged configuration (RunConfig) as JSON."""
    start: AwareDatetime | None = None
    """Time of tick 0; None means the first tick that all series cover."""
    end: AwareDatetime | None = None
    """Time of the last tick; None means the last tick that all series cover."""


class CoverageReply(FrozenModel):
    """Yes, and from when to when; a no is an error reply with DATA-00x."""

    start: AwareDatetime
    """Time of tick 0."""
    end: AwareDatetime
    """Time of the last tick."""
    data_sha256: Sha256
    """SHA-256 over the series that the run reads."""
    data_path: str
    """Folder of the catalogue."""
    synthetic: bool
    """True where the catalogue says that a generator made it."""
    notes: tuple[str, ...] = ()
    """How data is read where a choice was made, e.g. the interpolation of indices."""


class ReadyRequest(FrozenModel):
    """Gateway to venues: may this paper or live run begin? Asked before it is accepted."""

    correlation_id: CorrelationId
    """Run."""
    run_mode: RunMode
    """``paper`` or ``live``."""
    config: bytes
    """Merged configuration (RunConfig) as JSON."""
    initial_capital: Positive
    """Capital of a paper run, share class; a live run has what its venues hold."""


class ReadyReply(FrozenModel):
    """Yes, and with what; a no is an error reply that says what is missing."""

    balances: Balances
    """Instrument key -> what the run begins with."""
    equity: Positive
    """What that is worth now, share class."""
    market: dict[str, float]
    """Market row that it was valued with."""
    venues: tuple[str, ...]
    """Counterparts that were asked, and answered."""
    notes: tuple[str, ...] = ()
    """What the operator should know: fixed columns, limits."""


class Halt(FrozenModel):
    """No new order of a live run: entry of the KV bucket ``trading``, and request to the venues to cancel what is open."""

    correlation_id: CorrelationId
    """Run."""
    unwind: bool = False
    """True lets orders through that only leave positions (intent ``exit_full``)."""
    reason: str = ""
    """Why."""


class HaltReply(FrozenModel):
    """Venues to gateway: done."""

    cancelled: int = Field(ge=0)
    """Open orders that were cancelled."""


Detail = str | float | int | bool | None
"""A fact about a settlement: no nesting, so that hundreds a window are read without a call of Python each."""


class Settlement(FrozenModel):
    """A change that a venue made on its own at a tick: funding, reward, arrival, liquidation.

    Interest and mark-to-market are not among them: they happen at every tick, and the monitors compute them from the
    market on their own (:class:`Window`).
    """

    tick: int = Field(ge=0)
    """Tick at which it took effect."""
    venue: str
    """Venue that made it."""
    kind: SettlementKind
    """Cause; names the attribution part that it counts under."""
    deltas: dict[str, float]
    """Instrument key -> signed change, net of fees."""
    fees: dict[str, float] = Field(default_factory=dict)
    """Instrument key -> fee or penalty that the venue took, positive; already inside ``deltas``."""
    details: dict[str, Detail] = Field(default_factory=dict)
    """Rate, mark, quantity, amount; units named in the keys."""


class Window(FrozenModel):
    """Market and venue balances for a stretch of ticks."""

    first_tick: int = Field(ge=0)
    """Index of the first tick."""
    ticks: int = Field(ge=1)
    """How many."""
    market: Columns
    """Market column -> values."""
    balances: Columns
    """Ledger entries that change within the window -> value after each tick's settlements: mark-to-market (each tick
    moves quantity x change of mark from a perp into its margin balance), then funding, arrivals, rewards, liquidation."""
    settlements: bytes = b""
    """What venues did on their own, by tick: a msgpack list of :class:`Settlement`, empty where there is none. Only who
    reads them unpacks them (``codec.unpack_settlements``): hundreds of fundings a window pass through the engine unread."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        for name, column in (*self.market.items(), *self.balances.items()):
            if len(column) != 8 * self.ticks:
                raise ValueError(f"column {name!r} holds {len(column)} bytes, expected {8 * self.ticks}")
        return self


class AdvanceRequest(FrozenModel):
    """Engine to venues: settle and report the next ticks."""

    run: RunRef
    """Run."""
    ledger: Balances
    """Venue-side balances before the first tick."""
    first_tick: int = Field(ge=0)
    """First tick wanted."""
    ticks: int = Field(ge=1)
    """Most ticks wanted; the reply may hold fewer (message size), never none."""
    after_tick: int | None = None
    """Last committed tick where it is not the one before (paper and live runs skip what they missed), -1 = none yet."""
    deposit: NonNegative = 0.0
    """Capital that the client put in since then, share class (paper and live)."""


class AdvanceReply(FrozenModel):
    """Venues to engine."""

    window: Window
    """Market and balances."""


class PortfolioState(FrozenModel):
    """What the monitors carry from tick to tick."""

    positions: Balances
    """Instrument key -> quantity as the monitors have it, from deltas alone."""
    capital: float
    """Capital put in so far, share class."""
    attribution: dict[str, float]
    """Cause -> cumulative PnL, share class."""
    pnl_by_venue: dict[str, float]
    """Venue -> cumulative PnL, share class."""
    pnl_by_asset: dict[str, float]
    """Asset -> cumulative PnL, share class."""
    market: dict[str, float]
    """Market row of the last tick seen, empty before the first."""
    applied: tuple[str, ...] = ()
    """Operations applied at the last tick: a repeat is not applied again."""
    tick: int = Field(default=-1, ge=-1)
    """Last tick seen."""


class AssessRequest(FrozenModel):
    """Engine to monitors: what do these ticks mean?"""

    run: RunRef
    """Run."""
    portfolio: PortfolioState
    """State before the window."""
    window: Window
    """Market and balances."""
    ledger: Balances
    """Venue-side balances before the window: unchanged entries of ``window.balances``."""


class AssessReply(FrozenModel):
    """Monitors to engine, in columns."""

    columns: Columns
    """equity, capital, total_pnl (share class), total_value_usd, net_delta_usd, collateral_usd, debt_usd, threshold_usd
    (collateral x liquidation threshold), and for each venue with perps ``margin:<venue>`` (margin balance) and
    ``notional:<venue>`` (perp notional), both in USD: one value a tick; ratios follow from them where they exist."""
    positions: Columns
    """Instrument key -> quantity a tick, where settlements change it."""
    sums: dict[str, Columns]
    """attribution, pnl_by_venue, pnl_by_asset of :class:`PortfolioState` at each tick: with the rest of this reply and the
    window they are the monitors' state after any tick of it, so that orders need not wait for a commit."""
    risk_levels: bytes
    """One byte a tick: 0 low, 1 medium, 2 high, 3 critical."""


class CommitRequest(FrozenModel):
    """Engine to monitors: these ticks happened; publish their events."""

    run: RunRef
    """Run."""
    portfolio: PortfolioState
    """State before the window."""
    window: Window
    """Market and balances, as assessed."""
    ledger: Balances
    """Venue-side balances before the window."""
    ticks: int = Field(ge=1)
    """How many ticks of the window happened; the rest is thrown away."""


class CommitReply(FrozenModel):
    """Monitors to engine, once JetStream has the events."""

    counts: dict[str, int]
    """Event type -> events published."""


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


RunStatusName = Literal["queued", "running", "completed", "failed", "cancelled"]


class RunStatus(FrozenModel):
    """Where a run is: the public part of its entry in the KV bucket ``runs``."""

    correlation_id: CorrelationId
    """Run."""
    strategy: str
    """Mode."""
    status: RunStatusName
    """Where it is."""
    progress: NonNegative = 0.0
    """Fraction of ticks committed, 0 to 1."""
    ticks: int = Field(default=0, ge=0)
    """Ticks committed."""
    total_ticks: int = Field(ge=0)
    """Ticks of the whole run."""
    started_at: AwareDatetime | None = None
    """Wall clock of its start."""
    completed_at: AwareDatetime | None = None
    """Wall clock of its end."""
    equity: float | None = None
    """Equity at the last committed tick, share class."""
    error_code: str | None = None
    """Code of the error registry where it failed."""
    error: str | None = None
    """Why it failed."""


class RequestedFlow(FrozenModel):
    """A deposit or withdrawal that was asked for while a backtest ran."""

    request_id: str
    """The client's own id of it."""
    tick: int = Field(ge=0)
    """Tick at which it takes effect."""
    date: AwareDatetime
    """Time of that tick: with it the run can be repeated from ``capital_flows``."""
    amount: float
    """Share class; positive = deposit, negative = withdrawal."""


class RunResult(FrozenModel):
    """What a run came to, in the share class."""

    initial_capital: Positive
    """Capital at tick 0."""
    final_value: float
    """Equity at the last tick."""
    total_return: float
    """final_value over capital, less 1; time-weighted where capital flowed during the run; a fraction."""
    annualized_return: float
    """(1 + total_return) ** (year / period) - 1, with 365-day years."""
    volatility: NonNegative
    """Standard deviation of the returns per tick, annualised with the run's true ticks a year."""
    sharpe: float | None
    """annualised mean return over volatility, risk-free rate 0; None without volatility."""
    max_drawdown: float
    """Deepest fall from a peak, a fraction, zero or negative."""
    target_apy: float
    """What the mode aims for."""
    share_class: str
    """Currency of all amounts."""
    orders_by_type: dict[str, int]
    """Operation type -> confirmed orders."""
    failed_orders: int = Field(ge=0)
    """Orders that did not execute."""
    fees: dict[str, float]
    """Kind (fees, gas, slippage) -> paid, positive, share class."""
    attribution: dict[str, float]
    """Cause -> part of the total PnL, share class."""
    attribution_gap: float
    """Total PnL less the sum of attribution."""
    net_flows: float = 0.0
    """Deposits less withdrawals during the run."""
    final_positions: dict[str, float]
    """Instrument key -> quantity at the last tick."""
    requested_flows: tuple[RequestedFlow, ...] = ()
    """Deposits and withdrawals asked for while it ran: with them in ``capital_flows`` the run can be repeated."""


class RunStart(FrozenModel):
    """Engine to event-logger through the event stream: open the run's directory. Becomes ``run_metadata.json``."""

    correlation_id: CorrelationId
    """Run."""
    pid: int = Field(ge=1)
    """Process id of the run's engine at its start."""
    mode: RunMode
    """Kind of the run."""
    strategy: str
    """Name of the mode's configuration."""
    initial_capital: Positive
    """Capital at tick 0, share class."""
    share_class: str
    """Currency of the account."""
    config: dict[str, JsonValue]
    """Merged configuration."""
    config_sha256: Sha256
    """SHA-256 of the configuration as JSON."""
    data_path: str
    """Folder of the catalogue."""
    data_sha256: Sha256
    """SHA-256 over the series that the run reads."""
    data_notes: tuple[str, ...] = ()
    """How data was read where a choice was made, e.g. the interpolation of indices."""
    code_version: str
    """Version of Basis."""
    start_time: AwareDatetime
    """Time of tick 0."""
    end_time: AwareDatetime | None
    """Time of the last tick; None = until it is stopped (paper and live)."""
    started_at: AwareDatetime
    """Wall clock of the start."""


class RunEnd(FrozenModel):
    """Engine to event-logger through the event stream: seal the run."""

    correlation_id: CorrelationId
    """Run."""
    pid: int = Field(ge=1)
    """Process id of the run's engine at its start."""
    status: Literal["completed", "failed", "cancelled"]
    """How it ended."""
    last_tick: int = Field(ge=0)
    """Last committed tick; orders the event-logger's own events."""
    timestamp: AwareDatetime
    """Engine time of the end."""
    ticks: int = Field(ge=0)
    """Ticks committed."""
    counts: dict[str, int]
    """Event type -> events that the run published."""
    error_code: str | None = None
    """Code of the error registry where it failed."""
    error: str | None = None
    """Why it failed."""
    result: RunResult | None = None
    """What it came to; None where it failed before its first tick."""
    ended_at: AwareDatetime
    """Wall clock of the end."""


class FileSeal(FrozenModel):
    """One file of a sealed run."""

    count: int = Field(ge=0)
    """Lines."""
    bytes: int = Field(ge=0)
    """Size."""
    sha256: Sha256
    """SHA-256 of the content."""


class RunMetadata(RunStart):
    """``run_metadata.json``: what a run was and, once sealed, what its files must be."""

    status: Literal["running", "completed", "failed", "cancelled"]
    """How it ended; running until sealed."""
    ended_at: AwareDatetime | None = None
    """Wall clock of the end; None until sealed."""
    ticks: int = Field(default=0, ge=0)
    """Ticks committed."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Event type -> events in its file; empty until sealed."""
    files: dict[str, FileSeal] = Field(default_factory=dict)
    """Path relative to the run's directory -> seal; empty until sealed."""
    event_hash: Sha256 | None = None
    """SHA-256 of the canonical log; None until sealed."""
    result: RunResult | None = None
    """What it came to."""
    error_code: str | None = None
    """Code of the error registry where it failed."""
    error: str | None = None
    """Why it failed."""
    sealed_at: AwareDatetime | None = None
    """Wall clock of the sealing."""
    seal_error: str | None = None
    """What did not add up at the sealing (LOG-005); None where all did."""


class RunSealed(FrozenModel):
    """Event-logger to engine: the run is on disk."""

    correlation_id: CorrelationId
    """Run."""
    log_directory: str
    """Directory of the run, as the event-logger names it."""
    event_hash: Sha256
    """SHA-256 of the canonical log."""
    counts: dict[str, int]
    """Event type -> events in the files."""
    error_code: str | None = None
    """LOG-005 where counts do not match, else None."""
    error: str | None = None
    """What did not add up."""


class RemoveRequest(FrozenModel):
    """Gateway to event-logger: take the directory of a run away."""

    correlation_id: CorrelationId
    """Run."""


class RemoveReply(FrozenModel):
    """Event-logger to gateway, once it is gone."""

    removed: int = Field(ge=0)
    """Directories taken away: 0 where there was none."""


class RunOutcome(FrozenModel):
    """All there is to say of an ended run: its entry in the KV bucket ``results``, and what ``--json`` prints."""

    status: RunStatus
    """How it ended."""
    log_directory: str | None
    """Directory of the run; None where it never started."""
    ticks: int = Field(ge=0)
    """Ticks committed."""
    events: dict[str, int]
    """Event type -> events on disk."""
    event_hash: Sha256 | None
    """SHA-256 of the canonical log."""
    loop_s: NonNegative
    """Wall-clock time from the first tick until the last event was acknowledged as on disk, seconds."""
    result: RunResult | None
    """What it came to."""


class Control(FrozenModel):
    """Request to the engine of a run."""

    command: Literal["cancel", "fail", "stop", "emergency_stop", "rebalance", "deposit", "withdraw"]
    """``cancel``: end at the next window. ``fail``: a part of the system cannot go on (disk full); stop with the code.
    ``deposit``, ``withdraw``: at the next tick. Paper and live: ``stop``: end after the tick in hand, positions stay;
    ``emergency_stop``: no new order; ``rebalance``: at the next tick."""
    error_code: str | None = None
    """Code of the error registry; ``fail`` only."""
    reason: str | None = None
    """Why."""
    amount: NonNegative = 0.0
    """Share class; ``deposit`` and ``withdraw`` only."""
    unwind: bool = False
    """``emergency_stop``: close all positions before the run ends."""
    request_id: str = ""
    """The client's own id of a deposit or withdrawal: a repeat counts once."""


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
    """A live tick that is being committed: another engine does it again before it goes on, and comes to the same."""

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
    """Tick that is being committed; None between ticks, and always in a backtest."""
    requests: tuple[Control, ...] = ()
    """What was asked of a paper or live run, to be obeyed at its next tick."""
    run_mode: RunMode = "backtest"
    """Kind of the run."""
