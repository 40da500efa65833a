"""The plan of a batch: what goes where, and what is a repeat."""

from __future__ import annotations

import pytest

from basis.event_logger.core import plan
from basis.event_logger.core.journal import EarlyLine, FileMark, Position, RunMark
from basis.event_logger.core.plan import Incoming, Plan, Target
from basis.models.events import EVENT_MODELS
from basis.runtime.structured_logger import COMPONENTS

CID, OTHER = "a" * 32, "b" * 32
POSITIONS = f"basis.{CID}.events.positions"


def lines(*orders: int) -> bytes:
    return b"".join(b'{"order":%d}\n' % order for order in orders)


def planned(position: Position, *messages: Incoming, sealed: tuple[str, ...] = ()) -> Plan:
    ((_, routed),) = plan.segments(messages, EVENT_MODELS, COMPONENTS)
    return plan.plan(position, routed, sealed)


def running(last: int = -1, size: int = 0) -> Position:
    files = {"events/positions.jsonl": FileMark(size, last)} if size else {}
    return Position(10, {CID: RunMark(7, False, 1, files)})


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (POSITIONS, Target("events", CID, "positions")),
        (f"basis.{CID}.logs.api", Target("logs", CID, "api")),
        (f"basis.{CID}.run.start", Target("start", CID, "")),
        (f"basis.{CID}.run.end", Target("end", CID, "")),
        (f"basis.{CID}.run.sealed", Target("ignored", CID, "")),
    ],
)
def test_subjects_lead_to_their_place(subject: str, expected: Target) -> None:
    assert plan.target(subject, EVENT_MODELS, COMPONENTS) == expected


@pytest.mark.parametrize(
    "subject",
    [
        "basis", "basis.x.events.positions", f"basis.{'A' * 32}.events.positions", "basis.../../x.events.positions",
        f"basis.{CID}.events.nonsense", f"basis.{CID}.logs.events", f"basis.{CID}.run.nonsense",
        f"basis.{CID}.events.positions.more", f"other.{CID}.events.positions",
    ],
)  # fmt: skip
def test_other_subjects_lead_nowhere(subject: str) -> None:
    found = plan.target(subject, EVENT_MODELS, COMPONENTS)
    assert found.kind == "ignored"
    assert found.name, "with a reason"


def test_starts_and_ends_stand_alone() -> None:
    subjects = ["events.orders", "logs.api", "run.end", "run.start", "run.start", "run.sealed", "events.positions"]
    messages = [Incoming(number, f"basis.{CID}.{subject}", b"") for number, subject in enumerate(subjects)]
    found = [(kind, [message.seq for message, _ in group]) for kind, group in
             plan.segments(messages, EVENT_MODELS, COMPONENTS)]  # fmt: skip
    assert found == [("events", [0, 1]), ("end", [2]), ("start", [3]), ("start", [4]), ("events", [5, 6])]


def test_payloads_of_one_file_come_together() -> None:
    work = planned(
        running(),
        Incoming(11, POSITIONS, lines(1, 2), "1:2:2"),
        Incoming(12, f"basis.{CID}.logs.api", b"{}\n"),
        Incoming(13, POSITIONS, lines(3), "3:3:1"),
    )
    assert work.appends == {CID: {"events/positions.jsonl": [lines(1, 2), lines(3)], "api.log": [b"{}\n"]}}
    assert work.record.seq == 13
    assert work.record.files[CID] == {
        "events/positions.jsonl": FileMark(len(lines(1, 2, 3)), 3), "api.log": FileMark(3, 12),
    }  # fmt: skip
    assert work.warnings == ()


@pytest.mark.parametrize("orders", ["5:7:3", None, "nonsense", "5:x:3"])
@pytest.mark.parametrize(("last", "expected"), [(4, [5, 6, 7]), (5, [6, 7]), (6, [7]), (7, []), (99, [])])
def test_repeats_are_left_out(orders: str | None, last: int, expected: list[int]) -> None:
    work = planned(running(last, 100), Incoming(11, POSITIONS, lines(5, 6, 7), orders))
    written = b"".join(work.appends.get(CID, {}).get("events/positions.jsonl", []))
    assert written == lines(*expected)
    if expected:
        assert work.record.files[CID]["events/positions.jsonl"] == FileMark(100 + len(written), 7)


def test_a_missing_line_end_is_added() -> None:
    work = planned(running(), Incoming(11, POSITIONS, b'{"order":1}', "1:1:1"))
    assert b"".join(work.appends[CID]["events/positions.jsonl"]) == lines(1)
    assert work.record.files[CID]["events/positions.jsonl"].size == len(lines(1))


def test_log_lines_read_again_are_left_out() -> None:
    position = Position(10, {CID: RunMark(7, False, 1, {"api.log": FileMark(3, 12)})})
    subject = f"basis.{CID}.logs.api"
    work = planned(position, Incoming(12, subject, b"1\n"), Incoming(13, subject, b"2\n"))
    assert work.appends == {CID: {"api.log": [b"2\n"]}}


def test_early_log_lines_wait() -> None:
    payload = '{"message":"é"}\n'.encode()
    work = planned(Position(), Incoming(1, f"basis.{CID}.logs.api", payload))
    assert work.appends == {}
    (line,) = work.record.early[CID]
    assert (line.seq, line.component, line.text.encode("latin-1")) == (1, "api", payload)
    again = planned(Position(1, {}, work.record.early), Incoming(1, f"basis.{CID}.logs.api", payload))
    assert again.record.early == {}, "read again from an earlier place"


def test_early_log_lines_are_bounded() -> None:
    subject = f"basis.{CID}.logs.api"
    work = planned(Position(), *(Incoming(number, subject, b"x" * 60_000 + b"\n") for number in range(1, 9)))
    assert len(work.record.early[CID]) == plan.EARLY_BYTES // 60_001
    assert "too many log lines" in work.warnings[0]
    waiting: tuple[EarlyLine, ...] = (EarlyLine(1, "api", "x\n"),)
    full = {f"{number:032x}": waiting for number in range(plan.EARLY_RUNS)}
    work = planned(Position(1, {}, full), Incoming(2, subject, b"y\n"))
    assert work.record.early[f"{0:032x}"] == ()
    assert len(work.record.early[CID]) == 1
    assert "never started" in work.warnings[0]


def test_what_comes_for_other_runs_is_dropped_aloud() -> None:
    work = planned(
        running(),
        Incoming(11, f"basis.{OTHER}.events.positions", lines(1), "1:1:1"),
        Incoming(12, f"basis.{'c' * 32}.events.positions", lines(1), "1:1:1"),
        Incoming(13, f"basis.{OTHER}.logs.api", b"{}\n"),
        sealed=(OTHER,),
    )
    assert work.appends == {}
    assert work.record.early == {}
    assert [warning.split(": ")[1] for warning in work.warnings] == [
        "events of a run that is sealed are dropped",
        "events of a run that is not started are dropped",
        "log lines after the seal are dropped",
    ]
