"""Live runs of services in processes of their own on a local exchange: one perp, its side by a model's signals."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml
from tests.support.cluster import Cluster, assert_every_event_once, event_lines, process_cluster
from tests.support.live import ARMED, LiveCluster, assert_verified

from basis.gateway.backtest_service import BacktestService
from basis.gateway.live_service import LiveService
from basis.runtime import subjects
from basis.runtime.clock import SharedClock
from basis.testkit.exchange import ExchangeServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    import pytest

    from basis.models.messages import RunOutcome, RunSubmit

MODE = "ml_btc_directional_usdt_margin"
BEGIN = datetime(2024, 5, 12, 7, 50, tzinfo=UTC)


@dataclass
class ExchangeRun:
    """A cluster, the exchange that it trades on, and one live run."""

    cluster: Cluster
    live: LiveCluster
    server: ExchangeServer
    folder: Path

    async def start(self, ticks: int | None = None, *, turning: bool = True) -> RunSubmit:
        """Start the run: long at its first tick, and where it turns the other side half an hour on, and so on."""
        lines = ["timestamp,signal,confidence,sd"]
        for half_hour in range(2000):
            at = datetime.fromtimestamp(BEGIN.timestamp() - 3600 + 1800 * half_hour, UTC)
            lines.append(f"{at.isoformat()},{'short' if turning and half_hour // 3 % 2 else 'long'},0.9,0.02")
        (self.folder / "signals.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        changes: dict[str, Any] = ARMED | {
            "strategy__signals__provider": "file",
            "strategy__signals__location": str(self.folder / "signals.csv"),
            "live__fixed_columns": {"price_usd:USDT": 1.0},
            "time_step_s": 300,
        }
        return await self.live.start(MODE, ticks=ticks, mode="live", **changes)

    async def ticks(self, correlation_id: str, least: int, patience_s: float = 90.0) -> None:
        """Wait until so many ticks are committed."""
        async with asyncio.timeout(patience_s):
            while True:
                status = await self.live.live.status(correlation_id)
                if status.ticks >= least:
                    return
                assert status.status in {"queued", "running"}, status
                await asyncio.sleep(0.05)

    def filled(self) -> Counter[str]:
        """Client order id -> filled orders, exits apart."""
        with self.server.lock:
            orders = self.server.exchange.account.orders.values()
            return Counter(one.client for one in orders if one.filled and not one.purpose)

    def log_of(self, name: str) -> str:
        """What a service printed."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def assert_one_effect_each(self, outcome: RunOutcome, *, missed: bool = False) -> None:
        """What the log says was executed is what the exchange executed, once each; no event lost, none twice."""
        assert_every_event_once(outcome, missed=missed)
        assert_verified(outcome)
        found = event_lines(outcome)
        executed = [line for line in found["operation_executions"] if line["status"] == "confirmed"]
        filled = self.filled()
        assert executed, "it traded"
        assert set(filled.values()) == {1}, filled
        assert len(filled) == len(executed), (filled, executed)
        assert len({line["operation_id"] for line in executed}) == len(executed)
        assert found["reconciliations"][-1]["success"], "books and exchange agree at the end"


async def until(what: str, met: Callable[[], object], patience_s: float = 60.0) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(patience_s):
            while not met():  # noqa: ASYNC110 - processes set no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {patience_s:g} s: {what}") from None


@asynccontextmanager
async def exchange_run(
    folder: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: Sequence[str] = subjects.RUN_CRITICAL,
    **fields: Any,
) -> AsyncIterator[ExchangeRun]:
    """Services and exchange on a shared clock.

    Args:
        folder: everything is written below it.
        data: catalogue whose bars the exchange replays.
        monkeypatch: for the environment of the services.
        names: services; ``venues-2`` is a second replica.
        **fields: further settings.
    """
    clock = SharedClock(folder / "clock")
    clock.set(BEGIN)
    with ExchangeServer("binance", clock=lambda: int(clock.now().timestamp() * 1000)) as server:
        server.exchange.replay(data)
        server.exchange.deposit("linear", "USDT", 100_000)
        (folder / "live").mkdir()
        settings = {"recv_window_ms": 1000, "max_clock_skew_ms": 100, "rate_limit": False}
        (folder / "live" / "binance.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        monkeypatch.setenv("BASIS_LIVE_DIR", str(folder / "live"))
        monkeypatch.setenv("BASIS_BINANCE_URL", server.url)
        monkeypatch.setenv("BASIS_BINANCE_API_KEY", server.credentials.key)
        monkeypatch.setenv("BASIS_BINANCE_API_SECRET", server.credentials.secret)
        monkeypatch.setenv("BASIS_KILL_FILE", str(folder / "strike"))
        async with process_cluster(
            folder, data, forked=True, names=names, clock_file=folder / "clock", live_trading=True, **fields
        ) as cluster:
            runs = BacktestService(cluster.bus, clock)
            live = LiveCluster(cluster.bus, cluster.settings, clock, LiveService(cluster.bus, clock, runs), runs, None)
            yield ExchangeRun(cluster, live, server, folder)
