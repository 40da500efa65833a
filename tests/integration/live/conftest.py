"""One stage a venue and module, one chain for all; each test gets another account, or the chain as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.chain import Account, chain_of_tests
from tests.support.live_cex import Stage

from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VENUES = ("binance", "bybit", "okx")


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Catalogue that local exchanges replay."""
    folder = tmp_path_factory.mktemp("bars") / "catalogue"
    write_sample(folder, years=3)
    return folder


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


@pytest.fixture(scope="session")
def chain() -> Iterator[Account]:
    """The test chain; who uses it sets it back first."""
    with chain_of_tests() as account:
        yield account


@pytest.fixture
def account(chain: Account) -> Account:
    """A wallet with 50,000 USDT on a chain as new."""
    chain.world.restore()
    chain.world.give(chain.address, "USDT", 50_000 * 10**6)
    return chain
