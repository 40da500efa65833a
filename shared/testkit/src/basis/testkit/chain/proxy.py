"""A hand-written HTTP proxy in front of a node that breaks requests on purpose, by the RPC methods that they carry.

::

    async with FaultyNode(node.port) as proxy:
        proxy.rule = lambda methods: Fate.NO_ANSWER if "eth_sendRawTransaction" in methods else Fate.PASS
        ... connect to proxy.url ...
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class Fate(Enum):
    """What becomes of a request."""

    PASS = auto()
    """It is answered."""
    NEVER_ARRIVES = auto()
    """It does not reach the node, and the client hears nothing."""
    NO_ANSWER = auto()
    """The node does it, and the client hears nothing."""
    SERVER_ERROR = auto()
    """It does not reach the node; HTTP 503."""
    ERROR_AFTER = auto()
    """The node does it; HTTP 502."""
    TOO_MANY = auto()
    """HTTP 429."""
    CUT_BEFORE = auto()
    """The connection is cut before it reaches the node."""
    CUT_AFTER = auto()
    """The node does it, and the connection is cut."""
    GARBAGE = auto()
    """The node does it, and the answer is no JSON."""
    BEHIND = auto()
    """Answered as by a node that has counted its last transactions and does not show them yet."""


_STATUS = {
    Fate.SERVER_ERROR: "503 Service Unavailable",
    Fate.ERROR_AFTER: "502 Bad Gateway",
    Fate.TOO_MANY: "429 Too Many Requests",
}
_UNSENT = {Fate.NEVER_ARRIVES, Fate.SERVER_ERROR, Fate.TOO_MANY, Fate.CUT_BEFORE}


def _behind(asked: Any, answer: Any) -> bytes:
    """The answer without transactions, pending or mined, and without receipts."""
    questions, answers = (asked, answer) if isinstance(asked, list) else ([asked], [answer])
    method = {one["id"]: one["method"] for one in questions}
    for one in answers:
        if method[one["id"]] in {"eth_getTransactionReceipt", "eth_getTransactionByHash"}:
            one["result"] = None
        elif method[one["id"]] == "eth_getBlockByNumber" and one["result"]:
            one["result"]["transactions"] = []
    return json.dumps(answer).encode()


def _is_too_wide(asked: Any, most: int) -> bool:
    logs = [
        one["params"][0] for one in (asked if isinstance(asked, list) else [asked]) if one["method"] == "eth_getLogs"
    ]
    return any(int(one["toBlock"], 16) - int(one["fromBlock"], 16) >= most for one in logs)


def _refused(asked: Any) -> bytes:
    error = {"code": -32005, "message": "query exceeds the range that this service allows"}
    answers = [
        {"jsonrpc": "2.0", "id": one["id"], "error": error} for one in (asked if isinstance(asked, list) else [asked])
    ]
    return json.dumps(answers if isinstance(asked, list) else answers[0]).encode()


def healthy(methods: list[str]) -> Fate:
    """The rule of a node that works."""
    del methods
    return Fate.PASS


class FaultyNode:
    """Listens on a loopback port of its own while the context is open.

    Args:
        port: of the real node, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.rule: Callable[[list[str]], Fate] = healthy
        self.seen: list[str] = []
        """Methods asked for, in order."""
        self.most_blocks: int | None = None
        """Most blocks that one question for logs may be about; more is refused, as services do."""
        self.too_wide = 0
        """Questions refused for that."""
        self.broken = asyncio.Event()
        """Set once a request did not pass."""

    @property
    def url(self) -> str:
        """Its address."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> FaultyNode:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._one(reader, writer)
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        body = await reader.readexactly(length)
        asked = json.loads(body)
        methods = [str(one["method"]) for one in (asked if isinstance(asked, list) else [asked])]
        self.seen += methods
        fate = self.rule(methods)
        if fate is not Fate.PASS:
            self.broken.set()
        if self.most_blocks is not None and _is_too_wide(asked, self.most_blocks):
            self.too_wide += 1
            answer = _refused(asked)
        else:
            answer = b"" if fate in _UNSENT else await self._forward(body)
        if fate in {Fate.NEVER_ARRIVES, Fate.NO_ANSWER}:
            await reader.read()  # until the client gives up
        elif fate in _STATUS:
            writer.write(f"HTTP/1.1 {_STATUS[fate]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        elif fate not in {Fate.CUT_BEFORE, Fate.CUT_AFTER}:
            answer = b"<html>out of order</html>" if fate is Fate.GARBAGE else answer
            answer = _behind(asked, json.loads(answer)) if fate is Fate.BEHIND else answer
            start = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n"
            writer.write(start.encode() + b"Connection: close\r\n\r\n" + answer)
        await writer.drain()

    async def _forward(self, body: bytes) -> bytes:
        """The node's answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target)
        start = (
            f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        )
        writer.write(start.encode() + b"Connection: close\r\n\r\n" + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        answer = await reader.readexactly(length)
        writer.close()
        return answer
