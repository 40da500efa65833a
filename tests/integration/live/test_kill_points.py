"""``kill -9`` between any two steps of a live order: one effect at the venue, no event lost, none twice, and the run goes on.

Services in processes of their own, a real NATS, a real EVM node with the real Aave. Every point of ``kill_point`` in the
venues, execution and strategy services is met while the first order of a run is on its way. Processes are forked from one
that has everything loaded; ``BASIS_COLD_STARTS=1`` starts them as a user would, which is what ``bench/run.py restart`` measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.support.cluster import Cluster, assert_every_event_once, event_lines, process_cluster
from tests.support.exchange_run import exchange_run, until
from tests.support.live import ARMED, LiveCluster, assert_verified
from tests.support.warp import NODE, keep_up

from basis.gateway.backtest_service import BacktestService
from basis.gateway.live_service import LiveService
from basis.runtime.clock import SharedClock
from basis.testkit.runs import REPO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.chain import Account
    from tests.support.exchange_run import ExchangeRun

pytestmark = [pytest.mark.timeout(900)]
UNITS = 10**6
CAPITAL = 20_000
TICKS = 4
EMODE = {"ltv": 0.93, "liquidation_threshold": 0.95, "liquidation_bonus": 0.01, "reserve_factor": 0.15}
"""The wallet of the tests is onboarded with e-mode on."""
LATER = ("engine: after the tick is in hand", "engine: before the tick is recorded")
"""Points that are met at the tick after the first order: what the run counts is on record as well."""
_POINT = re.compile(r"(?:kill_point|_at_point)\(\"([a-z]+): ([^\"]+)\"\)")


AT_AN_EXCHANGE = {
    "strategy": (
        "engine: before the orders are asked for",
        "engine: before the orders are written down",
        "engine: after the orders are written down",
        "engine: after the orders are answered",
    ),
    "execution": ("execution: before the order is asked for", "execution: after the order is answered"),
    "venues": (
        "venues: before intent",
        "venues: after intent",
        "venues: before send",
        "venues: after send",
        "venues: before recording",
    ),
}
"""Points between the decision and the outcome on record: there an order is prepared first, and written down once."""


def points(service: str) -> list[str]:
    """Every labelled point of a service, in the order of its source."""
    found = []
    for file in sorted((REPO / "services").glob("*/src/**/*.py")):
        found += [
            f"{name}: {what}" for name, what in _POINT.findall(file.read_text(encoding="utf-8")) if name == service
        ]
    return [point for point in found if not point.endswith("before resolve")]  # met where an outcome is pending


def test_there_are_25_points() -> None:
    assert sum(len(points(service)) for service in ("engine", "execution", "venues")) >= 25


@asynccontextmanager
async def killable(
    account: Account, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Cluster, LiveCluster]]:
    """Five processes on a shared clock that the chain follows."""
    file = folder / "chain.yaml"
    file.write_text(yaml.safe_dump(account.config.model_dump(mode="json")), encoding="utf-8")
    monkeypatch.setenv("BASIS_CHAIN_CONFIG", str(file))
    monkeypatch.setenv("BASIS_RPC_URL", account.node.url)
    monkeypatch.setenv("BASIS_WALLET_KEY", account.key.get_secret_value())
    monkeypatch.setenv("BASIS_KILL_FILE", str(folder / "strike"))
    clock = SharedClock(folder / "clock")
    clock.set(datetime.fromtimestamp(account.node.time + 60, UTC))
    following = asyncio.create_task(_follow(account, clock))
    forked = not os.environ.get("BASIS_COLD_STARTS")
    try:
        async with process_cluster(
            folder, folder, forked=forked, clock_file=folder / "clock", live_trading=True
        ) as cluster:
            runs = BacktestService(cluster.bus, clock)
            live = LiveCluster(cluster.bus, cluster.settings, clock, LiveService(cluster.bus, clock, runs), runs, None)
            yield cluster, live
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def _follow(account: Account, clock: SharedClock) -> None:
    while True:
        await asyncio.to_thread(keep_up, account, clock)
        await asyncio.sleep(0.02)


def endow(account: Account) -> int:
    """The wallet holds the capital and nothing else, whatever the run before left; returns its next nonce."""
    with NODE:
        usdt, supplied = account.world.tokens["USDT"], account.world.a_token("USDT")
        with account.node.as_sender(account.address) as wallet:
            for token in (usdt, supplied):
                if held := token.call("balanceOf", account.address):
                    token.send("transfer", account.client, held, sender=wallet)
        account.world.give(account.address, "USDT", CAPITAL * UNITS)
        return int(account.node.rpc("eth_getTransactionCount", account.address, "latest"), 16)


async def die_at(point: str, service: str, account: Account, cluster: Cluster, live: LiveCluster) -> float:
    """One run whose service dies at a point; returns seconds from its death until the run went on."""
    sent = await asyncio.to_thread(endow, account)
    cluster.strike(f"SIGKILL@{2 if point in LATER else 1}", point)
    submit = await live.start(
        "pure_lending_usdt",
        ticks=TICKS,
        mode="live",
        **ARMED,
        venues__aave_v3__emode=EMODE,
        execution_manager__execution_timeout_s=20.0,
    )
    child = cluster.children[service]
    async with asyncio.timeout(60):
        while child.poll() is None:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(0.005)
    begin = time.perf_counter()
    assert child.returncode == -signal.SIGKILL, f"{point}: {service} ended with {child.returncode}, see its log"
    seen = (await live.live.status(submit.correlation_id)).ticks
    cluster.launch(service)
    async with asyncio.timeout(90):
        while True:
            status = await live.live.status(submit.correlation_id)
            if status.ticks != seen or status.status != "running":
                break
            await asyncio.sleep(0.02)
    took = time.perf_counter() - begin
    outcome = await live.ended(submit.correlation_id)
    assert outcome.status.status == "completed", (point, outcome.status)
    assert outcome.ticks == TICKS, point
    assert_every_event_once(outcome)
    assert_verified(outcome)
    with NODE:
        now = int(account.node.rpc("eth_getTransactionCount", account.address, "latest"), 16)
        scaled = account.world.a_token("USDT").call("scaledBalanceOf", account.address) / UNITS
    executed = event_lines(outcome)["operation_executions"]
    assert [line["status"] for line in executed] == ["confirmed"], (point, executed)
    assert now - sent == 1, f"{point}: {now - sent} transactions for one operation"
    last = event_lines(outcome)["positions"][-1]["positions"]
    assert last["aave_v3:aToken:aUSDT"] == pytest.approx(scaled, rel=1e-9), point
    return took


async def test_one_effect_whatever_dies(chain: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.world.restore()
    async with killable(chain, tmp_path, monkeypatch) as (cluster, live):
        for service, name in (("venues", "venues"), ("execution", "execution"), ("engine", "strategy")):
            for point in points(service):
                took = await die_at(point, name, chain, cluster, live)
                print(f"\n{took:5.2f} s until the run went on, killed {point}")
                live.clock.set(live.clock.now() + timedelta(seconds=5))


async def test_one_effect_at_an_exchange(bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run whose services die at one order after the other."""
    async with exchange_run(tmp_path, bars, monkeypatch) as run:
        submit = await run.start()
        cid = submit.correlation_id
        await run.ticks(cid, 2)
        for service, its_points in AT_AN_EXCHANGE.items():
            for point in its_points:
                took = await dies_at_an_order(run, cid, service, point)
                print(f"\n{took:5.2f} s until the run went on, killed {point}")
        await run.live.live.stop(cid)
        outcome = await run.live.ended(cid)
        assert outcome.status.status == "completed", outcome.status
        run.assert_one_effect_each(outcome, missed=True)
        assert len(run.filled()) >= sum(map(len, AT_AN_EXCHANGE.values()))


async def dies_at_an_order(run: ExchangeRun, cid: str, service: str, point: str) -> float:
    """The next order kills a service; returns seconds from there until that order is filled and the run goes on."""
    filled, child = len(run.filled()), run.cluster.children[service]
    run.cluster.strike("SIGKILL", point)
    await until(f"{service} dies {point}", lambda: child.poll() is not None)
    assert child.returncode == -signal.SIGKILL, f"{point}: {service} ended with {child.returncode}"
    begin = time.perf_counter()
    run.cluster.launch(service)
    await until(f"the order is there, killed {point}", lambda: len(run.filled()) > filled)
    await run.ticks(cid, (await run.live.live.status(cid)).ticks + 1)
    return time.perf_counter() - begin
