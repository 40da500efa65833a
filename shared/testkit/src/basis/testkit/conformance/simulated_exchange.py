"""What only a simulated exchange can be asked: to play given ticks, and to fill at the row's price plus its configured cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.testkit.conformance.cases import instruments
from basis.testkit.conformance.exchange import ExchangeConformance
from basis.testkit.conformance.simulated import WINDOW, SimulatedConformance
from basis.testkit.strategies import walk

if TYPE_CHECKING:
    from basis.testkit.conformance.cases import Case


class SimulatedExchangeConformance(ExchangeConformance, SimulatedConformance):
    """A simulated centralised exchange."""

    def test_limit_order_is_refused_beyond_its_slippage_tolerance(self, limit_order: Case) -> None:
        """Its fill is the row's price and a configured cost, which the tolerance is compared with.

        At a real exchange a limit order names no price that a tolerance could be relative to: the limit is all.
        """
        self.assert_refused_beyond_tolerance(limit_order)

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=10)
    def test_perp_gains_move_into_the_margin_at_every_tick(self, case: Case, seed: int) -> None:
        """Between settlements a margin balance moves with the mark, and a perp's quantity not at all."""
        market = walk(dict(case.market), WINDOW + 1, seed, scale=1e-3)
        market |= {name: np.zeros(WINDOW + 1) for name in market if name.startswith("funding:")}
        _, ledger = self._transact(case)
        settled = self.settle(ledger, market, case.tick + 1)
        assert not [settlement for settlement in settled.settlements if settlement.venue == self.name()]
        margin = f"{self.name()}:BaseToken:USDT"
        gains = np.zeros(WINDOW)
        for key, quantity in instruments(ledger).items():
            found = INSTRUMENTS[key]
            if found.type is InstrumentType.PERP and found.venue == self.name() and found.symbol.endswith("USDT"):
                gains += quantity * np.diff(market[f"perp:{self.name()}:{found.symbol}"])
                assert settled.ledger[key] == quantity
        expected = ledger.get(margin, 0.0) + np.cumsum(gains)
        held = settled.balances.get(margin, np.full(WINDOW, ledger.get(margin, 0.0)))
        assert held == pytest.approx(expected, rel=1e-9, abs=1e-6)
