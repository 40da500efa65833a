"""How a request to a real venue can end other than well.

LiveVenueError
    ProvedFailure   the venue said no, or it never arrived: it did not happen
    UnknownOutcome  sent, and no answer that proves anything: resolve before anything else
    Retryable       nothing was asked of it yet, or the question changes nothing: ask again later
    Fatal           no further request makes sense: credentials, permissions, clock, wrong chain
"""

from __future__ import annotations

from basis.models.errors import ComponentError


class LiveVenueError(ComponentError):
    """Base: names the code of the registry, the venue, and what it said."""


class ProvedFailure(LiveVenueError):
    """It did not happen."""


class UnknownOutcome(LiveVenueError):
    """It may have happened."""


class Retryable(LiveVenueError):
    """Asking again is harmless and may work."""


class Fatal(LiveVenueError):
    """Stop."""
