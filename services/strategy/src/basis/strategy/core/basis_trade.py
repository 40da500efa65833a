"""Spot-perp basis: long spot on one exchange, short perps on several, equal base quantity. Shared by its two modes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from basis.models.config import BasisStrategyConfig
from basis.models.instruments import Venue
from basis.models.operations import OperationType, StrategyIntent
from basis.runtime import fills
from basis.strategy.core.hedging import UNWIND_MARGIN, Hedge
from basis.strategy.core.strategy import Call, QuietStrategy, Rest, parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.strategy.core.desk import Desk
    from basis.strategy.core.view import TickView

    Floats = NDArray[np.float64]

_WAITS = "mean funding is below the entry threshold"


class BasisTrade(QuietStrategy):
    """Enter while funding pays, keep both legs equal and every margin at target, leave when funding turns.

    Args:
        config: configuration of the run; its strategy section is of family ``basis``.
    """

    def __init__(self, config: RunConfig) -> None:
        params = parameters(config, BasisStrategyConfig)
        self._config = config
        self._params = params
        self._hedge = Hedge(config, params, config.asset)
        self._spot_key = f"{params.spot_venue}:BaseToken:{config.asset}"
        self._spot_column = f"spot:{params.spot_venue}:{config.asset}USDT"
        funding = tuple(f"funding_mean:{leg.venue}:{self._hedge.symbol}" for leg in self._hedge.legs)
        self.conditions = (self._spot_column, *funding)

    # ------------------------------------------------------------------------------------------------ questions

    def rests(self, view: TickView) -> Sequence[Rest]:
        """In position within all limits, or out of it while funding does not pay."""
        params, hedge = self._params, self._hedge
        open_, delta, mean = self._open(view), np.abs(self._net_deltas(view)), hedge.mean_fundings(view)
        calm = delta <= params.net_delta_emergency
        within = calm & (delta <= params.net_delta_trade) & (mean >= params.funding_exit_threshold)
        within &= hedge.worst_margins(view) >= params.margin_ratio_trigger
        waits = calm & hedge.at_rest(view) & (mean < params.funding_threshold)
        return Rest(open_ & within, None), Rest(np.logical_not(open_) & waits, _WAITS)

    def has_position(self, view: TickView) -> bool:
        """True once there is a leg."""
        return bool(view.derived("basis.open", self._open))

    def risk_override(self, view: TickView) -> Call | None:
        """Net delta past the emergency limit: the larger leg is cut to the smaller."""
        delta = abs(self._net_delta(view))
        if delta <= self._params.net_delta_emergency:
            return None
        text = f"net delta is {delta:.4f} of equity, above {self._params.net_delta_emergency}: cut the larger leg"
        return Call(
            "exit_partial",
            StrategyIntent.RISK_OVERRIDE,
            "net_delta_emergency",
            text,
            self._cut_larger_leg,
            ("net_delta_emergency",),
        )

    def entry_full(self, view: TickView) -> Call | str:
        """Enter while mean funding is at or above its threshold."""
        if self._hedge.in_transit(view):
            return "money is on its way to the exchanges"
        mean = self._hedge.mean_funding(view)
        if mean < self._params.funding_threshold:
            return _WAITS
        text = f"mean 8 h funding {mean:.8f} is at least {self._params.funding_threshold}: enter with all there is"
        return Call("entry_full", StrategyIntent.ENTRY_FULL, "no_position", text, self.retarget)

    def entry_partial(self, view: TickView) -> Call | None:
        """Grow both legs by the deposit."""
        del view
        return Call("entry_partial", StrategyIntent.ENTRY_PARTIAL, "deposit", "deposit: grow both legs", self.retarget)

    def trigger(self, view: TickView) -> Call | None:
        """Funding below its exit threshold, margin below its trigger, net delta past its limit."""
        params = self._params
        mean = self._hedge.mean_funding(view)
        if mean < params.funding_exit_threshold:
            text = f"mean 8 h funding {mean:.8f} is below {params.funding_exit_threshold}: leave"
            return Call("exit_full", StrategyIntent.EXIT_FULL, "funding_exit", text, self.exit_full)
        worst = self._hedge.worst_margin(view)
        if worst < params.margin_ratio_trigger and not self._hedge.in_transit(view):
            text = f"worst margin ratio {worst:.4f} is below {params.margin_ratio_trigger}"
            if self._hedge.total_margin(view) >= self._hedge.midway:
                text += ": move money between exchanges"
                return Call("rebalance", StrategyIntent.REBALANCE, "margin", text, self._hedge.level_margins)
            text += ": move money, reduce both legs to target"
            return Call("rebalance", StrategyIntent.REBALANCE, "margin", text, self.retarget)
        delta = abs(self._net_delta(view))
        if delta > params.net_delta_trade:
            text = f"net delta is {delta:.4f} of equity, above {params.net_delta_trade}: trade perps"
            return Call("rebalance", StrategyIntent.REBALANCE, "net_delta", text, self._rehedge)
        return None

    def _net_delta(self, view: TickView) -> float:
        """Net delta over equity, a fraction."""
        return float(view.derived("basis.net_delta", self._net_deltas))

    def _net_deltas(self, view: TickView) -> Floats:
        base = view.position_column(self._spot_key) + self._hedge.quantities(view)
        equity = view.figure_column("equity")
        there = equity != 0.0
        return np.where(there, base * view.market_column(self._spot_column) / np.where(there, equity, 1.0), 0.0)

    def _open(self, view: TickView) -> NDArray[np.bool_] | bool:
        return (view.position_column(self._spot_key) >= self._hedge.spot_lot) | (self._hedge.quantities(view) != 0.0)

    # --------------------------------------------------------------------------------------------------- orders

    def retarget(self, desk: Desk) -> None:
        """Bring both legs to the size at which every margin is at target, money included.

        With U all USDT, q the short, P spot, F_v mark and a_v part of venue v, m the target ratio: dq solves
        U - m*sum(q_v*F_v) = dq * (P + m*sum(a_v*F_v) + costs), so that nothing is left over.
        """
        hedge, params = self._hedge, self._params
        before = hedge.sizes(desk)
        now = sum(before.values())
        if now == 0.0 and self._cannot_enter(desk):
            return
        transfers = len(hedge.venues) if desk.balance("wallet:BaseToken:USDT") > 0.0 else 0
        gas = transfers * desk.gas(OperationType.TRANSFER) + hedge.gas_reserve
        fees = hedge.withdrawal_fees() if now else 0.0
        tied = sum(hedge.margin_needs(desk, before, params.margin_ratio_target).values())
        money = hedge.free(desk) - gas - fees - tied
        change = self._change(desk, money)
        sizes = hedge.split(now + change)
        if change < 0.0:
            self._reduce(desk, sizes)
        elif hedge.is_tradable(desk, sizes):
            self._grow(desk, sizes)

    def exit_partial(self, desk: Desk, amount: float) -> None:
        """Cut both legs in proportion, and bring the money to the wallet."""
        part = min(amount * UNWIND_MARGIN / desk.view.equity, 1.0)
        sizes = self._hedge.split(sum(self._hedge.sizes(desk).values()) * (1.0 - part))
        if part == 1.0 or not self._hedge.is_tradable(desk, sizes):
            sizes = dict.fromkeys(sizes, 0.0)
        self._reduce(desk, sizes, level=False)
        needs = self._hedge.margin_needs(desk, sizes, min(self._hedge.worst_margin(desk.view), self._hedge.midway))
        self._hedge.to_wallet(desk, amount, needs if any(sizes.values()) else {})

    def exit_full(self, desk: Desk) -> None:
        """Sell the spot, buy back every perp; the money stays on the exchanges, ready for the next entry."""
        self._reduce(desk, dict.fromkeys(self._hedge.sizes(desk), 0.0), level=False)

    def _cannot_enter(self, desk: Desk) -> bool:
        """True where all there is does not make the smallest position worth sending."""
        return not desk.worth_sending(self._hedge.free(desk), "USDT")

    def _change(self, desk: Desk, money: float) -> float:
        """Base quantity that both legs grow by (negative: shrink) for so much money."""
        hedge, params = self._hedge, self._params
        price = desk.market[self._spot_column]
        guess = abs(money) / price
        spot = fills.trade_cost(self._config, params.spot_venue, hedge.symbol, guess * price, perp=False)
        sign = 1.0 if money > 0.0 else -1.0
        unit = price * (1.0 + sign * spot.slippage) * (1.0 + sign * spot.fee_rate)
        for leg in hedge.legs:
            unit += leg.part * hedge.mark(desk, leg.venue) * params.margin_ratio_target
            unit += sign * hedge.cost(desk, leg, guess)
        return money / unit

    def _grow(self, desk: Desk, sizes: dict[Venue, float]) -> None:
        """Fund the exchanges, then buy spot and sell perps; if money is on its way, that is all for this tick."""
        hedge, params = self._hedge, self._params
        total = sum(sizes.values())
        buys = fills.whole_lots(total - desk.balance(self._spot_key), hedge.spot_lot)
        needs = hedge.margin_needs(desk, sizes, params.margin_ratio_target)
        for leg in hedge.legs:
            grown = total + hedge.quantity(desk.view)
            needs[leg.venue] += hedge.cost(desk, leg, max(grown, 0.0)) * max(grown, 0.0)
        price = desk.market[self._spot_column]
        cost = fills.trade_cost(self._config, params.spot_venue, hedge.symbol, max(buys, 0.0) * price, perp=False)
        pays = max(buys, 0.0) * price * (1.0 + cost.slippage) * (1.0 + cost.fee_rate)
        needs[params.spot_venue] = needs.get(params.spot_venue, 0.0) + pays
        if not hedge.fund(desk, needs):
            return
        if buys > 0.0:
            desk.spot(params.spot_venue, hedge.asset, buys)
        hedge.trade_to(desk, sizes)

    def _reduce(self, desk: Desk, sizes: dict[Venue, float], *, level: bool = True) -> None:
        """Sell spot and buy perps back to these sizes; then level the margins."""
        hedge = self._hedge
        hedge.sell_spot(desk, desk.balance(self._spot_key) - sum(sizes.values()))
        hedge.trade_to(desk, sizes, grow=False)
        if level:
            self._hedge.level_margins(desk)

    def _rehedge(self, desk: Desk) -> None:
        """Perps alone, to the spot held."""
        self._hedge.trade_to(desk, self._hedge.split(desk.balance(self._spot_key)))

    def _cut_larger_leg(self, desk: Desk) -> None:
        """The larger leg to the size of the smaller; nothing grows."""
        hedge, held = self._hedge, desk.balance(self._spot_key)
        excess = held - sum(hedge.sizes(desk).values())
        if excess > 0.0:
            hedge.sell_spot(desk, excess)
        else:
            hedge.trade_to(desk, hedge.split(held), grow=False)
