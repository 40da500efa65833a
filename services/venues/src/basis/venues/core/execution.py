"""Orders against simulated venues: one order, or an atomic group that is all or nothing. Pure.

Value is conserved: after every transaction the value of the ledger has fallen by the gas and stated fees, and by nothing
else; asserted here, not only in tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.instruments import INSTRUMENTS, InstrumentType, wallet_token
from basis.models.operations import TRADES, ExecutionMode, ExecutionStatus
from basis.runtime.gas import MAX_GROUP_UNITS, gas_fee
from basis.runtime.valuation import unit_value_usd
from basis.venues.core.interface import Ledger, Step, VenueRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from basis.models.config import RunConfig
    from basis.models.order import Order
    from basis.venues.core.interface import SimulatedVenue

_COMPONENT = "venue_interface_manager"
_CONSERVATION_TOLERANCE = 1e-9
"""Largest accepted gap, as a fraction of the value moved."""


class Executed(NamedTuple):
    """Outcome of one transaction."""

    handshakes: tuple[ExecutionHandshake, ...]
    """One for each order."""
    ledger: Ledger
    """Balances after; as before unless confirmed."""


class _Applied(NamedTuple):
    order: Order
    step: Step
    deltas: dict[str, float]
    """Step plus gas."""
    fee_amount: float
    fee_token: str | None
    gas_units: int


def execute(
    orders: Sequence[Order],
    ledger: Mapping[str, float],
    market: Mapping[str, float],
    config: RunConfig,
    venues: Mapping[str, SimulatedVenue],
    now: datetime,
) -> Executed:
    """Execute one order, or the steps of one atomic group as one transaction.

    Args:
        orders: one sequential order, or every step of one atomic group in sequence.
        ledger: balances before; not changed.
        market: market columns at the tick.
        config: configuration of the run.
        venues: venue -> its simulation.
        now: engine time of the tick.

    Returns:
        Handshakes and balances. A refusal is a failed handshake (rolled_back for each step of a group), never an error.
    """
    working: Ledger = dict(ledger)
    applied: list[_Applied] = []
    try:
        for order in orders:
            entry = _apply(order, working, market, config, venues)
            _move(working, entry.deltas)
            applied.append(entry)
        if sum(entry.gas_units for entry in applied) > MAX_GROUP_UNITS:
            raise VenueRefusal("VEN-009", f"the group needs more than {MAX_GROUP_UNITS} gas units", _COMPONENT)
        _check_balances(working)
        for venue in venues.values():
            venue.check(working, market, config)
    except VenueRefusal as refusal:
        return Executed(_refused(orders, len(applied), refusal, now), dict(ledger))
    return Executed(tuple(_confirmed(entry, now) for entry in applied), working)


def _apply(
    order: Order,
    ledger: Mapping[str, float],
    market: Mapping[str, float],
    config: RunConfig,
    venues: Mapping[str, SimulatedVenue],
) -> _Applied:
    venue = venues.get(order.venue)
    if venue is None or order.operation not in venue.operations:
        offered = sorted(name for name, other in venues.items() if order.operation in other.operations)
        message = f"{order.venue} does not offer {order.operation}; offered by: {', '.join(offered) or 'no venue of the mode'}"
        raise VenueRefusal("VEN-001", message, _COMPONENT)
    step = venue.execute(order, ledger, market, config)
    _assert_conserved(order, step, market)
    deltas = dict(step.deltas)
    if order.operation in TRADES:
        return _Applied(order, step, deltas, 0.0, None, 0)
    fee = gas_fee(config, market, order.operation)
    key = f"wallet:BaseToken:{wallet_token(fee.token)}"
    if fee.amount > 0.0:
        deltas[key] = deltas.get(key, 0.0) - fee.amount
    details = step.details | {"gas_units": fee.units, "gas_price_gwei": fee.price_gwei, "gas_fee": fee.amount}
    return _Applied(order, Step(step.deltas, details, step.fees), deltas, fee.amount, fee.token, fee.units)


def _assert_conserved(order: Order, step: Step, market: Mapping[str, float]) -> None:
    """An operation creates no value and loses none beyond its stated fees."""
    values = [delta * unit_value_usd(key, market) for key, delta in step.deltas.items()]
    fees = sum(fee * unit_value_usd(key, market) for key, fee in step.fees.items())
    gross = sum(abs(value) for value in values)
    gap = sum(values) + fees
    if not abs(gap) <= _CONSERVATION_TOLERANCE * gross:  # also catches NaN
        message = f"{order.operation} {order.operation_id} moved {gap!r} USD of value beyond its fees"
        raise ComponentError("ENGINE-002", message, _COMPONENT)


def _move(ledger: Ledger, deltas: Mapping[str, float]) -> None:
    for key, delta in deltas.items():
        ledger[key] = ledger.get(key, 0.0) + delta


def _check_balances(ledger: Mapping[str, float]) -> None:
    """No token, aToken or debt is ever negative; perps are signed."""
    for key, quantity in ledger.items():
        if quantity < 0.0 and INSTRUMENTS[key].type is not InstrumentType.PERP:
            raise VenueRefusal("VEN-008", f"{key} would be {quantity!r}: insufficient balance", _COMPONENT)


def _confirmed(entry: _Applied, now: datetime) -> ExecutionHandshake:
    return ExecutionHandshake(
        operation_id=entry.order.operation_id,
        status=ExecutionStatus.CONFIRMED,
        actual_deltas=entry.deltas,
        execution_details=entry.step.details,
        fee_amount=entry.fee_amount,
        fee_currency=entry.fee_token,
        submitted_at=now,
        executed_at=now,
        simulated=True,
    )


def _refused(
    orders: Sequence[Order], failed_at: int, refusal: VenueRefusal, now: datetime
) -> tuple[ExecutionHandshake, ...]:
    atomic = orders[0].execution_mode is ExecutionMode.ATOMIC
    where = f"step {min(failed_at, len(orders) - 1)} of {len(orders)}: " if atomic else ""
    return tuple(
        ExecutionHandshake(
            operation_id=order.operation_id,
            status=ExecutionStatus.ROLLED_BACK if atomic else ExecutionStatus.FAILED,
            error_code="EXEC-005" if atomic else refusal.error_code,
            error_message=f"{where}[{refusal.error_code}] {refusal.message}" if atomic else refusal.message,
            submitted_at=now,
            simulated=True,
        )
        for order in orders
    )
