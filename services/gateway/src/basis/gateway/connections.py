"""Connections of clients that take their time: bounds on how many there are and on how long they may keep one waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio


def bounded_protocol(connections: int, patience_s: float) -> type[H11Protocol]:
    """uvicorn's HTTP protocol, with bounds that it has none of its own for.

    Args:
        connections: open at once; one more is closed unread.
        patience_s: from the first moment of a request (the connection itself, or its first bytes) to the end of its
            headers, and for taking the half of what waits to be sent, seconds; slower clients are cut off.
    """

    class Bounded(H11Protocol):
        _coming: asyncio.TimerHandle | None = None
        _going: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > connections:
                transport.abort()
            else:
                self._expect()

        def connection_lost(self, exc: Exception | None) -> None:
            self._arrived()
            self._taken()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._busy():
                self._arrived()  # the headers are there; the body has a bound of its own (http.py)
            elif self._coming is None:
                self._expect()  # the first bytes of the next request

        def pause_writing(self) -> None:
            super().pause_writing()
            self._going = self._going or self.loop.call_later(patience_s, self.transport.abort)

        def resume_writing(self) -> None:
            self._taken()
            super().resume_writing()

        def _busy(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _expect(self) -> None:
            self._coming = self.loop.call_later(patience_s, self._late)

        def _late(self) -> None:
            self._coming = None
            if not self._busy():
                self.transport.abort()

        def _arrived(self) -> None:
            if self._coming is not None:
                self._coming.cancel()
                self._coming = None

        def _taken(self) -> None:
            if self._going is not None:
                self._going.cancel()
                self._going = None

    return Bounded
