"""DomainEvent: the base of every line in ``events/*.jsonl``, and the order key that sorts a run."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field, JsonValue

from basis.models.base import CorrelationId, FrozenModel

TICK_SPAN = 1_000_000
"""Order keys of one tick: tick * TICK_SPAN + phase * PHASE_SPAN + position."""
PHASE_SPAN = 10_000
"""Order keys of one phase of a tick."""


class Phase(IntEnum):
    """Place of an event in the causal story of one tick."""

    SETTLEMENT = 5
    """What venues did on their own: funding, rewards, arrivals, liquidations."""
    POSITION = 10
    """Positions after the tick's settlements."""
    EXPOSURE = 20
    RISK = 30
    PNL = 40
    DECISION = 50
    """What the strategy decided on them."""
    ORDER = 60
    """What it ordered."""
    EXECUTION = 70
    """Tight loop: SLOTS positions for each order."""
    AFTER_POSITION = 80
    """Positions after the tick's executions."""
    AFTER_EXPOSURE = 82
    AFTER_RISK = 84
    AFTER_PNL = 86
    LOGGING = 99
    """The event-logger's own operations at the end of the run."""


class Slot(IntEnum):
    """Place of an event within the execution of one order; SLOTS of them an order."""

    OPERATION = 0
    DELTA = 1
    POSITION = 2
    RECONCILIATION = 3
    """First comparison; the n-th re-query is n places on."""
    TIGHT_LOOP = 18
    GROUP = 19


SLOTS = 20
"""Order keys of one order within Phase.EXECUTION."""


def order_key(tick: int, phase: int, position: int = 0) -> int:
    """Run-wide sortable, unique, gap-tolerant integer of an event.

    Args:
        tick: index of the tick, from 0.
        phase: a :class:`Phase`.
        position: place within the phase, 0 to 9,999.

    Raises:
        ValueError: position outside its phase.
    """
    if not 0 <= position < PHASE_SPAN:
        raise ValueError(f"position {position} is outside 0..{PHASE_SPAN - 1}: too many events in one phase of a tick")
    return tick * TICK_SPAN + phase * PHASE_SPAN + position


def tick_keys(first_tick: int, ticks: int, phase: int) -> range:
    """Order keys of one event a tick, over consecutive ticks."""
    first = order_key(first_tick, phase)
    return range(first, first + ticks * TICK_SPAN, TICK_SPAN)


def execution_key(tick: int, number: int, slot: Slot, attempt: int = 0) -> int:
    """Order key of an event within the execution of the n-th order of a tick (``attempt``: re-queries so far)."""
    return order_key(tick, Phase.EXECUTION, SLOTS * number + slot + attempt)


class DomainEvent(FrozenModel):
    """What every event carries. Subject, file name, schema and docs follow from ``event_type``."""

    event_type: ClassVar[str]
    """Last token of the subject ``basis.<correlation_id>.events.<event_type>`` and stem of ``events/<event_type>.jsonl``."""
    title: ClassVar[str]
    """One line for the documentation."""

    correlation_id: CorrelationId
    """Run that the event belongs to."""
    pid: int = Field(ge=1)
    """Process id of the run's engine at its start."""
    real_utc_time: AwareDatetime
    """Wall clock when the event was written, ISO 8601 UTC; not part of the canonical log."""
    order: int = Field(ge=0)
    """Sorting all events of a run by it gives the causal story; see :func:`order_key`."""
    timestamp: AwareDatetime
    """Engine time of the event, ISO 8601 UTC."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    """Anything else worth keeping; units named in the keys."""
