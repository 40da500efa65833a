"""EventDrivenStrategyEngine: the loop of a run, and the single writer of its state.

Windows, not hops (architecture.md section 3): the next window is requested while this one is assessed, and this one is
committed while the next one is assessed. Commits themselves are strictly in sequence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import traceback
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from nats.errors import Error as NatsError

from basis.models.config import RunConfig
from basis.models.errors import ComponentError
from basis.models.messages import (
    OPEN_END,
    AdvanceReply,
    AdvanceRequest,
    AssessReply,
    AssessRequest,
    Checkpoint,
    CommitReply,
    CommitRequest,
    LogLine,
    OrdersReply,
    OrdersRequest,
    RunEnd,
    RunOutcome,
    RunRecord,
    RunRef,
    RunSealed,
    RunStart,
    RunStatus,
    RunSubmit,
    Window,
)
from basis.runtime import codec, domain_events, health, subjects
from basis.runtime.bus import StreamMessage
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.structured_logger import publish_lines
from basis.runtime.timeline import tick_stamps, tick_time
from basis.strategy.core import run_state
from basis.strategy.core.decisions import Decided, decide_window
from basis.strategy.core.requested_flows import FLOW_COMMANDS, requested, with_flows
from basis.strategy.core.strategy_manager import StrategyManager, StrategyState
from basis.strategy.core.view import TickView
from basis.strategy.run_record import RunRecordStore, TakenOverError
from basis.strategy.sealing import PATIENCE_S, wait_for_seal
from basis.strategy.strategies import make_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from basis.models.messages import Control, RequestedFlow
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.structured_logger import StructuredLogger
    from basis.strategy.core.strategy import Strategy

_log = logging.getLogger(__name__)
_PROGRESS_EVERY_S = 0.05
_SERVICES_PATIENCE_S = 15.0
_BROKEN_DISK_PATIENCE_S = 3.0


class Leading(NamedTuple):
    """What led to orders."""

    decided: Decided
    """The decision. On a wall clock it is logged once its orders are asked for."""
    logger: DomainEventLogger
    """Takes the events of the ticks through theirs."""
    state: Checkpoint
    """As it was before those ticks."""
    commit: Callable[[], Coroutine[Any, Any, None]]
    """Commits those ticks."""


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
        self._asked: dict[str, tuple[Control, asyncio.Future[None]]] = {}
        self._last_tick = OPEN_END
        if submit.end is not None:
            self._last_tick = int((submit.end - submit.start).total_seconds()) // self._config.time_step_s
        self._counts: dict[str, int] = {}
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
        elif request.command in FLOW_COMMANDS:
            await self._ask(request)

    async def _ask(self, request: Control) -> None:
        """Wait until the loop has taken a deposit or withdrawal up; asked again under its id it counts once."""
        if self._state is not None and request.request_id in self._state.requests_done:
            return
        if self._ending:
            raise ComponentError("RUN-003", f"run {self._cid} has ended", "engine")
        future = asyncio.get_running_loop().create_future()
        _, future = self._asked.setdefault(request.request_id, (request, future))
        await asyncio.shield(future)

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
            await self._await_services()
            await self._announce(run, state)
            begin = self._clock.monotonic()
            state = await self._loop(run, state)
        except (TakenOverError, NatsError, OSError):
            self._refuse_asked(ComponentError("BUS-002", f"the engine of run {self._cid} changes: ask again", "engine"))
            raise  # not this run's fault: it goes on from its checkpoint, here or elsewhere
        except ComponentError as error:
            if self._is_left_to_another(error):
                self._refuse_asked(
                    ComponentError("BUS-002", f"the engine of run {self._cid} changes: ask again", "engine")
                )
                raise
            failure, trace = error, traceback.format_exc()
        except Exception as error:  # noqa: BLE001 - a fault of our own ends the run; tried again it would only recur
            failure = ComponentError("ENGINE-002", f"{type(error).__name__}: {error}", "engine")
            trace = traceback.format_exc()
        self._refuse_asked(ComponentError("RUN-003", f"run {self._cid} has ended", "engine"))
        return await self._finish(run, failure, trace, begin)

    def _initial(self, pid: int) -> Checkpoint:
        submit, now = self._submit, self._clock.now()
        held = submit.initial_balances
        return run_state.initial_checkpoint(self._config, submit.initial_capital, pid, now, held)

    def _run_ref(self, pid: int) -> RunRef:
        submit = self._submit
        return RunRef(
            correlation_id=self._cid,
            pid=pid,
            config_sha256=self._config_text.sha256,
            config=self._config_text.payload,
            start=submit.start,
            time_step_s=self._config.time_step_s,
            last_tick=self._last_tick,
            initial_capital=submit.initial_capital,
            data_sha256=submit.data_sha256,
            run_mode=submit.run_mode,
        )

    async def _await_services(self) -> None:
        """Every service that the run needs must be there and ready before its first tick."""
        deadline = self._clock.monotonic() + _SERVICES_PATIENCE_S
        others = [name for name in subjects.RUN_CRITICAL if name != "strategy"]
        while True:
            answers = await asyncio.gather(*(health.ask(self._bus, name) for name in others))
            missing = [
                f"{name} ({answer.get('reason', 'not ready') if answer else 'no answer'})"
                for name, answer in zip(others, answers, strict=True)
                if not answer or not answer.get("ready")
            ]
            if not missing:
                return
            if self._clock.monotonic() > deadline:
                message = f"not ready within {_SERVICES_PATIENCE_S:g} s: {', '.join(missing)}"
                raise ComponentError("ENGINE-001", message, "engine")
            await self._clock.sleep(0.1)

    async def _announce(self, run: RunRef, state: Checkpoint) -> None:
        """Open the run: first its record (by revision: the fence against a second engine), then its directory."""
        self._state = state
        await self._save(state)
        submit, config = self._submit, self._config
        start = RunStart(
            correlation_id=self._cid,
            pid=run.pid,
            mode=submit.run_mode,
            strategy=config.mode,
            initial_capital=submit.initial_capital,
            share_class=config.share_class.currency,
            config=orjson.loads(submit.config),
            config_sha256=submit.config_sha256,
            data_path=submit.data_path,
            data_sha256=submit.data_sha256,
            data_notes=submit.data_notes,
            code_version=version("basis-strategy"),
            start_time=submit.start,
            end_time=submit.end,
            started_at=state.started_at,
        )
        await self._publish_run(subjects.run_start(self._cid), start, "start")
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
                window = await (ahead or self._advance(run, state.ledger, state.next_tick, state.window))
                ahead = self._look_ahead(run, state, window)
                assessed = await self._assess(run, state, window)
                logger = DomainEventLogger(self._cid, run.pid, self._clock.now())
                decided = self._decide(run, state, window, assessed)
                decided.log(logger)
                if committing is not None:
                    await committing
                    committing = None
                if decided.orders:
                    await _cancelled(ahead)
                    ahead = None
                    state, committing = await self._trade(run, state, window, decided, assessed, logger)
                else:
                    after = self._after(state, window, decided, assessed)
                    committing = asyncio.create_task(self._commit_whole(run, state, window, logger, after))
                    state = after
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
        asked, self._asked = self._asked, {}
        flows = tuple(requested(request, tick, date) for request, _ in asked.values())
        taken = {"flows": (*state.flows, *flows), "requests_done": (*state.requests_done, *asked)}
        state = state.model_copy(update=taken)
        self._state = self._state.model_copy(update=taken)
        self._configure(state.flows)
        self._manager = StrategyManager(self._config, self._strategy)
        try:
            await self._save(self._state)
        except BaseException:
            self._asked = asked  # whoever asked must hear that it is not on record
            raise
        for _, future in asked.values():
            future.set_result(None)
        for flow in flows:
            what = "deposit" if flow.amount > 0.0 else "withdrawal"
            message = (
                f"{what} of {abs(flow.amount)!r} {self._config.share_class.currency} on request, from this tick on"
            )
            await self._log.info(self._cid, date, message, request_id=flow.request_id, tick=tick, amount=flow.amount)
        return state

    def _is_left_to_another(self, error: ComponentError) -> bool:
        """Whether the run does not end with this failure, but goes on from its checkpoint."""
        del error
        return False

    _ending = False

    def _refuse_asked(self, error: ComponentError) -> None:
        """The loop is over: nothing takes requests up any more."""
        self._ending = True
        for _, future in self._asked.values():
            future.set_exception(error)
        self._asked = {}

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
        return asyncio.create_task(self._advance(run, ledger, following, ticks))

    async def _advance(self, run: RunRef, ledger: dict[str, float], first_tick: int, ticks: int) -> Window:
        request = AdvanceRequest(run=run, ledger=ledger, first_tick=first_tick, ticks=ticks)
        reply = await self._bus.request(subjects.venues_advance(self._cid), request, AdvanceReply)
        if reply.window.first_tick != first_tick or reply.window.ticks > ticks:
            raise ComponentError("ENGINE-002", f"asked for tick {first_tick}, got {reply.window.first_tick}", "engine")
        return reply.window

    async def _assess(self, run: RunRef, state: Checkpoint, window: Window) -> AssessReply:
        request = AssessRequest(run=run, portfolio=state.portfolio, window=window, ledger=state.ledger)
        return await self._bus.request(subjects.monitors_assess(self._cid), request, AssessReply)

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

    def _after(self, state: Checkpoint, window: Window, decided: Decided, assessed: AssessReply) -> Checkpoint:
        """State after a whole window without orders."""
        seen = run_state.equity_and_capital(assessed.columns)
        return state.model_copy(
            update={
                "next_tick": window.first_tick + window.ticks,
                "window": run_state.grown(state.window, self._config.engine),
                "since_orders": state.since_orders + window.ticks,
                "ledger": run_state.ledger_at(state.ledger, window, window.ticks - 1),
                "portfolio": run_state.portfolio_at(state.portfolio, window, assessed, window.ticks - 1),
                "reference_equity": decided.state.reference_equity,
                "pending_withdrawal": decided.state.pending_withdrawal,
                "statistics": run_state.with_equity(state.statistics, *seen),
            }
        )

    async def _commit_whole(
        self, run: RunRef, before: Checkpoint, window: Window, logger: DomainEventLogger, after: Checkpoint
    ) -> None:
        await self._commit(run, before, window, window.ticks, logger)
        await self._committed(after)

    async def _commit(
        self, run: RunRef, before: Checkpoint, window: Window, ticks: int, logger: DomainEventLogger
    ) -> None:
        """Publish the events of committed ticks: the monitors theirs, this engine its decisions and orders."""
        reply, counts = await asyncio.gather(
            self._commit_monitors(run, before, window, ticks), domain_events.publish(self._bus, logger)
        )
        self._count(reply.counts)
        self._count(counts)

    async def _commit_monitors(self, run: RunRef, before: Checkpoint, window: Window, ticks: int) -> CommitReply:
        request = CommitRequest(run=run, portfolio=before.portfolio, window=window, ledger=before.ledger, ticks=ticks)
        return await self._bus.request(subjects.monitors_commit(self._cid), request, CommitReply)

    async def _trade(
        self,
        run: RunRef,
        state: Checkpoint,
        window: Window,
        decided: Decided,
        assessed: AssessReply,
        logger: DomainEventLogger,
    ) -> tuple[Checkpoint, asyncio.Task[None]]:
        """Execute orders while the ticks through theirs are committed; returns what follows, and the publication of it."""
        place = decided.ticks - 1
        orders = self._orders_of(run, state, window, decided, assessed)
        commit = partial(self._commit, run, state, window, decided.ticks, logger)
        traded = await self._send(orders, Leading(decided, logger, state, commit))
        after = self._traded(state, window, decided, assessed, traded)
        record = DomainEventLogger(self._cid, run.pid, self._clock.now())
        record.absorb(traded.events)
        publishing = asyncio.create_task(
            self._commit_trade(run, window.first_tick + place, decided, traded, record, after)
        )
        if traded.fatal is not None:
            await publishing
            raise ComponentError(traded.fatal[0], traded.fatal[1], "execution_manager")
        return after, publishing

    @staticmethod
    def _orders_of(
        run: RunRef, state: Checkpoint, window: Window, decided: Decided, assessed: AssessReply
    ) -> OrdersRequest:
        place = decided.ticks - 1
        return OrdersRequest(
            run=run,
            tick=window.first_tick + place,
            orders=decided.orders,
            ledger=run_state.ledger_at(state.ledger, window, place),
            portfolio=run_state.portfolio_at(state.portfolio, window, assessed, place),
            window=run_state.single_tick(window, place),
        )

    async def _send(self, orders: OrdersRequest, led: Leading) -> OrdersReply:
        """Have orders executed and what led to them committed; returns once both are done."""
        committing = asyncio.create_task(led.commit())
        try:
            return await self._ask_execution(orders)
        finally:
            await committing

    async def _ask_execution(self, orders: OrdersRequest) -> OrdersReply:
        patience = self._config.execution_manager.tight_loop_timeout_s * len(orders.orders)
        again_s = subjects.request_timeout_s(orders.run.run_mode)
        return await self._bus.request(
            subjects.orders(self._cid), orders, OrdersReply, patience_s=patience, timeout_s=again_s
        )

    def _traded(
        self, state: Checkpoint, window: Window, decided: Decided, assessed: AssessReply, traded: OrdersReply
    ) -> Checkpoint:
        """State after the tick that ordered."""
        place = decided.ticks - 1
        equity, capital = run_state.equity_and_capital(assessed.columns, place)
        memory = self._manager.after_execution(traded.equity, decided.state, decided.orders, traded.handshakes)
        after = state.model_copy(
            update={
                "next_tick": window.first_tick + place + 1,
                "window": run_state.after_orders(state.since_orders + place + 1, self._config.engine),
                "since_orders": 0,
                "ledger": traded.ledger,
                "portfolio": traded.portfolio,
                "reference_equity": memory.reference_equity,
                "pending_withdrawal": memory.pending_withdrawal,
                "statistics": run_state.with_equity(
                    state.statistics, [*equity, traded.equity], [*capital, traded.portfolio.capital]
                ),
            }
        )
        return run_state.with_orders(after, decided.orders, traded.handshakes)

    async def _commit_trade(
        self,
        run: RunRef,
        tick: int,
        decided: Decided,
        traded: OrdersReply,
        record: DomainEventLogger,
        after: Checkpoint,
    ) -> None:
        """Publish what the orders of a tick left behind, and the tick once more after them."""
        counts, _ = await asyncio.gather(
            domain_events.publish(self._bus, record),
            publish_lines(self._bus, self._cid, (*traded.logs, self._trade_line(run, tick, decided, traded))),
        )
        self._count(traded.counts)
        self._count(counts)
        await self._committed(after)

    def _trade_line(self, run: RunRef, tick: int, decided: Decided, traded: OrdersReply) -> LogLine:
        confirmed = sum(handshake.status == "confirmed" for handshake in traded.handshakes)
        level = "INFO" if confirmed == len(decided.orders) else "WARNING"
        message = f"{confirmed} of {len(decided.orders)} orders confirmed"
        operation_ids = [order.operation_id for order in decided.orders]
        return self._log.line(level, self._cid, tick_time(run, tick), message, operation_ids=operation_ids)

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
            await self._tell(self._status("running"))

    # ----------------------------------------------------------------------------------------------------- end

    async def _finish(self, run: RunRef, failure: ComponentError | None, trace: str, begin: float) -> RunOutcome:
        state = self._state_or_initial(run)
        result = run_state.result(run, self._config, state)
        status = self._status("completed" if failure is None else "failed", failure)
        last = max(state.next_tick - 1, 0)
        now = tick_time(run, last)
        if failure is None:
            await self._log.info(self._cid, now, f"run completed after {state.next_tick} ticks")
        elif failure.error_code == "ENGINE-003":
            status = self._status("cancelled", failure)
            await self._log.warning(self._cid, now, f"run cancelled: {failure.message}")
        else:
            await self._log.error(self._cid, now, failure, trace)
        end = RunEnd(
            correlation_id=self._cid,
            pid=run.pid,
            status=status.status,
            last_tick=last,
            timestamp=now,
            ticks=state.next_tick - state.skipped,
            counts=state.counts,
            error_code=status.error_code,
            error=status.error,
            result=result,
            ended_at=self._clock.now(),
        )
        sealed = await self._seal(end, failure) if self._announced else None
        if sealed is not None and sealed.error_code is not None and status.status == "completed":
            seal_error = ComponentError(sealed.error_code, sealed.error or "", "event_logger")
            status = self._status("failed", seal_error)
        outcome = RunOutcome(
            status=status.model_copy(update={"completed_at": self._clock.now()}),
            log_directory=sealed.log_directory if sealed is not None else None,
            ticks=state.next_tick - state.skipped,
            events=sealed.counts if sealed is not None else {},
            event_hash=sealed.event_hash if sealed is not None else None,
            loop_s=round(self._clock.monotonic() - begin, 6),
            result=result,
        )
        await self._record_outcome(outcome)
        return outcome

    async def _seal(self, end: RunEnd, failure: ComponentError | None) -> RunSealed | None:
        """Wait until the run is on disk; not for long where the disk itself is what failed."""
        disk_failed = failure is not None and failure.error_code.startswith("LOG-")
        patience_s = _BROKEN_DISK_PATIENCE_S if disk_failed else PATIENCE_S
        try:
            return await wait_for_seal(
                self._bus,
                self._cid,
                lambda: self._publish_run(subjects.run_end(self._cid), end, "end"),
                patience_s,
            )
        except ComponentError:
            if disk_failed:
                return None
            raise

    async def _record_outcome(self, outcome: RunOutcome) -> None:
        results = await self._bus.bucket(subjects.KV_RESULTS)
        await results.put(self._cid, outcome.model_dump_json().encode())
        await self._store.save(RunRecord(status=outcome.status, run_mode=self._submit.run_mode))
        await self._tell(outcome.status)

    _state: Checkpoint | None = None
    _record: RunRecord | None = None

    @property
    def _announced(self) -> bool:
        """True once the run may have left something behind."""
        return self._state is not None

    def _state_or_initial(self, run: RunRef) -> Checkpoint:
        if self._state is not None:
            return self._state
        return self._initial(run.pid)

    def _status(self, name: str, failure: ComponentError | None = None) -> RunStatus:
        state = self._state
        total = 0 if self._last_tick == OPEN_END else self._last_tick + 1
        ticks = state.next_tick - state.skipped if state is not None else 0
        return RunStatus.model_validate(
            {
                "correlation_id": self._cid,
                "strategy": self._config.mode,
                "status": name,
                "progress": ticks / total if total else 0.0,
                "ticks": ticks,
                "total_ticks": total,
                "started_at": state.started_at if state is not None else None,
                "equity": state.statistics.equity if state is not None else None,
                "error_code": failure.error_code if failure is not None else None,
                "error": failure.message if failure is not None else None,
            }
        )

    async def _save(self, state: Checkpoint) -> None:
        await self._store.save(
            RunRecord(status=self._status("running"), checkpoint=state, run_mode=self._submit.run_mode)
        )

    async def _tell(self, status: RunStatus) -> None:
        await self._bus.publish(subjects.progress(self._cid), status.model_dump_json().encode())

    async def _publish_run(self, subject: str, message: RunStart | RunEnd, what: str) -> None:
        header = {subjects.HEADER_MSG_ID: f"{self._cid}.{what}"}
        await self._bus.publish_stream([StreamMessage(subject, codec.encode(message), header)])


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
