"""Metrics of a run by empyrical-reloaded, with the run's true period length. Pure.

Conventions: returns per tick, deposits and withdrawals left out; sample standard deviation; risk-free rate 0; years of 365
days. They are those of ``RunResult``: the same numbers, and more of them.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.results.core.growth import deepest_fall, growth
from basis.results.models import Metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from basis.results.core.growth import Growth

    Floats = NDArray[np.float64]

YEAR_S = 365 * 86_400
"""Seconds of the year that rates are annualised with."""
DAY_S = 86_400


class Curve(NamedTuple):
    """What metrics are computed from: one value a tick."""

    ticks: NDArray[np.int64]
    """Index of each tick, ascending."""
    equity: Floats
    """Share class."""
    capital: Floats
    """Capital put in until and with the tick, share class."""
    value_usd: Floats
    """Equity in USD."""


class Frame(NamedTuple):
    """What the run's configuration says."""

    start: datetime
    """Time of tick 0."""
    time_step_s: int
    """Seconds between two ticks."""
    initial_capital: float
    """Capital before tick 0, share class."""
    target_apy: float | None
    """What the mode aims for."""
    max_drawdown: float | None
    """Deepest fall that the mode allows itself, positive."""


def warm() -> None:
    """Import what metrics are computed with: pandas and scipy come along, which takes seconds once."""
    import empyrical  # noqa: F401, PLC0415


def time_of(frame: Frame, tick: int) -> datetime:
    """Time of a tick."""
    return frame.start + timedelta(seconds=tick * frame.time_step_s)


def compute(curve: Curve, frame: Frame, traded: float = 0.0, in_market: float | None = None) -> Metrics:
    """All metrics of a curve of at least one tick.

    Args:
        curve: equity, capital and value in USD.
        frame: period, capital and targets.
        traded: value given in confirmed trades, share class.
        in_market: ticks at which anything but the share class was held, over all ticks.
    """
    # pandas and scipy come with it: a second that only who computes metrics should wait
    from empyrical import annual_volatility, sharpe_ratio, sortino_ratio  # noqa: PLC0415

    found = growth(curve.equity, curve.capital)
    per_year = YEAR_S / frame.time_step_s
    total = total_growth(curve, frame, found)
    years = frame.time_step_s * max(len(curve.ticks) - 1, 1) / YEAR_S
    annual = annualized(total, years)
    fall = deepest_fall(found)
    varies = len(found.returns) > 1 and bool(np.ptp(found.returns) > 0.0)
    mean_equity = float(np.mean(curve.equity))
    turnover = traded / mean_equity if mean_equity > 0.0 else None
    benchmark = _benchmark(curve, frame)
    usd = None if benchmark is None else total * (1.0 + benchmark) - 1.0
    depth = fall.depth if fall is not None else 0.0
    return Metrics(
        total_return=total - 1.0,
        annualized_return=annual,
        volatility=_finite(annual_volatility(found.returns, annualization=per_year)) if varies else 0.0,
        sharpe=_finite(sharpe_ratio(found.returns, annualization=per_year)) if varies else None,
        sortino=_finite(sortino_ratio(found.returns, annualization=per_year))
        if bool((found.returns < 0).any())
        else None,
        calmar=annual / -depth if depth < 0.0 else None,
        max_drawdown=depth,
        max_drawdown_start=time_of(frame, int(curve.ticks[fall.start])) if fall else None,
        max_drawdown_trough=time_of(frame, int(curve.ticks[fall.trough])) if fall else None,
        max_drawdown_end=time_of(frame, int(curve.ticks[fall.end])) if fall and fall.end is not None else None,
        hit_rate=_hits(found.returns),
        hit_rate_days=_hits(day_returns(curve, frame, found)),
        turnover=turnover,
        turnover_annualized=turnover / years if turnover is not None else None,
        time_in_market=in_market,
        benchmark_return=benchmark,
        usd_return=usd,
        excess_return=usd - benchmark if usd is not None and benchmark is not None else None,
        target_apy=frame.target_apy,
        target_met=annual >= frame.target_apy if frame.target_apy is not None else None,
        target_max_drawdown=frame.max_drawdown,
        max_drawdown_met=-depth <= frame.max_drawdown if frame.max_drawdown is not None else None,
        periods_per_year=per_year,
        returns=len(found.returns),
    )


def total_growth(curve: Curve, frame: Frame, found: Growth) -> float:
    """Final value over capital; time-weighted where money flowed, what the first tick cost included."""
    if curve.capital[-1] == frame.initial_capital and not np.diff(curve.capital).any():
        return float(curve.equity[-1] / frame.initial_capital)
    return float(curve.equity[0] / curve.capital[0] * found.unit[-1])


def annualized(total: float, years: float) -> float:
    """Growth over a period as a yearly rate; -1 where nothing is left; the plain return where it would overflow."""
    if total <= 0.0:
        return -1.0
    exponent = math.log(total) / years
    return math.expm1(exponent) if exponent < 700.0 else total - 1.0


def last_of_days(curve: Curve, frame: Frame) -> NDArray[np.int64]:
    """Place of the last tick of each UTC day."""
    epoch = int(frame.start.astimezone(UTC).timestamp())
    days = (epoch + curve.ticks * frame.time_step_s) // DAY_S
    return np.flatnonzero(np.diff(days, append=days[-1] + 1))


def day_returns(curve: Curve, frame: Frame, found: Growth) -> Floats:
    """Return of each UTC day after the first."""
    ends = found.unit[last_of_days(curve, frame)]
    return ends[1:] / np.where(ends[:-1] != 0.0, ends[:-1], np.inf) - 1.0


def _benchmark(curve: Curve, frame: Frame) -> float | None:
    """Return in USD of holding the share class: its price is value in USD over equity."""
    first, last = (
        curve.value_usd[place] / curve.equity[place] if curve.equity[place] else math.nan for place in (0, -1)
    )
    return _finite(last / first - 1.0) if first and math.isfinite(first) else None


def _hits(returns: Floats) -> float | None:
    moved = int(np.count_nonzero(returns))
    return int(np.count_nonzero(returns > 0.0)) / moved if moved else None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
