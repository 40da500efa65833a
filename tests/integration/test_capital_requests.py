"""Deposits and withdrawals during a backtest: the run that results is the one that had them in its configuration."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import pytest_asyncio
from tests.support.cluster import assert_every_event_once, embedded_cluster, log_lines, process_cluster
from tests.support.gateway import deployed, problem, settings_of

from basis.gateway.backtest_service import BacktestService
from basis.gateway.requests import BacktestRequest, prepare
from basis.models.config import RunConfig
from basis.models.messages import Control
from basis.runtime import codec, subjects
from basis.runtime.clock import SystemClock
from basis.testkit.runs import CONFIGS
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.cluster import Cluster
    from tests.support.gateway import Api

    from basis.models.messages import RequestedFlow, RunOutcome

pytestmark = pytest.mark.timeout(240)
SLOW = {"engine.initial_window": 1, "engine.max_window": 1}
START, END = "2022-01-03", "2022-01-18"
UNKNOWN = "0" * 32


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capital") / "sample"
    write_sample(folder, years=1)
    return folder


async def submitted(cluster: Cluster, mode: str, **overrides: Any) -> str:
    request = BacktestRequest(
        strategy_name=mode, start_date=START, end_date=END, config_overrides={**SLOW, **overrides}
    )
    return (await BacktestService(cluster.bus, SystemClock()).submit(prepare(request, CONFIGS))).correlation_id


async def until_tick(service: BacktestService, cid: str, tick: int) -> None:
    async for status in service.follow(cid):
        if status.ticks >= tick or status.status not in {"queued", "running"}:
            return


async def outcome_of(service: BacktestService, cid: str) -> RunOutcome:
    async for _ in service.follow(cid):
        pass
    found = await service.outcome(cid)
    assert found is not None
    return found


def as_configured(flows: tuple[RequestedFlow, ...]) -> list[dict[str, Any]]:
    return [{"date": flow.date.isoformat(), "amount": flow.amount} for flow in flows]


@pytest.mark.parametrize("mode", ["pure_lending_usdt", "btc_basis"])
async def test_a_run_with_requests_is_the_run_that_had_them_configured(tmp_path: Path, sample: Path, mode: str) -> None:
    async with embedded_cluster(tmp_path, sample) as cluster:
        service = BacktestService(cluster.bus, SystemClock())
        cid = await submitted(cluster, mode)
        await until_tick(service, cid, 20)
        await service.move_capital(cid, 30_000.0, "in")
        await service.move_capital(cid, 30_000.0, "in")  # asked twice: counts once
        await until_tick(service, cid, 60)
        await service.move_capital(cid, -12_345.5, "out")
        outcome = await outcome_of(service, cid)
        assert outcome.status.status == "completed", outcome.status
        assert outcome.result is not None
        flows = outcome.result.requested_flows
        assert [(flow.request_id, flow.amount) for flow in flows] == [("in", 30_000.0), ("out", -12_345.5)]
        assert 20 <= flows[0].tick <= flows[1].tick >= 60
        assert outcome.result.net_flows == pytest.approx(30_000.0 - 12_345.5, rel=1e-9)
        assert_every_event_once(outcome)
        told = [line for line in log_lines(outcome, "strategy_manager") if "on request" in line["message"]]
        assert [(line["tick"], line["amount"]) for line in told] == [(flow.tick, flow.amount) for flow in flows]

        same = await cluster.backtest(mode, start=START, end=END, capital_flows=as_configured(flows))
        assert same.event_hash == outcome.event_hash
        without = await cluster.backtest(mode, start=START, end=END)
        assert without.event_hash != outcome.event_hash
        assert without.result is not None
        assert without.result.requested_flows == ()


async def test_requests_survive_the_engine(tmp_path: Path, sample: Path) -> None:
    async with process_cluster(tmp_path, sample) as cluster:
        service = BacktestService(cluster.bus, SystemClock())
        cid = await submitted(cluster, "pure_lending_usdt")
        await until_tick(service, cid, 30)
        await service.move_capital(cid, 5_000.0, "in")
        cluster.kill("strategy")  # confirmed, and perhaps no tick of it committed yet
        cluster.launch("strategy")
        await until_tick(service, cid, 100)
        await service.move_capital(cid, -1_000.0, "out")
        await service.move_capital(cid, 5_000.0, "in")  # the new engine knows it, too
        outcome = await outcome_of(service, cid)
        assert outcome.status.status == "completed", outcome.status
        assert outcome.result is not None
        flows = outcome.result.requested_flows
        assert [flow.request_id for flow in flows] == ["in", "out"]
        assert_every_event_once(outcome)
        same = await cluster.backtest("pure_lending_usdt", start=START, end=END, capital_flows=as_configured(flows))
        assert same.event_hash == outcome.event_hash


async def test_requests_at_once_are_all_taken_up(tmp_path: Path, sample: Path) -> None:
    async with embedded_cluster(tmp_path, sample) as cluster:
        service = BacktestService(cluster.bus, SystemClock())
        cid = await submitted(cluster, "pure_lending_usdt")
        await until_tick(service, cid, 20)
        await asyncio.gather(*(service.move_capital(cid, 100.0 + number, f"r{number}") for number in range(20)))
        record = await service.record(cid)
        assert record.checkpoint is not None
        assert {flow.request_id for flow in record.checkpoint.flows} == {f"r{number}" for number in range(20)}
        outcome = await outcome_of(service, cid)
        assert outcome.result is not None
        assert outcome.result.net_flows == pytest.approx(sum(100.0 + number for number in range(20)))


def test_a_configuration_without_requests_keeps_its_bytes() -> None:
    from basis.strategy.core.requested_flows import requested, with_flows

    request = BacktestRequest(strategy_name="pure_lending_usdt")
    merged = prepare(request, CONFIGS).merged
    assert with_flows(merged.payload, merged.sha256, ()) == (merged.payload, merged.sha256)
    now = SystemClock().now()
    flow = requested(Control(command="withdraw", amount=5.0, request_id="x"), 7, now)
    text = with_flows(merged.payload, merged.sha256, (flow,))
    assert text.sha256 != merged.sha256
    assert RunConfig.model_validate_json(text.payload).capital_flows[-1].amount == -5.0
    rest = {name: value for name, value in orjson.loads(text.payload).items() if name != "capital_flows"}
    assert rest == {name: value for name, value in orjson.loads(merged.payload).items() if name != "capital_flows"}


# ------------------------------------------------------------------------------------------------------ over HTTP

LONG = {"strategy_name": "pure_lending_usdt", "start_date": START, "end_date": "2022-12-01", "config_overrides": SLOW}


@pytest_asyncio.fixture
async def api(tmp_path: Path, sample: Path, nats_server: Any) -> AsyncIterator[Api]:
    async with deployed(settings_of(nats_server, sample, tmp_path)) as found:
        yield found


async def test_capital_over_http(api: Api) -> None:
    cid = await api.submit(LONG)
    await api.until(cid, "running")
    answer = await api.http.post(f"capital/{cid}/deposit", json={"amount": 2500, "currency": "USDT", "request_id": "a"})
    assert answer.status_code == 202, answer.text
    found = answer.json()
    assert (found["kind"], found["amount"], found["currency"], found["request_id"]) == ("deposit", 2500, "USDT", "a")
    assert found["tick"] >= 0
    again = await api.http.post(f"capital/{cid}/deposit", json={"amount": 2500, "request_id": "a"})
    assert again.json() == found
    out = (await api.http.post(f"capital/{cid}/withdraw", json={"amount": 100})).json()
    assert (out["kind"], out["amount"]) == ("withdrawal", 100)
    assert out["tick"] >= found["tick"]

    for body in (
        {}, {"amount": 0}, {"amount": -5}, {"amount": "5"}, {"amount": True}, {"amount": 1e16}, {"amount": 5, "to": "x"},
        {"amount": 5, "currency": "ETH"}, {"amount": 5, "request_id": "a b"}, {"amount": 5, "request_id": ""},
    ):  # fmt: skip
        problem(await api.http.post(f"capital/{cid}/deposit", json=body), 422, "CONFIG-003")
    raw = await api.http.post(
        f"capital/{cid}/withdraw", content=b'{"amount": NaN}', headers={"Content-Type": "application/json"}
    )
    problem(raw, 422, "CONFIG-003")

    second = await api.submit(LONG)  # the one engine is busy
    assert "queued" in problem(await api.http.post(f"capital/{second}/deposit", json={"amount": 5}), 409, "RUN-003")
    await api.http.delete(f"backtest/{second}")
    await api.http.delete(f"backtest/{cid}")
    await api.until(cid, "cancelled")
    for ended in (cid, second):
        problem(await api.http.post(f"capital/{ended}/deposit", json={"amount": 5}), 409, "RUN-003")
    problem(await api.http.post(f"capital/{UNKNOWN}/deposit", json={"amount": 5}), 404, "RUN-001")
    flows = (await api.http.get(f"backtest/{cid}/result")).json()["result"]["requested_flows"]
    assert [(flow["amount"], flow["request_id"] == "a") for flow in flows] == [(2500, True), (-100, False)]


async def test_a_request_that_the_run_does_not_live_to_see_is_refused(api: Api) -> None:
    cid = await api.submit(LONG)
    await api.until(cid, "running")
    order = codec.encode(Control(command="cancel", reason="now"))
    async with asyncio.timeout(60):
        from tests.support.gateway import connected

        async with connected(api.settings) as bus:
            await bus.client.publish(subjects.control(cid), order)
            answer = await api.http.post(f"capital/{cid}/deposit", json={"amount": 5})
    assert answer.status_code in {202, 409}, answer.text
    await api.until(cid, "cancelled")
    result = (await api.http.get(f"backtest/{cid}/result")).json()["result"]
    assert len(result["requested_flows"]) == (answer.status_code == 202)
