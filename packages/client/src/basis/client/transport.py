"""Requests to the gateway: one connection pool, errors as exceptions, patience where the gateway asks for it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from basis.client.errors import BasisError, TooManyRequestsError, UnavailableError, error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "/api/v1/"
_TRIES = 4
_LONGEST_WAIT_S = 30.0


class Transport:
    """HTTP with the gateway's ways.

    Args:
        url: of the gateway, with or without ``/api/v1``.
        api_key: key of the scope that is needed; None where the gateway asks for none.
        timeout_s: for each request, seconds.
    """

    def __init__(self, url: str, api_key: str | None, timeout_s: float) -> None:
        headers = {} if api_key is None else {"X-API-Key": api_key}
        base = url.rstrip("/").removesuffix("/api/v1") + _PREFIX
        self._http = httpx.Client(base_url=base, headers=headers, timeout=timeout_s)
        self.url = base.removesuffix("/")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """JSON of a path; parameters that are None are left out. Raises as :meth:`ask`."""
        return self.ask("GET", path, params={name: value for name, value in query.items() if value is not None}).json()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; asked again where the gateway says when, and where a question never reached it.

        Raises:
            BasisError: what the gateway answered, or that it does not.
        """
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                if last or method != "GET":
                    raise _silent(self.url, error) from error
                time.sleep(0.1 * 2**attempt)
                continue
            if answer.is_success:
                return answer
            failure = error_of(answer)
            if not isinstance(failure, TooManyRequestsError) or failure.retry_after_s > _LONGEST_WAIT_S or last:
                raise failure
            time.sleep(failure.retry_after_s)  # nothing was done yet: the limit comes before everything else
        raise AssertionError("unreachable")

    @contextmanager
    def stream(self, path: str) -> Iterator[httpx.Response]:
        """An answer that is read piece by piece.

        Raises:
            BasisError: as :meth:`ask`.
        """
        try:
            with self._http.stream("GET", path) as answer:
                if not answer.is_success:
                    answer.read()
                    raise error_of(answer)
                yield answer
        except httpx.TransportError as error:
            raise _silent(self.url, error) from error


def _silent(url: str, error: httpx.TransportError) -> BasisError:
    what = str(error) or type(error).__name__
    return UnavailableError(f"no gateway answers at {url}: {what}; start one with 'basis services up' or 'make up'")
