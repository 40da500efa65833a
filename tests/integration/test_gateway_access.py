"""Keys, scopes and limits over real HTTP; ids that go no further; clients that are slow, many, or up to no good."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import pytest_asyncio
from tests.support.gateway import connected, problem, settings_of

from basis.gateway import app as gateway
from basis.gateway import keys
from basis.gateway.access import needed
from basis.gateway.keys import Keyring, Scope
from basis.gateway.routes import Context
from basis.models.errors import InputError
from basis.models.messages import RunRecord, RunStatus
from basis.runtime import subjects
from basis.runtime.nats_server import NatsServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from basis.runtime.bus import Bus
    from basis.runtime.settings import Settings

pytestmark = pytest.mark.timeout(120)
CID = "0123456789abcdef" * 2
PATHS = gateway.openapi_document()["paths"]
OPERATIONS = [(method.upper(), path) for path, methods in PATHS.items() for method in methods]
BAD_IDS = [
    "x",
    "0" * 31,
    "0" * 33,
    "A" * 32,
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "basis.%3E",
    "0" * 32 + "%0A",
    "%00" * 16,
]


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture
def settings(nats: NatsServer, tmp_path: Path) -> Settings:
    return settings_of(nats, tmp_path / "no-data", tmp_path)


@asynccontextmanager
async def serving(settings: Settings, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        gateway.running(settings) as url,
        httpx.AsyncClient(base_url=f"{url}/", timeout=30, headers=headers) as http,
    ):
        yield http


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """One gateway without keys for all tests that only ask."""
    folder = tmp_path_factory.mktemp("open")
    with NatsServer() as nats:
        async with gateway.running(settings_of(nats, folder / "no-data", folder)) as found:
            yield found


def filled(path: str, **values: str) -> str:
    """A path of the document below /api/v1/, with its parameters filled in."""
    known = {"correlation_id": CID, "mode": "pure_lending_usdt"} | values
    return re.sub(r"\{(\w+)\}", lambda match: known.get(match[1], "1"), path.removeprefix("/api/v1/"))


# ------------------------------------------------------------------------------------------------ keys and scopes


async def test_each_operation_asks_for_its_scope_and_no_more(settings: Settings) -> None:
    made = {scope: keys.make(scope, scope) for scope in Scope}
    guarded = settings.model_copy(update={"api_keys": ";".join(kept.line() for _, kept in made.values())})
    async with serving(guarded) as http:
        for method, path in OPERATIONS:
            wanted, where = needed(method, path), filled(path)
            if wanted is None:
                assert (await http.request(method, where)).status_code < 400, where
                continue
            for headers in (
                {},
                {"X-API-Key": "basis_no"},
                {"Authorization": "Bearer x"},
                {"Authorization": "Basic eDp5"},
            ):
                answer = await http.request(method, where, headers=headers)
                assert "X-API-Key" in problem(answer, 401, "AUTH-001")
                assert answer.headers["www-authenticate"].startswith("Bearer")
            for scope, (key, _) in made.items():
                for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
                    if "stream" in path and scope.includes(wanted):
                        continue  # not a question of keys
                    answer = await http.request(method, where, headers=headers)
                    if scope.includes(wanted):
                        assert answer.status_code not in {401, 403}, (method, where, answer.text)
                    else:
                        assert scope in problem(answer, 403, "AUTH-002")


async def test_paths_that_lead_nowhere_need_a_key_too(settings: Settings) -> None:
    key, kept = keys.make("a", Scope.READ)
    async with serving(settings.model_copy(update={"api_keys": kept.line()})) as http:
        problem(await http.get("nothing"), 401, "AUTH-001")
        problem(await http.get("nothing", headers={"X-API-Key": key}), 404, None)
        for open_ in ("health", "docs", "openapi.json"):
            assert (await http.get(open_)).status_code == 200
        assert (await http.get("health/detailed")).status_code == 401
        assert (await http.get("metrics")).status_code == 401


async def test_a_gateway_that_others_can_reach_does_not_start_without_keys(settings: Settings) -> None:
    with pytest.raises(InputError, match="without API keys") as caught:
        await gateway.serve(settings.model_copy(update={"gateway_host": "0.0.0.0"}), asyncio.Event())
    assert caught.value.error_code == "CONFIG-002"
    open_ = settings.model_copy(update={"gateway_host": "0.0.0.0", "gateway_open": True})
    async with gateway.running(open_) as url, httpx.AsyncClient() as http:
        assert (await http.get(f"{url}/backtest/list".replace("0.0.0.0", "127.0.0.1"))).status_code == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_without_keys_pages_of_other_sites_are_refused(url: str) -> None:
    port = httpx.URL(url).port
    async with httpx.AsyncClient(base_url=f"{url}/") as http:
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.nip.io", "a.b:x"):
            assert "Host" in problem(await http.get("backtest/list", headers={"Host": host}), 403, "AUTH-001")
        for host in (
            f"localhost:{port}",
            "127.0.0.1",
            f"[::1]:{port}",
            "gateway:8001",
            "basis.localhost",
            "10.0.0.3:1",
        ):
            assert (await http.get("backtest/list", headers={"Host": host})).status_code == 200, host
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
            answer = await http.delete(f"backtest/{CID}", headers={"Origin": origin})
            assert "Origin" in problem(answer, 403, "AUTH-001")
        own = await http.delete(f"backtest/{CID}", headers={"Origin": f"http://127.0.0.1:{port}"})
        problem(own, 404, "RUN-001")


# --------------------------------------------------------------------------------------------------------- limits


async def test_too_many_requests_wait_their_turn_and_health_goes_on(settings: Settings) -> None:
    key, kept = keys.make("busy", Scope.READ)
    other, kept_other = keys.make("calm", Scope.READ)
    slow = {"gateway_rate_per_s": 0.01, "gateway_burst": 3, "api_keys": f"{kept.line()};{kept_other.line()}"}
    async with serving(settings.model_copy(update=slow)) as http:
        for _ in range(3):
            assert (await http.get("backtest/list", headers={"X-API-Key": key})).status_code == 200
        answer = await http.get("backtest/list", headers={"X-API-Key": key})
        assert "busy" in problem(answer, 429, "AUTH-003")
        assert 0 < int(answer.headers["retry-after"]) <= 100
        assert (await http.get("backtest/list", headers={"X-API-Key": other})).status_code == 200
        statuses = [(await http.get("backtest/list", headers={"X-API-Key": "guess"})).status_code for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        spoofed = await http.get("backtest/list", headers={"X-API-Key": "guess", "X-Forwarded-For": "10.1.1.1"})
        assert spoofed.status_code == 429
        assert (await http.get("health")).status_code == 200


# ------------------------------------------------------------------------------------------------- ids and paths


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("method", "path"), [one for one in OPERATIONS if "{correlation_id}" in one[1]])
async def test_an_id_that_is_none_goes_no_further_on_any_route(url: str, method: str, path: str) -> None:
    async with httpx.AsyncClient() as http:
        for bad in BAD_IDS:
            where = f"{url}/{filled(path, correlation_id=bad)}"
            answer = await http.request(method, where, json={} if method == "POST" else None)
            # a slash of its own makes it another path: none that exists
            assert answer.status_code == (404 if "%2f" in bad else 422), (where, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            if answer.status_code == 422:
                assert answer.json()["error_code"] == "CONFIG-003"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/api/v1/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/..%5c..%5cboot.ini",
    ],
)
async def test_no_path_leads_out(url: str, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert b"root:" not in answer
    assert answer.split(b" ")[1] in {b"400", b"404", b"422"}


# --------------------------------------------------------------------------------- clients that are slow or many


async def test_headers_bodies_and_readers_that_do_not_come_are_cut_off(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"gateway_patience_s": 0.5})) as http:
        port = http.base_url.port
        begin = b"POST /api/v1/backtest/ HTTP/1.1\r\nHost: localhost\r\n"

        async def outcome(sent: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

        silent, header, between, body = await asyncio.gather(
            outcome(b""),
            outcome(begin),
            outcome(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/v1/he"),
            outcome(begin + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"),
        )
        assert silent == header == b""
        assert between.startswith(b"HTTP/1.1 200")
        assert body.startswith(b"HTTP/1.1 408")
        assert b"application/problem+json" in body
        assert (await http.get("health")).status_code == 200


async def test_a_flood_of_slow_connections_does_not_keep_others_out_for_long(settings: Settings) -> None:
    few = {"gateway_connections": 50, "gateway_patience_s": 0.5}
    async with serving(settings.model_copy(update=few)) as http:
        before = len(psutil.Process().net_connections("tcp"))
        flood = [socket.create_connection(("127.0.0.1", http.base_url.port or 0)) for _ in range(200)]
        try:
            for one in flood:
                one.setblocking(False)
                one.send(b"GET / HTTP/1.1\r\nX: ")
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert (await http.get("health")).status_code == 200
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
        finally:
            for one in flood:
                one.close()
        await asyncio.sleep(0.1)
        assert len(psutil.Process().net_connections("tcp")) < before + 50


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> list[Context]:
    """Contexts of the gateways that a test starts, to look inside."""
    found: list[Context] = []
    create = gateway.create_app

    def creating(context: Context, ring: Keyring) -> Any:
        found.append(context)
        return create(context, ring)

    monkeypatch.setattr(gateway, "create_app", creating)
    return found


def listening(context: Context) -> int:
    """Subscriptions of the gateway to the run's progress."""
    return sum(one.subject == subjects.progress(CID) for one in context.bus.client._subs.values())


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


async def put(bus: Bus, status: RunStatus) -> None:
    await (await bus.bucket(subjects.KV_RUNS)).put(CID, RunRecord(status=status).model_dump_json().encode())


RUNNING = RunStatus(correlation_id=CID, strategy="pure_lending_usdt", status="running", total_ticks=10)


async def test_many_readers_of_a_run_cost_one_look_at_it(settings: Settings, contexts: list[Context]) -> None:
    async with connected(settings) as bus, serving(settings) as http:
        await put(bus, RUNNING)

        async def read() -> str:
            async with http.stream("GET", f"backtest/{CID}/stream") as answer:
                return "".join([chunk async for chunk in answer.aiter_text()])

        (context,) = contexts
        reading = [asyncio.create_task(read()) for _ in range(60)]
        await until(lambda: sum(feed.readers for feed in context.feeds._feeds.values()) == 60)
        assert (len(context.feeds), listening(context)) == (1, 1)
        await put(bus, RUNNING.model_copy(update={"status": "cancelled", "progress": 1.0}))
        for text in await asyncio.gather(*reading):
            assert text.rstrip().split("\n\n")[-1].startswith("event: result")
        await until(lambda: (len(context.feeds), listening(context)) == (0, 0))


async def test_a_reader_that_does_not_read_is_dropped_and_costs_no_memory(
    settings: Settings, contexts: list[Context]
) -> None:
    long = RUNNING.model_copy(update={"error": "padding " * 4000})
    async with connected(settings) as bus, serving(settings.model_copy(update={"gateway_patience_s": 0.5})) as http:
        await put(bus, long)
        (context,) = contexts
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", http.base_url.port or 0))
            deaf.send(f"GET /api/v1/backtest/{CID}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await until(lambda: listening(context) == 1)
            before = psutil.Process().memory_info().rss
            async with asyncio.timeout(60):
                while listening(context):
                    await bus.publish(subjects.progress(CID), long.model_dump_json().encode())
                    await bus.ping()
        assert psutil.Process().memory_info().rss - before < 60e6
        assert (await http.get("health")).status_code == 200
