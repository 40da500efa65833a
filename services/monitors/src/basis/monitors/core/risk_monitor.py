"""RiskMonitor: LTV, health factor, margin, and the level of all together. Pure.

HF = sum(collateral value x liquidation threshold) / debt value (Aave v3, GenericLogic.calculateUserAccountData).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from basis.models.instruments import InstrumentType
from basis.monitors.core.columns import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from basis.monitors.core.columns import Floats
    from basis.monitors.core.position_monitor import ValuedWindow
    from basis.runtime.domain_events import DomainEventLogger

RISK_LEVELS = ("low", "medium", "high", "critical")
"""Risk levels by code."""
HF_WARN = 1.25
"""Health factor that warns (behaviour.md section 3)."""
HF_BREACH = 1.1
"""Health factor that breaches."""
LTV_BREACH = 0.95
"""Debt over the liquidation limit that breaches."""


@dataclass(frozen=True, slots=True)
class Risk:
    """Risk at each tick, USD."""

    collateral: Floats
    """Value of all aTokens."""
    debt: Floats
    """Value of all debt, positive."""
    threshold: Floats
    """Sum of collateral x liquidation threshold."""
    code: NDArray[np.uint8]
    """Index into RISK_LEVELS."""


class RiskMonitor:
    """Computes and reports risk."""

    @staticmethod
    def assess(window: ValuedWindow) -> Risk:
        """Collateral, debt and level at each tick."""
        collateral, debt, threshold = (np.zeros(window.ticks) for _ in range(3))
        for holding in window.holdings:
            kind = holding.line.how.instrument.type
            if kind is InstrumentType.A_TOKEN:
                collateral += holding.value_usd
                threshold += holding.value_usd * holding.line.liquidation_threshold
            elif kind is InstrumentType.DEBT_TOKEN:
                debt -= holding.value_usd
        return Risk(collateral, debt, threshold, _codes(collateral, debt, threshold))

    @staticmethod
    def emit(risk: Risk, orders: list[int], stamps: Sequence[str], logger: DomainEventLogger) -> None:
        """Log one RiskAssessment for each order key."""
        ticks = len(orders)
        collateral = finite("collateral", risk.collateral[:ticks])
        debt = finite("debt", risk.debt[:ticks])
        threshold = finite("threshold", risk.threshold[:ticks])
        codes: list[int] = risk.code[:ticks].tolist()
        for i, order in enumerate(orders):
            factor = threshold[i] / debt[i] if debt[i] > 0.0 else None
            backed = collateral[i] > 0.0
            warnings, breaches = _named(factor, debt[i], threshold[i]) if codes[i] else ((), ())
            logger.log_risk_assessment(
                order,
                stamps[i],
                health_factor=factor,
                ltv_ratio=debt[i] / collateral[i] if backed else None,
                liquidation_threshold=threshold[i] / collateral[i] if backed else None,
                margin_usage=None,
                risk_level=RISK_LEVELS[codes[i]],
                warnings=warnings,
                breaches=breaches,
            )


def _codes(collateral: Floats, debt: Floats, threshold: Floats) -> NDArray[np.uint8]:
    owes = debt > 0.0
    factor = np.where(owes, threshold / np.where(owes, debt, 1.0), np.inf)
    near = owes & (debt > LTV_BREACH * threshold)
    code = np.zeros(len(debt), dtype=np.uint8)
    code[factor < HF_WARN] = 1
    code[(factor < HF_BREACH) | near] = 2
    code[(factor < 1.0) | (owes & (collateral <= 0.0))] = 3
    return code


def _named(factor: float | None, debt: float, threshold: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    warnings: list[str] = []
    breaches: list[str] = []
    if factor is not None and factor < HF_BREACH:
        breaches.append(f"health_factor {factor:.4f} below {HF_BREACH}")
    elif factor is not None and factor < HF_WARN:
        warnings.append(f"health_factor {factor:.4f} below {HF_WARN}")
    if debt > LTV_BREACH * threshold:
        breaches.append(f"debt above {LTV_BREACH} of the liquidation limit")
    return tuple(warnings), tuple(breaches)
