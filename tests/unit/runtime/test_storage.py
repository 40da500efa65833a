"""Entries of buckets as JetStream tells them: a value, nothing, or no answer, and how old."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
import pytest
from nats.js.errors import APIError, NotFoundError, ServerError

from basis.runtime import subjects
from basis.runtime.bus import Bus
from basis.runtime.nats_server import NatsServer
from basis.runtime.settings import Settings
from basis.runtime.storage import Message, message_in

if TYPE_CHECKING:
    from pathlib import Path

TIME = "2024-05-12T07:00:00.123456789Z"
KEPT = {"subject": "$KV.runs.x", "seq": 7, "time": TIME}


def test_a_message_is_what_was_put_there() -> None:
    there = message_in(orjson.dumps({"type": "io.nats", "message": KEPT | {"data": "Zmlyc3Q="}}))
    assert there == Message(7, TIME, b"first")
    taken_away = message_in(orjson.dumps({"message": KEPT | {"hdrs": "TkFUUy8xLjANCg=="}}))
    assert taken_away == Message(7, TIME, b"")


def test_no_message_is_none() -> None:
    error = {"code": 404, "err_code": 10037, "description": "no message found"}
    assert message_in(orjson.dumps({"error": error})) is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}, NotFoundError),
        ({"error": {"code": 500, "description": "no quorum"}}, ServerError),
        ({"error": {"code": 429, "err_code": 10167, "description": "too many requests"}}, APIError),
        ({}, ServerError),
    ],
    ids=["no stream", "server error", "another error", "nothing"],
)
def test_a_server_that_does_not_say_is_no_empty_entry(answer: dict[str, object], kind: type[APIError]) -> None:
    with pytest.raises(kind):
        message_in(orjson.dumps(answer))


async def test_the_age_of_a_revision_is_by_the_clock_of_the_server(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        bus = Bus(Settings(nats_url=server.url, logs_dir=tmp_path / "logs"), "venues")
        await bus.connect()
        try:
            intents = await bus.bucket(subjects.KV_INTENTS)
            first = await intents.put("x", b"1")
            await asyncio.sleep(0.3)
            assert await bus.storage.age_s(subjects.KV_INTENTS, "x", first) > 0.2
            second = await intents.put("x", b"2")
            assert await bus.storage.age_s(subjects.KV_INTENTS, "x", first) == 0.0, "there is a later one"
            assert await bus.storage.age_s(subjects.KV_INTENTS, "y", 1) == 0.0, "there is none"
            await bus.jetstream.delete_key_value(subjects.KV_INTENTS)
            assert await bus.storage.age_s(subjects.KV_INTENTS, "x", second) == 0.0, "nobody can say"
        finally:
            await bus.stop()
