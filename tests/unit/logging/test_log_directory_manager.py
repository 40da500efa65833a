"""LogDirectoryManager: where files are, and what never becomes a path."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from basis.event_logger.directories import LogDirectoryManager, RunDir, write_atomically
from basis.models.errors import ComponentError, InputError
from basis.models.messages import RunMetadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CID = "0123456789abcdef0123456789abcdef"
NOW = datetime(2024, 5, 12, tzinfo=UTC)


def metadata(cid: str = CID, pid: int = 7) -> RunMetadata:
    return RunMetadata(
        correlation_id=cid, pid=pid, mode="backtest", strategy="btc_basis", initial_capital=1.0, share_class="USDT",
        config={}, config_sha256="0" * 64, data_path="none", data_sha256="0" * 64, code_version="0", start_time=NOW,
        end_time=NOW, started_at=NOW, status="running",
    )  # fmt: skip


@pytest.fixture
def logs(tmp_path: Path) -> LogDirectoryManager:
    return LogDirectoryManager(tmp_path / "logs")


def test_a_run_has_its_place(logs: LogDirectoryManager) -> None:
    run = logs.create(CID, 7)
    assert run.path == logs.root / CID / "7"
    assert run.events.is_dir()
    assert logs.event_file(run, "positions") == run.path / "events" / "positions.jsonl"
    assert logs.component_log(run, "risk_monitor") == run.path / "risk_monitor.log"
    assert run.metadata == run.path / "run_metadata.json"
    assert logs.create(CID, 7) == run, "again is no error"


@pytest.mark.parametrize(
    "cid", ["", "..", "../../etc", "a" * 31, "a" * 33, "A" * 32, "g" * 32, f"../{'a' * 29}", "a" * 32 + "\n", "/" * 32]
)
def test_what_is_no_correlation_id_touches_no_path(logs: LogDirectoryManager, cid: str) -> None:
    attempts: list[Callable[[], object]] = [lambda: logs.create(cid, 7), lambda: logs.find(cid)]
    for attempt in attempts:
        with pytest.raises(InputError) as raised:
            attempt()
        assert raised.value.error_code == "RUN-001"
    assert not logs.root.exists()


@pytest.mark.parametrize("pid", [0, -1])
def test_what_is_no_pid_touches_no_path(logs: LogDirectoryManager, pid: int) -> None:
    with pytest.raises(InputError):
        logs.create(CID, pid)
    assert not logs.root.exists()


def test_unknown_event_types_and_components_are_refused(logs: LogDirectoryManager) -> None:
    run = logs.run_dir(CID, 7)
    attempts: list[Callable[[], object]] = [
        lambda: logs.event_file(run, "../x"),
        lambda: logs.component_log(run, "../x"),
    ]
    for attempt in attempts:
        with pytest.raises(InputError) as raised:
            attempt()
        assert raised.value.error_code == "LOG-003"


def test_a_directory_that_cannot_be_made_says_why(logs: LogDirectoryManager) -> None:
    logs.root.write_text("in the way")
    with pytest.raises(ComponentError) as raised:
        logs.create(CID, 7)
    assert raised.value.error_code == "LOG-003"
    assert "Not a directory" in raised.value.message
    with pytest.raises(ComponentError) as raised:
        logs.check_writable()
    assert raised.value.error_code == "LOG-003"
    assert str(logs.root) in raised.value.message


def test_the_check_leaves_nothing(logs: LogDirectoryManager) -> None:
    logs.check_writable()
    assert list(logs.root.iterdir()) == []


def test_runs_are_listed_and_found(logs: LogDirectoryManager) -> None:
    assert logs.runs() == []
    other = "f" * 32
    for cid, pid in ((other, 3), (CID, 7)):
        logs.write_metadata(logs.create(cid, pid), metadata(cid, pid))
    logs.create("e" * 32, 1)  # began, but has no metadata yet
    (logs.root / ".event-logger").mkdir()
    (logs.root / "notes.txt").write_text("a person's")
    (logs.root / CID / "notes").mkdir()
    assert logs.runs() == [RunDir(CID, 7, logs.root / CID / "7"), RunDir(other, 3, logs.root / other / "3")]
    assert logs.find(CID).pid == 7
    for unknown in ("e" * 32, "d" * 32):
        with pytest.raises(InputError) as raised:
            logs.find(unknown)
        assert raised.value.error_code == "RUN-001"


def test_metadata_comes_back(logs: LogDirectoryManager) -> None:
    run = logs.create(CID, 7)
    logs.write_metadata(run, metadata(), sync=True)
    assert logs.read_metadata(run) == metadata()
    assert [path.name for path in run.path.iterdir() if path.is_file()] == ["run_metadata.json"]
    assert run.metadata.read_text().startswith('{\n  "correlation_id"'), "indented, for people"
    run.metadata.write_text("{}")
    with pytest.raises(ComponentError) as raised:
        logs.read_metadata(run)
    assert raised.value.error_code == "LOG-004"
    run.metadata.unlink()
    with pytest.raises(InputError):
        logs.read_metadata(run)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path as RealPath

    file = tmp_path / "x.json"
    write_atomically(file, b"old")

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(RealPath, "replace", broken)
    with pytest.raises(OSError, match="Input/output"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
