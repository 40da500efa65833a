"""A request of a live run that is slow is asked again: the repeat waits with the first, it is not worked on twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from basis.models.base import FrozenModel
from basis.runtime.bus import Bus
from basis.runtime.nats_server import NatsServer
from basis.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


class Word(FrozenModel):
    """What is asked and answered."""

    text: str
    """It."""


async def test_repeat_of_a_slow_request_is_not_worked_on_twice(tmp_path: Path) -> None:
    asked = 0
    go_on = asyncio.Event()

    async def slow(request: Word) -> Word:
        nonlocal asked
        asked += 1
        await go_on.wait()
        return Word(text=f"{request.text} {asked}")

    with NatsServer(tmp_path) as server:
        settings = Settings(nats_url=server.url, logs_dir=tmp_path / "logs")
        bus, client = Bus(settings, "venues"), Bus(settings, "gateway")
        repeats = 0
        await bus.connect()
        bus.serve("basis.*.slow", "q", Word, slow)
        await bus.start()
        await client.connect()
        try:
            subject = "basis.0.slow"
            hear = await client.client.subscribe("basis.*.slow")
            first = asyncio.create_task(client.request(subject, Word(text="one"), Word, patience_s=60, timeout_s=0.2))
            async for _ in hear.messages:
                repeats += 1
                if repeats == 3:
                    break
            await hear.unsubscribe()
            go_on.set()
            assert (await first).text == "one 1"
            assert asked == 1
            # the same again is another request
            assert (await client.request(subject, Word(text="one"), Word, patience_s=60, timeout_s=5)).text == "one 2"
        finally:
            await client.stop()
            await bus.stop()
