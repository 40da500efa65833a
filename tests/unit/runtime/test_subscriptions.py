"""Subscriptions: a few handlers at once, work one after the other, and an end that loses nothing that came in."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from nats.errors import NoRespondersError

from basis.runtime import subjects, subscriptions
from basis.runtime.bus import Bus, StreamMessage
from basis.runtime.nats_server import NatsServer
from basis.runtime.settings import Settings
from basis.runtime.subjects import HEADER_MSG_ID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from basis.runtime.bus import RunTask

SUBJECT = "basis.0.word"


@contextlib.asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[Bus, Bus]]:
    """A service's bus, connected and not started, and a client's."""
    with NatsServer(folder) as server:
        settings = Settings(nats_url=server.url, logs_dir=folder / "logs")
        service, client = Bus(settings, "venues"), Bus(settings, "gateway")
        await service.connect()
        await client.connect()
        try:
            yield service, client
        finally:
            await client.stop()
            await service.stop()


async def end(service: Bus) -> None:
    """Stop it; fails where something holds that up (nats-py turns a cancelled drain into a finished one)."""
    ending = asyncio.create_task(service.stop())
    done, _ = await asyncio.wait({ending}, timeout=10)
    assert done, "the bus did not stop"
    ending.result()


async def ask(client: Bus, count: int) -> list[asyncio.Task[bytes]]:
    """So many questions on their way, in sequence."""

    async def one(number: int) -> bytes:
        return (await client.client.request(SUBJECT, b"%d" % number, timeout=20)).data

    asked = [asyncio.create_task(one(number)) for number in range(count)]
    await asyncio.sleep(0)
    await client.client.flush()
    return asked


async def test_so_many_messages_of_a_subscription_are_handled_at_once_and_no_more(tmp_path: Path) -> None:
    now, most = 0, 0
    enough, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_subject: str, payload: bytes) -> bytes:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == subscriptions.HANDLERS_AT_ONCE:
            enough.set()
        await go_on.wait()
        now -= 1
        return payload

    async with two(tmp_path) as (service, client):
        service.listen(SUBJECT, slow)
        await service.start()
        asked = await ask(client, 3 * subscriptions.HANDLERS_AT_ONCE)
        await asyncio.wait_for(enough.wait(), 10)
        await service.client.flush()  # the rest has come in as well
        go_on.set()
        answers = await asyncio.gather(*asked)
    assert most == subscriptions.HANDLERS_AT_ONCE
    assert answers == [b"%d" % number for number in range(3 * subscriptions.HANDLERS_AT_ONCE)]


async def test_what_came_in_before_the_end_is_answered(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(_subject: str, payload: bytes) -> bytes:
        await go_on.wait()
        return payload

    async with two(tmp_path) as (service, client):
        service.listen(SUBJECT, slow)
        await service.start()
        asked = await ask(client, 3 * subscriptions.HANDLERS_AT_ONCE)
        await service.client.flush()
        ending = asyncio.create_task(service.stop())
        await asyncio.sleep(0.1)
        assert not ending.done()
        go_on.set()
        assert await asyncio.gather(*asked) == [b"%d" % number for number in range(3 * subscriptions.HANDLERS_AT_ONCE)]
        await asyncio.wait_for(ending, 10)
        with pytest.raises(NoRespondersError):
            await client.client.request(SUBJECT, b"late", timeout=5)


async def test_a_handler_that_does_not_end_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "GRACE_S", 0.2)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(_subject: str, _payload: bytes) -> bytes:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return b""

    async with two(tmp_path) as (service, client):
        service.listen(SUBJECT, endless)
        await service.start()
        (asked,) = await ask(client, 1)
        await begun.wait()
        await end(service)
        assert cancelled.is_set()
        asked.cancel()


async def test_a_handler_that_fails_does_not_end_the_subscription(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def once(_subject: str, payload: bytes) -> bytes:
        if payload == b"0":
            raise ValueError("no such word")
        return payload

    async with two(tmp_path) as (service, client):
        service.listen(SUBJECT, once)
        await service.start()
        failed, answered = await ask(client, 2)
        assert await answered == b"1"
        failed.cancel()
    assert "no such word" in caplog.text


async def test_work_is_taken_one_after_the_other(tmp_path: Path) -> None:
    now, most, taken = 0, 0, list[str]()
    enough = asyncio.Event()

    async def work(task: RunTask) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        taken.append(json.loads(task.payload))
        await task.done()
        if len(taken) == 3:
            enough.set()

    async with two(tmp_path) as (service, client):
        service.serve_runs(work)
        await service.start()
        for number in range(3):
            subject, name = subjects.run_submit(f"{number:032x}"), str(number)
            await client.publish_stream([StreamMessage(subject, json.dumps(name).encode(), {HEADER_MSG_ID: name})])
        await asyncio.wait_for(enough.wait(), 20)
        await end(service)  # an idle queue does not hold up the end
    assert (most, taken) == (1, ["0", "1", "2"])


async def test_queue_that_waited_for_work_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with two(tmp_path) as (service, _client):
        service.serve_runs(lambda _task: asyncio.sleep(0))
        service.serve_live_runs(lambda _task: asyncio.sleep(0))
        await service.start()
        await asyncio.sleep(2 * subscriptions._FETCH_S + 0.5)  # its questions have run out twice, and said so
        await end(service)


async def test_bus_that_never_connected_can_be_stopped(tmp_path: Path) -> None:
    await Bus(Settings(nats_url="nats://127.0.0.1:1", logs_dir=tmp_path / "logs"), "venues").stop()
