"""Which ticks a run covers: what was asked, within what the data has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import InputError
from basis.models.market import DEFAULT_FEEDS
from basis.venues.core.coverage import requested_range, require_whole_bars

FIRST, LAST = datetime(2024, 5, 12, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC)
COVERED = (int(FIRST.timestamp() * 1000), int(LAST.timestamp() * 1000))


def refused(about: str, start: datetime | None, end: datetime | None, step_s: int = 3600) -> None:
    with pytest.raises(InputError, match=about) as caught:
        requested_range(start, end, COVERED, step_s)
    assert caught.value.error_code == "CONFIG-003"


@given(begin=st.none() | st.integers(0, 100), end=st.none() | st.integers(101, 1000))
def test_what_is_not_asked_for_is_what_the_data_has(begin: int | None, end: int | None) -> None:
    start = None if begin is None else FIRST + timedelta(hours=begin)
    finish = None if end is None else FIRST + timedelta(hours=end)
    assert requested_range(start, finish, COVERED, 3600) == (start or FIRST, finish or LAST)


@pytest.mark.parametrize("hours", [0, -1])
def test_start_that_is_not_before_the_end_raises_config_003(hours: int) -> None:
    refused("is not before end", FIRST, FIRST + timedelta(hours=hours))


@pytest.mark.parametrize("minutes", [30, 61])
def test_range_that_is_no_whole_number_of_ticks_raises_config_003(minutes: int) -> None:
    refused("whole number of ticks", FIRST, FIRST + timedelta(minutes=minutes))


@pytest.mark.parametrize(("minutes", "step_s"), [(0, 3600), (60, 7200), (120, 3600)])
def test_ticks_where_bars_begin_see_every_high_and_low(minutes: int, step_s: int) -> None:
    require_whole_bars(DEFAULT_FEEDS.values(), FIRST + timedelta(minutes=minutes), step_s)


@pytest.mark.parametrize(("minutes", "step_s"), [(30, 3600), (0, 5400), (0, 300)])
def test_ticks_that_cut_through_bars_with_levels_raise_config_003(minutes: int, step_s: int) -> None:
    feeds = [DEFAULT_FEEDS["perp_high:binance:BTCUSDT"]]
    with pytest.raises(InputError, match="cut through bars of 3600 s") as caught:
        require_whole_bars(feeds, FIRST + timedelta(minutes=minutes), step_s)
    assert caught.value.error_code == "CONFIG-003"
    require_whole_bars([DEFAULT_FEEDS["perp:binance:BTCUSDT"]], FIRST + timedelta(minutes=minutes), step_s)
