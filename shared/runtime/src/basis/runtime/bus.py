"""The bus: the one client that services use, on nats-py. What is said on it is in :mod:`basis.runtime.subjects`."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec
import nats.aio.client
from nats.aio.client import Client
from nats.errors import ConnectionClosedError, NoRespondersError, NoServersError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from opentelemetry import trace
from pydantic import BaseModel

from basis.models.errors import ComponentError, InputError, Severity
from basis.runtime import codec, subjects, telemetry
from basis.runtime.clock import new_correlation_id
from basis.runtime.storage import Storage
from basis.runtime.subscriptions import Subscriptions, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

    from basis.runtime.settings import Settings

_log = logging.getLogger(__name__)

nats.aio.client.DEFAULT_BUFFER_SIZE = 1024**2
"""nats-py reads 32 KiB at a time, which is eight turns of its loop for one of our event messages."""

_CONNECTION_ENDS_S: Final = 10.0
"""How long a connection may take to end."""
_ANSWER_KEPT_S: Final = 5.0
"""How long an answer is kept for a repeat of its request that was on its way."""

# ------------------------------------------------------------------------------------------------------- envelope

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)


class _Envelope(msgspec.Struct):
    """Reply on the wire: a body, or an error. An exception in a handler must not reach the caller as a timeout."""

    body: bytes = b""
    code: str = ""
    message: str = ""
    component: str = ""
    severity: str = ""
    is_input: bool = False


_envelope_encoder = msgspec.msgpack.Encoder()
_envelope_decoder = msgspec.msgpack.Decoder(_Envelope)


def _ok(model: BaseModel) -> bytes:
    return _envelope_encoder.encode(_Envelope(body=codec.encode(model)))


def _error(error: ComponentError) -> bytes:
    return _envelope_encoder.encode(
        _Envelope(
            code=error.error_code,
            message=error.message,
            component=error.component,
            severity=error.severity,
            is_input=isinstance(error, InputError),
        )
    )


def _open(payload: bytes) -> bytes:
    envelope = _envelope_decoder.decode(payload)
    if envelope.code:
        kind = InputError if envelope.is_input else ComponentError
        raise kind(envelope.code, envelope.message, envelope.component, Severity(envelope.severity))
    return envelope.body


class StreamMessage(NamedTuple):
    """One message for a JetStream stream."""

    subject: str
    """Where to."""
    payload: bytes
    """What."""
    headers: dict[str, str]
    """Must hold Nats-Msg-Id: publishing may be repeated."""


@dataclass(frozen=True, slots=True)
class RunTask:
    """A run handed to this engine, with the means to say that it is alive and that it is done."""

    payload: bytes
    heartbeat: Callable[[], Awaitable[None]]
    done: Callable[[], Awaitable[None]]


def _run_task(message: Msg) -> RunTask:
    return RunTask(payload=message.data, heartbeat=message.in_progress, done=message.ack)


async def _within(seconds: float, step: Coroutine[Any, Any, object]) -> None:
    """A step of nats-py, or the end of it after so long: it swallows a cancellation now and then, and is told again.

    Raises:
        TimeoutError: it took longer.
        OSError, NatsError: what it raised.
    """
    task = asyncio.ensure_future(step)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            task.result()
            return
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.1)
    raise TimeoutError


async def leave(turns: int = 2) -> None:
    """Let a task that was made just now publish what it begins with, before something takes the processor for a while.

    Args:
        turns: of the event loop: in two the task runs until it waits, and the client writes; what makes tasks of its own takes
            two more. What takes longer leaves a little later.
    """
    for _ in range(turns):
        await asyncio.sleep(0)


def host_of(url: str) -> str:
    """``nats://user:secret@host:4222`` without the secret, for messages to people."""
    return re.sub(r"//[^@/]*@", "//***@", url)


def _credentials(settings: Settings) -> dict[str, Any]:
    """Who this process is, and whom it trusts: options of nats-py's ``connect``.

    Raises:
        InputError: CONFIG-003, the credentials or the certificates cannot be read; says nothing of what is in them.
    """
    options: dict[str, Any] = {}
    if settings.nats_ca_file is not None:
        try:
            options["tls"] = ssl.create_default_context(cafile=settings.nats_ca_file)
        except (OSError, ssl.SSLError) as error:
            message = f"nats_ca_file {settings.nats_ca_file}: {error.strerror or 'no certificates'}"
            raise InputError("CONFIG-003", message, "bus") from None
    file = settings.nats_credentials_file
    if file is None or "@" in settings.nats_url:
        return options
    try:
        user, _, password = file.read_text(encoding="utf-8").strip().partition(":")
    except (OSError, UnicodeDecodeError) as error:
        message = f"nats_credentials_file {file}: {getattr(error, 'strerror', None) or 'no text'}"
        raise InputError("CONFIG-003", message, "bus") from None
    if not user or not password:
        raise InputError("CONFIG-003", f"nats_credentials_file {file}: expected one line, user:password", "bus")
    return options | {"user": user, "password": password}


class Bus:
    """One connection to NATS and all that goes over it.

    Register handlers with :meth:`serve` and :meth:`serve_runs`, then :meth:`start`. Handlers of all services may share
    one bus (embedded mode) or have one each.
    """

    def __init__(self, settings: Settings, service: str) -> None:
        self._settings = settings
        self._service = service
        self._tracer = telemetry.tracer(service)
        # replies come to a subject of the service's own: no other may listen to them, where the server has accounts
        inbox_prefix = f"_INBOX.{service}"
        self._options = {
            "servers": [url.strip() for url in settings.nats_url.split(",")],
            "name": f"basis-{service}",
            "inbox_prefix": inbox_prefix,
            "max_reconnect_attempts": -1,  # the default, 60, closes the client for good
            "reconnect_time_wait": 1,
            "pending_size": 64 * 1024**2,
            "error_cb": self._on_error,
            **_credentials(settings),
        }
        self._client: Client | None = None
        self._subscriptions = Subscriptions(inbox_prefix)
        self._publishing = asyncio.Semaphore(subjects.PUBLISH_WINDOW)
        self._was_connected = False
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self._jetstream: JetStreamContext | None = None

    async def _on_error(self, error: Exception) -> None:
        # the client reconnects by itself and requests are repeated by their callers; before the first connection the
        # caller of connect() hears of it instead
        level = logging.WARNING if self._was_connected else logging.DEBUG
        _log.log(level, "NATS: %s", error or type(error).__name__)
        if not self._was_connected and type(error) is NatsError:
            raise error  # the server's own words, such as an authorization violation: the client would ask for ever

    # ------------------------------------------------------------------------------------------------- lifecycle

    async def connect(self) -> None:
        """Connect and make streams and buckets where they are missing.

        Raises:
            ComponentError: BUS-001, no server answered in time, it refuses this user, or it keeps nothing; names the address.
        """
        url = host_of(self._settings.nats_url)
        deadline = asyncio.get_running_loop().time() + self._settings.nats_connect_timeout_s
        while True:
            remaining = deadline - asyncio.get_running_loop().time()
            try:
                client = Client()
                await _within(max(remaining, 0.05), client.connect(**self._options))
                break
            except (OSError, NatsError, TimeoutError) as error:
                if "authorization" in str(error).lower():
                    raise ComponentError(
                        "BUS-001",
                        f"the NATS server at {url} does not know this user, or not by this password: name a file with "
                        "user:password by BASIS_NATS_CREDENTIALS_FILE ('make up' leaves them in deploy/secrets)",
                        "bus",
                    ) from error
                if remaining <= 0.2:
                    patience = self._settings.nats_connect_timeout_s
                    raise ComponentError(
                        "BUS-001",
                        f"no NATS server answers at {url} within {patience:g} s: start one, or name another with "
                        "--nats or BASIS_NATS_URL",
                        "bus",
                    ) from error
                await asyncio.sleep(0.2)
        self._client, self._jetstream, self._was_connected = client, None, True
        try:
            await self.storage.make()
        except (NatsError, TimeoutError) as error:
            raise ComponentError(
                "BUS-001",
                f"the NATS server at {url} has no JetStream (start it with -js), or no room for it: {error}",
                "bus",
            ) from error

    async def start(self) -> None:
        """Connect where needed and begin to serve."""
        if not self.is_connected:
            await self.connect()
        await self._subscriptions.start(self.client, self.jetstream)

    async def stop(self) -> None:
        """Let handlers in hand finish, then leave."""
        if self._client is not None:
            await self._subscriptions.stop()
            try:
                await _within(_CONNECTION_ENDS_S, self._client.drain())
            except (OSError, NatsError, TimeoutError) as error:  # nats-py may raise while the server is away
                _log.info("NATS was away at the end: %s", error)
        for closing in self._closing:
            await closing()

    def on_stop(self, closing: Callable[[], Awaitable[None]]) -> None:
        """Call this once handlers have finished: connections of a service's own."""
        self._closing.append(closing)

    @property
    def is_connected(self) -> bool:
        """True while the client has a server."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The nats-py client."""
        assert self._client is not None, "the bus is not connected"
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream context of the connection."""
        if self._jetstream is None:
            self._jetstream = self.client.jetstream(timeout=subjects.PUBLISH_TIMEOUT_S, domain=None)
        return self._jetstream

    async def ping(self) -> None:
        """A round trip to the server.

        Raises:
            nats.errors.Error: there is none (nats-py's flush alone is content with a client that is reconnecting).
        """
        if not self.is_connected:
            raise ConnectionClosedError
        await self.client.flush(timeout=2)

    @property
    def storage(self) -> Storage:
        """Streams and buckets of the connection."""
        return Storage(self.client, self.jetstream)

    async def bucket(self, name: str) -> KeyValue:
        """A key-value bucket; those of paper and live runs are made on first use."""
        return await self.storage.bucket(name)

    # ---------------------------------------------------------------------------------------------------- serve

    def serve(
        self,
        subject: str,
        queue: str,
        request: type[M],
        handler: Callable[[M], Awaitable[BaseModel]],
        *,
        on_error: Callable[[M, ComponentError, str], Awaitable[None]] | None = None,
    ) -> None:
        """Answer requests on a subject, as one replica of a queue group.

        Args:
            subject: with ``*`` for the correlation_id.
            queue: queue group; one replica gets each request.
            request: model of the payload.
            handler: request -> reply; a ComponentError it raises is the caller's error.
            on_error: told of a failed request with its stack trace, to log it where the run can see it.
        """

        codec.warm(request)
        span_name = subject.replace(f"{subjects.ANY_RUN}.", "")
        under_way: dict[str, asyncio.Task[bytes]] = {}

        async def handle(message: Msg) -> None:
            answer = await answer_to(message)
            if message.reply:
                await self.client.publish(message.reply, answer)

        async def answer_to(message: Msg) -> bytes:
            """A request that is repeated while the first is under way, or just after, gets the answer of that."""
            name = (message.headers or {}).get(subjects.HEADER_REQUEST)
            if name is None:
                return await _handle(message)
            task = under_way.get(name)
            if task is None:
                task = under_way[name] = asyncio.create_task(_handle(message))
                loop = asyncio.get_running_loop()
                task.add_done_callback(lambda _: loop.call_later(_ANSWER_KEPT_S, under_way.pop, name, None))
            return await asyncio.shield(task)

        async def _handle(message: Msg) -> bytes:
            with telemetry.span(self._tracer, span_name, trace.SpanKind.SERVER, telemetry.extract(message.headers)):
                try:
                    decoded = codec.decode(message.data, request)
                except ComponentError as error:
                    return _error(error)
                try:
                    return _ok(await handler(decoded))
                except ComponentError as error:
                    return await _told(decoded, error)
                except Exception as error:  # noqa: BLE001 - the edge of the process: the caller must hear of it
                    _log.exception("%s failed", subject)
                    wrapped = ComponentError("EXEC-004", f"{type(error).__name__}: {error}", self._service)
                    return await _told(decoded, wrapped)

        async def _told(decoded: M, error: ComponentError) -> bytes:
            if on_error is not None:
                await on_error(decoded, error, traceback.format_exc())
            return _error(error)

        self._subscriptions.add(subject, queue, handle)

    def listen(self, subject: str, handler: Callable[[str, bytes], Awaitable[bytes | None]]) -> None:
        """Hear every message of a subject (no queue group); a handler that returns bytes replies."""

        async def handle(message: Msg) -> None:
            answer = await handler(message.subject, message.data)
            if answer is not None and message.reply:
                await self.client.publish(message.reply, answer)

        self._subscriptions.add(subject, "", handle)

    def serve_runs(self, handler: Callable[[RunTask], Awaitable[None]]) -> None:
        """Take runs from the work queue, one at a time; more at once is more replicas."""

        async def handle(message: Msg) -> None:
            with telemetry.span(self._tracer, "run", trace.SpanKind.CONSUMER, telemetry.extract(message.headers)):
                await handler(_run_task(message))

        queue = WorkQueue(
            subjects.STREAM_RUNS,
            subjects.run_submit(subjects.ANY_RUN),
            "strategy",
            subjects.RUN_ACK_WAIT_S,
            subjects.RUN_MAX_DELIVER,
        )
        self._subscriptions.add_queue(queue, handle)

    def serve_live_runs(self, handler: Callable[[RunTask], Awaitable[None]]) -> None:
        """Take paper and live runs from their work queue; any number at once, each as long as it lives."""
        running: set[asyncio.Task[None]] = set()

        async def handle(message: Msg) -> None:
            job = asyncio.ensure_future(handler(_run_task(message)))
            running.add(job)
            job.add_done_callback(running.discard)

        queue = WorkQueue(
            subjects.STREAM_LIVE, subjects.live_submit(subjects.ANY_RUN), "strategy-live", subjects.LIVE_ACK_WAIT_S, -1
        )
        self._subscriptions.add_queue(queue, handle)

    # ------------------------------------------------------------------------------------------------------ ask

    async def request(
        self,
        subject: str,
        message: BaseModel,
        reply: type[R],
        *,
        patience_s: float | None = None,
        timeout_s: float | None = None,
    ) -> R:
        """Ask, and ask again while no one answers: cores are pure, a repeat is harmless.

        Args:
            subject: where to.
            message: what.
            reply: model of the answer.
            patience_s: when to give up; None = the settings'.
            timeout_s: when to ask again; None = the settings'. Live runs ask again sooner: whoever had the request may have
                died with it. Where it is only slow, the repeat waits with the first for one answer.

        Raises:
            ComponentError: what the other side answered, or BUS-002 where no one did within the patience.
        """
        payload = codec.encode(message)
        if len(payload) > subjects.MAX_MESSAGE_BYTES:
            raise ComponentError(
                "BUS-003", f"{subject}: {len(payload)} bytes are more than {subjects.MAX_MESSAGE_BYTES}", "bus"
            )
        patience = self._settings.request_patience_s if patience_s is None else patience_s
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + patience, 0.05
        longest_pause = 2.0 if timeout_s is None else min(timeout_s / 4, 2.0)
        with telemetry.span(self._tracer, subject.split(".", 2)[-1], trace.SpanKind.CLIENT):
            headers = telemetry.inject({})
            if timeout_s is not None:
                headers[subjects.HEADER_REQUEST] = new_correlation_id()
            while True:
                timeout = min(timeout_s or self._settings.request_timeout_s, max(deadline - loop.time(), 0.05))
                try:
                    answer = await self.client.request(subject, payload, timeout=timeout, headers=headers or None)
                    return codec.decode(_open(answer.data), reply)
                except (NoRespondersError, NatsTimeoutError, ConnectionClosedError, NoServersError) as error:
                    if loop.time() >= deadline:
                        what = "no service listens" if isinstance(error, NoRespondersError) else "no answer"
                        raise ComponentError("BUS-002", f"{subject}: {what} for {patience:g} s", "bus") from error
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, longest_pause)

    async def publish(self, subject: str, payload: bytes) -> None:
        """Tell observers, without a promise that any hears it."""
        await self.client.publish(subject, payload)

    async def publish_stream(self, messages: Iterable[StreamMessage]) -> None:
        """Put messages into their streams; returns once JetStream has every one of them.

        A message whose acknowledgement does not come is published again under the same Nats-Msg-Id. Messages of one
        subject go one after the other, so that a repeat never comes after its successor (the sink's watermark would take
        it for one that it has); different subjects go side by side.

        Raises:
            ComponentError: LOG-002, the stream refused or stayed silent beyond the patience.
        """
        trace_headers = telemetry.inject({})
        try:
            async with asyncio.TaskGroup() as group:
                by_subject: dict[str, list[StreamMessage]] = {}
                for message in messages:
                    by_subject.setdefault(message.subject, []).append(message)
                for same_subject in by_subject.values():
                    group.create_task(self._publish_in_turn(same_subject, trace_headers))
        except* ComponentError as failed:
            raise failed.exceptions[0] from failed  # one message that cannot be published says it for all

    async def _publish_in_turn(self, messages: list[StreamMessage], trace_headers: dict[str, str]) -> None:
        for message in messages:
            async with self._publishing:
                await self._publish_one(message, trace_headers)

    async def _publish_one(self, message: StreamMessage, trace_headers: dict[str, str]) -> None:
        assert subjects.HEADER_MSG_ID in message.headers, "a stream message may be repeated: it needs its id"
        js = self.jetstream
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._settings.request_patience_s, 0.05
        while True:
            try:
                await js.publish(
                    message.subject,
                    message.payload,
                    timeout=subjects.PUBLISH_TIMEOUT_S,
                    headers=message.headers | trace_headers,
                )
            except (NatsError, TimeoutError) as error:
                if loop.time() >= deadline:
                    raise ComponentError(
                        "LOG-002", f"{message.subject}: JetStream took no message: {error}", "bus"
                    ) from error
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2.0)
            else:
                return
