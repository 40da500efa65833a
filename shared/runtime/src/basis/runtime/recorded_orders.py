"""Orders in a run's record (KV bucket ``runs``): how the engine writes them down, and how the venues make sure that it did.

The venues look at the record while an order waits, so they take out of it what was ordered and leave the rest unread.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from basis.models.messages import OrdersRequest
from basis.runtime import codec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.order import Order


def written(orders: OrdersRequest) -> str:
    """The field ``orders`` of :class:`basis.models.messages.Trading`."""
    return base64.b64encode(codec.encode(orders)).decode()


def read(field: str) -> OrdersRequest:
    """What :func:`written` made.

    Raises:
        ComponentError: BUS-003, it is no such thing.
    """
    return codec.decode(base64.b64decode(field), OrdersRequest)


class _Trading(msgspec.Struct):
    orders: str


class _Record(msgspec.Struct):
    trading: _Trading | None = None


class _Ordered(msgspec.Struct):
    orders: list[dict[str, Any]]


_record = msgspec.json.Decoder(_Record)
_ordered = msgspec.msgpack.Decoder(_Ordered)
_plain = msgspec.msgpack.Decoder()


def are_in(record: bytes, orders: Sequence[Order]) -> bool:
    """True where each of the orders is under way by a record, to the last field.

    Not the id alone: it names the tick and the place, and two engines may decide one tick differently where a request of the
    client came in between.

    Args:
        record: a RunRecord as it is kept, JSON.
        orders: what somebody was asked to send.

    Raises:
        msgspec.DecodeError: it is no record.
    """
    found = _record.decode(record).trading
    if found is None:
        return False
    there = _ordered.decode(base64.b64decode(found.orders)).orders
    return all(_plain.decode(codec.encode(order)) in there for order in orders)
