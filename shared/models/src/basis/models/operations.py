"""The closed vocabularies of orders and executions."""

from __future__ import annotations

from enum import StrEnum


class OperationType(StrEnum):
    """What an order does. Signs of its deltas: ``behaviour.md`` section 2."""

    SPOT_TRADE = "spot_trade"
    PERP_TRADE = "perp_trade"
    SUPPLY = "supply"
    BORROW = "borrow"
    REPAY = "repay"
    WITHDRAW = "withdraw"
    STAKE = "stake"
    UNSTAKE = "unstake"
    SWAP = "swap"
    FLASH_BORROW = "flash_borrow"
    FLASH_REPAY = "flash_repay"
    TRANSFER = "transfer"


class SettlementKind(StrEnum):
    """What a venue does to an account on its own, without an order."""

    FUNDING = "funding"
    """Perp funding at its own time: -quantity x price x rate, so that a short receives a positive rate."""
    REWARD = "reward"
    """Staking reward paid out in tokens of its own."""
    LIQUIDATION = "liquidation"
    """Collateral or margin taken because health factor or margin fell under its limit."""
    TRANSFER_ARRIVAL = "transfer_arrival"
    """A transfer in flight reaches its target."""
    UNSTAKE_ARRIVAL = "unstake_arrival"
    """An unstake request leaves the queue."""
    TAKE_PROFIT = "take_profit"
    """A position closed at its target within the bar that ends at the tick."""
    STOP_LOSS = "stop_loss"
    """A position closed at its stop within the bar that ends at the tick."""
    DEPOSIT = "deposit"
    """The client puts capital in (``capital_flows``)."""


TRADES = frozenset({OperationType.SPOT_TRADE, OperationType.PERP_TRADE})
"""Operations on an order book: they need a pair and a side, and are never in an atomic group."""


class ExecutionStatus(StrEnum):
    """Outcome of an order. A timeout after sending is pending, never failed."""

    CONFIRMED = "confirmed"
    """The venue executed it; deltas are final."""
    PENDING = "pending"
    """Unknown: sent, no proof either way. Resolved by querying the venue, never by guessing."""
    FAILED = "failed"
    """The venue proved that it did not accept it; deltas are empty."""
    ROLLED_BACK = "rolled_back"
    """Part of an atomic group that was undone; deltas are empty."""


class OrderSide(StrEnum):
    """Direction of a trade."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """How a trade is priced."""

    MARKET = "market"
    LIMIT = "limit"


class ExecutionMode(StrEnum):
    """Whether an order stands alone or in a group that is all or nothing."""

    SEQUENTIAL = "sequential"
    ATOMIC = "atomic"


class StrategyIntent(StrEnum):
    """Why the strategy ordered it."""

    ENTRY_FULL = "entry_full"
    ENTRY_PARTIAL = "entry_partial"
    EXIT_PARTIAL = "exit_partial"
    EXIT_FULL = "exit_full"
    SELL_DUST = "sell_dust"
    REBALANCE = "rebalance"
    RISK_OVERRIDE = "risk_override"
