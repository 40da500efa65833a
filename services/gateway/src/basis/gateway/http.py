"""What holds for every request: a correlation id on each answer, bounds on each body, strict JSON."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
from fastapi import Path, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

from basis.gateway import problems
from basis.runtime.clock import new_correlation_id

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER_CORRELATION_ID: Final = "X-Correlation-ID"
MAX_BODY_BYTES: Final = 1_000_000
_CID = re.compile("[0-9a-f]{32}")
_TOO_LARGE = f"the body is larger than {MAX_BODY_BYTES} bytes"
_PATIENCE_S = 15.0


class Envelope:
    """ASGI wrapper around the whole app, so that even an unexpected error's answer carries its correlation id.

    The id is the run's where the request is about a run, else the client's own (32 lower-case hex), else a fresh one.

    Args:
        app: what is wrapped.
        patience_s: for the whole body of a request, seconds.
    """

    def __init__(self, app: ASGIApp, patience_s: float = _PATIENCE_S) -> None:
        self._app = app
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = headers.get(HEADER_CORRELATION_ID, "")
        state = scope.setdefault("state", {})
        state["correlation_id"] = asked if _CID.fullmatch(asked) else new_correlation_id()

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER_CORRELATION_ID] = state["correlation_id"]
            await send(message)

        if _announced_length(headers) > MAX_BODY_BYTES:
            problem = problems.document(scope["path"], 413, _TOO_LARGE, "CONFIG-003")
            # no "Connection: close": closing on a client that still sends would cost it this answer; uvicorn reads on
            # and drops what comes
            answer = JSONResponse(problem.model_dump(), 413, media_type=problems.MEDIA_TYPE)
            await answer(scope, receive, stamped)
            return
        await self._app(scope, _bounded(receive, self._patience_s), stamped)


def _announced_length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0


def _bounded(receive: Receive, patience_s: float) -> Receive:
    """Count a body that comes without a length, and do not wait for ever for the rest of one."""
    received, whole = 0, False
    deadline: float | None = None

    async def counted() -> Message:
        nonlocal received, whole, deadline
        if whole:
            return await receive()  # what follows is the end of the connection: it may take its time
        deadline = deadline or asyncio.get_running_loop().time() + patience_s
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408, f"the body did not come within {patience_s:g} s") from error
        whole = not message.get("more_body", False)
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return counted


class _StrictRequest(Request):
    """JSON by the RFC: no NaN, no Infinity, no lone surrogates, bounded depth."""

    async def json(self) -> Any:
        """The body as JSON; a json.JSONDecodeError where it is none."""
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """Route that reads bodies strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handler of the route."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


def run_id(
    request: Request,
    correlation_id: Annotated[
        str,
        Path(
            pattern=r"^[0-9a-f]{32}$",
            description="correlation_id of the run, 32 lower-case hex digits",
            examples=["4f0c7a9e5d2b4c1e8a6f3b2d1c0e9f8a"],
        ),
    ],
) -> str:
    """Dependency: the run of the path, checked before it reaches a subject, a key or a path."""
    request.state.correlation_id = correlation_id
    return correlation_id
