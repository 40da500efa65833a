"""What the trades of an order did: deltas, costs and details of its handshake. Pure; nothing is assumed.

Fees are read from each trade, in the token that it was charged in:

* quote token: the quote side moves by more (buy) or less (sell);
* base token (the exchanges' default on a spot buy): less of the base arrives;
* a token that the mode has no instrument for (BNB): the account paid it beside what the mode holds; stated as
  ``fee_amount`` / ``fee_currency`` and in ``fees_outside``, in no delta;
* a negative fee is a rebate: in the delta, in ``fee_rebates``, and no cost.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.instruments import INSTRUMENTS, margin_key
from basis.models.operations import OperationType, OrderSide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from basis.models.execution import CostKind
    from basis.models.order import Order
    from basis.venues.live.cex.units import Market


class Fill(NamedTuple):
    """One trade of an order."""

    amount: Decimal
    """Base units, or USD where inverse; positive."""
    price: Decimal
    """Quote per base."""
    fees: Mapping[str, Decimal]
    """Token -> what was charged; negative: a rebate."""
    at_ms: int
    """When, by the exchange's clock."""
    trade_id: str
    """The exchange's own id."""


class Outcome(NamedTuple):
    """What an order did."""

    deltas: dict[str, float]
    """Instrument key -> signed change, fees inside."""
    costs: dict[CostKind, dict[str, float]]
    """Fees, and on spot the slippage against the reference price."""
    details: dict[str, JsonValue]
    """Price, amount, reference, and fees that are in no delta."""
    fee_amount: float
    """The largest fee by tokens stated, never negative."""
    fee_currency: str | None
    """Its token."""
    at_ms: int
    """When the last trade was."""


def read_fills(trades: Sequence[Mapping[str, Any]], market: Market) -> list[Fill]:
    """Trades as ccxt gives them, by time; a trade that comes twice counts once.

    Raises:
        ValueError: a trade without id, amount, price or time.
    """
    found: dict[str, Fill] = {}
    for trade in trades:
        amount, price, at_ms = _number(trade, "amount"), _number(trade, "price"), trade.get("timestamp")
        if not trade.get("id") or at_ms is None or amount <= 0 or price <= 0:
            raise ValueError(f"a trade of {market.symbol} has no id, time, amount or price")
        fees: dict[str, Decimal] = defaultdict(Decimal)
        listed = trade.get("fees") or ([trade["fee"]] if trade.get("fee") else [])
        for fee in listed:
            if fee.get("cost") is not None and fee.get("currency"):
                fees[fee["currency"]] += Decimal(str(fee["cost"]))
        found[str(trade["id"])] = Fill(amount * market.contract, price, fees, int(at_ms), str(trade["id"]))
    return sorted(found.values(), key=lambda fill: (fill.at_ms, fill.trade_id))


def _number(trade: Mapping[str, Any], name: str) -> Decimal:
    value = trade.get(name)
    number = Decimal(0) if value is None else Decimal(str(value))
    return number if number.is_finite() else Decimal(0)


def outcome(order: Order, market: Market, fills: Sequence[Fill], reference: float | None) -> Outcome:
    """What an order did, by its trades.

    Args:
        order: the order.
        market: its market.
        fills: its trades, at least one.
        reference: market price that slippage is measured against; None: not known, none stated.
    """
    sign = 1 if order.side is OrderSide.BUY else -1
    amount = sum((fill.amount for fill in fills), Decimal(0))
    if market.inverse:
        average = amount / sum((fill.amount / fill.price for fill in fills), Decimal(0))
    else:
        average = sum((fill.amount * fill.price for fill in fills), Decimal(0)) / amount
    moved: dict[str, Decimal] = defaultdict(Decimal)
    if order.operation is OperationType.PERP_TRADE:
        moved[f"{order.venue}:Perp:{market.pair}"] += sign * amount
        moved[margin_key(order.venue, market.pair)] += 0
    else:
        moved[_token_key(order.venue, market.base)] += sign * amount
        moved[_token_key(order.venue, "USDT")] -= sign * amount * average
    fees, rebates, outside = _fees(order.venue, fills, moved)
    costs: dict[CostKind, dict[str, float]] = {}
    if fees:
        costs["fees"] = {key: float(paid) for key, paid in fees.items()}
    adverse = Decimal(0) if reference is None else sign * (average - Decimal(repr(reference)))
    if adverse > 0 and not market.perp:
        costs["slippage"] = {_token_key(order.venue, "USDT"): float(adverse * amount)}
    details: dict[str, JsonValue] = {
        "fill_price": float(average),
        "filled_amount": float(amount),
        "ordered_amount": order.amount,
        "trades": len(fills),
    }
    if reference is not None:
        details |= {"market_price": reference, "slippage_fraction": float(adverse / Decimal(repr(reference)))}
    if market.perp:
        details["margin_token"] = market.margin
    if rebates:
        details["fee_rebates"] = {key: float(got) for key, got in rebates.items()}
    if outside:
        details["fees_outside"] = {token: float(paid) for token, paid in outside.items()}
    stated = {key.rsplit(":", 1)[1]: paid for key, paid in fees.items()} | {k: v for k, v in outside.items() if v > 0}
    token = max(stated, key=lambda one: stated[one], default=None)
    return Outcome(
        deltas={key: float(delta) for key, delta in moved.items() if delta},
        costs=costs,
        details=details,
        fee_amount=float(stated[token]) if token is not None else 0.0,
        fee_currency=token,
        at_ms=fills[-1].at_ms,
    )


def _fees(
    venue: str, fills: Sequence[Fill], moved: dict[str, Decimal]
) -> tuple[dict[str, Decimal], dict[str, Decimal], dict[str, Decimal]]:
    """Charge fees to what moved; (paid by key, rebates by key, by token without an instrument)."""
    total: dict[str, Decimal] = defaultdict(Decimal)
    for fill in fills:
        for token, fee in fill.fees.items():
            total[token] += fee
    paid, rebates, outside = {}, {}, {}
    for token, fee in total.items():
        key = _token_key(venue, token)
        if key not in INSTRUMENTS:
            outside[token] = fee
            continue
        moved[key] -= fee
        if fee > 0:
            paid[key] = fee
        elif fee < 0:
            rebates[key] = -fee
    return paid, rebates, outside


def _token_key(venue: str, token: str) -> str:
    return f"{venue}:BaseToken:{token}"
