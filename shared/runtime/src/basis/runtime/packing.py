"""Long payloads of the event stream travel as zstd frames: a tenth of the bytes through sockets and server (ADR 0032)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import zstandard

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER: Final = "Content-Encoding"
"""Names the encoding of a payload, as in HTTP; a message without it holds its payload as it is."""
ZSTD: Final = "zstd"
"""RFC 8878."""
LEAST_BYTES: Final = 4096
"""Shorter payloads stay as they are: a person who listens reads them, and little would be won."""
MOST_BYTES: Final = 1024**2
"""More than any payload may be (``subjects.MAX_MESSAGE_BYTES``): a frame that says it holds more is refused unopened."""
_LEVEL: Final = -1  # eight times smaller at 800 MB/s; level 1 would be thirteen times at 600


class _Contexts(threading.local):
    """zstd's own working memory, one a thread: shared by two threads it ends the process."""

    def __init__(self) -> None:
        self.packer = zstandard.ZstdCompressor(level=_LEVEL)
        self.unpacker = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def packed(payload: bytes) -> tuple[bytes, dict[str, str]]:
    """A payload as it travels, and the headers that say so; the same bytes for the same payload."""
    if len(payload) < LEAST_BYTES:
        return payload, {}
    return _contexts.packer.compress(payload), {HEADER: ZSTD}


def unpacked(payload: bytes, headers: Mapping[str, str] | None) -> bytes:
    """A payload as it was.

    Raises:
        ValueError: another encoding, no frame, or more than ``MOST_BYTES``.
    """
    encoding = (headers or {}).get(HEADER)
    if encoding is None:
        return payload
    if encoding != ZSTD:
        raise ValueError(f"{HEADER}: {encoding}: expected {ZSTD}, or none")
    try:
        size = zstandard.frame_content_size(payload)
        if not 0 <= size <= MOST_BYTES:
            raise ValueError(f"a zstd frame of {size} bytes: at most {MOST_BYTES} are accepted")
        return _contexts.unpacker.decompress(payload)
    except zstandard.ZstdError as error:
        raise ValueError(f"no zstd frame: {error}") from None
