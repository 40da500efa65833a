"""The formula of each operation, in symbols and in the numbers of an order; compared with what the code expects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from tools.specs.places import CLOSE, number

from basis.models.instruments import CLIENT, is_inverse
from basis.models.operations import OperationType, OrderSide

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.models.order import Order


class Formula(NamedTuple):
    """How one delta comes about."""

    key: str
    """Instrument."""
    symbols: str
    """Formula in symbols."""
    filled: str
    """With the numbers."""
    value: float
    """What it comes to, before gas."""


def formula(order: Order) -> Formula:
    """The characteristic delta of an order, from its own numbers."""
    return _FORMULAS[order.operation](order)


def detail(order: Order, name: str) -> float:
    value = order.operation_details[name]
    assert isinstance(value, float | int)
    return float(value)


def _aave(order: Order) -> Formula:
    out = order.operation in {OperationType.WITHDRAW, OperationType.BORROW}
    token = str(order.target_token if out else order.source_token)
    is_debt = order.operation in {OperationType.BORROW, OperationType.REPAY}
    key = f"aave_v3:debtToken:debt{token}" if is_debt else f"aave_v3:aToken:a{token}"
    name, symbol = ("variable_borrow_index", "BI") if is_debt else ("liquidity_index", "LI")
    sign = 1.0 if order.operation in {OperationType.SUPPLY, OperationType.BORROW} else -1.0
    letter = "b" if is_debt else "u"
    index = detail(order, name)
    lead = "+" if sign > 0.0 else "-"
    filled = f"{lead}{number(order.amount)} / {number(index)}"
    return Formula(key, f"{lead}{letter}/{symbol}", filled, sign * order.amount / index)


def _stake(order: Order) -> Formula:
    rate = detail(order, "eth_per_lst")
    if order.operation is OperationType.STAKE:
        key = f"{order.target_venue}:LST:{order.target_token}"
        return Formula(key, "+e/X", f"+{number(order.amount)} / {number(rate)}", order.amount / rate)
    key = next(key for key, delta in order.expected_deltas.items() if delta > 0.0)
    return Formula(key, "+l*X", f"+{number(order.amount)} x {number(rate)}", order.amount * rate)


def _swap(order: Order) -> Formula:
    price, cost = detail(order, "price_eth"), detail(order, "cost")
    filled = f"+{number(order.amount)} x {number(price)} / 1 x (1 - {number(cost)})"
    value = order.amount * price * (1.0 - cost)
    return Formula("wallet:BaseToken:ETH", "+q*P_in/P_out*(1 - cost)", filled, value)


def _spot(order: Order) -> Formula:
    price, slip, fee = detail(order, "price"), detail(order, "slippage"), detail(order, "fee_rate")
    sign = 1.0 if order.side is OrderSide.BUY else -1.0
    lead, inner = ("-", "+") if sign > 0.0 else ("+", "-")
    factors = f"(1 {inner} {number(slip)}) x (1 {inner} {number(fee)})"
    filled = f"{lead}{number(order.amount)} x {number(price)} x {factors}"
    value = -sign * order.amount * price * (1.0 + sign * slip) * (1.0 + sign * fee)
    return Formula(f"{order.venue}:BaseToken:USDT", f"{lead}q*P*(1 {inner} s) - fee", filled, value)


def _perp(order: Order) -> Formula:
    mark, slip, fee = detail(order, "mark"), detail(order, "slippage"), detail(order, "fee_rate")
    sign = 1.0 if order.side is OrderSide.BUY else -1.0
    fill, amount = mark * (1.0 + sign * slip), order.amount
    pair = str(order.pair)
    if is_inverse(pair):
        key = f"{order.venue}:BaseToken:{pair.removesuffix('USD')}"
        apart = f"abs(1/{number(mark)} - 1/{number(fill)})"
        filled = f"-{number(amount)} x {apart} - {number(amount)} / {number(fill)} x {number(fee)}"
        value = -amount * abs(1.0 / mark - 1.0 / fill) - amount / fill * fee
        return Formula(key, "-q*abs(1/F - 1/f) - q/f*fee, f = F*(1 +- s)", filled, value)
    filled = f"-{number(amount)} x {number(mark)} x {number(slip)} - {number(amount)} x {number(fill)} x {number(fee)}"
    value = -amount * abs(fill - mark) - amount * fill * fee
    return Formula(f"{order.venue}:BaseToken:USDT", "-q*F*s - q*f*fee, f = F*(1 +- s)", filled, value)


def _transfer(order: Order) -> Formula:
    fee = detail(order, "withdrawal_fee")
    if order.target_venue == CLIENT:
        key = f"{order.source_venue}:BaseToken:{order.source_token}"
        return Formula(key, "-q to the client", f"-{number(order.amount)}", -order.amount)
    target = "transit" if order.operation_details["delayed"] else order.target_venue
    key = f"{target}:BaseToken:{order.source_token}"
    return Formula(key, "+(q - withdrawal fee)", f"+{number(order.amount)} - {number(fee)}", order.amount - fee)


def _flash(order: Order) -> Formula:
    if order.operation is OperationType.FLASH_BORROW:
        return Formula("morpho:debtToken:flashWETH", "+D owed", f"+{number(order.amount)}", order.amount)
    fee = detail(order, "fee_rate")
    filled = f"-{number(order.amount)} x (1 + {number(fee)})"
    return Formula("wallet:BaseToken:ETH", "-D*(1 + f)", filled, -order.amount * (1.0 + fee))


_FORMULAS: dict[OperationType, Callable[[Order], Formula]] = {
    OperationType.SUPPLY: _aave,
    OperationType.WITHDRAW: _aave,
    OperationType.BORROW: _aave,
    OperationType.REPAY: _aave,
    OperationType.STAKE: _stake,
    OperationType.UNSTAKE: _stake,
    OperationType.SWAP: _swap,
    OperationType.SPOT_TRADE: _spot,
    OperationType.PERP_TRADE: _perp,
    OperationType.TRANSFER: _transfer,
    OperationType.FLASH_BORROW: _flash,
    OperationType.FLASH_REPAY: _flash,
}


def require_formula(order: Order, found: Formula) -> None:
    """A formula must come to the expected delta, gas aside."""
    gas = detail(order, "gas_fee") if "gas_fee" in order.operation_details else 0.0
    pays = found.key == gas_key(order)
    expected = order.expected_deltas[found.key] + (gas if pays else 0.0)
    if not math.isclose(found.value, expected, rel_tol=CLOSE, abs_tol=1e-12):
        raise SystemExit(f"{order.operation}: {found.filled} is {found.value!r}, the code expects {expected!r}")


def gas_key(order: Order) -> str | None:
    """Balance that pays the gas of an order."""
    if "gas_fee" not in order.operation_details:
        return None
    touched = [key for key in order.expected_deltas if key.startswith("wallet:BaseToken:")]
    return "wallet:BaseToken:USDT" if "wallet:BaseToken:USDT" in touched else "wallet:BaseToken:ETH"
