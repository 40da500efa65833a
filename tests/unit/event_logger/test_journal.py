"""The journal: replaying it gives the position, whatever its end looks like."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from basis.event_logger.core import journal
from basis.event_logger.core.journal import EarlyLine, FileMark, Position, Record, RunMark

CIDS = st.sampled_from(["a" * 32, "b" * 32, "c" * 32])
PATHS = st.sampled_from(["events/positions.jsonl", "events/orders.jsonl", "api.log"])
MARKS = st.builds(FileMark, st.integers(0, 2**40), st.integers(-1, 2**60))
FILES = st.dictionaries(PATHS, MARKS, max_size=3)
RUNS = st.builds(RunMark, st.integers(1, 99), st.booleans(), st.integers(1, 2**40), FILES)
EARLY = st.lists(st.builds(EarlyLine, st.integers(1, 99), st.just("api"), st.text(max_size=5)), max_size=2).map(tuple)
RECORDS = st.builds(
    Record,
    st.integers(0, 2**60),
    st.dictionaries(CIDS, RUNS, max_size=2),
    st.dictionaries(CIDS, FILES, max_size=2),
    st.dictionaries(CIDS, EARLY, max_size=2),
    st.lists(CIDS, max_size=1).map(tuple),
)


def told(records: list[Record]) -> Position:
    position = Position()
    for record in records:
        position = journal.advance(position, record)
    return position


@given(st.lists(RECORDS, max_size=6))
def test_replay_gives_the_position(records: list[Record]) -> None:
    content = b"".join(map(journal.encode, records))
    assert journal.replay(content) == (told(records), len(content))


@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
def test_a_torn_end_is_as_if_never_written(records: list[Record], data: st.DataObject) -> None:
    *whole, last = map(journal.encode, records)
    torn = last[: data.draw(st.integers(0, len(last) - 1))]
    before = b"".join(whole)
    assert journal.replay(before + torn) == (told(records[:-1]), len(before))


@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
def test_damage_ends_the_journal(records: list[Record], data: st.DataObject) -> None:
    content = b"".join(map(journal.encode, records))
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    position, good = journal.replay(damaged)
    assert good <= place
    assert position == journal.replay(content[:good])[0]


@given(st.lists(RECORDS, max_size=6))
def test_a_snapshot_says_all(records: list[Record]) -> None:
    position = told(records)
    assert journal.replay(journal.encode(journal.snapshot(position)))[0] == position


def test_rewinding_forgets_one_run_alone() -> None:
    runs = {"a" * 32: RunMark(1, False, 5, {}), "b" * 32: RunMark(2, False, 3, {})}
    assert journal.rewound(Position(9, runs), "a" * 32) == Position(4, {"b" * 32: runs["b" * 32]})


def test_a_started_or_ended_run_has_no_early_lines() -> None:
    cid, line = "a" * 32, EarlyLine(1, "api", "{}\n")
    position = told([Record(1, early={cid: (line,)})])
    assert position.early == {cid: (line,)}
    assert journal.advance(position, Record(2, started={cid: RunMark(1, False, 1, {})})).early == {}
    assert journal.advance(position, Record(2, ended=(cid,))).early == {}
