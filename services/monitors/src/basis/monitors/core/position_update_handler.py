"""PositionUpdateHandler: applies handshakes to the portfolio, once, and compares with expectation and venue. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.errors import ComponentError
from basis.models.instruments import wallet_token
from basis.models.operations import TRADES, ExecutionStatus
from basis.runtime.valuation import unit_value_usd, valuation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import PortfolioState
    from basis.models.order import Order
    from basis.monitors.core.plan import MonitorPlan

_COMPONENT = "position_update_handler"
RELATIVE_TOLERANCE = 1e-9
"""Largest accepted difference in a backtest, as a fraction of what moved or is held (behaviour.md section 4)."""
_ABSOLUTE_FLOOR = 1e-12
"""Below any token's smallest unit that matters; keeps the rounding of an emptied balance from being a mismatch."""


class Difference(NamedTuple):
    """One difference beyond tolerance."""

    instrument_key: str
    expected: float
    actual: float
    kind: str
    """``delta`` or ``balance``."""
    tolerance: float

    def fields(self) -> dict[str, Any]:
        """As the event's Mismatch."""
        return self._asdict()

    def words(self) -> str:
        """For people."""
        return f"{self.kind} {self.instrument_key}: expected {self.expected!r}, actual {self.actual!r}"


class Update(NamedTuple):
    """What one order or atomic group did to the portfolio."""

    portfolio: PortfolioState
    """State after."""
    newly_applied: tuple[int, ...]
    """Places of the handshakes that were applied now (a repeat is not)."""
    differences: tuple[Difference, ...]
    """What does not agree."""
    applied_deltas: dict[str, float]
    """Instrument key -> sum of the deltas of all confirmed handshakes."""


def update(
    plan: MonitorPlan,
    before: PortfolioState,
    orders: Sequence[Order],
    handshakes: Sequence[ExecutionHandshake],
    balances: Mapping[str, float],
) -> Update:
    """Apply the handshakes of one order or atomic group to the portfolio, and compare.

    Args:
        plan: compiled configuration.
        before: state at the tick (its ``market`` is the tick's row).
        orders: in sequence.
        handshakes: one for each order.
        balances: instrument key -> balance as the venue has it now.

    Raises:
        ComponentError: POS-002 where a delta touches a key that the mode does not hold; PNL-001 where a fee's token has
            no value here; ENGINE-002 where handshakes and orders do not belong together.
    """
    if [order.operation_id for order in orders] != [handshake.operation_id for handshake in handshakes]:
        raise ComponentError("ENGINE-002", "handshakes do not belong to the orders", _COMPONENT)
    new = tuple(
        place
        for place, handshake in enumerate(handshakes)
        if handshake.status is ExecutionStatus.CONFIRMED and handshake.operation_id not in before.applied
    )
    after = before
    for place in new:
        after = _apply(plan, after, orders[place], handshakes[place])
    applied_deltas: dict[str, float] = {}
    for handshake in handshakes:
        for key, delta in handshake.actual_deltas.items():
            applied_deltas[key] = applied_deltas.get(key, 0.0) + delta
    differences = (*_delta_differences(orders, handshakes), *_balance_differences(plan, after, handshakes, balances))
    return Update(after, new, differences, applied_deltas)


def total_value_usd(plan: MonitorPlan, portfolio: PortfolioState) -> float:
    """Equity at the state's own market row, USD."""
    return sum(
        portfolio.positions.get(line.key, 0.0) * unit_value_usd(line.key, portfolio.market) for line in plan.lines
    )


def share_price(plan: MonitorPlan, market: Mapping[str, float], key: str) -> float | None:
    """Price of an instrument's asset in the share class; None for one without a value (a perp)."""
    how = valuation(key)
    if how.price_column is None:
        return None
    if how.instrument.asset == plan.share_class:
        return 1.0
    price = market[how.price_column] / market[plan.share_price_column]
    return price if how.dex_column is None else price * market[how.dex_column]


def _apply(plan: MonitorPlan, before: PortfolioState, order: Order, handshake: ExecutionHandshake) -> PortfolioState:
    """Move positions; what that cost at an unchanged market is a cost, booked by cause, venue and asset."""
    positions = dict(before.positions)
    for key, delta in handshake.actual_deltas.items():
        if key not in plan.subscriptions:
            message = f"{order.operation} {order.operation_id} moves {key!r}, which the mode does not hold"
            raise ComponentError("POS-002", message, _COMPONENT)
        positions[key] = positions.get(key, 0.0) + delta
    moved = before.model_copy(update={"positions": positions, "applied": (*before.applied, handshake.operation_id)})
    return _book_costs(plan, before, moved, order, handshake)


def _book_costs(
    plan: MonitorPlan, before: PortfolioState, moved: PortfolioState, order: Order, handshake: ExecutionHandshake
) -> PortfolioState:
    unit = before.market[plan.share_price_column]
    moves = [delta * unit_value_usd(key, before.market) / unit for key, delta in handshake.actual_deltas.items()]
    change, fee = sum(moves), _fee_value(plan, before, order, handshake)
    attribution = dict(before.attribution)
    cause = "fees" if order.operation in TRADES else "gas"
    attribution[cause] = attribution.get(cause, 0.0) - fee
    slip = change + fee
    if abs(slip) > RELATIVE_TOLERANCE * sum(
        abs(move) for move in moves
    ):  # below that it is rounding, and stays in the gap
        attribution["slippage"] = attribution.get("slippage", 0.0) + slip
    else:
        change = -fee
    by_venue, by_asset = dict(before.pnl_by_venue), dict(before.pnl_by_asset)
    venue = order.venue if order.operation in TRADES else "wallet"
    by_venue[venue] = by_venue.get(venue, 0.0) + change
    asset = handshake.fee_currency or plan.share_class
    asset = asset if asset in plan.assets else plan.share_class
    by_asset[asset] = by_asset.get(asset, 0.0) + change
    return moved.model_copy(update={"attribution": attribution, "pnl_by_venue": by_venue, "pnl_by_asset": by_asset})


def _fee_value(plan: MonitorPlan, portfolio: PortfolioState, order: Order, handshake: ExecutionHandshake) -> float:
    """Fee in the share class."""
    if handshake.fee_amount == 0.0 or handshake.fee_currency is None:
        return 0.0
    token = wallet_token(handshake.fee_currency)
    if token == plan.share_class:
        return handshake.fee_amount
    venue = order.venue if order.operation in TRADES else "wallet"
    key = f"{venue}:BaseToken:{token}"
    price = share_price(plan, portfolio.market, key) if key in plan.subscriptions else None
    if price is None:
        message = f"fee of {order.operation_id} is in {handshake.fee_currency!r}, which has no value here"
        raise ComponentError("PNL-001", message, _COMPONENT)
    return handshake.fee_amount * price


def _delta_differences(orders: Sequence[Order], handshakes: Sequence[ExecutionHandshake]) -> list[Difference]:
    """Expected against actual of each confirmed order."""
    found = []
    for order, handshake in zip(orders, handshakes, strict=True):
        if handshake.status is not ExecutionStatus.CONFIRMED:
            continue
        for key in sorted({*order.expected_deltas, *handshake.actual_deltas}):
            expected, actual = order.expected_deltas.get(key, 0.0), handshake.actual_deltas.get(key, 0.0)
            tolerance = max(RELATIVE_TOLERANCE * max(abs(expected), abs(actual)), _ABSOLUTE_FLOOR)
            if not abs(expected - actual) <= tolerance:
                found.append(Difference(key, expected, actual, "delta", tolerance))
    return found


def _balance_differences(
    plan: MonitorPlan,
    portfolio: PortfolioState,
    handshakes: Sequence[ExecutionHandshake],
    balances: Mapping[str, float],
) -> list[Difference]:
    """The portfolio's positions against the venue's own balances."""
    gross: dict[str, float] = {}
    for handshake in handshakes:
        for key, delta in handshake.actual_deltas.items():
            gross[key] = gross.get(key, 0.0) + abs(delta)
    found = []
    for line in plan.lines:
        ours, theirs = portfolio.positions.get(line.key, 0.0), balances.get(line.key, 0.0)
        scale = max(abs(ours), abs(theirs), gross.get(line.key, 0.0))
        tolerance = max(RELATIVE_TOLERANCE * scale, _ABSOLUTE_FLOOR)
        if not abs(ours - theirs) <= tolerance:
            found.append(Difference(line.key, ours, theirs, "balance", tolerance))
    return found
