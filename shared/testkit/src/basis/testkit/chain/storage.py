"""Aave accounts written straight into storage: any scaled balance, debt and index, without the transactions that lead to them.

Slots are found by trying: a value is written, and the contract's own view function says whether it is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eth_abi.abi import encode
from eth_utils.crypto import keccak

if TYPE_CHECKING:
    from collections.abc import Callable

    from basis.testkit.chain.node import Node
    from basis.testkit.chain.world import World

_PROBE = 123_456_789
_SLOTS = 120
_LOW = 2**128


class AaveStorage:
    """Writes accounts of the market of a world; leaves the chain as it was when made.

    Args:
        world: the chain.
    """

    def __init__(self, world: World) -> None:
        self._world, self._node = world, world.node
        anyone, asset = world.node.accounts[9], world.tokens["WETH"].address
        a_token, debt, pool = world.a_token("WETH"), world.debt_token("WETH"), world.aave.pool
        kept = self._node.rpc("evm_snapshot")
        self._balances = self._find(a_token.address, anyone, 0, lambda: a_token.call("scaledBalanceOf", anyone))
        self._debts = self._find(debt.address, anyone, 0, lambda: debt.call("scaledBalanceOf", anyone))
        self._users = self._find(pool.address, anyone, 0, lambda: pool.call("getUserConfiguration", anyone)[0])
        self._reserves = self._find(pool.address, asset, 1, lambda: world.aave.reserve(asset)["liquidityIndex"])
        self._node.rpc("evm_revert", kept)

    def set_indices(self, token: str, liquidity: int, borrow: int) -> None:
        """Indices of a reserve, rays; its interest rates stay."""
        asset = self._world.tokens[token].address
        place = _slot(asset, self._reserves)
        for offset, index in ((1, liquidity), (2, borrow)):
            old = int(
                self._node.rpc("eth_getStorageAt", self._world.aave.pool.address, hex(place + offset), "latest"), 16
            )
            self._write(self._world.aave.pool.address, place + offset, old // _LOW * _LOW + index)

    def set_account(self, holder: str, supplied: dict[str, int], owed: dict[str, int]) -> None:
        """Scaled balances and debts of an account, and nothing else on Aave; everything supplied is collateral."""
        bits = 0
        for token in ("USDT", "WETH", "weETH", "wstETH"):
            reserve = self._world.aave.reserve(self._world.tokens[token].address)
            for amounts, slot, address, bit, index in (
                (supplied, self._balances, reserve["aTokenAddress"], 1, reserve["liquidityIndex"]),
                (owed, self._debts, reserve["variableDebtTokenAddress"], 0, reserve["variableBorrowIndex"]),
            ):
                amount = amounts.get(token, 0)
                self._write(address, _slot(holder, slot), index * _LOW + amount if amount else 0)
                if amount:
                    bits |= 1 << (2 * reserve["id"] + bit)
        self._write(self._world.aave.pool.address, _slot(holder, self._users), bits)

    def _find(self, contract: str, key: str, offset: int, read: Callable[[], int]) -> int:
        for slot in range(_SLOTS):
            place = _slot(key, slot) + offset
            old = self._node.rpc("eth_getStorageAt", contract, hex(place), "latest")
            self._write(contract, place, _PROBE)
            if read() == _PROBE:
                return slot
            self._write(contract, place, int(old, 16))
        raise LookupError(f"no mapping by {key} in the first {_SLOTS} slots of {contract}")

    def _write(self, contract: str, place: int, value: int) -> None:
        write(self._node, contract, place, value)


def write(node: Node, contract: str, place: int, value: int) -> None:
    """One word of a contract's storage."""
    node.rpc("anvil_setStorageAt", contract, f"0x{place:064x}", f"0x{value:064x}")


def _slot(key: str, mapping: int) -> int:
    return int.from_bytes(keccak(encode(["address", "uint256"], [key, mapping])), "big")
