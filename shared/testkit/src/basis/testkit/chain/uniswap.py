"""Uniswap v3: factory, router, quoter, and pools with liquidity over the whole range, as deep as a test wants them."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from basis.testkit.chain.aave import ZERO

if TYPE_CHECKING:
    from basis.testkit.chain.install import Installation
    from basis.testkit.chain.node import Contract, Node

_CORE = "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"
_PERIPHERY = "@uniswap/v3-periphery/artifacts/contracts/"
_ROUTERS = "@uniswap/swap-router-contracts/artifacts/contracts/"
_SPACING = {100: 1, 500: 10, 3000: 60}
"""Fee of a pool, hundredths of a basis point -> tick spacing."""
_LAST_TICK = 887_272
MAX = 2**256 - 1


class Uniswap:
    """The exchange.

    Args:
        node: the chain.
        made: where the contracts are.
        weth: WETH9.
    """

    def __init__(self, node: Node, made: Installation, weth: Contract) -> None:
        self._node = node
        self.factory = node.deploy(made.npm(_CORE))
        factory = self.factory.address
        manager = made.npm(_PERIPHERY + "NonfungiblePositionManager.sol/NonfungiblePositionManager.json")
        self._manager = node.deploy(manager, factory, weth.address, ZERO)
        router = made.npm(_ROUTERS + "SwapRouter02.sol/SwapRouter02.json")
        self.router = node.deploy(router, ZERO, factory, self._manager.address, weth.address)
        quoter = made.npm(_PERIPHERY + "lens/QuoterV2.sol/QuoterV2.json")
        self.quoter = node.deploy(quoter, factory, weth.address)
        self.factory.send("enableFeeAmount", 100, 1)

    def open_pool(self, one: Contract, other: Contract, fee: int, amounts: tuple[int, int]) -> None:
        """A pool whose price is the ratio of the amounts, filled with them by the first account of the node."""
        owner = self._node.accounts[0]
        pairs = sorted(zip((one, other), amounts, strict=True), key=lambda pair: int(pair[0].address, 16))
        (first, units0), (second, units1) = pairs
        root = isqrt((units1 << 192) // units0)
        for token in (first, second):
            if token.call("allowance", owner, self._manager.address) == 0:
                token.send("approve", self._manager.address, MAX)
        self._manager.send("createAndInitializePoolIfNecessary", first.address, second.address, fee, root)
        edge = _LAST_TICK // _SPACING[fee] * _SPACING[fee]
        put = (first.address, second.address, fee, -edge, edge, units0, units1, 0, 0, owner, 2**40)
        self._manager.send("mint", put)
