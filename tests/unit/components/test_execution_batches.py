"""How the orders of a tick become transactions, and what outcomes mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.execution.core import batches
from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.operations import ExecutionStatus
from basis.models.order import Order
from basis.testkit.runs import START


def order(number: int, group: str | None = None, sequence: int = 0) -> Order:
    fields: dict[str, Any] = {
        "operation_id": f"op-{number}",
        "operation": "supply",
        "venue": "aave_v3",
        "amount": 1.0,
        "strategy_intent": "entry_full",
        "strategy_id": "hand_made",
    }
    if group is not None:
        fields |= {"execution_mode": "atomic", "atomic_group_id": group, "sequence_in_group": sequence}
    return Order.model_validate(fields)


def answer(number: int, status: str) -> ExecutionHandshake:
    return ExecutionHandshake.model_validate(
        {
            "operation_id": f"op-{number}",
            "status": status,
            "error_code": "VEN-009" if status in {"failed", "rolled_back"} else None,
            "submitted_at": START,
            "executed_at": START if status == "confirmed" else None,
            "simulated": True,
        }
    )


def batch(shape: list[int]) -> list[Order]:
    """Orders of a shape: 0 is a sequential order, n > 0 an atomic group of n steps."""
    orders: list[Order] = []
    for place, size in enumerate(shape):
        if size == 0:
            orders.append(order(len(orders)))
        else:
            orders += [order(len(orders) + step, f"g{place}", step) for step in range(size)]
    return orders


@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_transactions_keep_sequence_positions_and_groups(shape: list[int]) -> None:
    orders = batch(shape)
    found = batches.transactions(orders)
    assert [len(done.orders) for done in found] == [max(size, 1) for size in shape]
    assert [one for done in found for one in done.orders] == orders
    assert [done.position for done in found] == [orders.index(done.orders[0]) for done in found]
    assert [done.group_id is None for done in found] == [size == 0 for size in shape]


def refused(orders: list[Order], about: str) -> None:
    with pytest.raises(ComponentError, match=about) as caught:
        batches.transactions(orders)
    assert caught.value.error_code == "STRAT-003"


def test_repeated_operation_id_raises_strat_003() -> None:
    refused([order(0), order(0)], "repeated")


@pytest.mark.parametrize("sequences", [[1], [0, 2], [1, 0], [0, 0]])
def test_group_not_in_sequence_from_zero_raises_strat_003(sequences: list[int]) -> None:
    refused([order(number, "g", sequence) for number, sequence in enumerate(sequences)], "not in sequence")


def test_group_whose_steps_are_not_neighbours_raises_strat_003() -> None:
    refused([order(0, "g", 0), order(1), order(2, "g", 0)], "not neighbours")


class TestHandshakes:
    def test_answer_to_another_question_raises_exec_004(self) -> None:
        (transaction,) = batches.transactions([order(0)])
        for answers in ([], [answer(1, "confirmed")], [answer(0, "confirmed"), answer(1, "confirmed")]):
            with pytest.raises(ComponentError, match="asked for") as caught:
                batches.check_handshakes(transaction, answers)
            assert caught.value.error_code == "EXEC-004"

    def test_partial_group_raises_exec_004(self) -> None:
        (transaction,) = batches.transactions([order(0, "g", 0), order(1, "g", 1)])
        with pytest.raises(ComponentError, match="partial") as caught:
            batches.check_handshakes(transaction, [answer(0, "confirmed"), answer(1, "rolled_back")])
        assert caught.value.error_code == "EXEC-004"

    @pytest.mark.parametrize("status", list(ExecutionStatus))
    def test_group_that_is_all_of_one_status_is_accepted(self, status: str) -> None:
        (transaction,) = batches.transactions([order(0, "g", 0), order(1, "g", 1)])
        batches.check_handshakes(transaction, [answer(0, status), answer(1, status)])

    @given(statuses=st.lists(st.sampled_from(ExecutionStatus), min_size=1, max_size=5))
    def test_confirmed_is_all_unknown_is_any(self, statuses: list[ExecutionStatus]) -> None:
        answers = [answer(number, status) for number, status in enumerate(statuses)]
        assert batches.is_confirmed(answers) == (set(statuses) == {ExecutionStatus.CONFIRMED})
        assert batches.is_unknown(answers) == (ExecutionStatus.PENDING in statuses)

    @pytest.mark.parametrize(
        ("status", "expected"),
        [("confirmed", "completed"), ("rolled_back", "rolled_back"), ("failed", "failed"), ("pending", "failed")],
    )
    def test_group_status(self, status: str, expected: str) -> None:
        assert batches.group_status([answer(0, status), answer(1, status)]) == expected
