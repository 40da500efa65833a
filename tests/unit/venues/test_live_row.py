"""The market row of a live tick: payments by their time, and no value that is missing, stale, impossible or of the future."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.config import LiveConfig
from basis.models.errors import ComponentError
from basis.models.market import DEFAULT_FEEDS
from basis.venues.core.live_row import Quote, market_row, staleness_s

NOW = datetime(2024, 5, 12, 8, 0, 30, tzinfo=UTC)
LIVE = LiveConfig()
PRICE, FUNDING, REWARD = "spot:binance:BTCUSDT", "funding:binance:BTCUSDT", "reward_eigen_per_eeth"


def row(
    column: str, quote: Quote | None, since: datetime = NOW - timedelta(minutes=1), live: LiveConfig = LIVE
) -> float:
    """One column's value."""
    return market_row([DEFAULT_FEEDS[column]], {} if quote is None else {column: quote}, since, NOW, live)[column]


@given(st.floats(-0.01, 0.01), st.floats(0, 12 * 3600), st.lists(st.floats(0.5, 3600), min_size=1, max_size=20))
def test_a_payment_belongs_to_exactly_one_tick(rate: float, ago_s: float, gaps: list[float]) -> None:
    """However ticks fall, skipped ones too: the payment is seen once where a row comes after it, and never twice."""
    paid = Quote(rate, NOW - timedelta(seconds=ago_s), "binance")
    times = [NOW - timedelta(seconds=sum(gaps))]
    for gap in gaps:
        times.append(times[-1] + timedelta(seconds=gap))
    feed = DEFAULT_FEEDS[FUNDING]
    seen = [
        market_row([feed], {FUNDING: paid}, before, now, LIVE)[FUNDING]
        for before, now in itertools.pairwise(times)
        if paid.at <= now
    ]
    due = times[0] < paid.at <= times[-1]
    assert [value for value in seen if value] == ([rate] if due and rate else [])


@pytest.mark.parametrize("column", [PRICE, "price_usd:ETH", "liquidity_index:USDT", "gas_base_fee_gwei", FUNDING])
def test_age_is_bounded_by_kind(column: str) -> None:
    limit = timedelta(seconds=staleness_s(DEFAULT_FEEDS[column], LIVE))
    assert row(column, Quote(1.5, NOW - limit, "venue")) in {1.5, 0.0}
    with pytest.raises(ComponentError, match=rf"DATA-003.*{column}"):
        row(column, Quote(1.5, NOW - limit - timedelta(seconds=1), "venue"))


def test_prices_of_exchanges_are_of_now() -> None:
    assert staleness_s(DEFAULT_FEEDS[PRICE], LIVE) == LIVE.quote_max_age_s


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_impossible_prices_are_refused(value: float) -> None:
    with pytest.raises(ComponentError, match=rf"DATA-002.*{PRICE}"):
        row(PRICE, Quote(value, NOW, "binance"))


def test_a_quote_of_the_future_is_a_clock_that_differs() -> None:
    assert row(PRICE, Quote(2.0, NOW + timedelta(seconds=LIVE.max_clock_skew_s), "binance")) == 2.0
    with pytest.raises(ComponentError, match="VEN-011"):
        row(PRICE, Quote(2.0, NOW + timedelta(seconds=LIVE.max_clock_skew_s + 0.5), "binance"))


def test_what_no_one_quotes() -> None:
    with pytest.raises(ComponentError, match=rf"DATA-001.*{PRICE}"):
        row(PRICE, None)
    assert row(REWARD, None) == 0.0
    assert row("price_usd:USDT", None, live=LiveConfig(fixed_columns={"price_usd:USDT": 0.999})) == 0.999
