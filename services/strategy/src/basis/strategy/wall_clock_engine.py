"""WallClockEngine: the same engine on a wall clock, one tick at a time (paper and live runs).

A tick that is missed is skipped with a warning, never made up for. Before a tick is committed the run's record says that it
is in hand, or holds the orders that are sent before that: an engine that takes over finishes what was begun first.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

from basis.models.errors import ComponentError
from basis.models.messages import (
    Checkpoint,
    Control,
    InHand,
    OrdersReply,
    OrdersRequest,
    RunRecord,
    RunSubmit,
    Trading,
    Window,
)
from basis.models.operations import SettlementKind
from basis.runtime import codec, recorded_orders, subjects
from basis.runtime.bus import leave
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.kill_points import kill_point
from basis.runtime.structured_logger import publish_lines
from basis.runtime.timeline import tick_time
from basis.strategy.core import run_state
from basis.strategy.core.decisions import Decided
from basis.strategy.core.run_state import Turn
from basis.strategy.core.strategy_manager import StrategyState
from basis.strategy.engine import EventDrivenStrategyEngine, Stopped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from basis.models.messages import MissingExit, RunRef, RunStatus
    from basis.models.order import Order
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.structured_logger import StructuredLogger

_PASSING = frozenset({"VEN-002", "VEN-003", "VEN-006", "DATA-001", "DATA-003", "BUS-002"})
"""Why a tick may have no sound market row, and the next one have one."""
_NOBODY_ANSWERS = frozenset({"BUS-002", "LOG-002"})
_AGAIN_S = 1.0
"""Wait before a tick in hand that could not be read is tried again."""
_HEAD_START_S = 0.05
"""Time that an order has to itself: so long the commit of its tick does not take the processor from those who send it."""
_ASKED_AGAIN = 2
"""How often orders that the venues did not find on record are asked for again, once they are."""
_NOTHING = 1e-6
"""Less than this in flight is rounding."""


class WallClockEngine(EventDrivenStrategyEngine):
    """Drives one paper or live run, tick by tick, until it ends or is stopped."""

    def __init__(self, bus: Bus, clock: Clock, log: StructuredLogger, submit: RunSubmit) -> None:
        super().__init__(bus, clock, log, submit)
        self._told = asyncio.Event()
        self._saving = asyncio.Lock()
        self._requests: list[Control] = []
        self._taken = 0
        self._in_hand: InHand | None = None
        self._trading: Trading | None = None
        self._saved: Checkpoint | None = None
        """State of the newest record, on its way or kept: what a request that comes in is written beside."""
        self._window: Window | None = None
        """Of the tick in hand, with its settlements and balances: an order carries the market alone."""
        self._deposited = False
        """True where capital came with that tick: announced in a paper run, arrived at a venue in a live one."""
        self._exits_missing: tuple[MissingExit, ...] = ()
        """Exits that a live position lacks at that tick."""

    # ----------------------------------------------------------------------------------------------- requests

    def stop(self, stopped: Stopped) -> None:
        """End the run after the tick in hand."""
        super().stop(stopped)
        self._told.set()

    async def obey(self, request: Control) -> None:
        """Take a request; once this returns it survives the engine.

        Raises:
            ComponentError: the run has not begun yet, or another engine has taken over.
        """
        if request.command == "cancel":
            return self.stop(Stopped("cancelled", "ENGINE-003", request.reason or "cancelled on request"))
        if request.command == "fail":
            return self.stop(Stopped("failed", request.error_code or "EXEC-004", request.reason or "told to stop"))
        if request.command == "stop":
            return self.stop(Stopped("completed", "ENGINE-003", request.reason or "stopped on request"))
        if request.command == "emergency_stop" and not request.unwind:
            return self.stop(Stopped("cancelled", "ENGINE-003", request.reason or "emergency stop"))
        if self._state is None:
            raise ComponentError("BUS-002", "the run has not begun yet: ask again", "engine")
        newest = self._saved or self._state  # has the requests of a tick in hand, whose orders are under way
        known = {*newest.requests_done, *(entry.request_id for entry in self._requests)} - {""}
        if request.request_id not in known:
            self._requests.append(request)
            await self._save(newest)
        return None

    # --------------------------------------------------------------------------------------------------- loop

    def _is_left_to_another(self, error: ComponentError) -> bool:
        """NATS was away for longer than requests are repeated. What was begun is on record, and the run is worth more than
        the patience of one request: whoever is given it next takes it up, or ends it where a service stays away."""
        return error.error_code in _NOBODY_ANSWERS

    async def _announce(self, run: RunRef, state: Checkpoint) -> None:
        """Take up what an engine that died had begun, so that the record goes on saying so."""
        if self._record is not None:
            self._requests = list(self._record.requests)
            self._in_hand, self._trading = self._record.in_hand, self._record.trading
        await super()._announce(run, state)

    async def _loop(self, run: RunRef, state: Checkpoint) -> Checkpoint:
        beating = asyncio.create_task(self._beat())
        try:
            state = await self._finish_orders(run, state)
            tick, missed = state.next_tick if self._in_hand is None else self._in_hand.tick, 0
            while tick <= self._last_tick:
                if self._in_hand is None:
                    if not self._is_stopped():
                        tick = await self._due(run, tick, state)
                    if self._is_stopped() or tick > self._last_tick:
                        break
                try:
                    state = await self._tick(run, state, tick)
                    tick, missed = tick + 1, 0
                except _UnsoundTickError as error:
                    missed = await self._missed(run, tick, error.cause, missed + 1)
                    if self._in_hand is None:
                        tick += 1
                    else:  # something of it may be on record: it is finished before another
                        await self._clock.sleep(_AGAIN_S)
            return state
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    def _is_stopped(self) -> bool:
        """True where the run ends well; raises where it ends otherwise."""
        if self._stop is not None and self._stop.status != "completed":
            self._raise_if_stopped()
        return self._stop is not None

    async def _due(self, run: RunRef, tick: int, state: Checkpoint) -> int:
        """Wait for a tick, or for the end; where its time is long past, the tick that is due now."""
        now = self._clock.now()
        due = due_tick(run, now)
        if due > tick:
            message = (
                f"ticks {tick} to {due - 1} were missed and are skipped: the last one done is {state.next_tick - 1}"
            )
            await self._log.warning(self._cid, now, message, skipped=due - tick)
            return min(due, self._last_tick + 1)
        waiting = asyncio.ensure_future(self._clock.until(tick_time(run, tick)))
        told = asyncio.ensure_future(self._told.wait())
        await asyncio.wait({waiting, told}, return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, told):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return tick

    async def _missed(self, run: RunRef, tick: int, cause: ComponentError, missed: int) -> int:
        await self._log.warning(
            self._cid, tick_time(run, tick), f"tick {tick} is skipped: {cause}", error_code=cause.error_code
        )
        if missed > self._config.live.max_missed_ticks:
            raise cause
        return missed

    async def _tick(self, run: RunRef, state: Checkpoint, tick: int) -> Checkpoint:
        """One tick: read, assess, decide, commit, trade.

        Raises:
            _UnsoundTickError: the market could not be read or assessed; nothing happened, or the tick is in hand.
        """
        requests = self._requests if self._in_hand is None else self._requests[: self._in_hand.requests]
        self._taken = len(requests)
        state = state.model_copy(update={"counts": dict(self._counts)})
        here, deposit, done = run_state.into_tick(state, tick, requests)
        try:
            kill_point("engine: before the tick is read")
            window = await self._read(run, here, tick, deposit)
            kill_point("engine: after the tick is read")
            assessed = await self._services.assess(run, here, window)
        except ComponentError as error:
            if error.error_code in _PASSING:
                raise _UnsoundTickError(error) from error
            raise
        self._window = window
        logger = DomainEventLogger(self._cid, run.pid, self._clock.now())
        decided = self._decide(run, here, window, assessed)
        turn = Turn(run, here.model_copy(update={"requests_done": done}), window, assessed, decided, logger)
        if decided.orders:
            after, publishing = await self._trade(turn)
            await publishing
            kill_point("engine: after the orders are recorded")
            return after
        decided.log(logger)
        await self._take_in_hand(state, tick)
        after = run_state.after_window(turn, self._config.engine)
        await self._commit_whole(turn, after)
        if self._unwinding and not _is_in_flight(after.portfolio.positions):
            self.stop(Stopped("cancelled", "ENGINE-003", "emergency stop: everything is unwound"))
        return after

    async def _take_in_hand(self, state: Checkpoint, tick: int) -> None:
        """Record that a tick without orders is about to be committed; one with orders is recorded with them."""
        self._in_hand = InHand(tick=tick, requests=self._taken)
        kill_point("engine: before the tick is in hand")
        await self._save(state)
        kill_point("engine: after the tick is in hand")

    async def _read(self, run: RunRef, state: Checkpoint, tick: int, deposit: float) -> Window:
        reply = await self._services.read(run, state, tick, deposit)
        self._note_deposits(reply.window)
        self._exits_missing = reply.exits_missing
        for missing in reply.exits_missing:
            error = ComponentError("VEN-018", missing.words, "strategy_manager")
            await self._log.error(self._cid, tick_time(run, tick), error, "", operation_id=missing.operation_id)
        return reply.window

    def _note_deposits(self, window: Window) -> None:
        settled = codec.unpack_settlements(window.settlements)
        self._deposited = any(settlement.kind is SettlementKind.DEPOSIT for settlement in settled)

    def _remembered(self, state: Checkpoint) -> StrategyState:
        return StrategyState(
            state.reference_equity,
            state.pending_withdrawal,
            deposited=self._deposited,
            unwinding=self._unwinding,
            exits_missing=self._exits_missing,
        )

    def _status(self, name: str, failure: ComponentError | None = None) -> RunStatus:
        alerts = tuple(missing.words for missing in self._exits_missing) if name == "running" else ()
        return super()._status(name, failure).model_copy(update={"alerts": alerts})

    @property
    def _unwinding(self) -> bool:
        return any(request.command == "emergency_stop" for request in self._requests)

    # -------------------------------------------------------------------------------------------- what survives

    async def _finish_orders(self, run: RunRef, state: Checkpoint) -> Checkpoint:
        """What an engine that died had begun: its orders here, else its tick in hand, which comes first in the loop."""
        under_way, in_hand = self._trading, self._in_hand
        if under_way is not None:
            return await self._resume_orders(run, state, under_way)
        if in_hand is not None:
            await self._log.warning(self._cid, tick_time(run, in_hand.tick), f"takes up tick {in_hand.tick}, in hand")
        return state

    async def _resume_orders(self, run: RunRef, state: Checkpoint, under_way: Trading) -> Checkpoint:
        """Ask for the same orders once more: what was done is answered as it was, what was not sent is sent or refused."""
        orders = recorded_orders.read(under_way.orders)
        message = f"takes up the {len(orders.orders)} orders of tick {orders.tick}"
        await self._log.warning(self._cid, tick_time(run, orders.tick), message)
        window = codec.decode(base64.b64decode(under_way.window), Window)
        turn = await self._commit_again(run, state, window)
        memory = StrategyState(under_way.reference_equity, under_way.pending_withdrawal)
        turn = turn._replace(decided=Decided(1, orders.orders, memory))
        traded = await self._services.execute(orders)
        after = self._traded(turn, traded)
        record = DomainEventLogger(self._cid, run.pid, self._clock.now())
        record.absorb(traded.events)
        await self._commit_trade(turn, traded, record, after)
        if traded.fatal is not None:
            raise ComponentError(traded.fatal[0], traded.fatal[1], "execution_manager")
        return after

    async def _commit_again(self, run: RunRef, state: Checkpoint, window: Window) -> Turn:
        """What led to orders that are written down: its commit may have been cut off, and a second one does no harm.

        The same state and window give the same events under the same message ids, which the stream and the sink know.
        """
        self._note_deposits(window)
        assessed = await self._services.assess(run, state, window)
        logger = DomainEventLogger(self._cid, run.pid, self._clock.now())
        decided = self._decide(run, state, window, assessed)
        decided.log(logger)
        turn = Turn(run, state, window, assessed, decided, logger)
        await self._commit(turn)
        return turn

    async def _send(self, orders: OrdersRequest, turn: Turn) -> OrdersReply:
        """Have orders sent, and write them down with all that led to them; then commit that.

        Execution publishes what a real venue did before it sends another order, and the sink knows what it has by the highest
        order of each type: so what led to several is committed before they are sent. One is asked for at once: the engine
        publishes what it left, after that commit. Whoever takes up orders that are written down commits their tick again.
        """
        kill_point("engine: before the orders are asked for")
        ask = self._ask_at_once if _is_one_transaction(orders.orders) else self._ask_after
        traded = await ask(orders, turn)
        kill_point("engine: after the orders are answered")
        return traded

    async def _write_down(self, orders: OrdersRequest, turn: Turn) -> None:
        """From here on another engine finishes these orders; a real venue sends none that is not written down.

        Raises:
            ComponentError: LOG-001, the decision makes no sound event: then nothing is written down, and nothing is sent.
        """
        decided = turn.decided
        decided.log(turn.logger)
        self._trading = Trading(
            tick=orders.tick,
            orders=recorded_orders.written(orders),
            window=base64.b64encode(codec.encode(self._window or orders.window)).decode(),
            reference_equity=decided.state.reference_equity,
            pending_withdrawal=decided.state.pending_withdrawal,
        )
        self._forget_taken()
        kill_point("engine: before the orders are written down")
        await self._save(turn.before)
        kill_point("engine: after the orders are written down")

    async def _ask_after(self, orders: OrdersRequest, turn: Turn) -> OrdersReply:
        await self._write_down(orders, turn)
        await self._commit_what_led(turn)
        return await self._services.execute(orders)

    async def _ask_at_once(self, orders: OrdersRequest, turn: Turn) -> OrdersReply:
        """Ask, and write down meanwhile: the venues make sure that it is written down before they send."""
        asking = asyncio.create_task(self._services.execute(orders))
        try:
            await leave()
            await self._write_down(orders, turn)
            await asyncio.wait({asking}, timeout=_HEAD_START_S)
            try:
                await self._commit_what_led(turn)
            except ComponentError:
                await self._tell_of(asking)
                raise
            return await self._answered(asking, orders)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _answered(self, asking: asyncio.Task[OrdersReply], orders: OrdersRequest) -> OrdersReply:
        """The answer; where the venues were asked long before the orders were written down, that to a question of now."""
        for _ in range(_ASKED_AGAIN):
            try:
                return await asking
            except ComponentError as error:
                if error.error_code != "VEN-019":
                    raise
            asking = asyncio.create_task(self._services.execute(orders))
        return await asking

    async def _commit_what_led(self, turn: Turn) -> None:
        await self._commit(turn)
        kill_point("engine: after what led to the orders is committed")

    async def _tell_of(self, asking: asyncio.Task[OrdersReply]) -> None:
        """What led to an order could not be committed: its events have no place, but what became of it is in the logs."""
        (traded,) = await asyncio.gather(asking, return_exceptions=True)
        if isinstance(traded, OrdersReply):
            with contextlib.suppress(ComponentError):
                await publish_lines(self._bus, self._cid, traded.logs)

    def _forget_taken(self) -> None:
        """Requests obeyed at this tick are in the state from here on; an emergency stop stays until the end."""
        kept = [request for request in self._requests[: self._taken] if request.command == "emergency_stop"]
        self._requests = kept + self._requests[self._taken :]
        self._taken = 0

    async def _committed(self, after: Checkpoint) -> None:
        self._trading = self._in_hand = None
        self._forget_taken()
        kill_point("engine: before the tick is recorded")
        await super()._committed(after)

    async def _save(self, state: Checkpoint) -> None:
        self._saved = state
        async with self._saving:  # a request may come in at any time, and there is one revision to write on
            await self._store.save(
                RunRecord(
                    status=self._status("running"),
                    # the newest: what waited for its turn must not put an older state beside what is in hand by now
                    checkpoint=self._saved,
                    trading=self._trading,
                    in_hand=self._in_hand,
                    requests=tuple(self._requests),
                    run_mode=self._submit.run_mode,
                )
            )

    async def _beat(self) -> None:
        """Tell the venues that someone is there: where this falls silent they cancel open orders."""
        while True:
            with contextlib.suppress(ComponentError, OSError):
                await self._bus.publish(subjects.live_heartbeat(self._cid), b"")
            await asyncio.sleep(subjects.LIVE_HEARTBEAT_S)


class _UnsoundTickError(Exception):
    """The market of a tick could not be read; nothing happened."""

    def __init__(self, cause: ComponentError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _is_in_flight(positions: Mapping[str, float]) -> bool:
    """True while something is on its way between venues: what it becomes is still to be sold."""
    return any(key.startswith("transit:") and quantity > _NOTHING for key, quantity in positions.items())


def _is_one_transaction(orders: Sequence[Order]) -> bool:
    """One order, or one atomic group."""
    group = orders[0].atomic_group_id
    return len(orders) == 1 or (group is not None and all(order.atomic_group_id == group for order in orders))


def due_tick(run: RunRef, now: datetime) -> int:
    """The last tick whose time has come; 0 before the first."""
    return max((now - run.start) // timedelta(seconds=run.time_step_s), 0)
