"""What is said of a run: summary, report, curves, orders, the state at a tick. All of it follows from the run's directory."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field, JsonValue

from basis.models.base import CorrelationId, FrozenModel, NonNegative, Sha256
from basis.models.messages import RunStatusName

ColumnGroup = Literal["equity", "attribution", "exposure", "risk", "position"]


class RunSummary(FrozenModel):
    """A run in one line of a list."""

    correlation_id: CorrelationId
    """Run."""
    strategy: str
    """Mode."""
    mode: Literal["backtest", "paper", "live"]
    """Where data and fills came from."""
    status: RunStatusName
    """Where it is. ``failed`` with LOG-004 where its directory cannot be read."""
    progress: NonNegative
    """Fraction of ticks committed, 0 to 1."""
    share_class: str | None = None
    """Currency of all amounts."""
    initial_capital: float | None = None
    """Capital at tick 0, share class."""
    start: AwareDatetime | None = None
    """Time of tick 0."""
    end: AwareDatetime | None = None
    """Time of the last tick."""
    started_at: AwareDatetime | None = None
    """Wall clock of its start."""
    ended_at: AwareDatetime | None = None
    """Wall clock of its end."""
    ticks: int = Field(default=0, ge=0)
    """Ticks committed."""
    total_ticks: int | None = Field(default=None, ge=0)
    """Ticks of the whole run."""
    final_value: float | None = None
    """Equity at the last committed tick, share class."""
    total_return: float | None = None
    """As in :class:`Metrics`; null until the run has ended."""
    annualized_return: float | None = None
    """As in :class:`Metrics`."""
    volatility: float | None = None
    """As in :class:`Metrics`."""
    sharpe: float | None = None
    """As in :class:`Metrics`."""
    max_drawdown: float | None = None
    """As in :class:`Metrics`."""
    target_apy: float | None = None
    """What the mode aims for, a fraction a year."""
    synthetic: bool | None = None
    """True where a generator made the market data."""
    error_code: str | None = None
    """Code of the error registry where it failed."""
    error: str | None = None
    """Why it failed."""
    event_hash: Sha256 | None = None
    """SHA-256 of the canonical log: equal runs have the same."""
    sparkline: tuple[float, ...] | None = None
    """At most 60 values of equity, spread evenly over the run so far, share class."""


class Metrics(FrozenModel):
    """What a run came to. Fractions unless said otherwise; null where not defined."""

    total_return: float | None = None
    """Final value over capital, less 1; time-weighted where money was paid in or out; share class."""
    annualized_return: float | None = None
    """(1 + total_return) ** (year / period) - 1, with 365-day years."""
    volatility: float | None = None
    """Sample standard deviation of the returns per tick, annualised with ``periods_per_year``."""
    sharpe: float | None = None
    """Mean over standard deviation of the returns, annualised, risk-free rate 0; null without volatility."""
    sortino: float | None = None
    """The same over the downside deviation from 0; null without a loss."""
    calmar: float | None = None
    """annualized_return over the depth of the deepest drawdown; null without one."""
    max_drawdown: float | None = None
    """Deepest fall from a peak, zero or negative; deposits and withdrawals left out."""
    max_drawdown_start: AwareDatetime | None = None
    """Time of the peak before it."""
    max_drawdown_trough: AwareDatetime | None = None
    """Time of its lowest point."""
    max_drawdown_end: AwareDatetime | None = None
    """First time at which the peak was reached again; null where it never was."""
    hit_rate: float | None = None
    """Ticks with a gain over ticks with a gain or a loss."""
    hit_rate_days: float | None = None
    """The same for UTC days."""
    turnover: float | None = None
    """Value given in confirmed trades (spot, perp notional, swap) over mean equity, of the whole run: 2.0 is twice."""
    turnover_annualized: float | None = None
    """turnover a year."""
    time_in_market: float | None = None
    """Ticks at which anything but the share class was held, over all ticks."""
    benchmark_return: float | None = None
    """Return in USD of holding the share class."""
    usd_return: float | None = None
    """Return of the run in USD: (1 + total_return) x (1 + benchmark_return) - 1."""
    excess_return: float | None = None
    """usd_return less benchmark_return."""
    target_apy: float | None = None
    """What the mode aims for, a fraction a year."""
    target_met: bool | None = None
    """annualized_return is at least target_apy."""
    target_max_drawdown: float | None = None
    """Deepest fall that the mode allows itself, positive."""
    max_drawdown_met: bool | None = None
    """The deepest drawdown is no deeper than that."""
    periods_per_year: float
    """Ticks in a year of 365 days: 8,760 for hours, 105,120 for five minutes."""
    returns: int = Field(ge=0)
    """Returns that these are made from: ticks less one."""


class Costs(FrozenModel):
    """What a run paid, positive, share class. Every figure but ``by_venue`` is also in attribution, negative."""

    fees: float = 0.0
    """Venue fees."""
    gas: float = 0.0
    """Gas."""
    slippage: float = 0.0
    """Difference to the market price."""
    total: float = 0.0
    """All of them."""
    by_venue: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Kind -> who was paid -> amount, from the double entry of the log; liquidation penalties are among the fees."""


class ColumnInfo(FrozenModel):
    """A column that ``curves`` can give."""

    name: str
    """What to ask for."""
    unit: str
    """Share class, USD, a token, fraction or ratio."""
    label: str
    """For people."""
    group: ColumnGroup
    """What it is about."""
    trigger: float | None = None
    """Level at which the run's own rules act, in the column's unit; null where there is none."""


class Trigger(FrozenModel):
    """Levels of one measure."""

    warn: float
    """From here on it is a warning."""
    breach: float
    """From here on it is a breach."""
    unit: str
    """Unit of both."""


class Derived(FrozenModel):
    """The part of a report that takes reading the events: made once for a sealed run."""

    metrics: Metrics | None
    """Null before the first tick."""
    paid: dict[str, dict[str, float]]
    """Kind -> who was paid -> amount, share class."""
    orders_by_type: dict[str, int]
    """Operation type -> confirmed orders."""
    failed_orders: int = Field(ge=0)
    """Orders that did not execute."""
    net_flows: float
    """Deposits less withdrawals during the run, share class."""


class RunReport(RunSummary):
    """All that a run page begins with."""

    metrics: Metrics | None = None
    """Null before the first tick."""
    costs: Costs = Costs()
    """What it paid."""
    funding: float = 0.0
    """Perp funding received, negative where paid, share class."""
    attribution: dict[str, float] = Field(default_factory=dict)
    """Cause -> part of the total PnL, share class."""
    attribution_gap: float | None = None
    """Total PnL less the sum of attribution."""
    orders_by_type: dict[str, int] = Field(default_factory=dict)
    """Operation type -> confirmed orders."""
    failed_orders: int = Field(default=0, ge=0)
    """Orders that did not execute."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Event type -> events on disk; of a run that goes on: those on disk so far, estimated for large files."""
    final_positions: dict[str, float] = Field(default_factory=dict)
    """Instrument key -> quantity at the last tick on disk."""
    net_flows: float = 0.0
    """Deposits less withdrawals during the run, share class."""
    config: dict[str, JsonValue] = Field(default_factory=dict)
    """Merged configuration."""
    config_sha256: Sha256 | None = None
    """SHA-256 of the configuration."""
    data_path: str | None = None
    """Folder of the catalogue."""
    data_sha256: Sha256 | None = None
    """SHA-256 over the series that the run read."""
    data_notes: tuple[str, ...] = ()
    """How data was read where a choice was made."""
    code_version: str | None = None
    """Version of Basis that ran it."""
    sealed: bool = False
    """True once the log is complete and has its hashes."""
    columns: tuple[ColumnInfo, ...] = ()
    """What ``curves`` can give."""
    triggers: dict[str, Trigger] = Field(default_factory=dict)
    """health_factor, margin_ratio, ltv, net_delta: levels of the run's configuration."""


class RunList(FrozenModel):
    """A page of runs, newest first."""

    items: tuple[RunSummary, ...]
    """Runs."""
    next: CorrelationId | None
    """``after`` of the next page; null at the end."""
    total: int = Field(ge=0)
    """Runs that fit the filters."""


class CurvesAnswer(FrozenModel):
    """Columns over one x axis."""

    columns: dict[str, list[float | None]]
    """Name -> values; null where not defined."""
    ticks: list[int]
    """Tick of each value."""
    times: list[int]
    """Time of each value, milliseconds since the epoch."""
    total_ticks: int
    """Ticks on disk."""
    first_tick: int
    """First tick of the range that was asked for."""
    last_tick: int
    """Last tick of it."""
    method: Literal["raw", "m4"]
    """``raw``: every tick; ``m4``: first, last, lowest and highest of each pixel column, for every curve."""


class PositionAt(FrozenModel):
    """One holding at a tick."""

    instrument_key: str
    """Instrument."""
    quantity: float
    """Tokens; scaled quantity for aToken and debtToken; signed base quantity for Perp."""
    value_share_class: float | None
    """Value of a plain token, share class; null for what needs an index or a mark, which the log of a tick does not hold."""


class Moment(FrozenModel):
    """The state of a run at a tick, after its orders; the raw events it is read from."""

    tick: int
    """Tick."""
    timestamp: str
    """Its time."""
    positions: tuple[PositionAt, ...]
    """Holdings."""
    exposure: dict[str, Any] | None
    """ExposureSnapshot."""
    risk: dict[str, Any] | None
    """RiskAssessment."""
    pnl: dict[str, Any] | None
    """PnLCalculation."""
    decision: dict[str, Any] | None
    """StrategyDecision."""
    last_order_tick: int | None
    """Last tick before this one with an order; null where there is none."""
    next_order_tick: int | None
    """First tick after this one with an order."""


class ReconciliationShort(FrozenModel):
    """How the comparison after an order, or after its atomic group, ended."""

    success: bool
    """Every key agreed within tolerance."""
    attempts: int
    """Comparisons made."""
    mismatches: list[dict[str, Any]]
    """What differed at the last one."""


class OrderItem(FrozenModel):
    """An order, what became of it, and whether that was what was expected."""

    order: int
    """Order key of the OrderEvent."""
    tick: int
    """Tick."""
    timestamp: str
    """Engine time."""
    order_id: str
    """Identity of the order."""
    operation_id: str
    """Identity of the operation."""
    operation_type: str
    """What was to be done."""
    venue: str
    """Venue that executes it."""
    source_venue: str | None
    """Venue that the source token leaves."""
    target_venue: str | None
    """Venue that the target token arrives at."""
    source_token: str | None
    """Token given."""
    target_token: str | None
    """Token received."""
    amount: float
    """Size, as in the Order."""
    intent: str
    """Why it was ordered."""
    status: str | None
    """Outcome; null where the order was never tried."""
    expected_deltas: dict[str, float]
    """Instrument key -> expected signed change."""
    actual_deltas: dict[str, float]
    """Instrument key -> change of the venue's ledger; empty unless confirmed."""
    difference: dict[str, float]
    """actual - expected, for every key of either; empty unless confirmed."""
    executed_amount: float | None
    """Part of the amount that was executed."""
    fee_amount: float | None
    """Fee and gas, in fee_currency."""
    fee_currency: str | None
    """Token that the fee was paid in."""
    error_code: str | None
    """Code of the error registry where it failed."""
    error_message: str | None
    """What the venue said."""
    atomic_group_id: str | None
    """Group that executed as one transaction."""
    sequence_in_group: int | None
    """Place in the group, from 0."""
    reconciliation: ReconciliationShort | None
    """The comparison after it; null where none was made."""
    execution_details: dict[str, Any]
    """What the venue executed with: price, index, gas units. Of a SUPPLY: aToken received = amount / index."""


class OrderPage(FrozenModel):
    """A page of orders."""

    items: list[OrderItem]
    """By order key."""
    next: int | None
    """``after`` of the next page; null at the end."""
    total: int
    """Orders of the run."""


class OrderDetail(OrderItem):
    """An order with all that is on disk about it."""

    events: list[dict[str, Any]]
    """``{"type", "order", "event"}`` of every event that carries the operation, by order key."""
    group: dict[str, Any] | None
    """AtomicOperationGroupEvent of its group."""


class EventLine(FrozenModel):
    """One event."""

    type: str
    """Event type."""
    order: int
    """Order key."""
    event: dict[str, Any]
    """As on disk."""


class EventPage(FrozenModel):
    """Events of several types in causal order."""

    items: list[EventLine]
    """By order key."""
    next: int | None
    """``after`` of the next page: lines up to it were looked at; null at the end. A page may be empty before the end."""
    scanned: int
    """Lines that were looked at."""


class TypedEventPage(FrozenModel):
    """Events of one type."""

    items: list[dict[str, Any]]
    """As on disk, by order key."""
    next: int | None
    """``after`` of the next page; null at the end. A page may be empty before the end."""


class PnlDay(FrozenModel):
    """One UTC day."""

    date: str
    """ISO 8601 date."""
    equity: float
    """At its last tick, share class."""
    pnl: float
    """Earned within the day, flows left out."""
    attribution: dict[str, float]
    """Cause -> part of it."""


class PnlAnswer(FrozenModel):
    """PnL by cause, venue, asset and day; share class."""

    attribution: dict[str, float]
    """Cause -> part of the total PnL."""
    by_venue: dict[str, float]
    """Venue -> part of it."""
    by_asset: dict[str, float]
    """Asset -> part of it."""
    total_pnl: float
    """Equity less capital put in."""
    gap: float
    """Total PnL less the sum of attribution."""
    days: list[PnlDay]
    """One entry a UTC day."""


class ChartInfo(FrozenModel):
    """A chart worth drawing."""

    name: str
    """Stable name."""
    title: str
    """For people."""
    columns: list[str]
    """Columns of ``curves``."""
    unit: str
    """Unit of its y axis."""


class Charts(FrozenModel):
    """Charts of a run page, in order."""

    charts: list[ChartInfo]
    """Charts."""


class Difference(FrozenModel):
    """A metric in two runs."""

    a: float | bool | str | None
    """In the first."""
    b: float | bool | str | None
    """In the second."""
    difference: float | None
    """b - a where both are numbers."""


class ConfigDifference(FrozenModel):
    """A value of the configuration that differs."""

    a: JsonValue
    """In the first run; null where it is missing there."""
    b: JsonValue
    """In the second."""


class Comparison(FrozenModel):
    """Two runs side by side."""

    same_events: bool
    """Both canonical logs are the same."""
    metrics: dict[str, Difference]
    """Name -> both values."""
    config: dict[str, ConfigDifference]
    """Dotted path -> both values, where they differ."""
    a: RunSummary
    """The first run."""
    b: RunSummary
    """The second run."""
