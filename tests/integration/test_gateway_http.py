"""The HTTP API over a real NATS server, with every service in this process and the app behind a real socket."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from tests.support.gateway import Api, connected, deployed, problem, settings_of

from basis.cli import services
from basis.gateway import app as gateway
from basis.gateway import asyncapi
from basis.gateway.backtest_service import BacktestService
from basis.models.errors import ComponentError
from basis.models.messages import RunRecord, RunStatus
from basis.runtime import subjects
from basis.runtime.clock import SystemClock
from basis.runtime.nats_server import NatsServer
from basis.runtime.settings import Settings
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

UNKNOWN = "0" * 32
on_idle = pytest.mark.asyncio(loop_scope="module")
SHORT = {"strategy_name": "pure_lending_usdt", "start_date": "2022-01-03", "end_date": "2022-01-10"}
LONG = {
    "strategy_name": "pure_lending_usdt",
    "start_date": "2022-01-03",
    "end_date": "2022-12-20",
    "config_overrides": {"engine.initial_window": 1, "engine.max_window": 1},
}  # one tick a window: slow on purpose
CORE = ("execution", "venues", "monitors", "event-logger")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "catalogue"
    write_sample(folder, years=1)
    return folder


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture
def settings(nats: NatsServer, sample: Path, tmp_path: Path) -> Settings:
    return settings_of(nats, sample, tmp_path)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with deployed(settings) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def idle(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """One deployment for all tests that start no run."""
    with NatsServer() as nats:
        async with deployed(settings_of(nats, sample, tmp_path_factory.mktemp("idle"))) as found:
            yield found


# ---------------------------------------------------------------------------------------------------- happy path


async def test_a_run_from_submission_to_result(api: Api) -> None:
    cid = await api.submit(SHORT | {"initial_capital": 50_000})
    status = await api.until(cid, "completed", "failed", "cancelled")
    assert status["status"] == "completed", status
    assert status["progress"] == 1.0
    assert status["started_at"] < status["completed_at"]
    assert status["error"] is None

    answer = await api.http.get(f"backtest/{cid}/result")
    assert answer.status_code == 200
    assert answer.headers["x-correlation-id"] == cid
    outcome = answer.json()
    assert outcome["status"] == status
    assert outcome["result"]["initial_capital"] == 50_000
    assert outcome["result"]["final_value"] > 50_000
    assert outcome["ticks"] == 7 * 24 + 1
    assert re.fullmatch("[0-9a-f]{64}", outcome["event_hash"])
    assert api.directories() == [cid]

    listed = (await api.http.get("backtest/list")).json()
    assert listed == [status]
    metrics = (await api.http.get("metrics")).text
    assert 'basis_runs{status="completed"} 1' in metrics.splitlines()
    assert 'basis_runs{status="queued"} 0' in metrics.splitlines()

    again = await api.http.delete(f"backtest/{cid}")
    assert (again.status_code, again.json()["status"]) == (200, "completed")


async def test_the_stream_shows_progress_and_ends_with_the_result(api: Api) -> None:
    cid = await api.submit(SHORT)
    events: list[tuple[str, dict[str, Any]]] = []
    async with api.http.stream("GET", f"backtest/{cid}/stream") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-correlation-id"] == cid
        text = "".join([chunk async for chunk in answer.aiter_text()])
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    names = [name for name, _ in events]
    assert names == ["progress"] * (len(events) - 1) + ["result"]
    progress = [data["progress"] for name, data in events if name == "progress"]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert events[-1][1] == (await api.http.get(f"backtest/{cid}/result")).json()


async def test_a_long_list_is_read_in_little_time(settings: Settings) -> None:
    async with (
        connected(settings) as bus,
        gateway.running(settings) as url,
        httpx.AsyncClient(base_url=f"{url}/", timeout=30) as http,
    ):
        runs = await bus.bucket(subjects.KV_RUNS)
        for number in range(500):
            cid = f"{number:032x}"
            status = RunStatus(correlation_id=cid, strategy="pure_lending_usdt", status="completed", total_ticks=1)
            await runs.put(cid, RunRecord(status=status).model_dump_json().encode())
        begin = time.perf_counter()
        listed = (await http.get("backtest/list")).json()
        assert len(listed) == 500
        assert time.perf_counter() - begin < 2.0
        assert (await http.get("backtest/list", params={"limit": 7})).json() == listed[:7]
        problem(await http.get("backtest/list", params={"limit": 10**6}), 422, "CONFIG-003")


async def test_runs_one_after_the_other_have_the_same_events(api: Api) -> None:
    cids = await asyncio.gather(*(api.submit(SHORT) for _ in range(3)))
    for cid in cids:
        assert (await api.until(cid, "completed", "failed"))["status"] == "completed"
    outcomes = [(await api.http.get(f"backtest/{cid}/result")).json() for cid in cids]
    assert len({outcome["event_hash"] for outcome in outcomes}) == 1
    listed = (await api.http.get("backtest/list")).json()
    assert {run["correlation_id"] for run in listed} == set(cids)
    begun = [run["started_at"] for run in listed]
    assert begun == sorted(begun, reverse=True)


# ------------------------------------------------------------------------------------------------------ refusals

BODY = {"strategy_name": "pure_lending_usdt"}


@on_idle
@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({}, "CONFIG-003", "strategy_name"),
        ([], "CONFIG-003", "body"),
        ({"strategy_name": 7}, "CONFIG-003", "strategy_name"),
        (BODY | {"capital": 1}, "CONFIG-003", "capital"),
        (BODY | {"initial_capital": "100000"}, "CONFIG-003", "initial_capital"),
        (BODY | {"initial_capital": True}, "CONFIG-003", "initial_capital"),
        (BODY | {"initial_capital": -1}, "CONFIG-003", "initial_capital"),
        (BODY | {"initial_capital": 0}, "CONFIG-003", "initial_capital"),
        (BODY | {"start_date": 20240512}, "CONFIG-003", "start_date"),
        (BODY | {"start_date": "yesterday"}, "CONFIG-003", "yesterday"),
        (BODY | {"start_date": "0001-01-01T00:00+23:00"}, "CONFIG-003", "start_date"),
        (BODY | {"start_date": "2022-02-01", "end_date": "2022-01-01"}, "CONFIG-003", "not before"),
        (BODY | {"start_date": "1970-01-01"}, "DATA-001", "1970"),
        (BODY | {"share_class": "ETH"}, "CONFIG-003", "USDT"),
        (BODY | {"config_overrides": {"engine.max_windw": 1}}, "CONFIG-003", "max_window"),
        (BODY | {"config_overrides": {"engine.max_window": "many"}}, "CONFIG-003", "max_window"),
        (BODY | {"config_overrides": {"strategy.signals.location": "/etc/passwd"}}, "CONFIG-003", "not for clients"),
        (BODY | {"config_overrides": {"strategy": {"signals": {}}}}, "CONFIG-003", "not for clients"),
        ({"strategy_name": "pure_lending_usd"}, "CONFIG-001", "pure_lending_usdt"),
        ({"strategy_name": "../venues/wallet"}, "CONFIG-001", "unknown mode"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(idle: Api, body: Any, code: str, says: str) -> None:
    detail = problem(await idle.http.post("backtest/", json=body), 422, code)
    assert says in detail
    assert idle.directories() == []
    assert (await idle.http.get("backtest/list")).json() == []


@on_idle
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"not json",
        b"\xff\xfe",
        b'{"strategy_name": "pure_lending_usdt", "initial_capital": NaN}',
        b'{"strategy_name": "pure_lending_usdt", "initial_capital": Infinity}',
        b'{"strategy_name": "pure_lending_usdt", "initial_capital": 1e999}',
        b'{"strategy_name": "pure_lending_usdt", "config_overrides": {"venues.wallet.gas_price_gwei": NaN}}',
        b'{"strategy_name": "\\ud800"}',
        b"[" * 5000 + b"]" * 5000,
    ],
)
async def test_a_body_that_is_no_json_is_refused(idle: Api, raw: bytes) -> None:
    answer = await idle.http.post("backtest/", content=raw, headers={"Content-Type": "application/json"})
    problem(answer, 422, "CONFIG-003")
    assert idle.directories() == []


@on_idle
async def test_a_large_body_is_refused_with_and_without_a_length(idle: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    headers = {"Content-Type": "application/json"}
    problem(await idle.http.post("backtest/", content=b" " * 1_000_001, headers=headers), 413, "CONFIG-003")
    problem(await idle.http.post("backtest/", content=chunks(), headers=headers), 413, "CONFIG-003")
    allowed = json.dumps(BODY | {"start_date": "1970-01-01"}).encode().ljust(1_000_000)
    problem(await idle.http.post("backtest/", content=allowed, headers=headers), 422, "DATA-001")


@on_idle
@pytest.mark.parametrize("what", ["status", "result", "stream"])
async def test_an_unknown_run_is_not_found(idle: Api, what: str) -> None:
    assert UNKNOWN in problem(await idle.http.get(f"backtest/{UNKNOWN}/{what}"), 404, "RUN-001")
    problem(await idle.http.delete(f"backtest/{UNKNOWN}"), 404, "RUN-001")


@on_idle
@pytest.mark.parametrize(
    "identity", ["x", "0" * 31, "0" * 33, "A" * 32, "%2A", "basis.%3E", "%2e%2e%2e", "0" * 31 + "%0A", "0" * 32 + "%0A"]
)
async def test_what_is_no_id_goes_no_further(idle: Api, identity: str) -> None:
    for method, path in (("GET", "/status"), ("GET", "/result"), ("GET", "/stream"), ("DELETE", "")):
        answer = await idle.http.request(method, f"backtest/{identity}{path}")
        assert answer.status_code == 422, (method, path, answer.text)
        assert answer.json()["error_code"] == "CONFIG-003"


@on_idle
async def test_other_errors_are_problem_documents_too(idle: Api) -> None:
    problem(await idle.http.get("nothing"), 404, None)
    answer = await idle.http.put("backtest/list")
    problem(answer, 405, None)
    problem(await idle.http.get("strategies/pure_lending_usd"), 422, "CONFIG-001")


@on_idle
async def test_the_clients_own_correlation_id_comes_back(idle: Api) -> None:
    given = "ab" * 16
    answer = await idle.http.get("strategies/nothing", headers={"X-Correlation-ID": given})
    assert answer.headers["x-correlation-id"] == given
    answer = await idle.http.get("health", headers={"X-Correlation-ID": "<script>"})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-correlation-id"])


async def test_logs_that_cannot_be_written_refuse_the_run(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with deployed(settings.model_copy(update={"logs_dir": tmp_path / "file" / "logs"})) as api:
        problem(await api.http.post("backtest/", json=SHORT), 422, "LOG-003")
        assert (await api.http.get("backtest/list")).json() == []
        detailed = (await api.http.get("health/detailed")).json()
        assert detailed["status"] == "degraded"
        assert "LOG-003" in detailed["services"]["event-logger"]["reason"]


async def test_a_missing_service_is_unavailable(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basis.gateway.backtest_service._SERVICE_PATIENCE_S", 0.5)
    async with deployed(settings, ("strategy", "event-logger")) as api:
        assert "no service listens" in problem(await api.http.post("backtest/", json=SHORT), 503, "BUS-002")
        assert api.directories() == []


async def test_a_lost_bus_is_unavailable(settings: Settings, nats: NatsServer) -> None:
    async with gateway.running(settings) as url, httpx.AsyncClient(base_url=f"{url}/", timeout=30) as http:
        nats.kill()
        answer = await http.get(f"backtest/{UNKNOWN}/status")
        problem(answer, 503, "BUS-001")
        assert (await http.get("health")).json()["nats_connected"] is False
        assert "basis_nats_connected 0" in (await http.get("metrics")).text
        nats.start()


async def test_a_full_queue_is_an_error_of_its_own(settings: Settings) -> None:
    async with deployed(settings.model_copy(update={"request_patience_s": 0.2})) as api, connected(settings) as bus:
        info = await bus.jetstream.stream_info(subjects.STREAM_RUNS)
        await bus.jetstream.update_stream(info.config.evolve(max_bytes=1))
        assert "took no message" in problem(await api.http.post("backtest/", json=SHORT), 500, "LOG-002")
        assert (await api.http.get("backtest/list")).json() == []
        assert api.directories() == []


async def test_an_unexpected_error_is_a_problem_document_without_its_secrets(api: Api, settings: Settings) -> None:
    async with connected(settings) as bus:
        await (await bus.bucket(subjects.KV_RUNS)).put(UNKNOWN, b"not a record")
    detail = problem(await api.http.get(f"backtest/{UNKNOWN}/status"), 500, "EXEC-004")
    assert detail == "unexpected ValidationError"


# -------------------------------------------------------------------------------------------------- cancellation


async def test_a_running_run_is_cancelled(api: Api) -> None:
    cid = await api.submit(LONG)
    await api.until(cid, "running")
    problem(await api.http.get(f"backtest/{cid}/result"), 409, None)
    answer = await api.http.delete(f"backtest/{cid}")
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert (await api.until(cid, "cancelled", "completed", "failed"))["status"] == "cancelled"
    outcome = (await api.http.get(f"backtest/{cid}/result")).json()
    assert outcome["status"]["error_code"] == "ENGINE-003"
    assert outcome["event_hash"] is not None  # sealed all the same


async def test_a_queued_run_is_cancelled_and_never_starts(settings: Settings) -> None:
    async with deployed(settings) as api:
        first = await api.submit(LONG)
        await api.until(first, "running")
        second = await api.submit(LONG)  # the one engine is busy
        assert (await api.status(second))["status"] == "queued"
        assert [run["status"] for run in (await api.http.get("backtest/list")).json()] == ["queued", "running"]
        answer = await api.http.delete(f"backtest/{second}")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert (await api.status(second))["completed_at"] is not None
        outcome = (await api.http.get(f"backtest/{second}/result")).json()
        assert outcome["result"] is outcome["log_directory"] is outcome["event_hash"] is None

        await api.http.delete(f"backtest/{first}")
        await api.until(first, "cancelled")
        third = await api.submit(SHORT)  # the queue goes on behind it
        await api.until(third, "completed")
        assert set(api.directories()) == {first, third}
        async with connected(settings) as bus:
            queue = await bus.jetstream.stream_info(subjects.STREAM_RUNS)
        assert queue.state.messages == 0


async def test_an_engine_that_began_first_wins(settings: Settings) -> None:
    async with connected(settings) as bus:
        runs = await bus.bucket(subjects.KV_RUNS)
        running = RunStatus(correlation_id=UNKNOWN, strategy="pure_lending_usdt", status="running", total_ticks=1)
        await runs.create(UNKNOWN, RunRecord(status=running).model_dump_json().encode())
        service = BacktestService(bus, SystemClock())
        stale = running.model_copy(update={"status": "queued"})
        assert await service._cancel_queued(stale, "too late") == running
        assert RunRecord.model_validate_json((await runs.get(UNKNOWN)).value or b"").status == running


async def test_a_run_whose_engine_is_gone_cannot_be_cancelled_yet(settings: Settings) -> None:
    async with (
        connected(settings) as bus,
        gateway.running(settings) as url,
        httpx.AsyncClient(base_url=f"{url}/", timeout=30) as http,
    ):
        running = RunStatus(correlation_id=UNKNOWN, strategy="pure_lending_usdt", status="running", total_ticks=1)
        record = RunRecord(status=running).model_dump_json().encode()
        await (await bus.bucket(subjects.KV_RUNS)).create(UNKNOWN, record)
        assert "does not answer" in problem(await http.delete(f"backtest/{UNKNOWN}"), 503, "BUS-002")


async def test_a_run_that_ends_while_it_is_followed_says_why(api: Api) -> None:
    cid = await api.submit(LONG)
    await api.until(cid, "running")
    async with api.http.stream("GET", f"backtest/{cid}/stream") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: progress"
        assert (await api.http.delete(f"backtest/{cid}")).status_code == 202
        rest = [line async for line in lines]
    assert "event: result" in rest
    last = json.loads(rest[rest.index("event: result") + 1].removeprefix("data: "))
    assert last["status"]["status"] == "cancelled"


# ------------------------------------------------------------------------------------- strategies, health, docs


@on_idle
async def test_strategies(idle: Api) -> None:
    listed = (await idle.http.get("strategies/")).json()
    assert len(listed) == 10
    one = (await idle.http.get("strategies/pure_lending_usdt")).json()
    assert one in listed
    assert (one["share_class"], one["venues"]) == ("USDT", ["wallet", "aave_v3"])
    config = (await idle.http.get("strategies/pure_lending_usdt/config")).json()
    assert config["config"]["mode"] == "pure_lending_usdt"
    assert config["sources"]["target_apy"] == "modes/pure_lending_usdt.yaml"
    assert config["sources"]["share_class.currency"] == "share_classes/usdt.yaml"
    assert {"default", "venues/aave_v3.yaml"} <= set(config["sources"].values())
    schema = (await idle.http.get("strategies/btc_basis/schema")).json()
    assert schema["properties"]["margin_ratio_target"]["default"] == 0.5
    assert (await idle.http.get("strategies/nope/schema")).status_code == 422


@on_idle
async def test_health_is_quick_and_detailed_health_asks_every_service(idle: Api) -> None:
    durations = []
    for _ in range(20):  # the best of some: the machine may have other things to do
        begin = time.perf_counter()
        answer = await idle.http.get("health")
        durations.append(time.perf_counter() - begin)
    assert min(durations) < 0.05
    assert answer.json() | {"version": "", "uptime_s": 0} == {
        "status": "ok",
        "service": "gateway",
        "nats_connected": True,
        "version": "",
        "uptime_s": 0,
    }
    detailed = (await idle.http.get("health/detailed")).json()
    assert detailed["status"] == "ok"
    assert set(detailed["services"]) == set(subjects.SERVICES)
    assert all(service["ready"] and 0 < service["ms"] < 1000 for service in detailed["services"].values())


async def test_detailed_health_without_services_takes_no_longer_than_one_timeout(settings: Settings) -> None:
    async with gateway.running(settings) as url, httpx.AsyncClient(base_url=f"{url}/") as http:
        begin = time.perf_counter()
        detailed = (await http.get("health/detailed")).json()
        assert time.perf_counter() - begin < 2 * subjects.HEALTH_TIMEOUT_S
        assert detailed["status"] == "degraded"
        assert detailed["services"]["gateway"]["ready"]
        assert detailed["services"]["monitors"]["ms"] is None


@on_idle
async def test_the_served_document_is_that_one(idle: Api) -> None:
    document = (await idle.http.get("openapi.json")).json()
    assert document["paths"].keys() == gateway.openapi_document()["paths"].keys()
    assert (await idle.http.get("docs")).status_code == 200
    assert (await idle.http.get("asyncapi.json")).json()["channels"].keys() == asyncapi.document()["channels"].keys()


# ---------------------------------------------------------------------------------------------- start and stop


async def test_a_port_that_is_taken_is_one_clear_error(settings: Settings) -> None:
    async with gateway.running(settings) as url:
        port = int(httpx.URL(url).port or 0)
        with pytest.raises(ComponentError) as caught:
            await gateway.serve(settings.model_copy(update={"gateway_port": port}), asyncio.Event())
    assert caught.value.error_code == "ENGINE-001"
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "BASIS_GATEWAY_PORT" in caught.value.message


async def test_the_gateway_stops_when_told_although_a_stream_is_open(settings: Settings, tmp_path: Path) -> None:
    told = asyncio.Event()
    beat = tmp_path / "health"
    settings = settings.model_copy(update={"health_file": beat})
    async with services.running(subjects.RUN_CRITICAL, settings.model_copy(update={"health_file": None})):
        with gateway._listening(settings) as free:
            port = free.getsockname()[1]
        settings = settings.model_copy(update={"gateway_port": port})
        serving = asyncio.create_task(gateway.serve(settings, told))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1/", timeout=30) as http:
            for _ in range(200):
                try:
                    await http.get("health")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
            cid = (await http.post("backtest/", json=LONG)).json()["correlation_id"]
            async with http.stream("GET", f"backtest/{cid}/stream") as answer:
                lines = answer.aiter_lines()
                assert await anext(lines) == "event: progress"
                told.set()
                begin = time.perf_counter()
                async for _ in lines:
                    pass
            await serving
            assert time.perf_counter() - begin < 4
        assert beat.exists()
        async with gateway.running(settings) as url, httpx.AsyncClient(base_url=f"{url}/") as http:  # no state was lost
            await http.delete(f"backtest/{cid}")
            for _ in range(500):
                if (await http.get(f"backtest/{cid}/status")).json()["status"] == "cancelled":
                    break
                await asyncio.sleep(0.02)
            else:
                pytest.fail("not cancelled")


async def test_the_health_file_grows_old_while_nats_is_away(
    settings: Settings, nats: NatsServer, tmp_path: Path
) -> None:
    beat = tmp_path / "health"
    async with gateway.running(settings.model_copy(update={"health_file": beat})):
        await asyncio.sleep(0.5)
        assert beat.exists()
        nats.kill()
        await asyncio.sleep(3)  # a beat that was under way
        seen = beat.stat().st_mtime_ns
        await asyncio.sleep(5)
        stale = beat.stat().st_mtime_ns == seen
        nats.start()
    assert stale
