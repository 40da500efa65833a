"""Which modes a catalogue feeds: every fault reported, none raised."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from basis.models.errors import InputError
from basis.venues.data.check import ModeReport, check_catalogue
from basis.venues.data.sample import write_sample

REPO = Path(__file__).resolve().parents[3]
CONFIGS = REPO / "configs"
REAL = Path(os.environ.get("BASIS_DATA", REPO / ".." / "shared" / "market-data"))
MODE = "pure_lending_usdt"
ORACLE, AAVE = "oracle/usdt_usd", "aave_v3/usdt"

Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "catalogue"
    write_sample(folder, years=1)
    return folder


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's configs with one mode only, so that a check is quick."""
    folder = tmp_path_factory.mktemp("configs")
    for name in ("venues", "share_classes"):
        shutil.copytree(CONFIGS / name, folder / name)
    (folder / "modes").mkdir()
    shutil.copy(CONFIGS / "modes" / f"{MODE}.yaml", folder / "modes")
    return folder


def changed(sound: Path, folder: Path, series: str, change: Change) -> Path:
    """A copy of the sample in which one series is changed."""
    shutil.copytree(sound, folder)
    path = folder / f"{series}.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    return folder


def without_rows(first: int, last: int) -> Change:
    return lambda table: pa.concat_tables([table.slice(0, first), table.slice(last)])


def with_value(field: str, row: int, value: float | None) -> Change:
    def change(table: pa.Table) -> pa.Table:
        values = table[field].to_pylist()
        values[row] = value
        return table.set_column(table.column_names.index(field), field, pa.array(values, type=pa.float64()))

    return change


def test_a_sound_catalogue_feeds_every_mode(sound: Path, tmp_path: Path) -> None:
    reports = check_catalogue(sound, CONFIGS, tmp_path / "cache")
    assert [report.mode for report in reports] == sorted(path.stem for path in (CONFIGS / "modes").glob("*.yaml"))
    for report in reports:
        assert (report.ok, report.faults) == (True, ()), report
        assert (report.first, report.last) == (datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
        assert report.series == tuple(sorted(report.series))
    assert (tmp_path / "cache").is_dir()


@pytest.mark.parametrize(
    ("series", "change", "code", "words"),
    [
        (ORACLE, lambda table: table.drop(["price_usd"]), "DATA-001", "no field 'price_usd'"),
        (ORACLE, lambda table: table.slice(0, 0), "DATA-001", "no rows"),
        (ORACLE, without_rows(10, 14), "DATA-003", "2022-01-10T00:00:00"),
        (ORACLE, with_value("price_usd", 10, None), "DATA-002", "null"),
        (ORACLE, with_value("price_usd", 10, -1.0), "DATA-002", "positive"),
        (ORACLE, with_value("price_usd", 10, float("inf")), "DATA-002", "finite"),
        (ORACLE, lambda table: pa.concat_tables([table.slice(0, 9), table.slice(8)]), "DATA-002", "comes twice"),
        (ORACLE, lambda table: table.take(pc.sort_indices(table["price_usd"])), "DATA-002", "not sorted"),
        (AAVE, without_rows(10, 14), "DATA-004", "2022-01-10T00:00:00+00:00 and 2022-01-15T00:00:00+00:00"),
        (AAVE, with_value("liquidity_index", 10, 1.0), "DATA-002", "falls"),
        ("gas/ethereum_fees", without_rows(100, 108), "DATA-003", "limit 14400 s"),
    ],
)
def test_each_fault_is_reported(
    sound: Path, configs: Path, tmp_path: Path, *, series: str, change: Change, code: str, words: str
) -> None:
    (report,) = check_catalogue(changed(sound, tmp_path / "data", series, change), configs)
    assert not report.ok
    assert {fault.series for fault in report.faults} == {series}
    assert any(fault.code == code and words in fault.message for fault in report.faults), report.faults


def test_all_gaps_of_a_series_are_named(sound: Path, configs: Path, tmp_path: Path) -> None:
    def twice(table: pa.Table) -> pa.Table:
        return without_rows(200, 204)(without_rows(10, 14)(table))

    (report,) = check_catalogue(changed(sound, tmp_path / "data", AAVE, twice), configs)
    gaps = [fault for fault in report.faults if fault.code == "DATA-004"]
    assert len(gaps) == 2
    assert report.first is not None


def test_signals_that_stop_are_named_once_with_both_ends(sound: Path, tmp_path: Path) -> None:
    mode = "ml_btc_directional_usdt_margin"
    for name in ("venues", "share_classes"):
        shutil.copytree(CONFIGS / name, tmp_path / "configs" / name)
    (tmp_path / "configs" / "modes").mkdir()
    shutil.copy(CONFIGS / "modes" / f"{mode}.yaml", tmp_path / "configs" / "modes")
    folder = changed(sound, tmp_path / "data", "signals/btc", without_rows(1000, 1200))
    (report,) = check_catalogue(folder, tmp_path / "configs")
    # side, confidence and sd: one fault each, however many pieces the gap is scanned in
    assert {(fault.code, fault.series) for fault in report.faults} == {("DATA-004", "signals/btc")}
    assert sorted(fault.message.split(":")[1].strip() for fault in report.faults) == ["confidence", "sd", "side"]


def test_missing_files_are_all_named_and_nothing_else(sound: Path, configs: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path / "data")
    for name in (ORACLE, AAVE):
        (tmp_path / "data" / f"{name}.parquet").unlink()
    (report,) = check_catalogue(tmp_path / "data", configs)
    assert [(fault.code, fault.series) for fault in report.faults] == [("DATA-001", AAVE), ("DATA-001", ORACLE)]
    assert (report.first, report.last) == (None, None)


def test_an_empty_folder_is_no_exception(configs: Path, tmp_path: Path) -> None:
    (report,) = check_catalogue(tmp_path / "nowhere", configs)
    assert {fault.series for fault in report.faults} == set(report.series)


def test_series_without_a_tick_in_common(sound: Path, configs: Path, tmp_path: Path) -> None:
    folder = changed(sound, tmp_path / "data", ORACLE, lambda table: table.slice(0, 2))
    path = folder / f"{AAVE}.parquet"
    pq.write_table(pq.read_table(path).slice(100), path)
    (report,) = check_catalogue(folder, configs)
    (fault,) = report.faults
    assert "in common" in fault.message
    assert report.first is None


def test_a_broken_configuration_is_an_error(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="CONFIG-002"):
        check_catalogue(sound, tmp_path)


@pytest.mark.skipif(not (REAL / f"{AAVE}.parquet").is_file(), reason=f"no market data at {REAL}: set BASIS_DATA")
def test_real_data_feeds_what_it_feeds() -> None:
    reports: dict[str, ModeReport] = {report.mode: report for report in check_catalogue(REAL, CONFIGS)}
    fed = {mode for mode, report in reports.items() if report.ok}
    assert fed == {"pure_lending_usdt", "pure_lending_eth", "eth_staking_only", "eth_leveraged"}
    for mode in ("pure_lending_usdt", "pure_lending_eth"):
        assert reports[mode].first == datetime(2024, 5, 12, tzinfo=UTC)
        assert reports[mode].last == datetime(2025, 3, 1, tzinfo=UTC)
    gaps = [fault for fault in reports["btc_basis"].faults if fault.series == "binance/btcusdt_spot_1h"]
    assert {fault.code for fault in gaps} == {"DATA-004"}
    assert len(gaps) == 7
    missing = {fault.series for fault in reports["btc_basis"].faults if fault.code == "DATA-001"}
    assert missing == {"bybit/btcusdt_funding", "bybit/btcusdt_perp_1h", "okx/btcusdt_funding", "okx/btcusdt_perp_1h"}
