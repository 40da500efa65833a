"""A curve in one line: as many bars as values, in their order, from the lowest to the highest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.cli.sparkline import BLOCKS, draw

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=80))
def test_bars_follow_the_values(values: list[float]) -> None:
    line = draw(values)
    assert len(line) == len(values)
    heights = [BLOCKS.index(bar) for bar in line]
    for (a, low), (b, high) in zip(
        sorted(zip(values, heights, strict=True)), sorted(zip(values, heights, strict=True))[1:], strict=False
    ):
        assert a == b or low <= high
    if max(values) / 2 > min(values) / 2:
        assert (min(heights), max(heights)) == (0, len(BLOCKS) - 1)


def test_the_edges() -> None:
    assert draw([]) == ""
    assert draw([7.0, 7.0, 7.0]) == "▁▁▁"
    assert draw([0.0, 1.0]) == draw([-1.7e308, 1.7e308]) == "▁█"
    assert draw([0.0, 5e-324]) == "▁▁"
    with pytest.raises(ValueError, match="finite"):
        draw([0.0, float("nan")])
