"""A live run whose NATS server is restarted in the middle of an order, and one whose server is away for a minute.

Services in processes of their own; the server is killed, its store stays. The run goes on by itself: one effect an operation,
no event lost.
"""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.exchange_run import exchange_run, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(300)]
PATIENCE_S = 3.0
"""Of every request; in production a minute."""
AWAY_S = 8.0
"""Beyond the patience of requests, and beyond every timeout of the clients."""


async def test_nats_restarts_and_is_away_for_a_minute(
    bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exchange_run(tmp_path, bars, monkeypatch, request_patience_s=PATIENCE_S) as run:
        nats = run.cluster.server
        venues = run.cluster.children["venues"]

        # the order is at the exchange, and NATS is gone before its outcome is on record
        run.cluster.strike("SIGSTOP", "venues: after send")
        # one order: in a minute the market moves, and a comparison after an order that was in hand would rightly fail
        submit = await run.start(turning=False)
        cid = submit.correlation_id
        await until("the order is sent", lambda: psutil.Process(venues.pid).status() == psutil.STATUS_STOPPED)
        await asyncio.to_thread(nats.kill)
        venues.send_signal(signal.SIGCONT)
        await asyncio.to_thread(nats.start)
        await run.ticks(cid, 3)

        # with nothing on its way
        await asyncio.to_thread(nats.kill)
        await asyncio.to_thread(nats.start)
        await run.ticks(cid, (await run.live.live.status(cid)).ticks + 2)

        # a minute of the run's clock, and longer than any client waits; what the engine has in hand must not end the run
        engine = run.cluster.children["strategy"]
        run.cluster.strike("SIGSTOP", "engine: after the tick is in hand")
        await until("the engine is in a tick", lambda: psutil.Process(engine.pid).status() == psutil.STATUS_STOPPED)
        before = (await run.live.live.status(cid)).ticks
        await asyncio.to_thread(nats.kill)
        engine.send_signal(signal.SIGCONT)
        run.live.clock.set(run.live.clock.now() + timedelta(seconds=60))
        await asyncio.sleep(AWAY_S)
        await asyncio.to_thread(nats.start)
        await run.ticks(cid, before + 6)

        await run.live.live.stop(cid)
        outcome = await run.live.ended(cid)
        assert outcome.status.status == "completed", outcome.status
        run.assert_one_effect_each(outcome, missed=True)
        assert "left to another engine" in run.log_of("strategy")
