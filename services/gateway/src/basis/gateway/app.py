"""The gateway: the HTTP API as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NamedTuple

import uvicorn
from fastapi import FastAPI

from basis.gateway import keys, openapi, problems
from basis.gateway.access import Guard
from basis.gateway.backtest_service import BacktestService
from basis.gateway.connections import bounded_protocol
from basis.gateway.http import Envelope
from basis.gateway.keys import Keyring
from basis.gateway.limits import RateLimit
from basis.gateway.live_service import LiveService
from basis.gateway.preparing import Preparer
from basis.gateway.read_only import LastAsked, NoBacktests, NoBus
from basis.gateway.routes import (
    Context,
    backtest,
    capital,
    dashboard,
    documents,
    health,
    live,
    results,
    results_log,
    strategies,
)
from basis.gateway.run_list import RunList
from basis.gateway.status_feed import StatusFeeds
from basis.models.errors import ComponentError
from basis.results.reader import Results
from basis.runtime import health as service_health
from basis.runtime import telemetry
from basis.runtime.bus import Bus
from basis.runtime.clock import clock_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from starlette.types import ASGIApp

    from basis.runtime.settings import Settings

SERVICE: Final = "gateway"
PREFIX: Final = "/api/v1"
_GRACE_S = 5
_BACKLOG = 256
_log = logging.getLogger(__name__)


class _Api(FastAPI):
    """FastAPI whose OpenAPI document knows what holds for every route."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(self)
        return self.openapi_schema


def create_app(context: Context, ring: Keyring | None = None) -> ASGIApp:
    """The API over a connected bus.

    Args:
        context: what the handlers work with.
        ring: API keys; none = none are asked for.
    """
    app = _api()
    app.state.context = context
    settings = context.settings
    limit = RateLimit(settings.gateway_rate_per_s, settings.gateway_burst)
    return Envelope(Guard(app, ring or Keyring(), limit, context.clock), settings.gateway_patience_s)


def openapi_document() -> dict[str, Any]:
    """The API's OpenAPI document, for generators of documentation."""
    return _api().openapi()


def _api() -> _Api:
    app = _Api(
        title="Basis",
        version=version("basis-gateway"),
        description="Backtest and run DeFi + CeFi yield strategies.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
    )
    problems.install(app)
    for router in (
        backtest.router,
        live.router,
        capital.router,
        results.router,
        results_log.router,
        strategies.router,
        health.router,
        documents.router,
    ):
        app.include_router(router, prefix=PREFIX)
    app.include_router(dashboard.router)
    return app


class _Server(uvicorn.Server):
    """Signals belong to the caller."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Serving(NamedTuple):
    """A gateway that answers."""

    url: str
    """Of the API."""
    traffic: LastAsked
    """When it was asked last."""


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """The gateway while the context is open; yields the URL of the API. Errors as :func:`opened`."""
    async with opened(settings) as gateway:
        yield gateway.url


@asynccontextmanager
async def opened(settings: Settings, *, read_only: bool = False) -> AsyncIterator[Serving]:
    """The gateway while the context is open.

    Args:
        settings: of the process.
        read_only: without NATS: results below ``logs_dir`` can be read, and submitting is a 503.

    Raises:
        ComponentError: ENGINE-001, the address cannot be bound; BUS-001, no NATS; CONFIG-00x, its API keys.
    """
    telemetry.install(SERVICE)
    ring = keys.required(settings)
    with _listening(settings) as listener:
        closing, clock = asyncio.Event(), clock_of(settings.clock_file)
        bus: Bus = NoBus(settings, SERVICE) if read_only else Bus(settings, SERVICE)
        await bus.connect()
        backtests: BacktestService = NoBacktests(bus, clock) if read_only else BacktestService(bus, clock)
        feeds = StatusFeeds(backtests)
        runs = RunList(backtests, Results(settings.logs_dir, settings.results_cache_dir), clock)
        context = Context(
            bus, backtests, LiveService(bus, clock, backtests), runs, settings, clock, clock.monotonic(), closing, feeds
        )
        traffic = LastAsked(create_app(context, ring), clock)
        server = _Server(
            uvicorn.Config(
                traffic,
                http=bounded_protocol(settings.gateway_connections, settings.gateway_patience_s),
                proxy_headers=False,  # whoever connects is the client: a header cannot say otherwise
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        beating = asyncio.create_task(service_health.beat(bus, settings))
        preparer = Preparer(runs)
        try:
            service_health.serve(bus, SERVICE)
            preparer.start(bus)
            await bus.start()
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                yield Serving(_url(listener), traffic)
            finally:
                closing.set()
                server.should_exit = True
                await serving
        finally:
            beating.cancel()
            await preparer.stop()
            await bus.stop()


async def serve(settings: Settings, told: asyncio.Event) -> None:
    """The gateway, as the main job of a process, until it is told to stop.

    Raises:
        ComponentError: ENGINE-001, the address cannot be bound; BUS-001, no NATS; CONFIG-00x, its API keys.
    """
    async with running(settings) as url:
        _log.info("gateway is ready: %s, documentation at %s/docs", url, url)
        await told.wait()
        _log.info("gateway is told to stop")


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """A bound socket: uvicorn's own way to report a port that is taken is to exit."""
    host, port = settings.gateway_host, settings.gateway_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            message = (
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another port with BASIS_GATEWAY_PORT (0 picks a free one)"
            )
            raise ComponentError("ENGINE-001", message, SERVICE) from error
        listener.setblocking(False)
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PREFIX}"
