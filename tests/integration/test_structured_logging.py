"""Component logs reach their files, errors carry code and stack trace, and one trace follows one run everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.cluster import embedded_cluster, log_lines
from tests.support.market import write_market

from basis.gateway.backtest_service import BacktestService
from basis.models.messages import RunSubmit
from basis.runtime import codec, config_loader, subjects
from basis.runtime.bus import StreamMessage
from basis.runtime.clock import SystemClock
from basis.runtime.structured_logger import COMPONENTS
from basis.testkit.runs import CID, CONFIGS, REPO, START, mode_config

if TYPE_CHECKING:
    from basis.models.messages import RunOutcome

RANGE = {"start": "2024-05-12", "end": "2024-05-13"}


async def finished(tmp_path: Path, **overrides: object) -> RunOutcome:
    data = write_market(tmp_path / "data", mode_config())
    async with embedded_cluster(tmp_path, data) as cluster:
        return await cluster.backtest(**RANGE, **overrides)  # type: ignore[arg-type]


async def test_every_component_has_a_log_whose_lines_say_when_who_and_what(tmp_path: Path) -> None:
    outcome = await finished(tmp_path)
    before = datetime.now(UTC) - timedelta(minutes=10)
    for component in COMPONENTS:
        lines = log_lines(outcome, component)
        assert lines, component
        for line in lines:
            assert line["component"] == component
            assert line["correlation_id"] == outcome.status.correlation_id
            assert line["level"] in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
            assert line["message"].strip()
            engine, wall = (datetime.fromisoformat(line[name]) for name in ("timestamp", "real_utc_time"))
            assert engine.utcoffset() == wall.utcoffset() == timedelta(0)
            assert datetime(2024, 5, 12, tzinfo=UTC) <= engine <= datetime(2024, 5, 13, tzinfo=UTC)
            assert wall > before
            assert "error_code" not in line


async def test_story_of_a_run_is_in_the_logs(tmp_path: Path) -> None:
    outcome = await finished(tmp_path)
    assert any("accepted pure_lending_usdt" in line["message"] for line in log_lines(outcome, "api"))
    strategy = [line["message"] for line in log_lines(outcome, "strategy_manager")]
    assert strategy == ["run of pure_lending_usdt starts", "1 of 1 orders confirmed", "run completed after 25 ticks"]
    (executed,) = log_lines(outcome, "execution_manager")
    assert "supply" in executed["message"]
    assert executed["operation_id"] in {
        log["operation_ids"][0] for log in log_lines(outcome, "position_update_handler")[1:]
    }


async def test_refused_order_is_logged_with_its_code_and_the_run_goes_on(tmp_path: Path) -> None:
    config = mode_config().model_dump(mode="json")["venues"]["aave_v3"]["reserves"]["USDT"]
    outcome = await finished(
        tmp_path,
        capital=1000.0,
        venues__aave_v3__reserves__USDT=config | {"supply_cap": 10.0},
        engine__max_window=4,
    )
    assert outcome.status.status == "completed"
    assert outcome.result is not None
    assert outcome.result.failed_orders == 25
    refused = [line for line in log_lines(outcome, "execution_manager") if line["level"] == "ERROR"]
    assert {line["error_code"] for line in refused} == {"VEN-009"}
    assert all("supply cap" in line["message"] for line in refused)
    assert len(refused) == 25


async def test_run_that_fails_leaves_code_and_stack_trace_in_the_log(tmp_path: Path) -> None:
    data = write_market(tmp_path / "data", mode_config())
    merged = config_loader.load(CONFIGS, "pure_lending_usdt")
    submit = RunSubmit(
        correlation_id=CID,
        run_mode="backtest",
        config=merged.payload,
        config_sha256=merged.sha256,
        start=START,
        end=START + timedelta(hours=5),
        initial_capital=1000.0,
        data_sha256="0" * 64,  # not what the catalogue holds
        data_path=str(data),
        submitted_at=START,
    )
    async with embedded_cluster(tmp_path, data) as cluster:
        message = StreamMessage(
            subjects.run_submit(CID), codec.encode(submit), {subjects.HEADER_MSG_ID: f"{CID}.submit"}
        )
        await cluster.bus.publish_stream([message])
        service = BacktestService(cluster.bus, SystemClock())
        async for _ in service.follow(CID):
            pass
        outcome = await service.outcome(CID)
    assert outcome is not None
    assert (outcome.status.status, outcome.status.error_code, outcome.ticks) == ("failed", "DATA-002", 0)
    (error,) = [line for line in log_lines(outcome, "strategy_manager") if "error_code" in line]
    assert (error["level"], error["error_code"], error["timestamp"]) == (
        "CRITICAL",
        "DATA-002",
        "2024-05-12T00:00:00+00:00",
    )
    assert "Traceback" in error["stack_trace"]
    assert "_advance" in error["stack_trace"]
    assert "changed since the run was accepted" in error["message"]


TRACED = """
import asyncio, json, sys
from pathlib import Path
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

from tests.support.cluster import embedded_cluster

async def main(folder: Path) -> None:
    async with embedded_cluster(folder, folder / "data") as cluster:
        with trace.get_tracer("test").start_as_current_span("client") as span:
            outcome = await cluster.backtest(start="2024-05-12", end="2024-05-13")
        root = format(span.get_span_context().trace_id, "032x")
    spans = [
        {
            "name": found.name,
            "scope": found.instrumentation_scope.name,
            "kind": found.kind.name,
            "trace": format(found.context.trace_id, "032x"),
            "id": format(found.context.span_id, "016x"),
            "parent": format(found.parent.span_id, "016x") if found.parent else None,
        }
        for found in exporter.get_finished_spans()
    ]
    print(json.dumps({"status": outcome.status.status, "root": root, "spans": spans}))

asyncio.run(main(Path(sys.argv[1])))
"""


def test_one_trace_follows_one_run_through_all_services(tmp_path: Path) -> None:
    write_market(tmp_path / "data", mode_config())
    done = subprocess.run(
        [sys.executable, "-c", TRACED, str(tmp_path)],
        cwd=REPO,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == "completed"
    ours = [span for span in found["spans"] if span["trace"] == found["root"]]
    names = {span["name"] for span in ours}
    assert {"venues.advance", "monitors.assess", "monitors.commit", "orders", "venues.execute"} <= names
    assert {"monitors.reconcile", "run"} <= names
    ids = {span["id"] for span in ours}
    orphans = [span for span in ours if span["parent"] is not None and span["parent"] not in ids]
    assert not orphans
    served = [span for span in found["spans"] if span["kind"] == "SERVER" and span["name"].endswith("monitors.commit")]
    assert served
    assert all(span["trace"] == found["root"] for span in served)
