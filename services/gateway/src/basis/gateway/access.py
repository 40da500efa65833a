"""Who may ask for what: one rule for every path, before any route is looked at."""

from __future__ import annotations

import ipaddress
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers

from basis.gateway import problems
from basis.gateway.keys import Keyring, Scope
from basis.gateway.limits import RateLimit
from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as AsgiScope

    from basis.runtime.clock import Clock

API: Final = "/api/"
_BASE = "/api/v1"
HEALTH: Final = f"{_BASE}/health"
OPEN: Final = frozenset({HEALTH, *(f"{_BASE}/{name}" for name in ("docs", "openapi.json", "asyncapi.json"))})
"""Below /api, without a key: load balancers ask for health, and the documents tell only what the source code tells.
``/metrics`` and ``/health/detailed`` speak of runs and folders: they need a key that may read."""
_TRADES = (f"{_BASE}/live/",)
"""Below these whatever changes something moves money."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="basis"'}


def needed(method: str, path: str) -> Scope | None:
    """Scope that a request needs; None where it needs no key: what is open, and the dashboard's files."""
    if path in OPEN or not path.startswith(API):
        return None
    if method in _SAFE:
        return Scope.READ
    return Scope.TRADE if path.startswith(_TRADES) else Scope.RUN


class Guard:
    """ASGI wrapper around the app: keys, scopes, rate limits.

    Args:
        app: what is guarded.
        ring: keys; empty = none are asked for.
        limit: of requests.
        clock: for the limit.
    """

    def __init__(self, app: ASGIApp, ring: Keyring, limit: RateLimit, clock: Clock) -> None:
        self._app = app
        self._ring = ring
        self._limit = limit
        self._clock = clock

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: AsgiScope) -> JSONResponse | None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if path == HEALTH:
            return None
        address = f"address {scope['client'][0] if scope.get('client') else ''}"
        wanted = needed(method, path)
        if not self._ring or wanted is None:
            stranger = None if self._ring or wanted is None else _stranger(method, headers)
            if stranger is not None:
                return _refused(path, HTTPStatus.FORBIDDEN, stranger, "AUTH-001")
            return self._slow_down(path, address)
        holder = self._ring.holder(_presented(headers))
        if holder is None:
            what = "no API key that this gateway knows: send one as 'X-API-Key: KEY' or 'Authorization: Bearer KEY'"
            return self._slow_down(path, address) or _refused(
                path, HTTPStatus.UNAUTHORIZED, what, "AUTH-001", _CHALLENGE
            )
        slow = self._slow_down(path, f"key {holder.name}")
        if slow is None and not holder.scope.includes(wanted):
            what = f"the key {holder.name!r} may {holder.scope}; {method} {path} needs the scope {wanted}"
            return _refused(path, HTTPStatus.FORBIDDEN, what, "AUTH-002")
        scope.setdefault("state", {})["key"] = holder
        return slow

    def _slow_down(self, path: str, client: str) -> JSONResponse | None:
        wait = self._limit.wait(client, self._clock.monotonic())
        if not wait:
            return None
        seconds = math.ceil(wait)
        what = f"too many requests of {client}: the next one is served in {seconds} s"
        return _refused(path, HTTPStatus.TOO_MANY_REQUESTS, what, "AUTH-003", {"Retry-After": str(seconds)})


def require(request: Request, wanted: Scope) -> None:
    """For a route that needs more than its path tells: nothing where no keys are asked for.

    Raises:
        ComponentError: AUTH-002, the key may not.
    """
    holder = getattr(request.state, "key", None)
    if holder is not None and not holder.scope.includes(wanted):
        message = f"the key {holder.name!r} may {holder.scope}; this needs the scope {wanted}"
        raise ComponentError("AUTH-002", message, "gateway")


def _presented(headers: Headers) -> str:
    """The key of a request; empty where it has none."""
    given = headers.get("x-api-key")
    if given is not None:
        return given.strip()
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _stranger(method: str, headers: Headers) -> str | None:
    """Without keys every page that a browser of this machine shows could ask: those of other sites are refused.

    A page of another site is told by its Origin; one that made its own name point here (DNS rebinding) by its Host, which
    is then a name with a dot in it.
    """
    host = (urlsplit(f"//{headers.get('host', '')}").hostname or "") if _is_host(headers.get("host", "")) else "?."
    if "." in host and not _is_address(host) and not host.endswith(".localhost"):
        return f"Host {headers.get('host', '')!r:.80}: without API keys only local names and addresses are served"
    origin = headers.get("origin")
    if method not in _SAFE and origin is not None and origin.partition("://")[2] != headers.get("host"):
        return f"Origin {origin!r:.80}: without API keys pages of other sites may not change anything"
    return None


def _is_host(text: str) -> bool:
    try:
        urlsplit(f"//{text}").port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return False
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _refused(path: str, status: int, what: str, code: str, headers: dict[str, str] | None = None) -> JSONResponse:
    problem = problems.document(path, status, what, code)
    return JSONResponse(problem.model_dump(), status, media_type=problems.MEDIA_TYPE, headers=headers)
