"""ReconciliationEvent."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from basis.models.base import FrozenModel, NonNegative
from basis.models.events.base import DomainEvent


class Mismatch(FrozenModel):
    """One difference beyond tolerance."""

    instrument_key: str
    """Instrument."""
    expected: float
    """Expected delta, or the monitors' position."""
    actual: float
    """Actual delta, or the venue's own balance."""
    kind: str
    """``delta`` (expected against actual) or ``balance`` (monitors against venue)."""
    tolerance: NonNegative
    """Largest accepted difference, in the instrument's unit."""


class ReconciliationEvent(DomainEvent):
    """Whether expected and actual agree after an operation."""

    event_type: ClassVar[str] = "reconciliations"
    title: ClassVar[str] = "Whether expected and actual agree after an operation"

    trigger_source: str
    """Operation or atomic group that was reconciled."""
    reconciliation_type: str
    """``order`` or ``atomic_group``."""
    success: bool
    """True where every key agrees within tolerance."""
    simulated_positions: dict[str, float]
    """Instrument key -> position as the monitors have it."""
    real_positions: dict[str, float]
    """Instrument key -> balance as the venue has it (in a backtest: the simulated venue's own ledger)."""
    mismatches: tuple[Mismatch, ...]
    """Differences beyond tolerance."""
    retry_attempt: int = Field(ge=0)
    """Re-queries so far."""
    max_retries: int = Field(ge=0)
    """Re-queries allowed."""
    execution_deltas_applied: dict[str, float]
    """Instrument key -> delta that was applied before the comparison."""
