"""LiveExecutor: an order or atomic group at a real venue, with at most one effect whatever arrives how often.

What is prepared without asking anyone (an exchange): prepared -> intent (KV), beside a look at run record, limits and gate ->
sent -> outcome recorded. Else (a chain): intent, beside that look -> prepared -> that recorded, beside the look once more ->
sent -> outcome recorded. A request for an intent that is there already gets its outcome; one whose owner died is taken over:
what may have been sent is resolved before anything is sent again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from nats.errors import Error as NatsError

from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.operations import ExecutionMode, ExecutionStatus
from basis.runtime.bus import leave
from basis.runtime.timeline import tick_time
from basis.venues.core.interface import VenueRefusal
from basis.venues.core.limits import Standing
from basis.venues.core.live_fills import on_the_row
from basis.venues.live.errors import Fatal, LiveVenueError, ProvedFailure, Retryable
from basis.venues.live.intents import HeldIntent, Intent, IntentStore, LostIntentError
from basis.venues.live.interface import Prepared
from basis.venues.live.lease import leased
from basis.venues.live.on_record import NotOnRecordError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from basis.models.config import RunConfig
    from basis.models.messages import RunRef
    from basis.models.order import Order
    from basis.runtime.clock import Clock
    from basis.runtime.valuation import Valuer
    from basis.venues.live.counterparts import Counterparts
    from basis.venues.live.gate import Gate
    from basis.venues.live.interface import LiveVenue
    from basis.venues.live.on_record import RunRecords

_log = logging.getLogger(__name__)
_MOST_SENDS = 3
"""Times that one intent is sent, each after proof that the one before never arrived."""
_PATIENCE = 0.8
"""Part of ``execution_timeout_s`` after which an outcome that is not known stays pending."""
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_NEVER_ARRIVED = "VEN-014"
_NEVER_CAN = "VEN-017"
_READS = 5
_STALE_LOOK_S = 0.3
"""Age of a look after which it is looked once more before sending."""


class Task(NamedTuple):
    """What is to be executed, and where the run stands."""

    run: RunRef
    tick: int
    orders: Sequence[Order]
    market: Mapping[str, float]
    """Row of the tick."""
    balances: Mapping[str, float]
    """What is held before."""
    config: RunConfig
    valuer: Valuer
    counterparts: Counterparts
    read_at: datetime
    """When the tick was read: what venues did on their own after that is booked with the next one."""
    seen: Sequence[str] = ()
    """Identities of the settlements that were seen then."""


class Settled(NamedTuple):
    """What became of it."""

    handshakes: tuple[ExecutionHandshake, ...]
    balances: Mapping[str, float]
    """What the venues held right after it."""


class LiveExecutor:
    """Executes at real venues.

    Args:
        store: intents.
        records: says whether the run's engine has an order on record.
        gate: says whether an order may be sent.
        clock: wall clock.
        at_point: called with the name of each step, so that a test can end the process there.
    """

    def __init__(
        self,
        store: IntentStore,
        records: RunRecords,
        gate: Gate,
        clock: Clock,
        at_point: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._store = store
        self._records = records
        self._gate = gate
        self._clock = clock
        self._at_point = at_point
        self._flights: dict[str, asyncio.Task[Settled]] = {}

    async def execute(self, task: Task) -> Settled:
        """Execute once; a request that is repeated while the first is under way waits for it.

        Raises:
            NotOnRecordError: the run's engine has not written it down; nothing was sent, and it may be asked for again.
            ComponentError: the venue cannot be asked for what it holds, or a service is away; the intent stays.
        """
        key = task.orders[0].operation_id
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._execute(task))
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    async def _execute(self, task: Task) -> Settled:
        key = task.orders[0].operation_id
        while True:
            try:
                done = await self._begin(task)  # most orders are new: looking first would be one trip more
                if done is not None:
                    return done
                found = await self._store.load(key)
                if found is None:
                    continue
                intent = found[0] if found[0].state == "done" else await self._store.settled(key)
                if isinstance(intent, Intent):
                    return Settled(intent.handshakes, intent.balances)
                _log.warning("%s: taken over in state %s", key, intent.intent.state)
                async with intent:
                    return await self._go_on(task, intent)
            except LostIntentError:
                _log.warning("%s: another replica has taken over", key)

    async def _begin(self, task: Task) -> Settled | None:
        """From nothing to its outcome; None where the intent is there already."""
        self._at_point("venues: before intent")
        looking = asyncio.create_task(self._look(task))
        try:
            await leave(4)  # what is asked is on its way while the intent is made
            return await self._begun(task, looking)
        finally:
            await _dismissed(looking)

    async def _begun(self, task: Task, looking: asyncio.Task[float]) -> Settled | None:
        at_once = self._prepared_at_once(task)
        intent = Intent(
            operation_ids=tuple(order.operation_id for order in task.orders),
            correlation_id=task.run.correlation_id,
            tick=task.tick,
            venue=task.orders[0].venue,
            orders=tuple(task.orders),
            state="created" if at_once is None else "sending",
            owner=self._store.owner,
            sends=0 if at_once is None else 1,
            reference=None if at_once is None else at_once.reference,
            created_at=self._clock.now(),
        )
        held = await self._store.create(intent)
        if held is None:
            return None
        self._at_point("venues: after intent")
        async with held:
            return await self._go_on(task, held, looking)

    @staticmethod
    def _prepared_at_once(task: Task) -> Prepared | None:
        """What may be recorded with the intent: then that and what may be sent is one trip, not two."""
        try:
            return task.counterparts.of_order(task.orders[0].venue).prepare_at_once(task.orders)
        except (LiveVenueError, VenueRefusal):
            return None  # prepared once more where limits and gate were asked, for what is refused there counts first

    async def _look(self, task: Task) -> float:
        """May it be sent? On record with its engine, within the limits, trading open.

        Returns:
            when it was asked, by the clock's monotonic seconds.
        """
        begin, cid = self._clock.monotonic(), task.run.correlation_id
        answers = await asyncio.gather(
            self._records.require(cid, task.orders),
            self._admit(task),
            self._gate.require_open(cid, task.orders, task.config),
            return_exceptions=True,
        )
        # what is not on record must not come to an end, not even to a refusal: so that counts first
        for answer in answers:
            if answer is not None:
                raise answer
        return begin

    async def _admit(self, task: Task) -> None:
        """Within the limits; an operation counts once, however often it is asked for."""
        age = (self._clock.now() - tick_time(task.run, task.tick)).total_seconds()
        standing = Standing(task.market, task.balances, max(age, 0.0), 0.0)
        self._gate.require_heard(task.run.correlation_id, task.config)
        await self._gate.admit(task.run.correlation_id, task.orders, standing, task.config, task.valuer)

    async def _require(self, task: Task, looking: asyncio.Task[float]) -> None:
        """It may be sent, by a look that is not long past.

        Raises:
            NotOnRecordError, VenueRefusal: it may not.
        """
        try:
            asked = await looking
            if self._clock.monotonic() - asked <= _STALE_LOOK_S:
                return
        except (NatsError, TimeoutError):
            pass  # NATS was away meanwhile, and is back, for the intent was written
        await self._look(task)

    async def _go_on(self, task: Task, held: HeldIntent, looking: asyncio.Task[float] | None = None) -> Settled:
        """From wherever the intent is, to its outcome.

        Args:
            task: what is to be executed.
            held: its intent.
            looking: whether it may be sent, asked with the creation of the intent; None where it was there before.
        """
        with leased(held):
            try:
                handshakes = await self._outcome(task, held, looking)
            except NotOnRecordError:
                await held.let_go()
                raise
        self._at_point("venues: after outcome")
        handshakes = tuple(
            on_the_row(order, handshake, task.market) for order, handshake in zip(task.orders, handshakes, strict=True)
        )
        balances = await self._balances(task, handshakes)
        if any(handshake.status is ExecutionStatus.PENDING for handshake in handshakes):
            return Settled(handshakes, balances)  # the intent stays "sending": whoever asks again resolves it first
        self._at_point("venues: before recording")
        await held.write(state="done", handshakes=handshakes, balances=balances)
        self._at_point("venues: after recording")
        return Settled(handshakes, balances)

    async def _outcome(
        self, task: Task, held: HeldIntent, looking: asyncio.Task[float] | None
    ) -> Sequence[ExecutionHandshake]:
        venue = task.counterparts.of_order(task.orders[0].venue)
        deadline = self._clock.monotonic() + _PATIENCE * task.config.execution_manager.execution_timeout_s
        try:
            if held.intent.state == "created":
                handshakes = await self._prepare_and_send(task, held, venue, deadline, looking)
            elif looking is not None:
                await self._require(task, looking)
                handshakes = await self._send(task, held, venue, deadline)
            else:
                handshakes = await self._resolve(task, held, venue, deadline)
            while _all_failed(handshakes, _NEVER_ARRIVED) or _all_failed(handshakes, _NEVER_CAN):
                if held.intent.sends >= _MOST_SENDS or self._clock.monotonic() >= deadline:
                    break
                # also where the intent is of an engine that decided otherwise: it had none of it on record, and nothing left
                if _all_failed(handshakes, _NEVER_CAN) or held.intent.orders != tuple(task.orders):
                    await held.write(state="created", reference=None)
                    handshakes = await self._prepare_and_send(task, held, venue, deadline)
                else:
                    await self._write_sending(task, held)
                    handshakes = await self._send(task, held, venue, deadline)
        except (VenueRefusal, ProvedFailure, Fatal) as refused:
            return self._failed(task.orders, refused)
        except Retryable as refused:
            if held.intent.state == "sending":
                return self._pending(task.orders, refused)
            return self._failed(task.orders, refused)
        return handshakes

    async def _prepare_and_send(
        self,
        task: Task,
        held: HeldIntent,
        venue: LiveVenue,
        deadline: float,
        looking: asyncio.Task[float] | None = None,
    ) -> Sequence[ExecutionHandshake]:
        await self._require(task, looking or asyncio.create_task(self._look(task)))
        prepared = await self._patiently(lambda: venue.prepare(task.orders), deadline)
        self._at_point("venues: after prepare")
        await self._write_sending(task, held, reference=prepared.reference)
        return await self._send(task, held, venue, deadline)

    async def _write_sending(self, task: Task, held: HeldIntent, **recorded: Any) -> None:
        """On record that it is sent from here on, and with what; beside that, a look whether it may be."""
        looking = asyncio.create_task(self._look(task))
        try:
            await held.write(state="sending", sends=held.intent.sends + 1, orders=tuple(task.orders), **recorded)
            await self._require(task, looking)
        finally:
            await _dismissed(looking)

    async def _send(
        self, task: Task, held: HeldIntent, venue: LiveVenue, deadline: float
    ) -> Sequence[ExecutionHandshake]:
        """Send what is on record as being sent, and follow it to its outcome."""
        self._at_point("venues: before send")
        handshakes: Sequence[ExecutionHandshake]
        try:
            handshakes = await venue.send(task.orders, self._prepared(held))
        except (ProvedFailure, VenueRefusal):
            raise
        except LiveVenueError as error:  # it may have gone out before this was raised
            _log.warning("%s: %s", held.intent.operation_ids[0], error)
            handshakes = self._pending(task.orders, error)
        self._at_point("venues: after send")
        if _is_pending(handshakes):
            handshakes = await self._resolve(task, held, venue, deadline)
        return handshakes

    async def _resolve(
        self, task: Task, held: HeldIntent, venue: LiveVenue, deadline: float
    ) -> Sequence[ExecutionHandshake]:
        """Ask what became of it until the venue knows, or patience ends: then it is pending, and the run stops."""
        prepared, pause = self._prepared(held), _PAUSE_S
        while True:
            self._at_point("venues: before resolve")
            try:
                handshakes = await venue.resolve(task.orders, prepared)
            except ProvedFailure as refused:
                return self._failed(task.orders, refused)
            except LiveVenueError as error:
                handshakes = self._pending(task.orders, error)
            if not _is_pending(handshakes) or self._clock.monotonic() >= deadline:
                return handshakes
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _patiently(self, ask: Callable[[], Awaitable[Prepared]], deadline: float) -> Prepared:
        """Ask again while the venue says that asking again is harmless."""
        pause = _PAUSE_S
        while True:
            try:
                return await ask()
            except Retryable:
                if self._clock.monotonic() + pause >= deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _balances(self, task: Task, handshakes: Sequence[ExecutionHandshake]) -> dict[str, float]:
        """What the venues hold now; tokens in flight are counted here, from the deltas."""
        for attempt in range(_READS):
            try:
                told = await booked_balances(task.counterparts, task.config, task.read_at, self._clock.now, task.seen)
                break
            except Retryable:
                if attempt == _READS - 1:
                    raise
                await asyncio.sleep(_PAUSE_S * 2**attempt)
        for key in task.config.position_subscriptions:
            if key not in told:
                moved = sum(handshake.actual_deltas.get(key, 0.0) for handshake in handshakes)
                told[key] = task.balances.get(key, 0.0) + moved
        return told

    @staticmethod
    def _prepared(held: HeldIntent) -> Prepared:
        intent = held.intent
        return Prepared(intent.operation_ids, intent.venue, dict(intent.reference or {}))

    def _failed(self, orders: Sequence[Order], error: ComponentError) -> tuple[ExecutionHandshake, ...]:
        """Proved: it did not happen."""
        atomic = orders[0].execution_mode is ExecutionMode.ATOMIC
        return tuple(
            ExecutionHandshake(
                operation_id=order.operation_id,
                status=ExecutionStatus.ROLLED_BACK if atomic else ExecutionStatus.FAILED,
                error_code=error.error_code,
                error_message=error.message,
                submitted_at=self._clock.now(),
                simulated=False,
            )
            for order in orders
        )

    def _pending(self, orders: Sequence[Order], error: ComponentError) -> tuple[ExecutionHandshake, ...]:
        """Not known."""
        return tuple(
            ExecutionHandshake(
                operation_id=order.operation_id,
                status=ExecutionStatus.PENDING,
                error_code=error.error_code,
                error_message=error.message,
                submitted_at=self._clock.now(),
                simulated=False,
            )
            for order in orders
        )


async def booked_balances(
    counterparts: Counterparts,
    config: RunConfig,
    since: datetime,
    now: Callable[[], datetime],
    seen: Sequence[str],
) -> dict[str, float]:
    """What the venues hold, less what they did on their own since a tick was read: an arrival, a funding.

    The monitors book that with the next tick; until then it is no mismatch.
    """
    told, settlements, _, _ = await counterparts.position(config.position_subscriptions, since, now, seen)
    for settlement in settlements:
        for key, delta in settlement.deltas.items():
            if key in told:
                told[key] -= delta
    return told


async def _dismissed(looking: asyncio.Task[float]) -> None:
    """Nobody wants to know, or not any more."""
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


def _is_pending(handshakes: Sequence[ExecutionHandshake]) -> bool:
    return any(handshake.status is ExecutionStatus.PENDING for handshake in handshakes)


def _all_failed(handshakes: Sequence[ExecutionHandshake], code: str) -> bool:
    return all(
        handshake.status in {ExecutionStatus.FAILED, ExecutionStatus.ROLLED_BACK} and handshake.error_code == code
        for handshake in handshakes
    )
