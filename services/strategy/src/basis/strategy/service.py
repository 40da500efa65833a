"""Shell of the strategy service: runs from the work queue, control requests, heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from basis.models.config import RunConfig
from basis.models.errors import ComponentError
from basis.models.messages import (
    AdvanceReply,
    AdvanceRequest,
    AssessReply,
    AssessRequest,
    Checkpoint,
    CommitReply,
    CommitRequest,
    Control,
    LogLine,
    OrdersReply,
    OrdersRequest,
    PortfolioState,
    RunEnd,
    RunOutcome,
    RunRecord,
    RunRef,
    RunResult,
    RunSealed,
    RunStart,
    RunStatistics,
    RunStatus,
    RunSubmit,
    Window,
)
from basis.models.order import Order
from basis.runtime import codec, domain_events, health, subjects
from basis.runtime.structured_logger import StructuredLogger
from basis.strategy.engine import EventDrivenStrategyEngine
from basis.strategy.strategies import built_modes
from basis.strategy.wall_clock_engine import WallClockEngine

if TYPE_CHECKING:
    from basis.runtime.bus import Bus, RunTask
    from basis.runtime.clock import Clock
    from basis.runtime.settings import Settings

SERVICE = "strategy"
_log = logging.getLogger(__name__)


class StrategyService:
    """One engine at a time, and the means to stop it."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._structured = StructuredLogger(bus, "strategy_manager", clock)
        self._engine: EventDrivenStrategyEngine | None = None
        self._live: dict[str, WallClockEngine] = {}

    async def work(self, task: RunTask) -> None:
        """Do one run; acknowledge it once it has ended, however it ended."""
        try:
            submit = codec.decode(task.payload, RunSubmit)
            engine = EventDrivenStrategyEngine(self._bus, self._clock, self._structured, submit)
        except ComponentError as error:
            _log.error("a submitted run makes no sense and is dropped: %s", error)
            await task.done()
            return
        heartbeat = asyncio.create_task(self._beat(task))
        self._engine = engine
        try:
            await engine.run()
            await task.done()
        except (ComponentError, NatsError, OSError):
            # not acknowledged: the work queue gives the run to an engine that can record how it ends
            _log.exception("run %s is left to another engine", submit.correlation_id)
        finally:
            self._engine = None
            heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heartbeat

    async def work_live(self, task: RunTask) -> None:
        """Do one paper or live run; as many of them at once as there are."""
        try:
            submit = codec.decode(task.payload, RunSubmit)
            engine = WallClockEngine(self._bus, self._clock, self._structured, submit)
        except ComponentError as error:
            _log.error("a submitted run makes no sense and is dropped: %s", error)
            await task.done()
            return
        cid = submit.correlation_id
        heartbeat = asyncio.create_task(self._beat(task, subjects.LIVE_HEARTBEAT_S))
        self._live[cid] = engine
        try:
            await engine.run()
            await task.done()
        except (ComponentError, NatsError, OSError):
            _log.exception("run %s is left to another engine", cid)
        finally:
            if self._live.get(cid) is engine:
                del self._live[cid]
            heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heartbeat

    @staticmethod
    async def _beat(task: RunTask, every_s: float = subjects.RUN_HEARTBEAT_S) -> None:
        while True:
            await asyncio.sleep(every_s)
            with contextlib.suppress(NatsError, OSError):
                await task.heartbeat()

    async def control(self, subject: str, payload: bytes) -> bytes | None:
        """Obey a control request for the run in hand; requests for other runs are for other replicas."""
        engine: EventDrivenStrategyEngine | None = self._live.get(subject.split(".")[1], self._engine)
        if engine is None or subject != subjects.control(engine.correlation_id):
            return None
        try:
            await engine.obey(codec.decode(payload, Control))
        except ComponentError as error:
            return str(error).encode()
        return b"ok"


_MODELS = (
    *(RunSubmit, RunConfig, RunRecord, RunSealed, RunOutcome, RunStatus, RunStart, RunEnd, RunResult, RunStatistics),
    *(AdvanceRequest, AdvanceReply, AssessRequest, AssessReply, CommitRequest, CommitReply, OrdersRequest, OrdersReply),
    *(Checkpoint, PortfolioState, RunRef, Window, LogLine, Order),
)
"""What an engine reads and writes, and what it makes by itself: each that is left out is built in the middle of a run."""


def warm() -> None:
    """Build the models of this service, before its processes are forked or at the latest before its first request."""
    codec.warm(*_MODELS)
    domain_events.warm("strategy_decisions", "orders")


def register(bus: Bus, settings: Settings, clock: Clock) -> None:
    """Serve runs and control requests on a bus."""
    warm()
    del settings
    service = StrategyService(bus, clock)
    built = built_modes()
    bus.serve_runs(service.work)
    bus.serve_live_runs(service.work_live)
    bus.listen(subjects.control("*"), service.control)
    health.serve(bus, SERVICE, lambda: {"strategies": built})
