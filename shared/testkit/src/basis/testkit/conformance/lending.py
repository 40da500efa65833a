"""What every on-chain venue must do that lends against collateral, simulated or live."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import assume
from hypothesis import strategies as st

from basis.models.config import AaveConfig
from basis.models.instruments import INSTRUMENTS, InstrumentType, Venue
from basis.testkit.conformance.cases import instruments
from basis.testkit.conformance.on_chain import OnChainConformance
from basis.testkit.strategies import floats, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import AaveReserveConfig
    from basis.testkit.conformance.cases import Case


class LendingConformance(OnChainConformance):
    """A venue that lends against collateral."""

    def test_no_operation_takes_a_health_factor_from_at_least_one_to_below(self, case: Case) -> None:
        """At any prices, sizes and balances; the health factor is computed here, not by the venue."""

        def check(factor: float, drain: float, seed: int) -> None:
            market = {name: float(column[-1]) for name, column in walk(dict(case.market), 8, seed, scale=0.1).items()}
            ledger = {key: quantity * (drain if "debtToken" in key else 1.0) for key, quantity in case.ledger.items()}
            before = self.health_factor(ledger, market)
            assume(before >= 1.0)
            orders = [order.model_copy(update={"amount": order.amount * factor}) for order in case.orders]
            _, after = self.transact(orders, ledger, market, case.tick)
            assert self.health_factor(after, market) >= 1.0 - 1e-12

        self.for_all(30, check, factor=floats(1e-3, 1e3), drain=floats(0.0, 1.0), seed=st.integers(0, 2**32 - 1))

    def health_factor(self, ledger: Mapping[str, float], market: Mapping[str, float]) -> float:
        """Collateral x threshold over debt, computed from the configuration alone; infinite without debt."""
        valuer, aave = self._valuer(), self.config().venues[Venue.AAVE_V3]
        assert isinstance(aave, AaveConfig)
        limit = debt = 0.0
        for key, quantity in instruments(ledger).items():
            found = INSTRUMENTS[key]
            if found.venue == Venue.AAVE_V3 and found.type is InstrumentType.A_TOKEN and quantity:
                limit += quantity * valuer.unit_usd(key, market) * _threshold(aave, found.underlying)
            elif found.venue == Venue.AAVE_V3 and quantity:
                debt -= quantity * valuer.unit_usd(key, market)
        return limit / debt if debt > 0.0 else math.inf


def _threshold(aave: AaveConfig, token: str) -> float:
    reserve: AaveReserveConfig = aave.reserves[token]
    return aave.emode.liquidation_threshold if aave.emode and token != "USDT" else reserve.liquidation_threshold
