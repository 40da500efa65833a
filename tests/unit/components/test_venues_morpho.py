"""Simulated flash loans: the conformance suite, with and without a fee."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from tests.support.venues import CoreVenueConformance, order

from basis.models.operations import OperationType
from basis.testkit import strategies as bst
from basis.testkit.conformance.venue import Case
from basis.testkit.runs import START, custom_config, market_row
from basis.venues.core.execution import execute
from basis.venues.interfaces.morpho import SIMULATED
from basis.venues.interfaces.morpho.simulated import OWED

if TYPE_CHECKING:
    from basis.models.config import RunConfig
    from basis.models.order import Order

ETH = "wallet:BaseToken:ETH"


def config_with(fee: float) -> RunConfig:
    venues = {"morpho": {"fee": fee}, "wallet": {"gas_price_gwei": 10.0}}
    return custom_config([ETH, OWED], share_class="ETH", venues=venues)


def loan(amount: float, repaid: float | None = None) -> tuple[Order, ...]:
    repaid = amount if repaid is None else repaid
    return (order("flash_borrow", "morpho", amount, 0, "g"), order("flash_repay", "morpho", repaid, 1, "g"))


class TestMorphoConformance(CoreVenueConformance):
    fee = 0.0

    def config(self) -> RunConfig:
        return config_with(self.fee)

    def name(self) -> str:
        return "morpho"

    def offered(self) -> frozenset[OperationType]:
        return frozenset({OperationType.FLASH_BORROW, OperationType.FLASH_REPAY})

    def accepted(self) -> list[Case]:
        market = market_row(self.config())
        fees_usd = 100.0 * self.fee * market["price_usd:ETH"]
        return [Case("borrow and repay", loan(100.0), {ETH: 1.0}, market, fees_usd)]

    def refused(self) -> list[tuple[Case, str]]:
        market = market_row(self.config())
        alone = order("flash_borrow", "morpho", 1.0)
        return [
            (Case("repaid too little", loan(100.0, 99.0), {ETH: 1.0}, market, 0.0), "VEN-009"),
            (Case("repaid too much", loan(100.0, 101.0), {ETH: 5.0}, market, 0.0), "VEN-009"),
            (Case("never repaid", loan(100.0)[:1], {ETH: 1.0}, market, 0.0), "VEN-009"),
            (Case("no gas", loan(100.0), {ETH: 0.0}, market, 0.0), "VEN-008"),
            (Case("outside a group", (alone,), {ETH: 1.0}, market, 0.0), "VEN-009"),
        ]


class TestMorphoWithAFeeConformance(TestMorphoConformance):
    fee = 0.0009


@given(amount=bst.floats(1e-3, 1e6), fee=bst.floats(0.0, 0.05), held=bst.floats(0.0, 1e5))
def test_loan_costs_its_fee_and_gas_and_needs_both(amount: float, fee: float, held: float) -> None:
    config = config_with(fee)
    done = execute(loan(amount), {ETH: held}, market_row(config), config, {"morpho": SIMULATED}, START)
    cost = amount * fee + 10e-9 * (80_000 + 21_000)
    if done.handshakes[0].status == "confirmed":
        assert done.ledger[ETH] == pytest.approx(held - cost, abs=1e-9 * (amount + held))
        assert done.ledger[OWED] == 0.0
    else:
        assert held <= cost * (1 + 1e-6) + 1e-9 * amount
        assert done.ledger == {ETH: held}
