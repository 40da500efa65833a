"""ExecutionManager: the tight loop, order -> venue -> handshake -> reconcile -> next.

A simulated venue executes the orders of a tick in one go, and they are compared in one go: a comparison that fails
throws away what was executed after it. A real venue gets one order at a time, and its record is published before the next.

A failed order stops the rest of its tick. Out of tolerance: re-queries with back-off, then EXEC-003, and the run stops
with EXEC-004. Retries re-query, they never re-apply deltas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson

from basis.execution.core import batches
from basis.execution.core.batches import Transaction
from basis.execution.core.emission import Batch, Pass, emit_executions, emit_tight_loop
from basis.models.config import ExecutionManagerConfig, RunConfig
from basis.models.errors import ComponentError
from basis.models.messages import (
    AfterOrders,
    Balances,
    ExecutedTransaction,
    ExecuteReply,
    ExecuteRequest,
    LogLine,
    OrdersReply,
    OrdersRequest,
    Outcome,
    PortfolioState,
    PositionsReply,
    PositionsRequest,
    ReconcileReply,
    ReconcileRequest,
    RunRef,
)
from basis.runtime import domain_events, subjects
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.kill_points import kill_point
from basis.runtime.structured_logger import publish_lines
from basis.runtime.timeline import iso, tick_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from basis.models.execution import ExecutionHandshake
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.structured_logger import StructuredLogger

_COMPONENT = "execution_manager"


class Counterparts(Protocol):
    """Who the tight loop talks to."""

    async def execute(self, request: ExecuteRequest, timeout_s: float) -> ExecuteReply:
        """Ask the venues to execute."""
        ...

    async def positions(self, request: PositionsRequest, timeout_s: float) -> PositionsReply:
        """Ask the venues what they hold."""
        ...

    async def reconcile(self, request: ReconcileRequest, timeout_s: float) -> ReconcileReply:
        """Ask the monitors to apply and compare."""
        ...


class BusCounterparts:
    """Counterparts over the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def execute(self, request: ExecuteRequest, timeout_s: float) -> ExecuteReply:
        """``basis.<cid>.venues.execute``."""
        subject = subjects.venues_execute(request.run.correlation_id)
        again_s = subjects.request_timeout_s(request.run.run_mode)
        return await self._bus.request(subject, request, ExecuteReply, patience_s=timeout_s, timeout_s=again_s)

    async def positions(self, request: PositionsRequest, timeout_s: float) -> PositionsReply:
        """``basis.<cid>.venues.positions``."""
        subject = subjects.venues_positions(request.run.correlation_id)
        again_s = subjects.request_timeout_s(request.run.run_mode)
        return await self._bus.request(subject, request, PositionsReply, patience_s=timeout_s, timeout_s=again_s)

    async def reconcile(self, request: ReconcileRequest, timeout_s: float) -> ReconcileReply:
        """``basis.<cid>.monitors.reconcile``."""
        subject = subjects.monitors_reconcile(request.run.correlation_id)
        again_s = subjects.request_timeout_s(request.run.run_mode)
        return await self._bus.request(subject, request, ReconcileReply, patience_s=timeout_s, timeout_s=again_s)


class _State(NamedTuple):
    """What one transaction hands to the next."""

    ledger: Balances
    portfolio: PortfolioState


class _Record:
    """What the orders of a tick leave behind: events of all services, and log lines."""

    def __init__(self, events: DomainEventLogger) -> None:
        self.events = events
        self.logs: list[LogLine] = []

    def absorb(self, reply: ReconcileReply) -> None:
        """Take over what the monitors wrote."""
        self.events.absorb(reply.events)
        self.logs += reply.logs


_Tried = tuple[Transaction, Outcome]


class _Compared(NamedTuple):
    """How a comparison ended."""

    attempts: int
    """Comparisons made."""
    failure: str | None
    """Why the run must stop."""
    duration_s: float


class _Batch:
    """The orders of one tick on their way: what is shared by all their transactions.

    Args:
        request: the orders.
        config: patience of the run.
        now: wall clock of the events.
    """

    def __init__(self, request: OrdersRequest, config: ExecutionManagerConfig, now: datetime) -> None:
        run, tick = request.run, request.tick
        self.run, self.tick, self.window, self.config = run, tick, request.window, config
        self.names = Batch(
            tick,
            iso(tick_time(run, tick)),
            f"{run.correlation_id}-{tick:08d}",
            len(request.orders),
            config.max_retry_attempts,
        )
        self.record = _Record(DomainEventLogger(run.correlation_id, run.pid, now))
        self.state = _State(request.ledger, request.portfolio)
        self.handshakes: list[ExecutionHandshake] = []
        self.counts: dict[str, int] = {}
        self.after: AfterOrders | None = None
        self.failure: str | None = None


class ExecutionManager:
    """Runs the orders of one tick; keeps no state between requests.

    Args:
        bus: for events and observers.
        counterparts: venues and monitors.
        clock: for durations and back-off; in a backtest it does not wait.
        log: component log.
    """

    def __init__(self, bus: Bus, counterparts: Counterparts, clock: Clock, log: StructuredLogger) -> None:
        self._bus = bus
        self._counterparts = counterparts
        self._clock = clock
        self._log = log
        self._kept: tuple[str, ExecutionManagerConfig] | None = None

    async def run(self, request: OrdersRequest) -> OrdersReply:
        """Execute and reconcile all orders of a tick, in sequence.

        Raises:
            ComponentError: STRAT-003 where the batch makes no sense; BUS-002 where a service stays silent. A failure of
                an order or of reconciliation is not an exception: it is in the reply.
        """
        batch = _Batch(request, self._config(request.run), self._clock.now())
        waiting = batches.transactions(request.orders)
        try:
            while waiting and batch.failure is None and batches.is_confirmed(batch.handshakes):
                waiting = waiting[await self._trip(waiting, batch) :]
                if waiting and not batches.is_simulated(batch.handshakes):
                    await self._publish(batch)  # what a real venue did is on record before anything else is sent to one
                kill_point("execution: after it is published")
            after = batch.after or await self._assess_again(batch)
        except BaseException:
            # events of a batch that ends in an error are dropped with its state; what was tried stays in the logs
            await publish_lines(self._bus, request.run.correlation_id, batch.record.logs)
            raise
        batch.record.events.absorb(after.events)
        kill_point("execution: before it answers")
        return OrdersReply(
            handshakes=tuple(batch.handshakes),
            ledger=batch.state.ledger,
            portfolio=after.portfolio,
            equity=after.equity,
            events=batch.record.events.take(),
            logs=tuple(batch.record.logs),
            counts=batch.counts,
            fatal=None if batch.failure is None else ("EXEC-004", batch.failure),
        )

    async def _trip(self, waiting: Sequence[Transaction], batch: _Batch) -> int:
        """Execute and reconcile the next transaction, at simulated venues all that follow with it.

        Returns:
            how many transactions are done with.
        """
        kill_point("execution: before the order is asked for")
        outcomes, executed_s = await self._execute(waiting, batch)
        kill_point("execution: after the order is answered")
        tried = list(zip(waiting, outcomes, strict=False))
        compared = await self._reconcile(tried, batch)
        kill_point("execution: after it is reconciled")
        for (transaction, outcome), found in zip(tried, compared, strict=False):
            done = Pass(
                transaction,
                outcome.handshakes,
                reconciled=found.failure is None,
                attempts=found.attempts,
                failure=found.failure,
                execution_ms=round(1000 * executed_s / len(tried), 3),
                reconciliation_ms=round(1000 * found.duration_s, 3),
            )
            batch.handshakes += outcome.handshakes
            batch.failure = found.failure
            emit_executions(done, batch.names, batch.record.events)
            emit_tight_loop(done, batch.names, batch.record.events)
            batch.record.logs += self._log_lines(batch.run, done, batch.names)
        return len(compared)

    async def _execute(self, waiting: Sequence[Transaction], batch: _Batch) -> tuple[Sequence[Outcome], float]:
        """Outcomes of the first, and of those that the venue has executed ahead; and how long that took, seconds."""
        first, *following = waiting
        begin = self._clock.monotonic()
        reply = await self._counterparts.execute(
            ExecuteRequest(
                run=batch.run,
                tick=batch.tick,
                orders=first.orders,
                following=tuple(transaction.orders for transaction in following),
                ledger=batch.state.ledger,
            ),
            batch.config.execution_timeout_s,
        )
        outcomes = (reply, *reply.ahead)
        batches.check_ahead(outcomes)
        for transaction, outcome in zip(waiting, outcomes, strict=False):
            batches.check_handshakes(transaction, outcome.handshakes)
            for handshake in outcome.handshakes:
                told = orjson.dumps(handshake.model_dump(mode="json"))
                await self._bus.publish(subjects.handshakes(batch.run.correlation_id), told)
        return outcomes, self._clock.monotonic() - begin

    async def _publish(self, batch: _Batch) -> None:
        for event_type, count in (await domain_events.publish(self._bus, batch.record.events)).items():
            batch.counts[event_type] = batch.counts.get(event_type, 0) + count

    def _config(self, run: RunRef) -> ExecutionManagerConfig:
        """Patience of a run; validating its configuration takes longer than an order does, so the last one is kept."""
        if self._kept is None or self._kept[0] != run.config_sha256:
            self._kept = run.config_sha256, RunConfig.model_validate_json(run.config).execution_manager
        return self._kept[1]

    async def _reconcile(self, tried: Sequence[_Tried], batch: _Batch) -> list[_Compared]:
        """Compare until all agrees or one gives up; the state of the batch goes on to the last that was compared."""
        config, done = batch.config, list[_Compared]()
        attempt, spent_s, balances = 0, 0.0, tried[0][1].balances
        while len(done) < len(tried):
            transaction, outcome = tried[len(done)]
            if batches.is_unknown(outcome.handshakes):
                # a simulated venue always knows; a live one resolves pending outcomes before it answers
                done.append(_Compared(0, f"{transaction.orders[0].operation_id}: outcome unknown", 0.0))
                break
            begin = self._clock.monotonic()
            reply = await self._compare(tried[len(done) :], balances, attempt, batch)
            share_s = (self._clock.monotonic() - begin) / reply.compared
            for _ in range(reply.compared if reply.success else reply.compared - 1):
                done.append(_Compared(attempt + 1, None, spent_s + share_s))
                attempt, spent_s = 0, 0.0
            if reply.success:
                continue
            attempt, spent_s = attempt + 1, spent_s + share_s
            if attempt > config.max_retry_attempts:
                words = "; ".join(reply.mismatches)
                failure = f"EXEC-003 reconciliation still fails after {attempt} comparisons: {words}"
                done.append(_Compared(attempt, failure, spent_s))
                break
            await self._clock.sleep(config.retry_backoff_s[min(attempt, len(config.retry_backoff_s)) - 1])
            positions = PositionsRequest(run=batch.run, ledger=batch.state.ledger)
            balances = (await self._counterparts.positions(positions, config.reconciliation_timeout_s)).balances
        return done

    async def _compare(
        self, tried: Sequence[_Tried], balances: Balances, attempt: int, batch: _Batch
    ) -> ReconcileReply:
        """One comparison of a transaction, on these balances, and of those that follow as long as each agrees."""
        transactions = [
            ExecutedTransaction(
                position=transaction.position,
                orders=transaction.orders,
                handshakes=outcome.handshakes,
                balances=balances if place == 0 else outcome.balances,
            )
            for place, (transaction, outcome) in enumerate(tried)
        ]
        reply = await self._counterparts.reconcile(
            ReconcileRequest(
                run=batch.run,
                tick=batch.tick,
                transactions=tuple(transactions),
                portfolio=batch.state.portfolio,
                retry_attempt=attempt,
                window=batch.window,
            ),
            batch.config.reconciliation_timeout_s,
        )
        if not 1 <= reply.compared <= len(tried):
            raise ComponentError("EXEC-004", f"{reply.compared} of {len(tried)} transactions compared", _COMPONENT)
        batch.state = _State(tried[reply.compared - 1][1].ledger, reply.portfolio)
        batch.record.absorb(reply)
        batch.after = reply.after
        return reply

    async def _assess_again(self, batch: _Batch) -> AfterOrders:
        """The tick once more where no comparison brought it: an outcome is not known, and the run stops."""
        reply = await self._counterparts.reconcile(
            ReconcileRequest(
                run=batch.run, tick=batch.tick, transactions=(), portfolio=batch.state.portfolio, window=batch.window
            ),
            batch.config.reconciliation_timeout_s,
        )
        if reply.after is None:
            raise ComponentError("EXEC-004", f"tick {batch.tick} was not assessed after its orders", _COMPONENT)
        return reply.after

    def _log_lines(self, run: RunRef, done: Pass, batch: Batch) -> list[LogLine]:
        now, cid = tick_time(run, batch.tick), run.correlation_id
        lines: list[LogLine] = []
        for order, handshake in zip(done.transaction.orders, done.handshakes, strict=True):
            what = f"{order.operation} {order.amount!r} {order.source_token or order.pair} at {order.venue}"
            if handshake.error_code is None:
                lines.append(
                    self._log.line("INFO", cid, now, f"{what}: {handshake.status}", operation_id=order.operation_id)
                )
                continue
            refused = ComponentError(handshake.error_code, f"{what}: {handshake.error_message}", _COMPONENT)
            lines.append(self._log.error_line(cid, now, refused, "", operation_id=order.operation_id))
        if done.failure is not None:
            lines.append(self._log.error_line(cid, now, ComponentError("EXEC-004", done.failure, _COMPONENT), ""))
        return lines
