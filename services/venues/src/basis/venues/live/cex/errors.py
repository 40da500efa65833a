"""Every error class of ccxt, and what it proves: the table of ``docs/specs/live_cex.md``.

Two questions, two columns. *Sending*: an order or withdrawal was asked for. Only an answer in which the exchange says no
proves that it did not happen; whatever else went wrong, it may have. *Asking*: the question changes nothing, so it may be
repeated, unless no repetition can help.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from basis.venues.live.errors import Fatal, LiveVenueError, ProvedFailure, Retryable, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Meaning(NamedTuple):
    """What an error class means."""

    sending: type[LiveVenueError]
    """When something was asked for."""
    sending_code: str
    """Code of the registry."""
    asking: type[LiveVenueError]
    """When nothing would have changed."""
    asking_code: str
    """Code of the registry."""


_UNKNOWN = Meaning(UnknownOutcome, "VEN-010", Retryable, "VEN-003")
_TIMEOUT = Meaning(UnknownOutcome, "VEN-010", Retryable, "VEN-002")
_RATE = Meaning(Retryable, "VEN-006", Retryable, "VEN-006")
_KEYS = Meaning(Fatal, "VEN-005", Fatal, "VEN-005")
_CLOCK = Meaning(Fatal, "VEN-011", Fatal, "VEN-011")
_CLOSED = Meaning(ProvedFailure, "VEN-003", ProvedFailure, "VEN-003")


def _refused(code: str) -> Meaning:
    return Meaning(ProvedFailure, code, ProvedFailure, code)


TABLE: Mapping[str, Meaning] = MappingProxyType(
    {
        "BaseError": _UNKNOWN,
        "ExchangeError": _UNKNOWN,  # an error that ccxt knows no class for: no proof
        "AuthenticationError": _KEYS,
        "PermissionDenied": _KEYS,
        "AccountNotEnabled": _KEYS,
        "AccountSuspended": _KEYS,
        "ArgumentsRequired": _refused("VEN-009"),
        "BadRequest": _refused("VEN-009"),
        "BadSymbol": _refused("VEN-001"),
        "OperationRejected": _refused("VEN-009"),
        "NoChange": _refused("VEN-009"),
        "MarginModeAlreadySet": _refused("VEN-009"),
        "MarketClosed": _CLOSED,
        "ManualInteractionNeeded": _KEYS,
        "RestrictedLocation": _KEYS,
        "InsufficientFunds": _refused("VEN-008"),
        "InvalidAddress": _refused("VEN-009"),
        "AddressPending": Meaning(ProvedFailure, "VEN-009", Retryable, "VEN-003"),
        "InvalidOrder": _refused("VEN-009"),
        "OrderNotFound": _refused("VEN-014"),
        "OrderNotCached": _UNKNOWN,  # ccxt's own memory proves nothing
        "OrderImmediatelyFillable": _refused("VEN-009"),
        "OrderNotFillable": _refused("VEN-009"),
        "DuplicateOrderId": _UNKNOWN,  # it is there already: ask what became of it
        "ContractUnavailable": _refused("VEN-001"),
        "NotSupported": _refused("VEN-001"),
        "InvalidProxySettings": Meaning(Fatal, "VEN-003", Fatal, "VEN-003"),
        "ExchangeClosedByUser": _UNKNOWN,
        "OperationFailed": _UNKNOWN,
        "NetworkError": _UNKNOWN,
        "DDoSProtection": _RATE,
        "RateLimitExceeded": _RATE,
        "ExchangeNotAvailable": _UNKNOWN,
        "OnMaintenance": _UNKNOWN,
        "InvalidNonce": _CLOCK,
        "ChecksumError": _UNKNOWN,
        "RequestTimeout": _TIMEOUT,
        "BadResponse": _UNKNOWN,
        "NullResponse": _UNKNOWN,
        "CancelPending": _UNKNOWN,
        "UnsubscribeError": _UNKNOWN,
    }
)
"""Name of a ccxt class -> what it means; a class that is missing here fails a test."""

_DUPLICATE = re.compile(r"duplicat|already exist|id already used", re.IGNORECASE)
"""An id that is used says that the order arrived before, whatever class ccxt gives it."""


def classify(
    error: BaseException, *, sending: bool, venue: str, scrub: Callable[[str], str], what: str
) -> LiveVenueError:
    """An error of ccxt, of the network or of parsing, as one of ours.

    Args:
        error: what was raised.
        sending: True where an order or a withdrawal was asked for.
        venue: name of the venue.
        scrub: takes secrets out of text.
        what: what was asked, for the message.
    """
    names = [one.__name__ for one in type(error).__mro__]
    meaning = next((TABLE[name] for name in names if name in TABLE), _UNKNOWN)
    words = scrub(str(error)) or names[0]
    if sending and meaning.sending is ProvedFailure and _DUPLICATE.search(words):
        meaning = TABLE["DuplicateOrderId"]
    kind, code = (meaning.sending, meaning.sending_code) if sending else (meaning.asking, meaning.asking_code)
    return kind(code, f"{what}: {names[0]}: {words}", venue)
