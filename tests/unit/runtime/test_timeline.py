"""Ticks, times, stamps and ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from basis.runtime.timeline import atomic_group_id, iso, operation_id, tick_stamps, tick_time
from basis.testkit import strategies as bst
from basis.testkit.runs import CID, START, mode_config, run_ref

CONFIG = mode_config()


@given(
    start=bst.moments(),
    step=st.sampled_from([60, 300, 3600, 86_400]),
    first=st.integers(0, 10**5),
    ticks=st.integers(1, 50),
)
def test_stamps_are_the_times_of_the_ticks(start: datetime, step: int, first: int, ticks: int) -> None:
    run = run_ref(CONFIG, start=start, time_step_s=step)
    stamps = tick_stamps(run, first, ticks)
    assert stamps == tuple(iso(tick_time(run, first + place)) for place in range(ticks))
    assert next(datetime.fromisoformat(stamp) for stamp in stamps) == start + timedelta(seconds=step * first)


@given(start=bst.moments(), hours=st.integers(-12, 14))
def test_time_zone_of_the_start_does_not_show(start: datetime, hours: int) -> None:
    there = run_ref(CONFIG, start=start.astimezone(timezone(timedelta(hours=hours))))
    assert tick_stamps(there, 3, 2) == tick_stamps(run_ref(CONFIG, start=start), 3, 2)


def test_iso_is_utc_with_offset() -> None:
    assert iso(datetime(2024, 5, 12, 2, tzinfo=timezone(timedelta(hours=2)))) == "2024-05-12T00:00:00+00:00"
    assert tick_stamps(run_ref(CONFIG), 1, 1) == ("2024-05-12T01:00:00+00:00",)
    assert tick_time(run_ref(CONFIG), 0) == START.astimezone(UTC)


@given(a=st.tuples(st.integers(0, 10**7), st.integers(0, 999)), b=st.tuples(st.integers(0, 10**7), st.integers(0, 999)))
def test_operation_ids_are_unique_within_a_run_and_sort_by_tick_and_number(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    run = run_ref(CONFIG)
    one, other = operation_id(run, *a), operation_id(run, *b)
    assert (one == other) == (a == b)
    assert (one < other) == (a < b)
    assert one.startswith(CID)
    assert len(one) <= 128


@given(tick=st.integers(0, 10**7), number=st.integers(0, 99))
def test_group_ids_are_never_operation_ids(tick: int, number: int) -> None:
    run = run_ref(CONFIG)
    assert atomic_group_id(run, tick, number) != operation_id(run, tick, number)


@given(
    start=bst.moments(),
    step=st.integers(60, 86_400),
    first=st.integers(0, 10**4),
    ticks=st.integers(1, 40) | st.just(2000),
)
def test_stamps_of_steps_that_do_not_divide_a_day(start: datetime, step: int, first: int, ticks: int) -> None:
    run = run_ref(CONFIG, start=start, time_step_s=step)
    assert tick_stamps(run, first, ticks) == tuple(iso(tick_time(run, first + place)) for place in range(ticks))
