"""A gateway behind a real socket, with every service in this process, and what its answers look like."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from basis.cli import services
from basis.gateway import app as gateway
from basis.runtime import subjects
from basis.runtime.bus import Bus
from basis.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from basis.runtime.nats_server import NatsServer


class Api(NamedTuple):
    """A gateway and the services behind it."""

    http: httpx.AsyncClient
    settings: Settings

    async def submit(self, body: dict[str, Any]) -> str:
        """Id of an accepted run."""
        answer = await self.http.post("backtest/", json=body)
        assert answer.status_code == 202, answer.text
        found = answer.json()
        assert found == {
            "request_id": found["correlation_id"],
            "correlation_id": found["correlation_id"],
            "status": "queued",
        }
        assert answer.headers["x-correlation-id"] == found["correlation_id"]
        return str(found["correlation_id"])

    async def status(self, cid: str) -> dict[str, Any]:
        """Status of a run."""
        answer = await self.http.get(f"backtest/{cid}/status")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until(self, cid: str, *wanted: str) -> dict[str, Any]:
        """Wait for one of some statuses."""
        deadline = time.monotonic() + 60
        while (found := await self.status(cid))["status"] not in wanted:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.02)
        return found

    def directories(self) -> list[str]:
        """Directories of runs."""
        root = self.settings.logs_dir
        return (
            [entry.name for entry in root.iterdir() if re.fullmatch("[0-9a-f]{32}", entry.name)]
            if root.is_dir()
            else []
        )


def settings_of(nats: NatsServer, sample: Path, folder: Path) -> Settings:
    return Settings(
        nats_url=nats.url,
        data_dir=sample,
        logs_dir=folder / "logs",
        cache_dir=folder / "cache",
        gateway_port=0,
        request_timeout_s=2.0,
    )


@asynccontextmanager
async def deployed(settings: Settings, names: Sequence[str] = subjects.RUN_CRITICAL) -> AsyncIterator[Api]:
    async with (
        services.running(names, settings),
        gateway.running(settings) as url,
        httpx.AsyncClient(base_url=f"{url}/", timeout=30) as http,
    ):
        yield Api(http, settings)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Bus]:
    bus = Bus(settings, "test")
    await bus.connect()
    try:
        yield bus
    finally:
        await bus.stop()


def problem(answer: httpx.Response, status: int, code: str | None) -> str:
    """Check a problem document; returns its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-correlation-id"])
    found = answer.json()
    assert set(found) == {"type", "title", "status", "detail", "instance", "error_code"}
    assert (found["status"], found["error_code"], found["instance"]) == (status, code, answer.request.url.path)
    assert found["type"] == (f"urn:basis:error:{code}" if code else "about:blank")
    return str(found["detail"])


@contextmanager
def serving(chosen: Settings) -> Iterator[str]:
    """All services and a gateway in a thread of their own, for clients that block; yields the URL without /api/v1."""
    ready, told = threading.Event(), asyncio.Event()
    found: dict[str, object] = {}

    async def main() -> None:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(services.running(subjects.RUN_CRITICAL, chosen))
                found["url"] = await stack.enter_async_context(gateway.running(chosen))
                found["loop"] = asyncio.get_running_loop()
            finally:
                ready.set()
            await told.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    ready.wait(60)
    loop, url = found["loop"], found["url"]
    assert isinstance(loop, asyncio.AbstractEventLoop)
    try:
        yield str(url).removesuffix(gateway.PREFIX)
    finally:
        loop.call_soon_threadsafe(told.set)
        thread.join(30)
        assert not thread.is_alive()
