"""StrategyDecision."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from basis.models.events.base import DomainEvent
from basis.models.events.risk_assessment import RiskLevel

DecisionType = Literal["entry", "exit", "rebalance", "hold", "emergency_exit"]


class StrategyDecision(DomainEvent):
    """What the strategy decided at a tick, and why; a hold is a decision too."""

    event_type: ClassVar[str] = "strategy_decisions"
    title: ClassVar[str] = "What the strategy decided at a tick, and why"

    decision_type: DecisionType
    """Kind of the decision."""
    trigger_source: str
    """Rule that decided: ``no_position``, ``deviation``, ``risk``, ``withdrawal``, ``deposit``, ``dust``, ``none``."""
    orders_generated: int = Field(ge=0)
    """Orders that follow."""
    action_taken: str
    """One of the five actions, or ``hold``."""
    reasoning: str
    """Reason, for people."""
    market_conditions: dict[str, JsonValue]
    """Market columns that the decision looked at; units named in the keys."""
    portfolio_state: dict[str, JsonValue]
    """Equity and positions that it looked at, share class."""
    risk_level: RiskLevel
    """As assessed at the tick."""
    constraints_violated: tuple[str, ...]
    """Named limits that the state was past."""
