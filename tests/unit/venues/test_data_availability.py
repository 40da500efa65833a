"""Availability rules on arrays: one exercise a test, and bit-identity under every cut into windows."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basis.models.errors import InputError
from basis.models.market import Feed, FeedKind
from basis.venues.core.availability import Rows, columns, iso_ms, require_no_signal_gap, span

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOUR = 3_600_000
DAY = 24 * HOUR
T0 = 1_715_472_000_000  # 2024-05-12T00:00Z
NAN = math.nan


def a_feed(kind: FeedKind, period_s: int = 3600, column: str = "x", **changes: Any) -> Feed:
    return Feed(column=column, series="folder/series", field="f", kind=kind, period_s=period_s, **changes)


def some_rows(
    times: list[int], values: list[float], closes: list[float] | None = None, opens: list[float] | None = None
) -> Rows:
    """Times in ms after T0."""
    return Rows(
        np.array(times, dtype=np.int64) + T0,
        np.array(values, dtype=np.float64),
        *(None if column is None else np.array(column, dtype=np.float64) for column in (closes, opens)),
    )


def read(feed: Feed, rows: Rows, first: int, ticks: int, step: int = HOUR) -> NDArray[np.float64]:
    return columns([feed], {feed.column: rows}, T0 + first, step, ticks)[feed.column]


def refused(code: str, feed: Feed, rows: Rows, *window: int) -> str:
    """Message of the refusal of a window: first, ticks and, where it is not an hour, step."""
    with pytest.raises(InputError) as caught:
        read(feed, rows, *window)
    assert caught.value.error_code == code
    assert caught.value.component == "market_data"
    assert "folder/series" in caught.value.message
    return caught.value.message


class TestSnapshot:
    feed = a_feed(FeedKind.SNAPSHOT)
    rows = some_rows([0, HOUR, 2 * HOUR + 1], [1.0, 2.0, -3.0])

    def test_last_row_at_or_before_the_tick(self) -> None:
        assert read(self.feed, self.rows, 0, 4).tolist() == [1.0, 2.0, 2.0, -3.0]

    def test_as_old_as_the_limit_is_known_and_older_is_stale(self) -> None:
        feed = a_feed(FeedKind.SNAPSHOT, max_staleness_s=1800)
        assert read(feed, self.rows, 0, 2, HOUR // 2).tolist() == [1.0, 1.0]
        message = refused("DATA-003", feed, self.rows, 45 * 60_000, 1)
        assert "f: at 2024-05-12T00:45:00+00:00" in message
        assert "2700 s old" in message
        assert "limit 1800 s" in message

    def test_before_the_first_row_names_when_data_begins(self) -> None:
        assert "available from 2024-05-12T00:00:00+00:00" in refused("DATA-001", self.feed, self.rows, -1, 1)

    def test_no_rows(self) -> None:
        assert "no rows" in refused("DATA-001", self.feed, some_rows([], []), 0, 1)

    @pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
    def test_a_bad_value_is_refused_only_where_it_is_used(self, bad: float) -> None:
        rows = some_rows([0, HOUR, 2 * HOUR], [1.0, bad, 3.0])
        assert read(self.feed, rows, 0, 2, 2 * HOUR).tolist() == [1.0, 3.0]
        assert "2024-05-12T01:00:00+00:00" in refused("DATA-002", self.feed, rows, 0, 2)

    @pytest.mark.parametrize("column", ["price_usd:ETH", "oracle_price_eth:weETH", "dex_price_eth:weETH"])
    def test_a_price_must_be_positive(self, column: str) -> None:
        feed = a_feed(FeedKind.SNAPSHOT, column=column)
        assert "positive" in refused("DATA-002", feed, some_rows([0], [0.0]), 0, 1)

    def test_feeds_of_one_series_share_its_stamps_not_their_limits(self) -> None:
        strict = a_feed(FeedKind.SNAPSHOT, column="strict", max_staleness_s=1)
        rows = some_rows([0], [1.0])
        with pytest.raises(InputError, match="limit 1 s"):
            columns([self.feed, strict], {"x": rows, "strict": rows}, T0 + HOUR, HOUR, 1)


class TestIndex:
    feed = a_feed(FeedKind.INDEX, 86_400)
    rows = some_rows([0, DAY, 2 * DAY], [1.0, 1.21, 1.21])

    def test_geometric_between_snapshots_and_exact_at_them(self) -> None:
        found = read(self.feed, self.rows, 0, 5, DAY // 2).tolist()
        assert found == [1.0, pytest.approx(1.1, rel=1e-15), 1.21, 1.21, 1.21]
        assert (found[0], found[2], found[4]) == (1.0, 1.21, 1.21)

    def test_after_the_last_snapshot_names_it(self) -> None:
        assert "until 2024-05-14T00:00:00+00:00" in refused("DATA-001", self.feed, self.rows, 0, 50)

    def test_before_the_first_snapshot(self) -> None:
        refused("DATA-001", self.feed, self.rows, -HOUR, 3)

    def test_a_gap_names_both_snapshots_but_not_at_the_snapshots_themselves(self) -> None:
        rows = some_rows([0, 3 * DAY, 4 * DAY], [1.0, 1.1, 1.2])
        message = refused("DATA-004", self.feed, rows, 0, 96)
        assert "2024-05-12T00:00:00+00:00 and 2024-05-15T00:00:00+00:00" in message
        assert read(self.feed, rows, 0, 1).tolist() == [1.0]
        assert read(self.feed, rows, 0, 2, 3 * DAY).tolist() == [1.0, 1.1]

    def test_falling(self) -> None:
        rows = some_rows([0, DAY, 2 * DAY], [1.0, 1.1, 1.09])
        assert "falls from 1.1 at 2024-05-13" in refused("DATA-002", self.feed, rows, 0, 40)

    @pytest.mark.parametrize("bad", [NAN, math.inf, 0.0, -1.0])
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_a_bad_value_is_refused_between_its_neighbours(self, bad: float, place: int) -> None:
        values = [1.0, 1.1, 1.2]
        values[place] = bad
        refused("DATA-002", self.feed, some_rows([0, DAY, 2 * DAY], values), 0, 49)

    @pytest.mark.parametrize("bad", [NAN, math.inf, 0.0, -1.0])
    def test_a_bad_value_that_no_tick_uses_is_no_fault(self, bad: float) -> None:
        rows = some_rows([0, DAY, 2 * DAY], [1.0, bad, 1.2])
        assert read(self.feed, rows, 0, 2, 2 * DAY).tolist() == [1.0, 1.2]

    def test_single_snapshot(self) -> None:
        assert read(self.feed, some_rows([0], [1.5]), 0, 1).tolist() == [1.5]


class TestBar:
    feed = a_feed(FeedKind.BAR)
    rows = some_rows([0, HOUR, 4 * HOUR], [10.0, 11.0, 14.0], [10.5, 11.5, 14.5])

    def test_open_within_the_bar_and_close_from_its_end_on(self) -> None:
        found = read(self.feed, self.rows, 0, 10, HOUR // 2).tolist()
        assert found == [10.0, 10.0, 11.0, 11.0, 11.5, 11.5, 11.5, 11.5, 14.0, 14.0]

    def test_close_counts_for_staleness_from_the_end_of_the_bar(self) -> None:
        assert read(self.feed, self.rows, 7 * HOUR, 1).tolist() == [14.5]
        message = refused("DATA-003", self.feed, self.rows, 7 * HOUR + 1, 1)
        assert "7200" in message

    def test_gap_before_a_later_bar(self) -> None:
        rows = some_rows([0, 9 * HOUR], [10.0, 11.0], [10.5, 11.5])
        message = refused("DATA-004", self.feed, rows, 0, 8)
        assert "2024-05-12T00:00:00+00:00 and 2024-05-12T09:00:00+00:00" in message

    def test_close_must_be_known_only_where_used(self) -> None:
        rows = some_rows([0, HOUR], [10.0, 11.0], [NAN, 11.5])
        assert read(self.feed, rows, 0, 2).tolist() == [10.0, 11.0]
        refused("DATA-002", self.feed, some_rows([0], [10.0], [NAN]), 0, 2)

    def test_before_the_first_bar(self) -> None:
        refused("DATA-001", self.feed, self.rows, -1, 1)

    def test_needs_closes(self) -> None:
        with pytest.raises(ValueError, match="closes"):
            read(self.feed, some_rows([0], [1.0]), 0, 1)


class TestEvent:
    feed = a_feed(FeedKind.EVENT, 8 * 3600)
    rows = some_rows([0, 8 * HOUR, 16 * HOUR], [0.1, -0.2, 0.3])

    def test_in_the_step_that_ends_at_the_tick(self) -> None:
        found = read(self.feed, self.rows, 0, 18)
        assert {place: value for place, value in enumerate(found.tolist()) if value} == {0: 0.1, 8: -0.2, 16: 0.3}
        assert read(self.feed, self.rows, HOUR // 2, 1).tolist() == [0.1]
        assert read(self.feed, self.rows, HOUR, 1).tolist() == [0.0]

    def test_two_in_one_step(self) -> None:
        assert "2 events in the step of 57600 s" in refused("DATA-002", self.feed, self.rows, 8 * HOUR, 1, 16 * HOUR)

    def test_a_missing_one_is_refused_from_when_it_was_due(self) -> None:
        rows = some_rows([0, 16 * HOUR, 24 * HOUR], [0.1, 0.3, 0.4])
        assert read(self.feed, rows, 0, 8)[0] == 0.1
        message = refused("DATA-004", self.feed, rows, 0, 9)
        assert "2024-05-12T00:00:00+00:00 and 2024-05-12T16:00:00+00:00" in message
        refused("DATA-004", self.feed, rows, 16 * HOUR, 1)
        assert read(self.feed, rows, 17 * HOUR, 8)[7] == 0.4

    def test_one_period_around_its_rows_and_no_further(self) -> None:
        assert read(self.feed, self.rows, -8 * HOUR, 1).tolist() == [0.0]
        assert read(self.feed, self.rows, 24 * HOUR, 1).tolist() == [0.0]
        assert "from 2024-05-11T16:00" in refused("DATA-001", self.feed, self.rows, -9 * HOUR, 3)
        assert "until 2024-05-13T00:00" in refused("DATA-001", self.feed, self.rows, 20 * HOUR, 6)

    def test_null(self) -> None:
        rows = some_rows([0, 8 * HOUR], [0.1, NAN])
        refused("DATA-002", self.feed, rows, 0, 9)

    def test_no_rows(self) -> None:
        refused("DATA-001", self.feed, some_rows([], []), 0, 1)


class TestReward:
    feed = a_feed(FeedKind.REWARD, 7 * 86_400)

    def test_sums_the_rows_of_a_step(self) -> None:
        rows = some_rows([0, DAY, DAY + 1, 2 * DAY], [1.0, 2.0, 4.0, 8.0])
        assert read(self.feed, rows, 0, 4, DAY).tolist() == [1.0, 2.0, 12.0, 0.0]
        assert read(self.feed, rows, 2 * DAY, 1, 3 * DAY).tolist() == [15.0]

    def test_no_rows_and_no_value_pay_nothing(self) -> None:
        assert read(self.feed, some_rows([], []), 0, 2).tolist() == [0.0, 0.0]
        assert read(self.feed, some_rows([0], [NAN]), 0, 2).tolist() == [0.0, 0.0]

    def test_infinity_is_refused(self) -> None:
        assert "inf" in refused("DATA-002", self.feed, some_rows([0], [math.inf]), 0, 1)


class TestClose:
    feed = a_feed(FeedKind.CLOSE)
    rows = some_rows([0, HOUR, 4 * HOUR], [10.0, 11.0, 14.0], [10.5, 11.5, 14.5])

    def test_close_of_the_last_bar_that_has_ended_and_the_first_open_before_any_has(self) -> None:
        found = read(self.feed, self.rows, 0, 11, HOUR // 2).tolist()
        assert found == [10.0] * 2 + [10.5] * 2 + [11.5] * 6 + [14.5]

    def test_a_close_is_as_old_as_its_bar_has_ended(self) -> None:
        assert read(self.feed, self.rows, 4 * HOUR, 1).tolist() == [11.5]
        assert read(self.feed, self.rows, 7 * HOUR, 1).tolist() == [14.5]
        assert "limit 7200 s" in refused("DATA-003", self.feed, self.rows, 7 * HOUR + 1, 1)

    def test_gap_before_a_later_bar_until_that_has_ended(self) -> None:
        rows = some_rows([0, 9 * HOUR, 10 * HOUR], [10.0, 11.0, 12.0], [10.5, 11.5, 12.5])
        message = refused("DATA-004", self.feed, rows, 9 * HOUR, 1)
        assert "2024-05-12T00:00:00+00:00 and 2024-05-12T09:00:00+00:00" in message
        assert read(self.feed, rows, 10 * HOUR, 1).tolist() == [11.5]
        patient = a_feed(FeedKind.CLOSE, max_staleness_s=9 * 3600)
        assert read(patient, rows, 9 * HOUR, 2).tolist() == [10.5, 11.5]

    def test_a_limit_below_the_period_does_not_refuse_a_close_within_the_next_bar(self) -> None:
        strict = a_feed(FeedKind.CLOSE, max_staleness_s=60)
        assert read(strict, some_rows([0, HOUR], [1.0, 2.0], [1.5, 2.5]), HOUR + HOUR // 2, 1).tolist() == [1.5]

    def test_before_the_first_bar_and_bad_values_and_no_closes(self) -> None:
        refused("DATA-001", self.feed, self.rows, -1, 1)
        rows = some_rows([0, HOUR], [10.0, 11.0], [NAN, 11.5])
        refused("DATA-002", self.feed, rows, HOUR, 1)
        assert read(self.feed, rows, 2 * HOUR, 1).tolist() == [11.5]
        with pytest.raises(ValueError, match="closes"):
            read(self.feed, some_rows([0], [1.0]), 0, 1)


class TestHighAndLow:
    high, low = a_feed(FeedKind.HIGH, 300), a_feed(FeedKind.LOW, 300)
    five = 300_000
    rows = some_rows(
        [0, 300_000, 600_000, 900_000], [12.0, 15.0, 11.0, 13.0], [10.5, 11.5, 10.0, 12.0], [10.0, 10.5, 11.5, 10.0]
    )

    def test_extreme_of_the_bars_of_each_step(self) -> None:
        assert read(self.high, self.rows, 0, 3, 2 * self.five).tolist() == [10.0, 15.0, 13.0]
        assert read(self.low, self.rows, 0, 3, 2 * self.five).tolist() == [10.0, 12.0, 11.0]
        assert read(self.high, self.rows, 0, 5, self.five).tolist() == [10.0, 12.0, 15.0, 11.0, 13.0]

    def test_where_no_bar_lies_the_last_close_stands(self) -> None:
        rows = some_rows([0, 600_000], [12.0, 15.0], [10.5, 11.5], [10.0, 14.0])
        assert read(self.high, rows, 0, 4, self.five).tolist() == [10.0, 12.0, 10.5, 15.0]

    def test_a_bar_that_straddles_a_tick_belongs_to_no_step(self) -> None:
        assert read(self.high, self.rows, 150_000, 3, self.five).tolist() == [10.0, 10.5, 11.5]

    def test_missing_bars_within_a_step(self) -> None:
        rows = some_rows([0, 300_000, 2_700_000, 3_000_000, 3_300_000], [1.0] * 5, [1.0] * 5, [1.0] * 5)
        assert "2024-05-12T00:05:00" in refused("DATA-004", self.high, rows, HOUR, 1)
        assert read(a_feed(FeedKind.HIGH, 300, max_staleness_s=3600), rows, HOUR, 1).tolist() == [1.0]

    def test_stale(self) -> None:
        assert read(self.low, self.rows, 1_800_000, 1, self.five).tolist() == [12.0]
        refused("DATA-003", self.low, self.rows, 1_800_001, 1, self.five)

    @pytest.mark.parametrize("bad", [NAN, math.inf, 0.0])
    def test_a_bad_value_is_refused_where_it_is_used(self, bad: float) -> None:
        rows = some_rows([0, 300_000], [1.0, bad], [1.0, 1.0], [1.0, 1.0])
        assert read(self.high, rows, self.five, 1, self.five).tolist() == [1.0]
        if bad != 0.0:
            refused("DATA-002", self.high, rows, 2 * self.five, 1, 2 * self.five)
        refused("DATA-002", self.low, some_rows([0], [bad], [1.0], [1.0]), self.five, 1, self.five)

    def test_needs_opens_and_closes(self) -> None:
        with pytest.raises(ValueError, match="opens and closes"):
            read(self.high, some_rows([0], [1.0], [1.0]), 0, 1)


class TestEventMean:
    feed = a_feed(FeedKind.EVENT_MEAN, 8 * 3600, lookback_s=86_400)
    rows = some_rows([n * 8 * HOUR for n in range(6)], [0.1, 0.2, 0.6, 0.4, -1.0, 0.3])

    def test_mean_of_what_lies_in_the_lookback(self) -> None:
        found = read(self.feed, self.rows, 0, 6, 8 * HOUR).tolist()
        exact = [[0.1], [0.1, 0.2], [0.1, 0.2, 0.6], [0.2, 0.6, 0.4], [0.6, 0.4, -1.0], [0.4, -1.0, 0.3]]
        assert found == [math.fsum(values) / len(values) for values in exact]
        assert read(self.feed, self.rows, 9 * HOUR, 1) == [math.fsum([0.1, 0.2]) / 2]

    def test_a_missing_event_is_refused_as_long_as_the_lookback_reaches_it(self) -> None:
        rows = some_rows([0, *(n * 8 * HOUR for n in range(2, 8))], [0.1] * 7)
        refused("DATA-004", self.feed, rows, 8 * HOUR, 1)
        refused("DATA-004", self.feed, rows, 39 * HOUR, 1)
        assert read(self.feed, rows, 40 * HOUR, 1).tolist() == [math.fsum([0.1] * 3) / 3]

    def test_at_least_one(self) -> None:
        refused("DATA-001", self.feed, self.rows, -1, 1)
        refused("DATA-001", self.feed, self.rows, 49 * HOUR, 1)
        short = a_feed(FeedKind.EVENT_MEAN, 8 * 3600, lookback_s=3600)
        assert "no event in the 3600 s" in refused("DATA-003", short, self.rows, 2 * HOUR, 1)

    def test_null(self) -> None:
        refused("DATA-002", self.feed, some_rows([0, 8 * HOUR], [0.1, NAN]), 8 * HOUR, 1)


class TestSignal:
    rows = some_rows([0, HOUR, 2 * HOUR], [1.0, 0.0, -1.0])

    def test_last_row_at_or_before_the_tick_until_it_is_too_old(self) -> None:
        feed = a_feed(FeedKind.SIGNAL, column="signal_side", max_staleness_s=1800)
        assert read(feed, self.rows, 0, 5, HOUR // 2).tolist() == [1.0, 1.0, 0.0, 0.0, -1.0]
        refused("DATA-003", feed, self.rows, 45 * 60_000, 1)

    @pytest.mark.parametrize(
        ("column", "good", "bad"),
        [
            ("signal_side", [-1.0, 0.0, 1.0], [0.5, 2.0, -2.0]),
            ("signal_confidence", [0.0, 0.3, 1.0], [-0.1, 1.1]),
            ("signal_sd", [1e-9, 0.01, 3.0], [0.0, -0.01]),
        ],
    )
    def test_values_out_of_bounds_are_refused(self, column: str, good: list[float], bad: list[float]) -> None:
        feed = a_feed(FeedKind.SIGNAL, column=column)
        assert read(feed, some_rows([0, HOUR, 2 * HOUR], good), 0, 3).tolist() == good
        for value in (*bad, NAN, math.inf):
            refused("DATA-002", feed, some_rows([0], [value]), 0, 1)

    def test_gaps_longer_than_signals_count(self) -> None:
        feed = a_feed(FeedKind.SIGNAL, max_staleness_s=3600)
        rows = some_rows([0, HOUR, 3 * HOUR, 4 * HOUR], [1.0] * 4)
        require_no_signal_gap(feed, rows, T0, T0 + 2 * HOUR)
        require_no_signal_gap(feed, rows, T0 + 3 * HOUR, T0 + 9 * HOUR)
        with pytest.raises(InputError, match=r"01:00:00\+00:00 and 2024-05-12T03:00:00") as caught:
            require_no_signal_gap(feed, rows, T0, T0 + 4 * HOUR)
        assert caught.value.error_code == "DATA-004"
        require_no_signal_gap(a_feed(FeedKind.SNAPSHOT, max_staleness_s=3600), rows, T0, T0 + 4 * HOUR)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FeedKind.SNAPSHOT, (T0, T0 + 3 * HOUR)),
        (FeedKind.INDEX, (T0, T0 + 2 * HOUR)),
        (FeedKind.BAR, (T0, T0 + 3 * HOUR)),
        (FeedKind.EVENT, (T0 - HOUR, T0 + 3 * HOUR)),
        (FeedKind.REWARD, (None, None)),
        (FeedKind.CLOSE, (T0, T0 + 3 * HOUR)),
        (FeedKind.HIGH, (T0, T0 + 3 * HOUR)),
        (FeedKind.EVENT_MEAN, (T0, T0 + 3 * HOUR)),
        (FeedKind.SIGNAL, (T0, T0 + 3 * HOUR)),
    ],
)
def test_span(kind: FeedKind, expected: tuple[int | None, int | None]) -> None:
    lookback: dict[str, Any] = {"lookback_s": 3600} if kind is FeedKind.EVENT_MEAN else {}
    assert span(a_feed(kind, **lookback), some_rows([0, 2 * HOUR], [1.0, 2.0])) == expected


def test_span_of_a_snapshot_ends_where_it_is_stale() -> None:
    assert span(a_feed(FeedKind.SNAPSHOT, max_staleness_s=60), some_rows([0], [1.0])) == (T0, T0 + 60_000)


@pytest.mark.parametrize(("ticks", "step"), [(0, HOUR), (1, 0), (-1, HOUR)])
def test_an_empty_window_is_a_programming_error(ticks: int, step: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        columns([], {}, T0, step, ticks)


def test_iso_ms() -> None:
    assert iso_ms(T0 + 1) == "2024-05-12T00:00:00.001000+00:00"


# --- properties -----------------------------------------------------------------------------------------------------

STEP = st.sampled_from([60_000, 300_000, HOUR, 7 * 60_000])


@st.composite
def worlds(draw: st.DrawFn, kind: FeedKind) -> tuple[Feed, Rows, int, int, int]:
    """A feed, its rows (jittered, with holes), and a range of ticks; some are faulty."""
    lookback: dict[str, Any] = {}
    if kind is FeedKind.EVENT_MEAN:
        lookback["lookback_s"] = draw(st.sampled_from([3600, 7200, 30_000]))
    feed = a_feed(kind, 3600, max_staleness_s=draw(st.sampled_from([None, 3600, 10 * 3600])), **lookback)
    count = draw(st.integers(1, 12))
    gaps = draw(st.lists(st.sampled_from([HOUR, HOUR, HOUR, HOUR // 2 + 1, 2 * HOUR]), min_size=count, max_size=count))
    good = st.floats(0.5, 1e6)
    value = st.one_of(*[good] * 9, st.sampled_from([NAN, math.inf, 0.0, -1.0]))
    values = draw(st.lists(value, min_size=count, max_size=count))
    if kind is FeedKind.INDEX and draw(st.booleans()):
        values = sorted(abs(v) + 1 if math.isfinite(v) else 2.0 for v in values)
    of_bars = {FeedKind.BAR: 1, FeedKind.CLOSE: 1, FeedKind.HIGH: 2, FeedKind.LOW: 2}.get(kind, 0)
    more = [draw(st.lists(good, min_size=count, max_size=count)) for _ in range(of_bars)]
    times = np.cumsum(gaps).tolist()
    step = draw(STEP)
    first = draw(st.integers(-1, 20)) * HOUR // 2 + draw(st.sampled_from([0, 1, 90_000]))
    return feed, some_rows(times, values, *more), first, draw(st.integers(1, 40)), step


def outcome(feed: Feed, rows: Rows, first: int, ticks: int, step: int) -> bytes | str:
    """Bits of a window, or the code of its refusal."""
    try:
        return read(feed, rows, first, ticks, step).tobytes()
    except InputError as error:
        return error.error_code


@pytest.mark.parametrize("kind", list(FeedKind))
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_range_has_the_same_bits_however_it_is_cut(kind: FeedKind, data: st.DataObject) -> None:
    feed, rows, first, ticks, step = data.draw(worlds(kind))
    cuts = sorted({0, ticks, *data.draw(st.lists(st.integers(0, ticks), max_size=4))})
    pieces = [outcome(feed, rows, first + a * step, b - a, step) for a, b in pairwise(cuts)]
    single = [outcome(feed, rows, first + tick * step, 1, step) for tick in range(ticks)]
    whole = outcome(feed, rows, first, ticks, step)
    for found in (pieces, single):
        codes = {piece for piece in found if isinstance(piece, str)}
        if isinstance(whole, str):
            assert whole in codes
        else:
            assert b"".join(piece for piece in found if isinstance(piece, bytes)) == whole
            assert not codes


def bars_by_hand(feed: Feed, rows: Rows, moment: int, step: int) -> float:
    """Close, high and low once more."""
    times, values = rows.times.tolist(), rows.values.tolist()
    ended = [place for place, time in enumerate(times) if time + 1000 * feed.period_s <= moment]
    inside = [values[place] for place in ended if times[place] >= moment - step]
    if feed.kind is not FeedKind.CLOSE and inside:
        return float(max(inside) if feed.kind is FeedKind.HIGH else min(inside))
    opens = rows.values if feed.kind is FeedKind.CLOSE else rows.opens
    assert rows.closes is not None
    assert opens is not None
    return float(rows.closes[ended[-1]] if ended else opens[0])


def by_hand(feed: Feed, rows: Rows, moment: int, step: int) -> float:
    """The rules once more, for one tick and sound rows, without NumPy."""
    times, values = rows.times.tolist(), rows.values.tolist()
    past = [place for place, time in enumerate(times) if time <= moment]
    within = [place for place in past if times[place] > moment - step]
    match feed.kind:
        case FeedKind.CLOSE | FeedKind.HIGH | FeedKind.LOW:
            return bars_by_hand(feed, rows, moment, step)
        case FeedKind.EVENT_MEAN:
            assert feed.lookback_s is not None
            seen = [values[place] for place in past if times[place] > moment - 1000 * feed.lookback_s]
            return math.fsum(seen) / len(seen)
        case FeedKind.EVENT | FeedKind.REWARD:
            return float(sum((values[place] for place in within), 0.0))
        case FeedKind.BAR if moment >= times[past[-1]] + 1000 * feed.period_s:
            assert rows.closes is not None
            return float(rows.closes[past[-1]])
        case FeedKind.INDEX if times[past[-1]] < moment:
            at = past[-1]
            part = (moment - times[at]) / (times[at + 1] - times[at])
            return float(values[at] * math.pow(values[at + 1] / values[at], part))
    return float(values[past[-1]])


@pytest.mark.parametrize("kind", list(FeedKind))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_agrees_with_the_rules_written_by_hand(kind: FeedKind, data: st.DataObject) -> None:
    feed, rows, first, ticks, step = data.draw(worlds(kind))
    try:
        found = read(feed, rows, first, ticks, step)
    except InputError:
        return
    sound = rows._replace(values=np.nan_to_num(rows.values, nan=0.0))
    expected = [by_hand(feed, sound, T0 + first + tick * step, step) for tick in range(ticks)]
    assert found.tolist() == expected
