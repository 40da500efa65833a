"""The monitors service over a real NATS: settlements, capital, postings and refusals as they reach the bus."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from basis.models.errors import ComponentError
from basis.models.events import EVENT_MODELS
from basis.models.execution import ExecutionHandshake
from basis.models.messages import (
    AssessReply,
    AssessRequest,
    CommitReply,
    CommitRequest,
    ExecutedTransaction,
    ReconcileReply,
    ReconcileRequest,
    Settlement,
    Window,
)
from basis.models.order import Order
from basis.monitors import service
from basis.runtime import codec, subjects
from basis.runtime.bus import Bus
from basis.runtime.clock import SystemClock
from basis.runtime.nats_server import NatsServer
from basis.runtime.settings import Settings
from basis.runtime.timeline import settlement_id
from basis.testkit.runs import CID, START, custom_config, market_row, portfolio, run_ref

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from nats.aio.msg import Msg

USDT, BINANCE, BTC = "wallet:BaseToken:USDT", "binance:BaseToken:USDT", "binance:BaseToken:BTC"
PERP = "binance:Perp:BTCUSDT"
CONFIG = custom_config([USDT, BINANCE, BTC, PERP], asset="BTC")
ROW = market_row(CONFIG)
HELD = {USDT: 1000.0, BINANCE: 30_000.0, BTC: 1.0, PERP: -1.0}
STATE = portfolio(HELD, market=ROW, capital=91_000.0, tick=9)
FLOWS = (
    Settlement(tick=11, venue="binance", kind="funding", deltas={BINANCE: 6.0}, details={"funding_rate": 1e-4}),
    Settlement(tick=11, venue="wallet", kind="deposit", deltas={USDT: 500.0}),
    Settlement(tick=12, venue="binance", kind="funding", deltas={BINANCE: 7.0}),
)
MARKS = np.array([60_000.0, 60_100.0, 60_100.0])
MARGIN = np.array([30_000.0, 29_906.0, 29_913.0])


def window(margin: np.ndarray[Any, Any] = MARGIN) -> Window:
    market = {name: np.full(3, value) for name, value in ROW.items()} | {"perp:binance:BTCUSDT": MARKS}
    balances = {BINANCE: margin, USDT: np.array([1000.0, 1500.0, 1500.0])}
    return Window(
        first_tick=10,
        ticks=3,
        market={name: codec.pack(column, name) for name, column in market.items()},
        balances={name: codec.pack(column, name) for name, column in balances.items()},
        settlements=codec.pack_settlements(FLOWS),
    )


class Heard:
    """Events of the run as they pass."""

    def __init__(self) -> None:
        self.lines: dict[str, list[dict[str, Any]]] = {}

    async def hear(self, message: Msg) -> None:
        """One message of one type."""
        kind = message.subject.rsplit(".", 1)[1]
        for line in message.data.splitlines():
            EVENT_MODELS[kind].model_validate_json(line)
            self.lines.setdefault(kind, []).append(orjson.loads(line))


@asynccontextmanager
async def monitors(folder: Path) -> AsyncIterator[tuple[Bus, Heard]]:
    with NatsServer(folder / "nats") as server:
        settings, heard = Settings(nats_url=server.url, log_level="WARNING"), Heard()
        bus = Bus(settings, "monitors")
        await bus.connect()
        service.register(bus, settings, SystemClock())
        await bus.start()
        await bus.client.subscribe(f"basis.{CID}.events.*", cb=heard.hear)
        await bus.ping()
        try:
            yield bus, heard
        finally:
            await bus.stop()


def commit(ticks: int, **fields: Any) -> CommitRequest:
    values = {"run": run_ref(CONFIG), "portfolio": STATE, "window": window(), "ledger": HELD, "ticks": ticks}
    return CommitRequest.model_validate(values | fields)


def test_settlements_of_committed_ticks_alone_are_logged_with_their_postings(tmp_path: Path) -> None:
    async def story() -> tuple[AssessReply, CommitReply, Heard]:
        async with monitors(tmp_path) as (bus, heard):
            request = AssessRequest(run=run_ref(CONFIG), portfolio=STATE, window=window(), ledger=HELD)
            assessed = await bus.request(subjects.monitors_assess(CID), request, AssessReply)
            committed = await bus.request(subjects.monitors_commit(CID), commit(2), CommitReply)
            await bus.ping()
            return assessed, committed, heard

    assessed, committed, heard = asyncio.run(story())
    assert codec.unpack(assessed.columns["capital"]).tolist() == [91_000.0, 91_500.0, 91_500.0]
    assert codec.unpack(assessed.positions[BINANCE]).tolist() == MARGIN.tolist()
    assert set(assessed.positions) == {USDT, BINANCE}
    assert codec.unpack(assessed.sums["attribution"]["funding"]).tolist() == [0.0, 6.0, 13.0]
    assert set(assessed.sums) == {"attribution", "pnl_by_venue", "pnl_by_asset"}
    assert committed.counts["execution_deltas"] == 2
    funding, deposit = heard.lines["execution_deltas"]
    run = run_ref(CONFIG)
    assert [event["source_operation_id"] for event in (funding, deposit)] == [
        settlement_id(run, 11, 0),
        settlement_id(run, 11, 1),
    ]
    assert [event["order"] for event in (funding, deposit)] == [11_050_000, 11_050_001]
    assert funding["metadata"] == {"funding_rate": 1e-4}
    assert {leg["account"]: leg["amount"] for leg in funding["postings"]} == {BINANCE: 6.0, "funding:binance": -6.0}
    assert {leg["account"]: leg["amount"] for leg in deposit["postings"]} == {USDT: 500.0, "client": -500.0}
    assert [row["attribution"]["funding"] for row in heard.lines["pnl_calculations"]] == [0.0, 6.0]


def test_balance_of_the_venue_that_differs_stops_the_window(tmp_path: Path) -> None:
    async def story() -> None:
        async with monitors(tmp_path) as (bus, _):
            wrong = window(MARGIN + np.array([0.0, 0.0, 1e-3]))
            request = AssessRequest(run=run_ref(CONFIG), portfolio=STATE, window=wrong, ledger=HELD)
            await bus.request(subjects.monitors_assess(CID), request, AssessReply)

    with pytest.raises(ComponentError, match=f"tick 12: {BINANCE} is 29913.0 by the monitors") as caught:
        asyncio.run(story())
    assert caught.value.error_code == "POS-001"


def test_order_is_applied_and_logged_as_double_entry_then_the_tick_once_more(tmp_path: Path) -> None:
    order = Order.model_validate(
        {
            "operation_id": "op",
            "operation": "perp_trade",
            "venue": "binance",
            "pair": "BTCUSDT",
            "side": "buy",
            "amount": 1.0,
            "expected_deltas": {PERP: 1.0, BINANCE: -54.0},
            "strategy_intent": "rebalance",
            "strategy_id": "hand_made",
        }
    )
    handshake = ExecutionHandshake.model_validate(
        {
            "operation_id": "op",
            "status": "confirmed",
            "actual_deltas": {PERP: 1.0, BINANCE: -54.0},
            "costs": {"fees": {BINANCE: 30.0}, "slippage": {BINANCE: 24.0}},
            "submitted_at": START,
            "executed_at": START,
            "simulated": True,
        }
    )
    after = HELD | {PERP: 0.0, BINANCE: 29_946.0}
    at_tick = Window(first_tick=9, ticks=1, market={k: codec.pack([v], k) for k, v in ROW.items()}, balances={})

    executed = ExecutedTransaction(position=0, orders=(order,), handshakes=(handshake,), balances=after)

    async def story() -> tuple[ReconcileReply, Heard]:
        async with monitors(tmp_path) as (bus, heard):
            request = ReconcileRequest(
                run=run_ref(CONFIG), tick=9, transactions=(executed,), portfolio=STATE, window=at_tick
            )
            settled = await bus.request(subjects.monitors_reconcile(CID), request, ReconcileReply)
            await bus.ping()
            return settled, heard

    settled, heard = asyncio.run(story())
    assert (settled.success, settled.mismatches) == (True, ())
    assert settled.portfolio.attribution == {"fees": -30.0, "slippage": -24.0}
    assert settled.after is not None
    assert settled.after.equity == STATE.capital - 54.0
    assert settled.after.portfolio.applied == ("op",)
    (line,) = settled.events["execution_deltas"]  # published by the engine, with all of the tick
    EVENT_MODELS["execution_deltas"].model_validate_json(line)
    event = orjson.loads(line)
    assert not heard.lines
    assert [line.component for line in settled.logs] == ["position_update_handler"]
    assert {leg["account"]: leg["amount"] for leg in event["postings"]} == {
        PERP: 1.0,
        BINANCE: -54.0,
        "fees:binance": 30.0,
        "slippage:binance": 24.0,
        "market:binance": -1.0,
    }
    assert [delta["fee"] for delta in event["deltas"]] == [0.0, 30.0]
    (risk,) = map(orjson.loads, settled.after.events["risk_assessments"])
    assert risk["metadata"]["margin_ratio"] == {"binance": None}
