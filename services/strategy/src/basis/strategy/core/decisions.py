"""The strategy over a window: tick by tick until the first that orders. Pure but for the logger it fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.models.events import Phase, order_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.messages import RunRef
    from basis.models.order import Order
    from basis.runtime.domain_events import DomainEventLogger
    from basis.strategy.core.strategy_manager import StrategyManager, StrategyState
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
    """Decide tick by tick and log each decision; stops at the first tick with orders.

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
    for place in range(ticks):
        view.at(place)
        decision = manager.decide(view, state, run)
        logger.log_strategy_decision(
            order_key(view.tick, Phase.DECISION),
            stamps[place],
            decision_type=decision.decision_type,
            trigger_source=decision.trigger_source,
            orders_generated=len(decision.orders),
            action_taken=decision.action,
            reasoning=decision.reasoning,
            market_conditions={column: view.market(column) for column in conditions},
            portfolio_state={"equity": view.equity, "reference_equity": state.reference_equity},
            risk_level=view.risk_level,
            constraints_violated=(),
        )
        state = decision.state
        if decision.orders:
            _log_orders(decision.orders, view.tick, stamps[place], logger)
            return Decided(place + 1, decision.orders, state)
    return Decided(ticks, (), state)


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
