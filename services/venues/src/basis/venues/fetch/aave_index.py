"""Aave's indices between two updates, by its own integer arithmetic (MathUtils, WadRayMath). Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from basis.venues.live.chain.amounts import RAY, ray_mul

YEAR_S: Final = 365 * 86_400


class Update(NamedTuple):
    """What ``ReserveDataUpdated`` says of a reserve; everything in rays."""

    block: int
    """Height."""
    place: int
    """Of the log in its block."""
    at: int
    """Time of its block, seconds."""
    liquidity_rate: int
    """A year's, from then on."""
    borrow_rate: int
    """A year's, from then on."""
    liquidity_index: int
    """At that time."""
    borrow_index: int
    """At that time."""


def indices_at(update: Update, at: int) -> tuple[int, int]:
    """Liquidity and variable borrow index at a time not before the update, while no other comes between; rays.

    What ``getReserveNormalizedIncome`` and ``getReserveNormalizedVariableDebt`` answer at that time.
    """
    seconds = at - update.at
    if seconds <= 0:
        return update.liquidity_index, update.borrow_index
    linear = RAY + update.liquidity_rate * seconds // YEAR_S
    return (
        ray_mul(linear, update.liquidity_index),
        ray_mul(_compounded(update.borrow_rate, seconds), update.borrow_index),
    )


def _compounded(rate: int, seconds: int) -> int:
    """Three terms of the binomial expansion of (1 + rate / year) ** seconds."""
    second_power = ray_mul(rate, rate) // (YEAR_S * YEAR_S)
    third_power = ray_mul(second_power, rate) // YEAR_S
    second = seconds * (seconds - 1) * second_power // 2
    third = seconds * (seconds - 1) * max(seconds - 2, 0) * third_power // 6
    return RAY + rate * seconds // YEAR_S + second + third
