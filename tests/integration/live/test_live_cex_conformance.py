"""The conformance suite that every venue has, with the cases of the simulated ones, over live exchanges.

No test of it is left out or changed (the last test here says so). What the suite asks a family of venues, an exchange answers in
``tests.support.live_conformance.LiveExchangeCore``.

What a simulation alone can be asked (``basis.testkit.conformance.simulated`` and ``simulated_exchange`` say why) has its
counterpart elsewhere: funding, liquidation and mark-to-market in ``test_live_cex_account``, levels in ``test_live_cex_orders``,
arrivals in ``test_transfer_ledger``, prices that are none in :class:`_Live`. The cases at prices of their own and with a delay
are about the simulated ledger's ``transit`` entries and about the price of another exchange. That one operation_id has one effect
however often it is sent to the same account is tested in ``test_live_cex_faults``.

Balances go over the wire as text and through ccxt's floats: compared within 1e-9 (``tests.support.live_conformance``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.exchange_cases import ExchangeCases
from tests.support.live_conformance import LiveExchangeCore

from basis.models.instruments import CEX_VENUES
from basis.models.operations import ExecutionStatus
from basis.testkit.conformance.adapter import SimulatedAdapter
from basis.testkit.conformance.completeness import LEAST_TESTS, changed, count
from basis.testkit.conformance.exchange import ExchangeConformance
from basis.venues.live.errors import ProvedFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from basis.models.execution import ExecutionHandshake


@pytest.fixture(autouse=True, scope="module")
def close_stages() -> Iterator[None]:
    """One server and one connection a venue."""
    yield
    LiveExchangeCore.close()


class _Live(LiveExchangeCore, ExchangeCases):
    """An exchange of the suite, answered by the real thing; two questions more, which no simulation can be asked."""

    def test_quote_that_is_no_price_is_refused(self) -> None:
        """Zero, or less: no default, no last one."""
        stage = self.stage
        stage._reset({}, {})
        stage.server.exchange.set_price("ETHUSDT", "linear", 0)
        with pytest.raises(ProvedFailure, match="DATA-002"):
            stage._runner.run(stage.live.market([f"perp:{self.VENUE}:ETHUSDT"]))

    def test_pending_never_moves_a_ledger(self) -> None:
        """An unknown outcome says nothing about balances."""
        case = self.accepted()[0]
        stage = self.stage
        stage._reset(case.ledger, case.market)
        stage.server.faults.add("order.create", "error_after")

        async def send() -> ExecutionHandshake:
            prepared = await stage.live.prepare(case.orders)
            return (await stage.live.send(case.orders, prepared))[0]

        found = stage._runner.run(send())
        assert (found.status, found.actual_deltas) == (ExecutionStatus.PENDING, {})


class TestLiveBinance(_Live):
    VENUE = "binance"


class TestLiveBybit(_Live):
    VENUE = "bybit"


class TestLiveOkx(_Live):
    VENUE = "okx"


LIVE: tuple[type[_Live], ...] = tuple(found for name, found in globals().items() if name.startswith("Test"))


def test_every_exchange_has_a_live_suite() -> None:
    """None is left out as a whole."""
    assert {suite.VENUE for suite in LIVE} == {*CEX_VENUES}


@pytest.mark.parametrize("suite", LIVE)
def test_nothing_of_the_suite_is_left_out_silently(suite: type[_Live]) -> None:
    """Every test of the suite that a simulated exchange has runs on the live one as it is written."""
    assert issubclass(suite, ExchangeConformance)
    assert not issubclass(suite, SimulatedAdapter)
    assert not changed(suite)
    assert count(suite) >= LEAST_TESTS
