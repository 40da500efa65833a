"""Shell of the venues service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.config import RunConfig
from basis.models.messages import (
    AdvanceReply,
    AdvanceRequest,
    CoverageReply,
    CoverageRequest,
    ExecuteReply,
    ExecuteRequest,
    PositionsReply,
    PositionsRequest,
)
from basis.runtime import bus as subjects
from basis.runtime import codec, health
from basis.venues.manager import VenueInterfaceManager

if TYPE_CHECKING:
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.settings import Settings

SERVICE = "venues"


def warm() -> None:
    """Build the models of this service, before its processes are forked or at the latest before its first request."""
    codec.warm(AdvanceReply, ExecuteReply, PositionsReply, RunConfig)


def register(bus: Bus, settings: Settings, clock: Clock) -> None:
    """Serve all venue requests on a bus."""
    warm()
    del clock  # a simulated venue's time is its tick's
    manager = VenueInterfaceManager(settings.data_dir, settings.cache_dir)

    async def coverage(request: CoverageRequest) -> CoverageReply:
        return manager.coverage(request)

    async def advance(request: AdvanceRequest) -> AdvanceReply:
        return manager.advance(request)

    async def execute(request: ExecuteRequest) -> ExecuteReply:
        return manager.execute(request)

    async def positions(request: PositionsRequest) -> PositionsReply:
        return manager.positions(request)

    bus.serve(subjects.venues_coverage("*"), SERVICE, CoverageRequest, coverage)
    bus.serve(subjects.venues_advance("*"), SERVICE, AdvanceRequest, advance)
    bus.serve(subjects.venues_execute("*"), SERVICE, ExecuteRequest, execute)
    bus.serve(subjects.venues_positions("*"), SERVICE, PositionsRequest, positions)
    health.serve(bus, SERVICE, lambda: {"data_dir": str(settings.data_dir.resolve())})
