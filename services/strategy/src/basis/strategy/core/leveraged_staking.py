"""Leveraged staking of ETH. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from basis.models.config import LeveragedStrategyConfig
from basis.models.operations import StrategyIntent
from basis.strategy.core.leverage import Leverage
from basis.strategy.core.rewards import Rewards
from basis.strategy.core.strategy import Call, QuietStrategy, Rest, parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from basis.models.config import MarketNeutralStrategyConfig, RunConfig
    from basis.strategy.core.desk import Desk
    from basis.strategy.core.view import TickView


class LeveragedStaking(QuietStrategy):
    """Hold LST collateral against WETH debt at a target LTV.

    Args:
        config: configuration of the run; its strategy section is of family ``leveraged``.
    """

    def __init__(self, config: RunConfig) -> None:
        params = parameters(config, LeveragedStrategyConfig)
        self._params = params
        self._leverage = Leverage(config, params)
        self._rewards = Rewards(config, params)
        self.conditions = self._leverage.conditions

    def has_position(self, view: TickView) -> bool:
        """True once there is collateral."""
        return self._leverage.is_open(view)

    def risk_override(self, view: TickView) -> Call | None:
        """Deleverage below the health factor's trigger, leave near the liquidation threshold."""
        return health_override(self._leverage, self._params, view, self._deleverage, self.exit_full)

    def rests(self, view: TickView) -> Sequence[Rest]:
        """While the health factor is above its trigger and no reward is worth selling."""
        healthy = self._leverage.opens(view) & is_healthy(self._leverage, self._params, view)
        return (Rest(healthy & ~self._rewards.worth_selling(view), None),)

    def entry_full(self, view: TickView) -> Call | str:
        """Stake all there is, levered, in one group."""
        del view
        text = "no position yet: stake all there is, levered, in one atomic group"
        return Call("entry_full", StrategyIntent.ENTRY_FULL, "no_position", text, self._leverage.grow)

    def entry_partial(self, view: TickView) -> Call | None:
        """Stake the deposit, levered."""
        del view
        text = "deposit: stake it, levered"
        return Call("entry_partial", StrategyIntent.ENTRY_PARTIAL, "deposit", text, self._leverage.grow)

    def sell_dust(self, view: TickView) -> Call | None:
        """Sell rewards once they are worth it."""
        return self._rewards.sell(view)

    def retarget(self, desk: Desk) -> None:
        """Back to the target LTV: stake what is free and borrow more; down it goes by ``risk_override`` alone."""
        self._leverage.grow(desk)

    def exit_partial(self, desk: Desk, amount: float) -> None:
        """Unwind at constant LTV until so much is free."""
        self._leverage.release(desk, amount)

    def exit_full(self, desk: Desk) -> None:
        """Unwind everything."""
        self._leverage.close(desk)

    def _deleverage(self, desk: Desk) -> None:
        self._leverage.release(desk, 0.0)


def is_healthy(
    leverage: Leverage, params: LeveragedStrategyConfig | MarketNeutralStrategyConfig, view: TickView
) -> NDArray[np.bool_]:
    """Where :func:`health_override` calls for nothing, over the window."""
    near = leverage.near(view)
    indebted = near > 0.0
    factor = np.where(indebted, 1.0 / np.where(indebted, near, 1.0), np.inf)
    healthy: NDArray[np.bool_] = (near <= params.ltv_exit) & (factor >= params.hf_deleverage)
    return healthy


def health_override(
    leverage: Leverage,
    params: LeveragedStrategyConfig | MarketNeutralStrategyConfig,
    view: TickView,
    deleverage: Callable[[Desk], None],
    leave: Callable[[Desk], None],
) -> Call | None:
    """What the health of an Aave position calls for (behaviour.md section 3)."""
    factor, near = leverage.health(view)
    if near > params.ltv_exit:
        text = f"LTV is {near:.4f} of the liquidation threshold, above {params.ltv_exit}: unwind everything"
        return Call("exit_full", StrategyIntent.RISK_OVERRIDE, "ltv_exit", text, leave, ("ltv_exit",))
    if factor < params.hf_deleverage:
        text = f"health factor {factor:.4f} is below {params.hf_deleverage}: back to target LTV"
        return Call("exit_partial", StrategyIntent.RISK_OVERRIDE, "hf_deleverage", text, deleverage, ("health_factor",))
    return None
