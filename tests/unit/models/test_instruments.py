"""Instrument keys and the registry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import InputError
from basis.models.instruments import (
    AAVE_RESERVES,
    CEX_VENUES,
    INSTRUMENTS,
    InstrumentType,
    Venue,
    asset_of,
    instrument,
    split_key,
    wallet_token,
)
from basis.testkit import strategies as bst


@pytest.mark.parametrize(
    "key",
    [
        "wallet:BaseToken:USDT",
        "aave_v3:aToken:aUSDT",
        "aave_v3:debtToken:debtWETH",
        "etherfi:LST:weETH",
        "binance:Perp:BTCUSDT",
    ],
)
def test_examples_of_behaviour_section_1_are_registered(key: str) -> None:
    assert instrument(key).key == key


@given(st.sampled_from(bst.KEYS))
def test_split_then_join_gives_the_key_back(key: str) -> None:
    parts = split_key(key)
    assert str(parts) == key
    found = INSTRUMENTS[key]
    assert (found.venue, found.type, found.symbol) == parts


@given(st.text(max_size=40))
def test_split_accepts_the_form_and_nothing_else(text: str) -> None:
    try:
        parts = split_key(text)
    except ValueError as error:
        assert "venue:type:symbol" in str(error)
    else:
        assert str(parts) == text
        assert text.count(":") == 2


@pytest.mark.parametrize(
    "key", ["wallet:BaseToken:USDT\n", "wallet:BaseToken:", ":BaseToken:X", "wallet:basetoken:USDT"]
)
def test_near_misses_raise(key: str) -> None:
    with pytest.raises(ValueError, match="venue:type:symbol"):
        split_key(key)


def test_unknown_key_raises_pos_002_and_lists_those_of_the_venue() -> None:
    with pytest.raises(InputError) as caught:
        instrument("aave_v3:aToken:aDOGE")
    assert caught.value.error_code == "POS-002"
    assert "aave_v3:aToken:aUSDT" in caught.value.message


def test_unknown_venue_raises_pos_002_and_lists_the_venues() -> None:
    with pytest.raises(InputError) as caught:
        instrument("kraken:BaseToken:BTC")
    assert all(venue in caught.value.message for venue in Venue)


@pytest.mark.parametrize(("token", "asset"), [("WETH", "ETH"), ("weETH", "ETH"), ("wstETH", "ETH"), ("USDT", "USDT")])
def test_asset_of_wrapped_tokens_is_eth(token: str, asset: str) -> None:
    assert asset_of(token) == asset


def test_weth_is_eth_in_the_wallet_and_nothing_else_changes() -> None:
    assert wallet_token("WETH") == "ETH"
    assert [wallet_token(token) for token in ("ETH", "weETH", "USDT")] == ["ETH", "weETH", "USDT"]


def test_every_reserve_has_both_tokens_and_every_cex_both_perps() -> None:
    for token in AAVE_RESERVES:
        assert f"aave_v3:aToken:a{token}" in INSTRUMENTS
        assert f"aave_v3:debtToken:debt{token}" in INSTRUMENTS
    for venue in CEX_VENUES:
        assert {f"{venue}:Perp:BTCUSDT", f"{venue}:Perp:ETHUSDT"} <= set(INSTRUMENTS)


def test_registry_holds_each_key_once_with_known_venues_and_types() -> None:
    for key, found in INSTRUMENTS.items():
        assert found.key == key
        assert found.venue in set(Venue)
        assert found.type in set(InstrumentType)
        assert 0 <= found.decimals <= 18
