"""The catalogue: reading, refusing, caching."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basis.models.errors import InputError
from basis.models.market import Feed, FeedKind
from basis.runtime.config_loader import load
from basis.venues.core.availability import columns
from basis.venues.data import cache
from basis.venues.data.catalogue import Catalogue, describe

REPO = Path(__file__).resolve().parents[3]
REAL = Path(os.environ.get("BASIS_DATA", REPO / ".." / "shared" / "market-data"))
needs_real_data = pytest.mark.skipif(
    not (REAL / "aave_v3" / "usdt.parquet").is_file(), reason=f"no market data at {REAL}: set BASIS_DATA"
)
HOUR = 3_600_000
T0 = datetime(2024, 5, 12, tzinfo=UTC)
T0_MS = int(T0.timestamp() * 1000)
SNAPSHOT = Feed(
    column="price_usd:USDT", series="oracle/usdt_usd", field="price_usd", kind=FeedKind.SNAPSHOT, period_s=3600
)
BAR = Feed(column="spot:x:Y", series="x/y_spot_1h", field="open", kind=FeedKind.BAR, period_s=3600)
INDEX = Feed(column="liquidity_index:USDT", series="aave_v3/usdt", field="li", kind=FeedKind.INDEX, period_s=7200)
REWARD = Feed(column="reward", series="r/r", field="paid", kind=FeedKind.REWARD, period_s=3600)


def put(root: Path, series: str, stamps: Any, **fields: Any) -> Path:
    """Write a series; stamps in hours after T0 unless already an Arrow array."""
    if not isinstance(stamps, pa.Array):
        stamps = pa.array([T0 + timedelta(hours=hours) for hours in stamps], type=pa.timestamp("ms", tz="UTC"))
    path = root / f"{series}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"timestamp": stamps, **fields}), path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    put(folder, "oracle/usdt_usd", range(4), price_usd=[1.0, 1.01, 0.99, 1.0], other=[1, None, 3, 4], label=["a"] * 4)
    put(folder, "x/y_spot_1h", range(4), open=[1.0, 2.0, 3.0, 4.0], close=[1.5, 2.5, 3.5, 4.5])
    put(folder, "aave_v3/usdt", [0, 2, 4], li=[1.0, 1.21, 1.44])
    return folder


@pytest.fixture
def catalogue(root: Path, tmp_path: Path) -> Catalogue:
    return Catalogue(root, tmp_path / "cache" / "columns")


def refused(code: str, catalogue: Catalogue, *feeds: Feed) -> str:
    with pytest.raises(InputError) as caught:
        catalogue.open(feeds)
    assert caught.value.error_code == code
    assert caught.value.component == "market_data"
    return caught.value.message


class TestReading:
    def test_columns_by_name(self, catalogue: Catalogue) -> None:
        market = catalogue.open((SNAPSHOT, BAR, INDEX))
        found = market.columns(T0_MS, HOUR, 5)
        assert found["price_usd:USDT"].tolist() == [1.0, 1.01, 0.99, 1.0, 1.0]
        assert found["spot:x:Y"].tolist() == [1.0, 2.0, 3.0, 4.0, 4.5]
        assert found["liquidity_index:USDT"].tolist() == pytest.approx([1.0, 1.1, 1.21, math.sqrt(1.21 * 1.44), 1.44])
        assert all(column.dtype == np.float64 for column in found.values())

    def test_the_second_opening_maps_the_cache(self, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
        first = catalogue.open((SNAPSHOT, BAR))
        monkeypatch.setattr("basis.venues.data.catalogue._parse", None)
        second = catalogue.open((SNAPSHOT, BAR))
        assert second.data_sha256 == first.data_sha256
        assert second.columns(T0_MS, HOUR, 4)["spot:x:Y"].tolist() == [1.0, 2.0, 3.0, 4.0]
        base = second.rows["spot:x:Y"].values
        assert type(base) is np.ndarray
        assert not base.flags.writeable

    def test_without_cache_folder(self, root: Path) -> None:
        assert Catalogue(root).open((SNAPSHOT,)).columns(T0_MS, HOUR, 1)["price_usd:USDT"].tolist() == [1.0]

    def test_pyarrow_is_not_imported_from_a_warm_cache(self, catalogue: Catalogue) -> None:
        catalogue.open((SNAPSHOT,))
        code = (
            "import sys; from pathlib import Path; from basis.models.market import Feed;"
            "from basis.venues.data.catalogue import Catalogue;"
            f"feed = Feed.model_validate_json({SNAPSHOT.model_dump_json()!r});"
            f"Catalogue(Path({str(catalogue.root)!r}), Path({str(catalogue.cache_dir)!r})).open((feed,));"
            "assert 'pyarrow' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_data_sha256_is_that_of_the_lines_of_the_series_used(self, catalogue: Catalogue) -> None:
        market = catalogue.open((SNAPSHOT, BAR))
        lines = ""
        for name in ("oracle/usdt_usd", "x/y_spot_1h"):
            digest = hashlib.sha256((catalogue.root / f"{name}.parquet").read_bytes()).hexdigest()
            lines += f"{name} {digest}\n"
        assert market.data_sha256 == hashlib.sha256(lines.encode()).hexdigest()
        assert catalogue.open((BAR, SNAPSHOT)).data_sha256 == market.data_sha256
        assert catalogue.open((SNAPSHOT,)).data_sha256 != market.data_sha256

    def test_nulls_of_a_field_are_nan_and_harm_only_who_reads_them(self, catalogue: Catalogue) -> None:
        other = SNAPSHOT.model_copy(update={"field": "other", "column": "other"})
        market = catalogue.open((other,))
        assert market.columns(T0_MS, 2 * HOUR, 2)["other"].tolist() == [1.0, 3.0]
        with pytest.raises(InputError, match="null") as caught:
            market.check(T0_MS, T0_MS + 3 * HOUR, HOUR)
        assert caught.value.error_code == "DATA-002"

    def test_finer_stamps_are_read_where_they_are_whole_milliseconds(self, root: Path) -> None:
        stamps = pa.array([T0, T0 + timedelta(hours=1)], type=pa.timestamp("ns", tz="Europe/Paris"))
        put(root, "oracle/usdt_usd", stamps, price_usd=[1.0, 1.1])
        assert Catalogue(root).open((SNAPSHOT,)).columns(T0_MS, HOUR, 2)["price_usd:USDT"].tolist() == [1.0, 1.1]

    def test_a_reward_without_rows(self, catalogue: Catalogue) -> None:
        put(catalogue.root, "r/r", [], paid=pa.array([], type=pa.float64()))
        market = catalogue.open((REWARD,))
        assert market.columns(T0_MS, HOUR, 2)["reward"].tolist() == [0.0, 0.0]
        with pytest.raises(InputError, match="only payments"):
            market.coverage(3600)


class TestBarsAndSignals:
    def feed(self, kind: FeedKind, field: str) -> Feed:
        return Feed(column=f"perp_{field}:x:Y", series="x/y_perp_1h", field=field, kind=kind, period_s=3600)

    def test_closes_highs_and_lows_are_of_one_file(self, catalogue: Catalogue) -> None:
        bars = {"open": [1.0, 2.0], "high": [1.9, 2.9], "low": [0.9, 1.9], "close": [1.5, 2.5]}
        put(catalogue.root, "x/y_perp_1h", range(2), **bars)
        feeds = tuple(self.feed(kind, str(kind)) for kind in (FeedKind.CLOSE, FeedKind.HIGH, FeedKind.LOW))
        for _ in range(2):  # cold, then cached
            market = catalogue.open(feeds)
            assert {name: column.tolist() for name, column in market.columns(T0_MS, HOUR, 3).items()} == {
                "perp_close:x:Y": [1.0, 1.5, 2.5],
                "perp_high:x:Y": [1.0, 1.9, 2.9],
                "perp_low:x:Y": [1.0, 0.9, 1.9],
            }
        assert market.columns(T0_MS + HOUR, HOUR, 1)["perp_high:x:Y"].tolist() == [1.9]
        notes = describe(market, T0_MS)
        assert len(notes) == 3
        assert all("until 2024-05-12T01:00:00+00:00 the open of the first bar" in note for note in notes)
        assert describe(market, T0_MS + HOUR) == ()

    def test_a_high_needs_its_field(self, catalogue: Catalogue) -> None:
        put(catalogue.root, "x/y_perp_1h", range(2), open=[1.0, 2.0], close=[1.5, 2.5])
        assert "no field 'high'" in refused("DATA-001", catalogue, self.feed(FeedKind.HIGH, "high"))

    def test_signals_that_stop_between_two_ticks_are_found_by_the_check_alone(self, catalogue: Catalogue) -> None:
        feed = Feed(
            column="signal_side",
            series="signals/btc",
            field="side",
            kind=FeedKind.SIGNAL,
            period_s=60,
            max_staleness_s=600,
        )
        put(catalogue.root, "signals/btc", [0, 1, 2], side=[1.0, 0.0, -1.0])
        market = catalogue.open((feed,))
        assert market.columns(T0_MS, HOUR, 3)["signal_side"].tolist() == [1.0, 0.0, -1.0]
        with pytest.raises(InputError, match="gap of 3600 s") as caught:
            market.check(T0_MS, T0_MS + 2 * HOUR, HOUR)
        assert caught.value.error_code == "DATA-004"


class TestRefusing:
    def test_missing_file_names_its_path(self, catalogue: Catalogue) -> None:
        assert str(catalogue.root / "r" / "r.parquet") in refused("DATA-001", catalogue, REWARD)

    @pytest.mark.parametrize("field", ["nothing", "label", "timestamp"])
    def test_missing_field_names_those_there_are(self, catalogue: Catalogue, field: str) -> None:
        for _ in range(2):  # cold, then cached
            message = refused("DATA-001", catalogue, SNAPSHOT.model_copy(update={"field": field}))
            assert f"'{field}'" in message
            assert message.endswith("it has: other, price_usd")

    @pytest.mark.parametrize("series", ["../secret", "/etc/passwd", "a//b", "a/", "", "a\\b", "a/../b", "a\n"])
    def test_a_series_never_leaves_the_folder(self, catalogue: Catalogue, series: str) -> None:
        assert "is not a series" in refused("DATA-001", catalogue, SNAPSHOT.model_copy(update={"series": series}))

    def test_a_folder_in_place_of_the_file(self, catalogue: Catalogue) -> None:
        (catalogue.root / "r" / "r.parquet").mkdir(parents=True)
        assert "cannot be read" in refused("DATA-001", catalogue, REWARD)

    @pytest.mark.parametrize(
        ("hours", "what"),
        [([0, 1, 1], "2024-05-12T01:00:00+00:00 comes twice"), ([0, 2, 1], "2024-05-12T01:00:00+00:00 comes after")],
    )
    def test_duplicates_and_disorder_name_file_and_time(
        self, catalogue: Catalogue, hours: list[int], what: str
    ) -> None:
        path = put(catalogue.root, "r/r", hours, paid=[1.0, 2.0, 3.0])
        for _ in range(2):
            message = refused("DATA-002", catalogue, REWARD)
            assert str(path) in message
            assert what in message

    @pytest.mark.parametrize(
        ("stamps", "what"),
        [
            (pa.array([1, 2]), "is int64"),
            (pa.array([T0, T0 + timedelta(hours=1)], type=pa.timestamp("ms")), "expected timestamp"),
            (pa.array([T0, None], type=pa.timestamp("ms", tz="UTC")), "null in 1 rows"),
            (pa.array([T0, T0 + timedelta(microseconds=1)], type=pa.timestamp("us", tz="UTC")), "finer"),
        ],
    )
    def test_unusable_stamps(self, catalogue: Catalogue, stamps: pa.Array, what: str) -> None:
        put(catalogue.root, "r/r", stamps, paid=[1.0, 2.0])
        assert what in refused("DATA-002", catalogue, REWARD)

    def test_no_stamps(self, catalogue: Catalogue) -> None:
        path = catalogue.root / "r.parquet"
        pq.write_table(pa.table({"time": [1], "paid": [1.0]}), path)
        message = refused("DATA-002", catalogue, REWARD.model_copy(update={"series": "r"}))
        assert "it has: time, paid" in message

    @pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"\0" * 100])
    def test_not_parquet(self, catalogue: Catalogue, content: bytes) -> None:
        (catalogue.root / "bad.parquet").write_bytes(content)
        assert "not readable as Parquet" in refused("DATA-002", catalogue, REWARD.model_copy(update={"series": "bad"}))


class TestCache:
    def entry(self, catalogue: Catalogue) -> Path:
        assert catalogue.cache_dir is not None
        (found,) = catalogue.cache_dir.iterdir()
        return found

    def expect_sound(self, catalogue: Catalogue) -> None:
        assert catalogue.open((SNAPSHOT,)).columns(T0_MS, HOUR, 2)["price_usd:USDT"].tolist() == [1.0, 1.01]

    def test_an_entry_is_named_by_content_and_leaves_no_drafts(self, catalogue: Catalogue) -> None:
        self.expect_sound(catalogue)
        entry = self.entry(catalogue)
        assert entry.name == cache.file_sha256(catalogue.root / "oracle/usdt_usd.parquet")
        names = {path.name for path in entry.iterdir()}
        assert names == {"timestamp.npy", "price_usd.npy", "other.npy", "manifest.json"}

    @pytest.mark.parametrize("name", ["timestamp.npy", "price_usd.npy", "manifest.json"])
    @pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone"])
    def test_a_broken_entry_is_made_again(self, catalogue: Catalogue, name: str, harm: str) -> None:
        self.expect_sound(catalogue)
        path = self.entry(catalogue) / name
        content = path.read_bytes()
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes({"flip": content[:-1] + b"\x55", "cut": content[:-1], "empty": b""}[harm])
        self.expect_sound(catalogue)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("manifest", [[], {"format": 0}, {"format": 2}, {"format": 2, "columns": []}, {}, 7])
    def test_a_strange_manifest_is_not_trusted(self, catalogue: Catalogue, manifest: object) -> None:
        self.expect_sound(catalogue)
        (self.entry(catalogue) / "manifest.json").write_text(json.dumps(manifest))
        self.expect_sound(catalogue)

    def test_a_changed_file_is_another_entry(self, catalogue: Catalogue) -> None:
        self.expect_sound(catalogue)
        put(catalogue.root, "oracle/usdt_usd", [0], price_usd=[2.0])
        assert catalogue.open((SNAPSHOT,)).columns(T0_MS, HOUR, 1)["price_usd:USDT"].tolist() == [2.0]

    def test_a_folder_that_cannot_be_written(self, catalogue: Catalogue) -> None:
        assert catalogue.cache_dir is not None
        catalogue.cache_dir.parent.write_text("a file in the way")
        self.expect_sound(catalogue)

    def test_a_file_where_the_entry_would_be(self, catalogue: Catalogue) -> None:
        assert catalogue.cache_dir is not None
        catalogue.cache_dir.mkdir(parents=True)
        (catalogue.cache_dir / cache.file_sha256(catalogue.root / "oracle/usdt_usd.parquet")).write_text("in the way")
        self.expect_sound(catalogue)
        assert len(list(catalogue.cache_dir.iterdir())) == 1

    def test_a_full_disk(self, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "save", full)
        self.expect_sound(catalogue)
        assert catalogue.cache_dir is not None
        assert list(catalogue.cache_dir.iterdir()) == []

    def test_another_writer_may_be_first(self, tmp_path: Path) -> None:
        columns = {"timestamp": np.array([1, 2]), "a": np.array([0.5, 1.5])}
        assert cache.store(tmp_path, "k", columns)
        assert cache.store(tmp_path, "k", columns)
        assert [path.name for path in tmp_path.iterdir()] == ["k"]
        found = cache.load(tmp_path, "k", ["a", "b"])
        assert found is not None
        assert found[0]["a"].tolist() == [0.5, 1.5]
        assert found[1] == ("a",)

    def test_losing_every_race_still_reads(self, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cache, "load", lambda *_: None)
        self.expect_sound(catalogue)


class TestRange:
    def test_coverage_is_what_all_reach_to_on_whole_steps(self, catalogue: Catalogue) -> None:
        assert catalogue.open((SNAPSHOT, BAR, INDEX)).coverage(3600) == (T0_MS, T0_MS + 4 * HOUR)
        assert catalogue.open((SNAPSHOT, BAR)).coverage(3 * 3600) == (T0_MS, T0_MS + 3 * HOUR)
        with pytest.raises(InputError, match="no tick of 25200 s in common"):
            catalogue.open((SNAPSHOT, BAR)).coverage(7 * 3600)

    def test_nothing_in_common_names_both(self, catalogue: Catalogue) -> None:
        put(catalogue.root, "x/y_spot_1h", [100], open=[1.0], close=[1.0])
        with pytest.raises(InputError, match=r"x/y_spot_1h begins .* oracle/usdt_usd ends") as caught:
            catalogue.open((SNAPSHOT, BAR)).coverage(3600)
        assert caught.value.error_code == "DATA-001"

    @pytest.mark.parametrize(("first", "last"), [(-1, 2), (0, 5), (9, 12)])
    def test_outside_names_the_limits(self, catalogue: Catalogue, first: int, last: int) -> None:
        with pytest.raises(InputError) as caught:
            catalogue.open((SNAPSHOT, INDEX)).check(T0_MS + first * HOUR, T0_MS + last * HOUR, HOUR)
        assert caught.value.error_code == "DATA-001"
        assert "available is 2024-05-12T00:00:00+00:00 to 2024-05-12T04:00:00+00:00" in caught.value.message

    def test_backwards(self, catalogue: Catalogue) -> None:
        with pytest.raises(InputError, match="is after end"):
            catalogue.open((SNAPSHOT,)).check(T0_MS + HOUR, T0_MS, HOUR)

    def test_check_sees_every_tick_in_pieces(self, catalogue: Catalogue) -> None:
        put(catalogue.root, "oracle/usdt_usd", [0, 1, 500, 501], price_usd=[1.0] * 4)
        market = catalogue.open((SNAPSHOT,))
        market.check(T0_MS, T0_MS + 3 * HOUR, 60_000)
        market.check(T0_MS + 500 * HOUR, T0_MS + 502 * HOUR, 60_000)
        with pytest.raises(InputError) as caught:
            market.check(T0_MS, T0_MS + 502 * HOUR, 60_000)
        assert caught.value.error_code == "DATA-003"


def test_describe(catalogue: Catalogue) -> None:
    put(catalogue.root, "r/r", [0], paid=[1.0])
    late = SNAPSHOT.model_copy(update={"max_staleness_s": 9})
    assert describe(catalogue.open((late, BAR, INDEX, REWARD))) == (
        "price_usd:USDT: values of oracle/usdt_usd count for up to 9 s",
        "liquidity_index:USDT: interpolated geometrically between snapshots of aave_v3/usdt",
        "reward: paid at the stamps of r/r; no row and no value mean no payment",
    )


@needs_real_data
class TestRealData:
    start = T0_MS
    end = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp() * 1000)

    def market(self, tmp_path: Path, *overrides: tuple[str, Any]) -> Any:
        feeds = load(REPO / "configs", "pure_lending_usdt", overrides).config.feeds()
        return Catalogue(REAL, tmp_path).open(feeds)

    def test_pure_lending_over_the_whole_of_the_aave_series(self, tmp_path: Path) -> None:
        market = self.market(tmp_path)
        assert market.coverage(3600) == (self.start, self.end)
        market.check(self.start, self.end, HOUR)

    def test_the_first_gas_sample_stands_for_its_lead_and_no_longer(self, tmp_path: Path) -> None:
        market = self.market(tmp_path)
        market.check(self.start, self.end, HOUR)
        gas = market.columns(self.start, HOUR, 2)
        assert gas["gas_base_fee_gwei"].tolist() == [3.25, 3.25]
        assert "first row of gas/ethereum_fees stands" in " ".join(describe(market, self.start))
        assert "first row of" not in " ".join(describe(market, self.start + 2 * HOUR))
        # the first sample is of 01:00:35: two hours earlier is the limit
        with pytest.raises(InputError, match=r"nothing known at .*available from 2024-05-11T23:00:35"):
            columns(
                tuple(feed for feed in market.feeds if feed.column == "gas_base_fee_gwei"),
                market.rows,
                self.start - HOUR,
                HOUR,
                1,
            )

    def test_usdt_grows_as_the_reference_says(self, tmp_path: Path) -> None:
        market = self.market(tmp_path, ("venues.wallet.gas_price_gwei", 0))
        market.check(self.start, self.end, HOUR)
        index = market.columns(self.start, HOUR, (self.end - self.start) // HOUR + 1)["liquidity_index:USDT"]
        assert index[-1] / index[0] == pytest.approx(1.04673503823, rel=1e-9)
        reference = json.loads((REAL / "reference.json").read_text())["windows"]["full"]["aave"]["usdt"]
        assert index[-1] / index[0] == pytest.approx(reference["supply_growth_factor"], rel=1e-9)
        assert (np.diff(index) > 0).all()

    def test_the_later_block_of_a_pair_counts(self, tmp_path: Path) -> None:
        gas = self.market(tmp_path).columns(self.start + 2 * HOUR, HOUR, 3)
        assert gas["gas_base_fee_gwei"].tolist() == [3.15, 3.15, 3.9]
        assert gas["gas_priority_fee_gwei"].tolist() == [0.71, 0.71, 0.09]
