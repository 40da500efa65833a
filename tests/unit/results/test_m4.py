"""M4: what a screen shows of a curve is what all of its points would show."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from basis.results.core import m4

VALUES = st.one_of(st.floats(allow_infinity=False), st.sampled_from([0.0, 1.0, -1.0]))
CURVES = st.lists(VALUES, min_size=1, max_size=400)


@given(curve=CURVES, buckets=st.integers(1, 60))
def test_first_last_lowest_and_highest_of_every_bucket_are_kept(curve: list[float], buckets: int) -> None:
    borders = m4.edges(len(curve), buckets)
    assert (borders[0], borders[-1]) == (0, len(curve))
    assert (np.diff(borders) > 0).all(), "no bucket is empty"
    assert len(borders) - 1 == min(buckets, len(curve))
    found = m4.picks(np.array(curve), borders).tolist()
    assert found == sorted(set(found))
    assert len(found) <= 4 * buckets
    for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        kept = [curve[place] for place in found if start <= place < end]
        whole = curve[start:end]
        assert {start, end - 1} <= set(found)
        numbers = [value for value in whole if not math.isnan(value)]
        if numbers:
            there = [value for value in kept if not math.isnan(value)]
            assert (min(there), max(there)) == (min(numbers), max(numbers))


@settings(max_examples=40)
@given(
    curves=st.integers(1, 8).flatmap(
        lambda k: st.lists(st.lists(VALUES, min_size=120, max_size=120), min_size=k, max_size=k)
    ),
    points=st.integers(4, 150),
)
def test_one_axis_for_many_curves_is_bounded_and_draws_each_of_them(curves: list[list[float]], points: int) -> None:
    columns = [np.array(curve) for curve in curves]
    places, whole = m4.union(columns, points)
    assert whole is (points >= 120)
    if whole:
        assert places.tolist() == list(range(120))
        return
    assert len(places) <= 3 * points or len(places) <= 2 + 2 * len(curves)
    assert {0, 119} <= set(places.tolist())
    for column in columns:
        numbers = column[~np.isnan(column)]
        drawn = column[places]
        if len(numbers):
            assert (np.nanmin(drawn), np.nanmax(drawn)) == (numbers.min(), numbers.max())


@settings(max_examples=40)
@given(curve=st.lists(st.floats(-1e6, 1e6), min_size=200, max_size=400), points=st.integers(8, 150))
def test_a_picture_of_a_picture_is_the_same_picture(curve: list[float], points: int) -> None:
    column = np.array(curve)
    places, _ = m4.union([column], points)
    again, whole = m4.union([column[places]], len(places))
    assert whole
    assert again.tolist() == list(range(len(places)))
