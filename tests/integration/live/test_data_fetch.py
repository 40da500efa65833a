"""``basis data fetch`` against local exchanges that replay a catalogue: what comes out is what went in."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from basis.models.errors import InputError
from basis.models.live_cex_config import CexLiveConfig
from basis.testkit.exchange import ExchangeServer
from basis.venues.data.catalogue import Catalogue
from basis.venues.data.check import check_catalogue
from basis.venues.data.sample import write_sample
from basis.venues.fetch.exchange import ExchangeSource
from basis.venues.fetch.fetcher import fetch
from basis.venues.fetch.series import plan_of
from basis.venues.live.errors import LiveVenueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from basis.venues.fetch.fetcher import Fetched

ROOT = Path(__file__).resolve().parents[3]
REAL = ROOT.parent / "shared" / "market-data"
START = datetime(2022, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
DAY_MS = 86_400_000
DAYS = 60
NOW_MS = START_MS + DAYS * DAY_MS + 1_234_567
"""The exchanges' clock: a little into a bar."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fetch") / "sample"
    write_sample(folder, years=1)
    return folder


@pytest.fixture(scope="module")
def servers(sample: Path) -> Iterator[dict[str, ExchangeServer]]:
    found = {venue: ExchangeServer(venue, clock=lambda: NOW_MS) for venue in ("binance", "bybit", "okx")}
    for server in found.values():
        server.__enter__()
        assert server.exchange.replay(sample)
    yield found
    for server in found.values():
        server.__exit__()


def run(server: ExchangeServer, root: Path, *names: str, start: int = START_MS, end: int = NOW_MS) -> list[Fetched]:
    config = CexLiveConfig.model_validate(
        {"base_url": server.url, "rate_limit": False, "retry_wait_s": 0.01, "reads": 2, "request_timeout_s": 5}
    )

    async def work() -> list[Fetched]:
        async with ExchangeSource(server.venue, config) as source:
            return await fetch(root, [plan_of(name) for name in names], source, start, end)

    return asyncio.run(work())


def assert_same(one: Path, other: Path, name: str, until_ms: int | None = None) -> None:
    """The rows of the fetched series are those of the one that was replayed."""
    if until_ms is None:
        until_ms = NOW_MS if "funding" in name else NOW_MS // 3_600_000 * 3_600_000
    field = "funding_rate" if "funding" in name else "open"
    fields = [field] if field == "funding_rate" else ["open", "high", "low", "close"]
    got, want = Catalogue(other).series(name, fields).columns, Catalogue(one).series(name, fields).columns
    kept = want["timestamp"] < until_ms
    assert got["timestamp"].tolist() == want["timestamp"][kept].tolist()
    for column in fields:
        assert got[column] == pytest.approx(want[column][kept], rel=1e-11, abs=1e-12), column


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
def test_what_comes_out_is_what_went_in(
    servers: dict[str, ExchangeServer], sample: Path, tmp_path: Path, venue: str
) -> None:
    names = [f"{venue}/ethusdt_spot_1h", f"{venue}/btcusdt_perp_1h", f"{venue}/ethusdt_funding"]
    names += ["binance/btcusd_perp_1h", "binance/btcusd_funding"] if venue == "binance" else []
    for done in run(servers[venue], tmp_path, *names):
        assert done.fetched == done.rows > 100
        assert not done.gaps
        assert_same(sample, tmp_path, done.series)
    assert not (tmp_path / ".fetch").exists()


def test_result_feeds_the_modes_that_the_source_feeds(
    servers: dict[str, ExchangeServer], sample: Path, tmp_path: Path
) -> None:
    """``basis data check`` on a catalogue whose exchange series were fetched."""
    root = tmp_path / "catalogue"
    venues = ("binance", "bybit", "okx")
    shutil.copytree(sample, root, ignore=shutil.ignore_patterns(*venues, "SYNTHETIC.json"))
    for venue in venues:
        names = [
            f"{venue}/{asset}usdt_{kind}" for asset in ("btc", "eth") for kind in ("spot_1h", "perp_1h", "funding")
        ]
        run(servers[venue], root, *names)
    reports = {report.mode: report for report in check_catalogue(root, ROOT / "configs")}
    for mode in ("btc_basis", "eth_basis", "usdt_market_neutral"):
        report = reports[mode]
        assert report.ok, report.faults[:3]
        assert report.last is not None
        assert report.last.timestamp() * 1000 > NOW_MS - 2 * DAY_MS


def test_finer_bars_are_fetched_too(servers: dict[str, ExchangeServer], tmp_path: Path) -> None:
    (done,) = run(servers["binance"], tmp_path, "binance/btcusdt_perp_5m", end=START_MS + 5 * DAY_MS)
    assert (done.rows, done.gaps) == (5 * 288, ())


def test_second_call_asks_for_nothing_and_later_end_for_the_rest(
    servers: dict[str, ExchangeServer], sample: Path, tmp_path: Path
) -> None:
    name = "bybit/ethusdt_perp_1h"
    middle = START_MS + 20 * DAY_MS
    (first,) = run(servers["bybit"], tmp_path, name, end=middle)
    before = (tmp_path / f"{name}.parquet").read_bytes()
    (again,) = run(servers["bybit"], tmp_path, name, end=middle)
    assert (again.asked, again.fetched, again.rows) == (0, 0, first.rows)
    assert (tmp_path / f"{name}.parquet").read_bytes() == before
    (more,) = run(servers["bybit"], tmp_path, name)
    assert 0 < more.fetched < more.rows
    assert_same(sample, tmp_path, name)


def test_failed_fetch_leaves_the_catalogue_and_goes_on_where_it_stopped(
    servers: dict[str, ExchangeServer], sample: Path, tmp_path: Path
) -> None:
    server, name = servers["okx"], "okx/btcusdt_spot_1h"
    server.faults.add("klines", "error_before", times=2, skip=3)
    with pytest.raises(LiveVenueError):
        run(server, tmp_path, name)
    assert not (tmp_path / f"{name}.parquet").exists()
    assert len(list((tmp_path / ".fetch" / name).glob("*.parquet"))) == 3
    (tmp_path / ".fetch" / name / ".draft-of-a-crash").write_bytes(b"half")
    server.requests.clear()
    (done,) = run(server, tmp_path, name)
    pages = -(-DAYS * 24 // 100)
    assert done.asked == pages - 3 == server.requests["klines"]
    assert_same(sample, tmp_path, name)


def test_rate_limit_is_waited_for(servers: dict[str, ExchangeServer], tmp_path: Path) -> None:
    server = servers["binance"]
    server.faults.add("klines", "rate", times=1)
    (done,) = run(server, tmp_path, "binance/ethusdt_spot_1h")
    assert done.rows == DAYS * 24


def test_garbage_is_refused_and_named(servers: dict[str, ExchangeServer], tmp_path: Path) -> None:
    server = servers["bybit"]
    name = ("BTCUSDT", "linear")
    tape = server.exchange.tapes[name]
    try:
        from basis.testkit.exchange.tapes import Bar

        class Broken:
            def price(self, at_ms: int) -> object:
                return tape.price(at_ms)

            def extremes(self, after_ms: int, until_ms: int) -> object:
                return tape.extremes(after_ms, until_ms)

            def bars(self, start_ms: int, step_ms: int, end_ms: int) -> list[Bar]:
                return [bar._replace(high=bar.low / 2) for bar in tape.bars(start_ms, step_ms, end_ms)]

        server.exchange.tapes[name] = Broken()  # type: ignore[assignment]
        with pytest.raises(InputError, match=r"DATA-002.*bybit/btcusdt_perp_1h.*high below"):
            run(server, tmp_path, "bybit/btcusdt_perp_1h")
    finally:
        server.exchange.tapes[name] = tape
    assert not list(tmp_path.rglob("btcusdt_perp_1h.parquet"))


def test_source_that_contradicts_the_file_is_refused(servers: dict[str, ExchangeServer], tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = "binance/ethusdt_funding"
    path = tmp_path / f"{name}.parquet"
    path.parent.mkdir()
    stamps = pa.array([START_MS + 8 * 3_600_000], pa.timestamp("ms", tz="UTC"))
    pq.write_table(pa.table({"timestamp": stamps, "funding_rate": [0.05]}), path)
    before = path.read_bytes()
    # the page before and the page after the row are fetched, the row itself is not asked for
    (done,) = run(servers["binance"], tmp_path, name)
    assert done.rows > 100
    got = Catalogue(tmp_path).series(name, ["funding_rate"]).columns
    assert got["funding_rate"][np.searchsorted(got["timestamp"], START_MS + 8 * 3_600_000)] == 0.05
    path.write_bytes(before)
    store = tmp_path / ".fetch" / name
    store.mkdir(parents=True)
    pq.write_table(pa.table({"timestamp": stamps, "funding_rate": [0.01]}), store / f"{START_MS}-{NOW_MS}.parquet")
    with pytest.raises(InputError, match=r"differs from the file: funding_rate is .*0\.05.* there"):
        run(servers["binance"], tmp_path, name)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("binance/dogeusdt_spot_1h", "no market DOGE/USDT"),
        ("binance/btcusdt_spot_2h", "no series of an exchange"),
        ("aave_v3/usdc", "no series of an exchange or of the chain"),
        ("../etc/passwd", "no series of an exchange"),
    ],
)
def test_series_that_do_not_exist_are_named(
    servers: dict[str, ExchangeServer], tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        run(servers["binance"], tmp_path, name)
    assert not list(tmp_path.rglob("*"))


def test_synthetic_catalogue_takes_no_real_data(servers: dict[str, ExchangeServer], sample: Path) -> None:
    with pytest.raises(InputError, match="synthetic catalogue"):
        run(servers["binance"], sample, "binance/btcusdt_spot_1h")


def test_killed_command_goes_on_where_it_stopped(
    servers: dict[str, ExchangeServer], sample: Path, tmp_path: Path
) -> None:
    """The command itself, killed hard in the middle, then again to the end."""
    server, root = servers["okx"], tmp_path / "catalogue"
    server.faults.clear()
    environ = os.environ | {"BASIS_OKX_URL": server.url, "BASIS_LIVE_DIR": str(tmp_path)}
    (tmp_path / "okx.yaml").write_text("rate_limit: false\n")
    name, days = "okx/ethusdt_perp_1h", 30
    end = datetime.fromtimestamp(START_MS / 1000 + days * 86_400, UTC).isoformat()
    command = [
        sys.executable,
        "-m",
        "basis.cli",
        "data",
        "fetch",
        str(root),
        name,
        "--start",
        "2022-01-01",
        "--end",
        end,
    ]
    server.faults.add("klines", "timeout_before", skip=4)  # stands still there
    process = subprocess.Popen([*command, "--json"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder, patience = root / ".fetch" / name, time.monotonic() + 60
    while len(list(folder.glob("[0-9]*.parquet")) if folder.is_dir() else []) < 4:
        assert time.monotonic() < patience, "the first pages never came"
        assert process.poll() is None, "the command ended"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    server.faults.clear()
    server.requests.clear()
    done = subprocess.run([*command, "--json"], env=environ, capture_output=True, text=True, check=True, timeout=120)
    (report,) = json.loads(done.stdout)
    assert server.requests["klines"] == -(-days * 24 // 100) - 4 == report["asked"]
    assert (report["rows"], report["gaps"]) == (days * 24, [])
    assert_same(sample, root, name, START_MS + days * DAY_MS)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/market-data")
def test_real_bars_with_their_gaps_come_out_as_they_are(tmp_path: Path) -> None:
    start, end = (
        int(datetime.fromisoformat(f"{day}T00:00+00:00").timestamp() * 1000) for day in ("2024-05-12", "2025-02-20")
    )
    with ExchangeServer("binance", clock=lambda: end) as server:
        assert server.exchange.replay(REAL)
        names = ("binance/btcusdt_spot_1h", "binance/ethusdt_funding")
        bars, _ = run(server, tmp_path, *names, start=start, end=end)
    assert len(bars.gaps) == 7
    for name in names:
        assert_same(REAL, tmp_path, name, end)
