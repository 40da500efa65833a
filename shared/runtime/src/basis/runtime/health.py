"""Health of a service: a reply on the bus for whoever asks, and a touched file for the container's own check."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

import orjson
from nats.errors import Error as NatsError

from basis.runtime import subjects

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.runtime.bus import Bus
    from basis.runtime.settings import Settings

_log = logging.getLogger(__name__)
_BEAT_S = 2.0


def answer(service: str, details: Callable[[], dict[str, object]] | None = None) -> bytes:
    """Reply to a health request: the service's name, pid and details (``ready: false`` and a reason where it is not)."""
    body: dict[str, object] = {"service": service, "pid": os.getpid(), "ready": True}
    return orjson.dumps(body | (details() if details is not None else {}))


def serve(bus: Bus, service: str, details: Callable[[], dict[str, object]] | None = None) -> None:
    """Answer health requests, see :func:`answer`."""

    async def reply(_subject: str, _payload: bytes) -> bytes:
        return answer(service, details)

    bus.listen(subjects.health(service), reply)


async def ask(bus: Bus, service: str, timeout_s: float = subjects.HEALTH_TIMEOUT_S) -> dict[str, object] | None:
    """Health of any replica of a service; None where none answers in time."""
    try:
        reply = await bus.client.request(subjects.health(service), b"", timeout=timeout_s)
    except (NatsError, TimeoutError):
        return None
    found: dict[str, object] = orjson.loads(reply.data)
    return found


async def beat(bus: Bus, settings: Settings) -> None:
    """Touch the health file after each round trip to NATS, for ever; does nothing where no file is named."""
    if settings.health_file is None:
        return
    while True:
        with contextlib.suppress(NatsError, TimeoutError):
            await bus.ping()
            settings.health_file.touch()
        await asyncio.sleep(_BEAT_S)
