"""ExposureMonitor: net delta of each asset. The share-class asset has zero delta by definition. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.monitors.core.columns import Floats
    from basis.monitors.core.position_monitor import ValuedWindow
    from basis.runtime.domain_events import DomainEventLogger


@dataclass(frozen=True, slots=True)
class Exposure:
    """Exposure at each tick."""

    quantity: Mapping[str, Floats]
    """Asset -> net quantity, base units: spot + LST x rate + aToken x index - debt x index + perp."""
    usd: Mapping[str, Floats]
    """Asset -> exposure, USD."""
    net_delta_usd: Floats
    """Sum over all assets but the share class, USD."""


class ExposureMonitor:
    """Computes and reports exposure."""

    @staticmethod
    def assess(window: ValuedWindow) -> Exposure:
        """Exposure of each asset at each tick."""
        quantity = {asset: np.zeros(window.ticks) for asset in window.plan.assets}
        usd = {asset: np.zeros(window.ticks) for asset in window.plan.assets}
        for holding in window.holdings:
            asset = holding.line.how.instrument.asset
            quantity[asset] += holding.units
            usd[asset] += holding.value_usd
        net = np.zeros(window.ticks)
        for asset, column in usd.items():
            if asset != window.plan.share_class:
                net += column
        return Exposure(quantity, usd, net)

    @staticmethod
    def emit(
        window: ValuedWindow,
        exposure: Exposure,
        orders: Sequence[int],
        stamps: Sequence[str],
        logger: DomainEventLogger,
    ) -> None:
        """Log one ExposureSnapshot for each order key."""
        total = window.total_value_usd
        worth = total != 0.0
        share = np.where(worth, total, 1.0)
        logger.write_columns(
            "exposures",
            orders,
            stamps,
            {
                "net_delta_usd": exposure.net_delta_usd,
                "asset_exposures": {
                    asset: {
                        "quantity": exposure.quantity[asset],
                        "usd_value": exposure.usd[asset],
                        "percentage": np.where(worth, exposure.usd[asset] / share, 0.0),
                    }
                    for asset in window.plan.assets
                },
                "total_value_usd": total,
                "share_class_value": window.equity,
            },
        )
