"""Feeds and the columns that a mode needs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.models.market import DEFAULT_FEEDS, AssetPrice, Feed, FeedKind, asset_prices, required_columns
from basis.runtime.valuation import Valuer
from basis.testkit import strategies as bst


def feed(**changes: Any) -> Feed:
    fields = {"column": "c", "series": "a/b", "field": "f", "kind": "snapshot", "period_s": 3600}
    return Feed.model_validate(fields | changes)


def test_staleness_is_twice_the_period_unless_given() -> None:
    assert feed().staleness_s == 7200
    assert feed(max_staleness_s=60).staleness_s == 60


@pytest.mark.parametrize("change", [{"period_s": 0}, {"max_staleness_s": 0}, {"lead_s": -1}, {"kind": "tick"}])
def test_feed_that_makes_no_sense_raises(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        feed(**change)


@pytest.mark.parametrize("kind", sorted(set(FeedKind) - {FeedKind.SNAPSHOT}))
def test_lead_on_anything_but_a_snapshot_raises(kind: FeedKind) -> None:
    with pytest.raises(ValidationError, match="lead_s is for snapshots"):
        feed(kind=kind, lead_s=1, lookback_s=60 if kind is FeedKind.EVENT_MEAN else None)


def test_lookback_belongs_to_means_alone() -> None:
    with pytest.raises(ValidationError, match="lookback_s belongs to event_mean"):
        feed(kind=FeedKind.EVENT_MEAN)
    with pytest.raises(ValidationError, match="lookback_s belongs to event_mean"):
        feed(kind=FeedKind.EVENT, lookback_s=60)


def test_default_feeds_are_keyed_by_their_own_column() -> None:
    assert all(found.column == column for column, found in DEFAULT_FEEDS.items())


def test_only_gas_has_a_lead() -> None:
    assert {column for column, found in DEFAULT_FEEDS.items() if found.lead_s} == {
        "gas_base_fee_gwei",
        "gas_priority_fee_gwei",
    }


SHARE_CLASSES = ("BTC", "ETH", "USDT")
SUBSCRIBABLE = [key for key in bst.KEYS if not key.endswith(":KING")]


@given(
    keys=st.sets(st.sampled_from(SUBSCRIBABLE), min_size=1, max_size=6),
    share=st.sampled_from(SHARE_CLASSES),
    gas=st.booleans(),
    from_eth=st.booleans(),
)
def test_required_columns_have_feeds_are_sorted_and_value_every_key(
    keys: set[str], share: str, gas: bool, from_eth: bool
) -> None:
    found = required_columns(keys, share, needs_gas=gas, gas_from_eth=from_eth)
    assert list(found) == sorted(set(found))
    assert set(found) <= set(DEFAULT_FEEDS)
    assert ("gas_base_fee_gwei" in found) == gas
    row = dict.fromkeys(found, 2.0)
    valuer = Valuer(asset_prices(keys), share)
    assert valuer.usd(share, row) > 0.0
    for key in keys:
        assert math.isfinite(valuer.unit_share(key, row)), key


@given(share=st.sampled_from(SHARE_CLASSES))
def test_gas_paid_in_the_share_class_needs_the_eth_price(share: str) -> None:
    assert "price_usd:ETH" in required_columns([], share, needs_gas=True, gas_from_eth=False)


@pytest.mark.parametrize(
    ("keys", "asset", "column", "quote"),
    [
        (["wallet:BaseToken:ETH"], "ETH", "price_usd:ETH", "USD"),
        (["okx:BaseToken:ETH", "bybit:Perp:ETHUSDT"], "ETH", "spot:okx:ETHUSDT", "USDT"),
        (["bybit:Perp:ETHUSDT"], "ETH", "spot:bybit:ETHUSDT", "USDT"),
        ([], "BTC", "spot:binance:BTCUSDT", "USDT"),
        ([], "EIGEN", "dex:EIGENWETH", "ETH"),
    ],
)
def test_an_asset_is_priced_where_the_mode_trades_it(keys: list[str], asset: str, column: str, quote: str) -> None:
    assert asset_prices(keys)[asset] == AssetPrice(column, quote)


@pytest.mark.parametrize("key", [key for key, found in INSTRUMENTS.items() if found.type is InstrumentType.PERP])
def test_perp_needs_its_price_and_its_funding(key: str) -> None:
    _, _, symbol = key.split(":")
    venue = key.split(":", maxsplit=1)[0]
    found = required_columns([key], "USDT", needs_gas=False, gas_from_eth=True)
    assert {f"perp:{venue}:{symbol}", f"funding:{venue}:{symbol}"} <= set(found)


def test_columns_of_more_subscriptions_contain_those_of_fewer() -> None:
    one = required_columns(["wallet:BaseToken:USDT"], "USDT", needs_gas=False, gas_from_eth=True)
    two = required_columns(
        ["wallet:BaseToken:USDT", "aave_v3:aToken:aWETH"], "USDT", needs_gas=False, gas_from_eth=True
    )
    assert set(one) < set(two)
