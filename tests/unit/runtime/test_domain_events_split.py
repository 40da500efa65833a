"""Splitting event lines into messages, and writing them from columns: the same bytes as one by one."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.runtime import bus, subjects
from basis.runtime.column_lines import Chosen, Each
from basis.runtime.domain_events import DomainEventLogger
from basis.testkit import strategies as bst
from basis.testkit.runs import CID

STAMP = "2024-05-12T00:00:00+00:00"
KEY = "wallet:BaseToken:USDT"


def logger() -> DomainEventLogger:
    return DomainEventLogger(CID, 7, datetime(2024, 5, 12, tzinfo=UTC))


def log(target: DomainEventLogger, order: int, source: str = "tick", value: float = 1.0) -> None:
    target.log_position_snapshot(
        order, STAMP, positions={KEY: value}, total_value_usd=value, position_type="portfolio", trigger_source=source
    )


@given(sizes=st.lists(st.integers(1, 120_000), min_size=1, max_size=15))
def test_split_keeps_every_line_in_order_and_every_message_small(sizes: list[int]) -> None:
    target = logger()
    for order, size in enumerate(sizes):
        log(target, order, "x" * size)
    batches = target.drain()
    lines = [orjson.loads(line) for batch in batches for line in batch.payload.splitlines()]
    assert [line["order"] for line in lines] == list(range(len(sizes)))
    for batch in batches:
        inside = batch.payload.splitlines()
        assert batch.payload.endswith(b"\n")
        assert (batch.count, batch.first_order) == (len(inside), orjson.loads(inside[0])["order"])
        assert batch.last_order == orjson.loads(inside[-1])["order"]
        assert len(batch.payload) <= subjects.EVENT_MESSAGE_BYTES + len(inside) or len(inside) == 1
        assert len(batch.payload) < subjects.MAX_MESSAGE_BYTES
    assert target.drain() == []


def test_split_is_a_pure_function_of_the_lines() -> None:
    def messages() -> list[bus.StreamMessage]:
        target = logger()
        for order in range(3000):
            log(target, order, "y" * 300)
        return target.stream_messages(target.drain())

    once, again = messages(), messages()
    assert len(once) > 3
    assert once == again
    ids = [message.headers[subjects.HEADER_MSG_ID] for message in once]
    assert len(set(ids)) == len(ids)
    assert once[0].headers[subjects.HEADER_ORDERS].startswith("0:")


def test_event_that_fits_into_no_message_raises_log_002() -> None:
    target = logger()
    log(target, 1, "z" * subjects.MAX_MESSAGE_BYTES)
    with pytest.raises(ComponentError, match="one positions event") as caught:
        target.drain()
    assert caught.value.error_code == "LOG-002"


def test_malformed_first_line_of_a_batch_raises_log_001() -> None:
    with pytest.raises(ComponentError, match="malformed") as caught:
        log(logger(), -1)
    assert caught.value.error_code == "LOG-001"


def test_malformed_line_of_a_rare_type_raises_log_001_wherever_it_is() -> None:
    with pytest.raises(ComponentError, match="malformed"):
        logger().log_execution_delta(1, STAMP, source_operation_id="op", operation_type="supply", deltas=[])


TEXT = st.text(max_size=8) | st.sampled_from(["a,b", '"', "%b", "%", "\\", "é", "tick"])


@given(
    values=st.lists(bst.floats(-1e18, 1e18) | st.sampled_from([0.0, 1e-300, 1e16, 0.1]), min_size=1, max_size=12),
    texts=st.lists(TEXT, min_size=12, max_size=12),
    shape=st.sampled_from(["constant", "each", "chosen", "chosen by bytes"]),
    first=st.integers(0, 10**6),
    as_list=st.booleans(),
    places=st.lists(st.integers(0, 11), min_size=13, max_size=13),
)
def test_columns_give_the_same_lines_as_one_call_a_tick(
    values: list[float], texts: list[str], shape: str, first: int, as_list: bool, places: list[int]
) -> None:
    ticks = len(values)
    shown: Any  # longer than the ticks that count, but for the constant
    sources, shown = {
        "constant": ([texts[0]] * ticks, texts[0]),
        "each": (texts[:ticks], Each([*texts, "more"])),
        "chosen": ([texts[place] for place in places[:ticks]], Chosen(texts, places)),
        "chosen by bytes": ([texts[place] for place in places[:ticks]], Chosen(texts, bytes(places))),
    }[shape]
    values = [value + 0.0 for value in values]
    orders: Any = range(first, first + 5 * ticks, 5)
    one_by_one, together = logger(), logger()
    for order, value, source in zip(orders, values, sources, strict=True):
        log(one_by_one, order, source, value)
    together.write_columns(
        "positions",
        list(orders) if as_list else orders,
        [STAMP] * ticks,
        {
            "positions": {KEY: np.array([*values, 99.0])},  # longer than the ticks that count
            "total_value_usd": np.array(values),
            "position_type": "portfolio",
            "trigger_source": shown,
        },
    )
    assert together.drain() == one_by_one.drain()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_column_with_nan_raises_log_001_and_names_its_path(value: float) -> None:
    fields = {"positions": {KEY: np.array([1.0, value])}, "total_value_usd": np.array([1.0, 1.0])}
    fields |= {"position_type": "portfolio", "trigger_source": "tick"}
    with pytest.raises(ComponentError, match=KEY) as caught:
        logger().write_columns("positions", range(2), [STAMP] * 2, fields)
    assert caught.value.error_code == "LOG-001"


def test_constant_that_is_nan_raises_log_001() -> None:
    fields = {"positions": {}, "total_value_usd": math.nan, "position_type": "p", "trigger_source": "t"}
    with pytest.raises(ComponentError, match="total_value_usd"):
        logger().write_columns("positions", range(1), [STAMP], fields)


def test_no_ticks_give_no_lines() -> None:
    target = logger()
    target.write_columns("positions", range(0), [], {})
    assert target.drain() == []
