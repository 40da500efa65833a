"""How a live exchange is talked to: ``configs/live/<venue>.yaml``. Nothing secret, and nothing of a strategy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, HttpUrl

from basis.models.base import FrozenModel


class WithdrawalAddress(FrozenModel):
    """Where a token may be sent to."""

    address: str = Field(min_length=4, max_length=128)
    """Address on chain."""
    network: str = Field(min_length=2, max_length=32)
    """Network in ccxt's words, e.g. ``ERC20``."""


class CexLiveConfig(FrozenModel):
    """Connection to one exchange. Every default is what production wants; the environment overrides url and testnet."""

    testnet: bool = False
    """True trades on the exchange's public test network (Binance: demo trading), never with real money."""
    base_url: HttpUrl | None = None
    """Another host in place of the exchange's own, paths kept; for tests and for mirrors. null = the exchange's."""
    recv_window_ms: int = Field(default=5_000, ge=100, le=30_000)
    """How old a signed request may be when it reaches the exchange, milliseconds: what has not arrived by then never does."""
    request_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """How long one request waits for its answer, seconds."""
    max_clock_skew_ms: int = Field(default=1_000, ge=0, le=30_000)
    """Largest accepted difference of our clock and the exchange's (VEN-011), milliseconds."""
    fill_wait_s: float = Field(default=5.0, ge=0, le=300)
    """How long a limit order may rest before what is left of it is cancelled, seconds."""
    reads: int = Field(default=4, ge=1, le=10)
    """How often a question that changes nothing is asked before it is given up."""
    retry_wait_s: float = Field(default=0.25, gt=0, le=10)
    """Wait before it is asked the second time, seconds; doubled each time after."""
    rate_limit: bool = True
    """True keeps to the exchange's rate limits before it is told to."""
    market_orders: Literal["protected", "plain"] = "protected"
    """``protected``: a market order is an immediate-or-cancel limit order at price x (1 +- slippage_tolerance), so that no
    fill is worse; ``plain``: the exchange's own market order."""
    withdrawal_addresses: dict[str, dict[str, WithdrawalAddress]] = Field(default_factory=dict)
    """Target (``wallet``, ``client`` or another exchange) -> token -> where it goes; a target that is not listed is
    refused. The exchange's own allow-list should say the same."""
