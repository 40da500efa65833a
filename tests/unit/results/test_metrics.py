"""Metrics against an independent computation: exact fractions, the statistics module, and plain loops."""

from __future__ import annotations

import math
import statistics
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from basis.models.messages import RunStatistics
from basis.results.core import growth, metrics
from basis.strategy.core import run_state

if TYPE_CHECKING:
    from basis.results.models import Metrics

START = datetime(2024, 5, 12, 7, tzinfo=UTC)
STEPS = st.sampled_from([300, 3600, 86_400])
EQUITY = st.lists(st.floats(100.0, 1e6), min_size=1, max_size=24)


def computed(equity: list[float], flows: dict[int, float], step: int = 3600, initial: float = 1000.0) -> Metrics:
    """Metrics of a curve."""
    capital = growth.capital_column(initial, np.arange(len(equity)), flows)
    curve = metrics.Curve(np.arange(len(equity)), np.array(equity), capital, np.array(equity) * 0.999)
    return metrics.compute(curve, metrics.Frame(START, step, initial, 0.05, 0.01), traded=500.0, in_market=0.5)


class Exact:
    """The same by hand: returns as exact fractions of the floats, sums without rounding."""

    def __init__(self, equity: list[float], flows: dict[int, float], step: int, initial: float) -> None:
        values = [Fraction(value) for value in equity]
        capital = [Fraction(value) for value in growth.capital_column(initial, np.arange(len(equity)), flows).tolist()]
        self.returns = [
            (values[tick] - (capital[tick] - capital[tick - 1])) / values[tick - 1] - 1
            for tick in range(1, len(values))
        ]
        self.unit = [Fraction(1)]
        for change in self.returns:
            self.unit.append(self.unit[-1] * (1 + change))
        self.total = values[0] / capital[0] * self.unit[-1]
        self.per_year = 365 * 86_400 / step
        self.years = step * max(len(values) - 1, 1) / (365 * 86_400)

    def falls(self) -> list[Fraction]:
        """Drawdown at each tick."""
        peak, falls = self.unit[0], []
        for value in self.unit:
            peak = max(peak, value)
            falls.append(value / peak - 1)
        return falls


def close(found: float | None, expected: float | Fraction, scale: float = 1.0) -> bool:
    """Equal to 1e-12, relative, or beside the scale that the figure is computed at."""
    assert found is not None
    return math.isclose(found, float(expected), rel_tol=1e-12, abs_tol=1e-12 * scale)


@settings(max_examples=60)
@given(equity=EQUITY, step=STEPS, data=st.data())
def test_metrics_agree_with_exact_fractions(equity: list[float], step: int, data: st.DataObject) -> None:
    ticks = st.integers(1, max(len(equity) - 1, 1))
    flows = data.draw(st.dictionaries(ticks, st.floats(-50.0, 500.0), max_size=3)) if len(equity) > 1 else {}
    found, exact = computed(equity, flows, step), Exact(equity, flows, step, 1000.0)
    assert close(found.total_return, exact.total - 1, scale=float(abs(exact.total)))
    if exact.total > 0 and abs(math.log(exact.total) / exact.years) < 600:
        expected = math.exp(math.log(exact.total) / exact.years) - 1
        # the exponent is rounded, too, and a long way up that shows
        assert math.isclose(1 + (found.annualized_return or 0.0), 1 + expected, rel_tol=1e-12 * (1 + 1 / exact.years))
    assert found.periods_per_year == exact.per_year
    assert found.returns == len(exact.returns)
    falls = exact.falls()
    assert close(found.max_drawdown, min(falls))
    if len(exact.returns) > 1 and len(set(exact.returns)) > 1:
        largest = float(max(abs(change) for change in exact.returns))
        deviation = math.sqrt(statistics.variance(exact.returns))
        assert close(found.volatility, deviation * math.sqrt(exact.per_year), scale=largest * math.sqrt(exact.per_year))
        if deviation > 1e-3 * largest:  # else rounding of the returns is what is left
            sharpe = float(statistics.mean(exact.returns)) / deviation * math.sqrt(exact.per_year)
            assert math.isclose(found.sharpe or 0.0, sharpe, rel_tol=1e-10, abs_tol=1e-10 * math.sqrt(exact.per_year))
        downside = math.sqrt(sum(float(min(change, Fraction(0))) ** 2 for change in exact.returns) / len(exact.returns))
        if downside > 1e-3 * largest:
            sortino = float(statistics.mean(exact.returns)) * math.sqrt(exact.per_year) / downside
            assert math.isclose(found.sortino or 0.0, sortino, rel_tol=1e-10, abs_tol=1e-10 * math.sqrt(exact.per_year))


def test_a_curve_worked_by_hand() -> None:
    """Every figure of a small curve, to 1e-12."""
    equity = [990.0, 1010.0, 1000.0, 950.0, 1200.0, 1260.0]
    found = computed(equity, {4: 200.0})  # 950 -> 1200 with 200 paid in: a return of 50 / 950
    returns = [1010 / 990 - 1, 1000 / 1010 - 1, 950 / 1000 - 1, 1000 / 950 - 1, 1260 / 1200 - 1]
    total = 0.99 * math.prod(1 + change for change in returns)
    years = 5 * 3600 / (365 * 86_400)
    deviation = statistics.stdev(returns)
    downside = math.sqrt(sum(min(change, 0.0) ** 2 for change in returns) / 5)
    assert close(found.total_return, total - 1)
    assert math.isclose(found.annualized_return or 0.0, total ** (1 / years) - 1, rel_tol=1e-9)
    assert close(found.volatility, deviation * math.sqrt(8760))
    assert close(found.sharpe, statistics.mean(returns) / deviation * math.sqrt(8760))
    assert close(found.sortino, statistics.mean(returns) / downside * math.sqrt(8760))
    assert close(found.max_drawdown, 950 / 1010 - 1)
    assert found.calmar is not None
    assert close(found.calmar / (found.annualized_return or 0.0), -1 / (950 / 1010 - 1))
    assert (found.max_drawdown_start, found.max_drawdown_trough) == (
        START + timedelta(hours=1),
        START + timedelta(hours=3),
    )
    assert found.max_drawdown_end == START + timedelta(hours=5)
    assert found.hit_rate == 3 / 5
    assert close(found.turnover, 500 / statistics.mean(equity))
    assert found.time_in_market == 0.5
    assert found.target_met is True
    assert found.max_drawdown_met is False
    assert close(found.benchmark_return, 0.0)
    assert close(found.usd_return, total - 1)


@given(equity=EQUITY, step=STEPS, data=st.data())
def test_metrics_are_those_of_the_run_itself(equity: list[float], step: int, data: st.DataObject) -> None:
    ticks = st.integers(1, max(len(equity) - 1, 1))
    flows = data.draw(st.dictionaries(ticks, st.floats(-50.0, 500.0), max_size=3)) if len(equity) > 1 else {}
    capital = growth.capital_column(1000.0, np.arange(len(equity)), flows).tolist()
    paid = np.diff(capital, prepend=capital[0]).tolist()
    assume(all(value - amount > 1.0 for value, amount in zip(equity, paid, strict=True)))  # else all was lost before it
    own = run_state.with_equity(RunStatistics(), equity, capital)
    found = computed(equity, flows, step)
    assert found.max_drawdown == pytest.approx(own.max_drawdown, rel=1e-9, abs=1e-12)
    assert 1.0 + (found.total_return or 0.0) == pytest.approx(own.growth, rel=1e-9)
    mean = own.return_sum / max(own.returns, 1)
    if own.returns > 1:
        variance = max(own.return_square_sum - own.returns * mean * mean, 0.0) / (own.returns - 1)
        scale = max(abs(one) for one in growth.growth(np.array(equity), np.array(capital)).returns) + 1e-300
        assert found.volatility == pytest.approx(
            math.sqrt(variance * found.periods_per_year), rel=1e-6, abs=1e-6 * scale * 400
        )


@pytest.mark.parametrize(
    ("equity", "expected"),
    [
        ([1000.0], {"total_return": 0.0, "volatility": 0.0, "sharpe": None, "max_drawdown": 0.0, "calmar": None}),
        ([1000.0] * 5, {"total_return": 0.0, "volatility": 0.0, "sharpe": None, "sortino": None, "hit_rate": None}),
        (
            [1000.0, 0.0, 0.0],
            {"total_return": -1.0, "annualized_return": -1.0, "max_drawdown": -1.0, "calmar": 1 / -1.0},
        ),
        ([1000.0, 1010.0, 1020.0], {"sortino": None, "calmar": None, "hit_rate": 1.0, "max_drawdown_start": None}),
    ],
)
def test_what_is_not_defined_is_null(equity: list[float], expected: dict[str, float | None]) -> None:
    found = computed(equity, {}).model_dump()
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_days_are_utc_days() -> None:
    """Seven in the morning to noon of the next day but one: two midnights, so two returns of days."""
    equity = [1000.0 + tick for tick in range(54)]
    equity[40] = 900.0
    curve = metrics.Curve(np.arange(54), np.array(equity), np.full(54, 1000.0), np.array(equity))
    frame = metrics.Frame(START, 3600, 1000.0, None, None)
    assert metrics.last_of_days(curve, frame).tolist() == [16, 40, 53]
    found = metrics.compute(curve, frame)
    assert found.hit_rate_days == 0.5
    assert (found.target_met, found.max_drawdown_met, found.turnover) == (None, None, 0.0)
