"""The key, which signs and which nothing else ever sees; fees, and the replacements that are signed before anything is sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from eth_account import Account
from hexbytes import HexBytes

from basis.models.errors import InputError
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.chain.rpc import COMPONENT

if TYPE_CHECKING:
    from pydantic import SecretStr

    from basis.models.chain_config import FeePolicy

_GWEI = 10**9


class Fees(NamedTuple):
    """EIP-1559 fees of one attempt, wei a unit of gas."""

    highest: int
    """maxFeePerGas."""
    tip: int
    """maxPriorityFeePerGas."""


class Attempt(NamedTuple):
    """One signed transaction; all attempts of an operation share their nonce, so at most one of them is ever mined."""

    digest: str
    """Hash, hex."""
    raw: str
    """Signed, hex; may be broadcast by anyone, any number of times."""
    fees: Fees
    """What it pays at most."""


class Wallet:
    """The account that owns everything.

    Args:
        key: private key, hex.

    Raises:
        InputError: VEN-005, not a private key; does not repeat it.
    """

    def __init__(self, key: SecretStr) -> None:
        text = key.get_secret_value().strip().removeprefix("0x")
        try:
            # the library fills up a key that lacks a digit: another wallet, silently
            self._account = Account.from_key(text if re.fullmatch("[0-9a-fA-F]{64}", text) else "")
        except Exception:  # noqa: BLE001 - what the library raises holds the key
            message = "the wallet's key is not a private key: 64 hexadecimal digits are"
            raise InputError("VEN-005", message, COMPONENT) from None
        self.address: str = self._account.address

    def __repr__(self) -> str:
        return f"Wallet({self.address})"

    def sign(self, fields: dict[str, Any], ladder: tuple[Fees, ...]) -> tuple[Attempt, ...]:
        """The same transaction at rising fees.

        Args:
            fields: chainId, nonce, gas, to, value, data.
            ladder: fees of each attempt.
        """
        attempts = []
        for fees in ladder:
            whole = fields | {"type": 2, "maxFeePerGas": fees.highest, "maxPriorityFeePerGas": fees.tip}
            signed = self._account.sign_transaction(whole)
            raw = HexBytes(signed.raw_transaction).to_0x_hex()
            attempts.append(Attempt(HexBytes(signed.hash).to_0x_hex(), raw, fees))
        return tuple(attempts)


def fee_ladder(base_fee: int, policy: FeePolicy) -> tuple[Fees, ...]:
    """Fees of all attempts, rising, the last at the cap at most.

    Raises:
        VenueRefusal: VEN-013, at the base fee and tip of now even the first attempt would pay more than the cap.
    """
    cap, tip = round(policy.cap_gwei * _GWEI), round(policy.tip_gwei * _GWEI)
    if base_fee + tip > cap:
        message = f"a unit of gas costs {(base_fee + tip) / _GWEI:.3f} gwei, above the cap of {policy.cap_gwei:g} gwei"
        raise VenueRefusal("VEN-013", message, COMPONENT)
    highest = min(round(base_fee * policy.base_fee_factor) + tip, cap)
    ladder = [Fees(highest, tip)]
    for _ in range(policy.bumps):
        # a node takes a replacement only where both fees rise by a tenth
        highest, tip = round(highest * policy.bump_factor), max(round(tip * policy.bump_factor), tip + 1)
        if highest > cap:
            break
        ladder.append(Fees(highest, min(tip, highest)))
    return tuple(ladder)
