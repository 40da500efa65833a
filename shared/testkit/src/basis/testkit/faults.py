"""The fault-injecting bus: a TCP proxy between a client and nats-server that understands the NATS protocol.

It drops, repeats and delays whole messages (never half a frame, which would only test the parser), and cuts
connections. What happens to a message is decided by a rule on (direction, subject)::

    async with FaultyBus(server.url) as bus:
        bus.rule = lambda direction, subject: Fate.DROP if subject.endswith(".assess") else Fate.PASS
        ... connect a client to bus.url ...
        bus.cut()
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_MESSAGES: Final = frozenset({b"PUB", b"HPUB", b"MSG", b"HMSG"})
_LIMIT: Final = 4 * 1024**2


class Direction(Enum):
    """Way of a message."""

    TO_SERVER = auto()
    """A client publishes."""
    TO_CLIENT = auto()
    """The server delivers."""


class Fate(Enum):
    """What becomes of a message."""

    PASS = auto()
    """It goes on as it is."""
    DROP = auto()
    """It is lost."""
    REPEAT = auto()
    """It arrives twice."""
    DELAY = auto()
    """It, and all behind it on its connection, arrives after ``delay_s``."""


class FaultyBus:
    """Listens on a loopback port of its own while the context is open.

    Args:
        server_url: the real server, ``nats://host:port``.
    """

    def __init__(self, server_url: str) -> None:
        host, port = server_url.removeprefix("nats://").rsplit(":", 1)
        self._target = (host, int(port))
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.rule: Callable[[Direction, str], Fate] = lambda _direction, _subject: Fate.PASS
        self.delay_s = 0.05
        """Length of a delay, seconds."""
        self.counts = dict.fromkeys(Fate, 0)
        """Fate -> messages that had it."""
        self.connections = 0
        """Connections accepted so far."""
        self.url = ""

    def cut(self) -> None:
        """Close every connection now; clients may connect again."""
        for writer in tuple(self._links):
            writer.transport.abort()

    async def __aenter__(self) -> FaultyBus:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_LIMIT)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._target, limit=_LIMIT)
        except OSError:
            writer.close()
            return
        self.connections += 1
        self._links |= {writer, up_writer}
        pumps = [
            asyncio.create_task(self._pump(reader, up_writer, Direction.TO_SERVER)),
            asyncio.create_task(self._pump(up_reader, writer, Direction.TO_CLIENT)),
        ]
        self._tasks |= set(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._tasks -= set(pumps)
        for end in (writer, up_writer):
            self._links.discard(end)
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame, subject = await read_frame(reader)
                fate = Fate.PASS if subject is None else self.rule(direction, subject)
                if subject is not None:
                    self.counts[fate] += 1
                if fate is Fate.DROP:
                    continue
                if fate is Fate.DELAY:
                    await asyncio.sleep(self.delay_s)
                writer.write(frame * (2 if fate is Fate.REPEAT else 1))
                await writer.drain()


async def read_frame(reader: asyncio.StreamReader) -> tuple[bytes, str | None]:
    """One frame of the NATS protocol with its line end, and the subject where it carries a message.

    Raises:
        asyncio.IncompleteReadError: the connection ended.
    """
    line = await reader.readuntil(b"\r\n")
    words = line.split()
    if not words or words[0].upper() not in _MESSAGES:
        return line, None
    payload = await reader.readexactly(int(words[-1]) + 2)
    return line + payload, words[1].decode()
