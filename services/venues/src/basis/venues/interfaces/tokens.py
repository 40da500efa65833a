"""Whether a mode may hold what an order moves. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.venues.core.interface import VenueRefusal

if TYPE_CHECKING:
    from basis.models.config import RunConfig


def require_held(config: RunConfig, *keys: str, component: str) -> None:
    """Refuse an order that needs an instrument which the mode does not hold.

    Raises:
        VenueRefusal: VEN-001, names the instrument.
    """
    for key in keys:
        if key not in config.position_subscriptions:
            raise VenueRefusal(
                "VEN-001", f"the mode does not hold {key!r}: add it to position_subscriptions", component
            )
