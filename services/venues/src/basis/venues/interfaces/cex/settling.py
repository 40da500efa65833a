"""What a simulated exchange does on its own at each tick. Pure, on columns where nothing happens.

In this sequence: mark-to-market into margin, funding, arrivals, then take profit and stop loss, then liquidation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.models.instruments import is_inverse, margin_token
from basis.models.messages import Settlement
from basis.models.operations import SettlementKind
from basis.runtime.fills import BPS, margin_units, perp_notional, perp_pnl, trade_cost
from basis.runtime.settlements import SettlementColumns
from basis.venues.core.interface import set_entries
from basis.venues.interfaces.cex.account import open_perps, required_maintenance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import CexConfig
    from basis.models.messages import Detail
    from basis.venues.core.interface import At, Floats, Ledger, Stretch
    from basis.venues.interfaces.cex.account import Perp

Closing = tuple[Settlement, dict[str, float]]
"""A settlement, and the ledger entries of the venue's own to set with it."""


def mark_to_market(venue: str, stretch: Stretch) -> dict[str, Floats]:
    """Margin balance -> what each tick moves into it: quantity x change of mark since the tick before."""
    moved: dict[str, Floats] = {}
    for entry in open_perps(venue, stretch.ledger, stretch.config):
        marks = stretch.market[entry.mark]
        quantity = np.full(stretch.ticks, stretch.ledger[entry.key])
        pnl = perp_pnl(entry.symbol, quantity, marks[:-1], marks[1:])
        moved[entry.margin] = moved[entry.margin] + pnl if entry.margin in moved else pnl
    return moved


def funding(venue: str, stretch: Stretch) -> list[SettlementColumns]:
    """Funding at each tick that has a rate: -quantity x price x rate, price the close of the last bar that has ended."""
    found = []
    for entry in open_perps(venue, stretch.ledger, stretch.config):
        market = f"{venue}:{entry.symbol}"
        every = stretch.market[f"funding:{market}"][1:]
        places = np.flatnonzero(every)
        if not len(places):
            continue
        rates, prices = every[places], stretch.market[f"perp_close:{market}"][1:][places]
        quantity = stretch.ledger[entry.key]
        token = margin_token(entry.symbol)
        # signed, so perp_notional does not serve: -quantity x price x rate, or -(contracts / price) x rate
        sizes = margin_units(entry.symbol, np.full(len(places), quantity), prices)
        amounts = -(sizes * rates) if is_inverse(entry.symbol) else -(sizes * prices * rates)
        details: dict[str, Detail | Floats] = {"symbol": entry.symbol, "quantity": quantity, "token": token}
        details |= {"funding_rate": rates, "mark_price": prices, "amount": amounts}
        found.append(
            SettlementColumns(
                venue=venue,
                kind=SettlementKind.FUNDING,
                ticks=places + stretch.first_tick,
                deltas={entry.margin: amounts},
                details=details,
            )
        )
    return found


def first_break(venue: str, stretch: Stretch, balances: Mapping[str, Floats]) -> int | None:
    """Place of the first tick at which a level is touched or a margin balance is under its maintenance margin."""
    perps = open_perps(venue, stretch.ledger, stretch.config)
    if not perps:
        return None
    broken = np.zeros(stretch.ticks, dtype=np.bool_)
    needed: dict[str, Floats] = {}
    for entry in perps:
        quantity, marks = stretch.ledger[entry.key], stretch.market[entry.mark]
        levels = _Levels.of(entry, stretch.ledger)
        if levels.exist:
            high, low = (stretch.market[f"perp_{side}:{venue}:{entry.symbol}"][1:] for side in ("high", "low"))
            stopped, taken = levels.touched(quantity, high, low, marks[:-1])
            broken |= stopped | taken
        own = required_maintenance(entry, quantity, marks[1:], stretch.config)
        needed[entry.margin] = needed[entry.margin] + own if entry.margin in needed else own
    for margin, amounts in needed.items():
        broken |= balances.get(margin, stretch.ledger.get(margin, 0.0)) < amounts
    return int(np.argmax(broken)) if broken.any() else None


def closings(venue: str, cex: CexConfig, ledger: Mapping[str, float], at: At) -> list[Closing]:
    """Levels first, the stop before the target where a bar touches both; then each account short of margin."""
    working: Ledger = dict(ledger)
    found = []
    for entry in open_perps(venue, working, at.config):
        closing = _close_at_level(entry, working, at)
        if closing is not None:
            _apply(working, closing)
            found.append(closing)
    touched = {key for settlement, _ in found for key in settlement.deltas}
    held = open_perps(venue, working, at.config)
    accounts = dict.fromkeys([entry.margin for entry in held] + sorted(key for key in touched if "BaseToken" in key))
    for margin in accounts:
        closing = _liquidate(venue, cex, margin, working, at)
        if closing is not None:
            _apply(working, closing)
            found.append(closing)
    return found


class _Levels(NamedTuple):
    """Take profit and stop loss of a position; None where it has none."""

    stop: float | None
    target: float | None

    @classmethod
    def of(cls, entry: Perp, ledger: Mapping[str, float]) -> _Levels:
        return cls(ledger.get(entry.entry("stop_loss")), ledger.get(entry.entry("take_profit")))

    @property
    def exist(self) -> bool:
        return self.stop is not None or self.target is not None

    def touched(
        self, quantity: float, high: Floats, low: Floats, before: Floats
    ) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """Where the bar that ends at a tick, or the mark that it began from, is at the stop or at the target."""
        high, low = np.maximum(high, before), np.minimum(low, before)
        never = np.zeros(len(high), dtype=np.bool_)
        long = quantity > 0.0
        stopped = never if self.stop is None else (low <= self.stop if long else high >= self.stop)
        taken = never if self.target is None else (high >= self.target if long else low <= self.target)
        return stopped, taken


def _close_at_level(entry: Perp, ledger: Mapping[str, float], at: At) -> Closing | None:
    """Stop or target at its level, less the taker fee.

    A stop whose bar began beyond it (a gap) fills where the bar began, which is worse; a target never fills better than
    its level. The mark-to-market of the tick went to the mark of now, so what settles is the way from there to the fill.
    """
    levels = _Levels.of(entry, ledger)
    if not levels.exist:
        return None
    quantity, mark, before = ledger[entry.key], at.market[entry.mark], at.before[entry.mark]
    high, low = (at.market[f"perp_{side}:{entry.venue}:{entry.symbol}"] for side in ("high", "low"))
    stopped, taken = levels.touched(quantity, np.array([high]), np.array([low]), np.array([before]))
    if bool(stopped[0]) and levels.stop is not None:
        kind, level = SettlementKind.STOP_LOSS, levels.stop
        price = min(level, before) if quantity > 0.0 else max(level, before)
    elif bool(taken[0]) and levels.target is not None:
        kind, level = SettlementKind.TAKE_PROFIT, levels.target
        price = level
    else:
        return None
    notional = perp_notional(entry.symbol, quantity, price)
    rate = trade_cost(at.config, entry.venue, entry.symbol, notional, perp=True).fee_rate
    fee = margin_units(entry.symbol, notional, price) * rate
    pnl = perp_pnl(entry.symbol, quantity, mark, price)
    settlement = Settlement(
        tick=at.tick,
        venue=entry.venue,
        kind=kind,
        deltas={entry.key: -quantity, entry.margin: pnl - fee},
        fees={entry.margin: fee} if fee > 0.0 else {},
        details={
            "symbol": entry.symbol,
            "level": level,
            "fill_price": price,
            "mark_price": mark,
            "quantity": quantity,
            "entry_price": ledger.get(entry.entry("entry_price"), price),
            "amount": pnl,
            "token": margin_token(entry.symbol),
        },
    )
    return settlement, {key: 0.0 for key in entry.closed_entries() if key in ledger}


def _liquidate(venue: str, cex: CexConfig, margin: str, ledger: Mapping[str, float], at: At) -> Closing | None:
    """All perps of an account at mark, where its margin is under maintenance; the balance never ends below zero.

    The fee is capped by what is left. What a negative balance lacks is the venue's loss (``shortfall``): before the tick
    the account had more than it has now, so it never gains by it.
    """
    perps = [entry for entry in open_perps(venue, ledger, at.config) if entry.margin == margin]
    balance, needed, fee = ledger.get(margin, 0.0), 0.0, 0.0
    for entry in perps:
        quantity, mark = ledger[entry.key], at.market[entry.mark]
        needed += float(required_maintenance(entry, quantity, np.array([mark]), at.config)[0])
        notional = margin_units(entry.symbol, perp_notional(entry.symbol, quantity, mark), mark)
        fee += notional * cex.liquidation_fee_bps * BPS
    if balance >= needed:
        return None
    paid = min(fee, max(balance, 0.0))
    settlement = Settlement(
        tick=at.tick,
        venue=venue,
        kind=SettlementKind.LIQUIDATION,
        deltas={entry.key: -ledger[entry.key] for entry in perps} | {margin: -min(balance, paid)},
        fees={margin: paid} if paid > 0.0 else {},
        details={
            "margin_balance": balance,
            "maintenance_margin": needed,
            "fee": paid,
            "shortfall": max(-balance, 0.0),
            "token": margin.rsplit(":", 1)[1],
            **{f"mark_price:{entry.symbol}": at.market[entry.mark] for entry in perps},
            **{f"quantity:{entry.symbol}": ledger[entry.key] for entry in perps},
        },
    )
    entries = {key: 0.0 for entry in perps for key in entry.closed_entries() if key in ledger}
    return settlement, entries


def _apply(ledger: Ledger, closing: Closing) -> None:
    settlement, entries = closing
    for key, delta in settlement.deltas.items():
        ledger[key] = ledger.get(key, 0.0) + delta
    set_entries(ledger, entries)
