"""ExposureSnapshot."""

from __future__ import annotations

from typing import ClassVar

from basis.models.base import FrozenModel
from basis.models.events.base import DomainEvent


class AssetExposure(FrozenModel):
    """Exposure to the price of one asset."""

    quantity: float
    """Net quantity in base units: spot + LST x rate + aToken x index - debt x index + perp."""
    usd_value: float
    """Quantity at the asset's price, USD."""
    percentage: float
    """usd_value over the total value, as a fraction."""


class ExposureSnapshot(DomainEvent):
    """What the run is exposed to."""

    event_type: ClassVar[str] = "exposures"
    title: ClassVar[str] = "What the run is exposed to"

    net_delta_usd: float
    """Sum of the USD exposures of all assets but the share class, whose delta is zero by definition."""
    asset_exposures: dict[str, AssetExposure]
    """Asset -> exposure."""
    total_value_usd: float
    """Equity, USD."""
    share_class_value: float
    """Equity in the share class."""
