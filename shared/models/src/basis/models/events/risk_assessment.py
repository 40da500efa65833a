"""RiskAssessment."""

from __future__ import annotations

from typing import ClassVar, Literal

from basis.models.base import NonNegative
from basis.models.events.base import DomainEvent

RiskLevel = Literal["low", "medium", "high", "critical"]


class RiskAssessment(DomainEvent):
    """How far the run is from its limits."""

    event_type: ClassVar[str] = "risk_assessments"
    title: ClassVar[str] = "How far the run is from its limits"

    health_factor: NonNegative | None
    """Sum of collateral x liquidation threshold over debt; None without debt."""
    ltv_ratio: NonNegative | None
    """Debt over collateral; None without collateral."""
    liquidation_threshold: NonNegative | None
    """Collateral-weighted liquidation threshold; None without collateral."""
    margin_usage: NonNegative | None
    """Maintenance need over margin balance of the worst CEX; None without perps."""
    risk_level: RiskLevel
    """Worst of all measures."""
    warnings: tuple[str, ...]
    """Named measures past their warning level."""
    breaches: tuple[str, ...]
    """Named measures past their limit."""
