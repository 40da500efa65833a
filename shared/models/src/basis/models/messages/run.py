"""A run as it is asked for, watched, steered and reported."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from basis.models.base import CorrelationId, FrozenModel, NonNegative, Positive, Sha256

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
    alerts: tuple[str, ...] = ()
    """What someone should look at now, in a live run that goes on."""


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
