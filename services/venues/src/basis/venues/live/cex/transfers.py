"""Withdrawals: from an exchange to the wallet, to another exchange, or to the client.

What leaves is the order's amount, the exchange's fee inside, as everywhere in the system. It is in transit until the target
says that it arrived; addresses are those of the configuration alone.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import TYPE_CHECKING

from basis.models.instruments import CLIENT, INSTRUMENTS, wallet_token
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.cex import handshakes
from basis.venues.live.cex.fills import Outcome
from basis.venues.live.cex.ids import client_order_id
from basis.venues.live.errors import LiveVenueError, UnknownOutcome
from basis.venues.live.interface import Prepared

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from pydantic import JsonValue

    from basis.models.execution import CostKind, ExecutionHandshake
    from basis.models.order import Order
    from basis.venues.live.cex.connection import Connection
    from basis.venues.live.cex.profiles import Profile, Row
    from basis.venues.live.cex.wallets import Wallets

_STEP = Decimal("1e-8")
_MARGIN_S = 0.25
_CLOCK_MS = 2_000
"""How much earlier than our request a row of the history may be stamped."""


class Transfers:
    """Withdrawals of one exchange.

    Args:
        link: the exchange.
        profile: where it differs from others.
        wallets: where its money is.
        keys: what the mode may hold.
    """

    def __init__(self, link: Connection, profile: Profile, wallets: Wallets, keys: Collection[str]) -> None:
        self._link = link
        self._profile = profile
        self._wallets = wallets
        self._keys = frozenset(keys)
        self._fees: dict[str, Decimal] = {}
        self._sent: dict[str, float] = {}

    async def prepare(self, order: Order) -> Prepared:
        """Check a withdrawal; nothing is sent.

        Raises:
            VenueRefusal: VEN-001 the mode does not hold source or target, or the target has no address; VEN-007 the fee
                takes all of it, or it is below the least; VEN-009 to itself.
            LiveVenueError: the fee cannot be read.
        """
        venue, token = self._profile.venue, wallet_token(order.source_token or "")
        self._check_route(order, token)
        address = self._link.config.withdrawal_addresses.get(str(order.target_venue), {}).get(token)
        if address is None:
            message = f"no address for {token} of {order.target_venue} in withdrawal_addresses of {venue}: add it"
            raise VenueRefusal("VEN-001", message, venue)
        amount = Decimal(repr(order.amount)).quantize(_STEP, "ROUND_DOWN")
        fee, least, step = await self._terms(token, address.network)
        amount -= amount % step
        if amount <= fee or amount - fee < least - fee:
            message = f"withdrawal of {order.amount!r} {token}: the fee is {fee:f}, the least {least:f}"
            raise VenueRefusal("VEN-007", message, venue)
        reference: dict[str, JsonValue] = {
            "kind": "withdrawal",
            "client_order_id": client_order_id(order.operation_id, "withdrawal"),
            "token": token,
            "amount": str(amount),
            "fee": str(fee),
            "address": address.address,
            "network": address.network,
            "prepared_ms": self._link.now_ms(),
        }
        return Prepared((order.operation_id,), venue, reference)

    def _check_route(self, order: Order, token: str) -> None:
        venue = self._profile.venue
        if order.source_venue != venue or order.venue != venue:
            raise VenueRefusal("VEN-001", f"transfer from {order.source_venue} is not for {venue}", venue)
        if order.target_venue == venue:
            raise VenueRefusal("VEN-009", f"transfer from {venue} to itself", venue)
        needed = [f"{venue}:BaseToken:{token}"]
        if order.target_venue != CLIENT:
            needed.append(f"{order.target_venue}:BaseToken:{token}")
        for key in needed:
            if key not in INSTRUMENTS or key not in self._keys:
                message = f"transfer of {order.source_token!r}: the mode does not hold {key!r}"
                raise VenueRefusal("VEN-001", message, venue)

    async def _terms(self, token: str, network: str) -> tuple[Decimal, Decimal, Decimal]:
        """(fee, least amount with the fee inside, smallest step of an amount) of a token on a network."""
        listed = await self._link.ask("currencies", self._link.client.fetch_currencies)
        networks = (listed.get(token) or {}).get("networks") or {}
        # exchanges name one network differently for a chain's own coin and for tokens on it
        known = self._link.client.network_code_to_id(network, token)
        same = {known, f"{token}-{known}"}
        terms = networks.get(network) or next((one for one in networks.values() if one.get("id") in same), None)
        if terms is None or terms.get("fee") is None or terms.get("withdraw") is False:
            message = f"{self._profile.venue} does not pay out {token} on {network} now"
            raise VenueRefusal("VEN-009", message, self._profile.venue)
        fee = Decimal(str(terms["fee"]))
        least = Decimal(str((terms.get("limits", {}).get("withdraw") or {}).get("min") or 0))
        step = Decimal(str(terms.get("precision") or _STEP))
        return fee, max(least, fee), max(step, _STEP)

    async def send(self, order: Order, prepared: Prepared) -> ExecutionHandshake:
        """Ask for the withdrawal, once."""
        submitted, reference = self._link.clock.now(), prepared.reference
        client_id, token = str(reference["client_order_id"]), str(reference["token"])
        amount, fee = Decimal(str(reference["amount"])), Decimal(str(reference["fee"]))
        try:
            await self._wallets.bring(token, self._profile.cash, amount)
        except LiveVenueError as failure:
            code = "VEN-003" if isinstance(failure, UnknownOutcome) else failure.error_code
            return handshakes.failed(order, code, f"before it was sent: {failure.message}", submitted)
        asked, params = self._profile.withdrawal(client_id, float(amount), float(fee))
        params["network"] = reference["network"]
        metadata: dict[str, JsonValue] = {"client_order_id": client_id}
        try:
            row = await self._link.send(
                "withdrawal", self._link.client.withdraw, token, asked, reference["address"], None, params
            )
        except LiveVenueError as failure:
            return handshakes.ended(order, failure, submitted, metadata)
        finally:
            self._sent[client_id] = self._link.left_at
        if not row.get("id"):
            return handshakes.pending(order, "the answer to the withdrawal has no id", submitted, metadata)
        return self._left(order, prepared, str(row["id"]), None, submitted)

    async def resolve(self, order: Order, prepared: Prepared) -> ExecutionHandshake:
        """What became of a withdrawal that may have been asked for."""
        now, reference = self._link.clock.now(), prepared.reference
        client_id = str(reference["client_order_id"])
        metadata: dict[str, JsonValue] = {"client_order_id": client_id}
        try:
            rows = await self._rows(prepared)
            if not rows:
                await asyncio.sleep(self._until_proved(client_id))
                rows = await self._rows(prepared)
        except LiveVenueError as failure:
            return handshakes.pending(order, f"not resolved: {failure.message}", now, metadata)
        if len(rows) > 1:
            message = f"{len(rows)} withdrawals look like this one: look at the exchange's history"
            return handshakes.pending(order, message, now, metadata)
        if not rows:
            return handshakes.failed(order, "VEN-014", "the exchange knows no such withdrawal: it never arrived", now)
        if rows[0].get("status") in {"failed", "fail", "canceled", "rejected"}:
            return handshakes.failed(order, "VEN-009", f"the withdrawal ended as {rows[0]['status']}", now)
        return self._left(order, prepared, str(rows[0]["id"]), rows[0].get("txid"), now)

    def _until_proved(self, client_id: str) -> float:
        config = self._link.config
        window_s = (config.recv_window_ms + config.max_clock_skew_ms) / 1000 + _MARGIN_S
        # what another process sent was signed before this one took over, which is when it asks for the first time
        return max(self._sent.setdefault(client_id, time.monotonic()) + window_s - time.monotonic(), 0.0)

    async def _rows(self, prepared: Prepared) -> list[Row]:
        """Rows of the history that are this withdrawal, or, where the exchange shows no id, look like it."""
        reference = prepared.reference
        token, since = str(reference["token"]), int(str(reference["prepared_ms"])) - _CLOCK_MS
        net = Decimal(str(reference["amount"])) - Decimal(str(reference["fee"]))
        found = await self._link.ask("withdrawals", self._link.client.fetch_withdrawals, token, since)
        mine = []
        for row in found:
            same = self._profile.is_withdrawal(row, str(reference["client_order_id"]))
            if same is None:
                same = row.get("addressTo") == reference["address"] and _close(row.get("amount"), net)
            if same:
                mine.append(row)
        return mine

    def _left(
        self, order: Order, prepared: Prepared, number: str, txid: str | None, submitted: datetime
    ) -> ExecutionHandshake:
        """It has left: source -amount, transit +what will arrive."""
        reference = prepared.reference
        token, amount, fee = str(reference["token"]), float(str(reference["amount"])), float(str(reference["fee"]))
        source, arriving = (
            f"{order.venue}:BaseToken:{token}",
            float(Decimal(str(reference["amount"])) - Decimal(str(fee))),
        )
        deltas = {source: -amount}
        costs: dict[CostKind, dict[str, float]] = {"fees": {source: fee}} if fee > 0.0 else {}
        if order.target_venue == CLIENT:
            costs["external"] = {source: arriving}
        else:
            transit = f"transit:BaseToken:{token}"
            # a mode that counts nothing in transit counts it as arrived, as the simulated venues do
            deltas[transit if transit in self._keys else f"{order.target_venue}:BaseToken:{token}"] = arriving
        details: dict[str, JsonValue] = {
            "amount": amount,
            "token": token,
            "withdrawal_fee": fee,
            "arriving": arriving,
            "target": order.target_venue,
        }
        metadata: dict[str, JsonValue] = {
            "client_order_id": reference["client_order_id"],
            "withdrawal_id": number,
            "transaction": txid,
        }
        found = Outcome(deltas, costs, details, fee, token if fee > 0.0 else None, self._link.now_ms())
        return handshakes.confirmed(order, found, submitted, self._link.clock.now(), metadata)


def _close(value: object, amount: Decimal) -> bool:
    return value is not None and abs(Decimal(str(value)) - amount) <= _STEP
