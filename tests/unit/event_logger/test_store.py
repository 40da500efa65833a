"""The store on real files: a crash at every single write leaves nothing doubled and nothing lost."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from basis.event_logger import digester, files
from basis.event_logger import store as store_module
from basis.event_logger.core import digests, seal
from basis.event_logger.core.plan import Incoming
from basis.event_logger.directories import STATE_DIR, LogDirectoryManager
from basis.event_logger.store import Store
from basis.event_logger.verify import verify
from basis.models.messages import RunEnd, RunSealed, RunStart
from basis.runtime import codec
from basis.runtime.clock import SystemClock
from basis.runtime.domain_events import DomainEventLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from basis.event_logger.core.digests import EventDigest

CID, OTHER = "a" * 32, "b" * 32
NOW = datetime(2024, 5, 12, tzinfo=UTC)
STAMP = "2024-05-12T00:00:00+00:00"


class Crash(BaseException):
    """The process is gone."""


def start(cid: str, seq: int) -> Incoming:
    model = RunStart(
        correlation_id=cid, pid=7, mode="backtest", strategy="x", initial_capital=1.0, share_class="USDT", config={},
        config_sha256="0" * 64, data_path="none", data_sha256="0" * 64, code_version="0", start_time=NOW, end_time=NOW,
        started_at=NOW,
    )  # fmt: skip
    return Incoming(seq, f"basis.{cid}.run.start", codec.encode(model))


def end(cid: str, seq: int, **counts: int) -> Incoming:
    model = RunEnd(
        correlation_id=cid, pid=7, status="completed", last_tick=99, timestamp=NOW, ticks=1, counts=counts, ended_at=NOW
    )
    return Incoming(seq, f"basis.{cid}.run.end", codec.encode(model))


def positions(cid: str, seq: int, *orders: int) -> Incoming:
    logger = DomainEventLogger(cid, 7, NOW)
    for order in orders:
        logger.log_position_snapshot(
            order, STAMP, positions={}, total_value_usd=1.0, position_type="simulated", trigger_source="x"
        )
    (message,) = logger.stream_messages(logger.drain())
    return Incoming(seq, message.subject, message.payload, message.headers["Basis-Orders"])


def log(cid: str, seq: int, text: bytes) -> Incoming:
    return Incoming(seq, f"basis.{cid}.logs.api", text)


STREAM = (
    log(CID, 1, b'"early"\n'),
    start(CID, 2),
    positions(CID, 3, 1, 2),
    start(OTHER, 4),
    positions(OTHER, 5, 1),
    positions(CID, 6, 3),
    log(CID, 7, b'"late"\n'),
    positions(CID, 8, 4, 5),
    end(CID, 9, positions=5),
    positions(OTHER, 10, 2),
    end(OTHER, 11, positions=2),
)


def opened(root: Path, **changed: Any) -> Store:
    store = Store(LogDirectoryManager(root), "5eed", SystemClock(), **({"fsync": False} | changed))
    assert store.try_lock()
    store.recover()
    return store


def take(store: Store, messages: tuple[Incoming, ...], batch: int) -> list[RunSealed]:
    """As the service does it, without the bus."""
    told = []
    for begin in range(0, len(messages), batch):
        for kind, routed in store.segments(messages[begin : begin + batch]):
            message, where = routed[0]
            match kind:
                case "start":
                    store.open_run(message, where.cid)
                case "end":
                    sealed, _ = store.seal(message, where.cid)
                    told += [] if sealed is None else [sealed]
                    store.close_run(message.seq, where.cid, sealed=sealed is not None)
                case _:
                    store.append(routed)
    return told


def drop(store: Store) -> None:
    """What the kernel does for a process that is gone."""
    if store._lock is not None:
        os.close(store._lock)
        store._lock = None
    store._files.close()


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "run_metadata.json" and seal.OPERATIONS not in path.name
    }


def hashes(root: Path) -> list[str | None]:
    logs = LogDirectoryManager(root)
    reports = [verify(run) for run in logs.runs()]
    assert [report.problems for report in reports] == [(), ()]
    return [report.event_hash for report in reports]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed") / "logs"
    store = opened(root)
    assert [sealed.error for sealed in take(store, STREAM, 100)] == [None, None]
    store.release()
    return root


def test_files_hold_what_came(undisturbed: Path) -> None:
    found = contents(undisturbed)
    assert found[f"{CID}/7/api.log"] == b'"early"\n"late"\n'
    assert found[f"{CID}/7/events/positions.jsonl"] == b"".join(STREAM[place].payload for place in (2, 5, 7))
    assert not (undisturbed / STATE_DIR).exists()


def crashing(monkeypatch: pytest.MonkeyPatch, at: int, *, half: bool) -> Callable[[], int]:
    """Let the process die at the n-th write, after it or (appends) in the middle of it."""
    count = 0
    writev, truncate, replace, mkdir = os.writev, os.truncate, Path.replace, Path.mkdir

    def step() -> bool:
        nonlocal count
        count += 1
        return count == at

    def crashing_writev(handle: int, parts: Any) -> int:
        if not step():
            return writev(handle, parts)
        whole = b"".join(parts)
        os.write(handle, whole[: len(whole) // 2] if half else whole)
        raise Crash

    def then_crash(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            dies = step()
            if dies and half:
                raise Crash
            result = real(*args, **kwargs)
            if dies:
                raise Crash
            return result

        return call

    monkeypatch.setattr(os, "writev", crashing_writev)
    monkeypatch.setattr(os, "truncate", then_crash(truncate))
    monkeypatch.setattr(Path, "replace", then_crash(replace))
    monkeypatch.setattr(Path, "mkdir", then_crash(mkdir))
    return lambda: count


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_crash_at_any_write(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, half: bool
) -> None:
    expected, expected_hashes = contents(undisturbed), hashes(undisturbed)
    at, died = 0, True
    while died:
        at, died = at + 1, False
        root = tmp_path / str(at)
        with monkeypatch.context() as patch:
            crashing(patch, at, half=half)
            first = Store(LogDirectoryManager(root), "5eed", SystemClock(), fsync=False)
            try:
                first.try_lock()
                first.recover()
                take(first, STREAM, batch)
            except Crash:
                died = True
            drop(first)
        second = opened(root)
        told = take(second, STREAM, batch)
        second.release()
        assert contents(root) == expected, f"crash at write {at}"
        assert hashes(root) == expected_hashes
        assert all(sealed.error is None for sealed in told)
    assert at > 20


@pytest.mark.parametrize("batch", [1, 100])
def test_a_disk_error_at_any_write_is_undone_and_tried_again(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    writev = os.writev
    at, failed = 0, True
    while failed:
        at, failed = at + 1, False
        root, count = tmp_path / str(at), 0

        def failing(handle: int, parts: Any, at: int = at) -> int:
            nonlocal count, failed
            count += 1
            if count != at:
                return writev(handle, parts)
            failed = True
            os.write(handle, b"".join(parts)[:3])
            raise OSError(28, "No space left on device")

        store = opened(root)
        with monkeypatch.context() as patch:
            patch.setattr(os, "writev", failing)
            for _ in range(2):  # the service tries the same batch again
                try:
                    for begin in range(0, len(STREAM), batch):
                        take(store, STREAM[begin : begin + batch], batch)
                except OSError:
                    continue
                break
        store.release()
        assert contents(root) == contents(undisturbed), f"error at write {at}"
        assert hashes(root) == hashes(undisturbed)
    assert at > 10


# -------------------------------------------------------------------------------------------- hashed while appending


def reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a seal reads from the disk, from now on."""
    read: list[str] = []
    inspect, event_digest = files.inspect, files.event_digest

    def noting_inspect(path: Path) -> seal.Inspected:
        read.append(path.name)
        return inspect(path)

    def noting_digest(paths: Iterable[Path], correlation_id: str) -> EventDigest:
        read.append("events")
        return event_digest(paths, correlation_id)

    monkeypatch.setattr(files, "inspect", noting_inspect)
    monkeypatch.setattr(files, "event_digest", noting_digest)
    return read


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_a_seal_reads_nothing_but_its_own_events(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    root, store = tmp_path / "logs", opened(tmp_path / "logs")
    read = reading(monkeypatch)
    take(store, STREAM, batch)
    assert read == [f"{seal.OPERATIONS}.jsonl"] * 2
    assert not store._digester._runs
    store.release()
    assert hashes(root) == hashes(undisturbed)


@pytest.mark.parametrize("place", range(2, 9))
def test_a_run_taken_over_is_read(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    root = tmp_path / "logs"
    store = opened(root)
    take(store, STREAM[:place], 1)
    drop(store)
    store = opened(root)
    read = reading(monkeypatch)
    take(store, STREAM, 1)
    assert {"events", "positions.jsonl", "api.log"} <= set(read)
    store.release()
    assert contents(root) == contents(undisturbed)
    assert hashes(root) == hashes(undisturbed)


def test_adopted_files_are_read(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "logs"
    store = opened(root)
    take(store, STREAM[:6], 1)
    drop(store)
    next((root / STATE_DIR).glob("*.journal")).unlink()
    store = opened(root)
    read = reading(monkeypatch)
    take(store, STREAM, 1)
    assert "events" in read
    store.release()
    assert hashes(root) == hashes(undisturbed)


def test_a_batch_that_was_not_hashed_is_read(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the files and in the journal, but what comes after that failed."""
    root = tmp_path / "logs"
    store = opened(root)
    take(store, STREAM[:5], 1)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="full"):
        patch.setattr(store_module, "JOURNAL_BYTES", 0)
        patch.setattr(store_module, "write_atomically", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
        take(store, STREAM[5:6], 1)
    read = reading(monkeypatch)
    take(store, STREAM[5:], 1)
    assert read.count("events") == 1  # the other run's are hashed
    store.release()
    assert contents(root) == contents(undisturbed)
    assert hashes(root) == hashes(undisturbed)


def test_a_void_digest_is_made_up_for(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "HELD_BYTES", 0)
    root = tmp_path / "logs"
    store = opened(root)
    read = reading(monkeypatch)
    take(store, STREAM, 3)
    assert read.count("events") == 2
    assert "positions.jsonl" not in read  # the digests of the files are good
    store.release()
    assert hashes(root) == hashes(undisturbed)


def test_appending_waits_for_the_hashing(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digester, "BACKLOG_BYTES", 0)
    root = tmp_path / "logs"
    store = opened(root)
    take(store, STREAM[:-1], 1)
    assert store._digester._backlog == 0
    assert not store._digester._waiting
    take(store, STREAM[-1:], 1)
    store.release()
    assert hashes(root) == hashes(undisturbed)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    first = opened(tmp_path / "logs")
    second = Store(LogDirectoryManager(tmp_path / "logs"), "5eed", SystemClock(), fsync=False)
    assert not second.try_lock()
    first.release()
    assert second.try_lock()
    second.recover()
    second.release()


def test_the_journal_stays_while_a_run_is_open(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    store = opened(root)
    take(store, STREAM[:3], 100)
    store.release()
    assert [path.suffix for path in sorted((root / STATE_DIR).iterdir())] == [".journal", ".lock"]
    store = opened(root)
    assert store.position.seq == 3
    take(store, STREAM, 100)
    store.release()
    assert not (root / STATE_DIR).exists()


def test_the_journal_stays_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "JOURNAL_BYTES", 2_000)
    root = tmp_path / "logs"
    store = opened(root)
    take(store, (STREAM[0], STREAM[1]), 1)
    for order in range(100):
        take(store, (positions(CID, order + 10, order),), 1)
    assert (root / STATE_DIR / "5eed.journal").stat().st_size <= 2_000
    drop(store)
    store = opened(root)
    assert store.position.seq == 109
    assert take(store, (end(CID, 200, positions=100),), 1)[0].error is None
    store.release()


def test_many_files_need_few_handles(tmp_path: Path) -> None:
    appended = files.AppendFiles(max_open=3)
    for turn in range(3):
        for number in range(10):
            appended.append(tmp_path / str(number), [b"%d\n" % turn])
    assert len(appended._open) == 3
    appended.close()
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"0\n1\n2\n"}


def test_more_buffers_than_one_call_takes(tmp_path: Path) -> None:
    appended = files.AppendFiles()
    parts = [b"%d\n" % number for number in range(3000)]
    appended.append(tmp_path / "x", parts, sync=True)
    appended.close()
    assert (tmp_path / "x").read_bytes() == b"".join(parts)


def test_a_line_that_is_no_event_does_not_prevent_the_seal(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    store = opened(root)
    bad = Incoming(3, f"basis.{CID}.events.positions", b"no json\n", "1:1:1")
    (sealed,) = take(store, (start(CID, 2), bad, end(CID, 4, positions=1)), 100)
    assert sealed.error_code == "LOG-005"
    store.release()
    report = verify(LogDirectoryManager(root).find(CID))
    assert any("positions.jsonl line 1 is no PositionSnapshot" in problem for problem in report.problems)
