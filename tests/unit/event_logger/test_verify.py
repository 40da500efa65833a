"""verify: each kind of tampering is found and said in plain words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import pytest

from basis.event_logger.core.plan import Incoming
from basis.event_logger.directories import LogDirectoryManager, RunDir
from basis.event_logger.store import Store
from basis.event_logger.verify import verify
from basis.models.errors import InputError
from basis.models.messages import RunEnd, RunStart
from basis.runtime import codec
from basis.runtime.clock import SystemClock
from basis.runtime.domain_events import DomainEventLogger

if TYPE_CHECKING:
    from pathlib import Path

CID = "a" * 32
NOW = datetime(2024, 5, 12, tzinfo=UTC)
STAMP = "2024-05-12T00:00:00+00:00"
POSITIONS = "events/positions.jsonl"


def written(root: Path, *, sealed: bool) -> RunDir:
    store = Store(LogDirectoryManager(root), "5eed", SystemClock(), fsync=False)
    assert store.try_lock()
    store.recover()
    start = RunStart(
        correlation_id=CID, pid=7, mode="backtest", strategy="x", initial_capital=1.0, share_class="USDT", config={},
        config_sha256="0" * 64, data_path="none", data_sha256="0" * 64, code_version="0", start_time=NOW, end_time=NOW,
        started_at=NOW,
    )  # fmt: skip
    store.open_run(Incoming(1, f"basis.{CID}.run.start", codec.encode(start)), CID)
    logger = DomainEventLogger(CID, 7, NOW)
    for tick in range(3):
        logger.log_position_snapshot(
            tick * 10, STAMP, positions={"a": 1.5}, total_value_usd=1.0, position_type="simulated", trigger_source="x"
        )
        logger.log_exposure_snapshot(
            tick * 10 + 1, STAMP, net_delta_usd=0.0, asset_exposures={}, total_value_usd=1.0, share_class_value=1.0
        )
    for seq, message in enumerate(logger.stream_messages(logger.drain()), 2):
        incoming = Incoming(seq, message.subject, message.payload, message.headers["Basis-Orders"])
        for _, routed in store.segments([incoming]):
            store.append(routed)
    end = RunEnd(
        correlation_id=CID, pid=7, status="completed", last_tick=2, timestamp=NOW, ticks=3,
        counts={"positions": 3, "exposures": 3}, ended_at=NOW,
    )  # fmt: skip
    if sealed:
        store.seal(Incoming(9, f"basis.{CID}.run.end", codec.encode(end)), CID)
        store.close_run(9, CID, sealed=True)
    store.release()
    return LogDirectoryManager(root).find(CID)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return written(tmp_path / "logs", sealed=True)


def lines_of(run: RunDir) -> list[bytes]:
    return (run.path / POSITIONS).read_bytes().splitlines(keepends=True)


def put(run: RunDir, *lines: bytes) -> None:
    (run.path / POSITIONS).write_bytes(b"".join(lines))


def problems(run: RunDir) -> str:
    report = verify(run)
    assert report.ok is not bool(report.problems)
    return "\n".join(report.problems)


def test_a_sealed_run_is_as_sealed(run: RunDir) -> None:
    report = verify(run)
    assert report.problems == ()
    assert report.ok
    assert (report.correlation_id, report.files, report.events) == (CID, 11, 8)
    assert report.event_hash == LogDirectoryManager(run.path.parent.parent).read_metadata(run).event_hash


def test_a_changed_value(run: RunDir) -> None:
    first, *rest = lines_of(run)
    put(run, first.replace(b"1.5", b"1.6"), *rest)
    found = problems(run)
    assert "positions.jsonl is changed: SHA-256" in found
    assert "event hash is" in found


def test_a_changed_wall_clock(run: RunDir) -> None:
    first, *rest = lines_of(run)
    put(run, first.replace(b'"real_utc_time":"2024', b'"real_utc_time":"2023'), *rest)
    found = problems(run)
    assert "positions.jsonl is changed: SHA-256" in found
    assert "event hash" not in found


def test_a_removed_line(run: RunDir) -> None:
    put(run, *lines_of(run)[1:])
    assert f"{POSITIONS} has 2 lines, sealed with 3" in problems(run)


def test_a_doubled_line(run: RunDir) -> None:
    first, *rest = lines_of(run)
    put(run, first, first, *rest)
    found = problems(run)
    assert f"{POSITIONS} has 4 lines, sealed with 3" in found
    assert f"{POSITIONS} is out of order at 1 lines" in found


def test_swapped_lines(run: RunDir) -> None:
    first, second, third = lines_of(run)
    put(run, second, first, third)
    assert "is out of order" in problems(run)


def test_an_order_of_another_file(run: RunDir) -> None:
    first, *rest = lines_of(run)
    put(run, first.replace(b'"order":0,', b'"order":1,'), *rest)
    assert "1 orders occur more than once, the first is 1" in problems(run)


def test_a_cut_line(run: RunDir) -> None:
    first, second, third = lines_of(run)
    put(run, first, second, third[:40])
    found = problems(run)
    assert f"{POSITIONS} line 3 is no PositionSnapshot" in found
    assert verify(run).event_hash is None


def test_many_bad_lines_are_counted(run: RunDir) -> None:
    put(run, *([b"{}\n"] * 10))
    assert f"{POSITIONS} has 7 more bad lines" in problems(run)


def test_an_unknown_field(run: RunDir) -> None:
    first, *rest = lines_of(run)
    put(run, first[:-2] + b',"surprise":1}\n', *rest)
    assert "line 1 is no PositionSnapshot: surprise" in problems(run)


def test_another_runs_line(run: RunDir) -> None:
    first, *rest = lines_of(run)
    put(run, first.replace(CID.encode(), b"b" * 32), *rest)
    assert f"line 1 belongs to run {'b' * 32}, pid 7" in problems(run)


def test_a_missing_file(run: RunDir) -> None:
    (run.path / POSITIONS).unlink()
    (run.path / "api.log").unlink()
    found = problems(run)
    assert f"{POSITIONS} is missing" in found
    assert "api.log is missing" in found


def test_an_extra_file(run: RunDir) -> None:
    (run.events / "orders.jsonl").write_bytes(b"")
    (run.path / "notes.txt").write_bytes(b"x")
    found = problems(run)
    assert "events/orders.jsonl was not there when the run was sealed" in found
    assert "notes.txt was not there when the run was sealed" in found


def test_a_changed_component_log(run: RunDir) -> None:
    (run.path / "api.log").write_bytes(b"{}\n")
    assert "api.log has 1 lines, sealed with 0" in problems(run)


def test_changed_metadata(run: RunDir) -> None:
    content = orjson.loads(run.metadata.read_bytes())
    for changed, expected in (
        ({"event_hash": "0" * 64}, "event hash is"),
        ({"counts": content["counts"] | {"positions": 4}}, "contradicts itself on the number of positions"),
        ({"pid": 8}, f"is that of run {CID}, pid 8"),
        ({"sealed_at": None}, "the run is not sealed"),
        ({"seal_error": "LOG-005: x"}, "sealed with an error: LOG-005: x"),
    ):
        run.metadata.write_bytes(orjson.dumps(content | changed))
        assert expected in problems(run)
    run.metadata.write_bytes(b"{")
    assert "run_metadata.json is damaged" in problems(run)
    run.metadata.unlink()
    with pytest.raises(InputError):
        verify(run)


def test_an_unsealed_run_says_so(tmp_path: Path) -> None:
    assert problems(written(tmp_path / "logs", sealed=False)) == "the run is not sealed: status running"
