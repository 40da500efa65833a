"""The synthetic catalogue: whole, coherent, the same every time."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from basis.models.errors import InputError
from basis.models.market import DEFAULT_FEEDS, Feed
from basis.runtime.config_loader import load, mode_names
from basis.venues.core.availability import iso_ms
from basis.venues.data import sample, synthetic
from basis.venues.data.catalogue import Catalogue
from basis.venues.data.sample import is_synthetic, write_sample
from basis.venues.data.synthetic import regimes, tables

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
START_MS = int(datetime(2022, 1, 1, tzinfo=UTC).timestamp() * 1000)
DAY = 86_400_000
HOUR = 3_600_000
REAL_COLUMNS = {
    "aave_v3/usdt": "supply_apr borrow_apr liquidity_index variable_borrow_index total_supplied total_variable_debt",
    "oracle/weeth_eth": "price_eth",
    "oracle/usdt_usd": "price_usd",
    "binance/btcusdt_spot_1h": "open high low close volume quote_volume",
    "binance/btcusdt_perp_5m": "open high low close volume quote_volume",
    "binance/btcusdt_funding": "funding_rate",
    "uniswap_v3/eigen_weth_1h": "open high low close quote_volume",
    "lst_dex/weeth_eth_median24h": "price_eth_median24h",
    "gas/ethereum_fees": "base_fee_gwei priority_fee_p25_gwei priority_fee_p50_gwei priority_fee_p75_gwei",
    "etherfi/eigen_distributions": "period_start eigen_earned eth_restaked eth_not_restaked eigen_per_eeth_published",
    "etherfi/ethfi_topups": "period_start period_end ethfi_amount ethfi_per_eeth",
    "signals/btc": "side confidence sd data_until",
}

Tables = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def made() -> Tables:
    return tables(seed=7, years=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sample") / "catalogue"
    write_sample(target)
    return target


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class TestFolder:
    def test_every_mode_is_fed_for_two_years(self, folder: Path, tmp_path: Path) -> None:
        end_ms = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
        for mode in mode_names(CONFIGS):
            config = load(CONFIGS, mode).config
            market = Catalogue(folder, tmp_path).open(config.feeds())
            assert market.coverage(config.time_step_s) == (START_MS, end_ms), mode
            market.check(START_MS, end_ms, 1000 * config.time_step_s)

    def test_every_default_feed_can_be_read_to_the_end(self, folder: Path) -> None:
        feeds = tuple(DEFAULT_FEEDS.values())
        first, last = Catalogue(folder).open(feeds).coverage(3600)
        assert (iso_ms(first), iso_ms(last)) == ("2022-01-01T00:00:00+00:00", "2024-01-01T00:00:00+00:00")

    def test_hourly_bars_feed_five_minute_ticks_too(self, folder: Path) -> None:
        feed: Feed = DEFAULT_FEEDS["perp:binance:BTCUSDT"]
        Catalogue(folder).open((feed,)).check(START_MS, START_MS + 30 * DAY, 300_000)

    def test_says_that_it_is_synthetic(self, folder: Path, tmp_path: Path) -> None:
        about = json.loads((folder / "SYNTHETIC.json").read_text())
        assert "synthetic" in about["text"].lower()
        assert (about["seed"], about["version"], about["years"]) == (7, synthetic.VERSION, 2)
        assert {item["name"] for item in about["regimes"]} >= {"crash", "funding_flips", "rate_spike", "lst_depeg"}
        assert about["otherwise"] == "calm"
        assert "Synthetic" in (folder / "README.md").read_text()
        assert is_synthetic(folder)
        assert not is_synthetic(tmp_path)

    def test_size(self, folder: Path) -> None:
        assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 60e6

    def test_same_columns_as_the_real_files(self, folder: Path) -> None:
        for series, fields in REAL_COLUMNS.items():
            schema = pq.read_schema(folder / f"{series}.parquet")
            assert schema.names == ["timestamp", *fields.split()]
            for field in schema:
                is_time = field.name in {"timestamp", "period_start", "period_end", "data_until"}
                assert str(field.type) == ("timestamp[ms, tz=UTC]" if is_time else "double")

    def test_same_seed_same_bytes_other_seed_other_bytes(self, tmp_path: Path) -> None:
        listed = write_sample(tmp_path / "a", years=1)
        write_sample(tmp_path / "b", years=1)
        write_sample(tmp_path / "c", seed=8, years=1)
        first, second, other = (digests(tmp_path / name) for name in "abc")
        assert listed == sorted(first)
        assert first == second
        assert all(first[name] != other[name] for name in first if name.endswith(".parquet"))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]

    def test_an_empty_folder_is_taken(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        write_sample(tmp_path / "a", years=1)
        assert is_synthetic(tmp_path / "a")

    def test_a_used_folder_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("precious")
        for target in (tmp_path, tmp_path / "mine"):
            with pytest.raises(InputError, match="not an empty folder"):
                write_sample(target)
        assert [path.name for path in tmp_path.iterdir()] == ["mine"]

    def test_no_half_written_sample_remains(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        written = []

        def failing(path: Path, table: object) -> None:
            written.append(path)
            if len(written) == 3:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(sample, "_write", failing)
        with pytest.raises(InputError, match="No space left"):
            write_sample(tmp_path / "a", years=1)
        assert list(tmp_path.iterdir()) == []

    def test_a_parent_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot be written"):
            write_sample(tmp_path / "file" / "a", years=1)

    @pytest.mark.parametrize(("seed", "years"), [(-1, 1), (7, 0)])
    def test_out_of_range(self, tmp_path: Path, seed: int, years: int) -> None:
        with pytest.raises(InputError, match="must not be negative"):
            write_sample(tmp_path / "a", seed, years)


class TestCoherence:
    def test_stamps_are_sorted_and_values_finite(self, made: Tables) -> None:
        for name, table in made.items():
            assert (np.diff(table["timestamp"]) > 0).all(), name
            assert all(np.isfinite(values).all() for values in table.values()), name
            assert {len(values) for values in table.values()} == {len(table["timestamp"])}

    def test_bars_are_bars(self, made: Tables) -> None:
        for name, table in made.items():
            if name.endswith(("_1h", "_5m")):
                assert (table["low"] > 0).all(), name
                assert (table["low"] <= np.minimum(table["open"], table["close"])).all(), name
                assert (table["high"] >= np.maximum(table["open"], table["close"])).all(), name
                assert (table["close"][:-1] == table["open"][1:]).all(), name

    def test_hourly_bars_are_the_five_minute_bars(self, made: Tables) -> None:
        hourly, fine = made["binance/btcusdt_perp_1h"], made["binance/btcusdt_perp_5m"]
        assert (hourly["open"] == fine["open"][::12]).all()
        assert (hourly["high"] == fine["high"].reshape(-1, 12).max(axis=1)).all()

    @pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
    @pytest.mark.parametrize("pair", ["btcusdt", "ethusdt"])
    def test_perp_stays_near_spot_and_funding_near_its_default(self, made: Tables, venue: str, pair: str) -> None:
        spot, perp = (made[f"{venue}/{pair}_{market}_1h"]["close"] for market in ("spot", "perp"))
        assert np.abs(perp / spot - 1).max() < 0.01
        rates = made[f"{venue}/{pair}_funding"]["funding_rate"]
        assert 0.3 < (rates == 0.0001).mean() < 0.9
        assert np.abs(rates).max() <= 0.0075
        assert (rates < 0).mean() > 0.02
        assert (np.diff(made[f"{venue}/{pair}_funding"]["timestamp"]) == 8 * HOUR).all()

    def test_oracle_is_spot_at_midnight(self, made: Tables) -> None:
        spot, usdt = made["binance/ethusdt_spot_1h"], made["oracle/usdt_usd"]["price_usd"]
        midnight = np.append(spot["open"][::24], spot["close"][-1])
        assert made["oracle/weth_usd"]["price_usd"] == pytest.approx(midnight * usdt, rel=1e-8)
        assert 0.97 < usdt.min() < 0.995
        assert np.median(usdt) == pytest.approx(1.0, abs=0.001)

    @pytest.mark.parametrize("token", ["weeth", "wsteth"])
    def test_lst_rate_never_falls_and_the_dex_follows_but_in_a_depeg(self, made: Tables, token: str) -> None:
        rate = made[f"oracle/{token}_eth"]["price_eth"]
        assert (np.diff(rate) >= 0).all()
        assert 1.05 < rate[-1] / rate[0] < 1.09
        discount = 1 - made[f"lst_dex/{token}_eth_median24h"]["price_eth_median24h"][::24] / rate
        assert abs(np.median(discount)) < 0.002
        assert discount.max() > 0.04
        usd = made[f"oracle/{token}_usd"]["price_usd"]
        assert usd == pytest.approx(made["oracle/weth_usd"]["price_usd"] * rate)

    @pytest.mark.parametrize("token", ["usdt", "weth", "weeth", "wsteth"])
    def test_indices_grow_with_their_rates(self, made: Tables, token: str) -> None:
        table = made[f"aave_v3/{token}"]
        for index, rate in (("liquidity_index", "supply_apr"), ("variable_borrow_index", "borrow_apr")):
            growth = np.diff(np.log(table[index])) * 365
            assert (growth >= 0).all()
            assert growth.sum() == pytest.approx(table[rate][:-1].sum(), rel=0.1)
        assert (table["total_variable_debt"] < table["total_supplied"]).all()
        used = table["total_variable_debt"] / table["total_supplied"]
        assert (table["supply_apr"] < table["borrow_apr"] * used + 1e-12).all()

    def test_usdt_rates_spike(self, made: Tables) -> None:
        rates = made["aave_v3/usdt"]["supply_apr"]
        assert np.median(rates) < 0.06
        assert rates.max() > 0.2

    def test_gas_comes_in_pairs_every_two_hours_from_before_the_start(self, made: Tables) -> None:
        stamps = made["gas/ethereum_fees"]["timestamp"]
        assert stamps[1] <= START_MS
        assert (stamps[1::2] - stamps[::2] == 12_000).all()
        assert np.abs(np.diff(stamps[::2]) - 2 * HOUR).max() <= 60_000

    def test_the_crash_is_one(self, made: Tables) -> None:
        close = made["binance/btcusdt_spot_1h"]["close"]
        crash = next(item for item in regimes(2) if item["name"] == "crash")
        first = (datetime.fromisoformat(crash["from"]) - datetime(2022, 1, 1)).days * 24  # noqa: DTZ001
        assert close[first : first + 11 * 24].min() < 0.7 * close[first]

    def test_rewards_are_weekly(self, made: Tables) -> None:
        for name in ("eigen_distributions", "ethfi_topups"):
            table = made[f"etherfi/{name}"]
            assert (np.diff(table["timestamp"]) == 7 * DAY).all()
            assert (table["period_start"] < table["timestamp"]).all()

    def test_regimes_repeat_in_longer_samples(self) -> None:
        long = regimes(3)
        assert len(long) > len(regimes(2)) > len(regimes(1)) > 0
        assert all(item["from"] < item["to"] <= "2025-01-01" for item in long)
