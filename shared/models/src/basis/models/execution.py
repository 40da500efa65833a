"""ExecutionHandshake: what a venue says became of an order.

There is no Trade model anywhere: a fill is a handshake (docs/adr/0005).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AwareDatetime, Field, JsonValue, model_validator

from basis.models.base import FrozenModel, NonNegative
from basis.models.instruments import split_key
from basis.models.operations import ExecutionStatus

CostKind = Literal["fees", "gas", "slippage", "external"]
"""Fees of the venue, gas, adverse fill against the market price, and capital paid out to the client (no cost at all)."""


class ExecutionHandshake(FrozenModel):
    """A venue's answer to one order."""

    operation_id: str = Field(min_length=1, max_length=128)
    """The order's operation_id."""
    status: ExecutionStatus
    """Confirmed, pending, failed or rolled back."""
    actual_deltas: dict[str, float] = Field(default_factory=dict)
    """Instrument key -> signed change of the venue's own ledger, net of fees and gas; empty unless confirmed."""
    execution_details: dict[str, JsonValue] = Field(default_factory=dict)
    """What the venue executed with: index, price, gas units; units named in the keys."""
    fee_amount: NonNegative = 0.0
    """Fee and gas paid, in ``fee_currency``; already inside ``actual_deltas``."""
    fee_currency: str | None = None
    """Token that the fee was paid in."""
    costs: dict[CostKind, dict[str, NonNegative]] = Field(default_factory=dict)
    """Kind -> instrument key -> amount lost to it, positive; all already inside ``actual_deltas``. What the deltas move
    beyond these is an exchange at market price: it conserves value."""
    error_code: str | None = None
    """Code of the error registry; failed and rolled back only."""
    error_message: str | None = None
    """What the venue said."""
    submitted_at: AwareDatetime
    """When the order was sent: engine time in a backtest, wall clock live."""
    executed_at: AwareDatetime | None = None
    """When it took effect; None unless confirmed."""
    venue_metadata: dict[str, JsonValue] = Field(default_factory=dict)
    """Venue's own ids: transaction hash, exchange order id."""
    simulated: bool
    """True where no real venue was asked."""

    @model_validator(mode="after")
    def _check_status(self) -> Self:
        for key in self.actual_deltas:
            split_key(key)
        confirmed = self.status is ExecutionStatus.CONFIRMED
        if confirmed and self.executed_at is None:
            raise ValueError("a confirmed handshake needs executed_at")
        if not confirmed and self.actual_deltas:
            raise ValueError(f"a {self.status} handshake moves nothing: actual_deltas must be empty")
        if self.status in {ExecutionStatus.FAILED, ExecutionStatus.ROLLED_BACK} and self.error_code is None:
            raise ValueError(f"a {self.status} handshake needs an error_code")
        if self.fee_amount > 0 and self.fee_currency is None:
            raise ValueError("a fee needs a fee_currency")
        if self.executed_at is not None and self.executed_at < self.submitted_at:
            raise ValueError("executed_at is before submitted_at")
        return self
