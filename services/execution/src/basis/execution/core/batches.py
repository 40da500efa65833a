"""How the orders of a tick become transactions, and what an outcome means for the rest. Pure."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from basis.models.errors import ComponentError
from basis.models.operations import ExecutionMode, ExecutionStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Outcome
    from basis.models.order import Order


class Transaction(NamedTuple):
    """What a venue executes at once: one sequential order, or all steps of one atomic group."""

    orders: tuple[Order, ...]
    """In sequence."""
    position: int
    """Place of the first order in the tick's batch."""

    @property
    def group_id(self) -> str | None:
        """Atomic group; None for a sequential order."""
        return self.orders[0].atomic_group_id


def transactions(orders: Sequence[Order]) -> list[Transaction]:
    """Cut the orders of a tick into transactions, in sequence.

    Raises:
        ComponentError: STRAT-003, an atomic group whose steps are not neighbours in sequence from 0, or a repeated
            operation_id.
    """
    ids = [order.operation_id for order in orders]
    if len(set(ids)) != len(ids):
        raise ComponentError("STRAT-003", f"an operation_id is repeated in {ids}", "execution_manager")
    found: list[Transaction] = []
    for group_id, members in groupby(orders, key=lambda order: order.atomic_group_id):
        position = sum(len(done.orders) for done in found)
        batch = tuple(members)
        if group_id is None:
            found += [Transaction((order,), position + place) for place, order in enumerate(batch)]
            continue
        if [order.sequence_in_group for order in batch] != list(range(len(batch))):
            raise ComponentError("STRAT-003", f"{group_id}: steps are not in sequence from 0", "execution_manager")
        if any(done.group_id == group_id for done in found):
            raise ComponentError("STRAT-003", f"{group_id}: steps are not neighbours", "execution_manager")
        found.append(Transaction(batch, position))
    return found


def check_handshakes(transaction: Transaction, handshakes: Sequence[ExecutionHandshake]) -> None:
    """Refuse an answer that cannot be: other operations than asked for, or a group that is neither all nor nothing.

    Raises:
        ComponentError: EXEC-004.
    """
    asked = [order.operation_id for order in transaction.orders]
    answered = [handshake.operation_id for handshake in handshakes]
    if asked != answered:
        raise ComponentError("EXEC-004", f"asked for {asked}, answered {answered}", "execution_manager")
    statuses = {handshake.status for handshake in handshakes}
    if transaction.orders[0].execution_mode is ExecutionMode.ATOMIC and len(statuses) != 1:
        message = f"{transaction.group_id}: a partial group is impossible on chain, got {sorted(statuses)}"
        raise ComponentError("EXEC-004", message, "execution_manager")


def check_ahead(outcomes: Sequence[Outcome]) -> None:
    """Refuse outcomes executed ahead that must not be: at a real venue, or after one that was not confirmed.

    Args:
        outcomes: of the transaction that was to be executed, and of those that were executed ahead.

    Raises:
        ComponentError: EXEC-004.
    """
    for before, ahead in pairwise(outcomes):
        if not (is_confirmed(before.handshakes) and is_simulated(before.handshakes) and is_simulated(ahead.handshakes)):
            operation = ahead.handshakes[0].operation_id
            raise ComponentError("EXEC-004", f"{operation} was executed before its turn", "execution_manager")


def is_simulated(handshakes: Sequence[ExecutionHandshake]) -> bool:
    """True where all of a transaction was at simulated venues: pure functions, whose answer may be thrown away."""
    return all(handshake.simulated for handshake in handshakes)


def is_confirmed(handshakes: Sequence[ExecutionHandshake]) -> bool:
    """True where all of a transaction executed."""
    return all(handshake.status is ExecutionStatus.CONFIRMED for handshake in handshakes)


def is_unknown(handshakes: Sequence[ExecutionHandshake]) -> bool:
    """True where the outcome is not known: nothing may be resent until the venue was queried."""
    return any(handshake.status is ExecutionStatus.PENDING for handshake in handshakes)


def group_status(handshakes: Sequence[ExecutionHandshake]) -> str:
    """Status of an atomic group."""
    if is_confirmed(handshakes):
        return "completed"
    rolled_back = all(handshake.status is ExecutionStatus.ROLLED_BACK for handshake in handshakes)
    return "rolled_back" if rolled_back else "failed"
