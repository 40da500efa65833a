"""The conformance suite that every venue has, with the cases of the simulated ones, over the live venue on the real contracts.

No test of it is left out or changed (the last test here says so). What the suite asks a family of venues, a chain answers in
:class:`tests.support.chain_conformance.LiveCore`; where real contracts have other figures than the simulation's configuration, a
class below says so in its cases. Aave outside e-mode, because parity, faults and operations run inside it.

What a simulation alone can be asked (``basis.testkit.conformance.simulated`` says why) has its counterpart on the chain
elsewhere: arrivals in ``test_operations``, a year of interest and two liquidations in ``test_parity``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support import on_chain_cases as on_chain
from tests.support.chain_conformance import LiveCore

from basis.models.instruments import CEX_VENUES, Venue
from basis.testkit.conformance.adapter import SimulatedAdapter
from basis.testkit.conformance.completeness import LEAST_TESTS, changed, count
from basis.testkit.conformance.on_chain import OnChainConformance

if TYPE_CHECKING:
    from basis.models.order import Order
    from basis.testkit.conformance.cases import Case


class TestLiveWallet(LiveCore, on_chain.WalletCases):
    pass


class TestLiveWalletWithTransit(LiveCore, on_chain.WalletWithDelayCases):
    pass


class TestLiveAave(LiveCore, on_chain.AaveCases):
    """USDT has six decimals: at this index the amounts of the cases are whole units scaled, too, to the digit."""

    def case(self, name: str, *orders: Order, **fields: Any) -> Case:
        market = {"liquidity_index:USDT": 1.25} | fields.pop("market", {})
        return super().case(name, *orders, market=market, **fields)


class TestLiveMorpho(LiveCore, on_chain.MorphoCases):
    pass


class TestLiveFlashLoanOfAave(LiveCore, on_chain.MorphoWithFeeCases):
    """The fee is Aave's premium."""


class TestLiveEtherfi(LiveCore, on_chain.EtherfiCases):
    pass


class TestLiveLido(LiveCore, on_chain.LidoCases):
    """Unstaking is a claim: Lido pays at once in the simulation's configuration alone."""

    KEYS = (*on_chain.LidoCases.KEYS, "lido:BaseToken:ETH")


class TestLiveUniswap(LiveCore, on_chain.UniswapCases):
    """The pool costs a basis point, less than the simulation's configuration."""

    def accepted(self) -> list[Case]:
        """Buying at 1.039 what the oracle has at 1.04 is a gain at that cost: priced at the pool."""
        found = super().accepted()
        return [
            one._replace(prices={on_chain.WEETH: 1.039 * 3000.0}) if one.name == "ether to weeth" else one
            for one in found
        ]

    def refused(self) -> list[tuple[Case, str]]:
        """The tolerance that it is above is tightened."""
        found = []
        for case, code in super().refused():
            if case.name == "cost above tolerance":
                orders = tuple(one.model_copy(update={"slippage_tolerance": 1e-5}) for one in case.orders)
                found.append((case._replace(orders=orders), code))
            else:
                found.append((case, code))
        return found


LIVE: tuple[type[OnChainConformance], ...] = tuple(
    found for name, found in globals().items() if name.startswith("Test")
)


def test_every_on_chain_venue_has_a_live_suite() -> None:
    """None is left out as a whole."""
    assert {suite.VENUE for suite in LIVE} == {*Venue} - {*CEX_VENUES, Venue.TRANSIT}  # type: ignore[attr-defined]


@pytest.mark.parametrize("suite", LIVE)
def test_nothing_of_the_suite_is_left_out_silently(suite: type[OnChainConformance]) -> None:
    """Every test of the suite that the simulated venue of the same cases has runs on the live one as it is written."""
    assert issubclass(suite, LiveCore)
    assert issubclass(suite, OnChainConformance)
    assert not issubclass(suite, SimulatedAdapter)
    assert not changed(suite)
    assert count(suite) >= LEAST_TESTS
