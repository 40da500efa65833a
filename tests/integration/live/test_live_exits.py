"""A take profit or stop loss that the exchange does not take after its entry has filled: nobody may forget it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from tests.support.cluster import event_lines
from tests.support.live import ARMED, assert_verified, live_cluster
from tests.support.markets import Markets
from tests.support.strategies import BEGIN

from basis.runtime.clock import SharedClock
from basis.testkit.exchange.tapes import Steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from basis.models.messages import RunOutcome
    from basis.testkit.exchange.matching import Exchange

pytestmark = [pytest.mark.timeout(240)]
MODE = "ml_btc_directional_usdt_margin"
BTC = ("BTCUSDT", "linear")
PRICE, STOPPED = 60_000, 58_000
"""The stop loss is two standard deviations of 1 % below the first."""


@pytest.fixture
def markets(tmp_path: Path) -> Iterator[Markets]:
    """An exchange whose price stands still, and a model that is long."""
    clock = SharedClock(tmp_path / "clock")
    clock.set(BEGIN)
    found = Markets(None, clock, tmp_path / "no bars")
    with found.open():
        found.fund("binance", "USDT", 100_000)
        exchange(found).tapes[BTC] = Steps(Decimal(PRICE))
        paid = [round((BEGIN - timedelta(hours=8 * ago)).timestamp() * 1000) for ago in range(8, 0, -1)]
        exchange(found).rates[BTC] = [(at, Decimal("0.0001")) for at in paid]
        stamps = [(BEGIN + timedelta(hours=hour)).isoformat() for hour in range(-1, 60)]
        rows = "\n".join(f"{stamp},long,0.9,0.01" for stamp in stamps)
        (tmp_path / "signals.csv").write_text(f"timestamp,signal,confidence,sd\n{rows}\n", encoding="utf-8")
        yield found


def exchange(markets: Markets) -> Exchange:
    return markets.servers["binance"].exchange


def overrides(folder: Path) -> dict[str, Any]:
    return ARMED | {
        "strategy__signals__provider": "file",
        "strategy__signals__location": str(folder / "signals.csv"),
        "live__fixed_columns": {"price_usd:USDT": 1.0},
        "time_step_s": 300,
    }


def critical(outcome: RunOutcome) -> list[str]:
    log = Path(str(outcome.log_directory)) / "strategy_manager.log"
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    return [str(line["message"]) for line in lines if line["level"] == "CRITICAL"]


async def test_exits_that_are_refused_are_tried_again_until_they_are_there(markets: Markets, tmp_path: Path) -> None:
    markets.servers["binance"].faults.add("order.conditional", "reject", times=10_000)
    async with live_cluster(tmp_path, tmp_path, BEGIN, markets.factories(), live_trading=True) as cluster:
        submit = await cluster.start(MODE, mode="live", **overrides(tmp_path))
        cid = submit.correlation_id
        async for status in cluster.runs.follow(cid):
            if status.alerts:
                assert any("stop_loss of binance:Perp:BTCUSDT at 5" in alert for alert in status.alerts)
                markets.servers["binance"].faults.clear()
                break
        async for status in cluster.runs.follow(cid):
            if not status.alerts:
                break
        await cluster.live.stop(cid)
        outcome = await cluster.ended(cid)
    assert outcome.status.status == "completed", outcome.status
    assert_verified(outcome)
    found = event_lines(outcome)
    assert [line["status"] for line in found["operation_executions"]] == ["confirmed"], "one entry, and nothing else"
    assert "VEN-018" in critical(outcome)[0]
    decisions = found["strategy_decisions"]
    assert {"take_profit_missing", "stop_loss_missing"} <= set(decisions[1]["constraints_violated"])
    assert decisions[-1]["constraints_violated"] == []
    waiting = [order for order in exchange(markets).account.orders.values() if order.status == "waiting"]
    assert sorted(order.purpose for order in waiting) == ["stop_loss", "take_profit"]
    assert {order.amount for order in waiting} == {abs(exchange(markets).account.positions[BTC].amount)}


async def test_stop_that_the_exchange_does_not_keep_is_kept_by_the_engine(markets: Markets, tmp_path: Path) -> None:
    markets.servers["binance"].faults.add("order.conditional", "reject", times=10_000)
    tape = exchange(markets).tapes[BTC]
    assert isinstance(tape, Steps)
    tape.set(int((BEGIN + timedelta(minutes=8)).timestamp() * 1000), Decimal(STOPPED))
    async with live_cluster(tmp_path, tmp_path, BEGIN, markets.factories(), live_trading=True) as cluster:
        submit = await cluster.start(MODE, ticks=3, mode="live", **overrides(tmp_path))
        outcome = await cluster.ended(submit.correlation_id)
    assert outcome.status.status == "completed", outcome.status
    assert_verified(outcome)
    found = event_lines(outcome)
    assert [line["strategy_intent"] for line in found["orders"]] == ["entry_full", "risk_override"]
    assert {line["status"] for line in found["operation_executions"]} == {"confirmed"}
    closing = found["strategy_decisions"][2]
    assert (closing["decision_type"], closing["trigger_source"]) == ("emergency_exit", "exit_missing")
    assert "stop_loss_missing" in closing["constraints_violated"]
    assert exchange(markets).account.positions[BTC].amount == 0
    assert found["positions"][-1]["positions"]["binance:Perp:BTCUSDT"] == 0.0
