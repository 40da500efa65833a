"""Is an order written down by its engine? The engine asks for it and writes it down at once; the venues look before they send.

What left without a record would be decided once more by the engine that takes over, and might be decided differently.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import msgspec

from basis.models.errors import ComponentError
from basis.runtime import recorded_orders, subjects
from basis.venues.live.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.models.order import Order
    from basis.runtime.bus import Bus

_PATIENCE_S = 0.5
"""How long an order waits for its record; it is written at the same time as the order is asked for."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.05


class NotOnRecordError(ComponentError):
    """VEN-019: nothing was sent, and nothing is final. The engine that has it on record may ask again."""


class RunRecords:
    """Looks at the records of runs.

    Args:
        bus: connection.
    """

    def __init__(self, bus: Bus) -> None:
        self._bucket = Bucket(bus, subjects.KV_RUNS)

    async def require(self, correlation_id: str, orders: Sequence[Order]) -> None:
        """Wait a moment until these very orders are under way by the record of their run.

        Raises:
            NotOnRecordError: they are not.
        """
        deadline, pause = time.monotonic() + _PATIENCE_S, _FIRST_PAUSE_S
        while True:
            record = await self._bucket.value(correlation_id)
            with contextlib.suppress(msgspec.DecodeError):  # a record that cannot be read holds no orders
                if record is not None and recorded_orders.are_in(record, orders):
                    return
            if time.monotonic() >= deadline:
                ids = ", ".join(order.operation_id for order in orders)
                message = f"{ids}: not on record as asked for after {_PATIENCE_S:g} s; nothing was sent"
                raise NotOnRecordError("VEN-019", message, "venue_interface_manager")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
