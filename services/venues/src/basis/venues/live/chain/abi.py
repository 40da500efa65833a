"""Calls and events of the contracts that we use, by their signatures in the public interfaces. Encoding is eth-abi's."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple

from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

_STEP = "(uint256,address,address,address,uint256,uint256,uint256)"


@cache
def _hashed(signature: str) -> bytes:
    return keccak(text=signature)


class Function(NamedTuple):
    """A function of a contract."""

    name: str
    """As in the source."""
    takes: tuple[str, ...]
    """Types of its arguments."""
    gives: tuple[str, ...]
    """Types of its answer."""

    @property
    def selector(self) -> bytes:
        """First four bytes of a call."""
        return _hashed(f"{self.name}({','.join(self.takes)})")[:4]

    def data(self, *args: object) -> str:
        """Call data, hex."""
        return "0x" + (self.selector + encode(self.takes, args)).hex()

    def read(self, answer: bytes) -> Any:
        """The answer: a value, or a tuple of several."""
        values = decode(self.gives, answer)
        return values[0] if len(values) == 1 else values


class Event(NamedTuple):
    """An event of a contract."""

    name: str
    """As in the source."""
    indexed: tuple[str, ...]
    """Types of what is in topics."""
    plain: tuple[str, ...]
    """Types of what is in the data; indexed arguments come first in every signature here."""

    @property
    def topic(self) -> bytes:
        """Its first topic."""
        return _hashed(f"{self.name}({','.join((*self.indexed, *self.plain))})")

    def read(self, topics: list[bytes], data: bytes) -> tuple[Any, ...]:
        """Arguments in the order of the signature."""
        head = [decode([kind], bytes(topic))[0] for kind, topic in zip(self.indexed, topics[1:], strict=True)]
        return (*head, *decode(self.plain, bytes(data)))


def _types(text: str) -> tuple[str, ...]:
    found, depth, piece = [], 0, ""
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            found.append(piece)
            piece = ""
        else:
            piece += sign
    return tuple(one for one in (*found, piece) if one)


def function(signature: str) -> Function:
    """``name(takes)->gives``."""
    match = re.fullmatch(r"(\w+)\((.*)\)->(.*)", signature)
    assert match is not None, signature
    return Function(match[1], _types(match[2]), _types(match[3]))


def event(name: str, indexed: str, plain: str) -> Event:
    """An event by name and types."""
    return Event(name, _types(indexed), _types(plain))


BALANCE_OF = function("balanceOf(address)->uint256")
ALLOWANCE = function("allowance(address,address)->uint256")
APPROVE = function("approve(address,uint256)->bool")
TRANSFER = function("transfer(address,uint256)->bool")
SCALED_BALANCE_OF = function("scaledBalanceOf(address)->uint256")
SCALED_TOTAL = function("scaledTotalSupply()->uint256")
APPROVE_DELEGATION = function("approveDelegation(address,uint256)->")
BORROW_ALLOWANCE = function("borrowAllowance(address,address)->uint256")
ACCOUNT_DATA = function("getUserAccountData(address)->uint256,uint256,uint256,uint256,uint256,uint256")
NORMALIZED_INCOME = function("getReserveNormalizedIncome(address)->uint256")
NORMALIZED_DEBT = function("getReserveNormalizedVariableDebt(address)->uint256")
# ReserveDataLegacy of v3.2 and later, the same layout as v3.0's
RESERVE_DATA = function(
    "getReserveData(address)->uint256,uint128,uint128,uint128,uint128,uint128,uint40,uint16,address,address,address,"
    "address,uint128,uint128,uint128"
)
USER_EMODE = function("getUserEMode(address)->uint256")
SET_EMODE = function("setUserEMode(uint8)->")
FLASH_PREMIUM = function("FLASHLOAN_PREMIUM_TOTAL()->uint128")
ASSET_PRICE = function("getAssetPrice(address)->uint256")
LATEST_ROUND = function("latestRoundData()->uint80,int256,uint256,uint256,uint80")
STETH_PER_TOKEN = function("stEthPerToken()->uint256")
GET_RATE = function("getRate()->uint256")
QUOTE = function("quoteExactInputSingle((address,address,uint256,uint24,uint160))->uint256,uint160,uint32,uint256")
GET_POOL = function("getPool(address,address,uint24)->address")
SLOT0 = function("slot0()->uint160,int24,uint16,uint16,uint16,uint8,bool")
EXECUTE = function(f"execute({_STEP}[],address[],uint256,uint256)->uint256")
ALLOW = function("allow(uint256,address[],bool)->")
ALLOWED = function("allowed(uint256,address)->bool")
OWNER = function("OWNER()->address")
POOL = function("POOL()->address")
LIDO_REQUESTS = function("getWithdrawalRequests(address)->uint256[]")
LIDO_STATUS = function("getWithdrawalStatus(uint256[])->(uint256,uint256,address,uint256,bool,bool)[]")
LIDO_CLAIM = function("claimWithdrawal(uint256)->")
ETHERFI_FINALIZED = function("isFinalized(uint256)->bool")
ETHERFI_CLAIM = function("claimWithdraw(uint256)->")
ETHERFI_REQUEST = function("getRequest(uint256)->uint96,uint96,bool,uint32")

TRANSFERRED = event("Transfer", "address,address", "uint256")
DEPOSITED = event("Deposit", "address", "uint256")
WITHDRAWN = event("Withdrawal", "address", "uint256")
SCALED_MINT = event("Mint", "address,address", "uint256,uint256,uint256")
SCALED_BURN = event("Burn", "address,address", "uint256,uint256,uint256")
LIQUIDATED = event("LiquidationCall", "address,address,address", "uint256,uint256,address,bool")
BEGAN = event("Began", "", "uint256")
DONE = event("Done", "", "uint256,uint256,uint256,uint256")
LIDO_REQUESTED = event("WithdrawalRequested", "uint256,address,address", "uint256,uint256")
LIDO_CLAIMED = event("WithdrawalClaimed", "uint256,address,address", "uint256")
ETHERFI_REQUESTED = event("WithdrawRequestCreated", "uint32", "uint112,uint96,address,uint256")
ETHERFI_CLAIMED = event("WithdrawRequestClaimed", "uint32", "uint112,uint96,address,uint256")


def same(one: str, other: str) -> bool:
    """True for one address in two spellings."""
    return one.lower() == other.lower()


def checksummed(address: str, what: str) -> str:
    """An address in its EIP-55 spelling.

    Raises:
        ValueError: it is spelt in mixed case and the checksum is wrong: a digit was mistyped; names what it is.
    """
    right = to_checksum_address(address)
    if address not in {right, address.lower()}:
        raise ValueError(f"{what}: {address} is not an address by EIP-55 (did you mean {right}?)")
    return right
