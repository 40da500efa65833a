"""A real fill in the words of the system: its distance from the market row is slippage, settled at once. Pure.

The monitors mark perps to the row of each tick (behaviour.md section 2: "PnL settles on mark"), so what a perp's fill differs
from that mark by has moved its margin balance already; for a spot trade the difference is inside its deltas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.instruments import margin_key
from basis.models.operations import ExecutionStatus, OperationType, OrderSide, SettlementKind
from basis.runtime.fills import perp_pnl
from basis.venues.core.limits import price_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.messages import Settlement
    from basis.models.order import Order

_CLOSINGS = frozenset({SettlementKind.TAKE_PROFIT, SettlementKind.STOP_LOSS, SettlementKind.LIQUIDATION})


def on_the_row(order: Order, handshake: ExecutionHandshake, market: Mapping[str, float]) -> ExecutionHandshake:
    """The handshake of a trade, with its slippage against the row named, and for a perp settled into the margin.

    Args:
        order: what was ordered.
        handshake: as the venue interface read it; ``execution_details["fill_price"]`` is the average fill.
        market: row of the order's tick.

    Raises:
        ComponentError: ENGINE-002, a spot trade whose filled amount the venue interface did not say: never the ordered one.
    """
    column = price_column(order)
    fill = handshake.execution_details.get("fill_price")
    if column is None or handshake.status is not ExecutionStatus.CONFIRMED or not isinstance(fill, int | float):
        return handshake
    row = market[column]
    sign = 1.0 if order.side is OrderSide.BUY else -1.0
    deltas = dict(handshake.actual_deltas)
    if order.operation is OperationType.PERP_TRADE:
        settles = margin_key(order.venue, str(order.pair))
        quantity = deltas.get(f"{order.venue}:Perp:{order.pair}", 0.0)
        gained = perp_pnl(str(order.pair), quantity, float(fill), row)
        deltas[settles] = deltas.get(settles, 0.0) + gained
    else:
        settles = f"{order.venue}:BaseToken:USDT"
        filled = handshake.execution_details.get("filled_amount")
        if not isinstance(filled, int | float):
            message = f"{order.operation_id}: {order.venue} confirmed a spot trade without filled_amount"
            raise ComponentError("ENGINE-002", message, "venue_interface_manager")
        gained = sign * float(filled) * (row - float(fill))
    costs = dict(handshake.costs)
    if gained < 0.0:
        costs["slippage"] = {settles: -gained}
    details = handshake.execution_details | {"market_price": row, "slippage_fraction": sign * (float(fill) / row - 1.0)}
    values = handshake.model_dump() | {"actual_deltas": deltas, "costs": costs, "execution_details": details}
    return ExecutionHandshake.model_validate(values)


def closed_on_the_row(settlement: Settlement, market: Mapping[str, float]) -> Settlement:
    """A position that its venue closed on its own: the monitors mark it to the row first, so the way from there to the fill
    is settled into its margin. Other settlements as they are.

    Args:
        settlement: as the venue interface read it; ``details["fill_price"]`` is the average fill, ``symbol`` the perp.
        market: row of the tick that it is booked at.
    """
    pair, fill = settlement.details.get("symbol"), settlement.details.get("fill_price")
    traded, column = f"{settlement.venue}:Perp:{pair}", f"perp:{settlement.venue}:{pair}"
    if settlement.kind not in _CLOSINGS or traded not in settlement.deltas or not isinstance(fill, int | float):
        return settlement
    settles = margin_key(settlement.venue, str(pair))
    gained = perp_pnl(str(pair), settlement.deltas[traded], float(fill), market[column])
    deltas = dict(settlement.deltas) | {settles: settlement.deltas.get(settles, 0.0) + gained}
    details = settlement.details | {"price": float(fill), "market_price": market[column]}
    return settlement.model_copy(update={"deltas": deltas, "details": details})
