"""``/results`` over a real socket, from the directories of real runs."""

from __future__ import annotations

import asyncio
import io
import math
import re
import shutil
import statistics
import zipfile
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson
import polars as pl
import pytest
import pytest_asyncio
from tests.support.cluster import embedded_cluster, event_lines, settings_for

from basis.gateway import app as gateway
from basis.gateway.backtest_service import BacktestService
from basis.gateway.requests import BacktestRequest, prepare
from basis.runtime.clock import SystemClock
from basis.runtime.nats_server import NatsServer
from basis.testkit.runs import CONFIGS
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.cluster import Cluster

    from basis.models.messages import RunOutcome
    from basis.runtime.settings import Settings

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


class Api(NamedTuple):
    """A gateway over a log root with two runs."""

    http: httpx.AsyncClient
    cluster: Cluster
    settings: Settings
    lending: RunOutcome
    neutral: RunOutcome

    async def get(self, path: str, **query: Any) -> Any:
        """JSON of an answer that must be 200."""
        answer = await self.http.get(path, params=query or None)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("results")
    write_sample(folder / "sample", years=1)
    async with embedded_cluster(
        folder, folder / "sample", gateway_port=0, results_cache_dir=folder / "results-cache"
    ) as cluster:
        lending = await cluster.backtest(start="2022-01-03", end="2022-01-17")
        neutral = await cluster.backtest("usdt_market_neutral", start="2022-01-03", end="2022-02-03")
        async with (
            gateway.running(cluster.settings) as url,
            httpx.AsyncClient(base_url=f"{url}/results/", timeout=60) as http,
        ):
            yield Api(http, cluster, cluster.settings, lending, neutral)


async def test_the_list_holds_both_runs_newest_first(api: Api) -> None:
    found = await api.get("")
    assert [item["correlation_id"] for item in found["items"]] == [
        api.neutral.status.correlation_id,
        api.lending.status.correlation_id,
    ]
    assert (found["total"], found["next"]) == (2, None)
    newest = found["items"][0]
    assert api.neutral.result is not None
    assert newest["final_value"] == api.neutral.result.final_value
    assert newest["sparkline"][-1] == api.neutral.result.final_value
    assert 2 <= len(newest["sparkline"]) <= 60
    first = await api.get("", limit=1)
    assert first["next"] == newest["correlation_id"]
    second = await api.get("", limit=1, after=first["next"])
    assert [item["correlation_id"] for item in second["items"]] == [api.lending.status.correlation_id]
    assert second["next"] is None
    assert (await api.get("", strategy="pure_lending_usdt"))["total"] == 1
    assert (await api.get("", status="failed"))["total"] == 0


async def test_the_report_agrees_with_the_runs_own_result(api: Api) -> None:
    for outcome in (api.lending, api.neutral):
        result = outcome.result
        assert result is not None
        found = await api.get(outcome.status.correlation_id)
        metrics = found["metrics"]
        for name in ("total_return", "annualized_return", "volatility", "sharpe", "max_drawdown"):
            assert math.isclose(metrics[name], getattr(result, name), rel_tol=1e-9, abs_tol=1e-15), name
        assert metrics["periods_per_year"] == 8760
        assert found["costs"]["gas"] == result.fees["gas"]
        assert found["attribution"] == result.attribution
        assert found["counts"] == outcome.events
        assert found["final_positions"] == result.final_positions
        assert found["sealed"] is True


async def test_metrics_are_those_of_the_lines_on_disk(api: Api) -> None:
    """From the JSON lines by plain loops and the statistics module, to 1e-12."""
    for outcome in (api.lending, api.neutral):
        lines = event_lines(outcome)["exposures"]
        equity = list({line["order"] // 1_000_000: line["share_class_value"] for line in lines}.values())
        returns = [later / before - 1.0 for before, later in pairwise(equity)]
        falls = [value / max(equity[: tick + 1]) - 1.0 for tick, value in enumerate(equity)]
        mean, deviation = statistics.fmean(returns), statistics.stdev(returns)
        downside = math.sqrt(math.fsum(min(change, 0.0) ** 2 for change in returns) / len(returns))
        expected = {
            "total_return": equity[-1] / 100_000.0 - 1.0,
            "volatility": deviation * math.sqrt(8760),
            "sharpe": mean / deviation * math.sqrt(8760),
            "sortino": mean / downside * math.sqrt(8760) if downside else None,
            "max_drawdown": min(falls),
            "hit_rate": sum(change > 0 for change in returns) / sum(change != 0 for change in returns),
        }
        found = (await api.get(outcome.status.correlation_id))["metrics"]
        assert found["returns"] == len(returns)
        for name, value in expected.items():
            assert found[name] == value or math.isclose(found[name], value, rel_tol=1e-12, abs_tol=1e-15), name


async def test_curves_are_the_log(api: Api) -> None:
    cid = api.neutral.status.correlation_id
    events = event_lines(api.neutral)
    last = {event["order"] // 1_000_000: event for event in events["exposures"]}
    raw = await api.get(f"{cid}/curves", columns="equity,net_delta_usd", points=5000)
    assert raw["method"] == "raw"
    assert raw["ticks"] == sorted(last)
    assert raw["columns"]["equity"] == [last[tick]["share_class_value"] for tick in sorted(last)]
    assert raw["columns"]["net_delta_usd"] == [last[tick]["net_delta_usd"] for tick in sorted(last)]
    assert raw["times"][1] - raw["times"][0] == 3_600_000
    every = [column["name"] for column in (await api.get(cid))["columns"]]
    drawn = await api.get(f"{cid}/curves", columns=",".join(every), points=100)
    assert drawn["method"] == "m4"
    assert set(drawn["columns"]) == set(every)
    assert len(drawn["ticks"]) <= 300
    assert min(drawn["columns"]["equity"]) == min(raw["columns"]["equity"])
    part = await api.get(f"{cid}/curves", start_tick=10, end_tick=19)
    assert part["ticks"] == list(range(10, 20))


async def test_the_state_at_a_tick_is_the_one_after_its_orders(api: Api) -> None:
    cid = api.neutral.status.correlation_id
    events = event_lines(api.neutral)
    found = await api.get(f"{cid}/at", tick=0)
    last = [event for event in events["positions"] if event["order"] < 1_000_000][-1]
    assert {one["instrument_key"]: one["quantity"] for one in found["positions"]} == last["positions"]
    assert found["decision"] == events["strategy_decisions"][0]
    assert found["last_order_tick"] is None
    ordered = sorted({event["order"] // 1_000_000 for event in events["orders"]})
    assert found["next_order_tick"] == next((tick for tick in ordered if tick > 0), None)


async def test_orders_are_joined_with_what_became_of_them(api: Api) -> None:
    cid = api.neutral.status.correlation_id
    events = event_lines(api.neutral)
    items: list[dict[str, Any]] = []
    after = -1
    while True:
        page = await api.get(f"{cid}/orders", after=after, limit=5)
        items += page["items"]
        if page["next"] is None:
            break
        after = page["next"]
    assert page["total"] == len(items) == len(events["orders"])
    done = {event["operation_id"]: event for event in events["operation_executions"]}
    for item in items:
        execution = done[item["operation_id"]]
        assert item["status"] == execution["status"]
        assert item["actual_deltas"] == {one["instrument_key"]: one["delta"] for one in execution["position_deltas"]}
        assert item["reconciliation"]["success"] is True
        assert all(abs(value) < 1e-6 for value in item["difference"].values())
    supply = next(item for item in items if item["operation_type"] == "supply")
    detail = await api.get(f"{cid}/orders/{supply['operation_id']}")
    assert {event["type"] for event in detail["events"]} >= {"orders", "operation_executions", "execution_deltas"}
    assert detail["group"]["atomic_group_id"] == supply["atomic_group_id"]
    details = supply["execution_details"]
    received = supply["actual_deltas"]["aave_v3:aToken:aweETH"]
    assert math.isclose(received, supply["amount"] / details["liquidity_index"], rel_tol=1e-12)


async def test_events_come_in_causal_order_page_by_page(api: Api) -> None:
    cid = api.lending.status.correlation_id
    events = event_lines(api.lending)
    everything = sorted(
        ((event["order"], kind, event) for kind, lines in events.items() for event in lines), key=lambda one: one[0]
    )
    found: list[dict[str, Any]] = []
    after = -1
    while True:
        page = await api.get(f"{cid}/events", after=after, limit=700)
        found += page["items"]
        if page["next"] is None:
            break
        after = page["next"]
    assert [(one["order"], one["type"], one["event"]) for one in found] == everything
    page = await api.get(f"{cid}/events", type="orders,reconciliations", text="SUPPLY")
    assert {one["type"] for one in page["items"]} == {"orders"}
    typed = await api.get(f"{cid}/events/orders")
    assert typed["items"] == events["orders"]
    one = await api.http.get(f"{cid}/events/orders/{events['orders'][0]['order']}")
    assert orjson.loads(one.content) == events["orders"][0]


async def test_two_runs_are_compared(api: Api) -> None:
    a, b = api.lending.status.correlation_id, api.neutral.status.correlation_id
    found = await api.get("compare", a=a, b=b)
    assert found["same_events"] is False
    assert found["a"]["correlation_id"] == a
    metric = found["metrics"]["total_return"]
    assert math.isclose(metric["difference"], metric["b"] - metric["a"])
    assert found["config"]["mode"] == {"a": "pure_lending_usdt", "b": "usdt_market_neutral"}
    same = await api.get("compare", a=a, b=a)
    assert same["same_events"] is True
    assert same["config"] == {}
    assert all(one["difference"] in {None, 0.0} for one in same["metrics"].values())


async def test_an_export_holds_the_log_and_its_curves(api: Api) -> None:
    cid, outcome = api.neutral.status.correlation_id, api.neutral
    answer = await api.http.get(f"{cid}/export")
    assert answer.headers["content-type"] == "application/zip"
    assert outcome.log_directory is not None
    folder = Path(outcome.log_directory)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        for path in folder.rglob("*"):  # noqa: ASYNC240
            if path.is_file():
                assert archive.read(f"{cid}/{folder.name}/{path.relative_to(folder)}") == path.read_bytes()
        summary = orjson.loads(archive.read(f"{cid}/summary.json"))
        curves = pl.read_parquet(io.BytesIO(archive.read(f"{cid}/curves.parquet")))
        parts = pl.read_parquet(io.BytesIO(archive.read(f"{cid}/attribution.parquet")))
    assert outcome.result is not None
    assert summary["metrics"]["total_return"] == outcome.result.total_return
    assert curves["equity"][-1] == outcome.result.final_value
    assert curves["timestamp"][-1] == datetime(2022, 2, 3, tzinfo=UTC)
    assert {name: parts[name][-1] for name in outcome.result.attribution} == outcome.result.attribution


async def test_pnl_of_days_adds_up(api: Api) -> None:
    found = await api.get(f"{api.neutral.status.correlation_id}/pnl")
    assert api.neutral.result is not None
    assert math.isclose(sum(day["pnl"] for day in found["days"]), found["total_pnl"], rel_tol=1e-12)
    assert found["days"][0]["date"] == "2022-01-03"
    assert len(found["days"]) == 32
    for cause, total in api.neutral.result.attribution.items():
        assert math.isclose(sum(day["attribution"][cause] for day in found["days"]), total, rel_tol=1e-9, abs_tol=1e-9)
    charts = (await api.get(f"{api.neutral.status.correlation_id}/charts"))["charts"]
    assert [chart["name"] for chart in charts][:3] == ["equity", "drawdown", "attribution"]
    assert "health_factor" in {chart["name"] for chart in charts}
    lending = (await api.get(f"{api.lending.status.correlation_id}/charts"))["charts"]
    assert "health_factor" not in {chart["name"] for chart in lending}


async def test_a_tearsheet_is_one_page_that_asks_nobody(api: Api) -> None:
    answer = await api.http.get(f"{api.neutral.status.correlation_id}/tearsheet")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    assert re.search(r"<script[^>]+src=|<link|<img|@import", page.split("</script></head>")[1]) is None
    assert page.count('class="plotly-graph-div"') == 8
    assert api.neutral.status.correlation_id in page


async def test_a_copied_directory_shows_the_same(api: Api, tmp_path: Path) -> None:
    """Another machine: nothing but the directory, a gateway with other folders, and another NATS."""
    outcome = api.neutral
    assert outcome.log_directory is not None
    source, cid = Path(outcome.log_directory), outcome.status.correlation_id
    shutil.copytree(source, tmp_path / "logs" / cid / source.name)
    paths = [
        cid,
        f"{cid}/curves?columns=equity,drawdown,health_factor",
        f"{cid}/at?tick=100",
        f"{cid}/orders",
        f"{cid}/pnl",
    ]
    with NatsServer(tmp_path / "nats") as server:
        settings = settings_for(tmp_path, tmp_path, server.url, gateway_port=0, results_cache_dir=tmp_path / "rc")
        async with gateway.running(settings) as url, httpx.AsyncClient(base_url=f"{url}/", timeout=60) as http:
            for path in paths:
                assert (await http.get(f"results/{path}")).json() == await api.get(path), path
            assert (await http.get("results/")).json()["items"] == (await api.get("", strategy="usdt_market_neutral"))[
                "items"
            ]
            status = (await http.get(f"backtest/{cid}/status")).json()
            assert status == outcome.status.model_dump(mode="json") | {"completed_at": status["completed_at"]}
            assert [run["correlation_id"] for run in (await http.get("backtest/list")).json()] == [cid]
            result = (await http.get(f"backtest/{cid}/result")).json()
            assert result["result"] == outcome.model_dump(mode="json")["result"]
            stream = await http.get(f"backtest/{cid}/stream")
            assert [line for line in stream.text.splitlines() if line.startswith("event")] == [
                "event: progress",
                "event: result",
            ]


async def test_what_does_not_exist_is_one_clear_error(api: Api) -> None:
    cid = api.lending.status.correlation_id
    for path, status, code, says in (
        ("0" * 32, 404, "RUN-001", "0000"),
        (f"{'0' * 32}/curves", 404, "RUN-001", "0000"),
        (f"{cid}/curves?columns=equity,nothing", 422, "CONFIG-003", "'nothing'"),
        (f"{cid}/curves?columns=,", 422, "CONFIG-003", "0 names"),
        (f"{cid}/curves?start_tick=99999", 422, "CONFIG-003", "0 to 336"),
        (f"{cid}/curves?points=999999", 422, "CONFIG-003", "points"),
        (f"{cid}/at?tick=337", 422, "CONFIG-003", "0 to 336"),
        (f"{cid}/at", 422, "CONFIG-003", "tick"),
        (f"{cid}/at?tick=-1", 422, "CONFIG-003", "tick"),
        (f"{cid}/orders?limit=0", 422, "CONFIG-003", "limit"),
        (f"{cid}/orders/none", 404, "RUN-001", "'none'"),
        (f"{cid}/orders/..%2f..%2fetc", 404, None, ""),
        (f"{cid}/events?type=passwd", 422, "CONFIG-003", "passwd"),
        (f"{cid}/events/..%2frun_metadata", 422, "CONFIG-003", "order"),
        (f"{cid}/events/passwd", 422, "CONFIG-003", "passwd"),
        (f"{cid}/events/orders/1", 404, "RUN-001", "1"),
        (f"{cid}/events?after=99999999999999999999", 422, "CONFIG-003", "after"),
        ("..%2f..%2fetc%2fpasswd/curves", 404, None, ""),
        ("../../etc/curves", 404, None, ""),
        ("X" * 32, 422, "CONFIG-003", ""),
        (f"compare?a={cid}", 422, "CONFIG-003", "b"),
        (f"compare?a={cid}&b=..", 422, "CONFIG-003", "b"),
        (f"?after={'0' * 32}", 404, "RUN-001", "after"),
        ("?limit=1000000", 422, "CONFIG-003", "limit"),
    ):
        answer = await api.http.get(path)
        found = answer.json()
        assert (answer.status_code, found["error_code"]) == (status, code), (path, answer.text)
        assert says in found["detail"], (path, found["detail"])


async def test_deleting_takes_directory_records_and_curves_away(api: Api) -> None:
    cid = (await _run(api)).status.correlation_id
    await api.get(f"{cid}/curves")
    folder = api.settings.logs_dir / cid
    assert folder.is_dir()
    answer = await api.http.delete(cid)
    assert (answer.status_code, answer.content) == (204, b"")
    assert not folder.exists()
    assert not list(api.settings.logs_dir.glob(".removed-*"))
    assert not (api.settings.results_cache_dir / cid).exists()
    assert cid not in {item["correlation_id"] for item in (await api.get(""))["items"]}
    for path in (cid, f"{cid}/curves"):
        assert (await api.http.get(path)).status_code == 404
    assert (await api.http.delete(cid)).status_code == 404
    assert (await api.http.delete("..%2f" + cid)).status_code in {404, 405, 422}


async def test_a_run_that_goes_on_has_a_page_and_cannot_be_deleted(api: Api) -> None:
    """Curves, sparkline and progress of what is on disk so far; they end where the run ends."""
    service = BacktestService(api.cluster.bus, SystemClock())
    request = BacktestRequest(
        strategy_name="pure_lending_usdt",
        start_date="2022-01-03",
        end_date="2022-12-20",
        config_overrides={"engine.initial_window": 1, "engine.max_window": 1},
    )
    cid = (await service.submit(prepare(request, CONFIGS))).correlation_id
    seen: list[int] = []
    equity: list[float | None] = []
    async with asyncio.timeout(60), aclosing(service.follow(cid)) as statuses:
        async for status in statuses:
            if status.status == "running" and status.ticks > 50 and (api.settings.logs_dir / cid).is_dir():
                found = await api.get(cid)
                equity.append(status.equity)
                if found["metrics"] is not None:
                    seen.append(found["metrics"]["returns"])
                    assert found["status"] == "running"
                    assert found["sealed"] is False
                    curves = await api.get(f"{cid}/curves", points=5000)
                    assert curves["ticks"] == list(range(len(curves["ticks"])))
                    assert (await api.http.delete(cid)).json()["error_code"] == "RUN-002"
            if len(seen) >= 3:
                break
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]
    assert None not in equity
    await service.cancel(cid)
    async with asyncio.timeout(60):
        while not (await api.get(cid))["sealed"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    found = await api.get(cid)
    assert (found["status"], found["error_code"]) == ("cancelled", "ENGINE-003")
    curves = await api.get(f"{cid}/curves", points=5000)
    assert len(curves["ticks"]) == found["ticks"] == found["metrics"]["returns"] + 1
    assert (await api.http.delete(cid)).status_code == 204


async def _run(api: Api) -> RunOutcome:
    return await api.cluster.backtest(start="2022-01-03", end="2022-01-05")


async def test_curves_are_made_before_anybody_asks(api: Api, tmp_path: Path) -> None:
    """By the word that a run is sealed; without NATS by a look at the newest runs."""
    cid = (await _run(api)).status.correlation_id
    wanted = {
        "equity.parquet",
        "exposure.parquet",
        "attribution.parquet",
        "risk.parquet",
        "position.parquet",
        "derived.json",
    }
    assert await _made(api.settings.results_cache_dir / cid) == wanted
    settings = api.settings.model_copy(update={"results_cache_dir": tmp_path / "cache"})
    async with gateway.opened(settings, read_only=True):
        assert await _made(tmp_path / "cache" / cid) == wanted
    assert (await api.http.delete(cid)).status_code == 204


async def _made(folder: Path) -> set[str]:
    async with asyncio.timeout(60):
        while len(found := {path.name for path in folder.rglob("*.*") if path.is_file()}) < 6:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.1)
    return found
