"""The strategy over a window: tick by tick until the first that orders. Pure but for the logger it fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.models.events import Phase, order_key, tick_keys
from basis.runtime.column_lines import Each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.messages import RunRef
    from basis.models.order import Order
    from basis.runtime.domain_events import DomainEventLogger
    from basis.strategy.core.strategy_manager import Decision, StrategyManager, StrategyState
    from basis.strategy.core.view import TickView


class Decided(NamedTuple):
    """What the strategy made of a window."""

    ticks: int
    """Ticks that count: to the first with orders, or all."""
    orders: tuple[Order, ...]
    """Orders of the last tick that counts; empty where none orders."""
    state: StrategyState
    """What the strategy remembers after them."""


def decide_window(
    manager: StrategyManager,
    conditions: Sequence[str],
    view: TickView,
    ticks: int,
    state: StrategyState,
    run: RunRef,
    stamps: Sequence[str],
    logger: DomainEventLogger,
) -> Decided:
    """Decide tick by tick, but for stretches at which the strategy rests, and log each decision; stops at the first orders.

    Args:
        manager: decides.
        conditions: market columns to show with each decision.
        view: cursor over the window.
        ticks: length of the window.
        state: what the strategy remembers.
        run: run.
        stamps: ISO 8601 time of each tick.
        logger: filled with one StrategyDecision a tick, and the OrderEvents.
    """
    made: list[Decision] = []
    before: list[StrategyState] = []
    asleep, of_state = manager.resting(view, state, ticks), state
    while len(made) < ticks:
        if state is not of_state:
            asleep, of_state = manager.resting(view, state, ticks), state
        resting, until = asleep.from_place(len(made))
        if resting is not None:
            before += [state] * (until - len(made))
            made += [resting] * (until - len(made))
            continue
        decision = manager.decide(view.at(len(made)), state, run)
        made.append(decision)
        before.append(state)
        state = decision.state
        if decision.orders:
            break
    _log_decisions(
        made, before, conditions, view, tick_keys(view.at(0).tick, len(made), Phase.DECISION), stamps, logger
    )
    orders = made[-1].orders
    if orders:
        last = len(made) - 1
        _log_orders(orders, view.at(last).tick, stamps[last], logger)
    return Decided(len(made), orders, state)


def _log_decisions(
    made: Sequence[Decision],
    before: Sequence[StrategyState],
    conditions: Sequence[str],
    view: TickView,
    orders: Sequence[int],
    stamps: Sequence[str],
    logger: DomainEventLogger,
) -> None:
    """One StrategyDecision a tick, in columns."""
    ticks = len(made)
    logger.write_columns(
        "strategy_decisions",
        orders,
        stamps,
        {
            "decision_type": Each([decision.decision_type for decision in made]),
            "trigger_source": Each([decision.trigger_source for decision in made]),
            "orders_generated": Each([len(decision.orders) for decision in made]),
            "action_taken": Each([decision.action for decision in made]),
            "reasoning": Each([decision.reasoning for decision in made]),
            "market_conditions": {column: view.market_column(column)[:ticks] for column in conditions},
            "portfolio_state": {
                "equity": view.figure_column("equity")[:ticks],
                "reference_equity": Each([state.reference_equity for state in before]),
            },
            "risk_level": Each(view.risk_levels(ticks)),
            "constraints_violated": Each([decision.violated for decision in made]),
        },
    )


def _log_orders(orders: Sequence[Order], tick: int, stamp: str, logger: DomainEventLogger) -> None:
    for number, order in enumerate(orders):
        logger.log_order(
            order_key(tick, Phase.ORDER, number),
            stamp,
            order_id=order.operation_id,
            operation_id=order.operation_id,
            operation_type=order.operation,
            venue=order.venue,
            source_venue=order.source_venue,
            target_venue=order.target_venue,
            source_token=order.source_token,
            target_token=order.target_token,
            amount=order.amount,
            expected_deltas=order.expected_deltas,
            strategy_intent=order.strategy_intent,
            strategy_id=order.strategy_id,
            atomic_group_id=order.atomic_group_id,
            sequence_in_group=order.sequence_in_group,
        )
