"""The specifications are what the code says, and nothing is left out.

``generate_specs.py --check`` makes every page anew: the real strategies decide on the documented market row, the simulated
venues execute what they order, and each formula is compared with what the code expects. So a page that passes has no number
that is not the code's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import generate_specs
from tools.specs import formulas, scenes
from tools.specs import stage as stages
from tools.specs.component_pages import COMPONENT_SECTIONS
from tools.specs.component_table import COMPONENTS
from tools.specs.places import number
from tools.specs.strategy_pages import STRATEGY_SECTIONS

from basis.models.events import EVENT_MODELS
from basis.models.operations import OperationType
from basis.testkit.runs import mode_config
from basis.testkit.strategies import MODES

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ROOT / "tools" / "generate_specs.py"
SPECS = ROOT / "docs" / "specs"
_HEADING = re.compile(r"^## (.+)$", re.M)


def page(mode: str) -> str:
    return (SPECS / "strategies" / f"{mode}.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_the_pages_are_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, str(GENERATOR), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: python tools/generate_specs.py"


def test_a_page_that_differs_is_missing_or_is_about_nothing_is_drift() -> None:
    there = {path.relative_to(SPECS): path.read_text(encoding="utf-8") for path in SPECS.glob("*.md")}
    there |= {path.relative_to(SPECS): path.read_text(encoding="utf-8") for path in SPECS.glob("strategies/*.md")}
    assert generate_specs.drift(there) == []
    cex = Path("cex.md")
    assert len(generate_specs.drift(there | {cex: there[cex].replace("Fill", "Fall", 1)})) == 1
    assert generate_specs.drift(there | {Path("nobody.md"): "x"}) == ["nobody.md is missing"]
    assert generate_specs.drift({path: text for path, text in there.items() if path != cex}) == [
        "cex.md is about nothing"
    ]


def test_a_formula_that_does_not_come_to_the_expected_delta_ends_the_generator() -> None:
    stage = stages.Stage("pure_lending_usdt")
    (order,) = scenes.enter(stage).orders
    found = formulas.formula(order)
    formulas.require_formula(order, found)
    wrong = order.model_copy(update={"expected_deltas": {**order.expected_deltas, found.key: found.value * (1 + 1e-8)}})
    with pytest.raises(SystemExit, match="the code expects"):
        formulas.require_formula(wrong, found)


def test_a_handshake_that_differs_from_its_order_ends_the_generator() -> None:
    stage = stages.Stage("pure_lending_usdt")
    acted = scenes.enter(stage)
    (order,), (handshake,) = acted.orders, acted.handshakes
    (key, *_), deltas = handshake.actual_deltas, handshake.actual_deltas
    other = handshake.model_copy(update={"actual_deltas": {**deltas, key: deltas[key] * (1 + 1e-8)}})
    with pytest.raises(SystemExit, match="was expected"):
        stages.require_as_expected("here", order, other)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (93333.3333333, "93,333.333333"),
        (-100.0, "-100"),
        (0.00005, "0.00005"),
        (1e-15, "0"),
        (0.1234567, "0.123457"),
    ],
)
def test_numbers_are_for_people(value: float, text: str) -> None:
    assert number(value) == text


def test_every_mode_has_a_page_and_words() -> None:
    modes = {path.stem for path in (ROOT / "configs" / "modes").glob("*.yaml")}
    assert modes >= set(MODES)
    assert {path.stem for path in (SPECS / "strategies").glob("*.md")} == modes
    assert {path.stem for path in (SPECS / "strategies" / "_prose").glob("*.yaml")} == modes


@pytest.mark.parametrize("mode", MODES)
def test_a_strategy_page_has_every_section_with_something_in_it(mode: str) -> None:
    text = page(mode)
    assert tuple(_HEADING.findall(text)) == STRATEGY_SECTIONS
    assert all(section(text, heading).strip() for heading in STRATEGY_SECTIONS)


@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_of_the_family_is_in_the_page_with_its_value(mode: str) -> None:
    config = mode_config(mode)
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section(page(mode), "Parameters"), re.M)
    assert [name for name, _ in rows] == list(type(config.strategy).model_fields)
    shown = {name: value.removesuffix("(default)").strip() for name, value in rows}
    assert shown["position_deviation_threshold"] == number(config.strategy.position_deviation_threshold)
    raw = yaml.safe_load((ROOT / "configs" / "modes" / f"{mode}.yaml").read_text(encoding="utf-8"))["strategy"]
    marked = {name for name, value in rows if value.strip().endswith("(default)")}
    assert marked == {name for name in shown if name not in raw}


@pytest.mark.parametrize("mode", MODES)
def test_the_actions_of_a_mode_are_worked_through(mode: str) -> None:
    text = section(page(mode), "Order sequence")
    wanted = {"entry_full", "exit_partial", "exit_full"}
    if "directional" not in mode:
        wanted |= {"entry_partial"}
    if "wallet:BaseToken:EIGEN" in mode_config(mode).position_subscriptions:
        wanted |= {"sell_dust"}
    assert all(f"\n### {name}" in text for name in wanted)
    assert "The formulas, with the numbers" in text


def test_every_operation_is_worked_through_in_some_page() -> None:
    formulas = "".join(section(page(mode), "Order sequence").split("### The formulas")[1] for mode in MODES)
    assert all(f"| `{operation}`" in formulas for operation in OperationType)


@pytest.mark.parametrize("mode", MODES)
def test_what_a_golden_run_earned_or_paid_is_named_in_the_page(mode: str) -> None:
    golden = ROOT / "tests" / "golden" / f"{mode}.json"
    text = page(mode)
    named = set(re.findall(r"^\| `(\w+)` \|", section(text, "PnL attribution"), re.M))
    assert named
    if not golden.is_file():
        assert "no golden run" in section(text, "How to run it")
        return
    result = json.loads(golden.read_text(encoding="utf-8"))["expected"]["result"]
    assert {part for part, value in result["attribution"].items() if abs(value) > 1e-9} <= named


def test_every_component_has_a_page_and_words() -> None:
    names = {component.name for component in COMPONENTS}
    assert {path.stem for path in SPECS.glob("*.md")} - {"README"} == names
    assert {path.stem for path in (SPECS / "_prose").glob("*.md")} == names


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_a_component_page_has_every_section_and_names_files_that_exist(component: Any) -> None:
    text = (SPECS / f"{component.name}.md").read_text(encoding="utf-8")
    assert tuple(_HEADING.findall(text)) == COMPONENT_SECTIONS
    assert all(section(f"\n{text}", heading).strip() for heading in COMPONENT_SECTIONS)
    assert all((ROOT / path).is_file() for path in (*component.code, *component.tests))
    assert len(text.splitlines()) <= 100  # two screens


def test_no_service_venue_or_event_is_without_a_page() -> None:
    code = {path for component in COMPONENTS for path in component.code}
    services = {path.name for path in (ROOT / "services").iterdir() if path.is_dir()}
    assert {path.split("/")[1] for path in code if path.startswith("services/")} == services
    folder = "services/venues/src/basis/venues/interfaces"
    venues = {path.name for path in (ROOT / folder).iterdir() if (path / "__init__.py").is_file()}
    assert {path.removeprefix(folder).split("/")[1] for path in code if path.startswith(f"{folder}/")} >= venues
    assert {event for component in COMPONENTS for event in component.events} == set(EVENT_MODELS)


def test_an_error_of_a_component_is_in_its_page() -> None:
    text = (SPECS / "aave_v3.md").read_text(encoding="utf-8")
    assert all(f"| `{code}` |" in section(text, "Errors") for code in ("VEN-001", "VEN-008", "VEN-009"))
