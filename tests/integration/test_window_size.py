"""The result does not depend on how a run is cut into windows: the same events, byte for byte, and the same equity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.support.cluster import assert_every_event_once, embedded_cluster, event_lines
from tests.support.market import write_market

from basis.testkit.runs import mode_config

if TYPE_CHECKING:
    from pathlib import Path

    from basis.models.messages import RunOutcome

START, END = "2024-05-12", "2024-05-15T05:00:00"
WINDOWS: dict[str, dict[str, Any]] = {
    "one": {"engine__max_window": 1, "engine__initial_window": 1},
    "seven": {"engine__max_window": 7, "engine__initial_window": 7},
    "adaptive": {},
    "largest": {"engine__max_window": 512, "engine__initial_window": 512},
}
# gas is dear for the first fifty hours: the entry falls into the middle of a window
GAS = np.array([40_000.0] * (12 + 25) + [0.5] * 60)


def figures(outcome: RunOutcome) -> tuple[str | None, float, dict[str, float], float, float]:
    result = outcome.result
    assert outcome.status.status == "completed", outcome.status
    assert result is not None
    return outcome.event_hash, result.final_value, result.attribution, result.volatility, result.max_drawdown


@pytest.mark.parametrize("mode", ["pure_lending_usdt", "pure_lending_eth"])
async def test_windows_of_1_7_adaptive_and_512_ticks_give_the_same_run(tmp_path: Path, mode: str) -> None:
    data = write_market(tmp_path / "data", mode_config(mode), columns={"gas_base_fee_gwei": GAS})
    capital = 5.0 if mode.endswith("eth") else 10_000.0
    async with embedded_cluster(tmp_path, data) as cluster:
        outcomes = {
            name: await cluster.backtest(mode, start=START, end=END, capital=capital, **window)
            for name, window in WINDOWS.items()
        }
    first = figures(outcomes["one"])
    assert first[0] is not None
    assert {name: figures(outcome) for name, outcome in outcomes.items()} == dict.fromkeys(WINDOWS, first)
    lines = event_lines(outcomes["one"])
    assert [line["order"] // 1_000_000 for line in lines["orders"]] == [50], "the entry is not where it was meant to be"
    for outcome in outcomes.values():
        assert_every_event_once(outcome)


async def test_the_same_run_twice_in_a_row_gives_the_same_events(tmp_path: Path) -> None:
    data = write_market(tmp_path / "data", mode_config())
    async with embedded_cluster(tmp_path, data) as cluster:
        once = await cluster.backtest(start=START, end=END)
        again = await cluster.backtest(start=START, end=END)
    assert once.status.correlation_id != again.status.correlation_id
    assert figures(once) == figures(again)


async def test_another_market_gives_other_events(tmp_path: Path) -> None:
    one = write_market(tmp_path / "one", mode_config(), seed=1)
    other = write_market(tmp_path / "other", mode_config(), seed=2)
    async with embedded_cluster(tmp_path / "a", one) as cluster:
        first = await cluster.backtest(start=START, end=END)
    async with embedded_cluster(tmp_path / "b", other) as cluster:
        second = await cluster.backtest(start=START, end=END)
    assert first.event_hash != second.event_hash


async def test_five_minute_steps_give_the_same_run_for_every_window(tmp_path: Path) -> None:
    data = write_market(tmp_path / "data", mode_config())
    async with embedded_cluster(tmp_path, data) as cluster:
        outcomes = [
            await cluster.backtest(start=START, end="2024-05-13", time_step_s=300, **window)
            for window in WINDOWS.values()
        ]
    assert [outcome.ticks for outcome in outcomes] == [289] * len(WINDOWS)
    assert len({str(figures(outcome)) for outcome in outcomes}) == 1


async def test_hours_and_five_minutes_come_to_the_same_equity(tmp_path: Path) -> None:
    config = mode_config()
    data = write_market(tmp_path / "data", config)
    async with embedded_cluster(tmp_path, data) as cluster:
        hours = await cluster.backtest(start=START, end="2024-05-13")
        minutes = await cluster.backtest(start=START, end="2024-05-13", time_step_s=300)
    assert hours.result is not None
    assert minutes.result is not None
    assert hours.result.final_value == minutes.result.final_value
