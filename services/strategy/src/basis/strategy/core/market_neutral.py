"""USDT market neutral: staked ETH, leveraged or not, hedged with perp shorts. Shared by its two modes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from basis.models.config import MarketNeutralStrategyConfig
from basis.models.instruments import TOKEN_DECIMALS
from basis.models.operations import OperationType, StrategyIntent
from basis.runtime import fills
from basis.strategy.core.desk import spendable
from basis.strategy.core.hedging import UNWIND_MARGIN, Hedge
from basis.strategy.core.leverage import ENTRY_GROUP, EXIT_GROUP, Leverage
from basis.strategy.core.leveraged_staking import health_override, is_healthy
from basis.strategy.core.rewards import Rewards
from basis.strategy.core.strategy import Call, QuietStrategy, Rest, parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.instruments import Venue
    from basis.strategy.core.desk import Desk
    from basis.strategy.core.view import TickView

_WALLET_ETH = "wallet:BaseToken:ETH"
_WALLET_USDT = "wallet:BaseToken:USDT"
_GAS_MARGIN = 1.0 + 1e-9
"""Room for rounding in what is set aside for gas."""
_GAS_TOP_UP = 50.0
"""Least USDT that a top-up of the wallet's gas money brings: its own fee is not paid every time."""
_MOST_LEFT = 0.1
"""Loose ETH worth more than this part of a withdrawal was unwound for it, and is sold first."""
_MAX_PART = 0.95
"""A larger partial exit than this is a full one."""


class MarketNeutral(QuietStrategy):
    """Stake part of equity, short as much ETH as is staked net of debt, keep the rest as margin.

    Args:
        config: configuration of the run; its strategy section is of family ``market_neutral``.
    """

    def __init__(self, config: RunConfig) -> None:
        params = parameters(config, MarketNeutralStrategyConfig)
        self._config = config
        self._params = params
        self._hedge = Hedge(config, params, "ETH")
        self._leverage = Leverage(config, params, params.gas_float_eth) if params.leverage else None
        self._float = params.gas_float_eth
        self._is_slow = fills.deposit_delay_s(config, "wallet") > 0
        self._venue = params.staking_venue
        self._lst = config.lst(params.staking_venue)
        self._lst_key = f"{self._venue}:LST:{self._lst}"
        self._spot_key = f"{params.spot_venue}:BaseToken:ETH"
        self._rewards = Rewards(config, params)
        funding = tuple(f"funding_mean:{leg.venue}:{self._hedge.symbol}" for leg in self._hedge.legs)
        self.conditions = (
            f"spot:{params.spot_venue}:ETHUSDT",
            f"oracle_price_eth:{self._lst}",
            f"dex_price_eth:{self._lst}",
            *funding,
        )

    # ------------------------------------------------------------------------------------------------ questions

    def has_position(self, view: TickView) -> bool:
        """True once there is a staked side or a short."""
        staked = self._leverage.is_open(view) if self._leverage else view.position(self._lst_key) > 0.0
        return staked or self._hedge.quantity(view) != 0.0

    def rests(self, view: TickView) -> Sequence[Rest]:
        """In position, healthy, hedged, with margin, and nothing loose, on its way or worth selling."""
        params, hedge = self._params, self._hedge
        staked = self._leverage.opens(view) if self._leverage else np.greater(view.position_column(self._lst_key), 0.0)
        delta = np.abs(_net_deltas(view))
        within = (staked | np.not_equal(hedge.quantities(view), 0.0)) & hedge.at_rest(view)
        within = within & (delta <= params.net_delta_emergency) & (delta <= params.net_delta_trade)
        within &= hedge.worst_margins(view) >= params.margin_ratio_trigger
        price, limit = (
            view.market_column(self.conditions[0]),
            params.dust_equity_fraction * view.figure_column("equity"),
        )
        for key, kept in ((self._spot_key, 0.0), (_WALLET_ETH, self._float)):
            within &= (view.position_column(key) - kept) * price <= limit
        if self._leverage is not None:
            within &= is_healthy(self._leverage, params, view)
        return (Rest(within & ~self._rewards.worth_selling(view), None),)

    def risk_override(self, view: TickView) -> Call | None:
        """Health of the leveraged side, then net delta past its emergency limit."""
        if self._leverage is not None:
            found = health_override(self._leverage, self._params, view, self._deleverage, self.exit_full)
            if found is not None:
                return found
        delta = abs(self._net_delta(view))
        if delta > self._params.net_delta_emergency and not self._hedge.in_transit(view):
            text = f"net delta is {delta:.4f} of equity, above {self._params.net_delta_emergency}: restore the hedge"
            return Call(
                "rebalance",
                StrategyIntent.RISK_OVERRIDE,
                "net_delta_emergency",
                text,
                self._rehedge,
                ("net_delta_emergency",),
            )
        return None

    def entry_full(self, view: TickView) -> Call | str:
        """Buy, stake and short at one tick."""
        if self._hedge.in_transit(view):
            return "money is on its way"
        text = "no position yet: buy, stake and short at one tick"
        return Call("entry_full", StrategyIntent.ENTRY_FULL, "no_position", text, self.retarget)

    def entry_partial(self, view: TickView) -> Call | None:
        """Grow both sides by the deposit."""
        del view
        text = "deposit: grow both sides"
        return Call("entry_partial", StrategyIntent.ENTRY_PARTIAL, "deposit", text, self.retarget)

    def trigger(self, view: TickView) -> Call | None:
        """Margin below its trigger, ETH that is neither staked nor sold, net delta past its limit."""
        if self._hedge.in_transit(view):
            return None
        return self._margin_call(view) or self._loose_eth(view) or self._delta_call(view)

    def _margin_call(self, view: TickView) -> Call | None:
        worst, limit = self._hedge.worst_margin(view), self._params.margin_ratio_trigger
        if worst >= limit:
            return None
        text = f"worst margin ratio {worst:.4f} is below {limit}"
        if self._hedge.total_margin(view) >= self._hedge.midway:
            text += ": top up from the wallet and the other exchanges"
            return Call("rebalance", StrategyIntent.REBALANCE, "margin", text, self._hedge.level_margins)
        text += ": part of the staked side becomes margin"
        return Call("exit_partial", StrategyIntent.REBALANCE, "margin", text, self._raise_margin)

    def _loose_eth(self, view: TickView) -> Call | None:
        """What a transfer that took its time has left to do: bought ETH waits in the wallet, sold ETH on the exchange."""
        price, limit = view.market(self.conditions[0]), self._params.dust_equity_fraction * view.equity
        there, here = view.position(self._spot_key) * price, (view.position(_WALLET_ETH) - self._float) * price
        if self._is_slow and max(there, here) > limit:
            text = "ETH is loose: to be staked where the staked side lacks it, else sold"
            return Call("rebalance", StrategyIntent.REBALANCE, "loose_eth", text, self._place_eth)
        if there > limit:
            text = "ETH came back to the exchange: sell it"
            return Call("rebalance", StrategyIntent.REBALANCE, "loose_eth", text, self._sell_and_rehedge)
        if here > limit:
            text = "ETH waits in the wallet: stake it"
            return Call("rebalance", StrategyIntent.REBALANCE, "loose_eth", text, self._stake_and_rehedge)
        return None

    def _delta_call(self, view: TickView) -> Call | None:
        delta = abs(self._net_delta(view))
        if delta <= self._params.net_delta_trade:
            return None
        text = f"net delta is {delta:.4f} of equity, above {self._params.net_delta_trade}: trade perps"
        return Call("rebalance", StrategyIntent.REBALANCE, "net_delta", text, self._rehedge)

    def sell_dust(self, view: TickView) -> Call | None:
        """Sell rewards once they are worth it; the wallet must be able to pay the gas."""
        call = self._rewards.sell(view)
        if call is None:
            return None

        def build(desk: Desk) -> None:
            if self._prepay(desk, OperationType.SWAP, OperationType.SWAP):
                call.build(desk)

        return call._replace(build=build)

    def _net_delta(self, view: TickView) -> float:
        """Net delta over equity, a fraction."""
        return float(view.derived("neutral.net_delta", _net_deltas))

    # --------------------------------------------------------------------------------------------------- orders

    def retarget(self, desk: Desk) -> None:
        """Bring the staked side to its part of equity, and the short to the staked side."""
        equity = desk.view.equity
        price = desk.price("ETH")
        change = (self._params.stake_allocation * equity - self._staked(desk) * price) / price
        if change * price < -self._params.position_deviation_threshold * equity:
            self._shrink(desk, -change)
        elif desk.worth_sending(change, "ETH"):
            self._grow(desk, change)
        self._hedge.level_margins(desk)

    def exit_partial(self, desk: Desk, amount: float) -> None:
        """Both sides in proportion; the money goes to the wallet."""
        part = amount * UNWIND_MARGIN / desk.view.equity
        if self._is_slow and self._hedge.in_transit(desk.view):
            return  # what was unwound already is still on its way: more of it would be too much
        if self._is_slow and self._loose(desk) * desk.price("ETH") > _MOST_LEFT * amount:
            self._sell_and_rehedge(desk)
        elif part >= _MAX_PART:
            self.exit_full(desk)
        else:
            self._shrink(desk, self._staked(desk) * part)
        self._hedge.to_wallet(desk, amount, self._kept_margins(desk))

    def exit_full(self, desk: Desk) -> None:
        """Unwind the staked side, sell the ETH, buy back the perps: those that cover ETH on its way once it is sold."""
        if not self._prepay(desk, *self._unwind_operations()):
            return
        if self._leverage is not None:
            self._leverage.close(desk)
        elif desk.balance(self._lst_key) > 0.0:
            desk.swap_to_eth(self._lst, desk.balance(self._lst_key))
        self._sell_and_rehedge(desk)

    def _staked(self, desk: Desk) -> float:
        """Staked side net of debt, ETH at the oracle rate."""
        if self._leverage is not None:
            account = self._leverage.account(desk)
            return account.collateral - account.debt
        return desk.balance(self._lst_key) * desk.market[f"oracle_price_eth:{self._lst}"]

    def _long(self, desk: Desk) -> float:
        """All ETH that the short has to cover: staked net of debt, in the wallet, on the exchange, on its way."""
        loose = sum(desk.balance(key) for key in (_WALLET_ETH, self._spot_key, "transit:BaseToken:ETH"))
        if self._leverage is not None:  # an LST that is not collateral is not in the staked side
            loose += desk.balance(self._lst_key) * desk.market[f"oracle_price_eth:{self._lst}"]
        return self._staked(desk) + loose

    def _grow(self, desk: Desk, eth: float) -> None:
        """Buy so much ETH, short it, send it to the wallet, stake it. Equity pays; what is left becomes margin."""
        hedge, venue = self._hedge, self._params.spot_venue
        price = desk.market[f"spot:{venue}:ETHUSDT"]
        cost = fills.trade_cost(self._config, venue, hedge.symbol, eth * price, perp=False)
        unit = price * (1.0 + cost.slippage) * (1.0 + cost.fee_rate)
        stakes = ENTRY_GROUP if self._leverage else (OperationType.STAKE,)
        if not self._prepay(desk, *stakes):
            return
        stake_gas = max(desk.gas(*stakes), hedge.gas_reserve)
        gas = stake_gas + len(hedge.venues) * desk.gas(OperationType.TRANSFER)
        buys = fills.whole_lots(eth * price / unit, hedge.spot_lot)
        sizes = hedge.split(self._long(desk) + buys)
        if buys <= 0.0 or not hedge.is_tradable(desk, sizes):
            return
        money = max(hedge.free(desk) - gas - buys * unit, 0.0)
        needs = hedge.margin_needs(desk, sizes, 1.0)
        total = sum(needs.values())
        needs = {target: need / total * money for target, need in needs.items()}
        needs[venue] = needs.get(venue, 0.0) + buys * unit
        if not hedge.fund(desk, needs, reserve=stake_gas):
            return
        desk.spot(venue, "ETH", buys)
        hedge.trade_to(desk, sizes)
        if self._is_slow:
            return  # it is hedged; what a real purchase brought, its fee paid in ETH, is known at the next tick
        self._bring_home(desk)
        self._stake(desk)

    def _prepay(self, desk: Desk, *operations: OperationType) -> bool:
        """See to it that the wallet can pay the gas of operations, in USDT from the exchanges; False while it is coming."""
        missing = desk.gas(*operations) * _GAS_MARGIN - desk.balance(_WALLET_USDT)
        if missing > 0.0:
            # gas money goes first, even where margin is short: what it pays for is what brings margin back
            needs = {venue: need / 2.0 for venue, need in self._kept_margins(desk).items()}
            self._hedge.to_wallet(desk, max(missing, _GAS_TOP_UP), needs)
        return missing <= 0.0 or fills.deposit_delay_s(self._config, "wallet") == 0

    def _kept_margins(self, desk: Desk) -> dict[Venue, float]:
        """Margin that money must not be taken from: what the shorts need for the ratio they have, or half-way to target."""
        ratio = min(self._hedge.worst_margin(desk.view), self._hedge.midway)
        sizes = self._hedge.sizes(desk)
        return self._hedge.margin_needs(desk, sizes, ratio) if any(sizes.values()) else {}

    def _bring_home(self, desk: Desk) -> None:
        """ETH from the exchange to the wallet."""
        held = spendable(desk.balance(self._spot_key), 0.0, TOKEN_DECIMALS["ETH"])
        if held > fills.withdrawal_fee(self._config, self._params.spot_venue, "ETH"):
            desk.transfer(self._params.spot_venue, "wallet", "ETH", held)

    def _stake(self, desk: Desk) -> None:
        """Stake what is in the wallet, levered or not."""
        if self._leverage is not None:
            self._leverage.grow(desk)
            return
        amount = spendable(desk.balance(_WALLET_ETH), self._float, TOKEN_DECIMALS["ETH"])
        if desk.worth_sending(amount, "ETH"):
            desk.stake(self._venue, amount)

    def _shrink(self, desk: Desk, eth: float) -> None:
        """Take so much ETH out of the staked side, sell it, and buy back as much of the short."""
        if not self._prepay(desk, *self._unwind_operations()):
            return
        if self._leverage is not None:
            self._leverage.release(desk, eth)
        else:
            rate = desk.market[f"oracle_price_eth:{self._lst}"]
            amount = min(eth / rate, desk.balance(self._lst_key))
            if amount > 0.0:
                desk.swap_to_eth(self._lst, amount)
        self._sell_and_rehedge(desk)

    def _unwind_operations(self) -> tuple[OperationType, ...]:
        """What taking ETH out of the staked side and sending it to the exchange costs gas for."""
        unwind = EXIT_GROUP if self._leverage is not None else (OperationType.SWAP,)
        return (*unwind, OperationType.TRANSFER)

    def _sell_eth(self, desk: Desk) -> None:
        """ETH from the wallet to the exchange, and sold there."""
        venue = self._params.spot_venue
        amount = spendable(desk.balance(_WALLET_ETH), self._float, TOKEN_DECIMALS["ETH"])
        if desk.worth_sending(amount, "ETH"):
            desk.transfer("wallet", venue, "ETH", amount)
        self._hedge.sell_spot(desk, desk.balance(self._spot_key))

    def _rehedge(self, desk: Desk) -> None:
        """Perps alone, to all the ETH that there is; shorts that lack margin are opened once it is there."""
        long = self._long(desk)
        kept = min(desk.balance(_WALLET_ETH), self._float)
        # gas money that is all there is left has no hedge: a position that is closed is closed
        sizes = self._hedge.split(long if long - kept >= self._hedge.spot_lot else 0.0)
        self._hedge.trade_to(desk, sizes, grow=None if self._hedge.back(desk, sizes) else False)

    def _sell_and_rehedge(self, desk: Desk) -> None:
        self._sell_eth(desk)
        self._rehedge(desk)

    def _stake_and_rehedge(self, desk: Desk) -> None:
        if self._prepay(desk, *(ENTRY_GROUP if self._leverage is not None else (OperationType.STAKE,))):
            self._stake(desk)
            self._rehedge(desk)

    def _place_eth(self, desk: Desk) -> None:
        """Loose ETH where it belongs: most of it is lacking on the staked side, or none."""
        target = self._params.stake_allocation * desk.view.equity / desk.price("ETH")
        if target - self._staked(desk) < self._loose(desk) / 2.0:
            self._sell_and_rehedge(desk)
        elif desk.balance(self._spot_key) > desk.balance(_WALLET_ETH) - self._float:
            self._bring_home(desk)  # and what is in the wallet is staked together with it
            self._rehedge(desk)
        else:
            self._stake_and_rehedge(desk)

    def _loose(self, desk: Desk) -> float:
        """ETH on the exchange and in the wallet that is neither staked nor gas money."""
        return desk.balance(self._spot_key) + max(desk.balance(_WALLET_ETH) - self._float, 0.0)

    def _deleverage(self, desk: Desk) -> None:
        """Back to the target LTV, then the hedge."""
        if self._leverage is not None and self._prepay(desk, *EXIT_GROUP):
            self._leverage.release(desk, 0.0)
        self._rehedge(desk)

    def _raise_margin(self, desk: Desk) -> None:
        """Sell the part x of the staked side that brings margin back to target: M + x*S = m*(1-x)*N."""
        needs = self._hedge.margin_needs(desk, self._hedge.sizes(desk), self._params.margin_ratio_target)
        staked = self._staked(desk) * desk.price("ETH")
        wanted = sum(needs.values())
        part = (wanted - self._hedge.free(desk)) / (staked + wanted)
        if part >= _MAX_PART:
            self.exit_full(desk)
        elif part > 0.0:
            self._shrink(desk, self._staked(desk) * part)
        self._hedge.level_margins(desk)


def _net_deltas(view: TickView) -> NDArray[np.float64]:
    """Net delta over equity, a fraction, over the window; 0 where there is no equity."""
    value = view.figure_column("total_value_usd")
    there = value != 0.0
    return np.where(there, view.figure_column("net_delta_usd") / np.where(there, value, 1.0), 0.0)
