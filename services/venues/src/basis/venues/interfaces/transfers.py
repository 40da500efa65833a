"""Transfers between venues, out of the wallet and out of an exchange alike: what leaves, what arrives, and when.

An amount in flight is held under ``transit:BaseToken:<token>``, with an entry ``<target>:arriving:<token>@<tick>`` of the
target's own that says when it arrives. The settlement engine removes an entry once its tick has come.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from basis.models.instruments import CLIENT, INSTRUMENTS, wallet_token
from basis.models.messages import Settlement
from basis.models.operations import SettlementKind
from basis.runtime.fills import deposit_delay_s, withdrawal_fee
from basis.venues.core.interface import Step, VenueRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from basis.models.config import RunConfig
    from basis.models.order import Order
    from basis.venues.core.interface import At, Stretch

_ARRIVING = re.compile(r"([a-z0-9_]+):arriving:([A-Za-z0-9]+)@(\d+)")


def transfer(order: Order, ledger: Mapping[str, float], at: At) -> Step:
    """Source -q; target, or transit where the target takes time, +(q - withdrawal fee); to the client: source alone.

    The fee is the source's and in the token; the wallet takes none (it pays gas instead).

    Raises:
        VenueRefusal: VEN-001 the mode does not hold source, target or transit; VEN-007 the fee takes all of it; VEN-009
            source and target are one.
    """
    token = wallet_token(order.source_token or "")
    source = f"{order.source_venue}:BaseToken:{token}"
    _require_held(source, at.config, order)
    if order.source_venue != order.venue:
        raise VenueRefusal("VEN-001", f"transfer from {order.source_venue} is not for {order.venue}", order.venue)
    if order.source_venue == order.target_venue:
        raise VenueRefusal("VEN-009", f"transfer from {source!r} to itself", order.venue)
    fee = withdrawal_fee(at.config, order.venue, token)
    arriving = order.amount - fee
    # A NaN anywhere is for the check of conserved value, not for here.
    if arriving <= 0.0:
        message = f"transfer of {order.amount!r} {token}: the withdrawal fee is {fee!r}"
        raise VenueRefusal("VEN-007", message, order.venue)
    details: dict[str, JsonValue] = {"amount": order.amount, "token": token, "withdrawal_fee": fee}
    fees = {source: fee} if fee > 0.0 else {}
    if order.target_venue == CLIENT:
        return Step({source: -order.amount}, details, fees, external={source: arriving})
    target = f"{order.target_venue}:BaseToken:{token}"
    _require_held(target, at.config, order)
    delay = deposit_delay_s(at.config, str(order.target_venue))
    if delay == 0:
        return Step({source: -order.amount, target: arriving}, details, fees)
    transit = f"transit:BaseToken:{token}"
    _require_held(transit, at.config, order)
    due = at.tick - (-delay // at.step_s)
    entry = f"{order.target_venue}:arriving:{token}@{due}"
    return Step(
        {source: -order.amount, transit: arriving},
        details | {"arrival_tick": due},
        fees,
        entries={entry: ledger.get(entry, 0.0) + arriving},
    )


def arrivals(venue: str, stretch: Stretch) -> list[Settlement]:
    """What reaches a venue within a stretch: transit -q, venue +q; by tick."""
    last = stretch.first_tick + stretch.ticks - 1
    found = []
    for entry, amount in stretch.ledger.items():
        match = _ARRIVING.fullmatch(entry)
        if match is None or match[1] != venue or not stretch.first_tick <= int(match[3]) <= last:
            continue
        token = match[2]
        found.append(
            Settlement(
                tick=int(match[3]),
                venue=venue,
                kind=SettlementKind.TRANSFER_ARRIVAL,
                deltas={f"transit:BaseToken:{token}": -amount, f"{venue}:BaseToken:{token}": amount},
                details={"amount": amount, "token": token},
            )
        )
    return sorted(found, key=lambda settlement: (settlement.tick, str(settlement.details["token"])))


def _require_held(key: str, config: RunConfig, order: Order) -> None:
    if key not in INSTRUMENTS or key not in config.position_subscriptions:
        message = f"transfer of {order.source_token!r}: the mode does not hold {key!r}"
        raise VenueRefusal("VEN-001", message, order.venue)
