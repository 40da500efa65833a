"""The event-logger service: event stream in, files out, seal at the end.

One replica writes a stream at a time: the one that holds the lock beside the runs. Another on the same volume waits,
and takes over when the first is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final, Literal, ParamSpec, TypeVar

from nats.errors import Error as NatsError

from basis.event_logger import removal
from basis.event_logger.consumer import ConsumerLost, EventConsumer, is_run_end
from basis.event_logger.core.seal import OPERATIONS
from basis.event_logger.directories import LogDirectoryManager
from basis.event_logger.store import Store
from basis.models.errors import ComponentError, InputError
from basis.models.messages import (
    Control,
    FileSeal,
    RemoveReply,
    RemoveRequest,
    RunEnd,
    RunMetadata,
    RunSealed,
    RunStart,
)
from basis.runtime import codec, domain_events, health, subjects
from basis.runtime.bus import StreamMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from basis.event_logger.consumer import Delivery
    from basis.event_logger.core.plan import Incoming, Target
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.settings import Settings

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

SERVICE: Final = "event-logger"
STANDBY_S: Final = 0.2
"""How often a standby tries the lock."""
RETRY_S: Final = 1.0
"""Pause before a batch that the disk refused is tried again."""
_IDLE_S: Final = 1.0
_LINGER_S: Final = 0.025
"""How long what arrives next is waited for before a batch is written, seconds."""
_FAIL_TIMEOUT_S: Final = 0.5
_STOP_GRACE_S: Final = 2.0


class DiskTrouble(ComponentError):
    """The disk refuses: the batch is undone and stays in the stream."""


class Sink:
    """The event-logger of one process.

    Args:
        bus: connected by :meth:`start` where it is not; stop the sink before the bus.
        settings: names the root of the runs.
        clock: wall clock of the seals.
    """

    def __init__(self, bus: Bus, settings: Settings, clock: Clock) -> None:
        self.logs = LogDirectoryManager(settings.logs_dir)
        self.role: Literal["starting", "standby", "writer", "stopped"] = "starting"
        self._bus = bus
        self._settings = settings
        self._clock = clock
        self._consumer = EventConsumer(bus)
        self._health: Subscription | None = None
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trouble: str | None = None
        self._told: set[str] = set()
        self._store: Store | None = None

    # -------------------------------------------------------------------------------------------- lifecycle

    async def start(self) -> None:
        """Begin to write, or to wait for the lock; returns once it is clear which.

        Raises:
            ComponentError: BUS-001, no NATS server.
        """
        if self._task is not None:
            return
        if not self._bus.is_connected:
            await self._bus.connect()
        self._task = asyncio.create_task(self._serve(), name="event-logger")
        settled = asyncio.create_task(self._settled.wait())
        await asyncio.wait({self._task, settled}, return_when=asyncio.FIRST_COMPLETED)
        settled.cancel()
        if self._task.done():
            self._task.result()

    async def wait(self) -> None:
        """Wait until the sink ends; raises what ended it."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Finish the batch in hand, release the lock; where every run is sealed, leave nothing behind."""
        self._stopping.set()
        self._consumer.wake()
        if self._task is not None:
            await self._task

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    async def _serve(self) -> None:
        try:
            while not self._stopping.is_set():
                store = await self._lock()
                if store is not None:
                    await self._hold(store)
        finally:
            self.role = "stopped"
            await self._leave_health()

    async def _lock(self) -> Store | None:
        """The store of the stream as it is now, once its lock is ours; None after a fruitless try."""
        stream_id = await self._stream_id()
        if stream_id is None:
            await self._pause(STANDBY_S)
            return None
        store = Store(self.logs, stream_id, self._clock, fsync=self._settings.fsync)
        try:
            locked = await asyncio.to_thread(store.try_lock)
        except OSError as error:
            self._trouble = f"LOG-003 {self.logs.root}: {error.strerror or error}"
            _log.error("%s", self._trouble)
            await self._join_health()  # not a standby: the operator has to hear of it
            self._settled.set()
            await self._pause(RETRY_S)
            return None
        if locked:
            return store
        self.role = "standby"
        self._settled.set()
        await self._pause(STANDBY_S)
        return None

    async def _stream_id(self) -> str | None:
        try:
            info = await self._bus.jetstream.stream_info(subjects.STREAM_EVENTS)
        except (NatsError, OSError) as error:
            _log.warning("event stream: %s", error or type(error).__name__)
            return None
        created = info.created
        assert created is not None, "a stream has its time of creation"
        return f"{round(created.timestamp() * 1e6):x}"

    async def _hold(self, store: Store) -> None:
        """Write until told to stop, or until the stream is another one."""
        try:
            if not await self._recover(store):
                return
            self.role = "writer"
            self._store = store
            self._trouble = None
            await self._join_health()
            await self._write(store)
        finally:
            self._store = None
            await self._consumer.close()
            await asyncio.to_thread(store.release)

    async def _write(self, store: Store) -> None:
        stream_id = store.stream_id
        while not self._stopping.is_set():
            try:
                await self._consumer.open(store.position.seq)
                self._settled.set()
                await self._consume(store)
            except (ConsumerLost, NatsError, OSError) as error:
                _log.info("event stream is read anew from %d: %s", store.position.seq, error or type(error).__name__)
                await self._pause(STANDBY_S)
                if await self._stream_id() not in {None, stream_id}:
                    _log.warning("the event stream was made anew")
                    return

    async def _consume(self, store: Store) -> None:
        while not self._stopping.is_set():
            deliveries = await self._consumer.fetch(_IDLE_S)
            if deliveries and not any(is_run_end(delivery.message.subject) for delivery in deliveries):
                # a run comes in many small messages; writing them one by one costs more than they do
                await self._consumer.linger(_LINGER_S)
                deliveries += await self._consumer.fetch(0.0)
            if deliveries and await self._take(store, deliveries):
                await self._consumer.acknowledge(deliveries[-1])

    # ---------------------------------------------------------------------------------------------- messages

    async def _take(self, store: Store, deliveries: Sequence[Delivery]) -> bool:
        """Bring a batch into the files, however long the disk refuses; False where told to stop before."""
        messages = [delivery.message for delivery in deliveries]
        while not self._stopping.is_set():
            try:
                for kind, routed in store.segments(messages):
                    await self._segment(store, kind, routed)
            except DiskTrouble as trouble:
                await self._refused(store, messages, trouble)
            else:
                self._trouble = None
                self._told.clear()
                return True
        return False

    async def _segment(self, store: Store, kind: str, routed: list[tuple[Incoming, Target]]) -> None:
        message, where = routed[0]
        warnings: Iterable[str]
        match kind:
            case "start":
                warnings = await _on_disk(store.open_run, message, where.cid)
            case "end":
                sealed, warnings = await _on_disk(store.seal, message, where.cid)
                if sealed is not None:
                    await self._announce(sealed)
                await _on_disk(store.close_run, message.seq, where.cid, sealed=sealed is not None)
            case _:
                warnings = await _on_disk(store.append, routed)
        for warning in warnings:
            _log.warning("%s", warning)

    async def _announce(self, sealed: RunSealed) -> None:
        """Tell the engine, then take the run's events out of the stream: they are on disk."""
        cid = sealed.correlation_id
        header = {subjects.HEADER_MSG_ID: f"{cid}.sealed"}
        message = StreamMessage(subjects.run_sealed(cid), codec.encode(sealed), header)
        try:
            await self._unless_stopped(self._bus.publish_stream([message]))
        except ComponentError as error:
            raise ConsumerLost(f"{cid}: nobody could be told of the seal: {error}") from error
        for subject in (subjects.events(cid, ">"), subjects.logs(cid, ">")):
            await self._unless_stopped(self._bus.jetstream.purge_stream(subjects.STREAM_EVENTS, subject=subject))

    async def _unless_stopped(self, work: Coroutine[None, None, object]) -> None:
        """Do something over NATS; when the sink is told to stop, not for long."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=_STOP_GRACE_S)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
        if task.cancelled() or not task.done():
            raise ConsumerLost("stopped while NATS was away")
        task.result()

    # ------------------------------------------------------------------------------------------ disk trouble

    async def _recover(self, store: Store) -> bool:
        """Bring files and journal together, however long the disk refuses; False where told to stop before."""
        while not self._stopping.is_set():
            try:
                warnings = await _on_disk(store.recover)
            except DiskTrouble as trouble:
                self._trouble = str(trouble)
                _log.error("%s; tried again every %g s", trouble, RETRY_S)
                await self._join_health()
                self._settled.set()
                await self._pause(RETRY_S)
            else:
                for warning in warnings:
                    _log.warning("%s", warning)
                return True
        return False

    async def _refused(self, store: Store, messages: Iterable[Incoming], trouble: DiskTrouble) -> None:
        """Stop the runs whose events the disk refuses; their events stay in the stream until there is room."""
        if self._trouble != str(trouble):
            _log.error("%s; tried again every %g s", trouble, RETRY_S)
        self._trouble = str(trouble)
        waiting = {message.subject.split(".")[1] for message in messages if message.seq > store.position.seq}
        await asyncio.gather(*(self._fail(cid, trouble) for cid in sorted(waiting - self._told)))
        await self._pause(RETRY_S)

    async def _fail(self, cid: str, trouble: DiskTrouble) -> None:
        order = Control(command="fail", error_code=trouble.error_code, reason=trouble.message)
        try:
            await self._bus.client.request(subjects.control(cid), codec.encode(order), timeout=_FAIL_TIMEOUT_S)
        except (NatsError, OSError) as error:
            _log.info("%s: no engine heard of the trouble: %s", cid, error or type(error).__name__)
        else:
            self._told.add(cid)

    # ----------------------------------------------------------------------------------------------- removal

    async def remove(self, request: RemoveRequest) -> RemoveReply:
        """Take the directory of an ended run away, and what the stream still holds of it.

        Raises:
            ComponentError: RUN-002, it has not ended; LOG-001, the disk refuses.
        """
        cid = request.correlation_id
        lock = self._store.lock_path if self._store is not None else None
        runs = self._store.position.runs.keys() if self._store is not None else ()
        removed = await _on_disk(removal.remove, self.logs, cid, lock, runs)
        for subject in (subjects.run_start(cid), subjects.run_end(cid), subjects.run_sealed(cid)):
            await self._bus.jetstream.purge_stream(subjects.STREAM_EVENTS, subject=subject)
        return RemoveReply(removed=removed)

    # ------------------------------------------------------------------------------------------------ health

    def details(self) -> dict[str, object]:
        """What a health request is told, besides name and pid."""
        found: dict[str, object] = {"logs_dir": str(self.logs.root), "role": self.role}
        reason = self._trouble
        try:
            self.logs.check_writable()
        except ComponentError as error:
            reason = reason or str(error)
        return found | ({} if reason is None else {"ready": False, "reason": reason})

    async def _join_health(self) -> None:
        if self._health is None:
            self._health = await self._bus.client.subscribe(subjects.health(SERVICE), cb=self._answer)
            with contextlib.suppress(NatsError):  # until the server knows, a request would find nobody
                await self._bus.ping()

    async def _answer(self, request: Msg) -> None:
        if request.reply:
            await self._bus.client.publish(request.reply, health.answer(SERVICE, self.details))

    async def _leave_health(self) -> None:
        subscription, self._health = self._health, None
        if subscription is not None and not self._bus.client.is_closed:
            await subscription.unsubscribe()


async def _on_disk(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a method of the store in a thread.

    Raises:
        DiskTrouble: LOG-001 or LOG-003.
    """
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise DiskTrouble("LOG-001", f"{where}{error.strerror or error}", SERVICE) from error
    except InputError:
        raise
    except ComponentError as error:
        raise DiskTrouble(error.error_code, error.message, error.component) from error


def warm() -> None:
    """Build the models of this service, before its process is forked or at the latest before its first message."""
    codec.warm(RunStart, RunEnd, RunMetadata, RunSealed, FileSeal, Control, RemoveRequest, RemoveReply)
    domain_events.warm(OPERATIONS)


async def serve(bus: Bus, settings: Settings, clock: Clock) -> Sink:
    """Start an event-logger; stop it before the bus.

    Raises:
        ComponentError: BUS-001, no NATS server.
    """
    warm()
    sink = Sink(bus, settings, clock)
    bus.serve(subjects.directory_remove(subjects.ANY_RUN), SERVICE, RemoveRequest, sink.remove)
    await sink.start()
    return sink
