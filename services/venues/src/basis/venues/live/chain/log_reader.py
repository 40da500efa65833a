"""Event logs of any stretch of blocks, in pieces that a node accepts: most refuse more than some thousand blocks at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from basis.venues.live.errors import LiveVenueError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

Ask: TypeAlias = "Callable[[Sequence[tuple[str, list[Any]]], bool], Awaitable[list[Any]]]"
"""Asks the node for a batch; the second argument says whether a refusal may be about the width of the stretch."""

WIDEST: Final = 10_000
"""Blocks of one question; halved where the node refuses, doubled again where it answers."""
_REFUSED: Final = frozenset({"VEN-002", "VEN-003"})
"""How a node says that a stretch is too wide: no answer in time, or an error of its own."""


class LogReader:
    """Reads logs; remembers how wide a stretch the node takes.

    Args:
        ask: how the node is asked.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.span = WIDEST

    async def read(self, filters: Sequence[Mapping[str, Any]], first: int, last: int) -> list[list[dict[str, Any]]]:
        """Logs in blocks ``first`` to ``last``, both included: one list for each filter, by block.

        Args:
            filters: of ``eth_getLogs``, without blocks.
            first: first block.
            last: last block; less than ``first`` asks nothing.

        Raises:
            LiveVenueError: the node refuses even one block, or asks for patience.
        """
        found: list[list[dict[str, Any]]] = [[] for _ in filters]
        start = first
        while start <= last:
            until = min(start + self.span - 1, last)
            stretch = {"fromBlock": hex(start), "toBlock": hex(until)}
            try:
                told = await self._ask([("eth_getLogs", [{**one, **stretch}]) for one in filters], until > start)
            except LiveVenueError as error:
                if until == start or error.error_code not in _REFUSED:
                    raise
                self.span = max((until - start + 1) // 2, 1)
                continue
            for rows, more in zip(found, told, strict=True):
                rows.extend(more)
            start, self.span = until + 1, min(2 * self.span, WIDEST)
        return found
