"""The strategy over a window: tick by tick until the first that orders. Pure but for the logger that is filled with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.events import Phase, order_key, tick_keys
from basis.runtime.column_lines import Chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    log: Callable[[DomainEventLogger], None] = lambda _logger: None
    """Fills a logger with one StrategyDecision a tick, and the OrderEvents. Apart, for an order may be asked for meanwhile."""


def decide_window(
    manager: StrategyManager,
    conditions: Sequence[str],
    view: TickView,
    ticks: int,
    state: StrategyState,
    run: RunRef,
    stamps: Sequence[str],
) -> Decided:
    """Decide tick by tick, but for stretches at which the strategy rests; stops at the first orders.

    Args:
        manager: decides.
        conditions: market columns to show with each decision.
        view: cursor over the window.
        ticks: length of the window.
        state: what the strategy remembers.
        run: run.
        stamps: ISO 8601 time of each tick.
    """
    made = _Made()
    asleep, of_state = manager.resting(view, state, ticks), state
    while made.ticks < ticks:
        if state is not of_state:
            asleep, of_state = manager.resting(view, state, ticks), state
        resting, until = asleep.from_place(made.ticks)
        if resting is not None:
            made.add(resting, state, until - made.ticks)
            continue
        decision = manager.decide(view.at(made.ticks), state, run)
        made.add(decision, state)
        state = decision.state
        if decision.orders:
            break
    orders = made.decisions[-1].orders

    def log(logger: DomainEventLogger) -> None:
        _log_decisions(made, conditions, view, tick_keys(view.at(0).tick, made.ticks, Phase.DECISION), stamps, logger)
        if orders:
            last = made.ticks - 1
            _log_orders(orders, view.at(last).tick, stamps[last], logger)

    return Decided(made.ticks, orders, state, log)


class _Made:
    """Decisions of a window so far; one that is made at many ticks in a row is kept once."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.before: list[StrategyState] = []
        """What the strategy remembered when it made each of them."""
        self._places: list[int] = []

    @property
    def ticks(self) -> int:
        """Ticks that are decided."""
        return len(self._places)

    def add(self, decision: Decision, before: StrategyState, ticks: int = 1) -> None:
        """Decide so at the next ticks."""
        if not self.decisions or decision is not self.decisions[-1] or before is not self.before[-1]:
            self.decisions.append(decision)
            self.before.append(before)
        self._places += [len(self.decisions) - 1] * ticks

    def shown(self, show: Callable[[Decision], Any]) -> Chosen:
        """A field of each tick's decision."""
        return Chosen([show(decision) for decision in self.decisions], self._places)

    def remembered(self, show: Callable[[StrategyState], Any]) -> Chosen:
        """A field of what the strategy remembered at each tick."""
        return Chosen([show(state) for state in self.before], self._places)


def _log_decisions(
    made: _Made,
    conditions: Sequence[str],
    view: TickView,
    orders: Sequence[int],
    stamps: Sequence[str],
    logger: DomainEventLogger,
) -> None:
    """One StrategyDecision a tick, in columns."""
    ticks = made.ticks
    logger.write_columns(
        "strategy_decisions",
        orders,
        stamps,
        {
            "decision_type": made.shown(lambda decision: decision.decision_type),
            "trigger_source": made.shown(lambda decision: decision.trigger_source),
            "orders_generated": made.shown(lambda decision: len(decision.orders)),
            "action_taken": made.shown(lambda decision: decision.action),
            "reasoning": made.shown(lambda decision: decision.reasoning),
            "market_conditions": {column: view.market_column(column)[:ticks] for column in conditions},
            "portfolio_state": {
                "equity": view.figure_column("equity")[:ticks],
                "reference_equity": made.remembered(lambda state: state.reference_equity),
            },
            "risk_level": view.risk_levels(),
            "constraints_violated": made.shown(lambda decision: decision.violated),
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
