"""Requests and replies over a real NATS: errors travel with their code, silence is asked again, and then named."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from basis.models.errors import ERROR_REGISTRY, ComponentError, InputError, Severity
from basis.models.messages import Control, CoverageRequest
from basis.runtime import bus as bus_module
from basis.runtime import codec, health, subjects
from basis.runtime.bus import Bus, StreamMessage, host_of
from basis.runtime.clock import SimulatedClock, SystemClock, new_correlation_id
from basis.runtime.nats_server import NatsServer
from basis.runtime.settings import Settings
from basis.runtime.structured_logger import StructuredLogger
from basis.testkit.faults import Direction, Fate, FaultyBus
from basis.testkit.runs import CID, START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SUBJECT = subjects.venues_coverage(CID)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as found:
        yield found


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[Bus]:
    found = Bus(Settings(nats_url=server.url, request_timeout_s=0.3), "test")
    yield found
    await found.stop()


async def answering(bus: Bus, handler: Any, **more: Any) -> None:
    bus.serve(subjects.venues_coverage("*"), "test", CoverageRequest, handler, **more)
    await bus.start()


async def ask(bus: Bus, patience_s: float = 2.0) -> Control:
    return await bus.request(SUBJECT, CoverageRequest(config=b"{}"), Control, patience_s=patience_s)


# ----------------------------------------------------------------------------------------------------- envelope, pure


@given(
    code=st.sampled_from(sorted(ERROR_REGISTRY)),
    message=st.text(max_size=100),
    severity=st.sampled_from(Severity),
    kind=st.sampled_from([ComponentError, InputError]),
)
def test_error_comes_out_of_its_envelope_as_it_went_in(
    code: str, message: str, severity: Severity, kind: type[ComponentError]
) -> None:
    error = kind(code, message, "venues", severity)
    with pytest.raises(ComponentError) as caught:
        bus_module._open(bus_module._error(error))
    found = caught.value
    assert type(found) is kind
    assert (found.error_code, found.message, found.component) == (code, message, "venues")
    assert found.severity is severity


@given(reason=st.text(max_size=50))
def test_model_comes_out_of_its_envelope_as_it_went_in(reason: str) -> None:
    message = Control(command="cancel", reason=reason)
    assert codec.decode(bus_module._open(bus_module._ok(message)), Control) == message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://user:secret@host:4222", "nats://***@host:4222"),
        ("nats://token@host:4222", "nats://***@host:4222"),
        ("nats://host:4222", "nats://host:4222"),
    ],
)
def test_secrets_of_an_address_are_never_shown(url: str, shown: str) -> None:
    assert host_of(url) == shown


def test_subjects_hold_the_run_as_second_token_and_are_distinct() -> None:
    made = [
        make(CID)
        for make in (
            subjects.run_submit,
            subjects.run_start,
            subjects.run_end,
            subjects.run_sealed,
            subjects.venues_coverage,
            subjects.venues_advance,
            subjects.venues_execute,
            subjects.venues_positions,
            subjects.monitors_assess,
            subjects.monitors_commit,
            subjects.monitors_reconcile,
            subjects.orders,
            subjects.handshakes,
            subjects.progress,
            subjects.control,
        )
    ]
    made += [subjects.events(CID, "positions"), subjects.logs(CID, "api")]
    assert len(set(made)) == len(made)
    assert all(subject.split(".")[:2] == ["basis", CID] for subject in made)


# -------------------------------------------------------------------------------------------------------- over NATS


async def test_reply_reaches_the_caller(bus: Bus) -> None:
    async def handler(request: CoverageRequest) -> BaseModel:
        return Control(command="cancel", reason=request.config.decode())

    await answering(bus, handler)
    assert await ask(bus) == Control(command="cancel", reason="{}")


async def test_error_of_a_handler_is_the_callers_error_and_is_told(bus: Bus) -> None:
    told: list[tuple[str, str]] = []

    async def handler(_: CoverageRequest) -> BaseModel:
        raise InputError("DATA-003", "stale", "market_data")

    async def on_error(_: CoverageRequest, error: ComponentError, trace: str) -> None:
        told.append((error.error_code, trace))

    await answering(bus, handler, on_error=on_error)
    with pytest.raises(InputError, match="stale") as caught:
        await ask(bus)
    assert (caught.value.error_code, caught.value.component) == ("DATA-003", "market_data")
    assert [code for code, _ in told] == ["DATA-003"]
    assert "Traceback" in told[0][1]


async def test_bug_in_a_handler_is_exec_004_and_no_timeout(bus: Bus) -> None:
    async def handler(_: CoverageRequest) -> BaseModel:
        raise ZeroDivisionError("by hand")

    await answering(bus, handler)
    with pytest.raises(ComponentError, match="ZeroDivisionError: by hand") as caught:
        await ask(bus)
    assert caught.value.error_code == "EXEC-004"


async def test_request_that_makes_no_sense_is_bus_003(bus: Bus) -> None:
    async def handler(_: CoverageRequest) -> BaseModel:
        raise AssertionError("never called")

    await answering(bus, handler)
    with pytest.raises(ComponentError, match="CoverageRequest") as caught:
        await bus.request(SUBJECT, Control(command="cancel"), Control, patience_s=2.0)
    assert caught.value.error_code == "BUS-003"


async def test_no_service_raises_bus_002_and_says_so(bus: Bus) -> None:
    await bus.start()
    with pytest.raises(ComponentError, match="no service listens") as caught:
        await ask(bus, patience_s=0.3)
    assert caught.value.error_code == "BUS-002"


async def test_service_that_comes_late_is_asked_again(bus: Bus, server: NatsServer) -> None:
    await bus.start()
    late = Bus(Settings(nats_url=server.url), "late")

    async def handler(_: CoverageRequest) -> BaseModel:
        return Control(command="cancel")

    async def come() -> None:
        await asyncio.sleep(0.3)
        await answering(late, handler)

    coming = asyncio.create_task(come())
    assert (await ask(bus, patience_s=20.0)).command == "cancel"
    await coming
    await late.stop()


async def test_message_above_the_limit_is_refused_before_it_is_sent(bus: Bus) -> None:
    await bus.start()
    huge = CoverageRequest(config=bytes(subjects.MAX_MESSAGE_BYTES))
    with pytest.raises(ComponentError, match="more than") as caught:
        await bus.request(SUBJECT, huge, Control)
    assert caught.value.error_code == "BUS-003"


async def test_lost_replies_are_asked_for_again(server: NatsServer) -> None:
    served = 0

    async def handler(_: CoverageRequest) -> BaseModel:
        nonlocal served
        served += 1
        return Control(command="cancel")

    async with FaultyBus(server.url) as faulty:
        bus = Bus(Settings(nats_url=faulty.url, request_timeout_s=0.2), "test")
        await answering(bus, handler)
        lost = iter([Fate.DROP, Fate.DROP])
        faulty.rule = lambda direction, subject: (
            next(lost, Fate.PASS) if direction is Direction.TO_SERVER and "_INBOX" in subject else Fate.PASS
        )
        assert (await ask(bus, patience_s=20.0)).command == "cancel"
        await bus.stop()
    assert served == 3
    assert faulty.counts[Fate.DROP] == 2


async def test_event_whose_acknowledgement_is_lost_is_stored_once(server: NatsServer) -> None:
    cid = new_correlation_id()
    async with FaultyBus(server.url) as faulty:
        bus = Bus(Settings(nats_url=faulty.url), "test")
        await bus.start()
        faulty.rule = lambda _direction, subject: Fate.REPEAT if ".events." in subject else Fate.PASS
        message = StreamMessage(subjects.events(cid, "positions"), b"{}\n", {subjects.HEADER_MSG_ID: f"{cid}.1"})
        await bus.publish_stream([message, message])
        found = await bus.jetstream.stream_info(subjects.STREAM_EVENTS, subjects_filter=subjects.events(cid, ">"))
        await bus.stop()
    assert found.state.subjects == {subjects.events(cid, "positions"): 1}


async def test_no_server_raises_bus_001_and_names_the_address_without_its_secret() -> None:
    bus = Bus(Settings(nats_url="nats://me:secret@127.0.0.1:1", nats_connect_timeout_s=0.5), "test")
    with pytest.raises(ComponentError, match=r"127\.0\.0\.1:1") as caught:
        await bus.connect()
    assert caught.value.error_code == "BUS-001"
    assert "secret" not in str(caught.value)
    assert not bus.is_connected
    await bus.stop()


async def test_two_services_may_make_the_streams_at_once(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as fresh:
        buses = [Bus(Settings(nats_url=fresh.url), f"s{n}") for n in range(4)]
        await asyncio.gather(*(bus.connect() for bus in buses))
        streams = await buses[0].jetstream.streams_info()
        await asyncio.gather(*(bus.stop() for bus in buses))
    names = {str(stream.config.name) for stream in streams}
    assert names == {"RUNS", "LIVE", "EVENTS", "KV_runs", "KV_results", "KV_intents"}


async def test_health_says_who_answers_and_whether_it_is_ready(bus: Bus) -> None:
    health.serve(bus, "venues", lambda: {"ready": False, "reason": "no disk"})
    await bus.start()
    found = await health.ask(bus, "venues")
    assert found is not None
    assert (found["service"], found["ready"], found["reason"]) == ("venues", False, "no disk")
    assert await health.ask(bus, "nobody", timeout_s=0.2) is None


async def test_health_file_is_touched_after_a_round_trip(bus: Bus, server: NatsServer, tmp_path: Path) -> None:
    await bus.start()
    file = tmp_path / "healthy"
    beating = asyncio.create_task(health.beat(bus, Settings(nats_url=server.url, health_file=file)))
    async with asyncio.timeout(10):
        while not file.exists():  # noqa: ASYNC110 - another process's file: there is no event to wait for
            await asyncio.sleep(0.01)
    beating.cancel()
    await health.beat(bus, Settings(nats_url=server.url))  # no file: returns at once


# ------------------------------------------------------------------------------------------------------ small ports


async def test_log_line_is_written_once_however_often_it_is_sent(bus: Bus) -> None:
    await bus.start()
    cid = new_correlation_id()
    log = StructuredLogger(bus, "api", SystemClock())
    for _ in range(3):
        await log.debug(cid, START, "same", number=1)
    await log.debug(cid, START, "other")
    found = await bus.jetstream.stream_info(subjects.STREAM_EVENTS, subjects_filter=subjects.logs(cid, ">"))
    assert found.state.subjects == {subjects.logs(cid, "api"): 2}


def test_logger_of_an_unknown_component_raises(server: NatsServer) -> None:
    bus = Bus(Settings(nats_url=server.url), "test")
    with pytest.raises(ValueError, match="has no log"):
        StructuredLogger(bus, "nobody", SystemClock())


async def test_simulated_clock_never_waits() -> None:
    before = SystemClock().monotonic()
    await SimulatedClock().sleep(3600.0)
    assert SystemClock().monotonic() - before < 3600.0
    assert SystemClock().now().utcoffset() is not None
    await SystemClock().sleep(0.0)


def test_correlation_ids_are_32_hex_digits_and_new_each_time() -> None:
    ids = {new_correlation_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(found) == 32 and int(found, 16) >= 0 for found in ids)


async def test_a_step_that_swallows_its_cancellation_is_told_again() -> None:
    told = 0

    async def deaf() -> None:  # as nats-py is at times, when it connects or drains
        nonlocal told
        while told < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                told += 1

    with pytest.raises(TimeoutError):
        await bus_module._within(0.05, deaf())
    assert told == 2
