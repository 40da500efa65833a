"""Shell of the monitors service: decode, assess, publish."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from basis.models.config import RunConfig
from basis.models.events import Slot, execution_key
from basis.models.messages import (
    AfterOrders,
    AssessReply,
    AssessRequest,
    CommitReply,
    CommitRequest,
    ExecutedTransaction,
    LogLine,
    PortfolioState,
    ReconcileReply,
    ReconcileRequest,
    Settlement,
)
from basis.monitors.core import position_update_handler as handler
from basis.monitors.core import settlement_events
from basis.monitors.core.assessment import Assessment, VenueBalances, assess
from basis.monitors.core.plan import MonitorPlan, compile_plan
from basis.runtime import codec, domain_events, health, subjects
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.structured_logger import StructuredLogger
from basis.runtime.timeline import iso, tick_stamps, tick_time

if TYPE_CHECKING:
    from basis.models.errors import ComponentError
    from basis.models.messages import RunRef, Window
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.settings import Settings

SERVICE = "monitors"
_COMPONENTS = ("position_monitor", "exposure_monitor", "risk_monitor", "pnl_monitor", "position_update_handler")
_PLANS_KEPT = 8
_LONG = 64
"""Ticks from which on a commit takes milliseconds, so that it is done in parts."""
_TURNS = 6
"""Turns of the loop between those parts: as many as a message takes from the socket to its handler. What orders left behind
would else wait for the commit of the ticks before them."""
_ASSESSMENTS_KEPT = 2
"""The engine commits a window while it has the next one assessed."""


class MonitorService:
    """Answers assess, commit and reconcile. Keeps caches, never state: any replica can answer any request."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._plans: OrderedDict[str, MonitorPlan] = OrderedDict()
        self._recent: deque[tuple[AssessRequest, Assessment]] = deque(maxlen=_ASSESSMENTS_KEPT)
        self._logs = {component: StructuredLogger(bus, component, clock) for component in _COMPONENTS}

    async def assess(self, request: AssessRequest) -> AssessReply:
        """What the window means, in columns."""
        done = self._assess(request)
        return AssessReply(
            columns=codec.pack_all(done.columns()),
            positions=self._changing(done),
            sums={name: codec.pack_all(columns) for name, columns in done.sums().items()},
            risk_levels=done.risk.code.tobytes(),
        )

    async def commit(self, request: CommitRequest) -> CommitReply:
        """Publish the events of the committed ticks; returns once JetStream has them."""
        run, first = request.run, request.window.first_tick
        done = self._assess(request)
        logger = DomainEventLogger(run.correlation_id, run.pid, self._clock.now())
        stamps = tick_stamps(run, first, request.ticks)
        settlement_events.emit(done.window, request.ticks, stamps, run, logger)
        for part in done.parts(request.ticks, stamps, "tick", logger):
            if request.ticks >= _LONG:
                await _give_way()
            part()
        counts = await domain_events.publish(self._bus, logger)
        if first == 0:
            await self._log_start(run)
        return CommitReply(counts=counts)

    async def reconcile(self, request: ReconcileRequest) -> ReconcileReply:
        """Apply handshakes once, compare, and hand the events to execution, which publishes those of a tick together."""
        run, plan = request.run, self._plan(request.run)
        logger = DomainEventLogger(run.correlation_id, run.pid, self._clock.now())
        portfolio, compared, words = request.portfolio, 0, tuple[str, ...]()
        logs: list[LogLine] = []
        for transaction in request.transactions:
            attempt = request.retry_attempt if compared == 0 else 0
            done = handler.update(
                plan,
                portfolio,
                transaction.orders,
                transaction.handshakes,
                transaction.balances,
                run.initial_capital,
            )
            portfolio, compared = done.portfolio, compared + 1
            words = tuple(difference.words() for difference in done.differences)
            self._emit_update(request, transaction, attempt, done, plan, logger)
            logs.append(self._update_line(request, transaction, attempt, done, words))
            if words:
                break
        return ReconcileReply(
            portfolio=portfolio,
            compared=compared,
            success=not words,
            mismatches=words,
            events=logger.take(),
            logs=tuple(logs),
            after=self._after_orders(run, portfolio, request.window) if request.window is not None else None,
        )

    def _after_orders(self, run: RunRef, portfolio: PortfolioState, tick: Window) -> AfterOrders:
        """The tick once more. The tight loop has compared already; a mismatch that it gave up on is its to report."""
        done = assess(
            self._plan(run),
            portfolio,
            codec.unpack_all(tick.market),
            tick.first_tick,
            1,
            initial_capital=run.initial_capital,
        )
        logger = DomainEventLogger(run.correlation_id, run.pid, self._clock.now())
        done.emit(1, tick_stamps(run, tick.first_tick, 1), "after_execution", logger)
        return AfterOrders(portfolio=done.state_at(0), equity=float(done.window.equity[0]), events=logger.take())

    def _update_line(
        self,
        request: ReconcileRequest,
        transaction: ExecutedTransaction,
        attempt: int,
        done: handler.Update,
        words: tuple[str, ...],
    ) -> LogLine:
        return self._logs["position_update_handler"].line(
            "INFO",
            request.run.correlation_id,
            tick_time(request.run, request.tick),
            f"applied {len(done.newly_applied)} of {len(transaction.orders)} operations, {len(words)} mismatches",
            operation_ids=[order.operation_id for order in transaction.orders],
            mismatches=words,
            retry_attempt=attempt,
        )

    async def log_failure(self, run: RunRef, tick: int, error: ComponentError, stack_trace: str) -> None:
        """Put a failed request into the log of the component that failed."""
        component = error.component if error.component in self._logs else "position_update_handler"
        await self._logs[component].error(run.correlation_id, tick_time(run, tick), error, stack_trace)

    def _assess(self, request: AssessRequest | CommitRequest) -> Assessment:
        """Assess a window; a commit mostly asks for what was assessed a moment ago, which is kept."""
        if isinstance(request, CommitRequest):
            for asked, done in self._recent:
                if _is_same(asked, request):
                    return done
            return self._assess_anew(request)
        done = self._assess_anew(request)
        self._recent.append((request, done))
        return done

    def _assess_anew(self, request: AssessRequest | CommitRequest) -> Assessment:
        window = request.window
        return assess(
            self._plan(request.run),
            request.portfolio,
            codec.unpack_all(window.market),
            window.first_tick,
            window.ticks,
            codec.unpack_settlement_columns(window.settlements),
            VenueBalances(request.ledger, codec.unpack_all(window.balances)),
            request.run.initial_capital,
        )

    @staticmethod
    def _changing(done: Assessment) -> dict[str, bytes]:
        """Quantities that change within the window."""
        before = done.window.before.positions
        quantities = done.window.quantities
        return codec.pack_all(
            {key: column for key, column in quantities.items() if bool((column != before.get(key, 0.0)).any())}
        )

    def _plan(self, run: RunRef) -> MonitorPlan:
        key = f"{run.config_sha256}{run.run_mode}"
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = compile_plan(RunConfig.model_validate_json(run.config), run.run_mode)
            if len(self._plans) > _PLANS_KEPT:
                self._plans.popitem(last=False)
        return plan

    @staticmethod
    def _emit_update(
        request: ReconcileRequest,
        transaction: ExecutedTransaction,
        attempt: int,
        done: handler.Update,
        plan: MonitorPlan,
        logger: DomainEventLogger,
    ) -> None:
        tick, stamp = request.tick, iso(tick_time(request.run, request.tick))
        keys = plan.keys
        ours = {key: done.portfolio.positions.get(key, 0.0) for key in keys}
        for place, legs in zip(done.newly_applied, done.postings, strict=True):
            order, handshake = transaction.orders[place], transaction.handshakes[place]
            logger.log_execution_delta(
                execution_key(tick, transaction.position + place, Slot.DELTA),
                stamp,
                source_operation_id=order.operation_id,
                operation_type=order.operation,
                deltas=[
                    {
                        "instrument_key": key,
                        "delta_amount": delta,
                        "source": "execution",
                        "price": handler.share_price(plan, done.portfolio.market, key),
                        "fee": handler.fee_in(handshake, key),
                    }
                    for key, delta in handshake.actual_deltas.items()
                ],
                postings=[leg._asdict() for leg in legs],
            )
        if done.newly_applied:
            logger.log_position_snapshot(
                execution_key(tick, transaction.position, Slot.POSITION),
                stamp,
                positions=ours,
                total_value_usd=handler.total_value_usd(plan, done.portfolio),
                position_type="portfolio",
                trigger_source="execution",
            )
        group = transaction.orders[0].atomic_group_id
        logger.log_reconciliation(
            execution_key(tick, transaction.position, Slot.RECONCILIATION, attempt),
            stamp,
            trigger_source=group or transaction.orders[0].operation_id,
            reconciliation_type="atomic_group" if group else "order",
            success=not done.differences,
            simulated_positions=ours,
            real_positions={key: transaction.balances.get(key, 0.0) for key in keys},
            mismatches=[difference.fields() for difference in done.differences],
            retry_attempt=attempt,
            max_retries=plan.max_retries,
            execution_deltas_applied=done.applied_deltas,
        )

    async def _log_start(self, run: RunRef) -> None:
        lines = (
            self._logs[component].info(
                run.correlation_id,
                run.start,
                "watching the run",
                initial_capital=run.initial_capital,
                config_sha256=run.config_sha256,
            )
            for component in _COMPONENTS
        )
        await asyncio.gather(*lines)


async def _give_way() -> None:
    """Let what is ready, or on its way to its handler, go first."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _is_same(asked: AssessRequest, request: CommitRequest) -> bool:
    """True where a commit is about exactly what was assessed: a cache, never state."""
    return (
        asked.run.correlation_id == request.run.correlation_id
        and asked.window == request.window
        and asked.portfolio == request.portfolio
        and asked.ledger == request.ledger
    )


def warm() -> None:
    """Build the models of this service, before its processes are forked or at the latest before its first request."""
    codec.warm(
        *(AssessRequest, AssessReply, CommitRequest, CommitReply, ReconcileRequest, ReconcileReply, AfterOrders),
        *(PortfolioState, Settlement, LogLine, RunConfig),
    )
    domain_events.warm(
        "positions", "exposures", "risk_assessments", "pnl_calculations", "execution_deltas", "reconciliations"
    )


def register(bus: Bus, settings: Settings, clock: Clock) -> None:
    """Serve all monitor requests on a bus."""
    warm()
    del settings
    service = MonitorService(bus, clock)

    async def window_failed(request: AssessRequest | CommitRequest, error: ComponentError, trace: str) -> None:
        await service.log_failure(request.run, request.window.first_tick, error, trace)

    async def reconcile_failed(request: ReconcileRequest, error: ComponentError, trace: str) -> None:
        await service.log_failure(request.run, request.tick, error, trace)

    bus.serve(subjects.monitors_assess("*"), SERVICE, AssessRequest, service.assess, on_error=window_failed)
    bus.serve(subjects.monitors_commit("*"), SERVICE, CommitRequest, service.commit, on_error=window_failed)
    bus.serve(subjects.monitors_reconcile("*"), SERVICE, ReconcileRequest, service.reconcile, on_error=reconcile_failed)
    health.serve(bus, SERVICE)
