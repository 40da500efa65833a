"""Scenes and formulas as Markdown tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tools.specs.formulas import detail, formula, gas_key, require_formula
from tools.specs.places import CLOSE, number, signed
from tools.specs.stage import PRICES, Acted, Scene, Settled

from basis.models.instruments import CLIENT, InstrumentType, is_inverse, split_key
from basis.models.operations import OperationType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement
    from basis.models.order import Order


def _unit(key: str) -> str:
    """What a quantity of an instrument is counted in."""
    kind, symbol = split_key(key).type, split_key(key).symbol
    if kind is InstrumentType.PERP:
        return "USD contracts" if is_inverse(symbol) else symbol.removesuffix("USDT")
    return symbol


def _deltas(deltas: Mapping[str, float]) -> str:
    return "<br>".join(f"`{key}` {signed(delta)}" for key, delta in deltas.items())


def _costs(handshake: ExecutionHandshake) -> str:
    parts = [
        f"{kind} {number(amount)} {_unit(key)}"
        for kind, paid in handshake.costs.items()
        for key, amount in paid.items()
    ]
    return "<br>".join(parts) or "none"


def _what(order: Order) -> str:
    side = f" {order.side}" if order.side is not None else ""
    group = f", step {order.sequence_in_group}" if order.sequence_in_group is not None else ""
    return f"`{order.operation}`{side}{group}"


def _amount(order: Order) -> str:
    if order.pair is None:
        out = order.operation in {OperationType.WITHDRAW, OperationType.BORROW}
        return f"{number(order.amount)} {order.target_token if out else order.source_token}"
    if is_inverse(order.pair):
        return f"{number(order.amount)} USD contracts of {order.pair}"
    return f"{number(order.amount)} {order.pair.removesuffix('USDT')}"


def _place(order: Order) -> str:
    if order.operation is OperationType.TRANSFER:
        return f"{order.source_venue} -> {order.target_venue}"
    return str(order.venue)


def acted_lines(scene: Acted) -> list[str]:
    """One action as a table."""
    lines = [f"### {scene.title}", "", scene.situation, "", f"*{scene.decision}*", ""]
    lines += ["| # | operation | venue | amount | expected deltas | gas, fees |", "|---|---|---|---|---|---|"]
    for place, (order, handshake) in enumerate(zip(scene.orders, scene.handshakes, strict=True), 1):
        head = f"| {place} | {_what(order)} | {_place(order)} | {_amount(order)}"
        lines.append(f"{head} | {_deltas(order.expected_deltas)} | {_costs(handshake)} |")
    levels = [order for order in scene.orders if order.take_profit is not None and order.stop_loss is not None]
    for order in levels:
        assert order.take_profit is not None
        assert order.stop_loss is not None
        lines += ["", f"Take profit at {number(order.take_profit)}, stop loss at {number(order.stop_loss)}."]
    return [*lines, "", f"After it: {scene.state}."]


def settled_lines(scene: Settled) -> list[str]:
    """What venues did as a table."""
    lines = [f"### {scene.title}", "", scene.situation, ""]
    lines += ["| venue | kind | deltas | how |", "|---|---|---|---|"]
    for found in scene.settlements:
        how = _how(found)
        lines.append(f"| {found.venue} | `{found.kind}` | {_deltas(found.deltas)} | {how} |")
    return lines


def _how(found: Settlement) -> str:
    """Formula of a settlement with its numbers, checked where it is one of a line."""
    details = {name: value for name, value in found.details.items() if isinstance(value, float | int)}
    (last,) = list(found.deltas.values())[-1:]
    if found.kind == "funding":
        quantity, price, rate = (details[name] for name in ("quantity", "mark_price", "funding_rate"))
        inverse = is_inverse(str(found.details["symbol"]))
        value = -(quantity / price) * rate if inverse else -quantity * price * rate
        _require_close(f"{found.kind} at {found.venue}", value, last)
        middle = f"{number(quantity)} / {number(price)}" if inverse else f"{number(quantity)} x {number(price)}"
        return f"-q x price x rate = -({middle}) x {number(rate)}"
    if found.kind == "reward":
        _require_close("reward", details["eeth"] * details["per_eeth"], last)
        return f"eETH held x tokens per eETH = {number(details['eeth'])} x {number(details['per_eeth'])}"
    if found.kind in {"take_profit", "stop_loss"}:
        fee = sum(found.fees.values())
        moved, token = details["amount"], found.details["token"]
        return f"fill {number(details['fill_price'])}, from the mark {signed(moved)} {token}, fee {number(fee)} {token}"
    return "as asked for"


def _require_close(what: str, value: float, expected: float) -> None:
    if not math.isclose(value, expected, rel_tol=CLOSE, abs_tol=1e-12):
        raise SystemExit(f"{what}: the formula comes to {value!r}, the code to {expected!r}")


def formula_lines(scenes: Sequence[Scene]) -> list[str]:
    """Formula and numbers of the first order of each kind."""
    lines = ["### The formulas, with the numbers of the first order of each kind", ""]
    lines += ["| operation | delta of | formula | with numbers | result |", "|---|---|---|---|---|"]
    seen: set[tuple[Any, ...]] = set()
    gas: Order | None = None
    for scene in scenes:
        for order in scene.orders if isinstance(scene, Acted) else ():
            found = formula(order)
            require_formula(order, found)
            kind = (order.operation, order.side, order.target_venue == CLIENT)
            gas = gas or (order if gas_key(order) else None)
            if kind in seen:
                continue
            seen.add(kind)
            side = f" {order.side}" if order.side is not None else ""
            result = f"{signed(found.value)} {_unit(found.key)}"
            lines.append(f"| `{order.operation}`{side} | `{found.key}` | {found.symbols} | {found.filled} | {result} |")
    if gas is not None:
        lines += ["", _gas_line(gas)]
    return lines


def _gas_line(order: Order) -> str:
    units, price, fee = (detail(order, name) for name in ("gas_units", "gas_price_gwei", "gas_fee"))
    token = split_key(gas_key(order) or "").symbol
    factor = 1.0 if token == "ETH" else PRICES["ETH"]
    _require_close("gas", units * price * 1e-9 * factor, fee)
    tail = "" if token == "ETH" else f" x {number(factor)}"
    return (
        f"Gas of the first on-chain order, `{order.operation}`: units x gwei x 1e-9{' x ETH price' if tail else ''} = "
        f"{number(units)} x {number(price)} x 1e-9{tail} = {number(fee)} {token}; it is inside the delta of the wallet's {token}."
    )
