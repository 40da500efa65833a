"""A key-value bucket of live trading, looked up once: each lookup is a trip to the server, and orders wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nats.js.kv import KeyValue

    from basis.runtime.bus import Bus


class Bucket:
    """One bucket.

    Args:
        bus: connection.
        name: of ``basis.runtime.subjects``.
    """

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus, self._name = bus, name
        self._found: KeyValue | None = None

    async def open(self) -> KeyValue:
        """The bucket; made on first use where the server has none."""
        if self._found is None:
            self._found = await self._bus.bucket(self._name)
        return self._found

    async def value(self, key: str) -> bytes | None:
        """The last value of an entry; None where there is none, and only there.

        Raises:
            nats.errors.Error: the server does not say, in time or at all.
        """
        await self.open()  # there, so that no entry means that nobody wrote one
        return await self._bus.storage.last(self._name, key)

    async def age_s(self, key: str, revision: int) -> float:
        """How long ago a revision of an entry was written, seconds; 0 where the server does not say."""
        return await self._bus.storage.age_s(self._name, key, revision)
