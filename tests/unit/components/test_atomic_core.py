"""Transactions of the venues' core: one order, or all steps of a group, or nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.operations import OperationType
from basis.models.order import Order
from basis.runtime.valuation import Valuer
from basis.testkit import strategies as bst
from basis.testkit.runs import START, custom_config, market_row
from basis.venues.core.execution import Executed, execute
from basis.venues.core.interface import At, PassiveVenue, Step
from basis.venues.manager import VenueInterfaceFactory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig

ETH, A_WETH, DEBT = "wallet:BaseToken:ETH", "aave_v3:aToken:aWETH", "aave_v3:debtToken:debtWETH"
OWED = "morpho:debtToken:flashWETH"
CONFIG = custom_config([ETH, A_WETH, DEBT, OWED], share_class="ETH", venues={"wallet": {"gas_price_gwei": 30.0}})
VENUES = VenueInterfaceFactory().simulated(CONFIG)
MARKET = market_row(CONFIG)
VALUER = Valuer.of(CONFIG)
GAS = 30e-9 * (80_000 + 200_000 + 250_000 + 21_000)


def step(number: int, operation: str, amount: float, token: str = "WETH", group: str | None = "g") -> Order:
    given_token, received = (token, None) if operation in {"supply", "repay"} else (None, token)
    fields: dict[str, Any] = {
        "operation_id": f"op-{number}",
        "operation": operation,
        "venue": "morpho" if operation.startswith("flash") else "aave_v3",
        "source_token": given_token,
        "target_token": received,
        "amount": amount,
        "strategy_intent": "entry_full",
        "strategy_id": "hand_made",
    }
    if group is not None:
        fields |= {"execution_mode": "atomic", "atomic_group_id": group, "sequence_in_group": number}
    return Order.model_validate(fields)


def loop(flash: float, equity: float, borrow: float | None = None, repay: float | None = None) -> list[Order]:
    """flash_borrow D -> supply E+D -> borrow D -> flash_repay."""
    return [
        step(0, "flash_borrow", flash),
        step(1, "supply", equity + flash),
        step(2, "borrow", flash if borrow is None else borrow),
        step(3, "flash_repay", flash if repay is None else repay),
    ]


def run(orders: list[Order], ledger: Mapping[str, float], config: RunConfig = CONFIG) -> Executed:
    return execute(orders, ledger, at_tick(config), VENUES, START)


def at_tick(config: RunConfig = CONFIG) -> At:
    return At(3, 3600, MARKET, config, Valuer.of(config))


def test_group_that_succeeds_makes_every_delta() -> None:
    done = run(loop(20.0, 10.0), {ETH: 11.0})
    assert [answer.status for answer in done.handshakes] == ["confirmed"] * 4
    assert done.ledger[ETH] == pytest.approx(1.0 - GAS)
    assert done.ledger[A_WETH] == pytest.approx(30.0 / 1.05)
    assert done.ledger[DEBT] == pytest.approx(20.0 / 1.08)
    assert done.ledger[OWED] == 0.0
    assert sum(answer.fee_amount for answer in done.handshakes) == pytest.approx(GAS)
    assert [answer.costs for answer in done.handshakes] == [{"gas": {ETH: a.fee_amount}} for a in done.handshakes]


BROKEN = {
    "debt above the borrow limit": (loop(60.0, 10.0), "VEN-009"),
    "flash loan not repaid in full": (loop(20.0, 10.0, repay=10.0), "VEN-009"),
    "flash loan repaid beyond what is owed": (loop(20.0, 10.0, repay=21.0), "VEN-009"),
    "flash loan never repaid": (loop(20.0, 10.0)[:3], "VEN-009"),
    "not enough ether for the supply": (loop(20.0, 50.0), "VEN-008"),
    "no gas left": (loop(20.0, 11.0), "VEN-008"),
    "a step that the venue does not offer": ([step(0, "stake", 1.0)], "VEN-001"),
    "a reserve that does not exist": ([step(0, "supply", 1.0, token="DOGE")], "VEN-009"),
    "more gas than a block holds": ([step(number, "supply", 0.001) for number in range(26)], "VEN-009"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_group_that_breaks_a_rule_is_rolled_back_as_a_whole(name: str) -> None:
    orders, code = BROKEN[name]
    ledger = {ETH: 11.0, A_WETH: 0.0}
    done = run(orders, ledger)
    assert done.ledger == ledger
    for answer in done.handshakes:
        assert (answer.status, answer.error_code) == ("rolled_back", "EXEC-005")
        assert f"[{code}]" in str(answer.error_message)
        assert "step " in str(answer.error_message)
        assert (answer.actual_deltas, answer.fee_amount, answer.executed_at) == ({}, 0.0, None)


def test_message_names_the_step_that_failed() -> None:
    orders = [step(0, "flash_borrow", 5.0), step(1, "supply", 5.0), step(2, "withdraw", 99.0)]
    assert str(run(orders, {ETH: 1.0}).handshakes[0].error_message).startswith("step 2 of 3: [VEN-008]")


def test_flash_loan_fee_is_paid_and_stated() -> None:
    config = custom_config(
        [ETH, OWED], share_class="ETH", venues={"morpho": {"fee": 0.0005}, "wallet": {"gas_price_gwei": 0.0}}
    )
    done = run([step(0, "flash_borrow", 100.0), step(1, "flash_repay", 100.0)], {ETH: 1.0}, config)
    assert done.ledger[ETH] == pytest.approx(1.0 - 0.05)
    assert done.handshakes[1].costs == {"fees": {ETH: pytest.approx(0.05)}}
    assert done.handshakes[1].fee_amount == 0.0
    assert done.handshakes[1].fee_currency == "ETH"


def test_flash_loan_outside_a_group_is_refused() -> None:
    (answer,) = run([step(0, "flash_borrow", 1.0, group=None)], {ETH: 1.0}).handshakes
    assert (answer.status, answer.error_code) == ("failed", "VEN-009")


def test_single_order_that_is_refused_keeps_its_own_code() -> None:
    (answer,) = run([step(0, "supply", 99.0, group=None)], {ETH: 1.0}).handshakes
    assert (answer.status, answer.error_code) == ("failed", "VEN-008")
    assert "insufficient" in str(answer.error_message)


def test_venue_that_makes_value_out_of_nothing_raises_engine_002() -> None:
    class Generous(PassiveVenue):
        """A venue with a bug: gives twice what it takes."""

        operations = frozenset({OperationType.SUPPLY})

        def execute(self, order: Order, *_: object) -> Step:
            return Step({ETH: -order.amount, A_WETH: 2 * order.amount}, {})

    with pytest.raises(ComponentError, match="beyond its costs") as caught:
        execute([step(0, "supply", 1.0, group=None)], {ETH: 5.0}, at_tick(), {"aave_v3": Generous()}, START)
    assert caught.value.error_code == "ENGINE-002"


class Careful(PassiveVenue):
    """A venue that states every kind of cost, and keeps an entry of its own."""

    operations = frozenset({OperationType.SUPPLY})

    def execute(self, order: Order, *_: object) -> Step:
        return Step(
            {ETH: -order.amount},
            {},
            fees={ETH: 0.25 * order.amount},
            slippage={ETH: 0.25 * order.amount, A_WETH: 0.0},
            external={ETH: 0.5 * order.amount},
            entries={"aave_v3:note:x": order.amount, "aave_v3:old:x": 0.0},
        )


def test_costs_of_every_kind_are_stated_and_own_entries_are_set() -> None:
    ledger = {ETH: 5.0, "aave_v3:old:x": 7.0, "aave_v3:debt:x": -1.0}
    done = execute([step(0, "supply", 1.0, group=None)], ledger, at_tick(), {"aave_v3": Careful()}, START)
    (answer,) = done.handshakes
    gas = 30e-9 * 200_000
    assert answer.costs == {
        "fees": {ETH: 0.25},
        "slippage": {ETH: 0.25},
        "external": {ETH: 0.5},
        "gas": {ETH: pytest.approx(gas)},
    }
    assert answer.actual_deltas == {ETH: pytest.approx(-1.0 - gas)}
    assert answer.fee_amount == pytest.approx(gas)
    assert answer.fee_currency == "ETH"
    assert done.ledger == {ETH: pytest.approx(4.0 - gas), "aave_v3:note:x": 1.0, "aave_v3:debt:x": -1.0}


def test_entries_of_a_group_that_is_rolled_back_are_as_they_were() -> None:
    ledger = {ETH: 1.5, "aave_v3:old:x": 7.0}
    orders = [step(0, "supply", 1.0), step(1, "supply", 1.0)]
    done = execute(orders, ledger, at_tick(), {"aave_v3": Careful()}, START)
    assert {answer.status for answer in done.handshakes} == {"rolled_back"}
    assert done.ledger == ledger


@given(
    flash=bst.floats(0.001, 1e4),
    equity=bst.floats(0.001, 1e4),
    borrow=bst.floats(0.0, 2.0),
    repay=st.sampled_from([1.0, 1.0, 0.5, 1.5]),
    wallet=bst.floats(0.0, 2e4),
)
def test_group_is_all_or_nothing_and_never_makes_value(
    flash: float, equity: float, borrow: float, repay: float, wallet: float
) -> None:
    ledger = {ETH: wallet}
    done = run(loop(flash, equity, max(borrow * flash, 1e-6), repay * flash), ledger)
    statuses = {answer.status for answer in done.handshakes}
    assert len(statuses) == 1
    assert len(done.handshakes) == 4
    if statuses == {"rolled_back"}:
        assert done.ledger == ledger
        return
    assert statuses == {"confirmed"}
    assert all(quantity >= 0.0 for quantity in done.ledger.values())
    assert done.ledger[OWED] == 0.0
    value = sum(quantity * VALUER.unit_usd(key, MARKET) for key, quantity in done.ledger.items()) / 3000.0
    assert value == pytest.approx(wallet - GAS, abs=1e-9 * (wallet + flash + equity))
    collateral, debt = done.ledger[A_WETH] * 1.05, done.ledger[DEBT] * 1.08
    assert debt <= collateral * 0.805 * (1 + 1e-12)


@given(
    ledger=bst.ledgers((ETH, A_WETH, DEBT), high=1e3),
    operation=st.sampled_from(["supply", "withdraw", "borrow", "repay"]),
    amount=bst.floats(1e-6, 1e4),
)
def test_any_single_order_is_confirmed_whole_or_changes_nothing(
    ledger: dict[str, float], operation: str, amount: float
) -> None:
    before = dict(ledger)
    done = run([step(0, operation, amount, group=None)], ledger)
    assert ledger == before
    (answer,) = done.handshakes
    if answer.status == "confirmed":
        assert all(done.ledger[key] == before.get(key, 0.0) + delta for key, delta in answer.actual_deltas.items())
        assert done.ledger[ETH] >= 0.0
    else:
        assert done.ledger == before
