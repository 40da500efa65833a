"""Directories that are truncated, damaged or somebody else's: one clear error each, and the others stay readable."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rundir import CID, KEYS, PID, tick_events, write_run
from tests.unit.results.test_joined import execution, order, reconciliation

from basis.models.errors import ComponentError, InputError
from basis.results.reader import Results

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.results.directories import RunDir

ORDER = order(1, 0)
EVERY_TICK = tick_events(0, 1.0, 1.0)
LINES: dict[str, list[dict[str, Any]]] = {name: [] for name in EVERY_TICK} | {
    "orders": [ORDER],
    "operation_executions": [execution(ORDER, "confirmed", {KEYS[0]: -100.0})],
    "reconciliations": [ORDER | reconciliation(ORDER["operation_id"], ORDER["order"] + 5, success=True)],
    "execution_deltas": [],
}
EQUITY = [1000.0, 990.0, 1010.0]
OTHER = "f" * 32


def rewrite(run: RunDir, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the metadata."""
    found = orjson.loads(run.metadata.read_bytes())
    change(found)
    run.metadata.write_bytes(orjson.dumps(found))


def damage_line(run: RunDir, event_type: str, bad: bytes) -> None:
    """Replace the beginning of a file's middle line, its length kept."""
    content = run.event_file(event_type).read_bytes()
    place = content.index(b"\n") + 1
    run.event_file(event_type).write_bytes(content[:place] + bad + content[place + len(bad) :])


DAMAGES: dict[str, tuple[Callable[[RunDir], object], str]] = {
    "metadata is empty": (lambda run: run.metadata.write_bytes(b""), "run_metadata.json"),
    "metadata is cut": (lambda run: run.metadata.write_bytes(run.metadata.read_bytes()[:100]), "run_metadata.json"),
    "metadata is no object": (lambda run: run.metadata.write_bytes(b"[]"), "run_metadata.json"),
    "metadata lacks a field": (lambda run: rewrite(run, lambda found: found.pop("strategy")), "strategy"),
    "metadata has NaN": (
        lambda run: run.metadata.write_bytes(run.metadata.read_bytes().replace(b"1000.0", b"NaN")),
        "initial_capital",
    ),
    "metadata of another run": (lambda run: rewrite(run, lambda found: found.update(correlation_id=OTHER)), OTHER),
    "metadata of another process": (lambda run: rewrite(run, lambda found: found.update(pid=99)), "pid 99"),
    "exposures are cut": (
        lambda run: run.event_file("exposures").write_bytes(run.event_file("exposures").read_bytes()[:-50]),
        "exposures.jsonl",
    ),
    "exposures are missing": (lambda run: run.event_file("exposures").unlink(), "exposures.jsonl"),
    "a line is no JSON": (lambda run: damage_line(run, "exposures", b"!!!!"), "exposures.jsonl"),
    "a line has no order": (
        lambda run: damage_line(run, "exposures", b'{"correlation_id_____'), "exposures.jsonl"
    ),
    "the last line is no event": (
        lambda run: run.event_file("pnl_calculations").write_bytes(
            (b"x" * (run.event_file("pnl_calculations").stat().st_size - 1)) + b"\n"
        ),
        "pnl_calculations.jsonl",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_error(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "logs", EQUITY)
    damage, says = DAMAGES[name]
    damage(run)
    for read in (lambda results: results.report(CID), lambda results: b"".join(results.export(CID))):
        with pytest.raises(ComponentError) as caught:
            read(Results(tmp_path / "logs", tmp_path / "cache"))
        assert caught.value.error_code == "LOG-004"
        assert says in caught.value.message
        assert str(run.path) in caught.value.message
        assert "\n" not in caught.value.message
        assert len(caught.value.message) < 600


PLACES = st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4)


@settings(max_examples=40)
@given(event_type=st.sampled_from(sorted(LINES)), places=PLACES)
def test_whatever_the_bytes_are_there_is_an_answer_or_one_clear_error(
    event_type: str, places: list[tuple[int, bytes]]
) -> None:
    with TemporaryDirectory() as folder:
        run = write_run(
            Path(folder), EQUITY, {1: 5.0}, extra={name: LINES[name] for name in LINES if name not in EVERY_TICK}
        )
        file = run.event_file(event_type)
        content = bytearray(file.read_bytes())
        for place, bad in places:
            begin = place % len(content)
            content[begin : begin + len(bad)] = bad[: len(content) - begin]
        file.write_bytes(bytes(content))
        results = Results(Path(folder))
        columns = ["equity", "pnl", "health_factor", f"position.{KEYS[0]}", "exposure.USDT"]
        for read in (
            lambda: results.report(CID),
            lambda: results.curves(CID, columns),
            lambda: results.at(CID, 1),
            lambda: results.orders(CID),
            lambda: results.events(CID, text="supply"),
            lambda: results.pnl(CID),
            lambda: results.tearsheet(CID),
        ):
            try:
                read()
            except ComponentError as error:
                assert error.error_code in {"LOG-004", "CONFIG-003"}, error
                assert "\n" not in error.message
        results.registry.with_sparkline(results.registry.summaries()[CID])


def test_a_damaged_run_is_in_the_list_and_the_others_too(tmp_path: Path) -> None:
    good = write_run(tmp_path, EQUITY)
    bad = tmp_path / OTHER / str(PID)
    shutil.copytree(good.path, bad)
    results = Results(tmp_path)
    found = results.registry.summaries()
    assert found[CID].status == "completed"
    assert found[CID].error_code is None
    (bad / "run_metadata.json").write_bytes(b"{")
    found = results.registry.summaries()
    assert (found[OTHER].status, found[OTHER].error_code, found[OTHER].strategy) == ("failed", "LOG-004", "?")
    assert results.registry.with_sparkline(found[OTHER]).sparkline is None
    assert results.registry.with_sparkline(found[CID]).sparkline == tuple(EQUITY)
    shutil.rmtree(tmp_path / OTHER)
    assert results.registry.summaries().keys() == {CID}


def test_a_run_that_nobody_else_knows_shows_how_far_it_is(tmp_path: Path) -> None:
    write_run(tmp_path, EQUITY, sealed=False, end_time="2024-05-12T09:00:00Z")
    registry = Results(tmp_path).registry
    found = registry.with_sparkline(registry.summaries()[CID])
    assert (found.status, found.ticks, found.total_ticks, found.progress) == ("running", 3, 10, 0.3)
    assert (found.final_value, found.sparkline) == (EQUITY[-1], tuple(EQUITY))


def test_what_is_no_run_is_not_in_the_list(tmp_path: Path) -> None:
    write_run(tmp_path, EQUITY)
    for name in ("a", ".event-logger", ".removed-" + OTHER, OTHER, "E" * 32, "f" * 31):
        (tmp_path / name).mkdir()
    (tmp_path / ("e" * 32)).write_text("a file")
    (tmp_path / OTHER / "x").mkdir()
    (tmp_path / OTHER / "12").mkdir()
    assert Results(tmp_path).registry.summaries().keys() == {CID}
    assert Results(tmp_path / "none").registry.summaries() == {}


@pytest.mark.parametrize("cid", ["", "..", "../" + CID, CID.upper() + "A", CID + "/", CID + "\n", "0" * 32, "%2e%2e"])
def test_ids_that_are_none_touch_no_path(tmp_path: Path, cid: str) -> None:
    write_run(tmp_path, EQUITY)
    with pytest.raises(InputError, match="RUN-001"):
        Results(tmp_path).report(cid)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_run_that_failed_has_the_curves_that_it_came_to(tmp_path: Path, status: str) -> None:
    write_run(
        tmp_path,
        EQUITY,
        status=status,
        error_code="VEN-003",
        error="the venue is gone",
        end_time="2024-06-12T00:00:00Z",
    )
    report = Results(tmp_path).report(CID)
    assert (report.status, report.error_code, report.ticks, report.total_ticks) == (status, "VEN-003", 3, 745)
    assert report.metrics is not None
    assert report.metrics.total_return == pytest.approx(0.01)
    assert report.progress == pytest.approx(3 / 745)


def test_a_run_that_failed_before_its_first_tick_has_a_page(tmp_path: Path) -> None:
    write_run(tmp_path, [], status="failed", error_code="DATA-001", error="nothing there")
    results = Results(tmp_path)
    report = results.report(CID)
    assert (report.metrics, report.ticks, report.sparkline, report.attribution) == (None, 0, None, {})
    assert results.events(CID).items == []
    assert results.orders(CID).total == 0
    assert results.pnl(CID).days == []
    assert results.charts(CID).charts == []
    assert "nothing there" in results.tearsheet(CID)
    curves = results.curves(CID, ["equity"])
    assert (curves["total_ticks"], len(curves["columns"]["equity"]), curves["method"]) == (0, 0, "raw")
    with pytest.raises(InputError, match="none yet"):
        results.at(CID, 0)
