"""PnLCalculation."""

from __future__ import annotations

from typing import ClassVar

from basis.models.events.base import DomainEvent

ATTRIBUTION = (
    "supply",
    "borrow",
    "staking",
    "rewards",
    "funding",
    "delta",
    "basis",
    "dust",
    "price_effect",
    "fees",
    "gas",
    "slippage",
)
"""Parts of PnL, in the order of their columns; costs are negative."""


class PnLCalculation(DomainEvent):
    """What the run earned since its start, in the share class."""

    event_type: ClassVar[str] = "pnl_calculations"
    title: ClassVar[str] = "What the run earned since its start, in the share class"

    realized_pnl: float
    """Settled for good: funding and rewards, less costs; not the mark-to-market of perps."""
    unrealized_pnl: float
    """total_pnl less realized_pnl: accrued interest, staking growth and price moves still held."""
    total_pnl: float
    """Equity less capital put in."""
    fees_paid: float
    """Fees, gas and slippage so far, as a positive number."""
    funding_received: float
    """Perp funding so far, negative where paid."""
    pnl_by_venue: dict[str, float]
    """Venue -> part of total_pnl."""
    pnl_by_asset: dict[str, float]
    """Asset -> part of total_pnl."""
    attribution: dict[str, float]
    """Cause -> part of total_pnl; keys are :data:`ATTRIBUTION`."""
    attribution_gap: float
    """total_pnl less the sum of attribution; beyond 1e-6 of capital the run stops with PNL-001."""
