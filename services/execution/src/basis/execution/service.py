"""Shell of the execution service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.execution.manager import BusCounterparts, ExecutionManager
from basis.models.messages import OrdersReply, OrdersRequest
from basis.runtime import bus as subjects
from basis.runtime import health
from basis.runtime.clock import SimulatedClock
from basis.runtime.structured_logger import StructuredLogger
from basis.runtime.timeline import tick_time

if TYPE_CHECKING:
    from basis.models.errors import ComponentError
    from basis.runtime.bus import Bus

SERVICE = "execution"


def register(bus: Bus) -> None:
    """Serve the orders of all runs on a bus."""
    clock = SimulatedClock()
    log = StructuredLogger(bus, "execution_manager", clock)
    manager = ExecutionManager(bus, BusCounterparts(bus), clock, log)

    async def orders(request: OrdersRequest) -> OrdersReply:
        return await manager.run(request)

    async def failed(request: OrdersRequest, error: ComponentError, trace: str) -> None:
        await log.error(request.run.correlation_id, tick_time(request.run, request.tick), error, trace)

    bus.serve(subjects.orders("*"), SERVICE, OrdersRequest, orders, on_error=failed)
    health.serve(bus, SERVICE)
