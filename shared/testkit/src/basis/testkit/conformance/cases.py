"""What suites ask about: orders on a ledger at a market, what became of a ledger, and how a ledger is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.models.operations import ExecutionMode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from basis.models.messages import Settlement
    from basis.models.order import Order

    Floats = NDArray[np.float64]

TOLERANCE = 1e-9
"""Largest accepted gap between value before and after, as a part of the value moved."""


class Case(NamedTuple):
    """Orders that a venue accepts, or refuses, on a ledger at a market."""

    name: str
    """What it is, for messages; unique within the class."""
    orders: tuple[Order, ...]
    """One order, or all steps of one atomic group."""
    ledger: Mapping[str, float]
    """Balances before."""
    market: Mapping[str, float]
    """Market row of the tick."""
    tick: int = 3
    """Tick at which they execute."""
    prices: Mapping[str, float] = {}
    """Instrument key -> USD value of one unit at the venue, where it is not the mode's common price."""


class Settled(NamedTuple):
    """What became of a ledger over some ticks without orders."""

    settlements: tuple[Settlement, ...]
    """What venues did on their own, by tick."""
    balances: Mapping[str, Floats]
    """Ledger entries that changed -> value after each tick, shape (ticks,)."""
    ledger: Mapping[str, float]
    """Balances after the last tick."""


def group(orders: Sequence[Order]) -> tuple[Order, ...]:
    """The orders as steps of one transaction."""
    fields = [
        {"execution_mode": ExecutionMode.ATOMIC, "atomic_group_id": "group", "sequence_in_group": place}
        for place in range(len(orders))
    ]
    return tuple(order.model_copy(update=found) for order, found in zip(orders, fields, strict=True))


def instruments(ledger: Mapping[str, float]) -> dict[str, float]:
    """Instruments of a ledger, without entries of a venue's own."""
    return {key: quantity for key, quantity in ledger.items() if key in INSTRUMENTS}


def negative(ledger: Mapping[str, float]) -> list[str]:
    """Tokens, aTokens and debts below zero; only a perp's quantity may be."""
    return [
        key
        for key, held in instruments(ledger).items()
        if held < 0.0 and INSTRUMENTS[key].type is not InstrumentType.PERP
    ]
