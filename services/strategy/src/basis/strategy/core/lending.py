"""Pure lending: supply one token to Aave v3 and leave it there. Shared by its two modes. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from basis.models.instruments import TOKEN_DECIMALS, wallet_token
from basis.models.market import SHARE_PRICE_COLUMN
from basis.models.operations import OperationType
from basis.runtime.gas import gas_fee
from basis.strategy.core.deltas import OperationParams
from basis.strategy.core.strategy_manager import Plan

if TYPE_CHECKING:
    from basis.models.config import RunConfig
    from basis.strategy.core.view import TickView


def spendable(balance: float, reserve: float, decimals: int) -> float:
    """Largest amount of whole smallest units that leaves at least the reserve, zero where there is none.

    ``(balance - amount) - reserve`` is never negative in floating point: the venue subtracts in that order.
    """
    unit = 10.0**-decimals
    # beyond 2**53 units a float has no whole units to cut to
    exact = balance < unit * 2**52
    amount = math.floor((balance - reserve) / unit) * unit if exact else balance - reserve
    amount = round(amount, decimals) if exact else amount
    while amount > 0.0 and (balance - amount) - reserve < 0.0:
        amount = round(amount - unit, decimals) if exact else math.nextafter(amount, 0.0)
    return max(amount, 0.0)


class PureLending:
    """Supply all but the gas reserve; re-target supplies what has become free.

    Args:
        config: configuration of the run.
        token: reserve token, USDT or WETH.
    """

    def __init__(self, config: RunConfig, token: str) -> None:
        self._config = config
        self._token = token
        self._wallet_key = f"wallet:BaseToken:{wallet_token(token)}"
        self._a_token_key = f"aave_v3:aToken:a{token}"
        self._index_column = f"liquidity_index:{token}"
        self._price_column = SHARE_PRICE_COLUMN[wallet_token(token)]
        self.conditions = (self._index_column, f"supply_apr:{token}")

    def has_position(self, view: TickView) -> bool:
        """True once there are aTokens."""
        return view.position(self._a_token_key) > 0.0

    def entry_full(self, view: TickView) -> list[Plan]:
        """Supply all but the gas reserve."""
        balance = view.position(self._wallet_key)
        configured = self._config.strategy.gas_reserve
        gas = gas_fee(self._config, view.market_row(), OperationType.SUPPLY).amount
        reserve = gas if configured is None else max(configured, gas)
        amount = spendable(balance, reserve, TOKEN_DECIMALS[self._token])
        if amount <= 0.0 or amount * view.market(self._price_column) < self._config.strategy.min_order_value:
            return []
        index = view.market(self._index_column)
        params = OperationParams(OperationType.SUPPLY, "aave_v3", amount, self._token, index=index)
        return [Plan(params, {"liquidity_index": index})]

    def retarget(self, view: TickView) -> list[Plan]:
        """Supply what is free in the wallet."""
        return self.entry_full(view)
