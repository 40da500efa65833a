"""The event sink against a real server and real files: every event exactly once, whatever dies when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from nats.errors import Error as NatsError

from basis.event_logger.core.canonical import reference_hash
from basis.event_logger.directories import STATE_DIR, LogDirectoryManager
from basis.event_logger.service import Sink, serve
from basis.event_logger.verify import verify
from basis.models.events import Phase, order_key
from basis.models.messages import Control, RunEnd, RunSealed, RunStart
from basis.runtime import codec, health, packing, subjects
from basis.runtime.bus import Bus, StreamMessage
from basis.runtime.clock import SystemClock, new_correlation_id
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.settings import Settings
from basis.runtime.structured_logger import COMPONENTS, StructuredLogger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from basis.testkit.nats import NatsServer

NOW = datetime(2024, 5, 12, tzinfo=UTC)
STAMP = "2024-05-12T00:00:00+00:00"
PID = 4711
PATIENCE_S = 20.0
"""Wait for an answer about health: a machine that is busy with other tests answers late."""
SINK = """
import asyncio, sys
from basis.event_logger.service import serve
from basis.runtime.bus import Bus
from basis.runtime.clock import SystemClock
from basis.runtime.settings import Settings

async def main():
    settings = Settings()
    sink = await serve(Bus(settings, "event-logger"), settings, SystemClock())
    await sink.wait()

asyncio.run(main())
"""


@dataclass
class Run:
    """A run as a producer sees it: what it published is what must be on disk."""

    bus: Bus
    cid: str = field(default_factory=new_correlation_id)
    lines: dict[str, list[bytes]] = field(default_factory=dict)

    async def start(self, **fields: Any) -> None:
        start = RunStart(
            correlation_id=self.cid, pid=PID, mode=fields.pop("mode", "backtest"), strategy="btc_basis",
            initial_capital=1e5, share_class="USDT", config={"a": 1}, config_sha256="0" * 64, data_path="none",
            data_sha256="0" * 64, code_version="0", start_time=NOW, end_time=NOW, started_at=NOW, **fields,
        )  # fmt: skip
        await self.put(subjects.run_start(self.cid), codec.encode(start))

    async def end(self, last_tick: int, **changed: int) -> None:
        counts = {name: len(lines) for name, lines in self.lines.items()} | changed
        end = RunEnd(
            correlation_id=self.cid, pid=PID, status="completed", last_tick=last_tick, timestamp=NOW,
            ticks=last_tick + 1, counts=counts, ended_at=NOW,
        )  # fmt: skip
        await self.put(subjects.run_end(self.cid), codec.encode(end))

    async def put(self, subject: str, payload: bytes, message_id: str = "", orders: str = "") -> None:
        headers = {subjects.HEADER_MSG_ID: message_id or subject}
        await self.bus.publish_stream(
            [StreamMessage(subject, payload, headers | ({subjects.HEADER_ORDERS: orders} if orders else {}))]
        )

    def messages(self, first: int, last: int, *, expected: bool = True) -> list[StreamMessage]:
        """Events of ticks first..last: two types on each tick, one on every tenth."""
        logger = DomainEventLogger(self.cid, PID, NOW)
        for tick in range(first, last + 1):
            for phase, kind in ((Phase.POSITION, "full_loop"), (Phase.AFTER_POSITION, "handshake")):
                logger.log_position_snapshot(
                    order_key(tick, phase), STAMP, positions={"binance:Perp:BTCUSDT": tick / 7}, total_value_usd=1.0,
                    position_type="simulated", trigger_source=kind,
                )  # fmt: skip
            logger.log_exposure_snapshot(
                order_key(tick, Phase.EXPOSURE), STAMP, net_delta_usd=0.1, asset_exposures={}, total_value_usd=1.0,
                share_class_value=1.0,
            )  # fmt: skip
            if tick % 10 == 0:
                logger.log_reconciliation(
                    order_key(tick, Phase.EXECUTION), STAMP, trigger_source="tight_loop", reconciliation_type="delta",
                    success=True, simulated_positions={}, real_positions={}, mismatches=[], retry_attempt=0,
                    max_retries=3, execution_deltas_applied={},
                )  # fmt: skip
        batches = logger.drain()
        for batch in batches if expected else ():
            self.lines.setdefault(batch.event_type, []).extend(batch.payload.splitlines(keepends=True))
        return logger.stream_messages(batches)

    async def ticks(self, first: int, last: int) -> None:
        await self.bus.publish_stream(self.messages(first, last))

    async def sealed(self, timeout_s: float = 30.0) -> RunSealed:
        """What the event-logger says of the run, also if it said so long ago."""
        async with asyncio.timeout(timeout_s):
            while True:
                with contextlib.suppress(NatsError):
                    found = await self.bus.jetstream.get_last_msg("EVENTS", subjects.run_sealed(self.cid))
                    return codec.decode(found.data or b"", RunSealed)
                await asyncio.sleep(0.05)


@pytest.fixture
def settings(nats_server: NatsServer, tmp_path: Path) -> Settings:
    return Settings(nats_url=nats_server.url, logs_dir=tmp_path / "logs")


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[Bus]:
    bus = Bus(settings, "test")
    await bus.connect()
    yield bus
    await bus.stop()


@pytest.fixture
def run(producer: Bus) -> Run:
    return Run(producer)


@contextlib.asynccontextmanager
async def sinking(settings: Settings) -> AsyncIterator[Sink]:
    bus = Bus(settings, "event-logger")
    sink = await serve(bus, settings, SystemClock())
    try:
        yield sink
    finally:
        await sink.stop()
        await bus.stop()


@contextlib.contextmanager
def sink_process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {"BASIS_NATS_URL": settings.nats_url, "BASIS_LOGS_DIR": str(settings.logs_dir)}
    process = subprocess.Popen([sys.executable, "-c", SINK], env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def command(*words: str) -> str:
    """What a command complains of; empty where it succeeds."""
    done = subprocess.run(words, capture_output=True, check=False)
    return done.stderr.decode().strip() or str(done.returncode) if done.returncode else ""


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - files have no event to wait for
            await asyncio.sleep(0.01)


def events_of(settings: Settings, cid: str) -> dict[str, list[bytes]]:
    folder = settings.logs_dir / cid / str(PID) / "events"
    return {path.stem: path.read_bytes().splitlines(keepends=True) for path in sorted(folder.glob("*.jsonl"))}


def assert_exactly_once(settings: Settings, run: Run) -> None:
    found = events_of(settings, run.cid)
    assert {name: lines for name, lines in found.items() if name != "event_logger_operations"} == run.lines


def size_of(settings: Settings, cid: str) -> int:
    return sum(path.stat().st_size for path in settings.logs_dir.glob(f"{cid}/*/events/*.jsonl"))


# ------------------------------------------------------------------------------------------------- one whole run


async def test_run_is_written_and_sealed(settings: Settings, run: Run) -> None:
    async with sinking(settings) as sink:
        api = StructuredLogger(run.bus, "api", SystemClock())
        await api.info(run.cid, NOW, "accepted")  # before the run's start: has to wait for it
        await run.start()
        await run.ticks(0, 50)
        await run.end(50)
        sealed = await run.sealed()
        assert_exactly_once(settings, run)
        found = sink.logs.find(run.cid)
        metadata = sink.logs.read_metadata(found)
        assert (metadata.status, metadata.seal_error, metadata.ticks) == ("completed", None, 51)
        assert metadata.counts == {
            "event_logger_operations": 3, "exposures": 51, "positions": 102, "reconciliations": 6,
        }  # fmt: skip
        assert sealed.counts == metadata.counts
        assert sealed.event_hash == metadata.event_hash
        assert sealed.log_directory == str(found.path)
        assert {f"{name}.log" for name in COMPONENTS} <= metadata.files.keys()
        assert metadata.files["api.log"].count == 1
        report = verify(found)
        assert report.problems == ()
        lines = [line for lines in events_of(settings, run.cid).values() for line in lines]
        assert report.event_hash == sealed.event_hash == reference_hash(lines, run.cid)
        operations = [orjson.loads(line) for line in events_of(settings, run.cid)["event_logger_operations"]]
        assert [line["order"] for line in operations] == [order_key(50, Phase.LOGGING, place) for place in range(3)]
        assert operations[1]["file_path"] == "events/positions.jsonl"
        assert operations[1]["events_count"] == 102
        assert all(line["success"] for line in operations)
    assert not (settings.logs_dir / STATE_DIR).exists(), "a finished run leaves nothing of the event-logger's own"


async def test_events_of_a_sealed_run_leave_the_stream(settings: Settings, run: Run) -> None:
    async with sinking(settings):
        await run.start()
        await run.ticks(0, 50)
        await run.end(50)
        await run.sealed()
        async with asyncio.timeout(10):
            while (await run.bus.jetstream.stream_info("EVENTS")).state.messages > 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_log_lines_after_the_seal_do_not_break_it(
    settings: Settings, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    other = Run(run.bus)
    async with sinking(settings) as sink:
        await run.start()
        await run.end(0)
        await run.sealed()
        await StructuredLogger(run.bus, "risk_monitor", SystemClock()).info(run.cid, NOW, "too late")
        await other.start()
        await other.end(0)
        await other.sealed()
        assert verify(sink.logs.find(run.cid)).problems == ()
    assert "log lines after the seal are dropped" in caplog.text


async def test_wrong_counts_are_a_seal_error(settings: Settings, run: Run) -> None:
    async with sinking(settings) as sink:
        await run.start()
        await run.ticks(0, 9)
        await run.end(9, positions=21, orders=2)
        sealed = await run.sealed()
        assert sealed.error_code == "LOG-005"
        metadata = sink.logs.read_metadata(sink.logs.find(run.cid))
        assert metadata.seal_error == (
            "LOG-005: orders: 0 events in the file, 2 published; positions: 20 events in the file, 21 published"
        )
        operations = [orjson.loads(line) for line in events_of(settings, run.cid)["event_logger_operations"]]
        assert {line["event_type"]: line["success"] for line in operations} == {
            "exposures": True, "orders": False, "positions": False, "reconciliations": True,
        }  # fmt: skip


async def test_garbage_in_the_stream_is_dropped(settings: Settings, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    js = run.bus.jetstream
    async with sinking(settings):
        await js.publish("basis.not-a-cid.events.positions", b"{}\n")
        await js.publish(f"basis.{run.cid}.events.nonsense", b"{}\n")
        await js.publish(f"basis.{run.cid}.run.start", b"no msgpack")
        await run.start()
        await js.publish(f"basis.{run.cid}.events.positions", b"no json\n")
        await js.publish(f"basis.{run.cid}.events.exposures", b"no frame", headers={packing.HEADER: packing.ZSTD})
        await run.ticks(0, 3)
        await js.publish(f"basis.{run.cid}.run.end", b"no msgpack")
        await run.end(3)
        assert (await run.sealed()).error is None
        assert_exactly_once(settings, run)
    assert sorted(path.name for path in settings.logs_dir.iterdir()) == [run.cid]
    for expected in ("no subject of a run", "unknown event type", "start is dropped", "end is dropped"):
        assert expected in caplog.text
    assert caplog.text.count("malformed events are dropped") == 2


# ------------------------------------------------------------------------------------------------------- repeats


async def test_repeats_and_overlaps_are_written_once(settings: Settings, run: Run) -> None:
    """As outside JetStream's duplicate window: the same events under other message ids, whole and in part."""
    async with sinking(settings):
        await run.start()
        for first, last in ((0, 9), (5, 14), (0, 14), (15, 20)):
            for number, message in enumerate(run.messages(first, last, expected=False)):
                orders = message.headers[subjects.HEADER_ORDERS]
                payload = packing.unpacked(message.payload, message.headers)
                await run.put(message.subject, payload, f"{first}.{last}.{number}", orders)
        run.messages(0, 20)
        await run.end(20)
        assert (await run.sealed()).error is None
        assert_exactly_once(settings, run)


async def test_second_start_of_a_run_is_ignored(settings: Settings, run: Run) -> None:
    async with sinking(settings):
        await run.start()
        await run.ticks(0, 5)
        await run.put(subjects.run_start(run.cid), b"whatever", "again")
        await run.ticks(6, 9)
        await run.end(9)
        assert (await run.sealed()).error is None
        assert_exactly_once(settings, run)


async def test_sealed_run_read_again_is_left_alone(settings: Settings, run: Run) -> None:
    """Without a journal the stream is read from its start."""
    async with sinking(settings) as sink:
        await run.start()
        await run.ticks(0, 5)
        await run.end(5)
        await run.sealed()
        before = {path: path.read_bytes() for path in sink.logs.find(run.cid).path.rglob("*") if path.is_file()}
    other = Run(run.bus)
    async with sinking(settings):
        await other.start()
        await other.end(0)
        await other.sealed()
    assert {path: path.read_bytes() for path in before} == before


# ----------------------------------------------------------------------------------------------------- accidents


@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_any_point(settings: Settings, run: Run, seed: int) -> None:
    """kill -9 again and again while events come: each of them once, in order, and the hash of an undisturbed run."""
    chance = random.Random(seed)
    done = asyncio.Event()

    async def produce() -> None:
        await run.start()
        for first in range(0, 1500, 10):
            await run.ticks(first, first + 9)
            await asyncio.sleep(chance.choice((0, 0, 0.02)))
        await run.end(1499)
        done.set()

    producing = asyncio.create_task(produce())
    kills = 0
    while not done.is_set() or kills < 3:
        enough = size_of(settings, run.cid) + chance.randrange(1, 200_000)
        with sink_process(settings), contextlib.suppress(TimeoutError):
            await until(lambda enough=enough: size_of(settings, run.cid) >= enough, 2.0)  # type: ignore[misc]
            await asyncio.sleep(chance.random() * 0.01)
        kills += 1
    await producing
    async with sinking(settings) as sink:
        sealed = await run.sealed()
        assert sealed.error is None
        assert_exactly_once(settings, run)
        assert verify(sink.logs.find(run.cid)).problems == ()
        undisturbed = Run(run.bus)
        await undisturbed.start()
        await undisturbed.ticks(0, 1499)
        await undisturbed.end(1499)
        assert (await undisturbed.sealed()).event_hash == sealed.event_hash


async def test_standby_waits_and_takes_over(settings: Settings, run: Run) -> None:
    with sink_process(settings) as first:
        await run.start()
        await run.ticks(0, 20)
        await until(lambda: size_of(settings, run.cid) > 0)
        async with sinking(settings) as second:
            assert str(second.role) == "standby"
            answer = await health.ask(run.bus, "event-logger", PATIENCE_S)
            assert answer is not None and answer["pid"] == first.pid
            assert (answer["ready"], answer["role"]) == (True, "writer")
            assert answer["logs_dir"] == str(settings.logs_dir.absolute())
            first.kill()
            await run.ticks(21, 40)
            await run.end(40)
            assert (await run.sealed()).error is None
            assert str(second.role) == "writer"
            assert_exactly_once(settings, run)
            answer = await health.ask(run.bus, "event-logger", PATIENCE_S)
            assert answer is not None and answer["pid"] == os.getpid()


async def test_nats_restarts_in_the_middle(settings: Settings, run: Run, nats_server: NatsServer) -> None:
    async with sinking(settings):
        await run.start()
        await run.ticks(0, 20)
        await until(lambda: size_of(settings, run.cid) > 0)
        nats_server.kill()
        publishing = asyncio.create_task(run.ticks(21, 40))
        await asyncio.sleep(0.3)
        nats_server.start()
        await publishing
        await run.end(40)
        assert (await run.sealed()).error is None
        assert_exactly_once(settings, run)


async def test_torn_journal_and_half_written_lines(settings: Settings, run: Run) -> None:
    async with sinking(settings):
        await run.start()
        await run.ticks(0, 20)
        await until(lambda: size_of(settings, run.cid) == sum(len(x) for lines in run.lines.values() for x in lines))
    journal = next((settings.logs_dir / STATE_DIR).glob("*.journal"))
    content = journal.read_bytes()
    journal.write_bytes(content[:-5])  # the last record is torn: its batch comes again
    folder = settings.logs_dir / run.cid / str(PID)
    with (folder / "events" / "positions.jsonl").open("ab") as file:
        file.write(b'{"correlation_id":"')
    (folder / "events" / "orders.jsonl").write_bytes(b"never journaled\n")
    async with sinking(settings):
        await run.ticks(21, 30)
        await run.end(30)
        assert (await run.sealed()).error is None
        assert_exactly_once(settings, run)


@pytest.mark.parametrize("lost", ["journal", "events", "metadata"])
async def test_lost_files_are_written_again_from_the_stream(settings: Settings, run: Run, lost: str) -> None:
    """Power loss, or a person with a broom: what is in the stream is not lost."""
    async with sinking(settings):
        await run.start()
        await run.ticks(0, 20)
        await until(lambda: size_of(settings, run.cid) == sum(len(x) for lines in run.lines.values() for x in lines))
    folder = settings.logs_dir / run.cid / str(PID)
    match lost:
        case "journal":
            next((settings.logs_dir / STATE_DIR).glob("*.journal")).unlink()
        case "events":
            os.truncate(folder / "events" / "positions.jsonl", 1000)
            (folder / "events" / "exposures.jsonl").unlink()
        case _:
            (folder / "run_metadata.json").unlink()
    async with sinking(settings) as sink:
        await run.ticks(21, 30)
        await run.end(30)
        assert (await run.sealed()).error is None
        assert_exactly_once(settings, run)
        assert verify(sink.logs.find(run.cid)).problems == ()


async def test_live_runs_are_synced(settings: Settings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def counting(handle: int) -> None:
        synced.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", counting)
    async with sinking(settings):
        await run.start(mode="live")
        await run.ticks(0, 5)
        await run.end(5)
        assert (await run.sealed()).error is None
    assert len(synced) > 6


async def test_full_disk_stops_the_run_and_loses_nothing(settings: Settings, run: Run, tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    trouble = command("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(mount))
    if trouble:
        pytest.skip(f"no tmpfs can be mounted here: {trouble}")
    orders: list[Control] = []

    async def engine(message: Any) -> None:
        orders.append(codec.decode(message.data, Control))
        await message.respond(b"")

    try:
        small = settings.model_copy(update={"logs_dir": mount / "logs"})
        await run.bus.client.subscribe(subjects.control(run.cid), cb=engine)
        async with sinking(small):
            await run.start()
            await run.ticks(0, 1999)  # about 1.5 MB
            await run.end(1999)
            await until(lambda: bool(orders))
            assert orders[0].command == "fail"
            assert orders[0].error_code == "LOG-001"
            assert "No space left" in (orders[0].reason or "")
            answer = await health.ask(run.bus, "event-logger", PATIENCE_S)
            assert answer is not None and answer["ready"] is False
            assert command("mount", "-o", "remount,size=64m", str(mount)) == ""
            assert (await run.sealed()).error is None
            assert_exactly_once(small, run)
            answer = None
            while answer is None or answer["ready"] is not True:  # it is a moment after the seal is told
                await asyncio.sleep(0.05)
                answer = await health.ask(run.bus, "event-logger", PATIENCE_S)
            assert len(orders) == 1
    finally:
        assert command("umount", "-l", str(mount)) == ""


async def test_unwritable_root_is_told_by_health(settings: Settings, producer: Bus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = settings.model_copy(update={"logs_dir": tmp_path / "file" / "logs"})
    async with sinking(blocked):
        answer = await health.ask(producer, "event-logger", PATIENCE_S)
        assert answer is not None and answer["ready"] is False
        assert "LOG-003" in str(answer["reason"])


async def test_two_streams_share_one_root(settings: Settings, run: Run, tmp_path: Path) -> None:
    """Two embedded runs at once: each has its own stream, lock and journal."""
    from basis.testkit.nats import NatsServer

    with NatsServer(tmp_path / "second") as server:
        other_settings = settings.model_copy(update={"nats_url": server.url})
        other_bus = Bus(other_settings, "test")
        await other_bus.connect()
        other = Run(other_bus)
        async with sinking(settings), sinking(other_settings):
            for each in (run, other):
                await each.start()
                await each.ticks(0, 10)
                await each.end(10)
            assert (await run.sealed()).event_hash == (await other.sealed()).event_hash
        await other_bus.stop()
    assert len(LogDirectoryManager(settings.logs_dir).runs()) == 2
    assert not (settings.logs_dir / STATE_DIR).exists()
