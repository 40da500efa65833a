"""RiskMonitor: LTV, health factor, margin, and the level of all together. Pure.

HF = sum(collateral value x liquidation threshold) / debt value (Aave v3, GenericLogic.calculateUserAccountData).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from basis.models.instruments import InstrumentType
from basis.runtime.column_lines import Each

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
DUST_USD = 1e-12
"""Value that is rounding, not debt or collateral: a ratio over it would be infinite."""


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
    def emit(risk: Risk, orders: Sequence[int], stamps: Sequence[str], logger: DomainEventLogger) -> None:
        """Log one RiskAssessment for each order key."""
        ticks = len(orders)
        warnings, breaches = _named_columns(risk, ticks)
        logger.write_columns(
            "risk_assessments",
            orders,
            stamps,
            {
                "health_factor": _ratio(risk.threshold[:ticks], risk.debt[:ticks]),
                "ltv_ratio": _ratio(risk.debt[:ticks], risk.collateral[:ticks]),
                "liquidation_threshold": _ratio(risk.threshold[:ticks], risk.collateral[:ticks]),
                "margin_usage": None,
                "risk_level": Each([RISK_LEVELS[code] for code in risk.code[:ticks].tolist()]),
                "warnings": warnings,
                "breaches": breaches,
            },
        )


def _named_columns(risk: Risk, ticks: int) -> tuple[Each | tuple[()], Each | tuple[()]]:
    """Warnings and breaches of each tick; nothing at all where every tick is low."""
    codes = risk.code[:ticks].tolist()
    if not any(codes):
        return (), ()
    rows = zip(codes, risk.debt[:ticks].tolist(), risk.threshold[:ticks].tolist(), strict=True)
    named = [_named(debt, threshold) if code else ((), ()) for code, debt, threshold in rows]
    return Each([warnings for warnings, _ in named]), Each([breaches for _, breaches in named])


def _ratio(above: Floats, below: Floats) -> Floats | Each | None:
    """A ratio that does not exist where there is nothing below."""
    exists = below > DUST_USD
    if not exists.any():
        return None
    ratio = above / np.where(exists, below, 1.0)
    if exists.all():
        return ratio
    return Each([value if there else None for value, there in zip(ratio.tolist(), exists.tolist(), strict=True)])


def _codes(collateral: Floats, debt: Floats, threshold: Floats) -> NDArray[np.uint8]:
    owes = debt > DUST_USD
    factor = np.where(owes, threshold / np.where(owes, debt, 1.0), np.inf)
    near = owes & (debt > LTV_BREACH * threshold)
    code = np.zeros(len(debt), dtype=np.uint8)
    code[factor < HF_WARN] = 1
    code[(factor < HF_BREACH) | near] = 2
    code[(factor < 1.0) | (owes & (collateral <= 0.0))] = 3
    return code


def _named(debt: float, threshold: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Warnings and breaches of a tick whose risk code is not low."""
    warnings: list[str] = []
    breaches: list[str] = []
    factor = threshold / debt
    if factor < HF_BREACH:
        breaches.append(f"health_factor {factor:.4f} below {HF_BREACH}")
    elif factor < HF_WARN:
        warnings.append(f"health_factor {factor:.4f} below {HF_WARN}")
    if debt > LTV_BREACH * threshold:
        breaches.append(f"debt above {LTV_BREACH} of the liquidation limit")
    return tuple(warnings), tuple(breaches)
