"""Directional: one BTC perp, its side by a model's signals, with take profit and stop loss at the exchange. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from basis.models.config import DirectionalStrategyConfig
from basis.models.instruments import is_inverse
from basis.models.operations import StrategyIntent
from basis.runtime import fills
from basis.strategy.core.strategy import Call, QuietStrategy, Rest, parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.config import RunConfig
    from basis.strategy.core.desk import Desk
    from basis.strategy.core.view import TickView

_NEUTRAL = "the signal is neutral"
_UNSURE = "the signal is below the confidence threshold"
_NAMES = {1.0: "long", -1.0: "short", 0.0: "neutral"}


class Directional(QuietStrategy):
    """Follow the signals.

    Args:
        config: configuration of the run; its strategy section is of family ``directional``.
    """

    def __init__(self, config: RunConfig) -> None:
        params = parameters(config, DirectionalStrategyConfig)
        self._params = params
        self._symbol = params.symbol
        self._perp_key = f"{params.venue}:Perp:{params.symbol}"
        self._mark_column = f"perp:{params.venue}:{params.symbol}"
        self._market = config.market(params.venue, params.symbol, perp=True)
        self._least = self._market.lot / 2.0
        self.conditions = ("signal_side", "signal_confidence", "signal_sd", self._mark_column)

    # ------------------------------------------------------------------------------------------------ questions

    def rests(self, view: TickView) -> Sequence[Rest]:
        """In position until the signal turns for sure or goes neutral, out of it until there is one that is sure enough."""
        held = view.position_column(self._perp_key)
        side, confidence = view.market_column("signal_side"), view.market_column("signal_confidence")
        out, neutral, sure = np.abs(held) < self._least, side == 0.0, confidence >= self._params.signal_threshold
        return (
            Rest(np.logical_not(out) & ~neutral & ~((side * held < 0.0) & sure), None),
            Rest(out & neutral, _NEUTRAL),
            Rest(out & ~neutral & ~sure, _UNSURE),
        )

    def has_position(self, view: TickView) -> bool:
        """True while long or short."""
        return abs(view.position(self._perp_key)) >= self._least

    def entry_full(self, view: TickView) -> Call | str:
        """Enter in the direction of a signal that is sure enough."""
        side, confidence = view.market("signal_side"), view.market("signal_confidence")
        if side == 0.0:
            return _NEUTRAL
        if confidence < self._params.signal_threshold:
            return _UNSURE
        text = f"signal {_NAMES[side]} with confidence {confidence:.4f}"
        return Call("entry_full", StrategyIntent.ENTRY_FULL, "signal", text, self.retarget)

    def entry_partial(self, view: TickView) -> Call | None:
        """A deposit is used at the next entry: take profit and stop loss of an open position stay as they are."""
        del view
        return None

    def trigger(self, view: TickView) -> Call | None:
        """Neutral closes; the other side, sure enough, turns the position; the same side holds."""
        side = view.market("signal_side")
        held = view.position(self._perp_key)
        if side == 0.0:
            return Call("exit_full", StrategyIntent.EXIT_FULL, "signal", "the signal is neutral: close", self.exit_full)
        if side * held < 0.0 and view.market("signal_confidence") >= self._params.signal_threshold:
            text = f"signal turned {_NAMES[side]}"
            return Call("rebalance", StrategyIntent.REBALANCE, "signal", text, self._turn)
        return None

    # --------------------------------------------------------------------------------------------------- orders

    def retarget(self, desk: Desk) -> None:
        """Open the position of the signal; an open position keeps its size and its exits until it closes."""
        if abs(desk.balance(self._perp_key)) < self._least:
            self._open(desk, 0.0)

    def exit_partial(self, desk: Desk, amount: float) -> None:
        """What is not margin is free already: only closing the position frees more."""
        del amount
        self.exit_full(desk)

    def exit_full(self, desk: Desk) -> None:
        """Close the position."""
        held = desk.balance(self._perp_key)
        if abs(held) >= self._least:
            desk.perp(self._params.venue, self._symbol, -held)

    def _turn(self, desk: Desk) -> None:
        """One order from one side to the other."""
        self._open(desk, desk.balance(self._perp_key))

    def _open(self, desk: Desk, held: float) -> None:
        """Bring the position to max_position_size x equity on the signal's side, exits at k standard deviations of the fill."""
        params, market = self._params, desk.market
        side, mark = market["signal_side"], market[self._mark_column]
        equity = desk.view.equity
        value = equity * mark if is_inverse(self._symbol) else equity
        units = (
            params.max_position_size * value if is_inverse(self._symbol) else params.max_position_size * value / mark
        )
        size = fills.whole_lots(units, self._market.lot)
        notional = fills.perp_notional(self._symbol, size, mark)
        if size <= 0.0 or notional < self._market.min_notional:
            return
        distance = params.sd_multiple * min(max(market["signal_sd"] * 1e4, params.sd_bps_min), params.sd_bps_max) * 1e-4
        amount = side * size - held
        traded = fills.perp_notional(self._symbol, amount, mark)
        cost = fills.trade_cost(desk.config, params.venue, self._symbol, traded, perp=True)
        fill = mark * (1.0 + side * cost.slippage)
        desk.perp(
            params.venue,
            self._symbol,
            amount,
            take_profit=fill * (1.0 + side * distance),
            stop_loss=fill * (1.0 - side * distance),
        )
