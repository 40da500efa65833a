"""Simulated flash loans: what a loan costs, and that it is repaid within its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from tests.support.venues import order, transact

from basis.testkit import strategies as bst
from basis.testkit.runs import custom_config, market_row
from basis.venues.interfaces.morpho.simulated import OWED

if TYPE_CHECKING:
    from basis.models.config import RunConfig
    from basis.models.order import Order

ETH = "wallet:BaseToken:ETH"
GAS = 10e-9 * (80_000 + 21_000)


def config_with(fee: float) -> RunConfig:
    venues = {"morpho": {"fee": fee}, "wallet": {"gas_price_gwei": 10.0}}
    return custom_config([ETH, OWED], share_class="ETH", venues=venues)


def loan(amount: float, repaid: float | None = None) -> tuple[Order, ...]:
    repaid = amount if repaid is None else repaid
    return (order("flash_borrow", "morpho", amount, 0, "g"), order("flash_repay", "morpho", repaid, 1, "g"))


@given(amount=bst.floats(1e-3, 1e6), fee=bst.floats(0.0, 0.05), held=bst.floats(0.0, 1e5))
def test_loan_costs_its_fee_and_gas_and_needs_both(amount: float, fee: float, held: float) -> None:
    config = config_with(fee)
    done = transact(loan(amount), {ETH: held}, config, market_row(config))
    cost = amount * fee + GAS
    if done.handshakes[0].status == "confirmed":
        assert done.ledger[ETH] == pytest.approx(held - cost, abs=1e-9 * (amount + held))
        assert done.ledger[OWED] == 0.0
    else:
        assert held <= cost * (1 + 1e-6) + 1e-9 * amount
        assert done.ledger == {ETH: held}


def test_fee_is_a_cost_of_the_repayment() -> None:
    config = config_with(0.0009)
    borrowed, repaid = transact(loan(100.0), {ETH: 1.0}, config, market_row(config)).handshakes
    assert "fees" not in borrowed.costs
    assert repaid.costs["fees"] == {ETH: pytest.approx(0.09, rel=1e-12)}
    assert repaid.actual_deltas[OWED] == -100.0
    assert repaid.execution_details["fee_fraction"] == 0.0009


def test_loan_without_a_fee_costs_gas_alone() -> None:
    config = config_with(0.0)
    for answer in transact(loan(100.0), {ETH: 1.0}, config, market_row(config)).handshakes:
        assert set(answer.costs) == {"gas"}


@pytest.mark.parametrize(("repaid", "about"), [(99.0, "still owed"), (101.0, "only 100.0 is owed")])
def test_loan_is_repaid_exactly_or_never_was(repaid: float, about: str) -> None:
    config = config_with(0.0)
    done = transact(loan(100.0, repaid), {ETH: 200.0}, config, market_row(config))
    assert {answer.error_code for answer in done.handshakes} == {"EXEC-005"}
    assert all(about in str(answer.error_message) for answer in done.handshakes)
    assert done.ledger == {ETH: 200.0}


def test_mode_that_does_not_hold_the_loan_is_refused() -> None:
    config = custom_config([ETH], share_class="ETH", venues={"morpho": {}, "wallet": {"gas_price_gwei": 10.0}})
    done = transact(loan(100.0), {ETH: 1.0}, config, market_row(config))
    assert "VEN-001" in str(done.handshakes[0].error_message)
