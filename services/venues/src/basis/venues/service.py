"""Shell of the venues service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.config import RunConfig
from basis.models.execution import ExecutionHandshake
from basis.models.messages import (
    AdvanceReply,
    AdvanceRequest,
    CoverageReply,
    CoverageRequest,
    ExecuteReply,
    ExecuteRequest,
    Halt,
    PositionsReply,
    PositionsRequest,
    ReadyRequest,
)
from basis.runtime import codec, health, subjects
from basis.venues.live.counterparts import live_factories
from basis.venues.live.manager import LiveVenueManager
from basis.venues.manager import VenueInterfaceManager

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.settings import Settings
    from basis.venues.live.counterparts import LiveFactory

SERVICE = "venues"


def warm() -> None:
    """Build the models of this service, before its processes are forked or at the latest before its first request."""
    codec.warm(
        *(CoverageRequest, CoverageReply, AdvanceRequest, AdvanceReply, ExecuteRequest, ExecuteReply),
        *(PositionsRequest, PositionsReply, ExecutionHandshake, RunConfig),
    )


def register(bus: Bus, settings: Settings, clock: Clock, factories: Mapping[str, LiveFactory] | None = None) -> None:
    """Serve all venue requests on a bus.

    Args:
        bus: connection.
        settings: of the process.
        clock: wall clock.
        factories: venue -> maker of its live interface; None = those of the entry-point group ``basis.venues.live``.
    """
    warm()
    manager = VenueInterfaceManager(settings.data_dir, settings.cache_dir)
    if factories is None and settings.live_trading:
        # before the service says that it is ready; a backtest has no use for web3 and ccxt
        factories = live_factories()
    live = LiveVenueManager(bus, settings, clock, factories)

    async def heard(subject: str, _payload: bytes) -> None:
        live.beat(subject.split(".")[1])

    async def coverage(request: CoverageRequest) -> CoverageReply:
        return manager.coverage(request)

    async def advance(request: AdvanceRequest) -> AdvanceReply:
        return manager.advance(request) if request.run.run_mode == "backtest" else await live.advance(request)

    async def execute(request: ExecuteRequest) -> ExecuteReply:
        return manager.execute(request) if request.run.run_mode == "backtest" else await live.execute(request)

    async def positions(request: PositionsRequest) -> PositionsReply:
        return manager.positions(request) if request.run.run_mode == "backtest" else await live.positions(request)

    bus.serve(subjects.venues_coverage("*"), SERVICE, CoverageRequest, coverage)
    bus.serve(subjects.venues_advance("*"), SERVICE, AdvanceRequest, advance)
    bus.serve(subjects.venues_execute("*"), SERVICE, ExecuteRequest, execute)
    bus.serve(subjects.venues_ready("*"), SERVICE, ReadyRequest, live.ready)
    bus.on_stop(live.close)
    bus.serve(subjects.venues_halt("*"), SERVICE, Halt, live.halt)
    bus.listen(subjects.live_heartbeat("*"), heard)
    bus.serve(subjects.venues_positions("*"), SERVICE, PositionsRequest, positions)
    health.serve(bus, SERVICE, lambda: {"data_dir": str(settings.data_dir.resolve())})
