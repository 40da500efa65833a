"""Perp shorts over several exchanges: how large each is, and the money that goes with it. Pure.

Shared by the basis and market-neutral strategies. All amounts of money are USDT, all quantities base units.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.models.instruments import TOKEN_DECIMALS, Venue
from basis.models.operations import OperationType
from basis.runtime import fills
from basis.strategy.core.desk import spendable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from basis.models.config import BasisStrategyConfig, MarketNeutralStrategyConfig, RunConfig
    from basis.strategy.core.desk import Desk
    from basis.strategy.core.view import TickView

    Floats = NDArray[np.float64]

_WALLET = "wallet:BaseToken:USDT"
_DUST_USDT = 1.0
"""A transfer below this is not worth its fee."""


UNWIND_MARGIN = 1.01
"""More is unwound than is asked for, so that its own costs do not call for a second round."""
_LITTLE = 0.05
"""Up to this part of what the richest exchange can spare, it pays alone: one withdrawal fee instead of three."""
_NEARLY = 0.02
"""Where transfers take time, what an exchange lacks up to this part of its need is not sent after the rest: prices have
moved by more when it arrives."""
_NOTHING = 1e-6
"""What is left of a balance by rounding alone: less than any token's smallest unit that matters."""


class Leg(NamedTuple):
    """The short at one exchange."""

    venue: Venue
    """Exchange."""
    part: float
    """Part of the whole short."""


class Hedge:
    """The perp side of a mode.

    Args:
        config: configuration of the run.
        params: its strategy section.
        asset: asset that is hedged, BTC or ETH.
    """

    def __init__(
        self, config: RunConfig, params: BasisStrategyConfig | MarketNeutralStrategyConfig, asset: str
    ) -> None:
        self._config = config
        self._params = params
        self.gas_reserve = params.gas_reserve or 0.0
        self.midway = (params.margin_ratio_target + params.margin_ratio_trigger) / 2.0
        self.asset = asset
        self.symbol = f"{asset}USDT"
        self.legs = tuple(Leg(venue, params.hedge_allocation[venue]) for venue in params.hedge_venues())
        self._perp_keys = tuple(self.perp_key(leg.venue) for leg in self.legs)
        markets = [config.market(leg.venue, self.symbol, perp=True) for leg in self.legs]
        self._min_notional = {leg.venue: market.min_notional for leg, market in zip(self.legs, markets, strict=True)}
        self._spot = config.market(params.spot_venue, self.symbol, perp=False)
        self._spot_venue = params.spot_venue
        self.spot_lot = self._spot.lot
        self.lot = max(self.spot_lot, *(market.lot for market in markets))
        self.venues = tuple(dict.fromkeys((params.spot_venue, *(leg.venue for leg in self.legs))))
        self._figures = tuple((f"margin:{leg.venue}", f"notional:{leg.venue}") for leg in self.legs)
        self._funding_columns = tuple((f"funding_mean:{leg.venue}:{self.symbol}", leg.part) for leg in self.legs)

    def perp_key(self, venue: str) -> str:
        """Instrument of the short at an exchange."""
        return f"{venue}:Perp:{self.symbol}"

    # ------------------------------------------------------------------------------------------------ questions

    def quantity(self, view: TickView) -> float:
        """Sum of the perps, base units, negative for shorts."""
        return float(view.derived("hedge.quantity", self.quantities))

    def quantities(self, view: TickView) -> Floats | float:
        """:meth:`quantity` over the window."""
        return sum(view.position_column(key) for key in self._perp_keys)

    def worst_margin(self, view: TickView) -> float:
        """Smallest margin balance over notional of all exchanges with a short; infinite without any."""
        return float(view.derived("hedge.worst_margin", self.worst_margins))

    def worst_margins(self, view: TickView) -> Floats:
        """:meth:`worst_margin` over the window."""
        worst: Floats = np.array(np.inf)
        for margin, notional in self._figures:
            size = view.figure_column(notional)
            open_ = size > 0.0
            worst = np.minimum(worst, np.where(open_, view.figure_column(margin) / np.where(open_, size, 1.0), np.inf))
        return worst

    def total_margin(self, view: TickView) -> float:
        """All margin balances and the wallet over all notional: what moving money alone could reach."""
        size = sum(view.figure(notional) for _, notional in self._figures)
        held = sum(view.position(f"{venue}:BaseToken:USDT") for venue in self.venues) + view.position(_WALLET)
        return held * view.market("price_usd:USDT") / size if size > 0.0 else float("inf")

    def mean_funding(self, view: TickView) -> float:
        """8 h funding averaged over three days, weighted by allocation, a fraction."""
        return float(view.derived("hedge.mean_funding", self.mean_fundings))

    def mean_fundings(self, view: TickView) -> Floats | float:
        """:meth:`mean_funding` over the window."""
        return sum(part * view.market_column(column) for column, part in self._funding_columns)

    def in_transit(self, view: TickView) -> bool:
        """True while money is on its way."""
        return (
            view.position("transit:BaseToken:USDT") > _NOTHING
            or view.position(f"transit:BaseToken:{self.asset}") > _NOTHING
        )

    def at_rest(self, view: TickView) -> NDArray[np.bool_] | np.bool_:
        """Where no money is on its way, over the window: the opposite of :meth:`in_transit`."""
        usdt, asset = (view.position_column(f"transit:BaseToken:{token}") for token in ("USDT", self.asset))
        return np.less_equal(usdt, _NOTHING) & np.less_equal(asset, _NOTHING)

    # --------------------------------------------------------------------------------------------------- orders

    def mark(self, desk: Desk, venue: str) -> float:
        """Mark price of the perp at an exchange."""
        return desk.market[f"perp:{venue}:{self.symbol}"]

    def cost(self, desk: Desk, leg: Leg, quantity: float) -> float:
        """Fee and slippage of trading a leg, USDT for one base unit of the whole short."""
        mark = self.mark(desk, leg.venue)
        cost = fills.trade_cost(self._config, leg.venue, self.symbol, quantity * leg.part * mark, perp=True)
        return leg.part * mark * (cost.slippage + cost.fee_rate * (1.0 + cost.slippage))

    def split(self, quantity: float) -> dict[Venue, float]:
        """A short of so many base units over the exchanges, in whole lots of the coarsest market."""
        return {leg.venue: fills.whole_lots(quantity * leg.part, self.lot) for leg in self.legs}

    def is_tradable(self, desk: Desk, sizes: Mapping[Venue, float]) -> bool:
        """True where every leg is at least the smallest order of its exchange."""
        return all(
            size > 0.0 and size * self.mark(desk, venue) >= self._min_notional[venue] for venue, size in sizes.items()
        )

    def trade_to(self, desk: Desk, sizes: Mapping[Venue, float], *, grow: bool | None = None) -> None:
        """Bring each short to a size; ``grow`` True sends only what increases, False only what reduces a short."""
        for venue, size in sizes.items():
            change = -size - desk.balance(self.perp_key(venue))
            closes = size == 0.0  # all of it, rounding of earlier sums included: a closed short is exactly 0
            if not closes:
                change = math.copysign(fills.whole_lots(abs(change), self.lot), change)
            if change == 0.0 or (grow is not None and (change < 0.0) is not grow):
                continue
            if closes or abs(change) * self.mark(desk, venue) >= self._min_notional[venue]:
                desk.perp(venue, self.symbol, change)

    def sell_spot(self, desk: Desk, quantity: float) -> None:
        """Sell so much of the asset in whole lots; nothing where that is below the exchange's smallest order."""
        amount = fills.whole_lots(max(quantity, 0.0), self.spot_lot)
        price = desk.market[f"spot:{self._spot_venue}:{self.symbol}"]
        if amount > 0.0 and amount * price >= self._spot.min_notional:
            desk.spot(self._spot_venue, self.asset, -amount)

    def sizes(self, desk: Desk) -> dict[Venue, float]:
        """Size of each short as it is, positive."""
        return {leg.venue: -desk.balance(self.perp_key(leg.venue)) for leg in self.legs}

    def margin_needs(self, desk: Desk, sizes: Mapping[Venue, float], ratio: float) -> dict[Venue, float]:
        """Margin balance that each short of these sizes needs for a ratio, USDT."""
        return {venue: ratio * size * self.mark(desk, venue) for venue, size in sizes.items()}

    def free(self, desk: Desk) -> float:
        """All USDT on exchanges and in the wallet."""
        return desk.balance(_WALLET) + sum(desk.balance(f"{venue}:BaseToken:USDT") for venue in self.venues)

    def fund(self, desk: Desk, needs: Mapping[Venue, float], reserve: float = 0.0) -> bool:
        """Move USDT until every exchange has what it needs: from the wallet first, then from exchanges with more.

        Args:
            desk: takes the orders.
            needs: exchange -> USDT that it must hold.
            reserve: USDT that stays in the wallet, for gas of what follows.

        Returns:
            True where all of it is there now; False where it is still on its way or was not to be had.
        """
        gas = desk.gas(OperationType.TRANSFER)
        complete = True
        for target in self.venues:
            missing = needs.get(target, 0.0) - desk.balance(f"{target}:BaseToken:USDT")
            delayed = fills.deposit_delay_s(self._config, target) > 0
            if missing <= _DUST_USDT or (delayed and missing <= _NEARLY * needs.get(target, 0.0)):
                continue
            complete = complete and not delayed
            free = spendable(desk.balance(_WALLET), gas + max(reserve, self.gas_reserve), TOKEN_DECIMALS["USDT"])
            if free > _DUST_USDT:
                sent = min(_up(missing), free)
                desk.transfer("wallet", target, "USDT", sent)
                missing -= sent
            for source in self.venues:
                spare = desk.balance(f"{source}:BaseToken:USDT") - needs.get(source, 0.0)
                if source == target or missing <= _DUST_USDT or spare <= _DUST_USDT:
                    continue
                fee = fills.withdrawal_fee(self._config, source, "USDT")
                sent = min(_up(missing + fee), _down(spare))
                if sent > fee:
                    missing -= desk.transfer(source, target, "USDT", sent)
            complete = complete and missing <= _DUST_USDT
        return complete

    def back(self, desk: Desk, sizes: Mapping[Venue, float], reserve: float = 0.0) -> bool:
        """See to it that shorts of these sizes can be opened: money first, and the perps once it is there (ADR 0028).

        Args:
            desk: takes the orders.
            sizes: exchange -> size of its short.
            reserve: USDT that stays in the wallet, for gas of what follows.

        Returns:
            True where every exchange has the initial margin of its short, and the cost of opening it.
        """
        if self._is_backed(desk, sizes):
            return True
        needs = self.margin_needs(desk, sizes, self._params.margin_ratio_target)
        total, free = sum(needs.values()), self.free(desk)
        self.fund(desk, {venue: need * min(1.0, free / total) for venue, need in needs.items()}, reserve)
        return self._is_backed(desk, sizes)

    def _is_backed(self, desk: Desk, sizes: Mapping[Venue, float]) -> bool:
        grown = {leg: size for leg in self.legs if (size := sizes[leg.venue]) > -desk.balance(self.perp_key(leg.venue))}
        for leg, size in grown.items():
            most = self._config.market(leg.venue, self.symbol, perp=True).max_leverage
            margin = size * self.mark(desk, leg.venue) / most + self.cost(desk, leg, size / leg.part) * size / leg.part
            if desk.balance(f"{leg.venue}:BaseToken:USDT") < margin:
                return False
        return True

    def level_margins(self, desk: Desk) -> None:
        """Spread all money over the exchanges in proportion to their shorts, up to the target ratio."""
        needs = self.margin_needs(desk, self.sizes(desk), 1.0)
        total = sum(needs.values())
        if total <= 0.0:
            return
        ratio = min(max(self.free(desk) - self.withdrawal_fees(), 0.0) / total, self._params.margin_ratio_target)
        self.fund(desk, {venue: need * ratio for venue, need in needs.items()})

    def withdrawal_fees(self) -> float:
        """Fees of one withdrawal of USDT from every exchange."""
        return sum(fills.withdrawal_fee(self._config, venue, "USDT") for venue in self.venues)

    def to_wallet(self, desk: Desk, amount: float, needs: Mapping[Venue, float]) -> None:
        """Bring so much USDT to the wallet from exchanges that have more than they need: a little from the richest, more
        from all in proportion to what they can spare."""
        spare = {venue: desk.balance(f"{venue}:BaseToken:USDT") - needs.get(venue, 0.0) for venue in self.venues}
        spare = {venue: money for venue, money in spare.items() if money > _DUST_USDT}
        total = sum(spare.values())
        if not spare:
            return
        richest = max(spare, key=lambda venue: spare[venue])
        if amount <= _LITTLE * spare[richest]:
            spare = {richest: spare[richest]}
            total = spare[richest]
        for source, money in spare.items():
            fee = fills.withdrawal_fee(self._config, source, "USDT")
            sent = min(_up(amount * money / total + fee), _down(money))
            if sent > fee + _DUST_USDT:
                desk.transfer(source, "wallet", "USDT", sent)


def _up(amount: float) -> float:
    """Rounded up to whole smallest units."""
    rounded = round(amount, TOKEN_DECIMALS["USDT"])
    return rounded if rounded >= amount else round(amount + 1e-6, TOKEN_DECIMALS["USDT"])


def _down(amount: float) -> float:
    """Rounded down to whole smallest units."""
    return spendable(max(amount, 0.0), 0.0, TOKEN_DECIMALS["USDT"])
