"""A small real model of where BTC goes: logistic regression with a ridge, refitted each month on the past only.

Pure NumPy: arrays in, arrays out. It makes the signals of the synthetic catalogue, and it is an example of the format
that ``basis.venues.data.signals`` reads; it is not a recommendation to trade on. At each full hour T it reads five-minute
bars that ended at or before T and funding stamped at or before T, and states the likelier direction of the next
:data:`HORIZON_H` hours, its probability, and the standard deviation of the return over them. Fitted on three months, it
is surer of itself than its record allows: the synthetic market is nearly a random walk.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

HORIZON_H = 24
"""Hours ahead that a signal speaks of."""
ENTER = 0.6
"""Probability from which a side is taken ..."""
LEAVE = 0.55
"""... and below which it is left: the distance keeps the side from flickering around one level."""

_HOUR_MS = 3_600_000
_MOMENTUM_H = (6, 24, 72, 168, 336)
"""Hours that each momentum feature looks back."""
_FUNDING_COUNT = 9
"""Fundings averaged: three days of eight-hour intervals."""
_FUNDING_SCALE = 3e-4
"""Funding rates are divided by this, so that the ridge weighs them like the other features."""
_VOLATILITY_H, _PRIOR_H, _PRIOR_SD = 168, 24, 0.005
"""Hours of the volatility; a prior of so many hours at so large an hourly move stands in while there is little data."""
_WARMUP_H = 30 * 24
"""Least history that a fit takes, hours."""
_MEMORY_H = 90 * 24
"""Longest history that a fit takes, hours."""
_EVERY_H = 3
"""A fit takes every third hour: targets of neighbouring hours overlap nearly wholly."""
_RIDGE, _STEPS = 4.0, 12
_CLIP = 4.0
"""Features are cut to this range: one crash must not rule the fit."""
_DECIMALS = 6
"""Of probability and deviation: coarse enough that machines whose last bits differ agree."""


class Signals(NamedTuple):
    """Rows of a signal series, parallel arrays."""

    timestamp: IntArray
    """From when a signal may be used, ms since 1970 UTC: full hours."""
    side: FloatArray
    """1 long, -1 short, 0 neutral."""
    confidence: FloatArray
    """Probability of the likelier direction, 0.5 to 1; 0 before the first fit."""
    sd: FloatArray
    """Standard deviation of the return over the horizon, a fraction."""
    data_until: IntArray
    """End of the last data that the signal was made from, ms: the timestamp itself."""


def signals(
    bars: Mapping[str, NDArray[np.int64] | FloatArray],
    funding: Mapping[str, NDArray[np.int64] | FloatArray],
    bar_ms: int = 300_000,
) -> Signals:
    """Signals at each full hour from the start of the first bar to the end of the last one.

    Args:
        bars: ``timestamp`` (start of each bar, int64 ms, without gaps, the first at a full hour) and ``open``, ``close``.
        funding: ``timestamp`` (int64 ms) and ``funding_rate`` (a fraction).
        bar_ms: length of a bar, ms; divides an hour.

    Raises:
        ValueError: the bars have gaps, do not begin at a full hour, or are none.
    """
    starts = np.asarray(bars["timestamp"], dtype=np.int64)
    if len(starts) == 0 or starts[0] % _HOUR_MS or _HOUR_MS % bar_ms or (np.diff(starts) != bar_ms).any():
        raise ValueError("bars must be without gaps, of a length that divides an hour, and begin at a full hour")
    hours = len(starts) * bar_ms // _HOUR_MS
    stamps = starts[0] + np.arange(hours + 1, dtype=np.int64) * _HOUR_MS
    closes = np.asarray(bars["close"], dtype=np.float64)[_HOUR_MS // bar_ms - 1 :: _HOUR_MS // bar_ms]
    price = np.log(np.concatenate((np.asarray(bars["open"], dtype=np.float64)[:1], closes)))
    hourly_sd = _hourly_sd(price)
    features = np.column_stack((_momentum(price, hourly_sd), _funding(funding, stamps)))
    probability = np.round(_walk_forward(features, price, stamps), _DECIMALS)
    sd = np.round(hourly_sd * math.sqrt(HORIZON_H), _DECIMALS)
    likelier: FloatArray = np.maximum(probability, 1 - probability)
    confidence = np.round(likelier, _DECIMALS)
    confidence[np.isnan(probability)] = 0.0
    return Signals(stamps, _sides(probability), confidence, sd, stamps)


def _hourly_sd(price: FloatArray) -> FloatArray:
    """Standard deviation of an hour's log return, known at each hour: of the last week, drawn to the prior."""
    squares = np.concatenate(([0.0], np.cumsum(np.diff(price) ** 2)))
    hour = np.arange(len(price))
    before = np.maximum(hour - _VOLATILITY_H, 0)
    found: FloatArray = np.sqrt((_PRIOR_H * _PRIOR_SD**2 + squares - squares[before]) / (_PRIOR_H + hour - before))
    return found


def _momentum(price: FloatArray, hourly_sd: FloatArray) -> FloatArray:
    """Return over each look-back in units of its own deviation, shape (hours, look-backs); 0 before there is one."""
    columns = np.zeros((len(price), len(_MOMENTUM_H)))
    for place, back in enumerate(_MOMENTUM_H):
        columns[back:, place] = (price[back:] - price[:-back]) / (hourly_sd[back:] * np.sqrt(back))
    return np.clip(columns, -_CLIP, _CLIP)


def _funding(funding: Mapping[str, NDArray[np.int64] | FloatArray], stamps: IntArray) -> FloatArray:
    """Last funding rate and the mean of the last three days, shape (hours, 2); 0 before the first one."""
    rates = np.asarray(funding["funding_rate"], dtype=np.float64)
    sums = np.concatenate(([0.0], np.cumsum(rates)))
    known = np.searchsorted(np.asarray(funding["timestamp"], dtype=np.int64), stamps, side="right")
    first = np.maximum(known - _FUNDING_COUNT, 0)
    count = np.maximum(known - first, 1)
    mean = (sums[known] - sums[first]) / count
    last = np.where(known > 0, np.concatenate(([0.0], rates))[known], 0.0)
    return np.clip(np.column_stack((last, mean)) / _FUNDING_SCALE, -_CLIP, _CLIP)


def _walk_forward(features: FloatArray, price: FloatArray, stamps: IntArray) -> FloatArray:
    """Probability that the price is higher after the horizon; NaN before the first fit.

    A month's weights are fitted at its first hour, on targets that had come true by then.
    """
    found = np.full(len(price), np.nan)
    months = stamps.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    firsts = np.flatnonzero(np.diff(months, prepend=months[0] - 1))
    for place, fitted_at in enumerate(firsts.tolist()):
        last = fitted_at - HORIZON_H  # the latest sample whose target is known by then
        if last < _WARMUP_H:
            continue
        sample = np.arange(max(0, last - _MEMORY_H), last + 1, _EVERY_H)
        rose = (price[sample + HORIZON_H] > price[sample]).astype(np.float64)
        weights = _fit(features[sample], rose)
        until = int(firsts[place + 1]) if place + 1 < len(firsts) else len(price)
        found[fitted_at:until] = _probability(_with_intercept(features[fitted_at:until]), weights)
    return found


def _fit(features: FloatArray, rose: FloatArray) -> FloatArray:
    """Weights of a logistic regression with a ridge, by Newton's method; the last one is the intercept."""
    design = _with_intercept(features)
    weights = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance = _probability(design, weights)
        gradient = design.T @ (rose - chance) - _RIDGE * weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + _RIDGE * np.eye(len(weights))
        weights = weights + np.linalg.solve(curvature, gradient)
    return weights


def _with_intercept(features: FloatArray) -> FloatArray:
    return np.column_stack((features, np.ones(len(features))))


def _probability(design: FloatArray, weights: FloatArray) -> FloatArray:
    """Logistic of each row; summed row by row, so that a row's bits do not depend on how many rows there are."""
    logit = np.clip((design * weights).sum(axis=1), -30.0, 30.0)
    found: FloatArray = 1 / (1 + np.exp(-logit))
    return found


def _sides(probability: FloatArray) -> FloatArray:
    """A side from :data:`ENTER` on, kept until its probability falls below :data:`LEAVE`."""
    sides = np.zeros(len(probability))
    side = 0.0
    for place, chance in enumerate(probability.tolist()):
        if side * (chance - 0.5) < LEAVE - 0.5:
            side = 0.0
        if chance >= ENTER:
            side = 1.0
        elif chance <= 1 - ENTER:
            side = -1.0
        sides[place] = side
    return sides
