"""What the bus keeps: JetStream's streams and key-value buckets, made where they are missing, and single entries of buckets."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from nats.errors import Error as NatsError
from nats.js.api import KeyValueConfig, StreamConfig
from nats.js.errors import APIError, BadRequestError, BucketNotFoundError, NotFoundError

from basis.runtime import subjects

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

S = TypeVar("S", StreamConfig, KeyValueConfig)
_NO_MESSAGE = 10037
"""JetStream's error code for a subject that has no message; a stream that is not there has another."""
_NO_ROOM = 10047
"""JetStream's error code for a reservation beyond what the disk has."""
_LEAST_BYTES = 16 * 1024**2


class Message(msgspec.Struct):
    """A message of a stream, as JetStream answers it."""

    seq: int
    """Its number in the stream: the revision of a bucket's entry."""
    time: str
    """When it was written, by the server's clock: RFC 3339."""
    data: bytes = b""
    """What was put there; empty where it was taken away."""


class _Answer(msgspec.Struct):
    message: Message | None = None
    error: dict[str, Any] | None = None


_answer = msgspec.json.Decoder(_Answer)


def message_in(answer: bytes) -> Message | None:
    """What JetStream says the last message of a subject is; None where it says that there is none.

    Args:
        answer: to a request for it, JSON.

    Raises:
        nats.js.errors.APIError: it does not say.
    """
    found = _answer.decode(answer)
    if found.message is not None:
        return found.message
    error = found.error or {"code": 500, "description": "neither a message nor an error"}
    if error.get("err_code") != _NO_MESSAGE:
        raise APIError.from_error(error)
    return None


class Storage:
    """Streams and buckets of one connection.

    Args:
        client: the connection.
        jetstream: of it.
    """

    def __init__(self, client: Client, jetstream: JetStreamContext) -> None:
        self._client = client
        self._js = jetstream

    async def make(self) -> None:
        """Make the streams and buckets that every run needs, where they are missing.

        Raises:
            nats.errors.Error, TimeoutError: the server has no JetStream, or no room.
        """
        # buckets first: what is left of a small disk is for the events
        for bucket in subjects.BUCKETS:
            try:
                await self._js.key_value(bucket.bucket)
            except (BucketNotFoundError, NotFoundError):
                await _create(self._js.create_key_value, bucket)
        for stream in subjects.STREAMS:
            try:
                await self._js.stream_info(str(stream.name))
            except NotFoundError:
                await _create(self._js.add_stream, stream)

    async def bucket(self, name: str) -> KeyValue:
        """A key-value bucket; those of paper and live runs are made on first use."""
        try:
            return await self._js.key_value(name)
        except (BucketNotFoundError, NotFoundError):
            if name not in subjects.LIVE_BUCKETS:
                raise
            await _create(self._js.create_key_value, subjects.LIVE_BUCKETS[name])
            return await self._js.key_value(name)

    async def last(self, bucket: str, key: str) -> bytes | None:
        """The value of a bucket's entry; None where there is none. What nats-py's ``get`` says, at a fraction of its work.

        Raises:
            nats.errors.Error: the server does not say, in time or at all.
        """
        found = await self._last(bucket, key)
        return None if found is None else found.data

    async def age_s(self, bucket: str, key: str, revision: int) -> float:
        """How long ago a revision of a bucket's entry was written, seconds.

        By the server's own clock: it stamped the entry, and says what time it is now. 0 where it does not say.
        """
        try:
            found = await self._last(bucket, key)
            now = await self._client.request(f"$JS.API.STREAM.INFO.KV_{bucket}", timeout=subjects.PUBLISH_TIMEOUT_S)
            if found is None or found.seq != revision:
                return 0.0
            told = msgspec.json.decode(now.data)["ts"]
            age = datetime.fromisoformat(told) - datetime.fromisoformat(found.time)
        except (NatsError, TimeoutError, KeyError):
            return 0.0
        return max(age.total_seconds(), 0.0)

    async def _last(self, bucket: str, key: str) -> Message | None:
        asked = msgspec.json.encode({"last_by_subj": f"$KV.{bucket}.{key}"})
        subject = f"$JS.API.STREAM.MSG.GET.KV_{bucket}"
        return message_in((await self._client.request(subject, asked, timeout=subjects.PUBLISH_TIMEOUT_S)).data)


async def _create(create: Callable[[S], Awaitable[object]], config: S) -> None:
    """Make a stream or bucket; a small disk gets a smaller reservation.

    Two services may create the same one at once: the second one's error is no error.
    """
    while True:
        try:
            await create(config)
        except BadRequestError as error:
            if "already in use" not in str(error):
                raise
            return
        except APIError as error:
            if error.err_code != _NO_ROOM or (config.max_bytes or 0) < 2 * _LEAST_BYTES:
                raise
            config = replace(config, max_bytes=(config.max_bytes or 0) // 2)
        else:
            return
