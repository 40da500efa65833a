"""Unstake requests of Lido and ether.fi: what waits in their queues, and what can be claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basis.venues.live.chain import abi
from basis.venues.live.chain.rpc import Read
from basis.venues.live.chain.sending import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.chain_config import OnChainConfig
    from basis.venues.live.chain.rpc import Rpc
    from basis.venues.live.chain.state import Book


class Claims:
    """Requests of one account.

    Args:
        rpc: the node.
        config: addresses.
        book: addresses.
    """

    def __init__(self, rpc: Rpc, config: OnChainConfig, book: Book) -> None:
        self._rpc, self._config, self._book = rpc, config, book

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
        """Requests (an NFT each) that the account holds, with their ether: received less given away or burnt."""
        if self._config.etherfi is None:
            return []
        at = self._config.etherfi.queue
        owner = "0x" + self._book.owner.removeprefix("0x").lower().rjust(64, "0")
        topic = "0x" + abi.TRANSFERRED.topic.hex()
        start = hex(self._config.since_block)
        queries = [
            {"address": at, "fromBlock": start, "topics": topics} for topics in ([topic, None, owner], [topic, owner])
        ]
        came, went = await self._rpc.batch([("eth_getLogs", [query]) for query in queries])
        moves = sorted(
            [(*_place(one), int(one["topics"][3], 16), True) for one in came]
            + [(*_place(one), int(one["topics"][3], 16), False) for one in went]
        )
        held: set[int] = set()
        for _, _, number, mine in moves:
            held.add(number) if mine else held.discard(number)
        ids = sorted(held)
        found = await self._rpc.read([Read(at, abi.ETHERFI_REQUEST, (one,)) for one in ids])
        return [(one, row[0]) for one, row in zip(ids, found, strict=True) if row is not None]


def _place(log: Mapping[str, Any]) -> tuple[int, int]:
    return int(log["blockNumber"], 16), int(log["logIndex"], 16)
