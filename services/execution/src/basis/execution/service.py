"""Shell of the execution service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.execution.manager import BusCounterparts, ExecutionManager
from basis.models.config import RunConfig
from basis.models.execution import ExecutionHandshake
from basis.models.messages import (
    ExecutedTransaction,
    ExecuteReply,
    ExecuteRequest,
    LogLine,
    OrdersReply,
    OrdersRequest,
    PositionsReply,
    PositionsRequest,
    ReconcileReply,
    ReconcileRequest,
)
from basis.runtime import codec, domain_events, health, subjects
from basis.runtime.clock import SimulatedClock
from basis.runtime.structured_logger import StructuredLogger
from basis.runtime.timeline import tick_time

if TYPE_CHECKING:
    from basis.models.errors import ComponentError
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.settings import Settings

SERVICE = "execution"


def warm() -> None:
    """Build the models of this service, before its processes are forked or at the latest before its first request."""
    codec.warm(
        *(OrdersRequest, OrdersReply, ExecuteRequest, ExecuteReply, PositionsRequest, PositionsReply),
        *(ReconcileRequest, ReconcileReply, ExecutedTransaction, ExecutionHandshake, LogLine, RunConfig),
    )
    domain_events.warm("operation_executions", "tight_loop_executions")


def register(bus: Bus, settings: Settings, clock: Clock) -> None:
    """Serve the orders of all runs on a bus."""
    warm()
    del settings
    log = StructuredLogger(bus, "execution_manager", clock)
    # no engine time passes between two queries of a mismatch in a backtest; a real venue is given time
    simulated = ExecutionManager(bus, BusCounterparts(bus), SimulatedClock(), log)
    real = ExecutionManager(bus, BusCounterparts(bus), clock, log)

    async def orders(request: OrdersRequest) -> OrdersReply:
        return await (real if request.run.run_mode == "live" else simulated).run(request)

    async def failed(request: OrdersRequest, error: ComponentError, trace: str) -> None:
        await log.error(request.run.correlation_id, tick_time(request.run, request.tick), error, trace)

    bus.serve(subjects.orders("*"), SERVICE, OrdersRequest, orders, on_error=failed)
    health.serve(bus, SERVICE)
