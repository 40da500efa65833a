"""Client order ids: what an order is found by at an exchange, made from its operation_id alone. Pure.

The strictest exchange is OKX: at most 32 letters and digits. An id is a letter and 31 characters of the base-32 SHA-256 of
the operation_id: 155 bits, so that two of 2**60 orders meet with a probability below 2**-35, and nobody can read the strategy
out of it. The letter says what it is for, so that a process that has lost its memory knows its own orders.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

Purpose = Literal["order", "take_profit", "stop_loss", "withdrawal"]
_LETTERS: dict[Purpose, str] = {"order": "b", "take_profit": "t", "stop_loss": "s", "withdrawal": "w"}
LENGTH = 32
"""Characters of an id."""


def client_order_id(operation_id: str, purpose: Purpose = "order") -> str:
    """Id of an operation's order, of its take profit or stop loss, or of its withdrawal."""
    digest = hashlib.sha256(operation_id.encode()).digest()
    return _LETTERS[purpose] + base64.b32encode(digest).decode().lower()[: LENGTH - 1]


def purpose_of(client_id: str | None) -> Purpose | None:
    """What an id of ours is for; None where it is not ours."""
    if client_id is None or len(client_id) != LENGTH or not client_id.isalnum() or client_id != client_id.lower():
        return None
    return next((purpose for purpose, letter in _LETTERS.items() if client_id[0] == letter), None)
