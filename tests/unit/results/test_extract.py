"""Columns are the figures of the log, to the last bit, and the last line of a tick counts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rundir import SPAN, event, tick_events

from basis.models.errors import ComponentError
from basis.results import extract
from basis.results.lines import EventFile

if TYPE_CHECKING:
    from collections.abc import Sequence

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in lines))


def column(frame: pl.DataFrame, name: str) -> list[float | None]:
    return frame[name].to_list()


@settings(max_examples=50)
@given(values=st.lists(st.tuples(FLOATS, FLOATS, st.one_of(st.none(), FLOATS), st.booleans()), min_size=1, max_size=30))
def test_figures_are_those_of_the_log(values: list[tuple[float, float, float | None, bool]]) -> None:
    exposures, risks, expected = [], [], []
    for tick, (equity, delta, ratio, twice) in enumerate(values):
        for phase in (20, 82) if twice else (20,):
            one = tick_events(tick, equity if phase == 82 or not twice else 1.0, 0.0)["exposures"]
            exposures.append(
                one | {"order": tick * SPAN + phase * 10_000, "net_delta_usd": delta, "total_value_usd": 1.0}
            )
        metadata = {"scenarios": {}, "margin_ratio": {"okx": ratio}}
        risk = tick_events(tick, 1.0, 1.0)["risk_assessments"] | {"health_factor": ratio, "metadata": metadata}
        risks.append(risk)
        expected.append((equity, delta, ratio))
    with TemporaryDirectory() as folder:
        write(Path(folder) / "exposures.jsonl", exposures)
        write(Path(folder) / "risk_assessments.jsonl", risks)
        with EventFile(Path(folder) / "exposures.jsonl") as file:
            found = extract.read(file, extract.GROUPS["equity"])
        with EventFile(Path(folder) / "risk_assessments.jsonl") as file:
            risk_columns = extract.read(file, extract.GROUPS["risk"])
    assert found[extract.TICK].to_list() == list(range(len(values)))
    assert column(found, "equity") == [equity for equity, _, _ in expected]
    assert column(found, "net_delta_usd") == [delta for _, delta, _ in expected]
    assert column(risk_columns, "health_factor") == [ratio for _, _, ratio in expected]
    assert column(risk_columns, "margin_ratio.okx") == [ratio for _, _, ratio in expected]


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "exposures.jsonl", [tick_events(tick, 1000.0 + tick, 0.0)["exposures"] for tick in range(500)])
    with EventFile(tmp_path / "exposures.jsonl") as file:
        whole = extract.read(file, extract.GROUPS["equity"])
        monkeypatch.setattr(extract, "BLOCK_BYTES", 1500)
        assert extract.read(file, extract.GROUPS["equity"]).equals(whole)
    assert whole.height == 500


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"null",
        b'{"order":1}',
        b'{"order":1,"share_class_value":"x"}',
        b"\xff",
        b'{"order":1,"share_class_value":NaN}',
    ],
)
def test_a_damaged_line_is_one_clear_error(tmp_path: Path, bad: bytes) -> None:
    lines = [orjson.dumps(tick_events(tick, 1.0, 1.0)["exposures"]) for tick in range(5)]
    path = tmp_path / "exposures.jsonl"
    path.write_bytes(b"\n".join([*lines[:2], bad, *lines[3:]]) + b"\n")
    with EventFile(path) as file, pytest.raises(ComponentError) as caught:
        extract.read(file, extract.GROUPS["equity"])
    assert caught.value.error_code == "LOG-004"
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_an_empty_file_has_its_columns(tmp_path: Path) -> None:
    with EventFile(tmp_path / "exposures.jsonl") as file:
        found = extract.read(file, extract.GROUPS["equity"])
    assert (found.height, found.columns) == (0, ["tick", "equity", "total_value_usd", "net_delta_usd"])


def test_flows_are_what_the_client_paid_in_and_took_out(tmp_path: Path) -> None:
    deposit = {
        "instrument_key": "wallet:BaseToken:USDT",
        "delta_amount": 20.0,
        "source": "deposit",
        "price": 1.0,
        "fee": 0.0,
    }
    lines = [
        event(3, 5, deltas=[deposit], postings=[{"account": "client", "token": "USDT", "amount": -20.0}]),
        event(
            9,
            70,
            deltas=[deposit | {"instrument_key": "wallet:BaseToken:ETH", "price": 2000.0}],
            postings=[
                {"account": "client", "token": "ETH", "amount": 0.5},
                {"account": "gas:x", "token": "ETH", "amount": 1.0},
            ],
        ),
        event(11, 70, deltas=[deposit], postings=[{"account": "fees:binance", "token": "USDT", "amount": 3.0}]),
    ]
    write(tmp_path / "execution_deltas.jsonl", lines)
    with EventFile(tmp_path / "execution_deltas.jsonl") as file:
        assert extract.client_flows(file) == {3: 20.0, 9: -1000.0}
