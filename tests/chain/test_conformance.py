"""The conformance suite of venues, with the cases of the simulated ones, over the live venue on the real contracts.

Cases and checks are those of ``tests/unit/components/test_venues_conformance.py`` and ``basis.testkit.conformance.venue``,
inherited; Aave outside e-mode, because parity, faults and operations run inside it. What cannot be asked of a chain is named in
:data:`NOT_ON_CHAIN`, with the reason; nothing else is left out.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.chain_conformance import LiveCore
from tests.unit.components import test_venues_conformance as simulated

from basis.runtime.gas import order_pays_gas
from basis.testkit.conformance.venue import Case, LendingConformance, OnChainConformance, VenueConformance
from basis.testkit.strategies import floats

if TYPE_CHECKING:
    from basis.models.order import Order

NOT_ON_CHAIN = {
    "test_nan_in_any_market_column_never_reaches_the_ledger": "a chain has no market columns that a caller could poison",
    "test_empty_ledger_is_settled_with_nothing": "settlements are the chain's own history, not a function of a given market",
    "test_settlement_does_not_depend_on_windows": "the same",
    "test_settlements_move_what_the_mode_holds_by_finite_amounts": "the same; tests/chain/test_operations.py has arrivals",
    "test_own_ledger_entries_are_never_zero_and_go_when_they_are_due": "the live venue keeps no ledger entries of its own",
    "test_growing_indices_never_shrink_what_is_supplied_or_owed": "indices are Aave's; tests/chain/test_parity.py has a year",
    "test_liquidation_never_leaves_the_account_better_off": "liquidators are others; tests/chain/test_parity.py has two",
}
"""Test of the suite -> why it cannot run on a chain."""
REALLY_REPEATED = {
    "test_repeat_of_an_operation_on_the_same_ledger_gives_the_same_answer",
    "test_unknown_outcome_is_resolved_by_positions_and_by_asking_again",
}
"""Tests whose point is that the same is done again: done on the chain each time; elsewhere many checks share a transaction."""
REPLACED = {
    "test_handshakes_answer_each_order_in_sequence": "a live fill says that it is none of a simulation, and is mined later",
    "test_gas_is_paid_by_transactions_of_the_wallet_and_by_nothing_else": "gas is the receipt's, not the typical units",
}
"""Test of the suite -> why :class:`Live` has one of its own in its place."""
_FEWER = settings(max_examples=1, database=None)
"""Each example is a few transactions on a real chain."""


def _fewer(test: Any, **drawn: Any) -> Any:
    """A property of the suite with one example a case: its body is the suite's."""
    body = test.hypothesis.inner_test
    bare = FunctionType(body.__code__, body.__globals__, body.__name__)  # without the suite's own number of examples
    return _FEWER(given(**drawn)(bare))


class Live(LiveCore, VenueConformance):
    """What all live classes have in common."""

    def test_handshakes_answer_each_order_in_sequence(self, case: Case) -> None:
        """Ids come back; a live fill says so, and is never before it was sent."""
        handshakes, _ = self.transact(case.orders, case.ledger, case.market, case.tick)
        assert [one.operation_id for one in handshakes] == [order.operation_id for order in case.orders]
        for one in handshakes:
            assert not one.simulated
            assert one.executed_at is not None
            assert one.executed_at >= one.submitted_at
            assert one.error_code is None
            assert str(one.venue_metadata["transaction"]).startswith("0x")

    def test_gas_is_paid_by_transactions_of_the_wallet_and_by_nothing_else(self, case: Case) -> None:
        """Together the orders of a transaction pay what its receipt says, each a part."""
        handshakes, _ = self.transact(case.orders, case.ledger, case.market, case.tick)
        assert all(order_pays_gas(order) for order in case.orders)
        paid = [sum(one.costs["gas"].values()) for one in handshakes]
        used, price = handshakes[0].execution_details["gas_units"], handshakes[0].execution_details["gas_price_gwei"]
        assert all(one > 0.0 for one in paid)
        assert sum(paid) == pytest.approx(float(str(used)) * float(str(price)) * 1e-9, rel=1e-12)

    def test_repeat_of_an_operation_on_the_same_ledger_gives_the_same_answer(self, case: Case) -> None:
        """The suite's own, with nothing remembered."""
        self.again = True
        super().test_repeat_of_an_operation_on_the_same_ledger_gives_the_same_answer(case)

    def test_unknown_outcome_is_resolved_by_positions_and_by_asking_again(self, case: Case) -> None:
        """The suite's own, with nothing remembered."""
        self.again = True
        super().test_unknown_outcome_is_resolved_by_positions_and_by_asking_again(case)

    test_any_size_on_any_balance_creates_no_value_and_no_negative_balance = _fewer(
        VenueConformance.test_any_size_on_any_balance_creates_no_value_and_no_negative_balance,
        factor=floats(1e-6, 1e6),
        drain=floats(0.0, 1.0),
    )


for _name in NOT_ON_CHAIN:
    setattr(Live, _name, None)


class TestLiveWallet(Live, simulated.TestWallet):
    pass


class TestLiveWalletWithTransit(Live, simulated.TestWalletWithDelay):
    pass


class _WholeUnits(Live):
    """USDT has six decimals: at this index the amounts of the cases are whole units scaled, too, to the digit."""

    def case(self, name: str, *orders: Order, **fields: Any) -> Case:
        market = {"liquidity_index:USDT": 1.25} | fields.pop("market", {})
        return super().case(name, *orders, market=market, **fields)  # type: ignore[misc,no-any-return]


class TestLiveAave(_WholeUnits, simulated.TestAave):
    test_no_operation_takes_a_health_factor_from_at_least_one_to_below = _fewer(
        LendingConformance.test_no_operation_takes_a_health_factor_from_at_least_one_to_below,
        factor=floats(1e-3, 1e3),
        drain=floats(0.0, 1.0),
        seed=st.integers(0, 2**32 - 1),
    )


class TestLiveMorpho(Live, simulated.TestMorpho):
    pass


class TestLiveFlashLoanOfAave(Live, simulated.TestMorphoWithFee):
    """The fee is Aave's premium."""


class TestLiveEtherfi(Live, simulated.TestEtherfi):
    pass


class TestLiveLido(Live, simulated.TestLido):
    """Unstaking is a claim: Lido pays at once in the simulation's configuration alone."""

    KEYS = (*simulated.TestLido.KEYS, "lido:BaseToken:ETH")  # type: ignore[assignment]


class TestLiveUniswap(Live, simulated.TestUniswap):
    def accepted(self) -> list[Case]:
        """Buying at 1.039 what the oracle has at 1.04 is a gain where the pool costs a basis point: priced at the pool."""
        found = super().accepted()
        return [
            one._replace(prices={simulated.WEETH: 1.039 * 3000.0}) if one.name == "ether to weeth" else one
            for one in found
        ]

    def refused(self) -> list[tuple[Case, str]]:
        """The pool costs a basis point, less than the simulation's configuration: its tolerance is tightened."""
        found = []
        for case, code in super().refused():
            if case.name == "cost above tolerance":
                orders = tuple(one.model_copy(update={"slippage_tolerance": 1e-5}) for one in case.orders)
                found.append((case._replace(orders=orders), code))
            else:
                found.append((case, code))
        return found


LIVE: tuple[type[Live], ...] = (
    TestLiveWallet,
    TestLiveWalletWithTransit,
    TestLiveAave,
    TestLiveMorpho,
    TestLiveFlashLoanOfAave,
    TestLiveEtherfi,
    TestLiveLido,
    TestLiveUniswap,
)


@pytest.mark.parametrize("suite", LIVE)
def test_nothing_of_the_suite_is_left_out_silently(suite: type[Live]) -> None:
    """Every test of the suite runs on the live venue, or is named above with a reason."""
    wanted = {
        name for base in (VenueConformance, OnChainConformance) for name in vars(base) if name.startswith("test_")
    }
    if issubclass(suite, LendingConformance):
        wanted |= {name for name in vars(LendingConformance) if name.startswith("test_")}
    gone = {name for name in wanted if getattr(suite, name) is None}
    assert gone == set(NOT_ON_CHAIN) & wanted
    own = {name for name in wanted if name in vars(Live) and name not in NOT_ON_CHAIN}
    assert own - set(REPLACED) - REALLY_REPEATED == {
        "test_any_size_on_any_balance_creates_no_value_and_no_negative_balance"
    }
