"""What the face of an exchange is: how its HTTP looks."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from basis.testkit.exchange.accounts import Refused

Params = dict[str, str]


class Credentials(NamedTuple):
    """Keys of the one account."""

    key: str = "local-key"
    secret: str = "local-secret-that-must-never-be-logged"
    password: str = "local-passphrase-that-must-never-be-logged"


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    query: str
    """As it came, not decoded."""
    body: str
    headers: Mapping[str, str]
    params: dict[str, Any]
    """Query and body, decoded."""


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    body: Any
    headers: Mapping[str, str] = {}


class Route(NamedTuple):
    """One path."""

    operation: str
    """What faults and counts call it: order.create, order.get, trades, balance, ..."""
    signed: bool
    answer: Callable[[dict[str, Any]], Any]
    weight: int = 1


class Face(Protocol):
    """One exchange's HTTP."""

    @property
    def routes(self) -> Mapping[tuple[str, str], Route]:
        """(method, path) -> what answers."""
        ...

    def authenticate(self, request: Request, credentials: Credentials) -> None:
        """Check key, signature and time.

        Raises:
            Refused: KEY, SIGNATURE, CLOCK.
        """
        ...

    def answer(self, value: Any) -> Answer:
        """Wrap what a route gave."""
        ...

    def refuse(self, refused: Refused, request: Request) -> Answer:
        """Say no in the exchange's words."""
        ...


def text(number: Decimal) -> str:
    """A number as exchanges write it: no exponent, at most 18 decimals."""
    if -int(number.as_tuple().exponent) > 18:
        number = round(number, 18)
    return format(number.normalize(), "f") if number else "0"
