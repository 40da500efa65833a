"""Signals: three providers, one structure, and every fault of a file refused before a run with source, row and time."""

from __future__ import annotations

import csv
import importlib.util
import io
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basis.models.errors import ComponentError, InputError
from basis.models.messages import AdvanceRequest, CoverageReply, CoverageRequest, RunRef
from basis.models.strategy_config import SignalsConfig
from basis.runtime import codec
from basis.runtime.config_loader import MergedConfig
from basis.runtime.config_loader import load as load_mode
from basis.venues.core.availability import iso_ms
from basis.venues.data import signal_model, signals, synthetic
from basis.venues.data.catalogue import Catalogue, assemble, fields_by_series
from basis.venues.data.sample import write_sample
from basis.venues.manager import VenueInterfaceManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]
START = datetime(2024, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
HOUR = 3_600_000
DAY = 24 * HOUR
Row = dict[str, Any]


def rows(count: int = 6, *, data_until: bool = True) -> list[Row]:
    """Sound rows, hourly."""
    found: list[Row] = []
    for place in range(count):
        moment = START + timedelta(hours=place)
        row: Row = {
            "timestamp": moment,
            "signal": ("long", "short", "neutral")[place % 3],
            "confidence": 0.7,
            "sd": 0.02,
        }
        found.append(row | ({"data_until": moment} if data_until else {}))
    return found


def as_csv(made: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(made[0]))
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in row.items()} for row in made)
    return text.getvalue().encode()


def as_json(made: list[Row]) -> bytes:
    return orjson.dumps([{name: _text(value) for name, value in row.items()} for row in made])


def as_parquet(made: list[Row]) -> bytes:
    columns: dict[str, Any] = {}
    for name in made[0]:
        values = [row[name] for row in made]
        is_time = name in {"timestamp", "data_until"}
        columns[name] = pa.array(values, type=pa.timestamp("ms", tz="UTC") if is_time else None)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def _text(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


ENCODERS: dict[str, Callable[[list[Row]], bytes]] = {"csv": as_csv, "parquet": as_parquet}


def config(location: Path | str, provider: str = "file") -> SignalsConfig:
    return SignalsConfig.model_validate({"provider": provider, "location": str(location)})


def put(folder: Path, made: list[Row] | bytes, ending: str = "csv") -> Path:
    path = folder / f"mine.{ending}"
    path.write_bytes(made if isinstance(made, bytes) else ENCODERS[ending](made))
    return path


def refused(folder: Path, made: list[Row] | bytes, ending: str = "csv") -> InputError:
    path = put(folder, made, ending)
    with pytest.raises(InputError) as caught:
        signals.load(config(path), folder)
    assert str(path) in caught.value.message
    return caught.value


def changed(place: int, **values: object) -> list[Row]:
    made = rows()
    made[place] |= values
    return made


class Endpoint:
    """A real HTTP server on the loopback: answers are taken in turn, the last one stays."""

    def __init__(self, answers: list[tuple[int, bytes]]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.asked.append(self.path)
                status, body = endpoint.answers[min(len(endpoint.asked), len(endpoint.answers)) - 1]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/signals"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Endpoint]]:
    monkeypatch.setattr(signals, "_PAUSES_S", (0.01, 0.01))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started: list[Endpoint] = []

    def start(*answers: tuple[int, bytes]) -> Endpoint:
        found = Endpoint(list(answers))
        found.thread.start()
        started.append(found)
        return found

    yield start
    for endpoint in started:
        endpoint.server.shutdown()
        endpoint.thread.join()
        endpoint.server.server_close()


class TestProviders:
    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_a_file(self, tmp_path: Path, ending: str) -> None:
        found = signals.load(config(put(tmp_path, rows(), ending)), tmp_path)
        assert found.columns["timestamp"].tolist() == [START_MS + k * HOUR for k in range(6)]
        assert found.columns["data_until"].tolist() == found.columns["timestamp"].tolist()
        assert found.columns["side"].tolist() == [1, -1, 0, 1, -1, 0]
        assert found.columns["confidence"].tolist() == [0.7] * 6
        assert found.columns["sd"].tolist() == [0.02] * 6
        assert found.fields == ("confidence", "data_until", "sd", "side")

    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_numeric_sides(self, tmp_path: Path, ending: str) -> None:
        made = [
            {name: value for name, value in row.items() if name != "signal"} | {"side": 1 - k % 3}
            for k, row in enumerate(rows())
        ]
        assert signals.load(config(put(tmp_path, made, ending)), tmp_path).columns["side"].tolist() == [1, 0, -1] * 2

    def test_other_columns_and_a_byte_order_mark_do_not_matter(self, tmp_path: Path) -> None:
        plain = signals.load(config(put(tmp_path, rows())), tmp_path)
        path = put(tmp_path, b"\xef\xbb\xbf" + as_csv([row | {"model": "v1"} for row in rows()]))
        assert signals.load(config(path), tmp_path).columns["side"].tolist() == plain.columns["side"].tolist()

    def test_the_catalogue(self, tmp_path: Path) -> None:
        (tmp_path / "signals").mkdir()
        (tmp_path / "signals" / "btc.parquet").write_bytes(as_parquet(rows()))
        found = signals.load(SignalsConfig(), tmp_path)
        assert found.columns["side"].tolist() == [1, -1, 0, 1, -1, 0]
        assert signals.source(SignalsConfig(), tmp_path) == str(tmp_path / "signals" / "btc.parquet")

    def test_http(self, tmp_path: Path, serve: Callable[..., Endpoint]) -> None:
        endpoint = serve((200, as_json(rows())))
        found = signals.load(config(f"{endpoint.url}?key=secret", "http"), tmp_path)
        assert endpoint.asked == ["/signals?key=secret"]
        from_file = signals.load(config(put(tmp_path, rows(), "parquet")), tmp_path)
        for name, values in from_file.columns.items():
            assert np.array_equal(values, found.columns[name])
        assert found.fields == from_file.fields

    def test_http_recovers_from_two_bad_answers(self, tmp_path: Path, serve: Callable[..., Endpoint]) -> None:
        endpoint = serve((503, b""), (500, b""), (200, as_json(rows())))
        assert len(signals.load(config(endpoint.url, "http"), tmp_path).columns["side"]) == 6
        assert len(endpoint.asked) == 3

    @pytest.mark.parametrize(("status", "tries"), [(503, 3), (404, 1)])
    def test_http_gives_up(self, tmp_path: Path, serve: Callable[..., Endpoint], status: int, tries: int) -> None:
        endpoint = serve((status, b""))
        with pytest.raises(InputError, match=f"HTTP {status}") as caught:
            signals.load(config(f"{endpoint.url}?key=secret", "http"), tmp_path)
        assert caught.value.error_code == "DATA-001"
        assert endpoint.url in caught.value.message
        assert "secret" not in caught.value.message
        assert len(endpoint.asked) == tries

    def test_nobody_listens(self, tmp_path: Path, serve: Callable[..., Endpoint]) -> None:
        gone = Endpoint([])
        gone.server.server_close()
        with pytest.raises(InputError, match=r"no answer in 3 tries: .*refused"):
            signals.load(config(gone.url, "http"), tmp_path)

    @pytest.mark.parametrize("body", [b"<html>", b"{}", b"[1, 2]", b"[]", b'[{"timestamp": "2024-01-01T00:00:00Z"}]'])
    def test_http_answers_that_are_no_rows(self, tmp_path: Path, serve: Callable[..., Endpoint], body: bytes) -> None:
        endpoint = serve((200, body))
        with pytest.raises(InputError, match=r"DATA-00[12]"):
            signals.load(config(endpoint.url, "http"), tmp_path)

    @pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://host/x", "mine.json", "http://"])
    def test_addresses_that_are_not_http(self, tmp_path: Path, location: str) -> None:
        with pytest.raises(InputError, match="expected http") as caught:
            signals.load(config(location, "http"), tmp_path)
        assert caught.value.error_code == "CONFIG-003"

    def test_unknown_ending(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
            signals.load(config(tmp_path / "mine.xlsx"), tmp_path)

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file") as caught:
            signals.load(config(tmp_path / "mine.csv"), tmp_path)
        assert caught.value.error_code == "DATA-001"

    def test_a_catalogue_without_signals_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"signals/btc\.parquet: no such file; 'basis data sample' writes one"):
            signals.load(SignalsConfig(), tmp_path)

    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_the_cache_gives_the_same_and_is_not_asked_for_another_file(self, tmp_path: Path, ending: str) -> None:
        path = put(tmp_path, rows(), ending)
        plain = signals.load(config(path), tmp_path)
        for _ in range(2):
            cached = signals.load(config(path), tmp_path, tmp_path / "cache")
            assert (cached.sha256, cached.fields) == (plain.sha256, plain.fields)
            assert all(np.array_equal(cached.columns[name], values) for name, values in plain.columns.items())
        assert len(list((tmp_path / "cache").iterdir())) == 1
        put(tmp_path, rows(7), ending)
        assert len(signals.load(config(path), tmp_path, tmp_path / "cache").columns["side"]) == 7

    def test_the_digest_covers_the_content(self, tmp_path: Path, serve: Callable[..., Endpoint]) -> None:
        endpoint = serve((200, as_json(rows())), (200, as_json(rows())), (200, as_json(changed(3, confidence=0.71))))
        first, again, other = (signals.load(config(endpoint.url, "http"), tmp_path).sha256 for _ in range(3))
        assert first == again != other
        mine = signals.load(config(put(tmp_path, rows())), tmp_path).sha256
        assert mine != signals.load(config(put(tmp_path, changed(3, sd=0.03))), tmp_path).sha256

    def test_the_data_of_a_run_is_another_with_other_signals(self, tmp_path: Path) -> None:
        mode = load_mode(ROOT / "configs", "ml_btc_directional_usdt_margin").config
        feeds = tuple(feed for feed in mode.feeds() if feed.series == "signals/btc")
        assert list(fields_by_series(feeds)) == ["signals/btc"]
        digests = set()
        for made in (rows(), changed(2, confidence=0.9)):
            series = signals.load(config(put(tmp_path, made)), tmp_path)
            digests.add(assemble(feeds, {"signals/btc": series}).data_sha256)
        assert len(digests) == 2


@pytest.mark.parametrize("ending", ["csv", "parquet"])
class TestFaults:
    """Each names file, row and time."""

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"confidence": 1.01}, "row 4 stamped 2024-01-01T03:00:00+00:00: confidence is 1.01"),
            ({"confidence": -0.1}, "row 4 stamped 2024-01-01T03:00:00+00:00: confidence is -0.1"),
            ({"confidence": float("nan")}, "row 4 stamped 2024-01-01T03:00:00+00:00: confidence is nan"),
            ({"confidence": None}, "row 4: confidence is "),
            ({"sd": 0.0}, "row 4 stamped 2024-01-01T03:00:00+00:00: sd is 0"),
            ({"sd": float("nan")}, "row 4 stamped 2024-01-01T03:00:00+00:00: sd is nan"),
            ({"sd": float("inf")}, "row 4 stamped 2024-01-01T03:00:00+00:00: sd is inf"),
            ({"sd": None}, "row 4: sd is "),
            ({"signal": "buy"}, "row 4: signal is 'buy', expected long, short or neutral"),
            ({"signal": None}, "row 4: signal is "),
            ({"data_until": None}, "row 4: data_until is "),
            ({"timestamp": None}, "row 4: timestamp is "),
            ({"timestamp": START + timedelta(hours=2)}, "row 4 stamped 2024-01-01T02:00:00+00:00 is there twice"),
            (
                {"timestamp": START + timedelta(hours=1, minutes=5)},
                "row 4 stamped 2024-01-01T01:05:00+00:00 comes after",
            ),
        ],
    )
    def test_values(self, tmp_path: Path, ending: str, values: Row, expected: str) -> None:
        error = refused(tmp_path, changed(3, **values), ending)
        assert error.error_code == "DATA-002"
        assert expected in error.message

    def test_made_from_the_future(self, tmp_path: Path, ending: str) -> None:
        error = refused(tmp_path, changed(3, data_until=START + timedelta(hours=3, minutes=5)), ending)
        assert error.error_code == "DATA-005"
        assert "row 4 is stamped 2024-01-01T03:00:00+00:00" in error.message
        assert "2024-01-01T03:05:00+00:00 (data_until)" in error.message

    @pytest.mark.parametrize("name", ["timestamp", "signal", "confidence", "sd"])
    def test_a_column_is_missing(self, tmp_path: Path, ending: str, name: str) -> None:
        made = [{key: value for key, value in row.items() if key != name} for row in rows()]
        error = refused(tmp_path, made, ending)
        assert error.error_code == "DATA-001"
        assert name in error.message

    def test_two_columns_for_the_side(self, tmp_path: Path, ending: str) -> None:
        assert "expected one of them" in refused(tmp_path, [row | {"side": 1} for row in rows()], ending).message

    @pytest.mark.parametrize("side", [2, 0.5])
    def test_sides_that_are_none(self, tmp_path: Path, ending: str, side: float) -> None:
        made = [{key: value for key, value in row.items() if key != "signal"} | {"side": 1.0} for row in rows()]
        made[3]["side"] = side
        error = refused(tmp_path, made, ending)
        assert "row 4" in error.message
        assert "1, -1" in error.message


class TestUnreadable:
    @pytest.mark.parametrize("content", [b"", b"timestamp,signal,confidence,sd\n"])
    def test_no_rows(self, tmp_path: Path, content: bytes) -> None:
        assert refused(tmp_path, content).error_code == "DATA-001"

    def test_no_rows_in_parquet(self, tmp_path: Path) -> None:
        table = pq.read_table(io.BytesIO(as_parquet(rows()))).slice(0, 0)
        sink = io.BytesIO()
        pq.write_table(table, sink)
        assert refused(tmp_path, sink.getvalue(), "parquet").error_code == "DATA-001"

    @pytest.mark.parametrize(("content", "ending"), [(b"PAR1", "parquet"), (b"\xff\xfe\x00", "csv"), (b'a,"b', "csv")])
    def test_not_of_its_format(self, tmp_path: Path, content: bytes, ending: str) -> None:
        assert "not readable as" in refused(tmp_path, content, ending).message

    def test_a_row_of_another_length(self, tmp_path: Path) -> None:
        assert "row 7 has 2 cells, expected 5" in refused(tmp_path, as_csv(rows()) + b"a,b\n").message

    @pytest.mark.parametrize("stamp", ["2024-01-01T00:00:00", "yesterday", "2024-01-01T00:00:00.0001Z", "1704067200"])
    def test_times_that_are_none(self, tmp_path: Path, stamp: str) -> None:
        text = f"timestamp,signal,confidence,sd\n{stamp},long,0.7,0.02\n"
        assert f"row 1: timestamp is '{stamp}', expected ISO 8601" in refused(tmp_path, text.encode()).message

    def test_a_time_without_a_zone_in_parquet(self, tmp_path: Path) -> None:
        made = [row | {"timestamp": row["timestamp"].replace(tzinfo=None)} for row in rows()]
        table = pa.table({name: [row[name] for row in made] for name in made[0]})
        sink = io.BytesIO()
        pq.write_table(table, sink)
        assert "expected timestamp[ms, tz=UTC]" in refused(tmp_path, sink.getvalue(), "parquet").message


def of(stamps: list[int], folder: Path) -> Any:
    made = [
        {"timestamp": datetime.fromtimestamp(stamp / 1000, UTC), "signal": "long", "confidence": 0.7, "sd": 0.02}
        for stamp in stamps
    ]
    return signals.load(config(put(folder, made)), folder)


class TestRange:
    """What is refused only for the range of a run."""

    def check(self, folder: Path, hours: list[int], start: int = 0, end: int = 9, data_end: int = 9) -> None:
        series = of([START_MS + hour * HOUR for hour in hours], folder)
        moments = {"start_ms": start, "end_ms": end, "data_end_ms": data_end}
        at = {name: START_MS + hour * HOUR for name, hour in moments.items()}
        signals.check(series.columns["timestamp"], "mine.csv", max_age_s=7200, **at)

    def fault(self, folder: Path, hours: list[int], **given: int) -> InputError:
        with pytest.raises(InputError, match=r"mine\.csv") as caught:
            self.check(folder, hours, **given)
        return caught.value

    def test_sound(self, tmp_path: Path) -> None:
        self.check(tmp_path, list(range(10)))
        self.check(tmp_path, [0, 2, 4, 6, 8])
        self.check(tmp_path, [-2, 0, 2, 4, 6, 7])

    def test_begins_too_late(self, tmp_path: Path) -> None:
        error = self.fault(tmp_path, list(range(1, 10)))
        assert error.error_code == "DATA-001"
        assert "2024-01-01T01:00:00+00:00 (row 1), after the start of the run 2024-01-01T00:00:00" in error.message

    def test_a_gap(self, tmp_path: Path) -> None:
        error = self.fault(tmp_path, [0, 1, 2, 5, 6, 7, 8])
        assert error.error_code == "DATA-004"
        assert "gap of 10800 s between rows 3 and 4, stamped 2024-01-01T02:00:00+00:00 and" in error.message

    def test_a_gap_elsewhere_does_not_matter(self, tmp_path: Path) -> None:
        self.check(tmp_path, [-9, -1, 0, 1, 2, 3, 8, 9], end=4)

    def test_ends_too_early(self, tmp_path: Path) -> None:
        error = self.fault(tmp_path, [0, 1, 2, 3, 4, 5, 6])
        assert error.error_code == "DATA-003"
        assert "2024-01-01T06:00:00+00:00 (row 7)" in error.message

    def test_after_the_end_of_the_market_data(self, tmp_path: Path) -> None:
        error = self.fault(tmp_path, list(range(12)))
        assert error.error_code == "DATA-002"
        assert "row 11 is stamped 2024-01-01T10:00:00+00:00, after the end of the market data" in error.message

    @settings(max_examples=60, deadline=None)
    @given(
        steps=st.lists(st.integers(1, 30), min_size=1, max_size=20),
        start=st.integers(0, 100),
        length=st.integers(0, 200),
    )
    def test_what_passes_is_never_too_old_at_any_minute(
        self, tmp_path_factory: pytest.TempPathFactory, steps: list[int], start: int, length: int
    ) -> None:
        minute = 60_000
        stamps = [START_MS + int(at) * minute for at in np.cumsum([0, *steps])]
        series = of(stamps, tmp_path_factory.getbasetemp())
        begin, end = START_MS + start * minute, START_MS + (start + length) * minute
        ages = [min([now - at for at in stamps if at <= now], default=10**12) for now in range(begin, end + 1, minute)]
        try:
            signals.check(
                series.columns["timestamp"],
                "mine.csv",
                max_age_s=1200,
                start_ms=begin,
                end_ms=end,
                data_end_ms=stamps[-1],
            )
        except InputError as error:
            # a gap is refused by its length: one minute before its end the age is a minute less
            used = [now - at for at, now in pairwise(stamps) if begin < now <= end]
            assert max([*ages, *used]) > 1_200_000, error.message
        else:
            assert max(ages) <= 1_200_000

    def test_notes_say_whether_look_ahead_can_be_ruled_out(self, tmp_path: Path) -> None:
        told = signals.load(config(put(tmp_path, rows())), tmp_path)
        untold = signals.load(config(put(tmp_path, rows(data_until=False))), tmp_path)
        assert "data_until" not in untold.columns
        assert "none made from data after" in signals.notes(told, "mine.csv")[0]
        assert "look-ahead cannot be ruled out" in signals.notes(untold, "mine.csv")[0]


class TestRoundTrip:
    @settings(max_examples=40, deadline=None)
    @given(
        made=st.lists(
            st.tuples(
                st.integers(1, 10**7),
                st.sampled_from(["long", "short", "neutral"]),
                st.floats(0, 1),
                st.floats(1e-9, 10),
                st.integers(0, 10**7),
            ),
            min_size=1,
            max_size=12,
        )
    )
    def test_csv_parquet_and_json_read_alike_and_a_shift_earlier_is_refused(
        self, tmp_path_factory: pytest.TempPathFactory, made: list[tuple[int, str, float, float, int]]
    ) -> None:
        folder = tmp_path_factory.getbasetemp()
        stamps = START_MS + np.cumsum([step for step, *_ in made])
        table: list[Row] = [
            {
                "timestamp": datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(stamp)),
                "signal": side,
                "confidence": confidence,
                "sd": sd,
                "data_until": datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(stamp) - age),
            }
            for stamp, (_, side, confidence, sd, age) in zip(stamps, made, strict=True)
        ]
        read = [signals.load(config(put(folder, table, ending)), folder).columns for ending in ENCODERS]
        assert read[0]["timestamp"].tolist() == stamps.tolist()
        assert read[0]["confidence"].tolist() == [row["confidence"] for row in table]
        assert all(np.array_equal(read[0][name], read[1][name]) for name in read[0])
        least = min(age for *_, age in made)
        moved = [row | {"timestamp": row["timestamp"] - timedelta(milliseconds=least + 1)} for row in table]
        assert refused(folder, moved).error_code == "DATA-005"


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Any]]:
    return synthetic.tables(seed=7, years=2)


class TestModel:
    def test_the_sample_holds_its_signals(self, made: dict[str, dict[str, Any]]) -> None:
        table = made["signals/btc"]
        assert set(table["side"]) == {-1.0, 0.0, 1.0}
        assert (table["data_until"] == table["timestamp"]).all()
        assert (np.diff(table["timestamp"]) == HOUR).all()
        assert table["timestamp"][0] == made["binance/btcusdt_perp_5m"]["timestamp"][0]
        assert table["timestamp"][-1] == made["binance/btcusdt_perp_5m"]["timestamp"][-1] + 300_000

    @pytest.mark.parametrize("year", [0, 1])
    def test_it_takes_sides_but_not_by_the_hour(self, made: dict[str, dict[str, Any]], year: int) -> None:
        table = {name: values[year * 8760 : (year + 1) * 8760] for name, values in made["signals/btc"].items()}
        assert 100 <= (np.diff(table["side"]) != 0).sum() <= 400
        for side in (1.0, -1.0):
            assert ((table["side"] == side) & (table["confidence"] >= 0.65)).sum() > 100
        assert (table["confidence"][table["side"] != 0] >= signal_model.LEAVE).all()

    def test_nothing_is_said_before_the_first_fit(self, made: dict[str, dict[str, Any]]) -> None:
        table = made["signals/btc"]
        first = int(np.flatnonzero(table["confidence"] > 0)[0])
        assert first == 31 * 24
        assert (table["side"][:first] == 0).all()
        assert (table["confidence"][first:] >= 0.5).all()

    def test_the_deviation_is_that_of_the_day(self, made: dict[str, dict[str, Any]]) -> None:
        price = np.log(made["binance/btcusdt_perp_5m"]["open"][::12])
        actual = np.std(price[24:] - price[:-24])
        assert np.median(made["signals/btc"]["sd"]) == pytest.approx(actual, rel=0.25)
        # take profit and stop loss are clamped outside of these
        assert 10 <= 1e4 * made["signals/btc"]["sd"].min() < 1e4 * made["signals/btc"]["sd"].max() <= 1000

    @settings(max_examples=8, deadline=None)
    @given(bars=st.integers(12, 200 * 288))
    def test_later_bars_change_no_earlier_signal(self, made: dict[str, dict[str, Any]], bars: int) -> None:
        perp, funding = made["binance/btcusdt_perp_5m"], made["binance/btcusdt_funding"]
        end = perp["timestamp"][bars - 1] + 300_000
        known = int(np.searchsorted(funding["timestamp"], end, side="right"))
        cut = signal_model.signals(
            {name: values[:bars] for name, values in perp.items()},
            {name: values[:known] for name, values in funding.items()},
        )
        whole = signal_model.Signals(**made["signals/btc"])
        count = bars // 12 + 1
        assert len(cut.timestamp) == count
        for early, full in zip(cut, whole, strict=True):
            assert np.array_equal(early, full[:count])

    def test_a_future_that_is_another_changes_no_earlier_signal(self, made: dict[str, dict[str, Any]]) -> None:
        perp = dict(made["binance/btcusdt_perp_5m"])
        turn = 150 * 288
        for name in ("open", "close"):
            perp[name] = perp[name].copy()
            perp[name][turn:] = perp[name][turn] * 2
        other = signal_model.signals(perp, made["binance/btcusdt_funding"])
        assert np.array_equal(other.confidence[: turn // 12 + 1], made["signals/btc"]["confidence"][: turn // 12 + 1])
        assert not np.array_equal(other.confidence, made["signals/btc"]["confidence"])

    @pytest.mark.parametrize("hole", [slice(0, 0), slice(1, None), slice(None, None, 2)])
    def test_bars_that_it_does_not_take(self, made: dict[str, dict[str, Any]], hole: slice) -> None:
        perp = {name: values[hole] for name, values in made["binance/btcusdt_perp_5m"].items()}
        with pytest.raises(ValueError, match="without gaps"):
            signal_model.signals(perp, made["binance/btcusdt_funding"])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signals") / "catalogue"
    write_sample(folder, years=1)
    return folder


class TestSample:
    @pytest.mark.parametrize("mode", ["ml_btc_directional_usdt_margin", "ml_btc_directional_btc_margin"])
    def test_it_feeds_the_ml_modes(self, sample: Path, mode: str) -> None:
        run = load_mode(ROOT / "configs", mode).config
        series = signals.load(SignalsConfig(), sample)
        market = Catalogue(sample).open(run.feeds())
        start, end = market.coverage(run.time_step_s)
        assert iso_ms(start) == "2022-01-01T00:00:00+00:00"
        assert iso_ms(signals.data_end(market)) >= "2023-01-01T00:00:00+00:00"
        moments = {"start_ms": start, "end_ms": end, "data_end_ms": signals.data_end(market)}
        signals.check(series.columns["timestamp"], "sample", max_age_s=3600, **moments)

    def test_it_reads_the_same_through_the_catalogue(self, sample: Path) -> None:
        ours, theirs = signals.load(SignalsConfig(), sample), Catalogue(sample).series("signals/btc", ["side", "sd"])
        assert ours.sha256 == theirs.sha256
        assert np.array_equal(ours.columns["side"], theirs.columns["side"])

    def test_shifted_by_one_bar_it_is_refused(self, sample: Path, tmp_path: Path) -> None:
        table = pq.read_table(sample / "signals" / "btc.parquet")
        earlier = pa.array(table["timestamp"].to_numpy() - np.timedelta64(300_000, "ms"), pa.timestamp("ms", tz="UTC"))
        pq.write_table(table.set_column(0, "timestamp", earlier), tmp_path / "shifted.parquet")
        with pytest.raises(InputError, match=r"DATA-005.*row 1 is stamped 2021-12-31T23:55:00"):
            signals.load(config(tmp_path / "shifted.parquet"), tmp_path)

    @pytest.mark.skipif(
        importlib.util.find_spec("sklearn") is None,
        reason="scikit-learn is not installed: uv sync --all-packages --extra ml",
    )
    def test_the_example_writes_what_a_run_reads(self, sample: Path, tmp_path: Path) -> None:
        out = tmp_path / "mine" / "signals.parquet"
        script = [sys.executable, str(ROOT / "examples" / "train_signals.py"), "--data", str(sample), "--out", str(out)]
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "out of sample: " in done.stdout
        assert "8761 rows" in done.stdout
        series = signals.load(config(out), sample)
        assert {1.0, -1.0, 0.0} == set(series.columns["side"])
        assert "none made from data after" in signals.notes(series, str(out))[0]
        start = int(datetime(2022, 1, 1, tzinfo=UTC).timestamp() * 1000)
        moments = {"start_ms": start, "end_ms": start + 365 * DAY, "data_end_ms": start + 365 * DAY}
        signals.check(series.columns["timestamp"], str(out), max_age_s=3600, **moments)


MODE = "ml_btc_directional_usdt_margin"
RUN_START = datetime(2022, 3, 1, tzinfo=UTC)


class TestRun:
    """The way of a run: the venues service opens the market, checks it, and serves its columns."""

    def hours(self, count: int, *, first: int = 0, **values: object) -> list[Row]:
        made = []
        for place in range(first, first + count):
            moment = RUN_START + timedelta(hours=place)
            side = ("long", "neutral", "short")[place % 3]
            made.append(
                {"timestamp": moment, "signal": side, "confidence": 0.7, "sd": 0.02, "data_until": moment} | values
            )
        return made

    def merged(self, location: Path | str, provider: str = "file") -> MergedConfig:
        chosen = [("strategy.signals.provider", provider), ("strategy.signals.location", str(location))]
        return load_mode(ROOT / "configs", MODE, chosen)

    def ask(self, manager: VenueInterfaceManager, run: MergedConfig, hours: int = 24) -> CoverageReply:
        end = RUN_START + timedelta(hours=hours)
        return manager.coverage(CoverageRequest(config=run.payload, start=RUN_START, end=end))

    def window(self, manager: VenueInterfaceManager, run: MergedConfig, reply: CoverageReply) -> dict[str, Any]:
        ref = RunRef(
            correlation_id="0" * 32,
            pid=1,
            config_sha256=run.sha256,
            config=run.payload,
            start=reply.start,
            time_step_s=300,
            last_tick=288,
            initial_capital=1000.0,
            data_sha256=reply.data_sha256,
        )
        window = manager.advance(AdvanceRequest(run=ref, ledger={}, first_tick=0, ticks=289)).window
        return dict(codec.unpack_all(window.market))

    def test_a_file_takes_the_place_of_the_catalogue(self, sample: Path, tmp_path: Path) -> None:
        manager, run = VenueInterfaceManager(sample, tmp_path / "cache"), self.merged(put(tmp_path, self.hours(25)))
        reply = self.ask(manager, run)
        columns = self.window(manager, run, reply)
        assert columns["signal_side"].tolist() == [*np.repeat(([1, 0, -1] * 9)[:24], 12), 1]
        assert any(f"25 rows of {tmp_path}" in note for note in reply.notes)
        other = self.ask(manager, self.merged(put(tmp_path, self.hours(25, sd=0.03), "parquet")))
        assert other.data_sha256 != reply.data_sha256

    def test_the_sample_by_default(self, sample: Path, tmp_path: Path) -> None:
        run = load_mode(ROOT / "configs", MODE)
        reply = self.ask(VenueInterfaceManager(sample, tmp_path / "cache"), run)
        assert any("none made from data after its own time" in note for note in reply.notes)

    def test_an_endpoint_that_changes_its_mind_stops_another_replica(
        self, sample: Path, tmp_path: Path, serve: Callable[..., Endpoint]
    ) -> None:
        endpoint = serve((200, as_json(self.hours(25))), (200, as_json(self.hours(25, confidence=0.8))))
        first, second = (VenueInterfaceManager(sample, tmp_path / "cache") for _ in range(2))
        run = self.merged(endpoint.url, "http")
        reply = self.ask(first, run)
        assert self.window(first, run, reply)["signal_confidence"].tolist() == [0.7] * 289
        assert len(endpoint.asked) == 1
        with pytest.raises(ComponentError, match="DATA-002"):
            self.window(second, run, reply)

    @pytest.mark.parametrize(
        ("first", "count", "values", "code"),
        [
            (1, 24, {}, "DATA-001"),
            (0, 22, {}, "DATA-003"),
            (0, 25, {"data_until": RUN_START + timedelta(days=9)}, "DATA-005"),
            (0, 25, {"confidence": 2.0}, "DATA-002"),
            (0, 24 * 400, {}, "DATA-002"),
        ],
    )
    def test_refused_before_the_run(
        self, sample: Path, tmp_path: Path, first: int, count: int, values: Row, code: str
    ) -> None:
        path = put(tmp_path, self.hours(count, first=first, **values))
        with pytest.raises(InputError) as caught:
            self.ask(VenueInterfaceManager(sample, tmp_path / "cache"), self.merged(path))
        assert caught.value.error_code == code
        assert str(path) in caught.value.message
        assert "row" in caught.value.message

    def test_a_gap_and_the_age_that_a_mode_allows(self, sample: Path, tmp_path: Path) -> None:
        made = self.hours(25)
        path = put(tmp_path, made[:5] + made[8:])
        manager = VenueInterfaceManager(sample, tmp_path / "cache")
        with pytest.raises(InputError, match=r"DATA-004.*rows 5 and 6"):
            self.ask(manager, self.merged(path))
        chosen = [("strategy.signals.provider", "file"), ("strategy.signals.location", str(path))]
        patient = load_mode(ROOT / "configs", MODE, [*chosen, ("strategy.signals.max_age_s", 14_400)])
        assert self.ask(manager, patient).start == RUN_START
