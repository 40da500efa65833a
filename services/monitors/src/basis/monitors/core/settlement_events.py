"""What venues did on their own, as events. Fundings come by the hundred: those of one kind and account are written as columns.

Pure but for the logger it fills.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.events import Phase, order_key
from basis.monitors.core import postings
from basis.runtime.column_lines import Each
from basis.runtime.timeline import settlement_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from basis.models.messages import RunRef, Settlement
    from basis.monitors.core.position_monitor import ValuedWindow
    from basis.runtime.domain_events import DomainEventLogger


class _Row(NamedTuple):
    """One settlement that is logged."""

    settlement: Settlement
    number: int
    """Its place among those of its tick."""
    place: int
    """Of its tick in the window."""


def numbered(window: ValuedWindow, ticks: int) -> Iterator[_Row]:
    """Settlements of the first ``ticks`` ticks that change something, each with its number within its tick."""
    numbers: dict[int, int] = {}
    for settlement in window.settlements:
        tick = settlement.tick
        number = numbers[tick] = numbers.get(tick, -1) + 1
        place = tick - window.first_tick
        if place < ticks and settlement.deltas:
            yield _Row(settlement, number, place)


def emit(window: ValuedWindow, ticks: int, stamps: Sequence[str], run: RunRef, logger: DomainEventLogger) -> None:
    """Log one ExecutionDeltaEvent for each settlement of the first ``ticks`` ticks.

    Args:
        window: holdings and settlements.
        ticks: how many of the window's ticks happened.
        stamps: ISO 8601 time of each tick.
        run: run.
        logger: filled with the lines.
    """
    alike: dict[tuple[object, ...], list[_Row]] = {}
    for row in numbered(window, ticks):
        found = row.settlement
        plain = postings.counter_account(found)
        shape = (found.kind, found.venue, *found.deltas, plain, *found.details) if plain else (found.tick, row.number)
        alike.setdefault(shape, []).append(row)
    for rows in alike.values():
        plain = postings.counter_account(rows[0].settlement)
        fields = _columns(window, rows, plain) if plain else _fields(window, rows[0])
        logger.write_columns(
            "execution_deltas",
            [order_key(row.settlement.tick, Phase.SETTLEMENT, row.number) for row in rows],
            [stamps[row.place] for row in rows],
            {
                "source_operation_id": Each([settlement_id(run, row.settlement.tick, row.number) for row in rows]),
                **fields,
            },
            in_sequence=False,
        )


def _columns(window: ValuedWindow, rows: Sequence[_Row], account: str) -> dict[str, Any]:
    """Settlements of one kind that each change one key against one account."""
    first = rows[0].settlement
    (key,) = first.deltas
    amounts = [row.settlement.deltas[key] for row in rows]
    token = postings.token_of(key)
    return {
        "operation_type": first.kind,
        "deltas": [
            {
                "instrument_key": key,
                "delta_amount": Each(amounts),
                "source": first.kind,
                "price": Each(_prices(window, key, rows)),
                "fee": 0.0,
            }
        ],
        "postings": [
            {"account": key, "token": token, "amount": Each(amounts)},
            {"account": account, "token": token, "amount": Each([-amount for amount in amounts])},
        ],
        "metadata": {name: Each([row.settlement.details[name] for row in rows]) for name in first.details},
    }


def _fields(window: ValuedWindow, row: _Row) -> dict[str, Any]:
    """Any settlement, by itself."""
    found = row.settlement
    return {
        "operation_type": found.kind,
        "deltas": [
            {
                "instrument_key": key,
                "delta_amount": delta,
                "source": found.kind,
                "price": _prices(window, key, (row,))[0],
                "fee": found.fees.get(key, 0.0),
            }
            for key, delta in found.deltas.items()
        ],
        "postings": [leg._asdict() for leg in postings.of_settlement(found)],
        "metadata": found.details,
    }


def _prices(window: ValuedWindow, key: str, rows: Sequence[_Row]) -> list[float | None]:
    """Price of an instrument's asset in the share class at each settlement; None for a perp."""
    holding = window.holding(key)
    if holding is None:
        return [None] * len(rows)
    if holding.price is None:
        return [1.0] * len(rows)
    prices = holding.price.tolist()
    return [prices[row.place + 1] for row in rows]
