"""``/results`` over a real socket, from the directories of real runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import orjson
import pytest
import pytest_asyncio
from tests.support.cluster import embedded_cluster, event_lines

from basis.gateway import app as gateway
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from basis.models.messages import RunOutcome
    from basis.runtime.settings import Settings

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


class Api(NamedTuple):
    """A gateway over a log root with two runs."""

    http: httpx.AsyncClient
    settings: Settings
    lending: RunOutcome
    neutral: RunOutcome

    async def get(self, path: str, **query: Any) -> Any:
        """JSON of an answer that must be 200."""
        answer = await self.http.get(path, params=query)
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
            yield Api(http, cluster.settings, lending, neutral)


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
