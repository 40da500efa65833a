"""EventDrivenStrategyEngine: the loop of a run, and the single writer of its state.

Windows, not hops (architecture.md section 3): the next window is requested while this one is assessed, and this one is
committed while the next one is assessed. Commits themselves are strictly in sequence.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from nats.errors import Error as NatsError

from basis.models.config import RunConfig
from basis.models.errors import ComponentError
from basis.models.messages import (
    OPEN_END,
    AssessReply,
    Checkpoint,
    LogLine,
    OrdersReply,
    OrdersRequest,
    RunOutcome,
    RunRecord,
    RunRef,
    RunStatus,
    RunSubmit,
    Window,
)
from basis.runtime import codec, domain_events, subjects
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.structured_logger import publish_lines
from basis.runtime.timeline import tick_stamps, tick_time
from basis.strategy.asked_flows import AskedFlows
from basis.strategy.core import run_messages, run_state
from basis.strategy.core.decisions import Decided, decide_window
from basis.strategy.core.requested_flows import FLOW_COMMANDS, requested, with_flows
from basis.strategy.core.run_state import Turn
from basis.strategy.core.strategy_manager import StrategyManager, StrategyState
from basis.strategy.core.view import TickView
from basis.strategy.run_record import RunRecordStore, TakenOverError
from basis.strategy.run_services import RunServices, announce
from basis.strategy.sealing import seal
from basis.strategy.strategies import make_strategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.messages import Control, RequestedFlow
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.structured_logger import StructuredLogger
    from basis.strategy.core.strategy import Strategy

_PROGRESS_EVERY_S = 0.05


class Stopped(NamedTuple):
    """Why a run was told to stop from outside."""

    status: str
    """``cancelled`` or ``failed``."""
    error_code: str
    reason: str


class EventDrivenStrategyEngine:
    """Drives one run from its submission, or its checkpoint, to its seal.

    Args:
        bus: connection.
        clock: wall clock.
        log: log of the component strategy_manager.
        submit: the run.
    """

    def __init__(self, bus: Bus, clock: Clock, log: StructuredLogger, submit: RunSubmit) -> None:
        self._bus = bus
        self._clock = clock
        self._log = log
        self._submit = submit
        self._cid = submit.correlation_id
        self._configure(())
        self._strategy: Strategy = make_strategy(self._config)
        self._manager = StrategyManager(self._config, self._strategy)
        self._services = RunServices(bus, clock, self._cid, self._config.execution_manager.tight_loop_timeout_s)
        self._last_tick = OPEN_END
        if submit.end is not None:
            self._last_tick = int((submit.end - submit.start).total_seconds()) // self._config.time_step_s
        self._record: RunRecord | None = None
        """As it was found: what an engine that died had left."""
        self._state: Checkpoint | None = None
        """After the last committed tick; None until the run is announced, and so has left nothing behind."""
        self._counts: dict[str, int] = {}
        """Event type -> events that are in JetStream."""
        self._asked = AskedFlows(self._cid)
        self._stop: Stopped | None = None
        self._last_progress = float("-inf")

    @property
    def correlation_id(self) -> str:
        """The run."""
        return self._cid

    def stop(self, stopped: Stopped) -> None:
        """End the run before its next window; the first reason given stays."""
        self._stop = self._stop or stopped

    def _configure(self, flows: Sequence[RequestedFlow]) -> None:
        """Take up the configuration, with what was asked for during the run."""
        text = with_flows(self._submit.config, self._submit.config_sha256, flows)
        self._config_text = text
        self._config = RunConfig.model_validate_json(text.payload)

    async def obey(self, request: Control) -> None:
        """Take a request; once this returns it survives the engine.

        Raises:
            ComponentError: RUN-003, the run ends before its next window.
        """
        if request.command == "cancel":
            self.stop(Stopped("cancelled", "ENGINE-003", request.reason or "cancelled on request"))
        elif request.command == "fail":
            self.stop(Stopped("failed", request.error_code or "EXEC-004", request.reason or "told to stop"))
        elif request.command in FLOW_COMMANDS and not self._is_done(request):
            await self._asked.ask(request)

    def _is_done(self, request: Control) -> bool:
        return self._state is not None and request.request_id in self._state.requests_done

    # ----------------------------------------------------------------------------------------------- beginning

    async def run(self) -> RunOutcome | None:
        """Run to the end; None where another engine has ended the run already.

        Raises:
            TakenOverError: another engine took over.
            ComponentError, NatsError: the end cannot be recorded; the run is left to another engine.
        """
        self._store = RunRecordStore(await self._bus.bucket(subjects.KV_RUNS), self._cid)
        record = await self._store.load()
        if record is not None and record.status.status not in {"running", "queued"}:
            return None
        state = record.checkpoint if record is not None else None
        if state is None:
            state = self._initial(os.getpid())
        self._record = record
        if state.flows:
            self._configure(state.flows)
            self._manager = StrategyManager(self._config, self._strategy)
        run = self._run_ref(state.pid)
        self._counts = dict(state.counts)
        begin = self._clock.monotonic()
        failure: ComponentError | None = None
        trace = ""
        try:
            await self._services.await_ready()
            await self._announce(run, state)
            begin = self._clock.monotonic()
            state = await self._loop(run, state)
        except (TakenOverError, NatsError, OSError):
            self._asked.hand_over()
            raise  # not this run's fault: it goes on from its checkpoint, here or elsewhere
        except ComponentError as error:
            if self._is_left_to_another(error):
                self._asked.hand_over()
                raise
            failure, trace = error, traceback.format_exc()
        except Exception as error:  # noqa: BLE001 - a fault of our own ends the run; tried again it would only recur
            failure = ComponentError("ENGINE-002", f"{type(error).__name__}: {error}", "engine")
            trace = traceback.format_exc()
        self._asked.end()
        return await self._finish(run, failure, trace, begin)

    def _initial(self, pid: int) -> Checkpoint:
        submit, now = self._submit, self._clock.now()
        held = submit.initial_balances
        return run_state.initial_checkpoint(self._config, submit.initial_capital, pid, now, held)

    def _run_ref(self, pid: int) -> RunRef:
        return run_messages.reference(self._submit, self._config_text, self._config.time_step_s, self._last_tick, pid)

    def _is_left_to_another(self, error: ComponentError) -> bool:
        """Whether the run does not end with this failure, but goes on from its checkpoint."""
        del error
        return False

    async def _announce(self, run: RunRef, state: Checkpoint) -> None:
        """Open the run: first its record (by revision: the fence against a second engine), then its directory."""
        self._state = state
        await self._save(state)
        submit, config = self._submit, self._config
        await announce(self._bus, run_messages.start(submit, config, state, version("basis-strategy")))
        if state.next_tick == 0:
            await self._log.info(
                self._cid,
                run.start,
                f"run of {config.mode} starts",
                ticks=self._last_tick + 1,
                data_path=submit.data_path,
            )
        else:
            await self._log.warning(
                self._cid, tick_time(run, state.next_tick), f"run of {config.mode} resumes at tick {state.next_tick}"
            )

    # ---------------------------------------------------------------------------------------------------- loop

    async def _loop(self, run: RunRef, state: Checkpoint) -> Checkpoint:
        committing: asyncio.Task[None] | None = None
        ahead: asyncio.Task[Window] | None = None
        try:
            while state.next_tick <= self._last_tick:
                self._raise_if_stopped()
                if self._asked:
                    await _cancelled(ahead)  # it knows nothing of what comes in
                    ahead = None
                    if committing is not None:
                        await committing
                        committing = None
                    state = await self._take_up(run, state)
                    run = self._run_ref(state.pid)
                window = await (ahead or self._services.advance(run, state.ledger, state.next_tick, state.window))
                ahead = self._look_ahead(run, state, window)
                assessed = await self._services.assess(run, state, window)
                logger = DomainEventLogger(self._cid, run.pid, self._clock.now())
                decided = self._decide(run, state, window, assessed)
                decided.log(logger)
                turn = Turn(run, state, window, assessed, decided, logger)
                if committing is not None:
                    await committing
                    committing = None
                if decided.orders:
                    await _cancelled(ahead)
                    ahead = None
                    state, committing = await self._trade(turn)
                else:
                    state = run_state.after_window(turn, self._config.engine)
                    committing = asyncio.create_task(self._commit_whole(turn, state))
            if committing is not None:
                await committing
                committing = None
        except ComponentError:
            await _finished(committing)  # what happened before the failure is part of the run
            raise
        finally:
            await _cancelled(ahead)
            await _cancelled(committing)
        return state

    async def _take_up(self, run: RunRef, state: Checkpoint) -> Checkpoint:
        """Deposits and withdrawals that were asked for take effect at the next tick; on record before they are confirmed."""
        assert self._state is not None
        tick = state.next_tick
        date = tick_time(run, tick)
        asked = self._asked.requests()
        flows = tuple(requested(request, tick, date) for request in asked)
        done = (*state.requests_done, *(request.request_id for request in asked))
        taken = {"flows": (*state.flows, *flows), "requests_done": done}
        state = state.model_copy(update=taken)
        self._configure(state.flows)
        self._manager = StrategyManager(self._config, self._strategy)
        recorded = self._state.model_copy(update=taken)
        await self._save(recorded)
        self._state = recorded  # not before: who asks again while this is written waits for it, too
        self._asked.confirm(asked)
        for flow in flows:
            what = "deposit" if flow.amount > 0.0 else "withdrawal"
            message = (
                f"{what} of {abs(flow.amount)!r} {self._config.share_class.currency} on request, from this tick on"
            )
            await self._log.info(self._cid, date, message, request_id=flow.request_id, tick=tick, amount=flow.amount)
        return state

    def _raise_if_stopped(self) -> None:
        if self._stop is not None:
            raise ComponentError(self._stop.error_code, self._stop.reason, "engine")

    def _look_ahead(self, run: RunRef, state: Checkpoint, window: Window) -> asyncio.Task[Window] | None:
        """Request the window after this one, in the hope that this one holds no orders."""
        following = window.first_tick + window.ticks
        if following > self._last_tick:
            return None
        ledger = run_state.ledger_at(state.ledger, window, window.ticks - 1)
        ticks = run_state.grown(state.window, self._config.engine)
        return asyncio.create_task(self._services.advance(run, ledger, following, ticks))

    def _decide(self, run: RunRef, state: Checkpoint, window: Window, assessed: AssessReply) -> Decided:
        view = TickView(
            window.first_tick,
            codec.unpack_all(window.market),
            codec.unpack_all(assessed.columns),
            state.portfolio.positions,
            codec.unpack_all(assessed.positions),
            assessed.risk_levels,
        )
        return decide_window(
            self._manager,
            self._strategy.conditions,
            view,
            window.ticks,
            self._remembered(state),
            run,
            tick_stamps(run, window.first_tick, window.ticks),
        )

    def _remembered(self, state: Checkpoint) -> StrategyState:
        return StrategyState(state.reference_equity, state.pending_withdrawal)

    async def _commit_whole(self, turn: Turn, after: Checkpoint) -> None:
        await self._commit(turn)
        await self._committed(after)

    async def _commit(self, turn: Turn) -> None:
        """Publish the events of the ticks that count: the monitors theirs, this engine its decisions and orders."""
        reply, counts = await asyncio.gather(self._services.commit(turn), domain_events.publish(self._bus, turn.logger))
        self._count(reply.counts)
        self._count(counts)

    async def _trade(self, turn: Turn) -> tuple[Checkpoint, asyncio.Task[None]]:
        """Execute orders while the ticks through theirs are committed; returns what follows, and the publication of it."""
        traded = await self._send(run_state.orders_request(turn), turn)
        after = self._traded(turn, traded)
        record = DomainEventLogger(self._cid, turn.run.pid, self._clock.now())
        record.absorb(traded.events)
        publishing = asyncio.create_task(self._commit_trade(turn, traded, record, after))
        if traded.fatal is not None:
            await publishing
            raise ComponentError(traded.fatal[0], traded.fatal[1], "execution_manager")
        return after, publishing

    async def _send(self, orders: OrdersRequest, turn: Turn) -> OrdersReply:
        """Have orders executed and what led to them committed; returns once both are done."""
        committing = asyncio.create_task(self._commit(turn))
        try:
            return await self._services.execute(orders)
        finally:
            await committing

    def _traded(self, turn: Turn, traded: OrdersReply) -> Checkpoint:
        """State after the tick that ordered."""
        decided = turn.decided
        memory = self._manager.after_execution(traded.equity, decided.state, decided.orders, traded.handshakes)
        return run_state.after_trade(turn, traded, memory, self._config.engine)

    async def _commit_trade(
        self, turn: Turn, traded: OrdersReply, record: DomainEventLogger, after: Checkpoint
    ) -> None:
        """Publish what the orders of a tick left behind, and the tick once more after them."""
        counts, _ = await asyncio.gather(
            domain_events.publish(self._bus, record),
            publish_lines(self._bus, self._cid, (*traded.logs, self._trade_line(turn, traded))),
        )
        self._count(traded.counts)
        self._count(counts)
        await self._committed(after)

    def _trade_line(self, turn: Turn, traded: OrdersReply) -> LogLine:
        orders, date = turn.decided.orders, tick_time(turn.run, turn.last_tick)
        confirmed = sum(handshake.status == "confirmed" for handshake in traded.handshakes)
        level = "INFO" if confirmed == len(orders) else "WARNING"
        message = f"{confirmed} of {len(orders)} orders confirmed"
        operation_ids = [order.operation_id for order in orders]
        return self._log.line(level, self._cid, date, message, operation_ids=operation_ids)

    def _count(self, counts: dict[str, int]) -> None:
        for event_type, count in counts.items():
            self._counts[event_type] = self._counts.get(event_type, 0) + count

    async def _committed(self, after: Checkpoint) -> None:
        """Everything up to here is in JetStream: from now on another engine may go on from here."""
        self._state = after.model_copy(update={"counts": dict(self._counts)})
        await self._save(self._state)
        now = self._clock.monotonic()
        if now - self._last_progress >= _PROGRESS_EVERY_S:
            self._last_progress = now
            await self._services.tell(self._status("running"))

    # ----------------------------------------------------------------------------------------------------- end

    async def _finish(self, run: RunRef, failure: ComponentError | None, trace: str, begin: float) -> RunOutcome:
        state = self._state if self._state is not None else self._initial(run.pid)
        result = run_state.result(run, self._config, state)
        status = self._status(run_messages.ending(failure), failure)
        now = tick_time(run, run_messages.last_done(state))
        if failure is None:
            await self._log.info(self._cid, now, f"run completed after {state.next_tick} ticks")
        elif status.status == "cancelled":
            await self._log.warning(self._cid, now, f"run cancelled: {failure.message}")
        else:
            await self._log.error(self._cid, now, failure, trace)
        sealed = None
        if self._state is not None:
            sealed = await seal(self._bus, run_messages.end(run, status, state, result, self._clock.now()))
        if sealed is not None and sealed.error_code is not None and status.status == "completed":
            seal_error = ComponentError(sealed.error_code, sealed.error or "", "event_logger")
            status = self._status("failed", seal_error)
        status = status.model_copy(update={"completed_at": self._clock.now()})
        loop_s = round(self._clock.monotonic() - begin, 6)
        outcome = run_messages.outcome(status, state, sealed, result, loop_s)
        await self._record_outcome(outcome)
        return outcome

    async def _record_outcome(self, outcome: RunOutcome) -> None:
        results = await self._bus.bucket(subjects.KV_RESULTS)
        await results.put(self._cid, outcome.model_dump_json().encode())
        await self._store.save(RunRecord(status=outcome.status, run_mode=self._submit.run_mode))
        await self._services.tell(outcome.status)

    def _status(self, name: str, failure: ComponentError | None = None) -> RunStatus:
        return run_messages.status(self._cid, self._config.mode, self._last_tick, name, self._state, failure)

    async def _save(self, state: Checkpoint) -> None:
        await self._store.save(
            RunRecord(status=self._status("running"), checkpoint=state, run_mode=self._submit.run_mode)
        )


async def _finished(task: asyncio.Task[None] | None) -> None:
    """Wait for a task; what it might raise comes after what failed first."""
    if task is not None:
        with contextlib.suppress(ComponentError):
            await task


async def _cancelled(task: asyncio.Task[Window] | asyncio.Task[None] | None) -> None:
    """Cancel a task and wait until it is gone; what it might have raised is of no interest any more."""
    if task is None:
        return
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ComponentError):
        await task
