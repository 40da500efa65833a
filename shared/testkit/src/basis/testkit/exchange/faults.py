"""Faults on demand: what a request meets instead of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What goes wrong. *After*: the request takes effect, its answer is lost; *before*: it takes none."""

    ERROR_BEFORE = "error_before"
    """HTTP 503, nothing happened."""
    ERROR_AFTER = "error_after"
    """HTTP 503, it happened."""
    TIMEOUT_BEFORE = "timeout_before"
    """No answer, nothing happened."""
    TIMEOUT_AFTER = "timeout_after"
    """No answer, it happened."""
    TIMEOUT_LATE = "timeout_late"
    """No answer, and it reaches the exchange ``delay_s`` later: takes effect then, where its receive window still allows."""
    DISCONNECT_BEFORE = "disconnect_before"
    """Connection dropped, nothing happened."""
    DISCONNECT_AFTER = "disconnect_after"
    """Connection dropped, it happened."""
    RATE = "rate"
    """HTTP 429."""
    BANNED = "banned"
    """HTTP 418 (429 where the exchange has none)."""
    LATE = "late"
    """Refused for its stamp, as a request that was under way for longer than its receive window."""
    REJECT = "reject"
    """The exchange says no."""
    GARBAGE_AFTER = "garbage_after"
    """It happened, the answer is no JSON."""


@dataclass
class Fault:
    """Meets the next requests of an operation."""

    operation: str
    """Beginning of the operation's name, e.g. ``order.create`` or ``order``; empty meets all."""
    kind: FaultKind
    times: int = 1
    """How many requests."""
    skip: int = 0
    """Requests that pass before the first."""
    delay_s: float = 0.5
    """For TIMEOUT_LATE."""


class FaultPlan:
    """Faults that wait for their request, in the order in which they were added."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, operation: str, kind: FaultKind | str, times: int = 1, skip: int = 0, delay_s: float = 0.5) -> None:
        """Plan one."""
        self.waiting.append(Fault(operation, FaultKind(kind), times, skip, delay_s))

    def clear(self) -> None:
        """Forget what has not happened."""
        self.waiting.clear()

    def take(self, operation: str) -> Fault | None:
        """What this request meets."""
        for fault in self.waiting:
            if not operation.startswith(fault.operation):
                continue
            if fault.skip:
                fault.skip -= 1
                return None
            fault.times -= 1
            if not fault.times:
                self.waiting.remove(fault)
            return fault
        return None
