"""Gas: what an on-chain operation costs, in the token that the mode pays it in. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from basis.models.errors import ComponentError
from basis.models.operations import TRADES, OperationType
from basis.runtime.valuation import Valuer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.order import Order

T = TypeVar("T", float, "NDArray[np.float64]")
GWEI = 1e-9
"""ETH in one gwei."""
MAX_GROUP_UNITS = 5_000_000
"""Most gas units that one atomic group may use."""


class GasFee(NamedTuple):
    """Gas of one operation."""

    units: int
    """Gas units."""
    price_gwei: float
    """Gas price, gwei a unit."""
    token: str
    """Wallet token that pays (``RunConfig.gas_token``)."""
    amount: float
    """Fee in ``token``."""


def gas_price_gwei(config: RunConfig, market: Mapping[str, T]) -> T | float:
    """Gas price, at a tick or over columns: the wallet's fixed price, else base fee plus median priority fee."""
    wallet = config.wallet
    if wallet is None:
        return 0.0
    if wallet.gas_price_gwei is not None:
        return wallet.gas_price_gwei
    return market["gas_base_fee_gwei"] + market["gas_priority_fee_gwei"]


def gas_fee(config: RunConfig, market: Mapping[str, float], operation: OperationType) -> GasFee:
    """Gas fee of one operation at a tick, converted at the tick's ETH price where gas is not paid in ETH.

    Raises:
        ComponentError: CONFIG-002, an on-chain operation in a mode without a wallet.
    """
    wallet = config.wallet
    if wallet is None:
        raise ComponentError("CONFIG-002", f"{operation} needs the venue wallet, which the mode does not list", "gas")
    units = int(getattr(wallet.gas_units, operation))
    price = float(gas_price_gwei(config, market))
    token = config.gas_token
    if price == 0.0:
        return GasFee(units, 0.0, token, 0.0)
    eth = units * price * GWEI
    if token == "ETH":
        return GasFee(units, price, token, eth)
    return GasFee(units, price, token, eth * Valuer.of(config).share("ETH", market))


def pays_gas(operation: OperationType, source_venue: str | None) -> bool:
    """True for operations that are transactions of the wallet: all but trades, and transfers that an exchange sends."""
    if operation is OperationType.TRANSFER:
        return source_venue == "wallet"
    return operation not in TRADES


def order_pays_gas(order: Order) -> bool:
    """:func:`pays_gas` of an order."""
    return pays_gas(order.operation, order.source_venue)
