"""Staking alone: stake ETH, sell the rewards. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from basis.models.config import StakingStrategyConfig
from basis.models.instruments import TOKEN_DECIMALS
from basis.models.operations import OperationType, StrategyIntent
from basis.strategy.core.desk import Desk, spendable
from basis.strategy.core.rewards import Rewards
from basis.strategy.core.strategy import Call, QuietStrategy, Rest, parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.config import RunConfig
    from basis.strategy.core.view import TickView

_WALLET = "wallet:BaseToken:ETH"
_ROUNDING = 1e-9
"""Sold on top of what gas needs, so that rounding never leaves it short."""


class Staking(QuietStrategy):
    """Stake all but the gas reserve; sell rewards and stake what they bring.

    Args:
        config: configuration of the run; its strategy section is of family ``staking``.
    """

    def __init__(self, config: RunConfig) -> None:
        params = parameters(config, StakingStrategyConfig)
        self._config = config
        self._params = params
        self._venue = params.staking_venue
        self._lst = config.lst(params.staking_venue)
        self._lst_key = f"{self._venue}:LST:{self._lst}"
        self._rate_column = f"oracle_price_eth:{self._lst}"
        self._rewards = Rewards(config, params)
        self.conditions = (self._rate_column, f"dex_price_eth:{self._lst}")

    def has_position(self, view: TickView) -> bool:
        """True once there is an LST."""
        return view.position(self._lst_key) > 0.0

    def rests(self, view: TickView) -> Sequence[Rest]:
        """While no reward is worth selling."""
        staked = np.greater(view.position_column(self._lst_key), 0.0)
        return (Rest(staked & ~self._rewards.worth_selling(view), None),)

    def entry_full(self, view: TickView) -> Call | str:
        """Stake all but the gas reserve."""
        del view
        text = "no position yet: stake all there is"
        return Call("entry_full", StrategyIntent.ENTRY_FULL, "no_position", text, self.retarget)

    def entry_partial(self, view: TickView) -> Call | None:
        """Stake the deposit."""
        del view
        return Call("entry_partial", StrategyIntent.ENTRY_PARTIAL, "deposit", "deposit: stake it", self.retarget)

    def sell_dust(self, view: TickView) -> Call | None:
        """Sell rewards once they are worth it."""
        return self._rewards.sell(view)

    def retarget(self, desk: Desk) -> None:
        """Stake what is free in the wallet."""
        gas = desk.gas(OperationType.STAKE)
        configured = self._params.gas_reserve
        reserve = gas if configured is None else max(configured, gas)
        amount = spendable(desk.balance(_WALLET), reserve, TOKEN_DECIMALS["ETH"])
        if desk.worth_sending(amount, "ETH"):
            desk.stake(self._venue, amount)

    def exit_partial(self, desk: Desk, amount: float) -> None:
        """Unstake through the queue, or swap, so that so much ETH comes out of it."""
        held = desk.balance(self._lst_key)
        rate = desk.market[self._rate_column]
        if self._params.exit_route == "queue":
            self._request(desk, min(amount / rate, held))
            return
        unit = desk.swap_rate(self._lst, min(amount / rate, held))
        wanted = min((amount + desk.gas(OperationType.SWAP)) / unit, held)
        if wanted > 0.0:
            desk.swap_to_eth(self._lst, wanted)

    def _request(self, desk: Desk, wanted: float) -> None:
        """Ask the queue for so much; a wallet that cannot pay its gas sells the little LST that it takes."""
        gas = desk.gas(OperationType.UNSTAKE)
        short = gas - desk.balance(_WALLET)
        if short > 0.0:
            needs = short + desk.gas(OperationType.SWAP)
            sold = needs / desk.swap_rate(self._lst, needs) * (1.0 + _ROUNDING)
            if sold >= desk.balance(self._lst_key):
                return  # what is left is not worth its gas
            desk.swap_to_eth(self._lst, sold)
            wanted = min(wanted, desk.balance(self._lst_key))
        if wanted > 0.0:
            desk.unstake(self._venue, wanted)

    def exit_full(self, desk: Desk) -> None:
        """Unstake or swap everything."""
        self.exit_partial(desk, float("inf"))
