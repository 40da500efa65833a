"""The log of a run explains its balances: initial capital and every delta of the log come to the final positions.

Interest accrues in an index, so scaled balances move by deltas alone; a perp's margin moves with the mark at every tick as
well, and that part is what the run's attribution says that it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from basis.models.instruments import margin_key
from basis.testkit.runs import mode_config
from basis.venues.data.sample import write_sample

FLOWS = "capital_flows=[{date: 2022-01-20T00:00:00Z, amount: %s}, {date: 2022-02-10T00:00:00Z, amount: -%s}]"
MODES = {
    "pure_lending_usdt": 10_000,
    "eth_staking_only": 10,
    "eth_leveraged": 10,
    "btc_basis": 10_000,
    "usdt_market_neutral": 10_000,
    "ml_btc_directional_btc_margin": 1,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deltas") / "synthetic"
    write_sample(folder, years=1)
    return folder


def backtest(mode: str, data: Path, logs: Path, flow: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "basis.cli", "backtest", mode, "--json", "--data", str(data), "--logs", str(logs)]
    dates = ["--start", "2022-01-01", "--end", "2022-03-01", "--set", FLOWS % (flow, flow / 2)]
    done = subprocess.run([*command, *dates], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("mode", MODES)
def test_deltas_of_the_log_come_to_the_final_positions(mode: str, data: Path, tmp_path: Path) -> None:
    found = backtest(mode, data, tmp_path, MODES[mode])
    result, config = found["result"], mode_config(mode)
    assert result["net_flows"] != 0.0
    held = {config.initial_key(): result["initial_capital"]}
    lines = (Path(found["log_directory"]) / "events" / "execution_deltas.jsonl").read_bytes().splitlines()
    for event in sorted((orjson.loads(line) for line in lines), key=lambda event: int(event["order"])):
        sums: dict[str, float] = {}
        for leg in event["postings"]:
            sums[leg["token"]] = sums.get(leg["token"], 0.0) + leg["amount"]
        scale = max(abs(leg["amount"]) for leg in event["postings"])
        assert all(abs(total) <= 1e-9 * scale for total in sums.values()), event
        for delta in event["deltas"]:
            held[delta["instrument_key"]] = held.get(delta["instrument_key"], 0.0) + delta["delta_amount"]
    margins = {margin_key(venue, symbol) for venue, symbol in config.perps()}
    final = result["final_positions"]
    for key in config.position_subscriptions:
        if key not in margins:
            assert held.get(key, 0.0) == final[key], key  # the same sums in the same sequence: the same floats
    if config.mode == "btc_basis":
        # spot and perps of one size: what the marks moved is what the spot moved the other way, but for the basis
        marked = sum(final[key] - held.get(key, 0.0) for key in margins)
        assert marked != 0.0
        gap = result["attribution_gap"]
        assert abs(gap) < 1e-6 * result["initial_capital"]
