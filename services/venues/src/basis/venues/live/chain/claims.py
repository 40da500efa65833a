"""Unstake requests of Lido and ether.fi: what waits in their queues, and what can be claimed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from basis.venues.live.chain import abi
from basis.venues.live.chain.log_reader import LogReader
from basis.venues.live.chain.rpc import Read
from basis.venues.live.chain.sending import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.chain_config import OnChainConfig
    from basis.venues.live.chain.rpc import Block, Rpc
    from basis.venues.live.chain.state import Book


class Claims:
    """Requests of one account.

    Args:
        rpc: the node.
        config: addresses.
        book: addresses.
        requests: of ether.fi's queue.
    """

    def __init__(self, rpc: Rpc, config: OnChainConfig, book: Book, requests: EtherfiRequests) -> None:
        self._rpc, self._config, self._book, self._requests = rpc, config, book, requests

    async def outstanding(self) -> Mapping[str, int]:
        """Protocol -> ether that its queue owes the account, wei."""
        lido = sum(status[0] for _, status in await self._lido())
        etherfi = sum(amount for _, amount in await self._etherfi())
        return {"lido": lido, "etherfi": etherfi}

    async def ready(self) -> list[Call]:
        """Transactions that claim what has been finalized."""
        calls = []
        if self._config.lido is not None:
            at = self._config.lido.queue
            calls += [Call(at, abi.LIDO_CLAIM.data(one), 0) for one, status in await self._lido() if status[4]]
        if self._config.etherfi is not None:
            at = self._config.etherfi.queue
            ids = [one for one, _ in await self._etherfi()]
            finalized = await self._rpc.read([Read(at, abi.ETHERFI_FINALIZED, (one,)) for one in ids])
            calls += [Call(at, abi.ETHERFI_CLAIM.data(one), 0) for one, ok in zip(ids, finalized, strict=True) if ok]
        return calls

    async def _lido(self) -> list[tuple[int, Any]]:
        """Request ids that are not claimed yet, with their status."""
        if self._config.lido is None:
            return []
        at = self._config.lido.queue
        (ids,) = await self._rpc.read([Read(at, abi.LIDO_REQUESTS, (self._book.owner,))])
        if not ids:
            return []
        (statuses,) = await self._rpc.read([Read(at, abi.LIDO_STATUS, (list(ids),))])
        return [(one, status) for one, status in zip(ids, statuses, strict=True) if not status[5]]

    async def _etherfi(self) -> list[tuple[int, int]]:
        """Requests that the account holds, with their ether."""
        if self._config.etherfi is None:
            return []
        ids = sorted(await self._requests.held(self._config.etherfi.queue, self._book.owner))
        found = await self._rpc.read([Read(self._config.etherfi.queue, abi.ETHERFI_REQUEST, (one,)) for one in ids])
        return [(one, row[0]) for one, row in zip(ids, found, strict=True) if row is not None]


class EtherfiRequests:
    """Requests (an NFT each) that the account holds: received less given away or burnt.

    The queue cannot list them, so they are read from its logs: once from ``since_block`` on, later from where the last look
    ended. What is not confirmed yet is read again each time; all of it where the chain took back more than that.

    Args:
        rpc: the node.
        config: ``since_block`` and ``confirmations``.
    """

    def __init__(self, rpc: Rpc, config: OnChainConfig) -> None:
        self._rpc, self._confirmations = rpc, config.confirmations
        self._logs = LogReader(lambda asked, _wide: rpc.batch(asked))
        self._first = config.since_block
        self._settled: frozenset[int] = frozenset()
        self._read_to: Block | None = None
        """Last block whose logs are in ``_settled``."""
        self._reading = asyncio.Lock()

    async def held(self, queue: str, owner: str) -> frozenset[int]:
        """Ids of the requests that an account holds now.

        Args:
            queue: ether.fi's WithdrawRequestNFT.
            owner: the account; the same at each call.

        Raises:
            LiveVenueError: the node does not say.
        """
        async with self._reading:
            latest = await self._rpc.block()
            await self._forget_what_was_taken_back(latest)
            start = self._first if self._read_to is None else self._read_to.number + 1
            confirmed = latest.number - self._confirmations
            if confirmed >= start:
                block = await self._rpc.block(confirmed)
                self._settled = await self._after(self._settled, queue, owner, (start, confirmed))
                self._read_to, start = block, confirmed + 1
            return await self._after(self._settled, queue, owner, (start, latest.number))

    async def _forget_what_was_taken_back(self, latest: Block) -> None:
        known = self._read_to
        if known is None:
            return
        if known.number > latest.number or (await self._rpc.block(known.number)).digest != known.digest:
            self._settled, self._read_to = frozenset(), None

    async def _after(self, held: frozenset[int], queue: str, owner: str, blocks: tuple[int, int]) -> frozenset[int]:
        account = "0x" + owner.removeprefix("0x").lower().rjust(64, "0")
        topic = "0x" + abi.TRANSFERRED.topic.hex()
        filters = [{"address": queue, "topics": topics} for topics in ([topic, None, account], [topic, account])]
        came, went = await self._logs.read(filters, *blocks)
        moves = sorted([(*_move(one), True) for one in came] + [(*_move(one), False) for one in went])
        now = set(held)
        for _, _, number, mine in moves:
            now.add(number) if mine else now.discard(number)
        return frozenset(now)


def _move(log: Mapping[str, Any]) -> tuple[int, int, int]:
    """Block, place in it, and id of what was transferred."""
    return int(log["blockNumber"], 16), int(log["logIndex"], 16), int(log["topics"][3], 16)
