"""Fixtures of the tests against a real EVM node: one node a file, set back before every test.

Not one for all: anvil keeps some four thousand states and forgets the oldest, which are those that every test begins with.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.chain import Account, chain_of_tests
from tests.support.chain_conformance import Stage

from basis.testkit.chain.install import ChainUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.chain import Opened

    from basis.venues.live.chain.venue import ChainVenue


@pytest.fixture(scope="module")
def chain_account() -> Iterator[Account]:
    """The node with everything deployed; skips where it cannot be set up."""
    try:
        with chain_of_tests() as account:
            yield account
    except ChainUnavailable as reason:
        pytest.skip(f"no test chain: {reason}")


@pytest.fixture(scope="module")
def stage(chain_account: Account) -> Iterator[Stage]:
    """The chain as a stage for cases of the conformance suite."""
    made = Stage(chain_account)
    yield made
    made.close()


@pytest.fixture
def account(chain_account: Account) -> Account:
    """The onboarded wallet, 100 ETH and nothing else, on a fresh chain."""
    chain_account.world.restore()
    return chain_account


@pytest.fixture
async def opened(account: Account) -> AsyncIterator[Opened]:
    """Opens live venues; they are closed at the end, however the test ends."""
    async with AsyncExitStack() as stack:

        async def opening(url: str | None = None, **changes: Any) -> ChainVenue:
            made = account.venue(url, **changes)
            stack.push_async_callback(made.close)
            await made.open()
            return made

        yield opening


@pytest.fixture
async def venue(opened: Opened) -> ChainVenue:
    """The live venue, open."""
    return await opened()
