"""Token amounts to and from the chain: smallest units are integers, shifted by decimals, never multiplied as floats."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, Context, Decimal
from typing import Final

RAY: Final = 10**27
WAD: Final = 10**18
MAX: Final = 2**256 - 1
_EXACT = Context(prec=400, rounding=ROUND_DOWN)
"""More digits than any float has: a shift is exact."""


def to_units(amount: float, decimals: int) -> int:
    """Smallest units of an amount in tokens, by its shortest decimal text; less than a unit is cut off.

    0.1 ETH is 10**17 wei, not the 100000000000000005 that the binary float stands for.

    Raises:
        ValueError: not finite, or negative.
    """
    if not math.isfinite(amount) or amount < 0.0:
        raise ValueError(f"an amount of tokens is finite and not negative, got {amount!r}")
    return int(_EXACT.scaleb(Decimal(repr(amount)), decimals).to_integral_value(rounding=ROUND_DOWN))


def to_tokens(units: int, decimals: int) -> float:
    """Tokens as the float nearest to so many smallest units; negative amounts too."""
    scale: int = 10**decimals
    return units / scale  # Python divides integers with one correct rounding


def ray_mul(one: int, other: int) -> int:
    """Aave's WadRayMath.rayMul: rounds half up."""
    return (one * other + RAY // 2) // RAY


def ray_div(one: int, other: int) -> int:
    """Aave's WadRayMath.rayDiv: rounds half up."""
    return (one * RAY + other // 2) // other


def part(units: int, fraction: float) -> int:
    """A fraction of an amount, rounded down; the fraction to 12 places."""
    return units * round(fraction * 10**12) // 10**12
