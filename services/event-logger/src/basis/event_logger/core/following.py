"""What the sink and the process that follows its files say to each other: JSON lines on two pipes."""

from __future__ import annotations

import msgspec


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """A run begins whose files are all empty."""

    cid: str
    directory: str
    """Of the run."""
    every_tick: tuple[str, ...]
    """Event files that get lines at every tick, relative to it."""


class Appended(msgspec.Struct, frozen=True, tag="appended"):
    """Payloads are at the end of a file now."""

    cid: str
    path: str
    """Relative to the run's directory."""
    sizes: list[int]
    """Bytes of each."""


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """The run ends; the answer is :class:`Followed`."""

    cid: str


class HashWith(msgspec.Struct, frozen=True, tag="hash_with"):
    """The answer is the event hash, a string; asked after :class:`Finish`."""

    cid: str
    later: bytes
    """Canonical text after all events."""


class Forget(msgspec.Struct, frozen=True, tag="forget"):
    """The run is over."""

    cid: str


Command = Begin | Appended | Finish | HashWith | Forget


class FollowedFile(msgspec.Struct, frozen=True):
    """A file as far as it was followed."""

    count: int
    """Lines."""
    size: int
    """Bytes."""
    sha256: str
    duration_ms: float
    """Time that it took."""


class Followed(msgspec.Struct, frozen=True):
    """A run as far as it was followed."""

    files: dict[str, FollowedFile]
    """Path relative to the run's directory -> file."""
    last: int | None
    """Highest order; -1 where there is none, None where the events have to be read again."""


_encoder = msgspec.json.Encoder()
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


def encode(message: Command | Followed | str) -> bytes:
    """A line."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Command:
    """A command.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _commands.decode(line)
