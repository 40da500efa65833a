"""The right to send, which ends with the lease of an intent.

A process may stand still for any length of time (SIGSTOP, a machine that swaps), and by the time it goes on another replica has
taken over. So an interface asks twice: before a request it renews the lease, and when the request is signed, in the same
breath as it leaves, it looks at the clock once more. What was signed before the process stood still is refused by the
exchange (receive window); what would be signed after it is refused here.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from basis.venues.live.errors import UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lease(Protocol):
    """An intent that somebody works on."""

    async def renew(self) -> None:
        """Say that one is still at it; raises where another has taken over."""
        ...

    def holds(self) -> bool:
        """True while nobody can have taken over."""
        ...


_lease: ContextVar[Lease | None] = ContextVar("lease", default=None)
_leaving: ContextVar[bool] = ContextVar("leaving", default=False)


@contextmanager
def leased(lease: Lease) -> Iterator[None]:
    """Whatever is sent in here is sent under this lease."""
    token = _lease.set(lease)
    try:
        yield
    finally:
        _lease.reset(token)


async def renew() -> None:
    """Renew the lease that a request will be sent under; without one there is nothing to do (a cancellation)."""
    lease = _lease.get()
    if lease is not None:
        await lease.renew()


@contextmanager
def leaving() -> Iterator[None]:
    """What is in here changes something at the venue: :func:`require` asks for the lease, and it does not wait for questions."""
    token = _leaving.set(True)
    try:
        yield
    finally:
        _leaving.reset(token)


def is_leaving() -> bool:
    """True within :func:`leaving`."""
    return _leaving.get()


def require(venue: str) -> None:
    """Called when a request is signed and about to leave.

    Raises:
        UnknownOutcome: VEN-010, the lease has run out; this request did not leave.
    """
    lease = _lease.get()
    if is_leaving() and lease is not None and not lease.holds():
        raise UnknownOutcome("VEN-010", "not sent: another replica may have taken over meanwhile", venue)
