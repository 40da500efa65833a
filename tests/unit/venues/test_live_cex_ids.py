"""Client order ids: every exchange takes them, no two operations share one, and ours are known again."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from basis.venues.live.cex.ids import LENGTH, Purpose, client_order_id, purpose_of

BINANCE = re.compile(r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
BYBIT = re.compile(r"^[A-Za-z0-9_-]{1,36}$")
OKX = re.compile(r"^[A-Za-z0-9]{1,32}$")
PURPOSES: tuple[Purpose, ...] = ("order", "take_profit", "stop_loss", "withdrawal")


@given(operation_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=128))
def test_every_exchange_takes_every_id(operation_id: str) -> None:
    found = [client_order_id(operation_id, purpose) for purpose in PURPOSES]
    assert len(set(found)) == len(PURPOSES)
    for one, purpose in zip(found, PURPOSES, strict=True):
        assert len(one) == LENGTH
        assert all(rule.match(one) for rule in (BINANCE, BYBIT, OKX))
        assert purpose_of(one) == purpose
        assert one == client_order_id(operation_id, purpose)


@given(
    pair=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), min_size=2, max_size=50, unique=True)
)
def test_different_operations_have_different_ids(pair: list[str]) -> None:
    assert len({client_order_id(one) for one in pair}) == len(pair)


def test_strangers_are_not_ours() -> None:
    for name in (None, "", "x-TKT5PX2Fabc", "autoclose-123", "B" * 32, "b" * 31):
        assert purpose_of(name) is None
