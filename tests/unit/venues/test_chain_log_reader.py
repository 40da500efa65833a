"""Logs of a stretch of blocks come whole, however narrow the stretches are that a node accepts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.venues.live.chain.log_reader import WIDEST, LogReader
from basis.venues.live.errors import Retryable

if TYPE_CHECKING:
    from collections.abc import Sequence


class Node:
    """A chain with logs of two kinds, and a limit to what it answers at once."""

    def __init__(self, logs: dict[str, list[int]], widest: int, refusal: str = "VEN-003") -> None:
        self.logs, self.widest, self.refusal = logs, widest, refusal
        self.answered: list[tuple[int, int]] = []

    async def ask(self, asked: Sequence[tuple[str, list[Any]]], _may_be_too_wide: bool) -> list[Any]:
        """One list for each question."""
        found = []
        for method, (wanted,) in asked:
            assert method == "eth_getLogs"
            first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
            if last - first + 1 > self.widest:
                raise Retryable(self.refusal, "range too wide", "ethereum")
            found.append([{"block": one} for one in self.logs[wanted["address"]] if first <= one <= last])
        self.answered.append((first, last))
        return found


@given(
    st.lists(st.integers(0, 40_000), max_size=30).map(sorted),
    st.lists(st.integers(0, 40_000), max_size=30).map(sorted),
    st.integers(0, 40_000),
    st.integers(-1, 40_000),
    st.integers(50, 2 * WIDEST),
)
def test_all_logs_of_the_stretch_and_no_others(
    a: list[int], b: list[int], first: int, length: int, widest: int
) -> None:
    last = first + length
    node = Node({"a": a, "b": b}, widest)
    found = asyncio.run(LogReader(node.ask).read([{"address": "a"}, {"address": "b"}], first, last))
    assert found == [[{"block": one} for one in logs if first <= one <= last] for logs in (a, b)]
    starts = [first, *(end + 1 for _, end in node.answered)]
    assert [begin for begin, _ in node.answered] == starts[:-1]
    assert starts[-1] == max(last + 1, first)


def test_one_block_that_is_refused_is_the_nodes_failure() -> None:
    with pytest.raises(Retryable, match="too wide"):
        asyncio.run(LogReader(Node({"a": []}, 0).ask).read([{"address": "a"}], 5, 500))


def test_being_told_to_slow_down_is_no_reason_to_ask_for_less() -> None:
    reader = LogReader(Node({"a": []}, 10, refusal="VEN-006").ask)
    with pytest.raises(Retryable):
        asyncio.run(reader.read([{"address": "a"}], 0, 500))
    assert reader.span == WIDEST
