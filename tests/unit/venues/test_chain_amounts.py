"""Token amounts to smallest units and back: exact, by decimal text; and Aave's own rounding."""

from __future__ import annotations

import itertools
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.chain_config import FeePolicy
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.chain.amounts import RAY, part, ray_div, ray_mul, to_tokens, to_units
from basis.venues.live.chain.wallet import fee_ladder

AMOUNTS = st.floats(min_value=0.0, max_value=1e15, allow_nan=False, allow_infinity=False)
DECIMALS = st.sampled_from([0, 6, 8, 18])
UNITS = st.integers(0, 2**128)
INDICES = st.integers(RAY, 100 * RAY)


@given(amount=AMOUNTS, decimals=DECIMALS)
def test_units_are_the_decimal_text_shifted_and_cut(amount: float, decimals: int) -> None:
    """What a person reads is what is sent, less than a unit cut off: never more than was ordered."""
    units = to_units(amount, decimals)
    exact = Fraction(Decimal(repr(amount))) * 10**decimals
    assert units <= exact < units + 1


@given(amount=AMOUNTS, decimals=DECIMALS)
def test_no_float_arithmetic_on_the_way_out(amount: float, decimals: int) -> None:
    """Whatever precision the process's decimal context has."""
    with localcontext() as context:
        context.prec = 3
        assert to_units(amount, decimals) == int(Fraction(Decimal(repr(amount))) * 10**decimals)


@given(units=st.integers(0, 10**33))
def test_tokens_are_the_nearest_float_and_their_text_leads_back_to_it(units: int) -> None:
    """A balance that is read and ordered in full is that balance to the float's precision, and the same float again."""
    tokens = to_tokens(units, 18)
    assert abs(Fraction(tokens) - Fraction(units, 10**18)) <= Fraction(units, 10**18) / 2**52
    assert to_tokens(to_units(tokens, 18), 18) == pytest.approx(tokens, rel=1e-15)


@pytest.mark.parametrize(
    ("amount", "decimals", "units"),
    [
        (0.1, 18, 10**17),
        (1e-18, 18, 1),
        (9e-19, 18, 0),
        (123456.789012, 6, 123_456_789_012),
        (0.0, 6, 0),
        (1e15, 18, 10**33),
    ],
)
def test_amounts_that_people_write(amount: float, decimals: int, units: int) -> None:
    """0.1 ETH is a tenth of an ether, not what its binary float stands for."""
    assert to_units(amount, decimals) == units


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1e-18])
def test_what_is_no_amount_is_refused(amount: float) -> None:
    """At the edge, before anything is built from it."""
    with pytest.raises(ValueError, match="finite and not negative"):
        to_units(amount, 18)


@given(scaled=UNITS, index=INDICES)
def test_scaled_balance_survives_a_full_withdrawal(scaled: int, index: int) -> None:
    """Why ``withdraw all`` of what was pulled leaves nothing: amount = scaled x index, and that over the index is scaled."""
    assert ray_div(ray_mul(scaled, index), index) == scaled


@given(amount=UNITS, index=INDICES)
def test_ray_division_rounds_half_up(amount: int, index: int) -> None:
    """As WadRayMath does."""
    exact = Fraction(amount * RAY, index)
    assert ray_div(amount, index) == int(exact + Fraction(1, 2))


@given(units=UNITS, fraction=st.floats(0.0, 1.0))
def test_part_is_never_more_than_the_whole(units: int, fraction: float) -> None:
    """And precise to twelve places of the fraction."""
    found = part(units, fraction)
    assert 0 <= found <= units
    assert abs(found - units * Fraction(fraction)) <= units * Fraction(1, 10**12) + 1


@given(
    base=st.integers(1, 500 * 10**9), tip=st.floats(0.0, 20.0), cap=st.floats(1.0, 400.0), factor=st.floats(1.1, 3.0)
)
def test_fees_rise_enough_for_a_node_and_never_above_the_cap(base: int, tip: float, cap: float, factor: float) -> None:
    """Or nothing is signed at all."""
    policy = FeePolicy(tip_gwei=tip, cap_gwei=cap, bump_factor=factor, bumps=8)
    try:
        ladder = fee_ladder(base, policy)
    except VenueRefusal as refused:
        assert refused.error_code == "VEN-013"
        assert base + round(tip * 1e9) > round(cap * 1e9)
        return
    assert all(fees.highest <= round(cap * 1e9) and fees.tip <= fees.highest for fees in ladder)
    assert ladder[0].highest >= base
    for soon, late in itertools.pairwise(ladder):
        assert 10 * late.highest >= 11 * soon.highest - 10
        assert 10 * late.tip >= 11 * soon.tip - 10
