"""What one unit of every instrument is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.runtime.valuation import unit_value_usd, valuation
from basis.testkit import strategies as bst
from basis.testkit.runs import custom_config, market_row

ROW = {
    "price_usd:USDT": 0.99,
    "price_usd:ETH": 3000.0,
    "spot:binance:BTCUSDT": 60_000.0,
    "liquidity_index:USDT": 1.1,
    "liquidity_index:weETH": 1.2,
    "borrow_index:WETH": 1.3,
    "oracle_price_eth:weETH": 1.04,
    "oracle_price_eth:wstETH": 1.17,
    "dex:EIGENWETH": 0.001,
}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("wallet:BaseToken:USDT", 0.99),
        ("wallet:BaseToken:ETH", 3000.0),
        ("binance:BaseToken:BTC", 60_000.0),
        ("aave_v3:aToken:aUSDT", 1.1 * 0.99),
        ("aave_v3:aToken:aweETH", 1.2 * 1.04 * 3000.0),
        ("aave_v3:debtToken:debtWETH", -1.3 * 3000.0),
        ("etherfi:LST:weETH", 1.04 * 3000.0),
        ("lido:LST:wstETH", 1.17 * 3000.0),
        ("morpho:debtToken:flashWETH", -3000.0),
        ("wallet:BaseToken:EIGEN", 3.0),
        ("binance:Perp:BTCUSDT", 0.0),
    ],
)
def test_worked_number(key: str, expected: float) -> None:
    assert unit_value_usd(key, ROW) == pytest.approx(expected)


def test_missing_column_raises_key_error() -> None:
    with pytest.raises(KeyError, match="borrow_index:WETH"):
        unit_value_usd("aave_v3:debtToken:debtWETH", {"price_usd:ETH": 1.0})


@pytest.mark.parametrize("key", bst.KEYS)
def test_only_debt_is_negative_and_only_perps_are_worth_nothing(key: str) -> None:
    row = {name: 2.0 for how in [valuation(key)] for name in how[2:] if name is not None}
    value = unit_value_usd(key, row)
    kind = INSTRUMENTS[key].type
    assert (value < 0) == (kind is InstrumentType.DEBT_TOKEN)
    assert (value == 0) == (kind is InstrumentType.PERP)


@given(
    key=st.sampled_from([key for key in bst.KEYS if not key.endswith(("KING", "ETHFI"))]),
    factor=bst.floats(0.1, 10.0),
)
def test_value_is_linear_in_the_price_of_its_asset(key: str, factor: float) -> None:
    how = valuation(key)
    subscriptions = [key] if not key.startswith("morpho") else [key, "wallet:BaseToken:ETH"]
    row = market_row(custom_config(subscriptions)) | {"price_usd:ETH": 3000.0}
    if how.price_column is None:
        return
    more = row | {how.price_column: row[how.price_column] * factor}
    assert unit_value_usd(key, more) == pytest.approx(unit_value_usd(key, row) * factor, rel=1e-12)
