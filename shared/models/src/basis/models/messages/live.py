"""What only paper and live runs say."""

from __future__ import annotations

from pydantic import Field

from basis.models.base import CorrelationId, FrozenModel, Positive
from basis.models.messages.run import Balances, RunMode


class ReadyRequest(FrozenModel):
    """Gateway to venues: may this paper or live run begin? Asked before it is accepted."""

    correlation_id: CorrelationId
    """Run."""
    run_mode: RunMode
    """``paper`` or ``live``."""
    config: bytes
    """Merged configuration (RunConfig) as JSON."""
    initial_capital: Positive
    """Capital of a paper run, share class; a live run has what its venues hold."""


class ReadyReply(FrozenModel):
    """Yes, and with what; a no is an error reply that says what is missing."""

    balances: Balances
    """Instrument key -> what the run begins with."""
    equity: Positive
    """What that is worth now, share class."""
    market: dict[str, float]
    """Market row that it was valued with."""
    venues: tuple[str, ...]
    """Counterparts that were asked, and answered."""
    notes: tuple[str, ...] = ()
    """What the operator should know: fixed columns, limits."""


class Halt(FrozenModel):
    """No new order of a live run: entry of the KV bucket ``trading``, and request to the venues to cancel what is open."""

    correlation_id: CorrelationId
    """Run."""
    unwind: bool = False
    """True lets orders through that only leave positions (intent ``exit_full``)."""
    reason: str = ""
    """Why."""


class HaltReply(FrozenModel):
    """Venues to gateway: done."""

    cancelled: int = Field(ge=0)
    """Open orders that were cancelled."""
