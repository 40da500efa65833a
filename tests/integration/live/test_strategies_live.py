"""The ten strategies live on an accelerated clock, against local counterparts: exchanges that replay bars, anvil.

A few ticks each, with entry, transfers and hedge; ``make live`` runs 200. What must hold: :mod:`tests.support.strategies`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.support.chain import Account, chain_of_tests
from tests.support.strategies import CAPITAL, live_run, write_bars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("anvil")]
TICKS = int(os.environ.get("BASIS_LIVE_TICKS", "12"))


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bars(tmp_path_factory.mktemp("bars") / "catalogue")


@pytest.fixture(scope="module")
def chain() -> Iterator[Account]:
    with chain_of_tests() as account:
        yield account


@pytest.mark.parametrize("mode", CAPITAL)
async def test_a_strategy_trades_live_and_its_books_agree(
    mode: str, chain: Account, bars: Path, tmp_path: Path
) -> None:
    done = await live_run(mode, TICKS, chain, bars, tmp_path)
    assert done.refused == []
