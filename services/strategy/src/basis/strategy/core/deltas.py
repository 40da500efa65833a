"""OperationParams: what an expected delta is computed from."""

from __future__ import annotations

from dataclasses import dataclass

from basis.models.operations import OperationType, OrderSide


@dataclass(frozen=True, slots=True)
class OperationParams:
    """Parameters of one operation; which are read depends on the operation (behaviour.md section 2)."""

    operation: OperationType
    """What to do."""
    venue: str
    """Venue that executes it."""
    amount: float
    """Tokens of the source, base quantity of a trade (USD contracts of an inverse perp), or underlying of a withdrawal or
    repayment; above zero."""
    token: str
    """Token that is moved: base of a trade, reserve of Aave, LST of stake and unstake, source of swap and transfer."""
    target_token: str = ""
    """Token received: quote of a trade, target of a swap."""
    source_venue: str = "wallet"
    """Venue that a transfer leaves."""
    target_venue: str = "wallet"
    """Venue that a transfer reaches."""
    side: OrderSide | None = None
    """Direction of a trade."""
    symbol: str = ""
    """Symbol of a perp, e.g. BTCUSDT."""
    price: float = 0.0
    """Price of a trade, quote per base; of a swap, in-token in any unit."""
    target_price: float = 0.0
    """Price of the out-token of a swap, in the same unit."""
    slippage: float = 0.0
    """Adverse move of a trade, or cost of a swap, a fraction."""
    fee_rate: float = 0.0
    """Trading fee, flash-loan fee, a fraction."""
    index: float = 0.0
    """Aave liquidity index (supply, withdraw) or variable borrow index (borrow, repay)."""
    exchange_rate: float = 0.0
    """ETH per LST."""
    delayed: bool = False
    """True where a transfer or an unstake request arrives at a later tick."""
    withdrawal_fee: float = 0.0
    """Fee of a transfer, in the token."""
    gas_fee: float = 0.0
    """Gas of the operation, in ``gas_token``."""
    gas_token: str = "ETH"
    """Wallet token that pays the gas."""
