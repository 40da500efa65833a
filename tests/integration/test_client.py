"""The Python client over real HTTP, with real services behind it."""

from __future__ import annotations

import json
import zipfile
from datetime import date
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl
import pytest
from tests.support.gateway import serving, settings_of

from basis.client import (
    Client,
    ConflictError,
    DeniedError,
    NotFoundError,
    RefusedError,
    Run,
    RunFailedError,
    TooManyRequestsError,
    UnavailableError,
)
from basis.gateway import keys
from basis.gateway.keys import Scope
from basis.runtime.nats_server import NatsServer
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from basis.models.messages import RunStatus

pytestmark = pytest.mark.timeout(240)
UNKNOWN = "0" * 32
WEEKS: dict[str, Any] = {"start": "2022-01-03", "end": "2022-09-01"}
SLOW = {"engine.initial_window": 1, "engine.max_window": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("client")
    write_sample(found / "sample", years=1)
    return found


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with NatsServer() as nats, serving(settings_of(nats, folder / "sample", folder)) as found:
        yield found


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as found:
        yield found


@pytest.fixture(scope="module")
def run(url: str) -> Iterator[Run]:
    """A run that has ended: 5,785 ticks, more than one page of curves, with orders."""
    with Client(f"{url}/api/v1/") as client:
        run = client.submit("eth_leveraged", **WEEKS, capital=100)
        assert run.wait().status == "completed"
        yield run


def test_a_run_is_submitted_followed_and_reported(client: Client) -> None:
    seen: list[RunStatus] = []
    run = client.submit(
        "pure_lending_usdt", start=date(2022, 1, 3), end=date(2022, 1, 10), capital=5_000, share_class="USDT"
    )
    report = run.wait(seen.append, timeout_s=60)
    assert (report.status, report.initial_capital, report.ticks) == ("completed", 5_000, 7 * 24 + 1)
    assert report.metrics is not None
    assert report.metrics.total_return is not None
    assert [status.progress for status in seen] == sorted(status.progress for status in seen)
    assert seen[-1].status == run.status().status == "completed"
    assert run.cancel().status == "completed"


def test_curves_hold_every_tick_and_are_those_of_the_server(run: Run) -> None:
    report = run.report()
    frame = run.curves("equity", "drawdown", "capital")
    assert frame.columns == ["tick", "time", "equity", "drawdown", "capital"]
    assert frame["tick"].to_list() == list(range(report.ticks))
    assert frame.schema["time"] == pl.Datetime("ms", "UTC")
    assert frame["time"].is_sorted()
    assert frame["equity"][-1] == report.final_value
    assert frame["drawdown"].min() == pytest.approx(report.max_drawdown, abs=1e-12)
    few = run.curves("equity", points=100)
    assert len(few) < 1000 < len(frame)
    whole = dict(zip(frame["tick"], frame["equity"], strict=True))
    assert all(whole[tick] == value for tick, value in few.select("tick", "equity").iter_rows())
    assert few["equity"].max() == frame["equity"].max()


def test_pandas_frames_hold_the_same(run: Run) -> None:
    pandas = run.curves("equity", frame="pandas")
    assert pandas["equity"].tolist() == run.curves("equity")["equity"].to_list()
    assert str(pandas["time"].dt.tz) == "UTC"
    assert run.orders(frame="pandas")["operation_id"].tolist() == run.orders()["operation_id"].to_list()
    assert len(run.events("orders", frame="pandas")) == len(run.orders())


def test_orders_and_events_are_all_there(run: Run) -> None:
    report, orders = run.report(), run.orders()
    assert report.counts is not None
    assert len(orders) == report.counts["orders"] > 4
    assert orders["order"].is_sorted()
    assert orders.schema["timestamp"] == pl.Datetime("us", "UTC")
    supply = orders.filter(pl.col("operation_type") == "supply").row(0, named=True)
    one = run.order(supply["operation_id"])
    assert one.expected_deltas == json.loads(supply["expected_deltas"])
    assert one.group is not None
    events = run.events("strategy_decisions")
    assert len(events) == report.counts["strategy_decisions"] == report.ticks
    assert [event["order"] for event in run.iter_events("orders")] == orders["order"].to_list()
    held = run.events("strategy_decisions", text="entry_full")
    assert 0 < len(held) < len(events)
    assert run.at(0).tick == 0
    assert report.final_value is not None
    assert sum(day.pnl for day in run.pnl().days) == pytest.approx(report.final_value - 100, rel=1e-9)


def test_files(run: Run, tmp_path: Path) -> None:
    archive = run.export(tmp_path)
    assert archive.name == f"{run.correlation_id}.zip"
    with zipfile.ZipFile(archive) as found:
        assert found.testzip() is None
        assert any(name.endswith("curves.parquet") for name in found.namelist())
    page = run.tearsheet(tmp_path / "sheet.html")
    assert "<html" in page.read_text()[:500].lower()
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, "sheet.html"}
    with pytest.raises(NotFoundError):
        Run(run._transport, UNKNOWN).export(tmp_path / "nothing.zip")
    assert not list(tmp_path.glob("nothing*"))


def test_runs_are_listed_and_compared(client: Client, run: Run) -> None:
    other = client.submit("eth_leveraged", **WEEKS, capital=100)
    other.wait()
    found = list(client.list(strategy="eth_leveraged", status="completed"))
    assert [summary.correlation_id for summary in found] == [other.correlation_id, run.correlation_id]
    assert [summary.correlation_id for summary in client.list(limit=1)] == [other.correlation_id]
    assert list(client.list(text="no such text")) == []
    comparison = client.compare(run, other.correlation_id)
    assert comparison.same_events
    other.delete()
    with pytest.raises(NotFoundError) as caught:
        other.report()
    assert caught.value.error_code == "RUN-001"


def test_a_run_is_cancelled_and_says_so(client: Client) -> None:
    run = client.submit("pure_lending_usdt", **WEEKS, overrides=SLOW)
    with pytest.raises(TimeoutError, match=run.correlation_id):
        run.wait(timeout_s=0.0)
    with pytest.raises(ConflictError):
        run.delete()
    next(status for status in run.follow() if status.status == "running")
    paid = run.deposit(1_000, request_id="once")
    assert run.deposit(1_000, request_id="once") == paid
    assert (paid["kind"], paid["currency"]) == ("deposit", "USDT")
    assert run.withdraw(10)["tick"] >= paid["tick"]
    run.cancel()
    with pytest.raises(RunFailedError, match="ENGINE-003") as caught:
        run.wait()
    assert (caught.value.status.status, caught.value.error_code) == ("cancelled", "ENGINE-003")
    assert run.wait(check=False).status == "cancelled"
    with pytest.raises(ConflictError, match="RUN-003"):
        run.deposit(1)


def test_bad_input_is_an_error_with_the_problem_document(client: Client) -> None:
    with pytest.raises(RefusedError, match="pure_lending_usdt") as caught:
        client.submit("pure_lending_usd")
    problem = caught.value.problem
    assert problem is not None
    assert (problem.status, problem.error_code, problem.instance) == (422, "CONFIG-001", "/api/v1/backtest/")
    assert problem.correlation_id is not None
    with pytest.raises(RefusedError, match="capital"):
        client.submit("pure_lending_usdt", capital=-1)
    with pytest.raises(RefusedError, match="no_such"):
        client.run(next(client.list(limit=1)).correlation_id).curves("no_such")
    for bad in ("x", "../../etc", "0" * 32 + "\n"):
        with pytest.raises(RefusedError, match="32 lower-case hex"):
            client.run(bad)


def test_modes(client: Client) -> None:
    modes = client.modes()
    assert len(modes) == 10
    assert client.config("btc_basis")["config"]["mode"] == "btc_basis"
    assert client.schema("btc_basis")["properties"]["margin_ratio_target"]["default"] == 0.5
    assert client.health()["status"] == "ok"


def test_keys_and_limits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, kept = keys.make("reader", Scope.READ)
    with NatsServer() as nats:
        settings = settings_of(nats, folder / "sample", folder / "closed").model_copy(
            update={"api_keys": kept.line(), "gateway_rate_per_s": 1.0, "gateway_burst": 5}
        )
        with serving(settings) as url:
            with Client(url) as nobody, pytest.raises(DeniedError, match="AUTH-001"):
                list(nobody.list())
            with Client(url, api_key=key) as reader:
                assert list(reader.list()) == []
                with pytest.raises(DeniedError, match="AUTH-002"):
                    reader.submit("pure_lending_usdt")
                for _ in range(6):  # more than the burst: it waits as it is told
                    reader.modes()
                monkeypatch.setattr("basis.client.transport._LONGEST_WAIT_S", 0.5)
                with pytest.raises(TooManyRequestsError) as caught:
                    for _ in range(10):
                        reader.modes()
                assert caught.value.retry_after_s == 1.0
            monkeypatch.setenv("BASIS_API_KEY", key)
            monkeypatch.setenv("BASIS_URL", url)
            monkeypatch.setattr("basis.client.transport._LONGEST_WAIT_S", 30.0)
            with Client() as client:
                assert list(client.list()) == []


def test_a_gateway_that_is_not_there_is_one_clear_error() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(UnavailableError, match="basis services up"):
        client.submit("pure_lending_usdt")


def test_a_closed_client_is_closed(url: str) -> None:
    with Client(url) as client:
        client.modes()
    with pytest.raises(RuntimeError):
        client.modes()
    assert httpx.get(f"{url}/api/v1/health").status_code == 200
