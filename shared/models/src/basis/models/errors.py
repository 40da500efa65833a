"""Error codes, their severities, and the one exception that carries them.

Exception tree::

    Exception
    └── ComponentError          [CODE] component: message
        └── InputError          bad input: refused before anything happened (CLI exit 2, HTTP 422)

A code is never reused; see ``../shared/design/behaviour.md`` section 7.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Severity(StrEnum):
    """What an error does to the run it happens in."""

    CRITICAL = "CRITICAL"
    """Stop the run."""
    HIGH = "HIGH"
    """Retry, then stop the run."""
    MEDIUM = "MEDIUM"
    """Go on degraded and warn."""
    LOW = "LOW"
    """Log only."""


ERROR_REGISTRY: Mapping[str, str] = MappingProxyType(
    {
        "POS-001": "reconciliation mismatch",
        "POS-002": "invalid position delta",
        "POS-003": "position state unavailable",
        "EXP-001": "exposure calculation failed",
        "EXP-002": "market data missing for exposure",
        "EXP-003": "position data unavailable for exposure",
        "RISK-001": "health factor calculation failed",
        "RISK-002": "LTV over threshold",
        "RISK-003": "margin call",
        "PNL-001": "PnL calculation failed or attribution does not close",
        "PNL-002": "price data missing for PnL",
        "PNL-003": "double entry does not balance",
        "EXEC-001": "order failed",
        "EXEC-002": "execution timeout",
        "EXEC-003": "tight loop reconciliation failed",
        "EXEC-004": "execution system failure",
        "EXEC-005": "atomic group failed",
        "EXEC-006": "retries exhausted",
        "VEN-001": "venue routing failed",
        "VEN-002": "venue timeout",
        "VEN-003": "venue unavailable",
        "VEN-005": "venue authentication failed",
        "VEN-006": "venue rate limit",
        "VEN-007": "order below venue limits",
        "VEN-008": "insufficient balance at venue",
        "VEN-009": "operation refused by venue rules",
        "VEN-010": "outcome at the venue unknown",
        "VEN-011": "clock differs from the venue's",
        "VEN-012": "transaction reverted",
        "VEN-013": "gas price above the cap",
        "VEN-014": "order never arrived at the venue",
        "VEN-015": "order outside the trading limits",
        "VEN-016": "trading is not armed",
        "VEN-017": "transaction can no longer happen",
        "VEN-018": "take profit or stop loss missing at the venue",
        "VEN-019": "order not on record",
        "LOG-001": "event log write failed",
        "LOG-002": "event log buffer overflow",
        "LOG-003": "log directory creation failed",
        "LOG-004": "sealed run does not match its seal",
        "LOG-005": "event counts do not match the run's own",
        "STRAT-001": "strategy decision failed",
        "STRAT-002": "expected deltas failed",
        "STRAT-003": "invalid order",
        "DATA-001": "market data missing",
        "DATA-002": "market data invalid",
        "DATA-003": "market data stale",
        "DATA-004": "market data gap",
        "DATA-005": "signal made from the future",
        "CONFIG-001": "unknown mode",
        "CONFIG-002": "missing configuration key",
        "CONFIG-003": "invalid configuration value",
        "ENGINE-001": "engine start failed",
        "ENGINE-002": "engine state inconsistent",
        "ENGINE-003": "run cancelled",
        "BUS-001": "NATS unreachable",
        "BUS-002": "no service answered",
        "BUS-003": "message invalid",
        "RUN-001": "unknown run",
        "RUN-002": "the run has not ended",
        "RUN-003": "the run is not under way",
        "RUN-004": "another live run has the account",
        "AUTH-001": "API key missing or unknown",
        "AUTH-002": "API key lacks the scope",
        "AUTH-003": "too many requests",
    }
)
"""Code -> what it means, in a few words."""

_SEVERITIES: Mapping[str, Severity] = MappingProxyType(
    {
        "POS-001": Severity.HIGH,
        "EXEC-001": Severity.MEDIUM,
        "EXEC-002": Severity.HIGH,
        "RISK-002": Severity.MEDIUM,
        "RISK-003": Severity.MEDIUM,
        "VEN-002": Severity.HIGH,
        "VEN-003": Severity.HIGH,
        "VEN-006": Severity.HIGH,
        "VEN-007": Severity.MEDIUM,
        "VEN-008": Severity.MEDIUM,
        "VEN-009": Severity.MEDIUM,
        "VEN-010": Severity.HIGH,
        "VEN-012": Severity.MEDIUM,
        "VEN-013": Severity.MEDIUM,
        "VEN-014": Severity.MEDIUM,
        "VEN-015": Severity.MEDIUM,
        "VEN-017": Severity.MEDIUM,
        "VEN-019": Severity.MEDIUM,
        "LOG-002": Severity.HIGH,
        "BUS-002": Severity.HIGH,
        "RUN-001": Severity.LOW,
        "RUN-002": Severity.LOW,
        "RUN-003": Severity.LOW,
        "RUN-004": Severity.LOW,
        "AUTH-001": Severity.LOW,
        "AUTH-002": Severity.LOW,
        "AUTH-003": Severity.LOW,
        "ENGINE-003": Severity.MEDIUM,
    }
)


def default_severity(error_code: str) -> Severity:
    """Severity of a code where its place of origin does not say otherwise; CRITICAL unless listed."""
    return _SEVERITIES.get(error_code, Severity.CRITICAL)


class ComponentError(Exception):
    """An error with a code of the registry, raised by a named component.

    Args:
        error_code: key of :data:`ERROR_REGISTRY`; any other is a ValueError.
        message: what was wrong, where, and what would be right.
        component: snake_case name of the component, e.g. ``position_monitor``.
        severity: default of the code where not given.
    """

    def __init__(self, error_code: str, message: str, component: str, severity: Severity | None = None) -> None:
        if error_code not in ERROR_REGISTRY:
            raise ValueError(f"unknown error code {error_code!r}: add it to ERROR_REGISTRY")
        super().__init__(error_code, message, component, severity)
        self.error_code = error_code
        self.message = message
        self.component = component
        self.severity = severity or default_severity(error_code)

    def __str__(self) -> str:
        return f"[{self.error_code}] {self.component}: {self.message}"


class InputError(ComponentError):
    """Bad input, refused before a run began: nothing was written, nothing has to be undone."""
