"""Two replicas of every service that trades, one live run: one works, and the other takes over from one that stands still.

SIGSTOP in the middle of an order, and SIGCONT when it is long done: who wakes up must not send anything.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.exchange_run import exchange_run, until

from basis.runtime import subjects

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(300)]
DOUBLE = ("strategy", "execution", "venues")


async def test_a_replica_that_stood_still_sends_nothing(
    bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (*subjects.RUN_CRITICAL, *(f"{name}-2" for name in DOUBLE))
    async with exchange_run(tmp_path, bars, monkeypatch, names) as run:

        def still() -> dict[str, str]:
            """Service -> replica that stands still."""
            found = {}
            for name in names:
                if psutil.Process(run.cluster.children[name].pid).status() == psutil.STATUS_STOPPED:
                    found[name.removesuffix("-2")] = name
            return found

        async def freeze(service: str, point: str) -> None:
            run.cluster.strike("SIGSTOP", point)
            await until(f"{service} stands still {point}", lambda: service in still())

        # all three stand still with the second order in hand, with a position and its settlements; the other replica goes on.
        # The first engine has asked for the order and not written it down: what it asked for is refused
        run.cluster.strike("SIGSTOP@2", "engine: before the orders are written down")
        submit = await run.start()
        cid = submit.correlation_id
        async with run.cluster.spying(cid) as spy:
            await until("the engine stands still", lambda: "strategy" in still())
            await freeze("execution", "execution: before the order is asked for")
            await freeze("venues", "venues: before send")
            frozen = still()
            assert frozen.keys() == set(DOUBLE)
            assert len(run.filled()) == 1, "nothing of it was sent yet"
            ticks = (await run.live.live.status(cid)).ticks
            await run.ticks(cid, ticks + 2)
            assert len(run.filled()) == 2
            told = len(told_of(spy.messages))

            for name in frozen.values():
                run.cluster.children[name].send_signal(signal.SIGCONT)
            await until(
                "the venues replica sees that it lost", lambda: "has taken over" in run.log_of(frozen["venues"])
            )
            await until("the engine leaves", lambda: "left to another engine" in run.log_of(frozen["strategy"]))
            await until("execution asks, and is told what became of it", lambda: len(told_of(spy.messages)) > told)
            # the run goes on meanwhile: every request was an order of its own, so none came from the ones that woke up
            await until("nothing was sent twice", lambda: run.server.requests["order.create"] == len(run.filled()), 10)

            ticks = (await run.live.live.status(cid)).ticks
            await run.ticks(
                cid, ticks + 20
            )  # the signal turns in between: all replicas are there, and one order is one
        await run.live.live.stop(cid)
        outcome = await run.live.ended(cid)
        assert outcome.status.status == "completed", outcome.status
        run.assert_one_effect_each(outcome)
        assert len(run.filled()) >= 3


def told_of(messages: list[tuple[str, bytes]]) -> list[bytes]:
    """Handshakes that observers heard."""
    return [payload for subject, payload in messages if subject == "handshakes"]
