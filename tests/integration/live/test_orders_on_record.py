"""A real venue is sent nothing that its engine has not on record, and what was refused for that can still be sent.

Executor, intents, gate, records and our interface to Binance over a real NATS; what was sent is read from the account of a
local exchange, whose perp stands at 60,000 as the row of the tick says.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from nats.js.errors import NotFoundError
from tests.support.cluster import settings_for
from tests.support.live_cex import live_config, live_exchange
from tests.unit.runtime import test_recorded_orders
from tests.unit.runtime.test_recorded_orders import arrived, record

from basis.models.config import LiveConfig, TradingLimits
from basis.models.messages import Halt
from basis.runtime import subjects
from basis.runtime.bus import Bus
from basis.runtime.clock import SharedClock
from basis.runtime.nats_server import NatsServer
from basis.runtime.timeline import tick_time
from basis.runtime.valuation import Valuer
from basis.testkit.exchange import ExchangeServer
from basis.testkit.runs import CID, market_row, mode_config, run_ref
from basis.venues.live.bucket import Bucket
from basis.venues.live.counterparts import Counterparts
from basis.venues.live.executor import LiveExecutor, Task
from basis.venues.live.gate import Gate, Heartbeats
from basis.venues.live.intents import Intent, IntentStore
from basis.venues.live.on_record import NotOnRecordError, RunRecords

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from basis.models.order import Order
    from basis.runtime.settings import Settings

pytestmark = [pytest.mark.timeout(60)]
ARMED = mode_config("ml_btc_directional_usdt_margin").model_copy(
    update={
        "live": LiveConfig(
            enabled=True, limits=TradingLimits(max_order_usd=20_000.0, max_daily_usd=20_000.0, max_leverage=1e9)
        )
    }
)
RUN = run_ref(ARMED, run_mode="live")
MARKET = market_row(ARMED)
HELD = {"binance:BaseToken:USDT": 100_000.0, "binance:Perp:BTCUSDT": 0.0}


def order(number: int = 0, amount: float = 0.1, price: float | None = 60_000.0) -> Order:
    """Buys BTC at what it stands at; without a price the exchange has to be asked for one before it can be prepared."""
    return test_recorded_orders.order(number, amount, price=price, operation_details={"levels": [1, 2.5, None, "x"]})


class DiedError(BaseException):
    """A replica that stops where it is, and renews nothing any more."""


def die(point: str) -> None:
    """Once the intent is written."""
    if point == "venues: after intent":
        raise DiedError


class Replica(NamedTuple):
    """One process of the venues service: what it executes with, and its own connections to the venues."""

    gate: Gate
    executor: LiveExecutor
    counterparts: Counterparts
    clock: SharedClock

    async def told(self, order: Order) -> str:
        """What became of an order: ``confirmed``, or the code of its failure."""
        valuer, now = Valuer.of(ARMED), self.clock.now()
        task = Task(RUN, 7, (arrived(order),), MARKET, HELD, ARMED, valuer, self.counterparts, now)
        (handshake,) = (await self.executor.execute(task)).handshakes
        return handshake.error_code or str(handshake.status)


class World:
    """One run, its record, its exchange, and any number of replicas of the venues service."""

    def __init__(self, bus: Bus, clock: SharedClock, settings: Settings, exchange: ExchangeServer) -> None:
        self.bus, self.clock, self.settings, self.exchange = bus, clock, settings, exchange
        self.opened: list[Counterparts] = []

    async def replica(self, name: str, at_point: Callable[[str], None] = lambda _name: None) -> Replica:
        """One that has just been started."""
        venue = live_exchange(self.exchange, live_config(self.exchange.url), self.clock)
        counterparts = Counterparts({venue.name: venue})
        await counterparts.open()
        self.opened.append(counterparts)
        gate = Gate(self.bus, self.settings, self.clock, Heartbeats(self.clock.monotonic))
        executor = LiveExecutor(IntentStore(self.bus, name), RunRecords(self.bus), gate, self.clock, at_point)
        return Replica(gate, executor, counterparts, self.clock)

    async def write_down(self, *orders: Order) -> None:
        """As the engine does."""
        await (await self.bus.bucket(subjects.KV_RUNS)).put(CID, record(*orders))

    async def halt(self) -> None:
        """As the gateway does."""
        trading = await self.bus.bucket(subjects.KV_TRADING)
        await trading.put(subjects.halt_key(CID), Halt(correlation_id=CID, reason="x").model_dump_json().encode())

    async def intent(self, order: Order) -> Intent:
        """What is kept of an order."""
        found = await IntentStore(self.bus, "look").load(order.operation_id)
        assert found is not None
        return found[0]

    @property
    def sent(self) -> list[float]:
        """Amounts of the orders in the account of the exchange, BTC; it was asked for no other."""
        with self.exchange.lock:
            found = [float(one.amount) for one in self.exchange.exchange.account.orders.values()]
            assert self.exchange.requests["order.create"] == len(found)
        return found

    @property
    def heard(self) -> int:
        """Requests of any kind that came to the exchange."""
        with self.exchange.lock:
            return self.exchange.requests.total()


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    clock = SharedClock(folder / "clock")
    clock.set(tick_time(RUN, 7))
    exchange = ExchangeServer("binance", clock=lambda: int(clock.now().timestamp() * 1000))
    with NatsServer(folder / "nats") as server, exchange:
        exchange.exchange.deposit("linear", "USDT", 100_000)
        settings = settings_for(folder, folder, server.url, live_trading=True)
        bus = Bus(settings, "venues")
        await bus.connect()
        here = World(bus, clock, settings, exchange)
        try:
            yield here
        finally:
            for counterparts in here.opened:
                await counterparts.close()
            await bus.stop()


async def test_the_last_value_of_an_entry(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert await Bucket(here.bus, subjects.KV_TRADING).value(CID) is None, "made by whoever asks first"
        runs = Bucket(here.bus, subjects.KV_RUNS)
        assert await runs.value(CID) is None
        for value in (b"first", bytes(range(256)) * 100):
            await (await runs.open()).put(CID, value)
            assert await runs.value(CID) == value
        assert await runs.value("another") is None
        await (await runs.open()).delete(CID)
        assert await runs.value(CID) == b"", "where it was"
        replica = await here.replica("a")
        with pytest.raises(NotOnRecordError):
            await replica.told(order())


async def test_a_bucket_that_is_gone_is_no_empty_bucket(tmp_path: Path) -> None:
    """Where the server cannot say whether there is a record or a halt, nothing is sent for want of an objection."""
    async with world(tmp_path) as here:
        await here.write_down(order(0), order(1))
        replica = await here.replica("a")
        assert await replica.told(order(0)) == "confirmed"
        await here.bus.jetstream.delete_key_value(subjects.KV_RUNS)
        with pytest.raises(NotFoundError):
            await replica.told(order(1))
        assert here.sent == [0.1]
        assert await replica.gate.halt(CID) is None
        await here.bus.jetstream.delete_key_value(subjects.KV_TRADING)
        with pytest.raises(NotFoundError):
            await replica.gate.halt(CID)


both = pytest.mark.parametrize("price", [60_000.0, None], ids=["one write", "two writes"])


@both
async def test_nothing_leaves_without_a_record(tmp_path: Path, price: float | None) -> None:
    async with world(tmp_path) as here:
        replica = await here.replica("a")
        heard = here.heard
        for kept in ((), (order(1, 0.1, price),), (order(0, 0.2, price),)):  # none, another's, another engine's
            await here.write_down(*kept)
            with pytest.raises(NotOnRecordError, match="VEN-019"):
                await replica.told(order(0, 0.1, price))
            left = await here.intent(order())
            assert (left.state, left.owner, left.sends, left.reference) == ("created", "", 0, None), (
                "for anyone to go on"
            )
        assert here.heard == heard, "the exchange is not even asked for a price"
        await here.write_down(order(0, 0.15, price))  # the engine that took over decided so
        assert await replica.told(order(0, 0.15, price)) == "confirmed"
        assert here.sent == [0.15]
        assert await replica.told(order(0, 0.15, price)) == "confirmed", "asked again: the same answer"
        assert here.sent == [0.15]


@both
async def test_what_is_not_on_record_is_not_even_refused(tmp_path: Path, price: float | None) -> None:
    """0.5 BTC is beyond the limits; a refusal would be final, and the engine that takes over may decide otherwise."""
    async with world(tmp_path) as here:
        replica = await here.replica("a")
        with pytest.raises(NotOnRecordError):
            await replica.told(order(0, 0.5, price))
        await here.write_down(order(0, 0.1, price))
        assert await replica.told(order(0, 0.1, price)) == "confirmed"
        assert here.sent == [0.1]


@both
async def test_a_record_that_comes_a_moment_later_is_waited_for(tmp_path: Path, price: float | None) -> None:
    async with world(tmp_path) as here:
        replica = await here.replica("a")
        asking = asyncio.create_task(replica.told(order(0, 0.1, price)))
        await asyncio.sleep(0.1)
        assert here.sent == []
        await here.write_down(order(0, 0.1, price))
        assert await asking == "confirmed"
        assert here.sent == [0.1]


async def test_what_a_dead_replica_left_unsent_is_sent_as_it_is_on_record_now(tmp_path: Path) -> None:
    """Engine and venues die between the intent and the record; the next engine decides the tick otherwise."""
    async with world(tmp_path) as here:
        dying = await here.replica("a", die)
        with pytest.raises(DiedError):
            await dying.told(order(0, 0.1))
        left = await here.intent(order())
        assert (left.state, left.orders[0].amount) == ("sending", 0.1)
        await here.write_down(order(0, 0.15))
        replica = await here.replica("b")
        assert await replica.told(order(0, 0.15)) == "confirmed"
        assert here.sent == [0.15]


@pytest.mark.parametrize("amount", [0.5, 0.1])
async def test_limits_are_asked_before_what_never_arrived_is_sent_again(tmp_path: Path, amount: float) -> None:
    """0.5 BTC is beyond the limits, and the replica died before it heard so."""
    async with world(tmp_path) as here:
        await here.write_down(order(0, amount))
        dying = await here.replica("a", die)
        with pytest.raises(DiedError):
            await dying.told(order(0, amount))
        replica = await here.replica("b")
        told = await replica.told(order(0, amount))
        assert (told, here.sent) == (("VEN-015", []) if amount == 0.5 else ("confirmed", [0.1]))


@both
async def test_limits_and_halt_refuse_for_good(tmp_path: Path, price: float | None) -> None:
    async with world(tmp_path) as here:
        replica = await here.replica("a")
        large, small = order(0, 0.5, price), order(1, 0.1, price)
        await here.write_down(large, small)
        assert await replica.told(large) == "VEN-015"
        await here.halt()
        assert await replica.told(small) == "VEN-016"
        await (await here.bus.bucket(subjects.KV_TRADING)).delete(subjects.halt_key(CID))
        assert await replica.told(small) == "VEN-016", "it was told so: it stays so"
        assert here.sent == []


def meanwhile(here: World, act: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Another process acts to the end while this one stands still."""

    async def alone() -> None:
        bus = Bus(here.settings, "gateway")
        await bus.connect()
        try:
            await act(World(bus, here.clock, here.settings, here.exchange))
        finally:
            await bus.stop()

    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, alone()).result()


@pytest.mark.parametrize("what", ["halted", "taken over"])
async def test_what_happens_while_an_order_is_prepared_still_counts(tmp_path: Path, what: str) -> None:
    """The look before preparing is not the last one: the run is halted, or an engine that takes it over decides otherwise."""
    async with world(tmp_path) as here:
        asked, decided_anew = order(0, 0.1, None), order(0, 0.15, None)

        async def happen(there: World) -> None:
            await (there.halt() if what == "halted" else there.write_down(decided_anew))

        def between(point: str) -> None:
            if point == "venues: after prepare":
                meanwhile(here, happen)

        replica = await here.replica("a", between)
        await here.write_down(asked)
        if what == "halted":
            assert await replica.told(asked) == "VEN-016"
            assert here.sent == []
        else:
            with pytest.raises(NotOnRecordError):
                await replica.told(asked)
            assert here.sent == []
            assert await replica.told(decided_anew) == "confirmed"
            assert here.sent == [0.15]


async def test_an_order_that_is_decided_anew_to_more_counts_as_more(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        replica = await here.replica("a")
        with pytest.raises(NotOnRecordError):
            await replica.told(order(0, 0.1))  # counted, and not sent
        await here.write_down(order(0, 0.3), order(1, 0.1))
        assert await replica.told(order(0, 0.3)) == "confirmed"
        assert await replica.told(order(1, 0.1)) == "VEN-015", "0.4 BTC are beyond the day's 20,000 USD"
        assert here.sent == [0.3]
