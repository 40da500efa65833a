"""Configuration of paper and live runs: the ``live:`` section of a mode. Disabled unless it says otherwise."""

from __future__ import annotations

from pydantic import Field

from basis.models.base import Fraction, FrozenModel, NonNegative, Positive
from basis.models.instruments import Venue


class TradingLimits(FrozenModel):
    """What a live order may be at most; checked before every order, at the venues service (VEN-015)."""

    max_order_usd: Positive = 25_000.0
    """Largest notional of one order, or of one atomic group, USD."""
    max_daily_usd: Positive = 100_000.0
    """Largest sum of notionals of one UTC day, USD; counted in the cluster, so a restart does not forget it."""
    max_leverage: Positive = 3.0
    """(perp notional + debt) over equity after the order; an order that lowers it is always within."""
    price_collar: Fraction = 0.02
    """Largest distance of an order's price from the market row of its tick, a fraction."""
    max_order_age_s: Positive = 30.0
    """Oldest market row that an order may be based on, seconds: a late order is refused, not sent."""
    venues: tuple[Venue, ...] | None = None
    """Venues that orders may go to; null = those of the mode."""
    instruments: tuple[str, ...] | None = None
    """Instrument keys that orders may move; null = all that the mode may hold."""


class LiveConfig(FrozenModel):
    """Paper and live trading of a mode."""

    enabled: bool = False
    """True arms the mode for real orders: the configuration's part of arming; the environment of the venues service
    (``BASIS_LIVE_TRADING``) and the API scope ``trade`` are the other two."""
    time_step_s: int = Field(default=60, ge=60, le=86_400)
    """Seconds between two ticks on the wall clock."""
    quote_max_age_s: Positive = 120.0
    """Oldest price of an exchange that still counts as known, seconds; slower series keep the limit of their feed."""
    max_clock_skew_s: NonNegative = 2.0
    """Furthest that a venue's time may be ahead of ours, seconds (VEN-011)."""
    max_missed_ticks: int = Field(default=10, ge=0)
    """Ticks in a row without a sound market row (a venue away, a stale price) after which the run stops."""
    fixed_columns: dict[str, float] = Field(default_factory=dict)
    """Market column -> value that the operator vouches for where no counterpart quotes it, e.g. price_usd:USDT. Part of
    the configuration of the run, and so of its log."""
    dead_man_s: Positive = 15.0
    """Silence of the engine after which the venues cancel the run's open orders and take no new ones, seconds."""
    gas_eth: NonNegative = 0.1
    """Ether that the wallet must hold when a live run with a chain begins, and that modes with ether in the wallet leave
    there: a transaction needs its most expensive gas up front."""
    limits: TradingLimits = Field(default_factory=TradingLimits)
    """What an order may be at most."""
