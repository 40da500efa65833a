"""Order: what the strategy asks the execution service to do."""

from __future__ import annotations

import itertools
from typing import Self

from pydantic import Field, JsonValue, model_validator

from basis.models.base import Fraction, FrozenModel, Positive
from basis.models.instruments import split_key
from basis.models.operations import (
    TRADES,
    ExecutionMode,
    OperationType,
    OrderSide,
    OrderType,
    StrategyIntent,
)


class Order(FrozenModel):
    """One operation at one venue. Never mutated; a repeat carries the same operation_id."""

    operation_id: str = Field(min_length=1, max_length=128)
    """Identity of the operation, derived from (correlation_id, tick, n); a venue executes it at most once."""
    operation: OperationType
    """What to do."""
    venue: str = Field(min_length=1)
    """Venue that executes it, e.g. ``aave_v3``."""
    source_venue: str | None = None
    """Venue that the source token leaves, e.g. ``wallet``."""
    target_venue: str | None = None
    """Venue that the target token arrives at."""
    source_token: str | None = None
    """Token given, e.g. ``USDT``."""
    target_token: str | None = None
    """Token received, e.g. ``aUSDT``."""
    amount: Positive
    """Size in tokens of the source (on-chain, transfer), base quantity (trades), or of the underlying (withdraw, repay)."""
    side: OrderSide | None = None
    """Direction; trades only."""
    pair: str | None = None
    """Market symbol, e.g. ``BTCUSDT``; trades only."""
    order_type: OrderType = OrderType.MARKET
    """Market or limit."""
    price: Positive | None = None
    """Limit price, or the reference price of a market order, in quote per base."""
    expected_deltas: dict[str, float] = Field(default_factory=dict)
    """Instrument key -> signed change that the strategy expects, net of fees and gas; scaled for aTokens and debt."""
    operation_details: dict[str, JsonValue] = Field(default_factory=dict)
    """What the expectation was computed from: index, exchange rate, gas units and price; units named in the keys."""
    take_profit: Positive | None = None
    """Price at which the position closes in profit, quote per base."""
    stop_loss: Positive | None = None
    """Price at which the position closes in loss, quote per base."""
    execution_mode: ExecutionMode = ExecutionMode.SEQUENTIAL
    """Alone, or all-or-nothing within ``atomic_group_id``."""
    atomic_group_id: str | None = None
    """Group that executes as one transaction; atomic mode only."""
    sequence_in_group: int | None = Field(default=None, ge=0)
    """Place in the group, from 0; atomic mode only."""
    strategy_intent: StrategyIntent
    """Why it was ordered."""
    strategy_id: str = Field(min_length=1)
    """Mode that ordered it."""
    slippage_tolerance: Fraction = 0.005
    """Largest accepted adverse price move as a fraction of the reference price."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    """Anything else worth keeping; never read by the system."""

    @model_validator(mode="after")
    def _check_trade(self) -> Self:
        is_trade = self.operation in TRADES
        if is_trade and (self.pair is None or self.side is None):
            raise ValueError(f"{self.operation} needs pair and side")
        if not is_trade and self.side is not None:
            raise ValueError(f"{self.operation} takes no side")
        if self.order_type is OrderType.LIMIT and self.price is None:
            raise ValueError("a limit order needs a price")
        return self

    @model_validator(mode="after")
    def _check_group(self) -> Self:
        if self.execution_mode is ExecutionMode.ATOMIC:
            if self.atomic_group_id is None or self.sequence_in_group is None:
                raise ValueError("an atomic order needs atomic_group_id and sequence_in_group")
            if self.operation in TRADES:
                raise ValueError(f"{self.operation} on a CEX is never in an atomic group")
        elif self.atomic_group_id is not None or self.sequence_in_group is not None:
            raise ValueError("atomic_group_id and sequence_in_group are for execution_mode atomic")
        return self

    @model_validator(mode="after")
    def _check_exits(self) -> Self:
        """A LONG has stop < price < target, a SHORT the reverse."""
        levels = (self.stop_loss, self.price, self.take_profit)
        if self.stop_loss is None and self.take_profit is None:
            return self
        if self.side is None:
            raise ValueError("take_profit and stop_loss are for trades")
        known = [level for level in levels if level is not None]
        ordered = known if self.side is OrderSide.BUY else known[::-1]
        if any(low >= high for low, high in itertools.pairwise(ordered)):
            shape = "stop < price < target" if self.side is OrderSide.BUY else "target < price < stop"
            raise ValueError(f"a {self.side} needs {shape}, got stop/price/target {levels}")
        return self

    @model_validator(mode="after")
    def _check_expected_keys(self) -> Self:
        for key in self.expected_deltas:
            split_key(key)
        return self
