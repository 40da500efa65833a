"""Windows of ticks: what venues settle and report, what monitors make of it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from basis.models.base import FrozenModel, NonNegative, Positive, Sha256
from basis.models.messages.run import Balances, Columns, RunRef
from basis.models.operations import SettlementKind


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


Detail = str | float | int | bool | None
"""A fact about a settlement: no nesting, so that those of many settlements fit a column."""


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


class PackedSettlements(FrozenModel):
    """Settlements of one venue and kind that change the same keys, at most one a tick, as they travel.

    Columns are raw little-endian numbers, one entry a settlement.
    """

    venue: str
    """Venue that made them."""
    kind: SettlementKind
    """Cause."""
    ticks: bytes = Field(min_length=8)
    """Tick of each, ascending: int64."""
    deltas: Columns
    """Instrument key -> signed changes, net of fees: float64."""
    fees: Columns = Field(default_factory=dict)
    """Instrument key -> fees or penalties, positive; already inside ``deltas``: float64."""
    details: dict[str, Detail | bytes] = Field(default_factory=dict)
    """A fact that all of them share, or a column of float64."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if len(self.ticks) % 8:
            raise ValueError(f"column 'ticks' holds {len(self.ticks)} bytes, expected a multiple of 8")
        columns = [*self.deltas.items(), *self.fees.items()]
        columns += [(name, value) for name, value in self.details.items() if isinstance(value, bytes)]
        for name, column in columns:
            if len(column) != len(self.ticks):
                raise ValueError(f"column {name!r} holds {len(column)} bytes, expected {len(self.ticks)}")
        return self


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
    """What venues did on their own: a msgpack list of :class:`PackedSettlements`, empty where there is none; within a tick
    the first of the list comes first. Only who reads them unpacks them (``codec.unpack_settlement_columns``): hundreds of
    fundings a window pass through the engine unread."""

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


class MissingExit(FrozenModel):
    """A take profit or stop loss that is not at its venue, while its position is."""

    operation_id: str
    """Order that opened the position."""
    instrument_key: str
    """The perp."""
    purpose: Literal["take_profit", "stop_loss"]
    """Which of the two."""
    level: Positive
    """Price that it should be at."""
    reason: str
    """Why the venue does not have it."""
    crossed: bool = False
    """True where the market is past the level: the position is to be closed now."""

    @property
    def words(self) -> str:
        """For people."""
        past = (
            ", and the market is past it: it is closed now"
            if self.crossed
            else ": tried again at every tick, and watched"
        )
        return f"{self.purpose} of {self.instrument_key} at {self.level:g} is not at the venue ({self.reason}){past}"


class AdvanceReply(FrozenModel):
    """Venues to engine."""

    window: Window
    """Market and balances."""
    exits_missing: tuple[MissingExit, ...] = ()
    """Exits that a live position lacks at this tick."""


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
