"""Growth and drawdown where money is paid in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.results.core.growth import capital_column, deepest_fall, drawdown, growth

if TYPE_CHECKING:
    from numpy.typing import NDArray

CURVES = st.lists(st.floats(1.0, 1e6), min_size=1, max_size=60)


@given(returns=st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=50), data=st.data())
def test_flows_leave_no_trace_in_growth(returns: list[float], data: st.DataObject) -> None:
    equity, flows = [1000.0], {}
    for tick, change in enumerate(returns, start=1):
        grown = equity[-1] * (1.0 + change)
        paid = data.draw(st.sampled_from([0.0, 0.0, 250.0, -0.1 * grown]))
        if paid:
            flows[tick] = paid
        equity.append(grown + paid)
    ticks = np.arange(len(equity))
    found = growth(np.array(equity), capital_column(1000.0, ticks, flows))
    plain: NDArray[np.float64] = np.array([1.0, *(1.0 + change for change in returns)]).cumprod()
    assert found.unit == pytest.approx(plain, rel=1e-9)
    assert found.drawdown == pytest.approx(drawdown(plain), abs=1e-9)


@given(curve=CURVES)
def test_drawdown_is_never_above_zero_and_the_deepest_is_found(curve: list[float]) -> None:
    found = growth(np.array(curve), np.full(len(curve), 1000.0))
    assert (found.drawdown <= 0.0).all()
    assert (found.drawdown > -1.0).all()
    fall = deepest_fall(found)
    by_hand = min(curve[b] / max(curve[: b + 1]) - 1.0 for b in range(len(curve)))
    if fall is None:
        assert by_hand == 0.0
        return
    assert fall.depth == pytest.approx(by_hand, rel=1e-12)
    assert curve[fall.start] == max(curve[: fall.trough + 1])
    assert fall.start < fall.trough
    assert fall.depth == pytest.approx(curve[fall.trough] / curve[fall.start] - 1.0, rel=1e-12)
    if fall.end is None:
        assert max(curve[fall.trough :]) < curve[fall.start]
    else:
        assert curve[fall.end] >= curve[fall.start]
        assert all(value < curve[fall.start] for value in curve[fall.trough : fall.end])


def test_nothing_and_a_total_loss() -> None:
    empty = growth(np.zeros(0), np.zeros(0))
    assert (len(empty.returns), len(empty.unit), deepest_fall(empty)) == (0, 0, None)
    lost = growth(np.array([10.0, 0.0, 0.0]), np.full(3, 10.0))
    assert lost.returns.tolist() == [-1.0, 0.0]
    assert lost.drawdown.tolist() == [0.0, -1.0, -1.0]
