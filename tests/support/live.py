"""All services on a shared clock, with live venues of a test's own, and paper and live runs on them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.cluster import settings_for

from basis.cli import services
from basis.event_logger.directories import RunDir
from basis.event_logger.verify import verify
from basis.gateway.backtest_service import BacktestService
from basis.gateway.live_requests import LiveRequest, prepare_live
from basis.gateway.live_service import ENDED, LiveService
from basis.runtime import subjects
from basis.runtime.bus import Bus
from basis.runtime.clock import SharedClock
from basis.runtime.nats_server import NatsServer
from basis.testkit.faults import FaultyBus
from basis.testkit.runs import CONFIGS
from basis.venues import service as venues_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from basis.models.messages import RunOutcome, RunSubmit
    from basis.runtime.settings import Settings

OTHERS = tuple(name for name in subjects.RUN_CRITICAL if name != "venues")


@dataclass
class LiveCluster:
    """Running services, a connection to them, and their clock."""

    bus: Bus
    settings: Settings
    clock: SharedClock
    live: LiveService
    runs: BacktestService
    proxy: FaultyBus | None
    """Between NATS and all services but the venues."""

    async def start(
        self,
        strategy: str,
        *,
        ticks: int | None = None,
        mode: str = "paper",
        capital: float | None = None,
        **overrides: Any,
    ) -> RunSubmit:
        """Start a run; overrides are dotted paths with ``__`` for the dot."""
        changes = {name.replace("__", "."): value for name, value in overrides.items()}
        request = LiveRequest.model_validate(
            {"strategy_name": strategy, "mode": mode, "initial_capital": capital, "config_overrides": changes}
        )
        prepared = prepare_live(request, CONFIGS, trusted=True)
        if ticks is not None:
            step = prepared.merged.config.time_step_s
            end = self.clock.now().replace(microsecond=0) + timedelta(seconds=1 + step * (ticks - 1))
            prepared = prepared._replace(end=end)
        return await self.live.start(prepared)

    async def ended(self, correlation_id: str) -> RunOutcome:
        """Wait for the end of a run."""
        async for status in self.runs.follow(correlation_id):
            if status.status in ENDED:
                break
        outcome = await self.runs.outcome(correlation_id)
        assert outcome is not None
        return outcome


@asynccontextmanager
async def live_cluster(
    folder: Path, data: Path, begin: datetime, factories: Mapping[str, Any] | None = None, **fields: Any
) -> AsyncIterator[LiveCluster]:
    """Services in this process; the venues with factories of the test's own where given."""
    clock = SharedClock(folder / "clock")
    clock.set(begin)
    with NatsServer(folder / "nats") as server:
        settings = settings_for(folder, data, server.url, clock_file=folder / "clock", **fields)
        venues_bus = Bus(settings, "venues")
        await venues_bus.connect()
        venues_service.register(venues_bus, settings, clock, factories)
        await venues_bus.start()
        try:
            async with (
                FaultyBus(server.url) as proxy,
                services.running(OTHERS, settings.model_copy(update={"nats_url": proxy.url})) as bus,
            ):
                runs = BacktestService(bus, clock)
                yield LiveCluster(bus, settings, clock, LiveService(bus, clock, runs), runs, proxy)
        finally:
            await venues_bus.stop()


def assert_verified(outcome: RunOutcome) -> None:
    """The log on disk is what was sealed."""
    assert outcome.log_directory is not None
    report = verify(
        RunDir(outcome.status.correlation_id, int(Path(outcome.log_directory).name), Path(outcome.log_directory))
    )
    assert not report.problems, report.problems


ARMED: dict[str, Any] = {
    "live__enabled": True,
    "live__limits__max_order_usd": 1e9,
    "live__limits__max_daily_usd": 1e9,
    "live__limits__max_leverage": 10.0,
}
"""Overrides that arm a mode and set limits far out."""
