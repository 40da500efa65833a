"""The end of a run: announced, and waited for until the event-logger says that the run is on disk."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from basis.models.errors import ComponentError
from basis.models.messages import RunSealed
from basis.runtime import codec, subjects
from basis.strategy.run_services import announce

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from basis.models.messages import RunEnd
    from basis.runtime.bus import Bus

_LOOK_EVERY_S = 1.0
_PATIENCE_S = 600.0
"""How long a run waits for its seal, seconds."""
_BROKEN_DISK_PATIENCE_S = 3.0


async def seal(bus: Bus, end: RunEnd) -> RunSealed | None:
    """Announce the end of a run and wait until it is on disk; not for long where the disk itself is what failed.

    Returns:
        What is on disk; None where the disk failed, and the run is not sealed.

    Raises:
        ComponentError: LOG-001, not sealed within the patience; the events stay in the stream.
    """
    if end.error_code is None or not end.error_code.startswith("LOG-"):
        return await _wait_for_seal(bus, end, _PATIENCE_S)
    with contextlib.suppress(ComponentError):
        return await _wait_for_seal(bus, end, _BROKEN_DISK_PATIENCE_S)
    return None


async def _wait_for_seal(bus: Bus, end: RunEnd, patience_s: float) -> RunSealed:
    """Listens, and also looks into the stream once a second: a notice that was missed is not lost."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def on_sealed(message: Msg) -> None:
        if not heard.done():
            heard.set_result(message.data)

    subject = subjects.run_sealed(end.correlation_id)
    subscription = await bus.client.subscribe(subject, cb=on_sealed)
    try:
        await announce(bus, end)
        waited = 0.0
        while waited < patience_s:
            payload: bytes | None
            try:
                payload = await asyncio.wait_for(asyncio.shield(heard), _LOOK_EVERY_S)
            except TimeoutError:
                waited += _LOOK_EVERY_S
                payload = await _look(bus, subject)
            if payload is not None:
                return codec.decode(payload, RunSealed)
    finally:
        heard.cancel()
        await subscription.unsubscribe()
    message = f"run {end.correlation_id} was not sealed within {patience_s:g} s: its events wait in the stream EVENTS"
    raise ComponentError("LOG-001", message, "event_logger")


async def _look(bus: Bus, subject: str) -> bytes | None:
    try:
        found = await bus.jetstream.get_last_msg(subjects.STREAM_EVENTS, subject)
    except (NotFoundError, NatsError, TimeoutError):
        return None
    return found.data
