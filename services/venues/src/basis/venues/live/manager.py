"""LiveVenueManager: answers for the venues of paper and live runs.

Paper: live market rows, simulated venues. Live: rows, balances, settlements and fills of the real ones.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from basis.models.config import DirectionalStrategyConfig, RunConfig
from basis.models.errors import ComponentError, InputError
from basis.models.market import FeedKind
from basis.models.messages import (
    AdvanceReply,
    AdvanceRequest,
    Balances,
    ExecuteReply,
    ExecuteRequest,
    Halt,
    HaltReply,
    PositionsReply,
    PositionsRequest,
    ReadyReply,
    ReadyRequest,
    RunRef,
    RunSubmit,
    Settlement,
    Window,
)
from basis.models.operations import SettlementKind
from basis.runtime import codec, subjects
from basis.runtime.bus import leave
from basis.runtime.clock import new_correlation_id
from basis.runtime.kill_points import kill_point
from basis.runtime.timeline import tick_time
from basis.runtime.valuation import Valuer
from basis.venues.core.interface import At, Stretch
from basis.venues.core.live_fills import closed_on_the_row
from basis.venues.core.live_row import market_row
from basis.venues.core.settlement import settle
from basis.venues.data import signals
from basis.venues.data.catalogue import Catalogue
from basis.venues.live.arrivals import Arrivals
from basis.venues.live.counterparts import Counterparts, identity, live_factories
from basis.venues.live.dead_man import DeadManSwitch
from basis.venues.live.executor import LiveExecutor, Task, booked_balances
from basis.venues.live.exit_watch import Bare, ExitWatch
from basis.venues.live.gate import Gate, Heartbeats
from basis.venues.live.intents import IntentStore
from basis.venues.live.on_record import RunRecords
from basis.venues.live.ticks import LiveTick, LiveTicks
from basis.venues.manager import VenueInterfaceFactory, simulate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from basis.models.market import Feed
    from basis.models.messages import MissingExit
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.settings import Settings
    from basis.venues.core.interface import SimulatedVenue
    from basis.venues.live.counterparts import LiveFactory

_COMPONENT = "venue_interface_manager"
_ETHER = "wallet:BaseToken:ETH"
_PAYMENTS = frozenset({FeedKind.EVENT, FeedKind.REWARD})


@dataclass(frozen=True)
class Setup:
    """What follows from a configuration; its venues are connected."""

    config: RunConfig
    valuer: Valuer
    simulated: Mapping[str, SimulatedVenue]
    counterparts: Counterparts


class LiveVenueManager:
    """Answers requests of paper and live runs. Keeps connections and caches, never state: that is in NATS.

    Args:
        bus: for the KV buckets.
        settings: of the process.
        clock: wall clock.
        factories: venue -> maker of its live interface; None = the entry points.
    """

    def __init__(
        self, bus: Bus, settings: Settings, clock: Clock, factories: Mapping[str, LiveFactory] | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._ticks = LiveTicks(bus)
        self._factories = factories
        self._setups: dict[str, asyncio.Task[Setup]] = {}
        self._runs: dict[str, Setup] = {}
        self._read: dict[str, LiveTick] = {}
        self._closing: list[Counterparts] = []
        self._bus = bus
        self._heartbeats = Heartbeats(clock.monotonic)
        self._gate = Gate(bus, settings, clock, self._heartbeats)
        store = IntentStore(bus, f"{os.getpid()}-{new_correlation_id()[:8]}")
        self._executor = LiveExecutor(store, RunRecords(bus), self._gate, clock, kill_point)
        self._exits = ExitWatch(bus)
        self._arrivals = Arrivals(bus, clock.now)
        self._switch = DeadManSwitch(bus, self._heartbeats, self._cancel, self._release)

    # ------------------------------------------------------------------------------------------------ connections

    async def setup(self, config_sha256: str, config: bytes) -> Setup:
        """Venues of a configuration, connected once; a failure is not kept.

        Raises:
            ComponentError: as the factories and :meth:`Counterparts.open`.
        """
        task = self._setups.get(config_sha256)
        if task is None:
            task = self._setups[config_sha256] = asyncio.create_task(
                self._connect(RunConfig.model_validate_json(config))
            )
        try:
            return await asyncio.shield(task)
        except ComponentError:
            if self._setups.get(config_sha256) is task:
                del self._setups[config_sha256]
            raise

    async def _connect(self, config: RunConfig) -> Setup:
        if self._factories is None:
            self._factories = live_factories()  # ccxt and web3 are loaded by the first live run, not by backtests
        counterparts = Counterparts.of(config, self._factories, self._clock)
        await counterparts.open()
        gc.collect()
        gc.freeze()  # ccxt and its markets stay: looking through them at each collection would make an order wait
        return Setup(config, Valuer.of(config), VenueInterfaceFactory().simulated(config), counterparts)

    def beat(self, correlation_id: str) -> None:
        """The engine of a run is there."""
        self._heartbeats.beat(correlation_id)

    def _watch(self, correlation_id: str, setup: Setup) -> None:
        """From the first live request on, silence of the run's engine cancels its open orders."""
        if correlation_id not in self._runs:
            self._runs[correlation_id] = setup
            self._switch.watch(correlation_id, setup.config.live.dead_man_s)

    async def halt(self, request: Halt) -> HaltReply:
        """Cancel every open order of a run; new ones are refused already (the halt is in the bucket ``trading``)."""
        setup = self._runs.get(request.correlation_id)
        if setup is None:
            found = await self._bus.jetstream.get_last_msg(
                subjects.STREAM_LIVE, subjects.live_submit(request.correlation_id)
            )
            submit = codec.decode(found.data or b"", RunSubmit)
            setup = await self.setup(submit.config_sha256, submit.config)
        return HaltReply(cancelled=await setup.counterparts.cancel_all())

    async def _cancel(self, correlation_id: str) -> int:
        return await self._runs[correlation_id].counterparts.cancel_all()

    async def _release(self, correlation_id: str) -> None:
        """A run has ended: connections that no other run uses are closed."""
        setup = self._runs.pop(correlation_id)
        self._gate.forget(correlation_id)
        if setup not in self._runs.values():
            self._setups = {
                digest: task for digest, task in self._setups.items() if not task.done() or task.result() is not setup
            }
            self._closing.append(setup.counterparts)
            await setup.counterparts.close()
            self._closing.remove(setup.counterparts)

    async def close(self) -> None:
        """Let go of all connections."""
        self._switch.stop()
        for counterparts in self._closing:  # the switch may have been stopped in the middle of it
            await counterparts.close()
        for task in self._setups.values():
            if task.done() and task.exception() is None:
                await task.result().counterparts.close()
            task.cancel()

    # ------------------------------------------------------------------------------------------------ questions

    async def ready(self, request: ReadyRequest) -> ReadyReply:
        """May the run begin? Connects, and reads one market row and, live, all balances; leaves nothing behind.

        Raises:
            ComponentError, InputError: why not.
        """
        config = RunConfig.model_validate_json(request.config)
        if request.run_mode == "live":
            self._gate.require_armed(config)
        digest = hashlib.sha256(request.config).hexdigest()
        setup = await self.setup(digest, request.config)
        now = self._clock.now()
        row, _ = await self._row(setup, now, now - timedelta(seconds=config.time_step_s))
        if request.run_mode == "live":
            held = await setup.counterparts.balances(config.position_subscriptions)
            await _require_gas(setup)
        else:
            held = {config.initial_key(): request.initial_capital}
        equity = sum(quantity * setup.valuer.unit_share(key, row) for key, quantity in held.items() if quantity)
        if not equity > 0.0:
            raise InputError("VEN-008", f"the venues hold nothing of what {config.mode} may hold: {held}", _COMPONENT)
        fixed = [f"{column} is {value!r} by configuration" for column, value in config.live.fixed_columns.items()]
        return ReadyReply(
            balances={key: value for key, value in held.items() if value},
            equity=equity,
            market=row,
            venues=setup.counterparts.names,
            notes=tuple(fixed),
        )

    async def advance(self, request: AdvanceRequest) -> AdvanceReply:
        """The tick that is due: its market row, and balances with what the venues did since the last one."""
        run, tick = request.run, request.first_tick
        setup = await self.setup(run.config_sha256, run.config)
        after = tick - 1 if request.after_tick is None else request.after_tick
        before = await self._ticks.get(run.correlation_id, after) if after >= 0 else None
        if after >= 0 and before is None:
            message = f"tick {after} of the run is not in the bucket live_ticks any more: start a new run"
            raise ComponentError("ENGINE-002", message, _COMPONENT)
        (here, window), bare = await asyncio.gather(  # what the bucket says is there before the venues' last answer is
            self._tick(setup, request, after, before), self._bare(setup, run)
        )
        if run.run_mode == "live":
            self._watch(run.correlation_id, setup)
        kill_point("venues: after the tick is kept")
        return AdvanceReply(window=window, exits_missing=await self._exits_missing(setup, run, here, bare))

    async def _tick(
        self, setup: Setup, request: AdvanceRequest, after: int, before: LiveTick | None
    ) -> tuple[LiveTick, Window]:
        """A tick as it is kept, and what it means to the run; that is computed while a new one is on its way to the bucket."""
        cid, tick = request.run.correlation_id, request.first_tick
        found = await self._ticks.get(cid, tick)
        if found is not None:
            return found, self._window(setup, request, found, before)
        made = await self._ask(setup, request.run, tick, after, before)
        keeping = asyncio.create_task(self._ticks.keep(cid, made))
        try:
            await leave()
            window = self._window(setup, request, made, before)
        finally:
            here = await keeping
        return here, window if here is made else self._window(setup, request, here, before)

    def _window(self, setup: Setup, request: AdvanceRequest, here: LiveTick, before: LiveTick | None) -> Window:
        """The tick with balances, settlements and deposits of the run."""
        run, tick = request.run, request.first_tick
        settle_tick = self._settle_simulated if run.run_mode == "paper" else self._settle_live
        balances, settlements = settle_tick(setup, request, here, before)
        # what a client puts into a live run is counted when it arrives at a venue, not when it is announced
        deposit = _deposit(setup.config, tick, request.deposit) if run.run_mode == "paper" else None
        if deposit is not None:
            (key,) = deposit.deltas
            balances[key] = balances.get(key, request.ledger.get(key, 0.0)) + request.deposit
        return Window(
            first_tick=tick,
            ticks=1,
            market={name: codec.pack((value,), name) for name, value in here.market.items()},
            balances={key: codec.pack((value,), key) for key, value in balances.items()},
            settlements=codec.pack_settlements([*((deposit,) if deposit else ()), *settlements]),
        )

    async def _bare(self, setup: Setup, run: RunRef) -> Sequence[Bare]:
        """Entries that lack exits. Only directional modes have any."""
        if run.run_mode == "paper" or not isinstance(setup.config.strategy, DirectionalStrategyConfig):
            return ()
        return await self._exits.missing(run.correlation_id)

    async def _exits_missing(
        self, setup: Setup, run: RunRef, here: LiveTick, bare: Sequence[Bare]
    ) -> tuple[MissingExit, ...]:
        """Exits that are not at their venue: they are tried again now."""
        if not bare:
            return ()
        halt = await self._gate.halt(run.correlation_id)
        halted = None if halt is None else halt.reason or "emergency stop"
        return await self._exits.look(run.correlation_id, bare, setup.counterparts, here.market, halted)

    async def execute(self, request: ExecuteRequest) -> ExecuteReply:
        """One order or atomic group at its tick: simulated at the tick's row, or sent."""
        run = request.run
        setup = await self.setup(run.config_sha256, run.config)
        here = await self._kept(run, request.tick)
        row = here.market
        if run.run_mode == "paper":
            return simulate(
                request, At(request.tick, run.time_step_s, row, setup.config, setup.valuer), setup.simulated
            )
        self._read[run.correlation_id] = here
        self._watch(run.correlation_id, setup)
        task = Task(
            run,
            request.tick,
            request.orders,
            row,
            request.ledger,
            setup.config,
            setup.valuer,
            setup.counterparts,
            here.read_at,
            here.seen,
        )
        done = await self._executor.execute(task)
        await self._arrivals.note(run.correlation_id, request.orders, done.handshakes)
        await self._exits.note(run.correlation_id, request.orders, done.handshakes)
        balances = dict(done.balances)
        return ExecuteReply(handshakes=done.handshakes, ledger=balances, balances=balances)

    async def positions(self, request: PositionsRequest) -> PositionsReply:
        """What the venues hold now: simulated ones what their ledger says."""
        run = request.run
        setup = await self.setup(run.config_sha256, run.config)
        keys = setup.config.position_subscriptions
        held = {key: request.ledger.get(key, 0.0) for key in keys}
        if run.run_mode == "live":
            last = self._read.get(run.correlation_id)
            held |= (
                await setup.counterparts.balances(keys)
                if last is None
                else await booked_balances(setup.counterparts, setup.config, last.read_at, self._clock.now, last.seen)
            )
        return PositionsReply(balances=held)

    # ------------------------------------------------------------------------------------------------ a tick

    async def _kept(self, run: RunRef, tick: int) -> LiveTick:
        found = await self._ticks.get(run.correlation_id, tick)
        if found is None:
            raise ComponentError("ENGINE-002", f"orders at tick {tick}, which has no market row", _COMPONENT)
        return found

    async def _ask(self, setup: Setup, run: RunRef, tick: int, after: int, before: LiveTick | None) -> LiveTick:
        """Ask the venues, for the first time."""
        kill_point("venues: before the market is read")
        now = max(self._clock.now(), tick_time(run, tick))
        row, moment = await self._row(setup, now, now if before is None else before.read_at)
        if run.run_mode == "paper":
            return LiveTick(tick=tick, after_tick=after, read_at=moment, market=row)
        await setup.counterparts.claim()
        since, seen = (
            (run.start, await self._before_the_start(setup, run)) if before is None else (before.read_at, before.seen)
        )
        found = await setup.counterparts.position(setup.config.position_subscriptions, since, self._clock.now, seen)
        return LiveTick(
            tick=tick,
            after_tick=after,
            read_at=found.read_at,
            market=row,
            balances=found.balances,
            settlements=tuple(
                closed_on_the_row(one, row).model_copy(update={"tick": tick})
                for one in await self._arrivals.told(run.correlation_id, found.settlements)
            ),
            seen=found.seen,
        )

    @staticmethod
    async def _before_the_start(setup: Setup, run: RunRef) -> tuple[str, ...]:
        """Settlements that the balances at the start of the run contain already."""
        found = await setup.counterparts.settlements(run.start - timedelta(hours=1), run.start)
        return tuple(identity(settlement) for settlement in found)

    async def _row(self, setup: Setup, now: datetime, since: datetime) -> tuple[dict[str, float], datetime]:
        """Market row, and its time: that of its newest quote where one came in while the row was read."""
        feeds = setup.config.feeds()
        told = [feed for feed in feeds if feed.kind is FeedKind.SIGNAL]
        quoted = [feed for feed in feeds if feed.kind is not FeedKind.SIGNAL]
        quotes = await setup.counterparts.quotes([feed.column for feed in quoted])
        later = max((quote.at for quote in quotes.values()), default=now)
        limit = timedelta(seconds=setup.config.live.max_clock_skew_s)
        moment = later if now < later <= max(now, self._clock.now()) + limit else now
        row = market_row(quoted, quotes, since, moment, setup.config.live)
        return row | await asyncio.to_thread(self._signals, setup.config, told, now), moment

    def _signals(self, config: RunConfig, feeds: Sequence[Feed], now: datetime) -> dict[str, float]:
        """The last signal of the mode's model."""
        if not feeds or not isinstance(config.strategy, DirectionalStrategyConfig):
            return {}
        catalogue = Catalogue(self._settings.data_dir, self._settings.cache_dir)
        market = signals.open_market(catalogue, tuple(feeds), config.strategy.signals)
        columns = market.columns(int(now.timestamp() * 1000), 1000 * config.time_step_s, 1)
        return {name: float(values[0]) for name, values in columns.items()}

    @staticmethod
    def _settle_simulated(
        setup: Setup, request: AdvanceRequest, here: LiveTick, before: LiveTick | None
    ) -> tuple[Balances, list[Settlement]]:
        """What simulated venues do since the last committed tick; ticks that were missed are run through, and told as now."""
        run = request.run
        first = min(here.after_tick + 1, here.tick)
        ticks = here.tick - first + 1
        payments = {feed.column for feed in setup.config.feeds() if feed.kind in _PAYMENTS}
        last = here.market if before is None else before.market
        columns = {
            name: _column(last.get(name, value), value, ticks, name in payments) for name, value in here.market.items()
        }
        stretch = Stretch(first, ticks, run.start, run.time_step_s, columns, request.ledger, setup.config, setup.valuer)
        settled = settle(stretch, setup.simulated)
        balances = {key: float(column[-1]) for key, column in settled.balances.items()}
        return balances, [event.model_copy(update={"tick": here.tick}) for event in settled.settlements]

    @staticmethod
    def _settle_live(
        setup: Setup, request: AdvanceRequest, here: LiveTick, before: LiveTick | None
    ) -> tuple[Balances, list[Settlement]]:
        """What real venues said; tokens in flight are ours to keep count of."""
        del before
        balances = dict(here.balances)
        for key in setup.config.position_subscriptions:
            if key not in balances:
                moved = sum(event.deltas.get(key, 0.0) for event in here.settlements)
                balances[key] = request.ledger.get(key, 0.0) + moved
        return balances, list(here.settlements)


async def _require_gas(setup: Setup) -> None:
    """A wallet without ether can send nothing, not even what gets it out of a position.

    Raises:
        InputError: VEN-008.
    """
    config = setup.config
    if config.wallet is None:
        return
    there = (await setup.counterparts.balances([_ETHER]))[_ETHER]
    if there < config.live.gas_eth:
        message = f"the wallet has {there:g} ETH for gas, live.gas_eth is {config.live.gas_eth:g}: send it there first"
        raise InputError("VEN-008", message, _COMPONENT)


def _column(before: float, value: float, ticks: int, is_payment: bool) -> codec.FloatArray:
    """Tick before, then the tick's own value; a payment belongs to the last of them alone."""
    column = np.full(ticks + 1, 0.0 if is_payment else value)
    column[0], column[-1] = before, value
    return column


def _deposit(config: RunConfig, tick: int, amount: float) -> Settlement | None:
    """Capital that the client put in."""
    if amount == 0.0:
        return None
    key = config.initial_key()
    return Settlement(
        tick=tick,
        venue=key.split(":", 1)[0],
        kind=SettlementKind.DEPOSIT,
        deltas={key: amount},
        details={"amount": amount, "token": config.share_class.currency},
    )
