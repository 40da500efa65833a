"""Reward tokens: when they are worth selling, and selling them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.operations import OperationType, StrategyIntent
from basis.runtime.gas import gas_fee
from basis.runtime.valuation import Valuer
from basis.strategy.core.strategy import Call

if TYPE_CHECKING:
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
        if all(view.position(key) <= 0.0 for _, key in self._keys):
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
        params, market = self._params, view.market_row()
        gas = gas_fee(self._config, market, OperationType.SWAP).amount
        limit = max(params.dust_equity_fraction * view.equity, params.dust_gas_multiple * gas)
        return [
            token
            for token, key in self._keys
            if (held := view.position(key)) > 0.0 and held * self._valuer.share(token, market) > limit
        ]
