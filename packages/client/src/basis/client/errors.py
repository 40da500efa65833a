"""What can go wrong, as exceptions: each answer of the gateway that is an error carries its problem document."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import httpx

    from basis.models.messages import RunStatus


class Problem(NamedTuple):
    """RFC 9457 problem document of the gateway."""

    status: int
    """HTTP status."""
    title: str
    """What the code means."""
    detail: str
    """What was wrong, where, and what would be right."""
    error_code: str | None
    """Code of the error registry, e.g. ``CONFIG-003``."""
    instance: str
    """Path of the request."""
    correlation_id: str | None
    """``X-Correlation-ID`` of the answer: how the gateway's own logs call it."""


class BasisError(Exception):
    """Whatever this client raises on purpose."""

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem
        """What the gateway said; None where it said nothing."""

    @property
    def error_code(self) -> str | None:
        """Code of the error registry."""
        return self.problem.error_code if self.problem else None


class RefusedError(BasisError):
    """Bad input: nothing was started, nothing was written (422, 413)."""


class NotFoundError(BasisError):
    """No such run or path (404)."""


class ConflictError(BasisError):
    """Not now: the run has not ended, or has (409)."""


class DeniedError(BasisError):
    """No key, or one that may not (401, 403)."""


class TooManyRequestsError(BasisError):
    """Slower, please (429)."""

    def __init__(self, message: str, problem: Problem | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, problem)
        self.retry_after_s = retry_after_s
        """When the next request will be served, seconds."""


class UnavailableError(BasisError):
    """The gateway does not answer, or something behind it does not (5xx)."""


class RunFailedError(BasisError):
    """A run ended otherwise than completed."""

    def __init__(self, status: RunStatus) -> None:
        why = f"[{status.error_code}] {status.error}" if status.error_code else status.error or ""
        super().__init__(f"run {status.correlation_id} {status.status}: {why}")
        self.status = status
        """Where it ended."""

    @property
    def error_code(self) -> str | None:
        """Code of the error registry."""
        return self.status.error_code


_KINDS: dict[int, type[BasisError]] = {
    401: DeniedError,
    403: DeniedError,
    404: NotFoundError,
    408: UnavailableError,
    409: ConflictError,
    413: RefusedError,
    422: RefusedError,
}


def error_of(answer: httpx.Response) -> BasisError:
    """The exception of an answer whose body has been read."""
    problem = _problem(answer)
    message = f"[{problem.error_code}] {problem.detail}" if problem.error_code else problem.detail
    if answer.status_code == 429:
        return TooManyRequestsError(message, problem, float(answer.headers.get("retry-after", "1")))
    kind = _KINDS.get(answer.status_code, UnavailableError if answer.status_code >= 500 else BasisError)
    return kind(message, problem)


def _problem(answer: httpx.Response) -> Problem:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    return Problem(
        status=answer.status_code,
        title=str(body.get("title", answer.reason_phrase)),
        detail=str(body.get("detail", f"HTTP {answer.status_code} {answer.reason_phrase}")),
        error_code=body.get("error_code"),
        instance=str(body.get("instance", answer.request.url.path)),
        correlation_id=answer.headers.get("x-correlation-id"),
    )
