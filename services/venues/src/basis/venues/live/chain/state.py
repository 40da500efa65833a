"""What the chain says about the account and its venues at one block: addresses once, balances and rates before every order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from basis.models.instruments import AAVE_RESERVES
from basis.venues.live.chain import abi
from basis.venues.live.chain.abi import checksummed
from basis.venues.live.chain.rpc import COMPONENT, Block, Read
from basis.venues.live.errors import Fatal, Retryable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.chain_config import OnChainConfig
    from basis.venues.live.chain.rpc import Rpc


_BY_RESERVE = ("a_units", "debt_units", "a_scaled", "debt_scaled", "prices")


class Book(NamedTuple):
    """Addresses, in EIP-55 spelling."""

    owner: str
    """The wallet."""
    executor: str
    """Our contract."""
    tokens: Mapping[str, str]
    """Token -> ERC-20; WETH stands for ETH."""
    a_tokens: Mapping[str, str]
    """Reserve -> aToken."""
    debts: Mapping[str, str]
    """Reserve -> variable debt token."""
    pools: Mapping[str, str]
    """Token -> Uniswap pool with WETH."""

    @property
    def reserves(self) -> tuple[str, ...]:
        """Tokens with a reserve."""
        return tuple(self.a_tokens)


class State(NamedTuple):
    """The account at a block; all integers in smallest units, rates and indices in Aave's rays or in 1e-18."""

    block: Block
    """When."""
    native: int
    """Ether of the wallet, without WETH."""
    units: Mapping[str, int]
    """Token -> balance of the wallet, WETH apart from ether."""
    a_units: Mapping[str, int]
    """Reserve -> aTokens with interest."""
    debt_units: Mapping[str, int]
    """Reserve -> debt with interest."""
    a_scaled: Mapping[str, int]
    """Reserve -> scaled aTokens."""
    debt_scaled: Mapping[str, int]
    """Reserve -> scaled debt."""
    rates: Mapping[str, int]
    """LST -> ETH per unit, 1e-18."""
    prices: Mapping[str, int]
    """Reserve -> oracle price, 1e-8 USD."""
    roots: Mapping[str, int]
    """Token -> square root of its pool's price, 2**-96."""
    emode: int
    """E-mode category of the account."""
    premium_bps: int
    """Aave's fee on flash loans."""
    nonce: int
    """Transactions of the wallet that are mined: the next one's nonce."""
    pending: int
    """The same with those that wait to be mined."""


async def read_book(rpc: Rpc, config: OnChainConfig, owner: str, executor: str | None) -> Book:
    """Look up what is derived from the configured addresses.

    Raises:
        Fatal: CONFIG-003, an address is mistyped or holds no such contract.
    """
    try:
        tokens = {name: checksummed(address, name) for name, address in config.tokens.items()}
        executor = checksummed(executor, "executor") if executor else ""
    except ValueError as error:
        raise Fatal("CONFIG-003", str(error), COMPONENT) from None
    reserves = [token for token in AAVE_RESERVES if token in tokens]
    answers = await rpc.read([Read(config.aave.pool, abi.RESERVE_DATA, (tokens[one],)) for one in reserves])
    if None in answers:
        raise Fatal("CONFIG-003", f"aave.pool: {config.aave.pool} is no Aave v3 pool", COMPONENT)
    listed = {token: row for token, row in zip(reserves, answers, strict=True) if int(row[8], 16)}
    pools = {}
    if config.uniswap is not None:
        pairs = {token: fee for token, fee in config.uniswap.fees.items() if token in tokens}
        found = await rpc.read(
            [
                Read(config.uniswap.factory, abi.GET_POOL, (tokens[one], tokens["WETH"], fee))
                for one, fee in pairs.items()
            ]
        )
        for token, pool in zip(pairs, found, strict=True):
            if pool is None or not int(pool, 16):
                raise Fatal("CONFIG-003", f"uniswap: no pool of {token} with fee {pairs[token]}", COMPONENT)
            pools[token] = checksummed(pool, token)
    return Book(
        owner,
        executor,
        tokens,
        {token: checksummed(row[8], token) for token, row in listed.items()},
        {token: checksummed(row[10], token) for token, row in listed.items()},
        pools,
    )


async def read_state(rpc: Rpc, config: OnChainConfig, book: Book, now: float) -> State:
    """Everything that an order is checked against, at the last block.

    Args:
        rpc: the node.
        config: addresses and limits.
        book: addresses.
        now: wall clock, seconds: what is too old is not traded on.

    Raises:
        Retryable: DATA-003, the last block or a price feed is too old; DATA-001, the oracle has no price.
        Fatal: VEN-011, the last block is from the future.
    """
    block = await rpc.block()
    if now - block.timestamp > config.max_block_age_s:
        age = int(now - block.timestamp)
        raise Retryable("DATA-003", f"the node's last block, {block.number}, is {age} s old", COMPONENT)
    if block.timestamp - now > config.max_block_age_s:
        message = f"block {block.number} is {int(block.timestamp - now)} s ahead of the clock of this machine"
        raise Fatal("VEN-011", message, COMPONENT)
    owner, reserves, pool = book.owner, book.reserves, config.aave.pool
    lsts = {name: at for name, at in (("wstETH", config.lido), ("weETH", config.etherfi)) if at is not None}
    asks: dict[str, list[Read]] = {
        "units": [Read(at, abi.BALANCE_OF, (owner,)) for at in book.tokens.values()],
        "a_units": [Read(book.a_tokens[one], abi.BALANCE_OF, (owner,)) for one in reserves],
        "debt_units": [Read(book.debts[one], abi.BALANCE_OF, (owner,)) for one in reserves],
        "a_scaled": [Read(book.a_tokens[one], abi.SCALED_BALANCE_OF, (owner,)) for one in reserves],
        "debt_scaled": [Read(book.debts[one], abi.SCALED_BALANCE_OF, (owner,)) for one in reserves],
        "rates": [
            Read(at.wrapped, abi.STETH_PER_TOKEN if one == "wstETH" else abi.GET_RATE) for one, at in lsts.items()
        ],
        "prices": [Read(config.aave.oracle, abi.ASSET_PRICE, (book.tokens[one],)) for one in reserves],
        "roots": [Read(at, abi.SLOT0) for at in book.pools.values()],
        "feeds": [Read(at, abi.LATEST_ROUND) for at in config.aave.feeds.values()],
        "rest": [Read(pool, abi.USER_EMODE, (owner,)), Read(pool, abi.FLASH_PREMIUM)],
    }
    told, (native, nonce, pending) = await asyncio.gather(
        rpc.read([one for reads in asks.values() for one in reads], block.number),
        rpc.batch(
            [
                ("eth_getBalance", [owner, hex(block.number)]),
                ("eth_getTransactionCount", [owner, "latest"]),
                ("eth_getTransactionCount", [owner, "pending"]),
            ]
        ),
    )
    answers = iter(told)
    found = {name: [next(answers) for _ in reads] for name, reads in asks.items()}
    _check_oracle(config, dict(zip(reserves, found["prices"], strict=True)), found["feeds"], block)
    by = {one: dict(zip(reserves, found[one], strict=True)) for one in _BY_RESERVE}
    return State(
        block,
        int(native, 16),
        dict(zip(book.tokens, found["units"], strict=True)),
        by["a_units"],
        by["debt_units"],
        by["a_scaled"],
        by["debt_scaled"],
        dict(zip(lsts, found["rates"], strict=True)),
        by["prices"],
        {token: row[0] for token, row in zip(book.pools, found["roots"], strict=True)},
        found["rest"][0],
        found["rest"][1],
        int(nonce, 16),
        int(pending, 16),
    )


def _check_oracle(
    config: OnChainConfig,
    prices: Mapping[str, int | None],
    rounds: list[tuple[int, int, int, int, int] | None],
    block: Block,
) -> None:
    """A price that is missing, or older than its feed may be, stops everything: no order on a guess."""
    for token, price in prices.items():
        if not price:
            raise Retryable("DATA-001", f"Aave's oracle has no price of {token} at block {block.number}", COMPONENT)
    for token, answer in zip(config.aave.feeds, rounds, strict=True):
        if answer is None or answer[1] <= 0:
            raise Retryable("DATA-001", f"the feed of {token} has no answer at block {block.number}", COMPONENT)
        age = block.timestamp - answer[3]
        if age > config.aave.max_feed_age_s:
            message = f"the feed of {token} is {age} s old, more than {config.aave.max_feed_age_s} s"
            raise Retryable("DATA-003", message, COMPONENT)
