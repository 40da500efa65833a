"""What really goes over the bus in a run is what the AsyncAPI document says."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import orjson
import pytest
from tests.support.cluster import embedded_cluster

from basis.gateway import asyncapi
from basis.runtime import packing
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.msg import Msg

pytestmark = pytest.mark.timeout(120)
DOCUMENT = asyncapi.document()
SCHEMAS = {
    key: jsonschema.Draft202012Validator(message["payload"] | {"components": DOCUMENT["components"]})
    for key, message in DOCUMENT["components"]["messages"].items()
}


def patterns() -> dict[str, re.Pattern[str]]:
    """Channel -> what its subjects look like."""
    return {
        key: re.compile(re.sub(r"\\\{\w+\\\}", "[^.]+", re.escape(channel["address"])))
        for key, channel in DOCUMENT["channels"].items()
        if channel["address"] is not None
    }


def jsonable(value: Any) -> Any:
    """msgpack holds bytes and times, which JSON Schema knows as strings."""
    if isinstance(value, bytes | datetime):
        return str(value)
    if isinstance(value, dict):
        return {str(key): jsonable(one) for key, one in value.items()}
    return [jsonable(one) for one in value] if isinstance(value, list) else value


def payloads(content: str, data: bytes) -> list[Any]:
    if content == "application/msgpack":
        return [jsonable(msgspec.msgpack.decode(data))]
    return [orjson.loads(line) for line in (data.splitlines() if content == "application/x-ndjson" else [data])]


async def test_a_run_says_what_the_document_says(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample", years=1)
    seen: dict[str, list[bytes]] = {}

    async def hear(message: Msg) -> None:
        found = [key for key, pattern in patterns().items() if pattern.fullmatch(message.subject)]
        assert len(found) == 1, message.subject
        seen.setdefault(found[0], []).append(packing.unpacked(message.data, message.headers))

    async with embedded_cluster(tmp_path, tmp_path / "sample") as cluster:
        subscription = await cluster.bus.client.subscribe("basis.>", cb=hear)
        await cluster.bus.ping()
        outcome = await cluster.backtest("eth_leveraged", start="2022-01-03", end="2022-01-12")
        assert outcome.status.status == "completed"
        await subscription.unsubscribe()

    # nobody cancels, no comparison has to be repeated, nothing is live, no run is deleted
    quiet = {
        "control",
        "health",
        "venuesPositions",
        "venuesReady",
        "runLive",
        "heartbeat",
        "venuesHalt",
        "directoryRemove",
    }
    assert set(patterns()) - set(seen) <= quiet
    for key, messages in seen.items():
        content = DOCUMENT["components"]["messages"][key]["contentType"]
        for data in messages[:50]:
            for payload in payloads(content, data):
                SCHEMAS[key].validate(payload)
