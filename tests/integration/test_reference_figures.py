"""Figures of real runs on real data against figures that were computed independently of any backtester."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.cluster import Cluster, assert_every_event_once, embedded_cluster, event_lines
from tests.support.reference import DATA, WINDOWS, needs_reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from basis.models.messages import RunOutcome, RunResult

pytestmark = needs_reference
CASES = [("pure_lending_usdt", "usdt", 100_000.0), ("pure_lending_eth", "weth", 100.0)]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with embedded_cluster(tmp_path, DATA) as found:
        yield found


def range_of(window: str) -> dict[str, Any]:
    found = WINDOWS[window]
    return {"start": found["aave_and_oracle_from"][:10], "end": found["aave_and_oracle_to"][:10]}


def completed(outcome: RunOutcome) -> RunResult:
    assert outcome.status.status == "completed", outcome.status
    assert outcome.result is not None
    return outcome.result


@pytest.mark.parametrize("window", sorted(WINDOWS) or ["none"])
@pytest.mark.parametrize(("mode", "token", "capital"), CASES)
async def test_lending_without_gas_grows_as_the_reference_says(
    cluster: Cluster, window: str, mode: str, token: str, capital: float
) -> None:
    outcome = await cluster.backtest(mode, **range_of(window), capital=capital, venues__wallet__gas_price_gwei=0)
    result = completed(outcome)
    expected = WINDOWS[window]["aave"][token]["supply_growth_factor"]
    assert result.final_value / capital == pytest.approx(expected, rel=1e-9)
    assert result.attribution["supply"] == pytest.approx(result.final_value - capital, rel=1e-9)
    assert result.fees == {"fees": 0.0, "gas": 0.0, "slippage": 0.0}
    days = WINDOWS[window]["days"]
    assert outcome.ticks == 24 * days + 1
    annual = WINDOWS[window]["aave"][token]["supply_apy_annualised"]
    assert result.annualized_return == pytest.approx(annual, rel=1e-8)


@pytest.mark.parametrize(("mode", "token", "capital"), CASES)
async def test_market_gas_costs_its_own_growth_and_is_the_same_everywhere(
    cluster: Cluster, mode: str, token: str, capital: float
) -> None:
    free = completed(
        await cluster.backtest(mode, **range_of("full"), capital=capital, venues__wallet__gas_price_gwei=0)
    )
    outcome = await cluster.backtest(mode, **range_of("full"), capital=capital)
    paid = completed(outcome)
    gas = paid.fees["gas"]
    assert gas > 0.0
    growth = WINDOWS["full"]["aave"][token]["supply_growth_factor"]
    cent = 0.005 if token == "usdt" else 0.005 / 3000.0
    assert free.final_value - paid.final_value == pytest.approx(gas * growth, abs=cent)
    (execution,) = event_lines(outcome)["operation_executions"]
    assert gas == -paid.attribution["gas"] == execution["fee_amount"]
    assert execution["timestamp"] == "2024-05-12T00:00:00+00:00"
    assert_every_event_once(outcome)


async def test_held_spot_rate_would_not_have_passed() -> None:
    # the shortcut that the reference warns of: if the two ever agreed, the tests above would prove nothing
    usdt = WINDOWS["full"]["aave"]["usdt"]
    held = usdt["supply_growth_if_daily_spot_rate_were_held_24h"]
    assert abs(held / usdt["supply_growth_factor"] - 1) > 1e-4


async def test_equity_never_falls_and_follows_the_index_every_hour(cluster: Cluster) -> None:
    outcome = await cluster.backtest(
        start="2024-05-12", end="2024-08-12", capital=100_000.0, venues__wallet__gas_price_gwei=0
    )
    completed(outcome)
    lines = event_lines(outcome)
    equity = [line["share_class_value"] for line in lines["exposures"]]
    assert all(after >= before for before, after in itertools.pairwise(equity))
    index = [line["market_conditions"]["liquidity_index:USDT"] for line in lines["strategy_decisions"]]
    last = {line["order"] // 1_000_000: line["share_class_value"] for line in lines["exposures"]}
    for tick, value in enumerate(index):
        assert last[tick] == pytest.approx(100_000.0 * value / index[0], rel=1e-9)
    times = [datetime.fromisoformat(line["timestamp"]) for line in lines["strategy_decisions"]]
    assert times[0] == datetime(2024, 5, 12, tzinfo=UTC)
    assert {(b - a).total_seconds() for a, b in itertools.pairwise(times)} == {3600.0}
