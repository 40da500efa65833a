"""PositionSnapshot."""

from __future__ import annotations

from typing import ClassVar

from basis.models.events.base import DomainEvent


class PositionSnapshot(DomainEvent):
    """What the run holds."""

    event_type: ClassVar[str] = "positions"
    title: ClassVar[str] = "What the run holds"

    positions: dict[str, float]
    """Instrument key -> quantity: tokens, scaled quantity for aToken and debtToken, signed base quantity for Perp."""
    total_value_usd: float
    """Assets less debts plus unrealised perp PnL, USD."""
    position_type: str
    """``portfolio`` (all venues together)."""
    trigger_source: str
    """``tick``, ``execution`` (one order applied) or ``after_execution`` (all orders of the tick done)."""
