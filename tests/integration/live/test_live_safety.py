"""What stops a live run: emergency stop with and without unwinding, the dead-man switch, limits, a clock that stands."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.chain import Account, begin
from tests.support.cluster import event_lines
from tests.support.live import ARMED, assert_verified, live_cluster
from tests.support.warp import NODE, chain_factories

from basis.models.messages import Halt
from basis.runtime import subjects
from basis.runtime.clock import SharedClock
from basis.testkit.faults import Fate

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(240)]
UNITS = 10**6


async def test_emergency_stop_with_unwinding(account: Account, tmp_path: Path) -> None:
    clock = SharedClock(tmp_path / "clock")
    factories = chain_factories(account, clock)
    async with live_cluster(tmp_path, tmp_path, begin(account), factories, live_trading=True) as cluster:
        submit = await cluster.start("pure_lending_usdt", mode="live", **ARMED)
        cid = submit.correlation_id
        async for status in cluster.runs.follow(cid):
            if status.ticks >= 5:
                break
        await cluster.live.emergency_stop(cid, unwind=True, reason="a test of it")
        outcome = await cluster.ended(cid)
    assert outcome.status.status == "cancelled"
    assert "unwound" in (outcome.status.error or "")
    operations = [line["operation_type"] for line in event_lines(outcome)["operation_executions"]]
    assert operations == ["supply", "withdraw"]
    assert account.world.a_token("USDT").call("scaledBalanceOf", account.address) <= 2, "all is in the wallet again"
    assert account.units("USDT") == pytest.approx(50_000 * UNITS, rel=1e-3)
    assert_verified(outcome)


async def test_emergency_stop_leaves_positions_and_refuses_orders(account: Account, tmp_path: Path) -> None:
    clock = SharedClock(tmp_path / "clock")
    factories = chain_factories(account, clock)
    async with live_cluster(tmp_path, tmp_path, begin(account), factories, live_trading=True) as cluster:
        submit = await cluster.start("pure_lending_usdt", mode="live", **ARMED)
        cid = submit.correlation_id
        async for status in cluster.runs.follow(cid):
            if status.ticks >= 3:
                break
        began = time.monotonic()
        await cluster.live.emergency_stop(cid, unwind=False, reason="a test of it")
        outcome = await cluster.ended(cid)
        print(f"ended {time.monotonic() - began:.2f} s after the request")
    assert outcome.status.status == "cancelled"
    assert outcome.status.error == "a test of it"
    assert account.world.a_token("USDT").call("scaledBalanceOf", account.address) > 0, "positions stay"


async def test_a_halt_is_obeyed_before_every_order(account: Account, tmp_path: Path) -> None:
    """The halt alone, without the engine: the next order is refused."""
    clock = SharedClock(tmp_path / "clock")
    factories = chain_factories(account, clock)
    sent = account.node.rpc("eth_getTransactionCount", account.address, "latest")
    async with live_cluster(tmp_path, tmp_path, begin(account), factories, live_trading=True) as cluster:
        end_at = 3
        bucket = await cluster.bus.bucket(subjects.KV_TRADING)
        original = cluster.live._begun

        async def halted(correlation_id: str) -> None:
            order = Halt(correlation_id=correlation_id, reason="halted by hand")
            await bucket.put(subjects.halt_key(correlation_id), order.model_dump_json().encode())
            await original(correlation_id)

        cluster.live._begun = halted  # type: ignore[method-assign]
        submit = await cluster.start("pure_lending_usdt", ticks=end_at, mode="live", **ARMED)
        outcome = await cluster.ended(submit.correlation_id)
    executed = event_lines(outcome)["operation_executions"]
    refused = [line for line in executed if line["error_code"] == "VEN-016"]
    assert refused, executed
    assert all("halted by hand" in line["error_message"] for line in refused)
    with NODE:
        now = account.node.rpc("eth_getTransactionCount", account.address, "latest")
    confirmed = sum(line["status"] == "confirmed" for line in executed)
    assert int(now, 16) - int(sent, 16) == confirmed


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"live__limits__max_order_usd": 1000.0}, "max_order_usd"),
        ({"live__limits__max_daily_usd": 1000.0}, "max_daily_usd"),
        ({"live__limits__venues": ["wallet"]}, "limits.venues"),
        ({"live__limits__instruments": ["wallet:BaseToken:USDT"]}, "limits.instruments"),
    ],
)
async def test_nothing_outside_the_limits_is_sent(
    account: Account, tmp_path: Path, limits: dict[str, object], said: str
) -> None:
    clock = SharedClock(tmp_path / "clock")
    before = account.everything()
    factories = chain_factories(account, clock)
    async with live_cluster(tmp_path, tmp_path, begin(account), factories, live_trading=True) as cluster:
        submit = await cluster.start("pure_lending_usdt", ticks=3, mode="live", **(ARMED | limits))
        outcome = await cluster.ended(submit.correlation_id)
    executed = event_lines(outcome)["operation_executions"]
    assert executed
    assert {line["error_code"] for line in executed} == {"VEN-015"}
    assert all(said in line["error_message"] for line in executed)
    assert account.everything() == before
    assert_verified(outcome)


async def test_a_silent_engine_stops_trading(account: Account, tmp_path: Path) -> None:
    clock = SharedClock(tmp_path / "clock")
    cancelled: list[str] = []
    factories = chain_factories(account, clock)
    original = factories["wallet"]

    def watched(venue: str, config: object, its_clock: object) -> object:
        made = original(venue, config, its_clock)

        async def cancel_all() -> int:
            cancelled.append(venue)
            found: int = await made._venue.cancel_all()
            return found

        made.cancel_all = cancel_all
        return made

    chained = dict.fromkeys(factories, watched)
    async with live_cluster(tmp_path, tmp_path, begin(account), chained, live_trading=True) as cluster:
        submit = await cluster.start("pure_lending_usdt", mode="live", **ARMED, live__dead_man_s=5.0)
        cid = submit.correlation_id
        async for status in cluster.runs.follow(cid):
            if status.ticks >= 3:
                break
        assert not cancelled
        assert cluster.proxy is not None
        cluster.proxy.rule = lambda _direction, subject: Fate.DROP if subject.endswith(".heartbeat") else Fate.PASS
        async with asyncio.timeout(60):
            while not cancelled:  # noqa: ASYNC110 - a list sets no event
                await asyncio.sleep(0.05)
        cluster.proxy.rule = lambda _direction, _subject: Fate.PASS
        await cluster.live.stop(cid)
        outcome = await cluster.ended(cid)
    assert outcome.status.status == "completed", "heard again, it goes on"
