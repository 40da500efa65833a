"""Takes secrets out of text that comes from elsewhere: ccxt's errors hold URLs with signatures, and bodies of requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

HIDDEN = "***"
_QUERY = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']*")
_NAMED = re.compile(
    r"(?i)(signature|sign|api[-_]?key|access[-_](?:key|sign|passphrase)|secret|password|passphrase|x-mbx-apikey|authorization)"
    r"([\"']?\s*[=:]\s*[\"']?)[^\s\"'&,}]+"
)
_LONG = re.compile(r"\b(?=[A-Za-z0-9+/=_-]*\d)[A-Za-z0-9+/=_-]{40,}")
"""Anything as long as a key or signature; ids of orders are shorter."""
_MOST = 300


class Scrubber:
    """Knows the secrets of one connection; says none of them.

    Args:
        secrets: what must never be said.
    """

    def __init__(self, secrets: Iterable[SecretStr | None]) -> None:
        self._secrets = sorted({one.get_secret_value() for one in secrets if one is not None}, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"Scrubber({len(self._secrets)} secrets)"

    def __call__(self, text: str) -> str:
        """The text without secrets, queries of URLs, and long tokens; at most 300 characters, on one line."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = _QUERY.sub(rf"\1?{HIDDEN}", text)
        text = _NAMED.sub(rf"\1\2{HIDDEN}", text)
        text = _LONG.sub(HIDDEN, text)
        text = " ".join(text.split())
        return text if len(text) <= _MOST else text[: _MOST - 3] + "..."
