"""Reward tokens: when they are worth selling, and selling them. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from basis.models.operations import StrategyIntent
from basis.runtime.gas import GWEI, gas_price_gwei
from basis.runtime.valuation import Valuer
from basis.strategy.core.strategy import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.strategy_config import Rewarded
    from basis.strategy.core.desk import Desk
    from basis.strategy.core.view import TickView

_TOKENS = ("EIGEN", "ETHFI")


class Rewards:
    """The reward tokens of a staking mode.

    Args:
        config: configuration of the run.
        params: its strategy section.
    """

    def __init__(self, config: RunConfig, params: Rewarded) -> None:
        self._config = config
        self._params = params
        self._valuer = Valuer.of(config)
        self._keys = tuple(
            (token, key) for token in _TOKENS if (key := f"wallet:BaseToken:{token}") in config.position_subscriptions
        )

    def sell(self, view: TickView) -> Call | None:
        """Sell every reward token that is worth more than its share of equity and its gas (behaviour.md section 3)."""
        if not view.derived("rewards.sell", self.worth_selling):
            return None
        tokens = self._worth_selling(view)
        if not tokens:
            return None

        def build(desk: Desk) -> None:
            for token in tokens:
                desk.swap_to_eth(token, desk.balance(f"wallet:BaseToken:{token}"))

        text = f"{', '.join(tokens)} is worth more than its limit: sell"
        return Call("sell_dust", StrategyIntent.SELL_DUST, "dust", text, build)

    def _worth_selling(self, view: TickView) -> list[str]:
        return [
            token for token, key in self._keys if view.derived(f"rewards.{token}", partial(self._worth, token, key))
        ]

    def worth_selling(self, view: TickView) -> NDArray[np.bool_]:
        """Where any token is worth more than its limit, over the window."""
        found = np.zeros(len(view.figure_column("equity")), dtype=np.bool_)
        for token, key in self._keys:
            found = found | self._worth(token, key, view)
        return found

    def _worth(self, token: str, key: str, view: TickView) -> NDArray[np.bool_] | bool:
        """Where a token is worth more than its limit, over the window."""
        held = view.position_column(key)
        if not np.any(held):
            return False
        params, market = self._params, view.market_columns()
        limit = np.maximum(
            params.dust_equity_fraction * view.figure_column("equity"), params.dust_gas_multiple * self._gas(market)
        )
        worth: NDArray[np.bool_] = held * self._valuer.share(token, market) > limit
        return worth

    def _gas(self, market: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64] | float:
        """Gas of a swap in the token that pays it, over the window: ``gas_fee`` on columns."""
        wallet = self._config.wallet
        units = 0 if wallet is None else wallet.gas_units.swap
        eth = units * gas_price_gwei(self._config, market) * GWEI
        return eth if self._config.gas_token == "ETH" else eth * self._valuer.share("ETH", market)
