"""What a real venue is to the rest of the service: the same operations as a simulated one, with outcomes that may be unknown.

An operation_id has at most one effect at a venue. Whoever calls records the intent first (architecture.md section 7:
intent -> prepare -> send -> record), so a venue says what it is about to send (:class:`Prepared`) before it sends it, and can
be asked afterwards, by the same words, what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import JsonValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement
    from basis.models.operations import OperationType
    from basis.models.order import Order


class Prepared(NamedTuple):
    """An order or atomic group, ready to be sent; recorded before it is."""

    operation_ids: tuple[str, ...]
    """Orders that it carries: one, or every step of an atomic group."""
    venue: str
    """Who sends it."""
    reference: dict[str, JsonValue]
    """What finds it again at the venue: client order id; transaction hash, nonce and the signed raw transaction. No secrets."""


class LiveVenue(Protocol):
    """A real venue. Every method may raise the errors of :mod:`basis.venues.live.errors`, and no others.

    Credentials come in at construction and never leave: not in messages, errors, references or logs.
    """

    name: str
    """Venue of the configs, e.g. ``binance``."""
    operations: frozenset[OperationType]
    """What it offers."""

    async def open(self) -> None:
        """Connect, load markets or contract addresses, check the clock and the account."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...

    async def prepare(self, orders: Sequence[Order]) -> Prepared:
        """Check against the venue's limits, sign; send nothing.

        Raises:
            VenueRefusal: the venue's rules do not allow it.
        """
        ...

    def prepare_at_once(self, orders: Sequence[Order]) -> Prepared | None:
        """As :meth:`prepare`, where nobody has to be asked for it; None where somebody has.

        What it makes follows from the orders and from what :meth:`open` read: the same again whenever it is asked for, so that
        it may be recorded before it is known whether the order may be sent, and thrown away where it may not.

        Raises:
            VenueRefusal: as :meth:`prepare`.
        """
        ...

    async def send(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        """Send what was prepared and read what it did: one handshake an order, deltas from fills or receipts, never assumed.

        ``pending`` where the outcome is not known (a timeout, a 5xx, a dropped connection after sending); ``failed`` or
        ``rolled_back`` only where the venue proved that it did not happen.
        """
        ...

    async def resolve(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        """What became of something that may have been sent; asked before anything is sent again.

        ``failed`` with code VEN-014 where the venue proves that it never arrived: only then may :meth:`send` follow again
        with the same ``prepared``.
        """
        ...

    async def cancel_all(self) -> int:
        """Cancel every open order; returns how many there were."""
        ...

    async def balances(self, keys: Sequence[str]) -> Mapping[str, float]:
        """Instrument key -> what the venue says it holds: tokens, scaled aTokens and debt, signed perp quantity."""
        ...

    async def settlements(self, since: datetime, until: datetime) -> Sequence[Settlement]:
        """What happened on its own in (since, until]: funding, rewards, liquidations, arrivals of transfers; by time."""
        ...

    async def market(self, columns: Sequence[str]) -> Mapping[str, tuple[float, datetime]]:
        """Market column -> (value, when the venue says it was so), for the columns that this venue can quote."""
        ...
