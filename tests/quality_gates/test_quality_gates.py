"""The quality gates pass, and each of them can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.quality_gates import run_quality_gates as gates

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(gates.__file__)


@pytest.mark.parametrize("name", sorted(gates.GATES))
def test_gate_passes(name: str) -> None:
    done = subprocess.run([sys.executable, SCRIPT, name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_list_names_every_gate() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--list"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(gates.GATES)


@pytest.mark.parametrize("arguments", [["nonsense"], []])
def test_unknown_gate_or_none_exits_2(arguments: list[str]) -> None:
    assert gates.main(arguments) == 2


def test_gate_with_a_problem_exits_1_and_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gate() -> Iterator[str]:
        """A gate that always finds something."""
        yield "the sky is green"

    monkeypatch.chdir(Path.cwd())
    monkeypatch.setitem(gates.GATES, "gate", gate)
    assert gates.main(["gate"]) == 1
    assert "the sky is green" in capsys.readouterr().out


def test_gate_that_raises_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def gate() -> Iterator[str]:
        """A gate that breaks."""
        yield from ()
        raise RuntimeError("no")

    monkeypatch.setitem(gates.GATES, "gate", gate)
    assert gates.judge("gate").problems == ("the gate itself failed: RuntimeError: no",)


def test_missing_page_and_missing_word_are_problems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gates, "REPO", tmp_path)
    page = tmp_path / "page.md"
    assert list(gates.lacking(page, ["POS-001"])) == ["page.md is missing"]
    page.write_text("POS-001 is here, XPOS-002 and POS-0031 are others")
    assert list(gates.lacking(page, ["POS-001", "POS-002", "POS-003"])) == [
        "page.md does not mention POS-002",
        "page.md does not mention POS-003",
    ]


def test_subject_spelled_out_is_a_problem() -> None:
    file = gates.REPO / "services" / "made_up.py"
    found = list(gates.stray_subjects({file: 'x = 1\nsubject = f"basis.{cid}.orders"\n'}))
    assert found == ["services/made_up.py:2 spells a subject out: use basis.runtime.subjects"]


def test_every_request_subject_exists() -> None:
    assert set(gates.subjects_of_the_bus()) >= gates.REQUESTS


def test_line_that_does_not_validate_is_a_problem() -> None:
    assert len(list(gates.wrong_lines({"positions": [{"order": 1}]}))) == 1
