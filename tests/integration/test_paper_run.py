"""Paper runs end to end: a real HTTP quote source, real NATS, all services, an accelerated wall clock."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.support.cluster import assert_every_event_once, event_lines, log_lines
from tests.support.live import assert_verified, live_cluster
from tests.support.quotes import QuoteServer, quoting_venues

from basis.models.errors import ComponentError
from basis.runtime.clock import SharedClock
from basis.testkit.runs import mode_config
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)
BEGIN = datetime(2022, 3, 1, 7, 30, tzinfo=UTC)
TICKS = 200


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "catalogue"
    write_sample(folder)
    return folder


@pytest.fixture
def quotes(sample: Path, tmp_path: Path) -> Iterator[QuoteServer]:
    clock = SharedClock(tmp_path / "clock")
    clock.set(BEGIN)
    with QuoteServer(sample, tmp_path / "cache", clock) as server:
        yield server


async def test_200_ticks_of_a_basis_trade(sample: Path, tmp_path: Path, quotes: QuoteServer) -> None:
    factories = quoting_venues(mode_config("btc_basis"), quotes.port)
    async with live_cluster(tmp_path, sample, BEGIN, factories) as cluster:
        submit = await cluster.start("btc_basis", ticks=TICKS, capital=100_000.0)
        outcome = await cluster.ended(submit.correlation_id)
    assert outcome.status.status == "completed", outcome.status
    assert outcome.ticks == TICKS
    assert_every_event_once(outcome)
    found = event_lines(outcome)
    times = [datetime.fromisoformat(line["timestamp"]) for line in found["strategy_decisions"]]
    assert {after - before for before, after in itertools.pairwise(times)} == {timedelta(seconds=60)}
    assert {line["operation_type"] for line in found["orders"]} == {"transfer", "spot_trade", "perp_trade"}
    assert all(line["success"] for line in found["reconciliations"])
    funded = [line for line in found["execution_deltas"] if line["operation_type"] == "funding"]
    assert {line["timestamp"] for line in funded} == {"2022-03-01T08:00:01+00:00"}, "08:00, at the first tick after it"
    assert len(funded) == 3, "one an exchange"
    assert_verified(outcome)


async def test_the_same_row_for_whoever_asks_again(sample: Path, tmp_path: Path, quotes: QuoteServer) -> None:
    factories = quoting_venues(mode_config("pure_lending_usdt"), quotes.port)
    async with live_cluster(tmp_path, sample, BEGIN, factories) as cluster:
        submit = await cluster.start("pure_lending_usdt", ticks=5)
        outcome = await cluster.ended(submit.correlation_id)
        bucket = await cluster.bus.bucket("live_ticks")
        keys = await bucket.keys()
    assert outcome.status.status == "completed", outcome.status
    assert sorted(keys) == [f"{submit.correlation_id}.{tick}" for tick in range(5)]
    assert quotes.requests == 2 * (1 + 5), "two venues, asked once for the start and once for each tick"


async def test_missed_ticks_are_skipped_not_made_up_for(sample: Path, tmp_path: Path, quotes: QuoteServer) -> None:
    factories = quoting_venues(mode_config("btc_basis"), quotes.port)
    async with live_cluster(tmp_path, sample, BEGIN, factories) as cluster:
        submit = await cluster.start("btc_basis", ticks=120, capital=100_000.0)
        async for status in cluster.runs.follow(submit.correlation_id):
            if status.ticks >= 10:
                break
        cluster.clock.set(cluster.clock.now() + timedelta(minutes=45))  # a stall across the funding of 08:00
        outcome = await cluster.ended(submit.correlation_id)
    assert outcome.status.status == "completed", outcome.status
    assert 60 <= outcome.ticks <= 120 - 44
    found = event_lines(outcome)
    ticks = [line["order"] // 1_000_000 for line in found["strategy_decisions"]]
    assert ticks == sorted(set(ticks))
    assert len(ticks) == outcome.ticks
    funded = [line for line in found["execution_deltas"] if line["operation_type"] == "funding"]
    assert len(funded) == 3, "what was due while no one looked is paid, once"
    warnings = [line for line in log_lines(outcome, "strategy_manager") if line["level"] == "WARNING"]
    assert any("were missed and are skipped" in line["message"] for line in warnings)
    assert_verified(outcome)


async def test_quotes_that_fail_for_a_while_skip_ticks_and_stop_the_run_when_they_stay_away(
    sample: Path, tmp_path: Path, quotes: QuoteServer
) -> None:
    factories = quoting_venues(mode_config("pure_lending_usdt"), quotes.port)
    async with live_cluster(tmp_path, sample, BEGIN, factories) as cluster:
        submit = await cluster.start("pure_lending_usdt", live__max_missed_ticks=3)
        async for status in cluster.runs.follow(submit.correlation_id):
            if status.ticks >= 5:
                break
        quotes.down = True
        outcome = await cluster.ended(submit.correlation_id)
    assert outcome.status.status == "failed"
    assert outcome.status.error_code == "VEN-003"
    warnings = [line["message"] for line in log_lines(outcome, "strategy_manager") if line["level"] == "WARNING"]
    assert sum("is skipped" in message for message in warnings) == 4
    assert_verified(outcome)


async def test_a_stale_market_does_not_start_a_run(sample: Path, tmp_path: Path, quotes: QuoteServer) -> None:
    factories = quoting_venues(mode_config("btc_basis"), quotes.port)
    quotes.age_s = 500.0
    async with live_cluster(tmp_path, sample, BEGIN, factories) as cluster:
        with pytest.raises(ComponentError, match=r"DATA-003.*:binance:BTCUSDT"):
            await cluster.start("btc_basis")
        assert not list((tmp_path / "logs").glob("[0-9a-f]*")), "a run that was refused leaves nothing"


async def test_stop_rebalance_deposit_and_withdraw(sample: Path, tmp_path: Path, quotes: QuoteServer) -> None:
    factories = quoting_venues(mode_config("pure_lending_usdt"), quotes.port)
    async with live_cluster(tmp_path, sample, BEGIN, factories) as cluster:
        submit = await cluster.start("pure_lending_usdt", capital=100_000.0, venues__wallet__gas_price_gwei=0)
        cid = submit.correlation_id
        await cluster.live.deposit(cid, 10_000.0, "d1")
        await cluster.live.deposit(cid, 10_000.0, "d1")  # a repeat of the client's counts once
        async for status in cluster.runs.follow(cid):
            if status.equity is not None and status.equity > 109_000.0:
                break
        await cluster.live.withdraw(cid, 30_000.0, "w1")
        async for status in cluster.runs.follow(cid):
            if status.equity is not None and status.equity < 81_000.0:
                break
        await cluster.live.rebalance(cid)
        await asyncio.sleep(0.2)
        await cluster.live.stop(cid)
        outcome = await cluster.ended(cid)
    assert outcome.status.status == "completed", outcome.status
    assert outcome.result is not None
    assert outcome.result.net_flows == pytest.approx(-20_000.0)
    assert abs(outcome.result.attribution_gap) < 1e-3
    actions = [line["trigger_source"] for line in event_lines(outcome)["strategy_decisions"]]
    assert "deviation" in actions
    assert_verified(outcome)
