"""Series of Ethereum: Aave's indices by its logs, oracle prices and LST rates by reads of old blocks, gas by fee history.

A row stamped T says what was so at the last block at or before T. Rows end where blocks may still change. Reads of old blocks
need an archive node.
"""

from __future__ import annotations

import asyncio
import bisect
import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from eth_abi.exceptions import DecodingError
from hexbytes import HexBytes

from basis.models.errors import InputError
from basis.venues.fetch.aave_index import Update, indices_at
from basis.venues.live.chain import abi
from basis.venues.live.chain.amounts import RAY, WAD, ray_mul, to_tokens
from basis.venues.live.chain.log_reader import LogReader
from basis.venues.live.chain.receipts import decimals_of
from basis.venues.live.chain.rpc import Rpc
from basis.venues.live.errors import Retryable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Self

    from pydantic import SecretStr

    from basis.models.chain_config import OnChainConfig
    from basis.venues.fetch.series import SeriesPlan
    from basis.venues.live.chain.abi import Function

T = TypeVar("T")
_COMPONENT = "fetch"
_DAY_MS = 86_400_000
_PAGES_MS = {"index": 8 * _DAY_MS, "price": 32 * _DAY_MS, "rate": 32 * _DAY_MS, "gas": 2 * _DAY_MS}
_UPDATED = abi.event("ReserveDataUpdated", "address", "uint256,uint256,uint256,uint256,uint256")
_FEE_BLOCKS, _PERCENTILES = 20, (25, 50, 75)
_GWEI = 10**9
_TRIES, _PAUSE_S = 6, 0.25


class Stamp(NamedTuple):
    """A block and its time."""

    number: int
    """Height."""
    at: int
    """Seconds."""


class ChainSource:
    """Rows of Ethereum. Use as an async context manager.

    Args:
        config: addresses; ``confirmations`` blocks at the end are not read yet.
        url: address of the node's JSON-RPC.
        requests_per_s: pace of the questions.
    """

    def __init__(self, config: OnChainConfig, url: SecretStr, requests_per_s: float = 10.0) -> None:
        self._config = config
        self._rpc = Rpc(url, config.request_timeout_s)
        self._pause_s, self._free_at = 1.0 / requests_per_s, 0.0
        self._stamps: list[Stamp] = []
        self._log_reader = LogReader(lambda asked, wide: self._batch(asked, tries=1 if wide else _TRIES))
        self._read_to: dict[str, tuple[int, Update | None]] = {}
        """Token -> last block whose logs are known, and the last update up to there."""

    async def __aenter__(self) -> Self:
        try:
            found = int(await self._ask(lambda: self._rpc.ask(self._rpc.w3.eth.chain_id)))
            if found != self._config.chain_id:
                message = f"the node serves chain {found}, the addresses are of chain {self._config.chain_id}"
                raise InputError("CONFIG-003", message, _COMPONENT)
            await self._open()
        except BaseException:
            await self._rpc.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._rpc.close()

    def page_ms(self, plan: SeriesPlan) -> int:
        """A week of indices, a month of prices, two days of gas."""
        return _PAGES_MS[plan.kind]

    async def now_ms(self) -> int:
        """Time of the last block that counts as settled."""
        return self._stamps[-1].at * 1000

    async def rows(self, plan: SeriesPlan, start_ms: int, end_ms: int) -> Sequence[Sequence[float]]:
        """Rows stamped in [start, end); none for the time before a contract or a reserve was there.

        Raises:
            InputError: DATA-001, the configuration has no address for the series, or the node no old state.
            LiveVenueError: no answer.
        """
        first = -(-start_ms // plan.period_ms) * plan.period_ms
        moments = [ms // 1000 for ms in range(first, end_ms, plan.period_ms)]
        found = [(at, stamp) for at in moments if (stamp := await self._last_block(at)) is not None]
        if not found:
            return []
        read = {"index": self._aave, "price": self._price, "rate": self._rate, "gas": self._gas}[plan.kind]
        return await read(plan, [at for at, _ in found], [stamp.number for _, stamp in found])

    # ----------------------------------------------------------------------------------------------------- series

    async def _aave(self, plan: SeriesPlan, moments: Sequence[int], blocks: Sequence[int]) -> list[Sequence[float]]:
        """Indices and rates by the last update, totals by the state of the block."""
        token, asset = plan.pair, self._address(plan)
        updates = await self._updates(token, asset, blocks[0], blocks[-1])
        places = [bisect.bisect_right(updates, block, key=lambda update: update.block) - 1 for block in blocks]
        there = [
            (at, block, updates[place]) for at, block, place in zip(moments, blocks, places, strict=True) if place >= 0
        ]
        reserve = await self._calls(
            [(self._config.aave.pool, abi.RESERVE_DATA, (asset,), block) for _, block, _ in there]
        )
        scaled = await self._calls(
            [
                (row[place], abi.SCALED_TOTAL, (), block)
                for (_, block, _), row in zip(there, reserve, strict=True)
                for place in (8, 10)
            ]
        )
        decimals = decimals_of(f"aave_v3:aToken:a{token}")
        rows: list[Sequence[float]] = []
        for (at, _, update), supplied, owed in zip(there, scaled[::2], scaled[1::2], strict=True):
            liquidity, borrow = indices_at(update, at)
            rows.append(
                (
                    1000 * at,
                    liquidity / RAY,
                    borrow / RAY,
                    update.liquidity_rate / RAY,
                    update.borrow_rate / RAY,
                    to_tokens(ray_mul(supplied, liquidity), decimals),
                    to_tokens(ray_mul(owed, borrow), decimals),
                )
            )
        return rows

    async def _price(self, plan: SeriesPlan, moments: Sequence[int], blocks: Sequence[int]) -> list[Sequence[float]]:
        asset, oracle = self._address(plan), self._config.aave.oracle
        found = await self._calls([(oracle, abi.ASSET_PRICE, (asset,), block) for block in blocks])
        return [(1000 * at, to_tokens(value, 8)) for at, value in zip(moments, found, strict=True) if value is not None]

    async def _rate(self, plan: SeriesPlan, moments: Sequence[int], blocks: Sequence[int]) -> list[Sequence[float]]:
        config = self._config
        staker = config.lido if plan.pair == "wstETH" else config.etherfi
        if staker is None:
            raise InputError(
                "DATA-001", f"{plan.name}: the configuration of the chain has no address of its staker", _COMPONENT
            )
        function = abi.STETH_PER_TOKEN if plan.pair == "wstETH" else abi.GET_RATE
        found = await self._calls([(staker.wrapped, function, (), block) for block in blocks])
        return [(1000 * at, value / WAD) for at, value in zip(moments, found, strict=True) if value is not None]

    async def _gas(self, plan: SeriesPlan, moments: Sequence[int], blocks: Sequence[int]) -> list[Sequence[float]]:
        """Medians over the last blocks: one block's fee says little."""
        del plan
        asked = [
            ("eth_feeHistory", [hex(min(_FEE_BLOCKS, block + 1)), hex(block), list(_PERCENTILES)]) for block in blocks
        ]
        rows: list[Sequence[float]] = []
        for at, told in zip(moments, await self._batch(asked), strict=True):
            base = [int(fee, 16) for fee in told["baseFeePerGas"][:-1]]  # the last is that of the block to come
            tips = zip(*([int(tip, 16) for tip in one] for one in told["reward"]), strict=True)
            rows.append((1000 * at, statistics.median(base) / _GWEI, *(statistics.median(one) / _GWEI for one in tips)))
        return rows

    def _address(self, plan: SeriesPlan) -> str:
        found = self._config.tokens.get(plan.pair)
        if found is None:
            raise InputError(
                "DATA-001", f"{plan.name}: the configuration of the chain has no address of {plan.pair}", _COMPONENT
            )
        return found

    # ------------------------------------------------------------------------------------------------------- logs

    async def _updates(self, token: str, asset: str, first: int, last: int) -> list[Update]:
        """Updates of a reserve up to ``last``, from the last one at or before ``first`` on."""
        read_to, before = self._read_to.get(token, (-1, None))
        if not 0 <= read_to <= first:
            read_to, before = first, await self._last_update(asset, first)
        found = [] if before is None else [before]
        found += await self._logs(asset, read_to + 1, last)
        self._read_to[token] = last, found[-1] if found else None
        return found

    async def _last_update(self, asset: str, block: int) -> Update | None:
        """Backwards, stretch by stretch, to where the market began."""
        end, begin = block, max(self._config.since_block, 0)
        while end >= begin:
            start = max(end - self._log_reader.span + 1, begin)
            found = await self._logs(asset, start, end)
            if found:
                return found[-1]
            end = start - 1
        return None

    async def _logs(self, asset: str, start: int, end: int) -> list[Update]:
        """Updates in [start, end], by time; asked for in stretches that are halved where the node refuses them."""
        wanted = {
            "address": self._config.aave.pool,
            "topics": ["0x" + _UPDATED.topic.hex(), "0x" + asset[2:].lower().rjust(64, "0")],
        }
        (found,) = await self._log_reader.read([wanted], start, end)
        numbers = sorted({int(row["blockNumber"], 16) for row in found})
        stamps = dict(await self._stamps_of(numbers))
        return [_update(row, stamps[int(row["blockNumber"], 16)]) for row in found]

    # ----------------------------------------------------------------------------------------------------- blocks

    async def _open(self) -> None:
        (head,) = await self._batch([("eth_blockNumber", [])])
        last = max(int(head, 16) - self._config.confirmations, 0)
        self._stamps = sorted({Stamp(*one) for one in await self._stamps_of([0, last])})

    async def _stamps_of(self, numbers: Sequence[int]) -> list[tuple[int, int]]:
        rows = await self._batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
        if None in rows:
            message = f"the node has no block {numbers[rows.index(None)]}"
            raise Retryable("VEN-003", message, _COMPONENT)
        return [(number, int(row["timestamp"], 16)) for number, row in zip(numbers, rows, strict=True)]

    async def _last_block(self, at: int) -> Stamp | None:
        """The last block at or before a time, None before the first.

        Blocks come at an even pace, mostly: where it should be, its neighbour, and the middles on both sides for where it is not.
        """
        stamps = self._stamps
        place = bisect.bisect_right(stamps, at, key=lambda stamp: stamp.at)
        if place == 0:
            return None
        if place == len(stamps):
            return stamps[-1]
        below, above = stamps[place - 1], stamps[place]
        while above.number - below.number > 1:
            guess = below.number + (above.number - below.number) * (at - below.at) // max(above.at - below.at, 1)
            tried = {guess, guess + 1, (below.number + guess) // 2, (guess + 1 + above.number) // 2}
            first, last = below.number + 1, above.number - 1
            for one in await self._stamps_of(sorted({min(max(number, first), last) for number in tried})):
                found = Stamp(*one)
                bisect.insort(stamps, found)
                if found.at <= at:
                    below = max(below, found)
                else:
                    above = min(above, found)
        return below

    # -------------------------------------------------------------------------------------------------- questions

    async def _calls(self, calls: Sequence[tuple[str, Function, tuple[object, ...], int]]) -> list[Any]:
        """Answers of view calls, each at its block; None where there was no contract yet."""
        asked = [
            ("eth_call", [{"to": to, "data": function.data(*args)}, hex(block)]) for to, function, args, block in calls
        ]
        try:
            replies = await self._batch(asked)
        except Retryable as error:
            if "state" in error.message or "trie" in error.message or "archive" in error.message:
                message = f"the node does not have the state of block {calls[0][3]}: an archive node is needed ({error.message})"
                raise InputError("DATA-001", message, _COMPONENT) from None
            raise
        found = []
        for (to, function, _, block), reply in zip(calls, replies, strict=True):
            raw = bytes(HexBytes(reply))
            try:
                found.append(function.read(raw) if raw else None)
            except DecodingError:
                message = f"{function.name} of {to} at block {block}: not its kind of answer"
                raise InputError("DATA-002", message, _COMPONENT) from None
        return found

    async def _batch(self, requests: Sequence[tuple[str, list[Any]]], tries: int = _TRIES) -> list[Any]:
        return await self._ask(lambda: self._rpc.batch(requests), tries) if requests else []

    async def _ask(self, question: Callable[[], Awaitable[T]], tries: int = _TRIES) -> T:
        """At the pace, and again with growing waits where that may help; being told to slow down counts as no try."""
        pause = _PAUSE_S
        for done in range(1, _TRIES + 1):
            now = time.monotonic()
            wait = max(self._free_at - now, 0.0)
            self._free_at = now + wait + self._pause_s
            await asyncio.sleep(wait)
            try:
                return await question()
            except Retryable as error:
                if done == _TRIES or (done >= tries and error.error_code != "VEN-006"):
                    raise
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError  # the last try returns or raises


def _update(row: dict[str, Any], at: int) -> Update:
    _, liquidity_rate, _, borrow_rate, liquidity_index, borrow_index = _UPDATED.read(
        [bytes(HexBytes(topic)) for topic in row["topics"]], bytes(HexBytes(row["data"]))
    )
    place = int(row["logIndex"], 16)
    return Update(int(row["blockNumber"], 16), place, at, liquidity_rate, borrow_rate, liquidity_index, borrow_index)
