"""The whole test chain: tokens, Aave, stakers, Uniswap, a flash lender, with liquidity, at round prices; and what moves it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from basis.models.venue_config import AaveConfig, AaveReserveConfig
from basis.testkit.chain.aave import WAD, Aave
from basis.testkit.chain.node import Contract, Node
from basis.testkit.chain.uniswap import MAX, Uniswap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from basis.testkit.chain.install import Installation

ETH_USD = 3000.0
RATES = {"weETH": 1.04, "wstETH": 1.16}
"""LST -> ETH per unit at the start."""
EMODE_TERMS = AaveReserveConfig(ltv=0.93, liquidation_threshold=0.95, liquidation_bonus=0.01, reserve_factor=0.1)
POOL_FEES = {"weETH": 100, "wstETH": 100, "USDT": 500, "EIGEN": 3000, "ETHFI": 3000}
"""Token -> fee of its pool with WETH, hundredths of a basis point."""
DEX_PRICES = {"weETH": 1.039, "wstETH": 1.159, "EIGEN": 1e-3, "ETHFI": 5e-4}
"""Token -> price in its pool, ETH."""
_DECIMALS = {"USDT": 6}
_DEEP = 200_000 * WAD
"""Ether on one side of a pool, and in each reserve."""


class World:
    """Everything that is deployed.

    Args:
        node: a fresh chain.
        made: where the contracts are.
        config: terms of Aave's reserves.
    """

    def __init__(self, node: Node, made: Installation, config: AaveConfig) -> None:
        self.node = node
        self._made = made
        owner = self.owner = node.accounts[0]
        node.fund(owner, 10**9 * WAD)
        weth = node.deploy(made.npm("canonical-weth/build/contracts/WETH9.json"))
        usdt = node.deploy(made.vyper("Tether"))
        self.tokens: dict[str, Contract] = {"WETH": weth, "USDT": usdt}
        self.pooled: dict[str, Contract] = {}
        self.queues: dict[str, Contract] = {}
        for lst, pooled in (("weETH", "eETH"), ("wstETH", "stETH")):
            self._stakers(lst, pooled)
        for token in ("EIGEN", "ETHFI"):
            self.tokens[token] = node.deploy(made.aave("MintableERC20"), token, token, 18)
        self.lender = node.deploy(made.vyper("FlashLender"))
        self.aave = Aave(node, made)
        self.uniswap = Uniswap(node, made, weth)
        self._snapshot = ""
        self._fill(owner)
        self.feeds: dict[str, Contract] = {}
        for token in ("USDT", "WETH", *RATES):
            self.feeds[token] = node.deploy(made.vyper("PriceFeed"), 1)
            self.aave.list_reserve(token, self.tokens[token], self.feeds[token].address, config.reserves[token])
        self.set_prices(ETH_USD)
        self.aave.open_emode(EMODE_TERMS, tuple(self.tokens[one] for one in ("WETH", "weETH", "wstETH")))
        self._supply_liquidity()
        for token, fee in POOL_FEES.items():
            self._open_pool(token, fee)
        self.save()

    # ---------------------------------------------------------------------------------------------------- moves

    def save(self) -> None:
        """What :meth:`restore` goes back to."""
        self._snapshot = self.node.rpc("evm_snapshot")

    def restore(self) -> None:
        """Back to the last :meth:`save`, mempool and all."""
        self.node.rpc("evm_setAutomine", True)
        self.node.rpc("anvil_dropAllTransactions")
        self.node.rpc("evm_revert", self._snapshot)
        self.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))  # that is in no snapshot
        self.save()

    def set_prices(self, eth_usd: float) -> None:
        """Move all of the oracle: ether at a price, LSTs at their rates."""
        for token, feed in self.feeds.items():
            price = 1.0 if token == "USDT" else eth_usd * (self.rate(token) if token in RATES else 1.0)
            feed.send("set", round(price * 10**8), self.node.time)

    def set_feed(self, token: str, price: float, updated: int | None = None) -> None:
        """Move one price, USD; ``updated``: when the feed says it was."""
        self.feeds[token].send("set", round(price * 10**8), self.node.time if updated is None else updated)

    def rate(self, lst: str) -> float:
        """ETH per LST."""
        return float(self.pooled[lst].call("rate") / WAD)

    def set_rate(self, lst: str, rate: float, eth_usd: float = ETH_USD) -> None:
        """Let a staker's rate grow; its feed follows."""
        self.pooled[lst].send("rebase", round(rate * WAD))
        self.set_feed(lst, eth_usd * rate)

    def finalize(self, lst: str) -> None:
        """Let everything that waits in a staker's queue be claimed."""
        queue = self.queues[lst]
        self.node.fund(queue.address, 10**6 * WAD)
        queue.send("finalize", queue.call("count"))

    def give(self, holder: str, token: str, units: int) -> None:
        """Put tokens into an account; ETH is native."""
        if token == "ETH":
            self.node.fund(holder, self.node.balance(holder) + units)
        elif token == "USDT":
            self.tokens["USDT"].send("mint", holder, units)
        else:
            self.tokens[token].send("transfer", holder, units)

    def units(self, token: str, holder: str) -> int:
        """Balance in smallest units; ETH is native."""
        return self.node.balance(holder) if token == "ETH" else int(self.tokens[token].call("balanceOf", holder))

    def a_token(self, token: str) -> Contract:
        """aToken of a reserve."""
        return self.aave.at("ATokenInstance", self.aave.reserve(self.tokens[token].address)["aTokenAddress"])

    def debt_token(self, token: str) -> Contract:
        """Variable debt of a reserve."""
        address = self.aave.reserve(self.tokens[token].address)["variableDebtTokenAddress"]
        return self.aave.at("VariableDebtTokenInstance", address)

    # -------------------------------------------------------------------------------------------------- set-up

    def _stakers(self, lst: str, pooled: str) -> None:
        node, made = self.node, self._made
        base = node.deploy(made.vyper("RebasingEther"), pooled, pooled, round(RATES[lst] * WAD))
        wrapped = node.deploy(made.vyper("WrappedStake"), lst, lst, base.address)
        queue = node.deploy(made.vyper("WithdrawalQueue"), base.address, wrapped.address)
        base.send("set_queue", queue.address)
        self.pooled[lst], self.tokens[lst], self.queues[lst] = base, wrapped, queue

    def _fill(self, owner: str) -> None:
        self.tokens["WETH"].send("deposit", value=10 * _DEEP)
        self.tokens["USDT"].send("mint", owner, 10**12 * 10**6)
        for lst in RATES:
            self.node.send(owner, self.tokens["wstETH"].address, value=4 * _DEEP) if lst == "wstETH" else self._wrap(
                lst
            )
        for token in ("EIGEN", "ETHFI"):
            self.tokens[token].send("mint", owner, 10**9 * WAD)
        self.tokens["WETH"].send("transfer", self.lender.address, _DEEP)

    def _wrap(self, lst: str) -> None:
        base = self.pooled[lst]
        base.send("deposit", value=4 * _DEEP)
        base.send("approve", self.tokens[lst].address, 4 * _DEEP)
        self.tokens[lst].send("wrap", base.call("balanceOf", self.owner))

    def _supply_liquidity(self) -> None:
        for token, units in (("USDT", 10**9 * 10**6), ("WETH", _DEEP), ("weETH", _DEEP), ("wstETH", _DEEP)):
            self.tokens[token].send("approve", self.aave.pool.address, MAX)
            self.aave.pool.send("supply", self.tokens[token].address, units, self.owner, 0)

    def _open_pool(self, token: str, fee: int) -> None:
        price = 1.0 / ETH_USD if token == "USDT" else DEX_PRICES[token]
        units = round(_DEEP / price) // 10 ** (18 - _DECIMALS.get(token, 18))
        if token in {"EIGEN", "ETHFI"}:
            units, ether = units // 10, _DEEP // 10
        else:
            ether = _DEEP
        self.uniswap.open_pool(self.tokens[token], self.tokens["WETH"], fee, (units, ether))


@contextlib.contextmanager
def running_world(made: Installation, config: AaveConfig) -> Iterator[World]:
    """A node with everything on it, for as long as the context is open."""
    with Node(made) as node:
        yield World(node, made, config)


def describe(world: World) -> dict[str, Any]:
    """Addresses of all that a live configuration names, in the layout of the model ``OnChainConfig``."""
    tokens = {name: contract.address for name, contract in world.tokens.items()}
    return {
        "chain_id": int(world.node.rpc("eth_chainId"), 16),
        "tokens": tokens,
        "aave": {
            "pool": world.aave.pool.address,
            "oracle": world.aave.oracle.address,
            "feeds": {token: feed.address for token, feed in world.feeds.items()},
        },
        "lido": {"wrapped": tokens["wstETH"], "queue": world.queues["wstETH"].address},
        "etherfi": {
            "wrapped": tokens["weETH"],
            "rebasing": world.pooled["weETH"].address,
            "pool": world.pooled["weETH"].address,
            "queue": world.queues["weETH"].address,
        },
        "uniswap": {
            "factory": world.uniswap.factory.address,
            "router": world.uniswap.router.address,
            "quoter": world.uniswap.quoter.address,
            "fees": dict(POOL_FEES),
        },
        "flash": {"kind": "morpho", "lender": world.lender.address},
    }
