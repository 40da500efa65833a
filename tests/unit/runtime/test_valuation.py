"""What one unit of every instrument is worth, in USD and in each share class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.models.market import asset_prices
from basis.runtime.valuation import Valuer, valuation
from basis.testkit import strategies as bst
from basis.testkit.runs import mode_config

ROW = {
    "price_usd:USDT": 0.99,
    "price_usd:ETH": 3000.0,
    "spot:binance:BTCUSDT": 60_000.0,
    "spot:binance:ETHUSDT": 3010.0,
    "liquidity_index:USDT": 1.1,
    "liquidity_index:WETH": 1.15,
    "liquidity_index:weETH": 1.2,
    "liquidity_index:wstETH": 1.25,
    "borrow_index:USDT": 1.22,
    "borrow_index:WETH": 1.3,
    "borrow_index:weETH": 1.35,
    "borrow_index:wstETH": 1.36,
    "oracle_price_eth:weETH": 1.04,
    "oracle_price_eth:wstETH": 1.17,
    "dex:EIGENWETH": 0.001,
    "dex:ETHFIWETH": 0.0005,
}
SHARES = ("USDT", "ETH", "BTC")
PRICED = [key for key in bst.KEYS if not key.endswith("KING")]


def valuer(currency: str = "USDT", subscriptions: tuple[str, ...] = ()) -> Valuer:
    return Valuer(asset_prices(subscriptions), currency)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("wallet:BaseToken:USDT", 0.99),
        ("wallet:BaseToken:ETH", 3000.0),
        ("etherfi:BaseToken:ETH", 3000.0),
        ("transit:BaseToken:USDT", 0.99),
        ("binance:BaseToken:BTC", 60_000.0 * 0.99),
        ("aave_v3:aToken:aUSDT", 1.1 * 0.99),
        ("aave_v3:aToken:aweETH", 1.2 * 1.04 * 3000.0),
        ("aave_v3:debtToken:debtWETH", -1.3 * 3000.0),
        ("etherfi:LST:weETH", 1.04 * 3000.0),
        ("lido:LST:wstETH", 1.17 * 3000.0),
        ("morpho:debtToken:flashWETH", -3000.0),
        ("wallet:BaseToken:EIGEN", 3.0),
        ("wallet:BaseToken:ETHFI", 1.5),
        ("binance:Perp:BTCUSDT", 0.0),
        ("binance:Perp:BTCUSD", 0.0),
    ],
)
def test_worked_number(key: str, expected: float) -> None:
    assert valuer().unit_usd(key, ROW) == pytest.approx(expected)


def test_asset_that_the_mode_trades_is_valued_at_the_exchange_in_usdt() -> None:
    found = valuer("USDT", ("binance:BaseToken:ETH",))
    assert found.share("ETH", ROW) == 3010.0
    assert found.usd("ETH", ROW) == pytest.approx(3010.0 * 0.99)
    assert found.unit_share("etherfi:LST:weETH", ROW) == pytest.approx(1.04 * 3010.0)


def test_column_quoted_in_the_share_class_is_used_as_it_is() -> None:
    assert valuer("ETH").share("EIGEN", ROW) == 0.001
    assert valuer("BTC").share("USDT", ROW) == 1.0 / 60_000.0


@pytest.mark.parametrize("currency", SHARES)
def test_share_class_is_worth_exactly_one_of_itself(currency: str) -> None:
    assert valuer(currency).share(currency, ROW) == 1.0
    columns = {name: np.full(3, value) for name, value in ROW.items()}
    assert valuer(currency).share(currency, columns).tolist() == [1.0, 1.0, 1.0]


@given(key=st.sampled_from(PRICED), currency=st.sampled_from(SHARES))
def test_usd_is_the_share_class_value_at_the_usd_price_of_the_share_class(key: str, currency: str) -> None:
    found = valuer(currency)
    expected = found.unit_share(key, ROW) * found.share_usd(ROW)
    assert found.unit_usd(key, ROW) == pytest.approx(expected, rel=1e-12)


@given(key=st.sampled_from(PRICED))
def test_only_debt_is_negative_and_only_perps_are_worth_nothing(key: str) -> None:
    value = valuer().unit_usd(key, ROW)
    kind = INSTRUMENTS[key].type
    assert (value < 0) == (kind is InstrumentType.DEBT_TOKEN)
    assert (value == 0) == (kind is InstrumentType.PERP)


@given(key=st.sampled_from(PRICED), factor=bst.floats(0.1, 10.0))
def test_value_is_linear_in_index_and_rate(key: str, factor: float) -> None:
    how = valuation(key)
    for column in (how.index_column, how.rate_column):
        if column is not None:
            more = ROW | {column: ROW[column] * factor}
            assert valuer().unit_usd(key, more) == pytest.approx(valuer().unit_usd(key, ROW) * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("key", "missing"),
    [("aave_v3:debtToken:debtWETH", "borrow_index:WETH"), ("wallet:BaseToken:EIGEN", "dex:EIGENWETH")],
)
def test_missing_column_raises_pnl_002_and_names_it(key: str, missing: str) -> None:
    row = {name: value for name, value in ROW.items() if name != missing}
    with pytest.raises(ComponentError, match=missing) as caught:
        valuer().unit_usd(key, row)
    assert caught.value.error_code == "PNL-002"


def test_asset_without_a_price_raises_pnl_002() -> None:
    with pytest.raises(ComponentError, match="KING has no price") as caught:
        valuer().unit_usd("wallet:BaseToken:KING", ROW)
    assert caught.value.error_code == "PNL-002"


@pytest.mark.parametrize("mode", bst.MODES)
def test_every_instrument_of_every_mode_is_valued_from_the_columns_of_its_own_feeds(mode: str) -> None:
    config = mode_config(mode)
    found, row = Valuer.of(config), {feed.column: 1.5 for feed in config.feeds()}
    for key in config.position_subscriptions:
        assert np.isfinite(found.unit_share(key, row))
