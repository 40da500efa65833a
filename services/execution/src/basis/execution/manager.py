"""ExecutionManager: the tight loop, order -> venue -> handshake -> reconcile -> next.

A failed order stops the rest of its tick. Out of tolerance: re-queries with back-off, then EXEC-003, and the run stops
with EXEC-004. Retries re-query, they never re-apply deltas.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson

from basis.execution.core import batches
from basis.execution.core.emission import Batch, Pass, emit_executions, emit_tight_loop
from basis.models.config import ExecutionManagerConfig, RunConfig
from basis.models.errors import ComponentError
from basis.models.messages import (
    Balances,
    ExecuteReply,
    ExecuteRequest,
    LogLine,
    OrdersReply,
    OrdersRequest,
    PortfolioState,
    PositionsReply,
    PositionsRequest,
    ReconcileReply,
    ReconcileRequest,
    RunRef,
)
from basis.runtime import bus as subjects
from basis.runtime import domain_events
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.structured_logger import publish_lines
from basis.runtime.timeline import iso, tick_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from basis.execution.core.batches import Transaction
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
        return await self._bus.request(subject, request, ExecuteReply, patience_s=timeout_s)

    async def positions(self, request: PositionsRequest, timeout_s: float) -> PositionsReply:
        """``basis.<cid>.venues.positions``."""
        subject = subjects.venues_positions(request.run.correlation_id)
        return await self._bus.request(subject, request, PositionsReply, patience_s=timeout_s)

    async def reconcile(self, request: ReconcileRequest, timeout_s: float) -> ReconcileReply:
        """``basis.<cid>.monitors.reconcile``."""
        subject = subjects.monitors_reconcile(request.run.correlation_id)
        return await self._bus.request(subject, request, ReconcileReply, patience_s=timeout_s)


class _State(NamedTuple):
    """What one transaction hands to the next."""

    ledger: Balances
    portfolio: PortfolioState


class _Record:
    """What the orders of a tick leave behind: events of all services and log lines, published together at the end."""

    def __init__(self, events: DomainEventLogger) -> None:
        self.events = events
        self.logs: list[LogLine] = []

    def absorb(self, reply: ReconcileReply) -> None:
        """Take over what the monitors wrote."""
        self.events.absorb(reply.events)
        self.logs += reply.logs


class _Ahead:
    """The next order at a simulated venue, executed while this one is reconciled.

    A simulated venue is a pure function: where reconciliation fails, its answer is thrown away and nothing has happened. A
    real venue's order is never sent before the one before it agrees.

    Args:
        execute: asks the venue.
    """

    def __init__(self, execute: Callable[[Transaction, Balances], Coroutine[None, None, ExecuteReply]]) -> None:
        self._execute = execute
        self._task: asyncio.Task[ExecuteReply] | None = None

    def start(self, following: Transaction, reply: ExecuteReply) -> None:
        """Begin with the next order, on the balances that this one left."""
        if all(handshake.simulated for handshake in reply.handshakes):
            self._task = asyncio.create_task(self._execute(following, reply.ledger))

    async def take(self, transaction: Transaction, ledger: Balances) -> ExecuteReply:
        """The answer for an order: begun already, or asked for now."""
        task, self._task = self._task, None
        return await (task or self._execute(transaction, ledger))

    async def drop(self) -> None:
        """Forget what was begun."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ComponentError):
                await task


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
        config = self._config(request.run)
        run, tick = request.run, request.tick
        batch = Batch(
            tick,
            iso(tick_time(run, tick)),
            f"{run.correlation_id}-{tick:08d}",
            len(request.orders),
            config.max_retry_attempts,
        )
        state = _State(request.ledger, request.portfolio)
        handshakes: list[ExecutionHandshake] = []
        fatal: tuple[str, str] | None = None
        record = _Record(DomainEventLogger(run.correlation_id, run.pid, self._clock.now()))
        ahead = _Ahead(lambda what, ledger: self._execute(run, what, ledger, batch, config))
        waiting = batches.transactions(request.orders)
        try:
            for place, transaction in enumerate(waiting):
                following = waiting[place + 1] if place + 1 < len(waiting) else None
                done, state = await self._pass(run, transaction, state, batch, config, record, ahead, following)
                handshakes += done.handshakes
                if done.failure is not None:
                    fatal = ("EXEC-004", done.failure)
                if fatal is not None or not batches.is_confirmed(done.handshakes):
                    break
            counts = await domain_events.publish(self._bus, record.events)
        finally:
            await ahead.drop()
            # events of a batch that ends in an error are dropped with its state; what was tried stays in the logs
            await publish_lines(self._bus, run.correlation_id, record.logs)
        return OrdersReply(
            handshakes=tuple(handshakes),
            ledger=state.ledger,
            portfolio=state.portfolio,
            counts=counts,
            fatal=fatal,
        )

    async def _pass(
        self,
        run: RunRef,
        transaction: Transaction,
        state: _State,
        batch: Batch,
        config: ExecutionManagerConfig,
        record: _Record,
        ahead: _Ahead,
        following: Transaction | None,
    ) -> tuple[Pass, _State]:
        begin = self._clock.monotonic()
        reply = await ahead.take(transaction, state.ledger)
        batches.check_handshakes(transaction, reply.handshakes)
        executed = self._clock.monotonic()
        if following is not None and batches.is_confirmed(reply.handshakes):
            ahead.start(following, reply)
        for handshake in reply.handshakes:
            await self._bus.publish(
                subjects.handshakes(run.correlation_id), orjson.dumps(handshake.model_dump(mode="json"))
            )
        attempts, failure, state = await self._reconcile(run, transaction, reply, state, batch, config, record)
        done = Pass(
            transaction,
            reply.handshakes,
            reconciled=failure is None,
            attempts=attempts,
            failure=failure,
            execution_ms=round(1000 * (executed - begin), 3),
            reconciliation_ms=round(1000 * (self._clock.monotonic() - executed), 3),
        )
        emit_executions(done, batch, record.events)
        emit_tight_loop(done, batch, record.events)
        record.logs += self._log_lines(run, done, batch)
        return done, state

    async def _execute(
        self, run: RunRef, transaction: Transaction, ledger: Balances, batch: Batch, config: ExecutionManagerConfig
    ) -> ExecuteReply:
        return await self._counterparts.execute(
            ExecuteRequest(run=run, tick=batch.tick, orders=transaction.orders, ledger=ledger),
            config.execution_timeout_s,
        )

    def _config(self, run: RunRef) -> ExecutionManagerConfig:
        """Patience of a run; validating its configuration takes longer than an order does, so the last one is kept."""
        if self._kept is None or self._kept[0] != run.config_sha256:
            self._kept = run.config_sha256, RunConfig.model_validate_json(run.config).execution_manager
        return self._kept[1]

    async def _reconcile(
        self,
        run: RunRef,
        transaction: Transaction,
        executed: ExecuteReply,
        state: _State,
        batch: Batch,
        config: ExecutionManagerConfig,
        record: _Record,
    ) -> tuple[int, str | None, _State]:
        """Compare until all agrees; returns comparisons made, why the run must stop, and the state."""
        if batches.is_unknown(executed.handshakes):
            # a simulated venue always knows; a live one resolves pending outcomes before it answers
            return 0, f"{transaction.orders[0].operation_id}: outcome unknown", state
        balances, portfolio = executed.balances, state.portfolio
        for attempt in range(config.max_retry_attempts + 1):
            reply = await self._counterparts.reconcile(
                ReconcileRequest(
                    run=run,
                    tick=batch.tick,
                    position=transaction.position,
                    orders=transaction.orders,
                    handshakes=executed.handshakes,
                    portfolio=portfolio,
                    balances=balances,
                    retry_attempt=attempt,
                ),
                config.reconciliation_timeout_s,
            )
            portfolio = reply.portfolio
            record.absorb(reply)
            if reply.success:
                return attempt + 1, None, _State(executed.ledger, portfolio)
            if attempt < config.max_retry_attempts:
                await self._clock.sleep(config.retry_backoff_s[min(attempt, len(config.retry_backoff_s) - 1)])
                balances = (
                    await self._counterparts.positions(
                        PositionsRequest(run=run, ledger=executed.ledger), config.reconciliation_timeout_s
                    )
                ).balances
        failure = f"EXEC-003 reconciliation still fails after {attempt + 1} comparisons: {'; '.join(reply.mismatches)}"
        return attempt + 1, failure, _State(executed.ledger, portfolio)

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
