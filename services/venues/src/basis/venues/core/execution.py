"""Orders against simulated venues: one order, or an atomic group that is all or nothing. Pure.

Value is conserved: after every transaction the value of the ledger has fallen by gas, stated fees, slippage and what was
paid out to the client, and by nothing else; asserted here, not only in tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.models.errors import ComponentError
from basis.models.execution import CostKind, ExecutionHandshake
from basis.models.instruments import INSTRUMENTS, InstrumentType, split_key, wallet_token
from basis.models.operations import ExecutionMode, ExecutionStatus
from basis.runtime.gas import MAX_GROUP_UNITS, gas_fee, order_pays_gas
from basis.venues.core.interface import Ledger, Step, VenueRefusal, set_entries

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from basis.models.order import Order
    from basis.venues.core.interface import At, SimulatedVenue

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
    costs: dict[CostKind, dict[str, float]]
    """Of the step, and gas."""
    fee_amount: float
    fee_token: str | None
    gas_units: int


def execute(
    orders: Sequence[Order],
    ledger: Mapping[str, float],
    at: At,
    venues: Mapping[str, SimulatedVenue],
    now: datetime,
) -> Executed:
    """Execute one order, or the steps of one atomic group as one transaction.

    Args:
        orders: one sequential order, or every step of one atomic group in sequence.
        ledger: balances before; not changed.
        at: tick, market, configuration.
        venues: venue -> its simulation.
        now: engine time of the tick.

    Returns:
        Handshakes and balances. A refusal is a failed handshake (rolled_back for each step of a group), never an error.

    Raises:
        ComponentError: ENGINE-002, a venue made or lost value.
    """
    working: Ledger = dict(ledger)
    applied: list[_Applied] = []
    try:
        for order in orders:
            entry = _apply(order, working, at, venues)
            _move(working, entry.deltas)
            set_entries(working, entry.step.entries)
            applied.append(entry)
        if sum(entry.gas_units for entry in applied) > MAX_GROUP_UNITS:
            raise VenueRefusal("VEN-009", f"the group needs more than {MAX_GROUP_UNITS} gas units", _COMPONENT)
        _check_balances(working, {key for entry in applied for key in entry.deltas})
        for venue in venues.values():
            venue.check(working, at)
    except VenueRefusal as refusal:
        return Executed(_refused(orders, len(applied), refusal, now), dict(ledger))
    return Executed(tuple(_confirmed(entry, now) for entry in applied), working)


def _apply(order: Order, ledger: Mapping[str, float], at: At, venues: Mapping[str, SimulatedVenue]) -> _Applied:
    venue = venues.get(order.venue)
    if venue is None or order.operation not in venue.operations:
        offered = sorted(name for name, other in venues.items() if order.operation in other.operations)
        message = f"{order.venue} does not offer {order.operation}; offered by: {', '.join(offered) or 'no venue of the mode'}"
        raise VenueRefusal("VEN-001", message, _COMPONENT)
    step = venue.execute(order, ledger, at)
    _assert_conserved(order, step, at)
    every: dict[CostKind, dict[str, float]] = {"fees": step.fees, "slippage": step.slippage, "external": step.external}
    costs = {kind: paid for kind, amounts in every.items() if (paid := _above_zero(amounts))}
    if not order_pays_gas(order):
        amount, token = _single_fee(costs.get("fees", {}))
        return _Applied(order, step, step.deltas, costs, amount, token, 0)
    fee = gas_fee(at.config, at.market, order.operation)
    deltas = dict(step.deltas)
    key = f"wallet:BaseToken:{wallet_token(fee.token)}"
    if fee.amount > 0.0:
        deltas[key] = deltas.get(key, 0.0) - fee.amount
        costs["gas"] = {key: fee.amount}
    details = step.details | {"gas_units": fee.units, "gas_price_gwei": fee.price_gwei, "gas_fee": fee.amount}
    return _Applied(order, step._replace(details=details), deltas, costs, fee.amount, fee.token, fee.units)


def _above_zero(amounts: Mapping[str, float]) -> dict[str, float]:
    return {key: amount for key, amount in amounts.items() if amount > 0.0}


def _single_fee(fees: Mapping[str, float]) -> tuple[float, str | None]:
    """Amount and token of the fee of a trade or withdrawal: it is charged in one token."""
    if not fees:
        return 0.0, None
    ((key, amount),) = fees.items()
    return amount, split_key(key).symbol


def _assert_conserved(order: Order, step: Step, at: At) -> None:
    """An operation creates no value and loses none beyond its stated costs. A perp has no value: it settles into margin."""

    def usd(amounts: Mapping[str, float]) -> list[float]:
        return [amount * _unit_usd(key, step, at) for key, amount in amounts.items()]

    values = usd(step.deltas)
    costs = sum(usd(step.fees)) + sum(usd(step.slippage)) + sum(usd(step.external))
    gross = sum(abs(value) for value in values)
    gap = sum(values) + costs
    if not abs(gap) <= _CONSERVATION_TOLERANCE * gross:  # also catches NaN
        message = f"{order.operation} {order.operation_id} moved {gap!r} USD of value beyond its costs"
        raise ComponentError("ENGINE-002", message, _COMPONENT)


def _unit_usd(key: str, step: Step, at: At) -> float:
    price = step.prices.get(key)
    return at.valuer.unit_usd(key, at.market) if price is None else price


def _move(ledger: Ledger, deltas: Mapping[str, float]) -> None:
    for key, delta in deltas.items():
        ledger[key] = ledger.get(key, 0.0) + delta


def _check_balances(ledger: Mapping[str, float], touched: Collection[str]) -> None:
    """No token, aToken or debt that the transaction moved is negative after it; perps are signed."""
    for key, quantity in ledger.items():
        if key in touched and quantity < 0.0 and INSTRUMENTS[key].type is not InstrumentType.PERP:
            raise VenueRefusal("VEN-008", f"{key} would be {quantity!r}: insufficient balance", _COMPONENT)


def _confirmed(entry: _Applied, now: datetime) -> ExecutionHandshake:
    return ExecutionHandshake(
        operation_id=entry.order.operation_id,
        status=ExecutionStatus.CONFIRMED,
        actual_deltas=entry.deltas,
        execution_details=entry.step.details,
        fee_amount=entry.fee_amount,
        fee_currency=entry.fee_token,
        costs=entry.costs,
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
