"""A quote source for paper runs: an HTTP server that replays a catalogue at the time of a clock, and a venue that reads it."""

from __future__ import annotations

import asyncio
import http.client
import threading
from datetime import UTC, datetime
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson

from basis.models.errors import InputError
from basis.models.market import DEFAULT_FEEDS, FeedKind
from basis.venues.data.catalogue import Catalogue
from basis.venues.live.errors import Fatal, Retryable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from basis.models.config import RunConfig
    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement
    from basis.models.operations import OperationType
    from basis.models.order import Order
    from basis.runtime.clock import Clock
    from basis.venues.live.interface import Prepared

_PAYMENTS = {FeedKind.EVENT, FeedKind.REWARD}


class QuoteServer:
    """``GET /quotes?column=a&column=b`` -> {column: [value, epoch seconds]}, as the catalogue has them at the clock's time.

    Args:
        data: catalogue.
        cache: for its columns.
        clock: what time it is.
    """

    def __init__(self, data: Path, cache: Path, clock: Clock) -> None:
        catalogue = Catalogue(data, cache)
        self._market = lru_cache(maxsize=None)(lambda column: catalogue.open((DEFAULT_FEEDS[column],)))
        self._clock = clock
        self.down = False
        """True answers 503."""
        self.age_s = 0.0
        """How old it says that its prices are."""
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                wanted = parse_qs(urlsplit(self.path).query).get("column", [])
                body = b"" if outer.down else orjson.dumps(outer.quotes(wanted))
                self.send_response(503 if outer.down else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def quotes(self, columns: Sequence[str]) -> dict[str, tuple[float, float]]:
        """What it answers."""
        now = self._clock.now().timestamp()
        found = {}
        for column in columns:
            feed = DEFAULT_FEEDS[column]
            market = self._market(column)
            if feed.kind in _PAYMENTS:
                rows = market.rows[column]
                place = int(np.searchsorted(rows.times, now * 1000, side="right")) - 1
                if place >= 0:
                    found[column] = (float(rows.values[place]), float(rows.times[place]) / 1000)
                continue
            try:
                value = market.columns(int(now * 1000), 60_000, 1)[column]
            except InputError:
                continue  # nothing known of it
            found[column] = (float(value[0]), now - self.age_s)
        return found

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class QuotingVenue:
    """A live venue that quotes and does nothing else: all that a paper run asks for."""

    operations: frozenset[OperationType] = frozenset()

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._port = port

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def prepare(self, orders: Sequence[Order]) -> Prepared:
        """It takes no orders."""
        raise Fatal("VEN-005", f"{len(orders)} orders for a venue without keys", self.name)

    def prepare_at_once(self, orders: Sequence[Order]) -> Prepared | None:
        """It takes no orders."""
        del orders
        return None

    async def send(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        """It takes no orders."""
        raise Fatal("VEN-005", f"{len(orders)} orders of {prepared.venue} for a venue without keys", self.name)

    async def resolve(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        """It takes no orders."""
        return await self.send(orders, prepared)

    async def cancel_all(self) -> int:
        """There is none."""
        return 0

    async def balances(self, keys: Sequence[str]) -> Mapping[str, float]:
        """It has no account."""
        raise Fatal("VEN-005", f"balances of {keys} without keys", self.name)

    async def settlements(self, since: datetime, until: datetime) -> Sequence[Settlement]:
        """It has no account."""
        raise Fatal("VEN-005", f"settlements from {since} to {until} without keys", self.name)

    async def market(self, columns: Sequence[str]) -> Mapping[str, tuple[float, datetime]]:
        """What the server says."""
        told = await asyncio.to_thread(self._get, columns)
        return {name: (value, datetime.fromtimestamp(at, UTC)) for name, (value, at) in told.items()}

    def _get(self, columns: Sequence[str]) -> dict[str, tuple[float, float]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", "/quotes?" + "&".join(f"column={column}" for column in columns))
            answer = connection.getresponse()
            body = answer.read()
        except OSError as error:
            raise Retryable("VEN-003", f"no quotes: {error}", self.name) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise Retryable("VEN-003", f"no quotes: HTTP {answer.status}", self.name)
        found: dict[str, tuple[float, float]] = orjson.loads(body)
        return found


def quoting_venues(config: RunConfig, port: int) -> dict[str, Any]:
    """Factories of a mode's venues that all quote from one server."""

    def make(venue: str, config: RunConfig, clock: Clock) -> QuotingVenue:
        del config, clock
        return QuotingVenue(venue, port)

    return dict.fromkeys(map(str, config.venues), make)
