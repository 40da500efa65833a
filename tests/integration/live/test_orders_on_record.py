"""A real venue is sent nothing that its engine has not on record, and what was refused for that can still be sent.

Executor, intents, gate and records over a real NATS; the venue is a list of what it was sent.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from nats.aio.msg import Msg
from nats.js.errors import ServerError
from tests.support.cluster import settings_for
from tests.unit.runtime.test_recorded_orders import CONFIG, MARKET, arrived, order, record

from basis.models.config import LiveConfig, TradingLimits
from basis.models.execution import ExecutionHandshake
from basis.models.messages import Halt
from basis.models.operations import ExecutionStatus
from basis.runtime import subjects
from basis.runtime.bus import Bus
from basis.runtime.clock import SharedClock
from basis.runtime.nats_server import NatsServer
from basis.runtime.timeline import tick_time
from basis.runtime.valuation import Valuer
from basis.testkit.runs import CID, run_ref
from basis.venues.live.counterparts import Counterparts
from basis.venues.live.executor import LiveExecutor, Task
from basis.venues.live.gate import Gate, Heartbeats
from basis.venues.live.intents import IntentStore
from basis.venues.live.interface import Prepared
from basis.venues.live.on_record import NotOnRecordError, RunRecords

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from basis.models.messages import Settlement
    from basis.models.order import Order

pytestmark = [pytest.mark.timeout(60)]
ARMED = CONFIG.model_copy(
    update={
        "live": LiveConfig(
            enabled=True, limits=TradingLimits(max_order_usd=20_000.0, max_daily_usd=20_000.0, max_leverage=1e9)
        )
    }
)
RUN = run_ref(ARMED, run_mode="live")
HELD = {key: 1.0 if "BaseToken" in key else 0.0 for key in ARMED.position_subscriptions}


class DiedError(BaseException):
    """A replica that stops where it is, and renews nothing any more."""


def die(point: str) -> None:
    """Once the intent is written."""
    if point == "venues: after intent":
        raise DiedError


class Listing:
    """A venue that lists what it is sent, and fills none of it."""

    name = "binance"
    operations = frozenset[Any]()

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.at_once = True

    def prepare_at_once(self, orders: Sequence[Order]) -> Prepared | None:
        return self._prepared(orders) if self.at_once else None

    async def prepare(self, orders: Sequence[Order]) -> Prepared:
        return self._prepared(orders)

    def _prepared(self, orders: Sequence[Order]) -> Prepared:
        return Prepared((orders[0].operation_id,), self.name, {"amount": orders[0].amount})

    async def send(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        self.sent.append(prepared.reference["amount"])
        return (self._failed(orders[0], "VEN-009"),)

    async def resolve(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        del prepared
        return (self._failed(orders[0], "VEN-014"),)

    def _failed(self, order: Order, code: str) -> ExecutionHandshake:
        return ExecutionHandshake(
            operation_id=order.operation_id,
            status=ExecutionStatus.FAILED,
            error_code=code,
            error_message="as it is",
            submitted_at=datetime(2024, 5, 12, tzinfo=UTC),
            simulated=False,
        )

    async def balances(self, keys: Sequence[str]) -> Mapping[str, float]:
        return dict.fromkeys(keys, 0.0)

    async def settlements(self, since: datetime, until: datetime) -> Sequence[Settlement]:
        del since, until
        return ()


class World:
    """One run, its record, its venue, and any number of replicas of the venues service."""

    def __init__(self, bus: Bus, clock: SharedClock, settings: Any) -> None:
        self.bus, self.clock, self.settings, self.venue = bus, clock, settings, Listing()

    def replica(self, name: str, at_point: Any = lambda _name: None) -> LiveExecutor:
        gate = Gate(self.bus, self.settings, self.clock, Heartbeats(self.clock.monotonic))
        return LiveExecutor(IntentStore(self.bus, name), RunRecords(self.bus), gate, self.clock, at_point)

    async def write_down(self, *orders: Order) -> None:
        await (await self.bus.bucket(subjects.KV_RUNS)).put(CID, record(*orders))

    def task(self, order: Order) -> Task:
        counterparts = Counterparts(dict.fromkeys(map(str, ARMED.venues), self.venue))  # type: ignore[arg-type]
        now = self.clock.now()
        return Task(RUN, 7, (arrived(order),), MARKET, HELD, ARMED, Valuer.of(ARMED), counterparts, now)

    async def code(self, executor: LiveExecutor, order: Order) -> str | None:
        return (await executor.execute(self.task(order))).handshakes[0].error_code


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    clock = SharedClock(folder / "clock")
    clock.set(tick_time(RUN, 7))
    with NatsServer(folder / "nats") as server:
        settings = settings_for(folder, folder, server.url, live_trading=True)
        bus = Bus(settings, "venues")
        await bus.connect()
        try:
            yield World(bus, clock, settings)
        finally:
            await bus.stop()


async def test_the_last_value_of_an_entry(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert await here.bus.last(subjects.KV_RUNS, CID) is None
        runs = await here.bus.bucket(subjects.KV_RUNS)
        for value in (b"first", bytes(range(256)) * 100):
            await runs.put(CID, value)
            assert await here.bus.last(subjects.KV_RUNS, CID) == value
        assert await here.bus.last(subjects.KV_RUNS, "another") is None
        await runs.delete(CID)
        assert await here.bus.last(subjects.KV_RUNS, CID) == b"", "where it was"
        with pytest.raises(NotOnRecordError):
            await here.code(here.replica("a"), order())


@pytest.mark.parametrize("said", [b'{"error":{"code":500,"description":"no quorum"}}', b"{}"])
async def test_a_server_that_cannot_say_is_no_empty_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    async with world(tmp_path) as here:

        async def request(*_: Any, **__: Any) -> Msg:
            return Msg(_client=here.bus.client, data=said)

        monkeypatch.setattr(here.bus.client, "request", request)
        with pytest.raises(ServerError):
            await here.bus.last(subjects.KV_RUNS, CID)


both = pytest.mark.parametrize("at_once", [True, False], ids=["one write", "two writes"])


@both
async def test_nothing_leaves_without_a_record(tmp_path: Path, at_once: bool) -> None:
    async with world(tmp_path) as here:
        here.venue.at_once = at_once
        executor = here.replica("a")
        for kept in ((), (order(1),), (order(0, 0.2),)):  # none, another tick's, what another engine decided
            await here.write_down(*kept)
            with pytest.raises(NotOnRecordError, match="VEN-019"):
                await here.code(executor, order())
        assert here.venue.sent == []
        await here.write_down(order(0, 0.15))  # the engine that took over decided so
        assert await here.code(executor, order(0, 0.15)) == "VEN-009"
        assert here.venue.sent == [0.15]
        assert await here.code(executor, order(0, 0.15)) == "VEN-009", "asked again: the same answer"
        assert here.venue.sent == [0.15]


@both
async def test_a_record_that_comes_a_moment_later_is_waited_for(tmp_path: Path, at_once: bool) -> None:
    async with world(tmp_path) as here:
        here.venue.at_once = at_once
        asking = asyncio.create_task(here.code(here.replica("a"), order()))
        await asyncio.sleep(0.1)
        assert here.venue.sent == []
        await here.write_down(order())
        assert await asking == "VEN-009"
        assert here.venue.sent == [0.1]


async def test_what_a_dead_replica_left_unsent_is_sent_as_it_is_on_record_now(tmp_path: Path) -> None:
    """Engine and venues die between the intent and the record; the next engine decides the tick otherwise."""
    async with world(tmp_path) as here:
        with pytest.raises(DiedError):
            await here.code(here.replica("a", die), order(0, 0.1))
        found = await IntentStore(here.bus, "look").load(order().operation_id)
        assert found is not None
        assert (found[0].state, found[0].orders[0].amount) == ("sending", 0.1)
        await here.write_down(order(0, 0.15))
        assert await here.code(here.replica("b"), order(0, 0.15)) == "VEN-009"
        assert here.venue.sent == [0.15]


@pytest.mark.parametrize("amount", [0.5, 0.1])
async def test_limits_are_asked_before_what_never_arrived_is_sent_again(tmp_path: Path, amount: float) -> None:
    """0.5 BTC is beyond the limits, and the replica died before it heard so."""
    async with world(tmp_path) as here:
        await here.write_down(order(0, amount))
        with pytest.raises(DiedError):
            await here.code(here.replica("a", die), order(0, amount))
        told = await here.code(here.replica("b"), order(0, amount))
        assert (told, here.venue.sent) == (("VEN-015", []) if amount == 0.5 else ("VEN-009", [0.1]))


@both
async def test_limits_and_halt_refuse_for_good(tmp_path: Path, at_once: bool) -> None:
    async with world(tmp_path) as here:
        here.venue.at_once = at_once
        executor = here.replica("a")
        await here.write_down(order(0, 0.5), order(1, 0.1))
        assert await here.code(executor, order(0, 0.5)) == "VEN-015"
        trading = await here.bus.bucket(subjects.KV_TRADING)
        await trading.put(subjects.halt_key(CID), Halt(correlation_id=CID, reason="x").model_dump_json().encode())
        assert await here.code(executor, order(1, 0.1)) == "VEN-016"
        await trading.delete(subjects.halt_key(CID))
        assert await here.code(executor, order(1, 0.1)) == "VEN-016", "it was told so: it stays so"
        assert here.venue.sent == []


async def test_an_order_that_is_decided_anew_to_more_counts_as_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        executor = here.replica("a")
        with pytest.raises(NotOnRecordError):
            await here.code(executor, order(0, 0.1))  # counted, and not sent
        await here.write_down(order(0, 0.3), order(1, 0.1))
        assert await here.code(executor, order(0, 0.3)) == "VEN-009"
        assert await here.code(executor, order(1, 0.1)) == "VEN-015", "0.4 BTC are beyond the day's 20,000 USD"
        assert here.venue.sent == [0.3]
