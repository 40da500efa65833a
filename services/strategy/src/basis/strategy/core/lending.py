"""Pure lending: supply one token to Aave v3 and leave it there. Shared by its two modes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from basis.models.config import LendingStrategyConfig
from basis.models.instruments import TOKEN_DECIMALS, wallet_token
from basis.models.operations import OperationType, StrategyIntent
from basis.strategy.core.desk import Desk, spendable
from basis.strategy.core.strategy import Call, QuietStrategy, Rest, parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.config import RunConfig
    from basis.strategy.core.view import TickView


class PureLending(QuietStrategy):
    """Supply all but the gas reserve; re-target supplies what has become free.

    Args:
        config: configuration of the run.
        token: reserve token, USDT or WETH.
    """

    def __init__(self, config: RunConfig, token: str) -> None:
        params = parameters(config, LendingStrategyConfig)
        self._params = params
        self._token = token
        self._asset = wallet_token(token)
        self._wallet_key = f"wallet:BaseToken:{self._asset}"
        self._a_token_key = f"aave_v3:aToken:a{token}"
        self._index_column = f"liquidity_index:{token}"
        self.conditions = (self._index_column, f"supply_apr:{token}")

    def has_position(self, view: TickView) -> bool:
        """True once there are aTokens."""
        return view.position(self._a_token_key) > 0.0

    def rests(self, view: TickView) -> Sequence[Rest]:
        """Whenever there are aTokens."""
        return (Rest(np.greater(view.position_column(self._a_token_key), 0.0), None),)

    def entry_full(self, view: TickView) -> Call | str:
        """Supply all but the gas reserve."""
        del view
        return Call(
            "entry_full",
            StrategyIntent.ENTRY_FULL,
            "no_position",
            "no position yet: enter with all there is",
            self.retarget,
        )

    def entry_partial(self, view: TickView) -> Call | None:
        """Supply the deposit."""
        del view
        return Call("entry_partial", StrategyIntent.ENTRY_PARTIAL, "deposit", "deposit: supply it", self.retarget)

    def retarget(self, desk: Desk) -> None:
        """Supply what is free in the wallet."""
        gas = desk.gas(OperationType.SUPPLY)
        configured = self._params.gas_reserve
        reserve = gas if configured is None else max(configured, gas)
        amount = spendable(desk.balance(self._wallet_key), reserve, TOKEN_DECIMALS[self._token])
        if desk.worth_sending(amount, self._asset):
            desk.supply(self._token, amount)

    def exit_partial(self, desk: Desk, amount: float) -> None:
        """Withdraw so much, and the gas of doing it."""
        held = desk.balance(self._a_token_key) * desk.market[self._index_column]
        wanted = min(amount + desk.gas(OperationType.WITHDRAW), held)
        if wanted > 0.0:
            desk.withdraw(self._token, wanted)

    def exit_full(self, desk: Desk) -> None:
        """Withdraw everything."""
        self.exit_partial(desk, float("inf"))
