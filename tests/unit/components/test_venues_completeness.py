"""What would weaken a conformance suite is noticed: a test that is left out, replaced, decorated anew or skipped."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.on_chain_cases import MorphoCases, WalletCases
from tests.support.venues import CoreVenue

from basis.testkit.conformance.completeness import changed, count, written
from basis.testkit.conformance.simulated import SimulatedConformance

SAYS_WHY = "test_refusal_says_why"
EMPTY = "test_empty_ledger_is_settled_with_nothing"


class Whole(CoreVenue, WalletCases, SimulatedConformance):
    """A class as it should be: it answers, and names cases."""


def fewer_examples() -> Any:
    return settings(max_examples=1)(given(seed=st.integers())(lambda self, seed: None))


def skipped() -> Any:
    return pytest.mark.skip(lambda self, refusal: None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (SAYS_WHY, None),
        (SAYS_WHY, lambda self, refusal: None),
        (SAYS_WHY, skipped()),
        (EMPTY, fewer_examples()),
        ("pytest_generate_tests", lambda self, metafunc: None),
        ("parameters", lambda self: {}),
        ("for_all", lambda self, wanted, check, **drawn: None),
        ("_assert_untouched", lambda self, case: None),
        ("pytestmark", [pytest.mark.skip]),
        ("__test__", False),
    ],
)
def test_a_change_is_named(name: str, value: object) -> None:
    """By what it changes, in the class itself or above it."""
    assert changed(type("Changed", (Whole,), {name: value})) == [name]
    above = type("Above", (WalletCases,), {name: value})
    assert changed(type("Below", (CoreVenue, above, SimulatedConformance), {})) == [name]


def test_answers_and_cases_are_no_change() -> None:
    """What a family or a venue is asked is its to say; tests of its own are its business."""
    own: dict[str, Any] = {
        "examples": lambda self, wanted: 1,
        "accepted": lambda self: [],
        "test_more": lambda self: None,
    }
    assert changed(type("Own", (Whole,), own)) == []
    assert {SAYS_WHY, EMPTY} <= set(written(Whole))
    assert not {"settle", "forget", "config"} & set(written(Whole))
    assert EMPTY not in written(MorphoCases)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, 2),  # of an amount that is none, and of an empty ledger
        ({"available": 3}, 2 + 3),
        ({"missing": 4}, 2 + 4),
        ({"refusal": 2}, 2 + 3 * 2),
        ({"refusal": 2, "available": 3}, 2 + 3 * 2 + 3),
    ],
)
def test_tests_are_counted_as_pytest_counts_them(sizes: dict[str, int], expected: int) -> None:
    """One a refusal, operation offered and operation not offered; one where a test has none of them."""

    class Sized(Whole):
        def parameters(self) -> dict[str, dict[str, Any]]:
            names = ("case", "refusal", "available", "missing")
            return {name: {str(one): one for one in range(sizes.get(name, 0))} for name in names}

    assert count(Sized) == expected
