"""ExposureMonitor: net delta of each asset. Pure.

What is held of the share-class asset has zero delta by definition; its perps count.
"""

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
    """Asset -> quantity at the asset's price, USD."""
    net_delta_usd: Floats
    """Sum over all assets but the share class, and the perps on the share class, USD."""


class ExposureMonitor:
    """Computes and reports exposure."""

    @staticmethod
    def assess(window: ValuedWindow) -> Exposure:
        """Exposure of each asset at each tick; of a perp its base units at the asset's own price."""
        zeros = np.zeros(window.ticks)
        own = window.plan.share_class
        held: dict[str, Floats] = dict.fromkeys(window.plan.assets, zeros)
        hedged: dict[str, Floats] = {}
        for holding in window.holdings:
            if not holding.idle:
                asset = holding.line.how.instrument.asset
                held[asset] = held[asset] + holding.units
        for perp in window.perps:
            if not perp.idle:
                hedged[perp.line.asset] = hedged.get(perp.line.asset, zeros) + perp.units
        quantity, usd, net = {}, {}, zeros
        for asset, units in held.items():
            perps = hedged.get(asset)
            total = units if perps is None else units + perps
            quantity[asset] = total
            usd[asset] = total if total is zeros else total * window.prices.usd(asset)
            if asset != own:
                net = net + usd[asset]
            elif perps is not None:
                net = net + perps * window.prices.usd(asset)
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
