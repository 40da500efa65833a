"""The HTTP server: gate (faults, keys, rate limit), the face's routes, and a control interface for other processes."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter, deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qsl

from aiohttp import web

from basis.testkit.exchange.accounts import Refused, Why
from basis.testkit.exchange.binance.face import BinanceFace
from basis.testkit.exchange.bybit.face import BybitFace
from basis.testkit.exchange.face import Answer, Credentials, Face, Request, Route
from basis.testkit.exchange.faults import Fault, FaultKind, FaultPlan
from basis.testkit.exchange.matching import Exchange
from basis.testkit.exchange.okx.face import OkxFace
from basis.testkit.exchange.treasury import wall_ms

if TYPE_CHECKING:
    from collections.abc import Callable

_HANG_S = 60.0
"""How long a request without an answer is kept open at most; the client gives up before."""
_MINUTE_MS = 60_000
_HEARD = 100_000
"""Requests that the list of them holds."""
_NEVER = {FaultKind.ERROR_BEFORE, FaultKind.TIMEOUT_BEFORE, FaultKind.DISCONNECT_BEFORE}
_REFUSALS = {
    FaultKind.RATE: Why.RATE,
    FaultKind.BANNED: Why.BANNED,
    FaultKind.LATE: Why.CLOCK,
    FaultKind.REJECT: Why.REJECTED,
}


def make_face(exchange: Exchange) -> Face:
    """Face of an exchange by its venue."""
    faces: dict[str, Callable[[Exchange], Face]] = {"binance": BinanceFace, "bybit": BybitFace, "okx": OkxFace}
    return faces[exchange.venue](exchange)


class Heard(NamedTuple):
    """A request that has been answered, or given up."""

    operation: str
    """As in :class:`Route`; ``unknown`` for a path that the exchange does not have."""
    method: str
    path: str
    arrived: float
    """When its head had been read: the machine's wall clock, epoch seconds."""
    answered: float
    """When the answer was ready to be written."""


class ExchangeServer:
    """A local exchange on a free port of loopback, in a thread of its own.

    Args:
        venue: binance, bybit or okx.
        clock: milliseconds of the exchange's own clock.
        port: 0 picks a free one.
        max_per_minute: weight after which it answers 429; None: no limit.

    Hold :attr:`lock` while touching :attr:`exchange` when requests may be in flight.
    """

    def __init__(
        self, venue: str, clock: Callable[[], int] = wall_ms, port: int = 0, max_per_minute: int | None = None
    ) -> None:
        self.venue = venue
        self.skew_ms = 0
        """Added to the exchange's clock."""
        self._clock = clock
        self.exchange = Exchange(venue, self._now_ms)
        self.credentials = Credentials()
        self.faults = FaultPlan()
        self.lock = threading.RLock()
        self.requests: Counter[str] = Counter()
        """Operation -> requests that arrived."""
        self.heard: deque[Heard] = deque(maxlen=_HEARD)
        """The last requests, in the sequence in which they were answered."""
        self.max_per_minute = max_per_minute
        self.url = ""
        self._face = make_face(self.exchange)
        self._port = port
        self._used: tuple[int, int] = (0, 0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._late: set[asyncio.Task[None]] = set()

    def _now_ms(self) -> int:
        return self._clock() + self.skew_ms

    def reset(self) -> None:
        """Another exchange, as new, behind the same address."""
        with self.lock:
            self.skew_ms = 0
            self.exchange = Exchange(self.venue, self._now_ms)
            self._face = make_face(self.exchange)
            self.faults.clear()
            self.requests.clear()
            self.heard.clear()

    # ------------------------------------------------------------------------------------------------------- life

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name=f"{self.venue}-server", daemon=True)
        self._thread.start()
        if not started.wait(20) or not self.url:
            raise RuntimeError(f"the local {self.venue} did not start")
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)

    def _run(self, started: threading.Event) -> None:
        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            app = web.Application()
            app.router.add_route("*", "/{any:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self._port)
            try:
                await site.start()
                host, port = runner.addresses[0][:2]
                self.url = f"http://{host}:{port}"
            finally:
                started.set()
            await self._stop.wait()
            for task in self._late:
                task.cancel()
            await runner.cleanup()

        asyncio.run(serve())

    # ------------------------------------------------------------------------------------------------------- gate

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        arrived = time.time()
        body = await request.text()
        if request.path.startswith("/_control/"):
            return web.json_response(self._control(request.path.removeprefix("/_control/"), json.loads(body or "{}")))
        params: dict[str, Any] = dict(parse_qsl(request.query_string, keep_blank_values=True))
        if body and body.lstrip()[:1] in "{[":
            decoded = json.loads(body)
            params |= decoded if isinstance(decoded, dict) else {"": decoded}
        elif body:
            params |= dict(parse_qsl(body, keep_blank_values=True))
        heard = Request(request.method, request.path, request.query_string, body, request.headers, params)
        route = self._face.routes.get((heard.method, heard.path))
        operation = route.operation if route else "unknown"
        with self.lock:
            self.requests[operation] += 1
            fault = self.faults.take(operation)
        try:
            return await self._meet(request, heard, route, fault)
        finally:
            with self.lock:
                self.heard.append(Heard(operation, request.method, request.path, arrived, time.time()))

    async def _meet(
        self, raw: web.Request, heard: Request, route: Route | None, fault: Fault | None
    ) -> web.StreamResponse:
        """Answer, or what the fault makes of it."""
        kind = fault.kind if fault else None
        if kind in _REFUSALS:
            return self._say(self._face.refuse(Refused(_REFUSALS[kind]), heard))
        if kind is FaultKind.TIMEOUT_LATE and fault is not None:
            task = asyncio.get_running_loop().create_task(self._answer_late(heard, route, fault.delay_s))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            await asyncio.sleep(_HANG_S)
        answer = Answer(200, {}) if kind in _NEVER else self._answer(heard, route)
        if kind in {FaultKind.TIMEOUT_BEFORE, FaultKind.TIMEOUT_AFTER}:
            await asyncio.sleep(_HANG_S)
        if kind in {FaultKind.DISCONNECT_BEFORE, FaultKind.DISCONNECT_AFTER} and raw.transport is not None:
            raw.transport.abort()
        if kind in {FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER}:
            return self._say(self._face.refuse(Refused(Why.UNAVAILABLE), heard))
        if kind is FaultKind.GARBAGE_AFTER:
            return web.Response(text="<html>gateway</html>", content_type="text/html")
        return self._say(answer)

    async def _answer_late(self, heard: Request, route: Route | None, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._answer(heard, route)

    def _answer(self, heard: Request, route: Route | None) -> Answer:
        with self.lock:
            try:
                if route is None:
                    raise Refused(Why.PATH, f"{heard.method} {heard.path}")
                self._count(route.weight)
                if route.signed:
                    self._face.authenticate(heard, self.credentials)
                self.exchange.advance(self.exchange.now_ms())
                return self._face.answer(route.answer(heard.params))
            except Refused as refused:
                return self._face.refuse(refused, heard)

    def _count(self, weight: int) -> None:
        minute, used = self._used
        now = wall_ms() // _MINUTE_MS
        used = weight if minute != now else used + weight
        self._used = now, used
        if self.max_per_minute is not None and used > self.max_per_minute:
            raise Refused(Why.RATE)

    @staticmethod
    def _say(answer: Answer) -> web.Response:
        return web.json_response(answer.body, status=answer.status, headers=dict(answer.headers))

    # ---------------------------------------------------------------------------------------------------- control

    def _control(self, what: str, given: dict[str, Any]) -> dict[str, Any]:
        """``POST /_control/<what>`` for tests in another process: fault, faults, price, fund, deposit, receive, skew,
        set, state, heard (the last requests)."""
        exchange = self.exchange
        with self.lock:
            if what == "fault":
                self.faults.add(**given)
            elif what == "faults":
                self.faults.clear()
            elif what == "price":
                exchange.set_price(**given)
            elif what == "fund":
                exchange.fund(**given)
            elif what == "deposit":
                exchange.deposit(**given)
            elif what == "receive":
                exchange.receive(**given)
            elif what == "skew":
                self.skew_ms = int(given["ms"])
            elif what == "set":
                for name, value in given.items():
                    setattr(
                        exchange, name, Decimal(str(value)) if isinstance(getattr(exchange, name), Decimal) else value
                    )
            elif what == "heard":
                return {"heard": [list(one) for one in self.heard]}
            elif what != "state":
                return {"error": f"unknown control {what!r}"}
            return self._state()

    def _state(self) -> dict[str, Any]:
        account = self.exchange.account
        return {
            "now_ms": self.exchange.now_ms(),
            "wallets": {
                name: {asset: str(held) for asset, held in one.items()} for name, one in account.wallets.items()
            },
            "positions": {":".join(name): str(held.amount) for name, held in account.positions.items()},
            "orders": len(account.orders),
            "trades": len(account.trades),
            "requests": dict(self.requests),
            "movements": [
                vars(movement) | {"amount": str(movement.amount), "fee": str(movement.fee)}
                for movement in account.movements
            ],
        }
