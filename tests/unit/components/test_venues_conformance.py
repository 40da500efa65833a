"""The conformance suites over every simulated venue, through the real core."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from tests.support import on_chain_cases as on_chain
from tests.support.exchange_cases import ExchangeCases
from tests.support.venue_cases import ETH, USDT
from tests.support.venues import CoreVenue

from basis.models.instruments import Venue
from basis.testkit.conformance.completeness import LEAST_TESTS, changed, count
from basis.testkit.conformance.exchange import ExchangeConformance
from basis.testkit.conformance.lending import LendingConformance
from basis.testkit.conformance.simulated import SimulatedConformance
from basis.testkit.conformance.simulated_exchange import SimulatedExchangeConformance
from basis.testkit.conformance.simulated_lending import SimulatedLendingConformance


class TestWallet(CoreVenue, on_chain.WalletCases, SimulatedConformance):
    pass


class TestWalletWithDelay(CoreVenue, on_chain.WalletWithDelayCases, SimulatedConformance):
    pass


class TestAave(CoreVenue, on_chain.AaveCases, SimulatedLendingConformance):
    pass


class TestAaveEmode(CoreVenue, on_chain.AaveEmodeCases, SimulatedLendingConformance):
    pass


class TestMorpho(CoreVenue, on_chain.MorphoCases, SimulatedConformance):
    pass


class TestMorphoWithFee(CoreVenue, on_chain.MorphoWithFeeCases, SimulatedConformance):
    pass


class TestEtherfi(CoreVenue, on_chain.EtherfiCases, SimulatedConformance):
    pass


class TestLido(CoreVenue, on_chain.LidoCases, SimulatedConformance):
    pass


class TestUniswap(CoreVenue, on_chain.UniswapCases, SimulatedConformance):
    pass


class _Exchange(CoreVenue, ExchangeCases, SimulatedExchangeConformance):
    """An exchange of the simulation."""


class TestBinance(_Exchange):
    VENUE = "binance"


class TestBybit(_Exchange):
    VENUE = "bybit"


class TestOkx(_Exchange):
    VENUE = "okx"


class TestOkxAtPricesOfItsOwn(_Exchange):
    """Another exchange sets the mode's common price; trades here are at the price here."""

    VENUE = "okx"
    OTHERS: ClassVar[tuple[str, ...]] = (
        USDT,
        ETH,
        "binance:BaseToken:USDT",
        "binance:BaseToken:ETH",
        "binance:BaseToken:BTC",
    )
    MARKET: ClassVar[dict[str, float]] = {
        "spot:okx:ETHUSDT": 3010.0,
        "perp:okx:ETHUSDT": 3005.0,
        "spot:okx:BTCUSDT": 59_000.0,
    }


class TestBinanceWithDelay(_Exchange):
    """The wallet needs twenty minutes until a withdrawal is usable: it arrives at the next tick."""

    VENUE = "binance"
    OTHERS: ClassVar[tuple[str, ...]] = (USDT, ETH, "transit:BaseToken:USDT", "transit:BaseToken:ETH")
    CHANGES: ClassVar[dict[str, dict[str, Any]]] = {"wallet": {"gas_price_gwei": 10.0, "deposit_delay_s": 1200}}


SUITES: tuple[type[SimulatedConformance], ...] = tuple(
    found for name, found in sorted(globals().items()) if name.startswith("Test")
)


def test_every_venue_has_a_suite() -> None:
    """A venue that is added without one is noticed."""
    assert {suite.VENUE for suite in SUITES} == {*Venue} - {Venue.TRANSIT}  # type: ignore[attr-defined]


@pytest.mark.parametrize("suite", SUITES)
def test_a_simulated_venue_runs_what_every_venue_does_and_what_a_simulation_can_be_asked(
    suite: type[SimulatedConformance],
) -> None:
    """Both parts of the suite of its kind, nothing of it changed or left out, over enough cases."""
    assert issubclass(suite, SimulatedConformance)
    assert issubclass(suite, SimulatedLendingConformance) == issubclass(suite, LendingConformance)
    assert issubclass(suite, SimulatedExchangeConformance) == issubclass(suite, ExchangeConformance)
    assert not changed(suite)
    assert count(suite) >= LEAST_TESTS
