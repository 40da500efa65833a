"""Columns are extracted once, shared by threads, safe to lose, and follow a run that goes on."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pytest
from tests.support.rundir import CID, flow, tick_events, write_metadata, write_run

from basis.models.errors import ComponentError
from basis.results import cache as cache_module
from basis.results import extract
from basis.results.cache import ColumnCache
from basis.results.core import metrics
from basis.results.reader import Results

if TYPE_CHECKING:
    import polars as pl

    from basis.results.directories import RunDir
    from basis.results.lines import EventFile

EQUITY = [1000.0, 990.0, 1310.0, 1290.0]
FLOWS = {2: 300.0}


def equity(results: Results) -> list[float]:
    return list(results.curves(CID, ["equity"])["columns"]["equity"])


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the groups that are read from event files from now on."""
    read: list[str] = []
    real = extract.read

    def counted(file: EventFile, group: extract.Group, start: int = 0) -> pl.DataFrame:
        read.append(group.name)
        return real(file, group, start)

    monkeypatch.setattr(extract, "read", counted)
    return read


def test_columns_are_read_once_and_then_come_from_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "logs", EQUITY, FLOWS)
    read = count_reads(monkeypatch)
    first = Results(tmp_path / "logs", tmp_path / "cache")
    found = first.curves(CID, ["equity", "capital", "drawdown"])
    assert found["columns"]["equity"].tolist() == EQUITY
    assert found["columns"]["capital"].tolist() == [1000.0, 1000.0, 1300.0, 1300.0]
    assert found["columns"]["drawdown"][1] == pytest.approx(-0.01)
    first.curves(CID, ["equity"])
    assert read == ["equity"]
    again = Results(tmp_path / "logs", tmp_path / "cache").curves(CID, ["equity", "capital", "drawdown"])
    assert read == ["equity"]
    for name, values in found["columns"].items():
        assert np.array_equal(again["columns"][name], values)


def test_threads_that_ask_at_once_make_one_extraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "logs", EQUITY)
    read = count_reads(monkeypatch)
    results = Results(tmp_path / "logs", tmp_path / "cache")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: equity(results), range(32)))
    assert found == [EQUITY] * 32
    assert read == ["equity"]


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not parquet"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: bytes) -> None:
    write_run(tmp_path / "logs", EQUITY)
    equity(Results(tmp_path / "logs", tmp_path / "cache"))
    (file,) = (tmp_path / "cache").rglob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert equity(Results(tmp_path / "logs", tmp_path / "cache")) == EQUITY
    assert file.read_bytes() == whole
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["equity.parquet"]


def test_the_cache_may_be_deleted_at_any_time(tmp_path: Path) -> None:
    write_run(tmp_path / "logs", EQUITY)
    results = Results(tmp_path / "logs", tmp_path / "cache")
    assert equity(results) == EQUITY
    shutil.rmtree(tmp_path / "cache")
    assert equity(results) == EQUITY
    assert equity(Results(tmp_path / "logs", tmp_path / "cache")) == EQUITY


def test_nothing_is_kept_of_a_run_that_is_deleted_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Curves are prepared when a run is sealed; whoever deletes it at once leaves none behind."""
    run = write_run(tmp_path / "logs", EQUITY, FLOWS)
    results = Results(tmp_path / "logs", tmp_path / "cache")
    real = extract.read

    def read_and_deleted(file: EventFile, group: extract.Group, start: int = 0) -> pl.DataFrame:
        frame = real(file, group, start)
        shutil.rmtree(tmp_path / "logs" / CID)
        results.forget(CID)
        return frame

    monkeypatch.setattr(extract, "read", read_and_deleted)
    results.cache.get(*results.open(CID), "exposure")
    assert not run.path.exists()
    assert not (tmp_path / "cache" / CID).exists()


def test_logs_and_cache_may_be_read_only(tmp_path: Path) -> None:
    """A file where the cache should be: root may write into a read-only folder, but not below a file."""
    write_run(tmp_path / "logs", EQUITY)
    (tmp_path / "cache").write_text("in the way")
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "logs").rglob("*"))
    for path in (tmp_path / "logs").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    results = Results(tmp_path / "logs", tmp_path / "cache")
    assert equity(results) == EQUITY
    results.report(CID)
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "logs").rglob("*")) == before
    assert (tmp_path / "cache").read_text() == "in the way"


def append(run: RunDir, tick: int, value: float, capital: float, *, torn: int = 0) -> None:
    """One more tick on disk; ``torn`` bytes of its last lines are still to come."""
    for name, one in tick_events(tick, value, capital).items():
        with run.event_file(name).open("ab") as file:
            line = orjson.dumps(one) + b"\n"
            file.write(line[: len(line) - torn])


def test_a_run_that_goes_on_is_read_on_from_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "logs", EQUITY[:2], sealed=False)
    results = Results(tmp_path / "logs", tmp_path / "cache")
    starts: list[int] = []
    real = extract.read

    def seen(file: EventFile, group: extract.Group, start: int = 0) -> pl.DataFrame:
        starts.append(start)
        return real(file, group, start)

    monkeypatch.setattr(extract, "read", seen)
    assert equity(results) == EQUITY[:2]
    size = run.event_file("exposures").stat().st_size
    append(run, 2, 1010.0, 1000.0)
    assert equity(results) == [*EQUITY[:2], 1010.0]
    append(run, 3, 1311.0, 1300.0)
    (run.events / "execution_deltas.jsonl").write_bytes(orjson.dumps(flow(3, 300.0)) + b"\n")
    found = results.curves(CID, ["equity", "capital", "pnl"])
    assert found["columns"]["capital"].tolist() == [1000.0, 1000.0, 1000.0, 1300.0]
    assert found["columns"]["pnl"].tolist() == [0.0, -10.0, 10.0, 11.0]
    assert starts[:2] == [0, size]
    append(run, 4, 1312.0, 1300.0, torn=7)
    assert len(equity(results)) == 4, "half a line is no tick"
    assert not (tmp_path / "cache").exists(), "only sealed runs are kept on disk"


def test_a_tick_that_trades_while_it_is_looked_at_is_replaced(tmp_path: Path) -> None:
    run = write_run(tmp_path / "logs", EQUITY[:2], sealed=False)
    results = Results(tmp_path / "logs")
    assert equity(results) == EQUITY[:2]
    after = tick_events(1, 980.0, 1000.0)["exposures"]
    with run.event_file("exposures").open("ab") as file:
        file.write(orjson.dumps(after | {"order": after["order"] + 620_000}) + b"\n")
    assert equity(results) == [1000.0, 980.0]


def test_the_columns_of_a_run_that_was_sealed_are_those_of_its_seal(tmp_path: Path) -> None:
    run = write_run(tmp_path / "logs", EQUITY[:3], sealed=False)
    results = Results(tmp_path / "logs", tmp_path / "cache")
    assert equity(results) == EQUITY[:3]
    append(run, 3, 1290.0, 1000.0)
    write_metadata(run, 4)
    assert equity(results) == EQUITY
    assert len(list((tmp_path / "cache").rglob("*.parquet"))) == 1
    results.forget(CID)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"{", b'{"metrics": 5}'])
def test_metrics_are_derived_once_and_again_where_their_file_is_damaged(
    tmp_path: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "logs", EQUITY, FLOWS)
    report = Results(tmp_path / "logs", tmp_path / "cache").report(CID)
    assert report.net_flows == 300.0
    (file,) = (tmp_path / "cache").rglob("derived.json")
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert Results(tmp_path / "logs", tmp_path / "cache").report(CID) == report
    assert file.read_bytes() == whole
    monkeypatch.setattr(metrics, "compute", None)  # whoever calls it now fails
    assert Results(tmp_path / "logs", tmp_path / "cache").report(CID) == report
    assert not list((tmp_path / "cache").rglob(".*")), "nothing half-written stays"


def test_what_is_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_IN_MEMORY", 500)  # bytes: four ticks of one column are 32
    write_run(tmp_path / "logs", EQUITY)
    results = Results(tmp_path / "logs")
    opened = results.open(CID)
    for group in ("equity", "risk", "attribution", "position"):
        results.cache.get(*opened, group)
    kept = results.cache._kept
    assert [key[-1] for key in kept][-1] == "position"
    assert 1 <= len(kept) < 4
    assert len(kept) == 1 or sum(one.frame.estimated_size() for one in kept.values()) <= 500


def test_a_file_cut_short_after_its_seal_is_an_error_not_a_curve(tmp_path: Path) -> None:
    run = write_run(tmp_path / "logs", EQUITY)
    results = Results(tmp_path / "logs", tmp_path / "cache")
    assert equity(results) == EQUITY
    file = run.event_file("exposures")
    os.truncate(file, file.stat().st_size - 1)
    for reader in (results, Results(tmp_path / "logs", tmp_path / "cache"), Results(tmp_path / "logs")):
        with pytest.raises(ComponentError, match=r"LOG-004.*exposures.jsonl has .* bytes, sealed with"):
            equity(reader)
    file.unlink()
    with pytest.raises(ComponentError, match="is missing"):
        equity(results)


def test_without_a_folder_everything_stays_in_memory(tmp_path: Path) -> None:
    run = write_run(tmp_path / "logs", EQUITY)
    cache = ColumnCache(None)
    metadata = Results(tmp_path / "logs").open(CID).metadata
    frame = cache.get(run, metadata, "equity")
    assert cache.get(run, metadata, "equity") is frame


def test_a_long_run_answers_with_little(tmp_path: Path) -> None:
    """Its first picture, and what an export holds at once, do not grow with the run."""
    ticks = 6_000
    write_run(tmp_path / "logs", [1000.0 + (tick * 7919 % 1000) / 7 for tick in range(ticks)])
    results = Results(tmp_path / "logs", tmp_path / "cache")
    drawn = results.curves(CID, ["equity", "drawdown"])
    assert drawn["total_ticks"] == ticks
    assert drawn["method"] == "m4"
    assert len(orjson.dumps(drawn, option=orjson.OPT_SERIALIZE_NUMPY)) < 150_000
    assert len(results.report(CID).model_dump_json()) < 50_000
    size = sum(path.stat().st_size for path in (tmp_path / "logs").rglob("*") if path.is_file())
    pieces = [len(piece) for piece in results.export(CID)]
    assert size > 8_000_000
    assert max(pieces) < 3_000_000


def test_an_export_that_nobody_reads_to_its_end_leaves_nothing_open(tmp_path: Path) -> None:
    write_run(tmp_path / "logs", [1000.0] * 2000)
    pieces = Results(tmp_path / "logs").export(CID)
    next(iter(pieces))
    pieces.close()  # type: ignore[attr-defined]
    opened = [
        file for fd in Path("/proc/self/fd").iterdir() if (file := os.path.realpath(fd)).startswith(str(tmp_path))
    ]
    assert opened == []
