"""Golden runs: statistics, orders and every event of a run are what they were when it was recorded (``make golden``)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from basis.strategy.strategies import built_modes

REPO = Path(__file__).resolve().parents[2]


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_tool", REPO / "tools" / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()
GOLDENS: list[Path] = TOOL.files()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data: Path = TOOL.make_sample(tmp_path_factory.mktemp("golden"))
    return data


def test_every_mode_has_a_golden_run() -> None:
    modes = {json.loads(file.read_text())["arguments"][0] for file in GOLDENS if not TOOL.is_real(file)}
    assert modes == set(built_modes())


@pytest.mark.parametrize("file", GOLDENS, ids=[f"{file.parent.name}/{file.stem}" for file in GOLDENS])
def test_golden_run_is_as_recorded(file: Path, sample: Path, tmp_path: Path) -> None:
    if TOOL.is_real(file) and not TOOL.REAL_DATA.is_dir():
        pytest.skip(f"no market data at {TOOL.REAL_DATA}: set BASIS_DATA")
    golden: dict[str, Any] = json.loads(file.read_text())
    found = TOOL.run(golden["arguments"], TOOL.REAL_DATA if TOOL.is_real(file) else sample, tmp_path / "logs")
    gap = abs(found["result"]["attribution_gap"])
    assert gap < 1e-6 * found["result"]["initial_capital"]
    assert TOOL.differences(golden["expected"], found) == []


def test_a_changed_golden_is_noticed_and_named() -> None:
    assert TOOL.differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 1.5}, "d": 3}) == [
        "a.b: 1 -> 1.5",
        "c: 2 -> None",
        "d: None -> 3",
    ]
