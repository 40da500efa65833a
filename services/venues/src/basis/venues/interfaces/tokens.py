"""Where a token is held on chain, and whether a mode may hold it there. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.instruments import wallet_token
from basis.venues.core.interface import VenueRefusal

if TYPE_CHECKING:
    from basis.models.config import RunConfig

_LST_VENUE = {"weETH": "etherfi", "wstETH": "lido"}


def holding_key(token: str) -> str:
    """Where a token is while it is not supplied: the LST of its protocol, else the wallet."""
    venue = _LST_VENUE.get(token)
    return f"{venue}:LST:{token}" if venue else f"wallet:BaseToken:{wallet_token(token)}"


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
