"""One stage a venue and module; each test gets another account on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.live_cex import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

VENUES = ("binance", "bybit", "okx")


@pytest.fixture(scope="module")
def stages() -> Iterator[dict[str, Stage]]:
    """Venue -> its stage, set when first asked for."""
    found: dict[str, Stage] = {}
    yield found
    for stage in found.values():
        stage.__exit__()


def _stage(stages: dict[str, Stage], venue: str) -> Stage:
    if venue not in stages:
        stages[venue] = Stage(venue).__enter__()
    return stages[venue].fresh()


@pytest.fixture(params=VENUES)
def stage(request: pytest.FixtureRequest, stages: dict[str, Stage]) -> Stage:
    """Each venue."""
    return _stage(stages, request.param)


@pytest.fixture
def binance(stages: dict[str, Stage]) -> Stage:
    """Binance alone: three wallets, the inverse perp."""
    return _stage(stages, "binance")
