"""Balances and market columns from the chain, at its last block."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.venues.live.chain import abi
from basis.venues.live.chain.amounts import RAY, WAD, ray_mul, to_tokens
from basis.venues.live.chain.receipts import ETH_KEY, OWED_KEY, decimals_of
from basis.venues.live.chain.rpc import Read
from basis.venues.live.chain.state import read_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.chain_config import OnChainConfig
    from basis.runtime.clock import Clock
    from basis.venues.live.chain.rpc import Rpc
    from basis.venues.live.chain.state import Book, State

_GWEI = 10**9
_INDICES = {"liquidity_index", "borrow_index", "supply_apr", "borrow_apr", "total_supplied", "total_debt"}


class Market:
    """What the chain can quote.

    Args:
        rpc: the node.
        config: addresses.
        book: addresses.
        clock: wall clock, to refuse a node that has fallen behind.
    """

    def __init__(self, rpc: Rpc, config: OnChainConfig, book: Book, clock: Clock) -> None:
        self._rpc, self._config, self._book, self._clock = rpc, config, book, clock

    async def balances(self, keys: Sequence[str], claims: Mapping[str, int]) -> dict[str, float]:
        """Instrument key -> balance; scaled for aTokens and debt."""
        state = await self._state()
        found = {}
        for key in keys:
            units = _balance(key, state, claims)
            if units is not None:
                found[key] = to_tokens(units, decimals_of(key))
        return found

    async def columns(self, columns: Sequence[str]) -> dict[str, tuple[float, datetime]]:
        """Market column -> (value, time of the block); those that the chain cannot quote are left out."""
        wanted = [column for column in columns if self._quotes(column)]
        if not wanted:
            return {}
        state = await self._state()
        when = datetime.fromtimestamp(state.block.timestamp, UTC)
        reserves = {token for name, _, token in (one.partition(":") for one in wanted) if name in _INDICES}
        rows = {token: await self._reserve(token, state) for token in sorted(reserves)}
        found = {}
        for column in wanted:
            name, _, token = column.partition(":")
            value = rows[token][name] if name in _INDICES else self._price(name, token, state)
            found[column] = (value, when)
        return found

    def _quotes(self, column: str) -> bool:
        name, _, token = column.partition(":")
        if name in _INDICES:
            return token in self._book.a_tokens
        if name == "oracle_price_eth":
            return (token == "weETH" and self._config.etherfi is not None) or (
                token == "wstETH" and self._config.lido is not None
            )
        if name == "dex_price_eth":
            return token in self._book.pools
        if name == "dex":
            return token.removesuffix("WETH") in self._book.pools
        if name == "price_usd":
            return {"ETH": "WETH"}.get(token, token) in self._book.a_tokens
        return name in {"gas_base_fee_gwei", "gas_priority_fee_gwei"}

    def _price(self, name: str, token: str, state: State) -> float:
        if name == "oracle_price_eth":
            return state.rates[token] / WAD
        if name in {"dex_price_eth", "dex"}:
            return self._pool_price(token.removesuffix("WETH") or token, state)
        if name == "price_usd":
            return to_tokens(state.prices["WETH" if token == "ETH" else token], 8)
        return state.block.base_fee / _GWEI if name == "gas_base_fee_gwei" else self._config.fees.tip_gwei

    def _pool_price(self, token: str, state: State) -> float:
        """ETH per token by the pool's square root price; both have 18 decimals but USDT."""
        book, root = self._book, state.roots[token]
        first = int(book.tokens[token], 16) < int(book.tokens["WETH"], 16)
        square = root * root
        scale = 10.0 ** (decimals_of(f"wallet:BaseToken:{token}") - 18)
        return (square / 2**192 if first else 2**192 / square) * scale

    async def _reserve(self, token: str, state: State) -> dict[str, float]:
        """Indices at the block's own time, as every action in it uses them, with rates and totals."""
        pool, block = self._config.aave.pool, state.block.number
        asset = self._book.tokens[token]
        row, income, debt, supplied, owed = await self._rpc.read(
            [
                Read(pool, abi.RESERVE_DATA, (asset,)),
                Read(pool, abi.NORMALIZED_INCOME, (asset,)),
                Read(pool, abi.NORMALIZED_DEBT, (asset,)),
                Read(self._book.a_tokens[token], abi.SCALED_TOTAL),
                Read(self._book.debts[token], abi.SCALED_TOTAL),
            ],
            block,
        )
        decimals = decimals_of(f"aave_v3:aToken:a{token}")
        # the caps count our own on top of the market's, so that our part is taken out
        others = supplied - state.a_scaled[token], owed - state.debt_scaled[token]
        return {
            "liquidity_index": income / RAY,
            "borrow_index": debt / RAY,
            "supply_apr": row[2] / RAY,
            "borrow_apr": row[4] / RAY,
            "total_supplied": to_tokens(ray_mul(others[0], income), decimals),
            "total_debt": to_tokens(ray_mul(others[1], debt), decimals),
        }

    async def _state(self) -> State:
        return await read_state(self._rpc, self._config, self._book, self._clock.now().timestamp())


def _balance(key: str, state: State, claims: Mapping[str, int]) -> int | None:
    found = INSTRUMENTS[key]
    if key == ETH_KEY:
        return state.native + state.units["WETH"]
    if key == OWED_KEY:
        return 0
    if found.venue in claims and found.type is InstrumentType.BASE_TOKEN:
        return claims[found.venue]
    if found.venue == "wallet" or found.type is InstrumentType.LST:
        return state.units.get(found.symbol)
    if found.venue == "aave_v3":
        scaled = state.a_scaled if found.type is InstrumentType.A_TOKEN else state.debt_scaled
        return scaled.get(found.underlying)
    return None
