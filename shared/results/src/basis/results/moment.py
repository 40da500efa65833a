"""The state of a run at a tick, found by binary search: no file is read whole."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from basis.models.errors import InputError
from basis.models.events.base import TICK_SPAN
from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.results.lines import EventFile, order_of
from basis.results.models import Moment, PositionAt

if TYPE_CHECKING:
    from basis.models.messages import RunMetadata
    from basis.results.directories import RunDir

_COMPONENT = "moment"


def at(run: RunDir, metadata: RunMetadata, tick: int) -> Moment:
    """Positions, exposure, risk, PnL and decision of a tick, after its orders.

    Raises:
        InputError: CONFIG-003, the run has no such tick; says which it has.
        ComponentError: LOG-004, the log is damaged.
    """
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(EventFile(run.event_file(name)))
            for name in (
                "positions",
                "exposures",
                "risk_assessments",
                "pnl_calculations",
                "strategy_decisions",
                "orders",
            )
        }
        found = {name: _last_of_tick(file, tick) for name, file in files.items() if name != "orders"}
        snapshot = found["positions"]
        if snapshot is None:
            last = files["positions"].last()
            has = "none yet" if last is None else f"0 to {order_of(last, files['positions'].path) // TICK_SPAN}"
            raise InputError("CONFIG-003", f"tick {tick} is not in the log of this run; it has {has}", _COMPONENT)
        before, after = _order_ticks(files["orders"], tick)
    exposure = found["exposures"]
    return Moment(
        tick=tick,
        timestamp=str(snapshot["timestamp"]),
        positions=tuple(
            PositionAt(
                instrument_key=key,
                quantity=quantity,
                value_share_class=_value(key, quantity, exposure, metadata.share_class),
            )
            for key, quantity in snapshot["positions"].items()
        ),
        exposure=exposure,
        risk=found["risk_assessments"],
        pnl=found["pnl_calculations"],
        decision=found["strategy_decisions"],
        last_order_tick=before,
        next_order_tick=after,
    )


def _last_of_tick(file: EventFile, tick: int) -> dict[str, Any] | None:
    """Last event of a tick: the one after its orders where it had some."""
    line = file.before(file.offset_of((tick + 1) * TICK_SPAN))
    if line is None or order_of(line, file.path) // TICK_SPAN != tick:
        return None
    return file.parse(line)


def _order_ticks(orders: EventFile, tick: int) -> tuple[int | None, int | None]:
    """Last tick before, and first tick after, at which something was ordered."""
    before = orders.before(orders.offset_of(tick * TICK_SPAN))
    after = next(orders.lines(orders.offset_of((tick + 1) * TICK_SPAN)), None)
    first, second = (None if line is None else order_of(line, orders.path) // TICK_SPAN for line in (before, after))
    return first, second


def _value(key: str, quantity: float, exposure: dict[str, Any] | None, share_class: str) -> float | None:
    """Value of a plain token at the price that the tick's exposures show; None where there is no such price."""
    known = INSTRUMENTS.get(key)
    if quantity == 0.0:
        return 0.0
    if known is None or known.type is not InstrumentType.BASE_TOKEN or exposure is None:
        return None
    if known.asset == share_class:
        return quantity
    shown = exposure["asset_exposures"].get(known.asset)
    if not shown or not shown["quantity"] or not exposure["total_value_usd"]:
        return None
    price_usd = shown["usd_value"] / shown["quantity"]
    return float(quantity * price_usd * exposure["share_class_value"] / exposure["total_value_usd"])
