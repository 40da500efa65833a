"""The ten strategies live on an accelerated clock, against local counterparts: exchanges that replay bars, anvil.

A few ticks each, with entry, transfers and hedge; ``make live`` runs 200. What must hold: :mod:`tests.support.strategies`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.support.chain import Account
from tests.support.cluster import event_lines
from tests.support.live import ARMED, assert_verified, live_cluster
from tests.support.markets import Markets
from tests.support.strategies import BEGIN, CAPITAL, assert_reconciled, begin_with, live_run, write_bars

from basis.runtime.clock import SharedClock

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(600)]
TICKS = int(os.environ.get("BASIS_LIVE_TICKS", "12"))


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bars(tmp_path_factory.mktemp("bars") / "catalogue")


@pytest.mark.parametrize("mode", CAPITAL)
async def test_a_strategy_trades_live_and_its_books_agree(
    mode: str, chain: Account, bars: Path, tmp_path: Path
) -> None:
    done = await live_run(mode, TICKS, chain, bars, tmp_path)
    assert done.refused == []


async def test_unwinding_waits_for_what_is_in_flight(chain: Account, bars: Path, tmp_path: Path) -> None:
    """Staked ETH is swapped, sent to the exchange, and sold there when it has arrived; only then is the hedge gone and the
    run over."""
    clock = SharedClock(tmp_path / "clock")
    clock.set(BEGIN)
    markets = Markets(chain, clock, bars)
    with markets.open():
        begin_with(markets, "usdt_market_neutral_no_leverage", tmp_path)
        async with live_cluster(tmp_path, bars, BEGIN, markets.factories(), live_trading=True) as cluster:
            submit = await cluster.start("usdt_market_neutral_no_leverage", mode="live", **ARMED)
            async for status in cluster.runs.follow(submit.correlation_id):
                if status.ticks >= 6:
                    break
            await cluster.live.emergency_stop(submit.correlation_id, unwind=True, reason="a test of it")
            outcome = await cluster.ended(submit.correlation_id)
    assert outcome.status.status == "cancelled"
    assert "unwound" in (outcome.status.error or ""), outcome.status
    assert_verified(outcome)
    found = event_lines(outcome)
    assert [line["error_message"] for line in found["operation_executions"] if line["status"] != "confirmed"] == []
    held = found["positions"][-1]["positions"]
    assert {key: quantity for key, quantity in held.items() if ":Perp:" in key and quantity} == {}
    assert held["etherfi:LST:weETH"] == pytest.approx(0.0, abs=1e-9)
    assert held["transit:BaseToken:ETH"] == pytest.approx(0.0, abs=1e-9)
    assert held["binance:BaseToken:ETH"] < 0.01, "all is sold but for less than a lot"
    assert held["wallet:BaseToken:ETH"] < 0.3, "ether for gas is left"
    assert_reconciled(markets, held, found["exposures"][-1])
