"""``kill -9`` of any service in the middle of a run, a server that dies, a bus that loses messages: the same events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from tests.support.cluster import Cluster, assert_every_event_once, embedded_cluster, process_cluster
from tests.support.market import write_market

from basis.runtime.nats_server import NatsServer
from basis.testkit.faults import Direction, Fate, FaultyBus
from basis.testkit.runs import mode_config
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from basis.models.messages import RunOutcome, RunStatus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
# small windows: the run is long enough to be hit in its middle
RUN: dict[str, Any] = {"start": "2024-05-12", "end": "2024-06-20", "engine__max_window": 4}
TICKS = 39 * 24 + 1


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_market(tmp_path / "data", mode_config(), days=40)


async def undisturbed(cluster: Cluster, run: dict[str, Any] = RUN) -> RunOutcome:
    outcome = await cluster.backtest(**run)
    assert outcome.status.status == "completed", outcome.status
    assert outcome.ticks == TICKS
    return outcome


async def disturbed(cluster: Cluster, victim: str, run: dict[str, Any]) -> tuple[RunOutcome, int]:
    """A run during which one service is killed and started again; the outcome, and how far the run was."""
    hit = asyncio.Event()
    at = 0

    def strike(status: RunStatus) -> None:
        nonlocal at
        if not hit.is_set() and status.ticks > status.total_ticks // 4:
            at = status.ticks
            cluster.kill(victim)
            hit.set()

    async def restart() -> None:
        await hit.wait()
        await asyncio.sleep(0.3)
        cluster.launch(victim)

    restarting = asyncio.create_task(restart())
    outcome = await cluster.backtest(**run, on_progress=strike)
    await restarting
    return outcome, at


# one cluster, and one calm run of each kind, for all blows: starting five processes costs more than a run
together = [pytest.mark.asyncio(loop_scope="module")]
SAMPLE_RUN: dict[str, Any] = RUN | {"start": "2022-01-01", "end": "2022-02-09"}
BUSY: dict[str, Any] = {
    "mode": "eth_basis",
    "start": "2022-01-01",
    "end": "2022-01-03",
    "engine__max_window": 8,
    "strategy__position_deviation_threshold": 1e-6,
}
"""A threshold that any move crosses: half of the ticks have orders, so that the blow falls among them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def apart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One process a service."""
    folder = tmp_path_factory.mktemp("crash")
    write_sample(folder / "data", years=1)
    async with process_cluster(folder, folder / "data", request_timeout_s=1.0) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm(apart: Cluster) -> RunOutcome:
    """Nothing happens to it."""
    return await undisturbed(apart, SAMPLE_RUN)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def calm_busy(apart: Cluster) -> RunOutcome:
    """Nothing happens to it, and it trades all the time."""
    outcome = await apart.backtest(**BUSY)
    assert outcome.status.status == "completed", outcome.status
    assert outcome.events["orders"] > 20
    return outcome


class TestServicesThatDie:
    """``kill -9`` of one."""

    pytestmark = together

    @pytest.mark.parametrize("victim", ["monitors", "venues", "execution", "strategy", "event-logger"])
    async def test_in_mid_run_changes_no_event(self, apart: Cluster, calm: RunOutcome, victim: str) -> None:
        assert_same(calm, *await disturbed(apart, victim, SAMPLE_RUN))

    @pytest.mark.parametrize("victim", ["monitors", "execution", "strategy"])
    async def test_while_a_mode_trades_all_the_time_changes_no_event(
        self, apart: Cluster, calm_busy: RunOutcome, victim: str
    ) -> None:
        assert_same(calm_busy, *await disturbed(apart, victim, BUSY))


def assert_same(calm: RunOutcome, outcome: RunOutcome, at: int) -> None:
    """The blow fell within the run, and nothing shows it."""
    assert 0 < at < calm.ticks, "the run was over before the blow"
    assert outcome.status.status == "completed", outcome.status
    assert_every_event_once(outcome)
    assert outcome.events == calm.events
    assert outcome.event_hash == calm.event_hash
    assert outcome.result == calm.result


async def test_kill_9_of_nats_in_mid_run_changes_no_event(tmp_path: Path, data: Path) -> None:
    async with embedded_cluster(tmp_path, data, request_timeout_s=1.0) as cluster:
        calm = await undisturbed(cluster)
        struck = False

        def strike(status: RunStatus) -> None:
            nonlocal struck
            if not struck and status.ticks > TICKS // 4:
                struck = True
                cluster.server.kill()
                cluster.server.start()

        outcome = await cluster.backtest(**RUN, on_progress=strike)
    assert struck
    assert outcome.status.status == "completed", outcome.status
    assert_every_event_once(outcome)
    assert outcome.event_hash == calm.event_hash


class Nth:
    """A rule that has one fate for every n-th message of the subjects it is for."""

    def __init__(self, fate: Fate, every: int, *parts: str) -> None:
        self._fate, self._every, self._parts = fate, every, parts
        self._seen = 0

    def __call__(self, direction: Direction, subject: str) -> Fate:
        if direction is not Direction.TO_SERVER or not any(part in subject for part in self._parts):
            return Fate.PASS
        self._seen += 1
        return self._fate if self._seen % self._every == 0 else Fate.PASS


@pytest.mark.parametrize(
    ("fate", "every", "parts"),
    [
        (Fate.DROP, 20, (".venues.", ".monitors.", ".orders")),
        (Fate.DROP, 20, ("_INBOX",)),
        (Fate.DROP, 25, (".events.", ".logs.")),
        (Fate.REPEAT, 3, (".venues.", ".monitors.", ".orders", ".events.", ".run.")),
        (Fate.DELAY, 50, (".venues.", ".monitors.", ".events.")),
    ],
    ids=["requests lost", "replies lost", "events lost", "everything twice", "everything late"],
)
async def test_bus_that_loses_repeats_or_delays_messages_changes_no_event(
    tmp_path: Path, fate: Fate, every: int, parts: tuple[str, ...]
) -> None:
    data = write_market(tmp_path / "data", mode_config(), days=10)
    run = {"start": "2024-05-12", "end": "2024-05-20", "engine__max_window": 4}
    async with embedded_cluster(tmp_path / "calm", data) as cluster:
        calm = await cluster.backtest(**run)  # type: ignore[arg-type]
    with NatsServer(tmp_path / "nats") as server:
        async with FaultyBus(server.url) as faulty:
            folder = tmp_path / "faulty"
            settings: dict[str, Any] = {"request_timeout_s": 0.3}
            async with embedded_cluster(folder, data, url=faulty.url, **settings) as cluster:
                faulty.rule = Nth(fate, every, *parts)
                outcome = await cluster.backtest(**run)  # type: ignore[arg-type]
                faulty.rule = lambda _direction, _subject: Fate.PASS
    assert faulty.counts[fate] > 0, "nothing was disturbed"
    assert outcome.status.status == "completed", outcome.status
    assert_every_event_once(outcome)
    assert outcome.event_hash == calm.event_hash


async def test_connections_cut_again_and_again_change_no_event(tmp_path: Path, data: Path) -> None:
    async with embedded_cluster(tmp_path / "calm", data) as cluster:
        calm = await undisturbed(cluster)
    with NatsServer(tmp_path / "nats") as server:
        async with FaultyBus(server.url) as faulty:
            settings: dict[str, Any] = {"request_timeout_s": 1.0}
            async with embedded_cluster(tmp_path / "faulty", data, url=faulty.url, **settings) as cluster:
                marks = [TICKS // 4, TICKS // 2, 3 * TICKS // 4]

                def strike(status: RunStatus) -> None:
                    if marks and status.ticks > marks[0]:
                        marks.pop(0)
                        faulty.cut()

                outcome = await cluster.backtest(**RUN, on_progress=strike)
    assert faulty.connections >= 3
    assert outcome.status.status == "completed", outcome.status
    assert_every_event_once(outcome)
    assert outcome.event_hash == calm.event_hash
