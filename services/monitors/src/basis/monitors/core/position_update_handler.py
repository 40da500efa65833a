"""PositionUpdateHandler: applies handshakes to the portfolio, once, and compares with expectation and venue. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.errors import ComponentError
from basis.models.instruments import INSTRUMENTS, is_inverse
from basis.models.operations import TRADES, ExecutionStatus, OperationType
from basis.monitors.core import postings
from basis.runtime.valuation import valuation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import PortfolioState
    from basis.models.order import Order
    from basis.monitors.core.plan import MonitorPlan
    from basis.monitors.core.postings import Leg

_COMPONENT = "position_update_handler"
RELATIVE_TOLERANCE = 1e-9
"""Largest accepted difference in a backtest, as a fraction of what moved or is held (behaviour.md section 4)."""
_ABSOLUTE_FLOOR = 1e-12
"""Below any token's smallest unit that matters; keeps the rounding of an emptied balance from being a mismatch."""
_MARKET_PRICED = TRADES | {OperationType.SWAP}
"""Operations at a market's own price, which may differ from the price that the mode values the asset at."""


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
    postings: tuple[tuple[Leg, ...], ...] = ()
    """Double entry of each handshake that was applied now."""


def update(
    plan: MonitorPlan,
    before: PortfolioState,
    orders: Sequence[Order],
    handshakes: Sequence[ExecutionHandshake],
    balances: Mapping[str, float],
    initial_capital: float = 0.0,
) -> Update:
    """Apply the handshakes of one order or atomic group to the portfolio, and compare.

    Args:
        plan: compiled configuration.
        before: state at the tick (its ``market`` is the tick's row).
        orders: in sequence.
        handshakes: one for each order.
        balances: instrument key -> balance as the venue has it now.
        initial_capital: capital at tick 0, share class: with the capital it bounds the rounding that a balance may keep.

    Raises:
        ComponentError: POS-002 where a delta or a cost touches a key that the mode does not hold; PNL-003 where the
            postings of an order do not balance; ENGINE-002 where handshakes and orders do not belong together.
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
    floors = max(abs(before.capital), initial_capital) * _ABSOLUTE_FLOOR
    differences = (
        *_delta_differences(plan, before, orders, handshakes),
        *_balance_differences(plan, after, handshakes, balances, floors),
    )
    entries = tuple(postings.of_handshake(orders[place], handshakes[place]) for place in new)
    return Update(after, new, differences, applied_deltas, entries)


def total_value_usd(plan: MonitorPlan, portfolio: PortfolioState) -> float:
    """Equity at the state's own market row, USD."""
    market = portfolio.market
    equity = sum(
        quantity * plan.valuer.unit_share(line.key, market)
        for line in plan.lines
        if (quantity := portfolio.positions.get(line.key, 0.0)) != 0.0
    )
    return equity * plan.valuer.share_usd(market)


def share_price(plan: MonitorPlan, market: Mapping[str, float], key: str) -> float | None:
    """Price of an instrument's asset in the share class; None for one without a value (a perp)."""
    how = valuation(key)
    return None if how.sign == 0.0 else plan.valuer.share(how.instrument.asset, market)


def fee_in(handshake: ExecutionHandshake, key: str) -> float:
    """Fees and gas inside the delta of one key, in its token."""
    return sum(handshake.costs[kind].get(key, 0.0) for kind in ("fees", "gas") if kind in handshake.costs)


def _apply(plan: MonitorPlan, before: PortfolioState, order: Order, handshake: ExecutionHandshake) -> PortfolioState:
    """Move positions; what that cost at an unchanged market is booked by cause, venue and asset."""
    touched = [*handshake.actual_deltas, *(key for costs in handshake.costs.values() for key in costs)]
    unknown = [key for key in touched if key not in plan.subscriptions]
    if unknown:
        message = f"{order.operation} {order.operation_id} moves {unknown[0]!r}, which the mode does not hold"
        raise ComponentError("POS-002", message, _COMPONENT)
    positions = dict(before.positions)
    for key, delta in handshake.actual_deltas.items():
        positions[key] = positions.get(key, 0.0) + delta
        if not handshake.simulated and abs(positions[key]) <= RELATIVE_TOLERANCE * abs(delta):
            positions[key] = 0.0  # real amounts are decimal: what their sum in floats leaves of nothing is nothing
    moved = before.model_copy(update={"positions": positions, "applied": (*before.applied, handshake.operation_id)})
    return _book(plan, before, moved, order, handshake)


def _book(
    plan: MonitorPlan, before: PortfolioState, moved: PortfolioState, order: Order, handshake: ExecutionHandshake
) -> PortfolioState:
    """Costs by their kind; what is left of the change of value is the venue's own price against the mode's: basis.

    An operation that is not at a market's price leaves nothing: what it leaves all the same stays in the attribution gap,
    and stops the run once it matters.
    """
    market, capital = before.market, before.capital
    attribution, venues, assets = dict(before.attribution), dict(before.pnl_by_venue), dict(before.pnl_by_asset)
    moves = [delta * plan.valuer.unit_share(key, market) for key, delta in handshake.actual_deltas.items()]
    rest = sum(moves)
    for kind, costs in handshake.costs.items():
        for key, amount in costs.items():
            value = amount * abs(plan.valuer.unit_share(key, market))
            rest += value
            if kind == "external":
                capital -= value
                continue
            _add(attribution, kind, -value)
            _add(venues, "wallet" if kind == "gas" else order.venue, -value)
            _add(assets, INSTRUMENTS[key].asset, -value)
    if order.operation in _MARKET_PRICED and abs(rest) > RELATIVE_TOLERANCE * sum(abs(move) for move in moves):
        _add(attribution, "basis", rest)
        _add(venues, order.venue, rest)
        _add(assets, _traded_asset(plan, handshake), rest)
    return moved.model_copy(
        update={"attribution": attribution, "pnl_by_venue": venues, "pnl_by_asset": assets, "capital": capital}
    )


def _traded_asset(plan: MonitorPlan, handshake: ExecutionHandshake) -> str:
    """The asset that a trade is about: the first that is not the share class."""
    found = (INSTRUMENTS[key].asset for key in handshake.actual_deltas)
    return next((asset for asset in found if asset != plan.share_class), plan.share_class)


def _add(sums: dict[str, float], name: str, value: float) -> None:
    if value != 0.0:
        sums[name] = sums.get(name, 0.0) + value


def _delta_differences(
    plan: MonitorPlan, before: PortfolioState, orders: Sequence[Order], handshakes: Sequence[ExecutionHandshake]
) -> list[Difference]:
    """Expected against actual of each confirmed order."""
    found = []
    for order, handshake in zip(orders, handshakes, strict=True):
        if handshake.status is not ExecutionStatus.CONFIRMED:
            continue
        for key in sorted({*order.expected_deltas, *handshake.actual_deltas}):
            expected, actual = order.expected_deltas.get(key, 0.0), handshake.actual_deltas.get(key, 0.0)
            scale = max(abs(expected), abs(actual))
            tolerance = max(RELATIVE_TOLERANCE * scale, _ABSOLUTE_FLOOR)
            if not handshake.simulated:
                tolerance = max(tolerance, _fill_tolerance(plan, before, order, handshake, key, scale))
            if not abs(expected - actual) <= tolerance:
                found.append(Difference(key, expected, actual, "delta", tolerance))
    return found


def _fill_tolerance(
    plan: MonitorPlan, before: PortfolioState, order: Order, handshake: ExecutionHandshake, key: str, scale: float
) -> float:
    """What a real fill may be off: the slippage that the order accepts on what moved, and what it cost besides (ADR 0025).

    A perp moves no margin but costs: its slippage is a fraction of the notional.
    """
    costs = sum(paid.get(key, 0.0) for paid in handshake.costs.values())
    traded = f"{order.venue}:Perp:{order.pair}"
    if order.operation is OperationType.PERP_TRADE and key != traded:
        quantity = abs(handshake.actual_deltas.get(traded, 0.0))
        mark = next((before.market[perp.mark_column] for perp in plan.perps if perp.key == traded), 0.0)
        if mark:
            scale = max(scale, quantity / mark if is_inverse(str(order.pair)) else quantity * mark)
    return plan.usd_floor(key, before.market) + order.slippage_tolerance * scale + costs


def _balance_differences(
    plan: MonitorPlan,
    portfolio: PortfolioState,
    handshakes: Sequence[ExecutionHandshake],
    balances: Mapping[str, float],
    rounding: float,
) -> list[Difference]:
    """The portfolio's positions against the venue's own balances; ``rounding`` is in the share class."""
    gross: dict[str, float] = {}
    for handshake in handshakes:
        for key, delta in handshake.actual_deltas.items():
            gross[key] = gross.get(key, 0.0) + abs(delta)
    found = []
    for key in plan.keys:
        ours, theirs = portfolio.positions.get(key, 0.0), balances.get(key, 0.0)
        if ours == theirs:
            continue
        scale = max(abs(ours), abs(theirs), gross.get(key, 0.0))
        unit = abs(plan.valuer.unit_share(key, portfolio.market))
        tolerance = max(
            plan.slack.fraction * scale,
            _ABSOLUTE_FLOOR,
            rounding / unit if unit > 0.0 else 0.0,
            plan.usd_floor(key, portfolio.market),
            plan.margin_floor(key, portfolio.market, portfolio.positions),
        )
        if not abs(ours - theirs) <= tolerance:
            found.append(Difference(key, ours, theirs, "balance", tolerance))
    return found
