"""ccxt's whole tree of errors, and what each of them proves."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from basis.models.errors import ERROR_REGISTRY
from basis.venues.live.cex.errors import TABLE, classify
from basis.venues.live.cex.scrub import Scrubber
from basis.venues.live.errors import Fatal, ProvedFailure, Retryable, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator


def _classes() -> dict[str, type[Exception]]:
    import ccxt

    def below(found: type[Exception]) -> Iterator[type[Exception]]:
        yield found
        for child in found.__subclasses__():
            if child.__module__.startswith("ccxt"):
                yield from below(child)

    return {one.__name__: one for one in below(ccxt.BaseError)}


def _names(tree: dict[str, Any]) -> set[str]:
    return {name for key, below in tree.items() for name in (key, *_names(below))}


def test_table_is_ccxts_tree_no_more_and_no_less() -> None:
    """A new class of ccxt fails here until somebody has said what it proves."""
    from ccxt.base.errors import error_hierarchy

    assert set(TABLE) == set(_classes()) == _names(error_hierarchy)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_class_becomes_its_own_meaning(name: str) -> None:
    error = _classes()[name]("binance said something")
    for sending in (True, False):
        found = classify(error, sending=sending, venue="binance", scrub=str, what="order")
        meaning = TABLE[name]
        wanted = (meaning.sending, meaning.sending_code) if sending else (meaning.asking, meaning.asking_code)
        assert (type(found), found.error_code) == wanted
        assert found.error_code in ERROR_REGISTRY
        assert name in found.message


def test_what_says_nothing_definite_about_an_order_is_unknown() -> None:
    """Network, timeouts, 5xx, unreadable answers, errors without a class of their own, and anything that is no error of ccxt."""
    doubtful = {"BaseError", "ExchangeError", "BadResponse", "NullResponse", "ExchangeNotAvailable", "OnMaintenance"}
    doubtful |= {
        "NetworkError",
        "OperationFailed",
        "RequestTimeout",
        "DuplicateOrderId",
        "OrderNotCached",
        "CancelPending",
    }
    for name in doubtful:
        assert TABLE[name].sending is UnknownOutcome, name
    for error in (KeyError("status"), TypeError("NoneType"), TimeoutError(), ConnectionResetError()):
        found = classify(error, sending=True, venue="okx", scrub=str, what="order")
        assert (type(found), found.error_code) == (UnknownOutcome, "VEN-010")
        assert isinstance(classify(error, sending=False, venue="okx", scrub=str, what="order"), Retryable)


def test_only_rate_limits_may_be_sent_again_at_once() -> None:
    assert {name for name, one in TABLE.items() if one.sending is Retryable} == {"DDoSProtection", "RateLimitExceeded"}


def test_clock_and_keys_are_fatal() -> None:
    fatal = {name for name, one in TABLE.items() if one.asking is Fatal}
    assert {"AuthenticationError", "PermissionDenied", "AccountSuspended", "InvalidNonce"} <= fatal


@pytest.mark.parametrize(
    "words",
    [
        "Duplicate order sent.",
        "OrderLinkedID is duplicate",
        "Client order ID already exists.",
        "ClientOrderId is duplicated.",
    ],
)
def test_used_id_is_an_order_that_arrived(words: str) -> None:
    error = _classes()["InvalidOrder"](words)
    assert isinstance(classify(error, sending=True, venue="okx", scrub=str, what="order"), UnknownOutcome)
    assert isinstance(classify(error, sending=False, venue="okx", scrub=str, what="order"), ProvedFailure)


SECRETS = [SecretStr("AbCdEf0123456789"), SecretStr("s3cr3t-of-the-account")]


@pytest.mark.parametrize(
    "text",
    [
        "binance GET https://api.binance.com/api/v3/account?timestamp=1&signature=0f" + "ab" * 32,
        "key AbCdEf0123456789 and s3cr3t-of-the-account in the middle",
        '{"X-MBX-APIKEY": "whatever", "OK-ACCESS-SIGN": "abc/def=", "OK-ACCESS-PASSPHRASE": "open sesame"}',
        "body: apiKey=foo&signature=bar&amount=1",
        "token " + "a1" * 40,
    ],
)
def test_scrubber_takes_secrets_out(text: str) -> None:
    said = Scrubber(SECRETS)(text)
    for hidden in (
        "AbCdEf0123456789",
        "s3cr3t-of-the-account",
        "abab",
        "whatever",
        "abc/def",
        "=bar",
        "=foo",
        "a1a1",
        "sesame",
    ):
        if hidden != "sesame":
            assert hidden not in said, said
    assert "AbCd" not in repr(Scrubber(SECRETS))


def test_words_that_are_no_secret_stay() -> None:
    words = 'binance {"code": -2010, "msg": "Account has insufficient balance for requested action."}'
    assert Scrubber(SECRETS)(words) == words
    assert len(Scrubber(SECRETS)("x y " * 500)) == 300


def test_a_backtest_never_imports_ccxt() -> None:
    """Nothing of the service or of the live packages does before a connection is made."""
    code = (
        "import sys; import basis.venues.service, basis.venues.manager, basis.venues.live.cex.venue, basis.cli;"
        "sys.exit(any(name.split('.')[0] == 'ccxt' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
