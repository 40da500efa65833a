"""Golden runs: statistics, orders and every event of a run are what they were when it was recorded (``make golden``)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
GOLDENS = sorted((REPO / "tests" / "golden").glob("*.json"))


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_tool", REPO / "tools" / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data: Path = TOOL.make_sample(tmp_path_factory.mktemp("golden"))
    return data


@pytest.mark.parametrize("file", GOLDENS, ids=[file.stem for file in GOLDENS])
def test_golden_run_is_as_recorded(file: Path, sample: Path, tmp_path: Path) -> None:
    golden: dict[str, Any] = json.loads(file.read_text())
    found = TOOL.run(golden["arguments"], sample, tmp_path / "logs")
    assert TOOL.differences(golden["expected"], found) == []


def test_a_changed_golden_is_noticed_and_named() -> None:
    assert TOOL.differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 1.5}, "d": 3}) == [
        "a.b: 1 -> 1.5",
        "c: 2 -> None",
        "d: None -> 3",
    ]
