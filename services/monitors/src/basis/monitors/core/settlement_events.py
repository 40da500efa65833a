"""What venues did on their own, as events. Fundings come by the hundred: they are written as columns.

Pure but for the logger it fills.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from basis.models.events import Phase, order_key
from basis.monitors.core import postings
from basis.runtime.column_lines import Each
from basis.runtime.timeline import settlement_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from basis.models.messages import RunRef
    from basis.monitors.core.columns import Places
    from basis.monitors.core.position_monitor import ValuedWindow
    from basis.runtime.domain_events import DomainEventLogger
    from basis.runtime.settlements import SettlementColumns


class _Some(NamedTuple):
    """Settlements of like shape that are logged."""

    settlements: SettlementColumns
    numbers: Sequence[int]
    """Place of each among those of its tick."""
    places: Places
    """Of their ticks in the window."""


def numbered(window: ValuedWindow, ticks: int) -> Iterator[_Some]:
    """Settlements of the first ``ticks`` ticks that change something, each with its number within its tick."""
    counts = np.zeros(window.ticks, dtype=np.int64)
    for settlements in window.settlements:
        every = settlements.ticks - window.first_tick
        numbers = counts[every]
        counts[every] += 1
        found = settlements.before(window.first_tick + ticks)
        if found is not None and found.deltas:
            yield _Some(found, numbers[: len(found)].tolist(), every[: len(found)])


def emit(window: ValuedWindow, ticks: int, stamps: Sequence[str], run: RunRef, logger: DomainEventLogger) -> None:
    """Log one ExecutionDeltaEvent for each settlement of the first ``ticks`` ticks.

    Args:
        window: holdings and settlements.
        ticks: how many of the window's ticks happened.
        stamps: ISO 8601 time of each tick.
        run: run.
        logger: filled with the lines.
    """
    for found in numbered(window, ticks):
        account = postings.counter_account(found.settlements)
        fields = _columns(window, found, account) if account else _rows(window, found)
        ids = list(zip(found.settlements.ticks.tolist(), found.numbers, strict=True))
        logger.write_columns(
            "execution_deltas",
            [order_key(tick, Phase.SETTLEMENT, number) for tick, number in ids],
            [stamps[place] for place in found.places.tolist()],
            {"source_operation_id": Each([settlement_id(run, tick, number) for tick, number in ids]), **fields},
            in_sequence=False,
        )


def _columns(window: ValuedWindow, found: _Some, account: str) -> dict[str, Any]:
    """Settlements that each change one key against one account."""
    settlements = found.settlements
    ((key, deltas),) = settlements.deltas.items()
    amounts = Each(deltas.tolist())
    token = postings.token_of(key)
    return {
        "operation_type": settlements.kind,
        "deltas": [
            {
                "instrument_key": key,
                "delta_amount": amounts,
                "source": settlements.kind,
                "price": Each(_prices(window, key, found.places)),
                "fee": 0.0,
            }
        ],
        "postings": [
            {"account": key, "token": token, "amount": amounts},
            {"account": account, "token": token, "amount": Each((-deltas).tolist())},
        ],
        "metadata": {
            name: Each(value.tolist()) if isinstance(value, np.ndarray) else value
            for name, value in settlements.details.items()
        },
    }


def _rows(window: ValuedWindow, found: _Some) -> dict[str, Any]:
    """Any settlements."""
    settlements = found.settlements
    legs = [[leg._asdict() for leg in postings.of_settlement(row)] for row in settlements.rows()]
    metadata = [row.details for row in settlements.rows()]
    nothing = [0.0] * len(settlements)
    return {
        "operation_type": settlements.kind,
        "deltas": [
            {
                "instrument_key": key,
                "delta_amount": Each(deltas.tolist()),
                "source": settlements.kind,
                "price": Each(_prices(window, key, found.places)),
                "fee": Each(settlements.fees[key].tolist() if key in settlements.fees else nothing),
            }
            for key, deltas in settlements.deltas.items()
        ],
        "postings": Each(legs),
        "metadata": Each(metadata),
    }


def _prices(window: ValuedWindow, key: str, places: Places) -> list[float | None]:
    """Price of an instrument's asset in the share class at each settlement; None for a perp."""
    holding = window.holding(key)
    if holding is None:
        return [None] * len(places)
    if holding.price is None:
        return [1.0] * len(places)
    prices: list[float | None] = holding.price[places + 1].tolist()
    return prices
