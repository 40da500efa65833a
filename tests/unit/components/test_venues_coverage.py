"""Which ticks a run covers: what was asked, within what the data has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import InputError
from basis.venues.core.coverage import requested_range

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
