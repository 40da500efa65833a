"""What only a simulated lending venue can be asked: to accrue at given indices, and to liquidate at given prices.

On a chain the indices are the protocol's own, and whoever liquidates is somebody else: ``tests/chain/test_parity.py`` has a year
of interest and two liquidations.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from basis.models.instruments import AAVE_RESERVES
from basis.testkit.conformance.cases import TOLERANCE, Case, negative
from basis.testkit.conformance.lending import LendingConformance
from basis.testkit.conformance.simulated import WINDOW, SimulatedConformance
from basis.testkit.strategies import floats, walk


class SimulatedLendingConformance(LendingConformance, SimulatedConformance):
    """A simulated venue that lends against collateral."""

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=10)
    def test_growing_indices_never_shrink_what_is_supplied_or_owed(self, case: Case, seed: int) -> None:
        """Interest is in the index: scaled balances stay, and what they stand for never falls."""
        market = {name: np.full(WINDOW + 1, value) for name, value in case.market.items()}
        grown = walk(dict(case.market), WINDOW + 1, seed)
        market |= {name: grown[name] for name in market if "_index:" in name}
        settled = self.settle(case.ledger, market, case.tick + 1)
        assert not settled.settlements
        for token in AAVE_RESERVES:
            for key, index in (
                (f"aave_v3:aToken:a{token}", f"liquidity_index:{token}"),
                (f"aave_v3:debtToken:debt{token}", f"borrow_index:{token}"),
            ):
                held = case.ledger.get(key, 0.0)
                assert settled.ledger.get(key, 0.0) == held
                if held:
                    assert np.all(np.diff(held * market[index]) >= 0.0)

    @given(fall=floats(0.05, 0.95), rise=floats(1.0, 3.0))
    @settings(max_examples=50)
    def test_liquidation_never_leaves_the_account_better_off(self, fall: float, rise: float) -> None:
        """Whatever prices do: equity falls by the bonus, no debt grows, and nothing is taken twice at one tick."""
        for case in self.under_water():
            row = {
                name: value * (fall if name == "price_usd:USDT" else rise if name == "price_usd:ETH" else 1.0)
                for name, value in case.market.items()
            }
            market = {name: np.array([case.market[name], row[name]]) for name in row}
            settled = self.settle(case.ledger, market, case.tick + 1)
            if self.health_factor(case.ledger, row) >= 1.0:
                assert not settled.settlements, case.name
                continue
            assert [settlement.kind for settlement in settled.settlements] == ["liquidation"], case.name
            at = case._replace(market=row)
            gain = self._value(settled.ledger, at) - self._value(case.ledger, at)
            (done,) = settled.settlements
            penalty = math.fsum(fee * self._unit(key, at) for key, fee in done.fees.items())
            gross = math.fsum(abs(delta * self._unit(key, at)) for key, delta in done.deltas.items())
            assert abs(gain + penalty) <= TOLERANCE * gross, case.name
            assert gain <= 0.0 or gain <= TOLERANCE * gross, case.name
            assert all(delta < 0.0 for delta in done.deltas.values()), case.name
            assert not negative(settled.ledger), case.name

    @abstractmethod
    def under_water(self) -> list[Case]:
        """Accounts in USDT collateral and ETH debt, or the reverse, that falling or rising prices break; no orders."""
