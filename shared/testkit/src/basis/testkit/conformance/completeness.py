"""Whether a class runs its suites as they are written: all tests, unchanged, over enough cases."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING

from basis.testkit import conformance
from basis.testkit.conformance import adapter

if TYPE_CHECKING:
    from types import FunctionType

    from basis.testkit.conformance.venue import VenueConformance

LEAST_TESTS = 45
"""Tests that a venue has at least, each with one case, refusal or operation."""
_SWITCHES = {"__test__": True, "pytestmark": []}
"""What pytest leaves tests out by -> its value where it leaves out none."""


def written(tests: type) -> dict[str, FunctionType]:
    """Name -> what the suites that a class inherits have written under it: tests, and what tests and their cases go through.

    The questions of the adapter are not among them, nor what a suite leaves to be filled in.
    """
    found: dict[str, FunctionType] = {}
    for base in tests.__mro__:
        if base.__module__.startswith(f"{conformance.__name__}.") and base.__module__ != adapter.__name__:
            for name, value in vars(base).items():
                if inspect.isfunction(value) and not getattr(value, "__isabstractmethod__", False):
                    found.setdefault(name, value)
    return found


def changed(tests: type) -> list[str]:
    """What a class overrides, replaces, decorates anew or sets to None of its suites; switches that skip them all."""
    found = [name for name, value in written(tests).items() if inspect.getattr_static(tests, name) is not value]
    module = inspect.getmodule(tests)
    found += [name for name, neutral in _SWITCHES.items() if getattr(tests, name, neutral) != neutral]
    found += [
        f"{name} of the module" for name, neutral in _SWITCHES.items() if getattr(module, name, neutral) != neutral
    ]
    return found


def count(tests: type[VenueConformance]) -> int:
    """How many tests a class has by its suites; a mark on a single test that multiplies it is not counted."""
    parameters = tests().parameters()
    return sum(
        math.prod(len(parameters.get(argument, " ")) for argument in inspect.signature(test).parameters)
        for name, test in written(tests).items()
        if name.startswith("test_")
    )
