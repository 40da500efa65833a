"""Errors as RFC 9457 problem documents: one shape for all of them, with the code of the error registry."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from nats.errors import Error as NatsError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from basis.models.errors import ERROR_REGISTRY, ComponentError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI, Request

MEDIA_TYPE: Final = "application/problem+json"
_UNAVAILABLE: Final = frozenset({"BUS-001", "BUS-002", "VEN-002", "VEN-003", "VEN-006"})
"""What the request needs does not answer."""
_MOST_FAULTS = 5
_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """RFC 9457 problem document."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:basis:error:CONFIG-001",
                    "title": "unknown mode",
                    "status": 422,
                    "detail": "unknown mode 'pure_lending_usd': did you mean 'pure_lending_usdt'?",
                    "instance": "/api/v1/backtest/",
                    "error_code": "CONFIG-001",
                }
            ]
        },
    )

    type: str
    """``urn:basis:error:<error_code>``; ``about:blank`` where the HTTP status says it all."""
    title: str
    """What the code means."""
    status: int = Field(ge=400, le=599)
    """HTTP status."""
    detail: str
    """What was wrong, where, and what would be right."""
    instance: str
    """Path of the request."""
    error_code: str | None
    """Code of the error registry, null where none applies."""


class NotEnded(Exception):
    """The result of a run was asked for before its end."""


_STATUSES: Final = {
    "RUN-001": HTTPStatus.NOT_FOUND,
    "RUN-002": HTTPStatus.CONFLICT,
    "RUN-003": HTTPStatus.CONFLICT,
    "RUN-004": HTTPStatus.CONFLICT,
    "LOG-004": HTTPStatus.CONFLICT,  # what is on disk contradicts itself: asking again will not help
    "VEN-005": HTTPStatus.UNPROCESSABLE_ENTITY,  # this deployment has no access to the venue: another request may do
    "AUTH-001": HTTPStatus.UNAUTHORIZED,
    "AUTH-002": HTTPStatus.FORBIDDEN,
    "AUTH-003": HTTPStatus.TOO_MANY_REQUESTS,
}


def status_of(error: ComponentError) -> int:
    """HTTP status of an error."""
    if error.error_code in _STATUSES:
        return _STATUSES[error.error_code]
    if isinstance(error, InputError):
        return HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.SERVICE_UNAVAILABLE if error.error_code in _UNAVAILABLE else HTTPStatus.INTERNAL_SERVER_ERROR


def document(path: str, status: int, detail: str, error_code: str | None = None) -> Problem:
    """Problem document for a path."""
    if error_code is None:
        return Problem(
            type="about:blank",
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            instance=path,
            error_code=None,
        )
    return Problem(
        type=f"urn:basis:error:{error_code}",
        title=ERROR_REGISTRY[error_code],
        status=status,
        detail=detail,
        instance=path,
        error_code=error_code,
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the errors of an operation."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Let every error of an app end as a problem document."""
    app.add_exception_handler(ComponentError, _component_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(NotEnded, _not_ended)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(NatsError, _bus_error)
    app.add_exception_handler(TimeoutError, _bus_error)
    app.add_exception_handler(Exception, _unexpected)


def _answer(
    request: Request, status: int, detail: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    problem = document(request.url.path, status, detail, code)
    return JSONResponse(problem.model_dump(), status, media_type=MEDIA_TYPE, headers=headers)


async def _component_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ComponentError)
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    return _answer(request, status, error.message, error.error_code)


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, _in_words(error.errors()), "CONFIG-003")


def _in_words(faults: Sequence[Mapping[str, Any]]) -> str:
    words = [_fault(fault) for fault in faults[:_MOST_FAULTS]]
    more = f" (and {len(faults) - _MOST_FAULTS} more)" if len(faults) > _MOST_FAULTS else ""
    return "; ".join(words) + more


def _fault(fault: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "json_invalid":
        return f"{where}: not JSON: {fault['ctx']['error']}"
    shown = "" if fault["type"] in {"missing", "extra_forbidden"} else f", got {fault['input']!r:.80}"
    return f"{where}: {fault['msg']}{shown}"


async def _not_ended(request: Request, error: Exception) -> JSONResponse:
    return _answer(request, HTTPStatus.CONFLICT, str(error))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = "CONFIG-003" if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
    return _answer(request, error.status_code, str(error.detail), code, error.headers)


async def _bus_error(request: Request, error: Exception) -> JSONResponse:
    detail = f"NATS does not answer: {error or type(error).__name__}"
    _log.error("%s %s: %s", request.method, request.url.path, detail)
    return _answer(request, HTTPStatus.SERVICE_UNAVAILABLE, detail, "BUS-001")


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    # the server logs the trace; the client learns no more than the kind of the error
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, f"unexpected {type(error).__name__}", "EXEC-004")
