"""A gateway without NATS: results from a log root can be read, nothing can be started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from nats.errors import ConnectionClosedError

from basis.gateway.backtest_service import BacktestService
from basis.models.errors import ComponentError, InputError
from basis.runtime.bus import Bus

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from nats.aio.client import Client
    from starlette.types import ASGIApp, Receive, Scope, Send

    from basis.gateway.requests import PreparedBacktest
    from basis.models.messages import RunOutcome, RunRecord, RunStatus, RunSubmit
    from basis.runtime.clock import Clock

_COMPONENT: Final = "gateway"
_WHAT: Final = (
    "this gateway only reads results, no services are behind it: start them with 'basis services up' or 'make up', "
    "or run 'basis backtest' in a shell"
)


class NoServices(ConnectionClosedError):
    """What asks over NATS takes it for a server that is away, and its message says how to have one."""

    def __str__(self) -> str:
        return _WHAT


class NoBus(Bus):
    """A bus that is never connected, for what asks whether it is."""

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def start(self) -> None:
        """Nothing to serve."""

    async def stop(self) -> None:
        """Nothing to leave."""

    @property
    def is_connected(self) -> bool:
        """Never."""
        return False

    @property
    def client(self) -> Client:
        """There is none.

        Raises:
            NoServices: always.
        """
        raise NoServices


class NoBacktests(BacktestService):
    """Backtests of a cluster that is not there: it knows no runs and takes none."""

    async def submit(self, prepared: PreparedBacktest) -> RunSubmit:
        """Refused.

        Raises:
            ComponentError: BUS-001.
        """
        del prepared
        _refuse()

    async def status(self, correlation_id: str) -> RunStatus:
        """Unknown here; what is on disk is below ``/results``.

        Raises:
            InputError: RUN-001.
        """
        raise InputError("RUN-001", f"no run {correlation_id!r} here: {_WHAT}", _COMPONENT)

    async def outcome(self, correlation_id: str) -> RunOutcome | None:
        """As :meth:`status`."""
        await self.status(correlation_id)
        return None

    async def record(self, correlation_id: str) -> RunRecord:
        """As :meth:`status`."""
        await self.status(correlation_id)
        raise NoServices

    async def list(self, without: Container[str] = ()) -> Sequence[RunStatus]:
        """None."""
        del without
        return ()

    async def cancel(self, correlation_id: str, reason: str = "") -> RunStatus:
        """Refused.

        Raises:
            ComponentError: BUS-001.
        """
        del correlation_id, reason
        _refuse()

    async def remove(self, correlation_id: str) -> int:
        """Refused: who writes logs is not there.

        Raises:
            ComponentError: BUS-001.
        """
        del correlation_id
        _refuse()


def _refuse() -> NoReturn:
    raise ComponentError("BUS-001", _WHAT, _COMPONENT)


class LastAsked:
    """ASGI wrapper that knows when somebody was last served, for a server that ends when nobody looks.

    Args:
        app: what is wrapped.
        clock: tells the time.
    """

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._at = clock.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        self._at = self._clock.monotonic()
        await self._app(scope, receive, send)

    @property
    def idle_s(self) -> float:
        """Since the last request began, or since the start, seconds."""
        return self._clock.monotonic() - self._at
