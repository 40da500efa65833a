"""Subscriptions of a bus: messages to handlers, a few at once, and an end that lets the handlers in hand finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

    Handler = Callable[[Msg], Awaitable[None]]

_log = logging.getLogger(__name__)

HANDLERS_AT_ONCE: Final = 8
"""Messages of one subscription that are handled side by side; those that follow wait in the client."""
GRACE_S: Final = 10.0
"""How long handlers in hand may take at the end before they are cancelled."""
_FETCH_S: Final = 2.0
"""How long one question to a work queue waits for work."""
_SUBSCRIPTIONS_END_S: Final = 2.0
"""How long the server is given to hear that subscriptions end."""
_PAUSE_S: Final = 0.2
"""Wait before a work queue that gave an error is asked again."""


class WorkQueue(NamedTuple):
    """A durable pull consumer of a work queue."""

    stream: str
    """Stream it reads."""
    subject: str
    """Subjects of the stream it takes."""
    durable: str
    """Its name: replicas of a service share it."""
    ack_wait_s: float
    """Silence after which a message is given to another replica."""
    max_deliver: int
    """How often a message is given out; -1 = as often as it takes."""


class Subscriptions:
    """All that a service listens to. Register first, then :meth:`start`.

    Args:
        inbox_prefix: where work comes in: a subject of the service's own.
    """

    def __init__(self, inbox_prefix: str) -> None:
        self._inbox_prefix = inbox_prefix
        self._core: list[tuple[str, str, Handler]] = []
        self._queues: list[tuple[WorkQueue, Handler]] = []
        self._subscribed: list[Subscription] = []
        self._pulling: set[asyncio.Task[None]] = set()
        self._in_hand: set[asyncio.Task[None]] = set()

    def add(self, subject: str, queue: str, handler: Handler) -> None:
        """Messages of a subject; one replica of a queue group gets each, every listener where ``queue`` is empty."""
        self._core.append((subject, queue, handler))

    def add_queue(self, queue: WorkQueue, handler: Handler) -> None:
        """Messages of a work queue, one after the other; the handler acknowledges them itself."""
        self._queues.append((queue, handler))

    async def start(self, client: Client, jetstream: JetStreamContext) -> None:
        """Subscribe to what was registered.

        Raises:
            nats.errors.Error: a consumer cannot be made.
        """
        for subject, group, handler in self._core:
            self._subscribed.append(await client.subscribe(subject, queue=group, cb=self._side_by_side(handler)))
        self._core.clear()
        for queue, handler in self._queues:
            pull = await jetstream.pull_subscribe(
                queue.subject,
                durable=queue.durable,
                stream=queue.stream,
                config=ConsumerConfig(ack_wait=queue.ack_wait_s, max_deliver=queue.max_deliver),
                inbox_prefix=f"{self._inbox_prefix}.".encode(),
            )
            self._pulling.add(asyncio.create_task(self._pull(pull, handler)))
        self._queues.clear()

    def _side_by_side(self, handler: Handler) -> Handler:
        free = asyncio.Semaphore(HANDLERS_AT_ONCE)

        async def take(message: Msg) -> None:
            await free.acquire()
            self._handle(handler, message).add_done_callback(lambda _: free.release())

        return take

    def _handle(self, handler: Handler, message: Msg) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(handler(message))
        self._in_hand.add(task)
        task.add_done_callback(self._handled)
        return task

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a handler failed", exc_info=error)

    async def _pull(self, queue: JetStreamContext.PullSubscription, handler: Handler) -> None:
        try:
            while True:
                try:
                    messages = await queue.fetch(1, timeout=_FETCH_S)
                except TimeoutError:  # nothing to do
                    continue
                except (NatsError, OSError) as error:  # the server is away, or comes back
                    _log.debug("work queue: %s", error or type(error).__name__)
                    await asyncio.sleep(_PAUSE_S)
                    continue
                for message in messages:
                    await asyncio.wait({self._handle(handler, message)})
        finally:
            with contextlib.suppress(NatsError, OSError):
                await queue.unsubscribe()  # else the drain of the connection waits for status messages nobody takes

    async def stop(self) -> None:
        """Take nothing new, and let what is in hand finish; what takes longer than :data:`GRACE_S` is cancelled."""
        for task in self._pulling:
            task.cancel()
        await asyncio.gather(*self._pulling, return_exceptions=True)
        self._pulling.clear()
        leaving = [asyncio.create_task(_leave(subscription)) for subscription in self._subscribed]
        if leaving:
            _, slow = await asyncio.wait(leaving, timeout=_SUBSCRIPTIONS_END_S)
            for task in slow:  # the server is away: it knows by itself, once the connection ends
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
        self._subscribed.clear()
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=GRACE_S)
        for task in tuple(self._in_hand):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _leave(subscription: Subscription) -> None:
    """Hear nothing new; what came in is still handled."""
    await subscription.drain()  # type: ignore[no-untyped-call]
