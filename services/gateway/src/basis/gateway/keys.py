"""API keys: how one is made, what of it is kept, and whose a presented one is. Pure but for the making.

A key is ``basis_`` and 256 random bits. What is kept is its SHA-256: a slow, salted hash protects secrets that people
choose and attackers can guess, and nobody guesses 256 bits; it would only make every request slow.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from basis.models.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.runtime.settings import Settings

PREFIX: Final = "basis_"
_RANDOM_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_FORM = "expected 'NAME SCOPE sha256:HEX', as 'basis keys new' prints it"


class Scope(StrEnum):
    """What a key may do; each includes those before it."""

    READ = "read"
    """Look at runs, modes, results."""
    RUN = "run"
    """Submit, cancel and delete backtests, move their capital."""
    TRADE = "trade"
    """Act on live runs."""

    def includes(self, other: Scope) -> bool:
        """True where a key of this scope may do what the other allows."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


class ApiKey(NamedTuple):
    """What is known of a key: not the key itself."""

    name: str
    """Whose it is; in logs, and what its rate limit goes by."""
    scope: Scope
    """What it may do."""
    digest: bytes
    """SHA-256 of the key, 32 bytes."""

    def line(self) -> str:
        """Line of a key file."""
        return f"{self.name} {self.scope} sha256:{self.digest.hex()}"


class Keyring:
    """The keys that a gateway accepts.

    Args:
        keys: none = no key is asked for.
    """

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        self.keys = tuple(keys)

    def __bool__(self) -> bool:
        return bool(self.keys)

    def holder(self, presented: str) -> ApiKey | None:
        """Whose key it is; every key is compared, in constant time, so that time tells nothing."""
        digest = digest_of(presented)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def digest_of(key: str) -> bytes:
    """SHA-256 of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def make(name: str, scope: Scope) -> tuple[str, ApiKey]:
    """A new key, and what is to be kept of it.

    Raises:
        InputError: CONFIG-003, the name has characters that a line cannot hold.
    """
    if not _NAME.fullmatch(name):
        message = f"key name {name!r}: expected 1 to 64 letters, digits, '.', '_' or '-'"
        raise InputError("CONFIG-003", message, "keys")
    key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return key, ApiKey(name, scope, digest_of(key))


def load(settings: Settings) -> Keyring:
    """Keys of ``BASIS_API_KEYS_FILE`` and ``BASIS_API_KEYS``.

    Raises:
        InputError: CONFIG-003, a line that is no key, or the same name or key twice; CONFIG-002, a file that is not there
            or holds none.
    """
    sources: list[tuple[str, str]] = []
    if settings.api_keys_file is not None:
        try:
            sources.append((str(settings.api_keys_file), settings.api_keys_file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            message = f"BASIS_API_KEYS_FILE: cannot read {settings.api_keys_file}: {error}"
            raise InputError("CONFIG-002", message, "keys") from error
    if settings.api_keys:
        sources.append(("BASIS_API_KEYS", settings.api_keys.replace(";", "\n")))
    found: list[ApiKey] = []
    for where, text in sources:
        before = len(found)
        found += parse(text, where)
        if len(found) == before:
            raise InputError("CONFIG-002", f"{where} holds no key: make one with 'basis keys new'", "keys")
    seen: set[str | bytes] = set()
    for key in found:
        if key.name in seen or key.digest in seen:
            raise InputError("CONFIG-003", f"API keys: {key.name!r}, or its key, is there twice", "keys")
        seen |= {key.name, key.digest}
    return Keyring(found)


def is_loopback(host: str) -> bool:
    """True for an address that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def required(settings: Settings) -> Keyring:
    """Keys that a gateway of these settings asks for; empty where it asks for none.

    Raises:
        InputError: CONFIG-002, it would serve strangers without keys; as :func:`load`.
    """
    found = load(settings)
    if not found and not is_loopback(settings.gateway_host) and not settings.gateway_open:
        message = (
            f"the gateway would listen on {settings.gateway_host} without API keys: make one with 'basis keys new' and name "
            "its file in BASIS_API_KEYS_FILE, or bind to 127.0.0.1; BASIS_GATEWAY_OPEN=true only where strangers are "
            "kept out otherwise"
        )
        raise InputError("CONFIG-002", message, "gateway")
    return found


def parse(text: str, where: str) -> list[ApiKey]:
    """Keys of a file; ``#`` begins a comment.

    Raises:
        InputError: CONFIG-003, names the line, and never what it holds: it may be a key by mistake.
    """
    found = []
    for number, raw in enumerate(text.splitlines(), start=1):
        words = raw.split("#")[0].split()
        if not words:
            continue
        digest = _DIGEST.fullmatch(words[2]) if len(words) == 3 else None
        if digest is None or not _NAME.fullmatch(words[0]) or words[1] not in list(Scope):
            raise InputError("CONFIG-003", f"{where}, line {number}: {_FORM}", "keys")
        found.append(ApiKey(words[0], Scope(words[1]), bytes.fromhex(digest[1])))
    return found
