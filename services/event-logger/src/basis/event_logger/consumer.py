"""The pull consumer of the event stream, from a place of our own choosing.

The server's record of acknowledgements is not our position: after a crash it would deliver again late and out of order.
So the consumer is made anew from the journal's position, and whatever does not arrive in one unbroken sequence is a
reason to do so again. Acknowledgements only tell the operator how far the sink is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from basis.event_logger.core.plan import Incoming
from basis.runtime import packing, subjects

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from basis.runtime.bus import Bus

DURABLE: Final = "event-logger"
"""Name of the consumer: ``nats consumer info EVENTS event-logger`` shows how far the sink is."""
BATCH: Final = 64
"""Messages asked for and not yet taken, at most: with those in hand it bounds the memory (about 250 KB each)."""
EXPIRES_S: Final = 5.0
"""The server answers a pull by then, with messages or without."""
_GRACE_S: Final = 2.0
_ACK_WAIT_S: Final = 60.0
_PENDING_BYTES: Final = 256 * 1024**2


class ConsumerLost(Exception):
    """The sequence is broken: make the consumer anew."""


class Delivery(NamedTuple):
    """A message, and where to acknowledge it."""

    message: Incoming
    reply: str


def is_run_end(subject: str) -> bool:
    """True for the end of a run: somebody waits for its seal."""
    return subject.endswith(".run.end")


class EventConsumer:
    """Pulls the event stream in sequence.

    Args:
        bus: connected.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queue: deque[Msg] = deque()
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._asked = 0
        self._answer_due = 0.0
        self._reconnects = 0
        self._seq = 0
        self._consumer_seq = 0
        self._lost: str | None = None

    async def open(self, after: int) -> None:
        """Make the consumer anew: deliver what comes after a stream sequence.

        Raises:
            NatsError: no server, or it refuses.
        """
        await self.close()
        self._queue.clear()
        self._asked, self._seq, self._consumer_seq, self._lost = 0, after, 0, None
        client, js = self._bus.client, self._bus.jetstream
        self._reconnects = client.stats["reconnects"]
        with contextlib.suppress(NotFoundError):
            await js.delete_consumer(subjects.STREAM_EVENTS, DURABLE)
        config = ConsumerConfig(
            durable_name=DURABLE,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=AckPolicy.ALL,
            ack_wait=_ACK_WAIT_S,
            max_ack_pending=-1,
        )
        await js.add_consumer(subjects.STREAM_EVENTS, config)
        self._inbox = client.new_inbox()
        self._subscription = await client.subscribe(self._inbox, cb=self._arrived, pending_bytes_limit=_PENDING_BYTES)
        await self._ask()

    async def close(self) -> None:
        """Stop listening; the consumer stays on the server."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None and not self._bus.client.is_closed:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()

    async def _arrived(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status") if not message.reply else None
        if status is None:
            self._queue.append(message)
            if is_run_end(message.subject):
                self._hurry.set()
        else:
            self._status(status, message.headers or {})
        self._wake.set()

    def _status(self, status: str, headers: dict[str, str]) -> None:
        match status:
            case "100":  # heartbeat
                return
            case "404" | "408":  # the pull ended with so many messages short
                self._asked = max(self._asked - int(headers.get("Nats-Pending-Messages", self._asked)), 0)
            case _:
                self._lost = f"{status} {headers.get('Description', '')}".strip()

    async def _ask(self) -> None:
        room = BATCH - self._asked - len(self._queue)
        if room < BATCH // 2:
            return
        self._asked += room
        self._answer_due = asyncio.get_running_loop().time() + EXPIRES_S + _GRACE_S
        pull = msgspec.json.encode({"batch": room, "expires": int(EXPIRES_S * 1e9)})
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.STREAM_EVENTS}.{DURABLE}"
        await self._bus.client.publish(subject, pull, reply=self._inbox)

    def wake(self) -> None:
        """Let a waiting :meth:`fetch` or :meth:`linger` return."""
        self._wake.set()
        self._hurry.set()

    async def linger(self, seconds: float) -> None:
        """Let messages gather; not for longer once the end of a run is among them or :meth:`wake` was called."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)

    async def fetch(self, timeout_s: float) -> list[Delivery]:
        """What has arrived, in sequence; nothing where nothing did in time or :meth:`wake` was called.

        Raises:
            ConsumerLost: a gap, a repeat, a reconnect, or the server says so.
            NatsError: no server.
        """
        self._check()
        await self._ask()
        if not self._queue:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout_s)
        self._wake.clear()
        self._hurry.clear()
        deliveries = []
        while self._queue:
            deliveries.append(self._take(self._queue.popleft()))
        if deliveries:
            await self._ask()  # the next ones travel while these are written
        else:
            self._check()
        return deliveries

    def _check(self) -> None:
        if self._lost is not None:
            raise ConsumerLost(self._lost)
        if self._bus.client.stats["reconnects"] != self._reconnects:
            raise ConsumerLost("the connection was lost in between")
        if self._asked and not self._queue and asyncio.get_running_loop().time() > self._answer_due:
            raise ConsumerLost("a pull was never answered")

    def _take(self, message: Msg) -> Delivery:
        sequence = message.metadata.sequence
        if sequence.consumer != self._consumer_seq + 1 or sequence.stream <= self._seq:
            raise ConsumerLost(f"message {sequence.stream} came after {self._seq}")
        self._consumer_seq, self._seq = sequence.consumer, sequence.stream
        self._asked = max(self._asked - 1, 0)
        orders = (message.headers or {}).get(subjects.HEADER_ORDERS)
        try:
            payload = packing.unpacked(message.data, message.headers)
        except ValueError:  # as it came, and without its orders: what is no event is dropped with a warning
            payload, orders = message.data, None
        incoming = Incoming(sequence.stream, message.subject, payload, orders, message.metadata.num_pending)
        return Delivery(incoming, message.reply)

    async def acknowledge(self, delivery: Delivery) -> None:
        """Tell the server that all up to this one is in the files.

        Raises:
            NatsError: no server.
        """
        await self._bus.client.publish(delivery.reply, b"+ACK")
