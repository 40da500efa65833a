"""Gas: units x price, in the token that the mode pays it in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.operations import TRADES, OperationType
from basis.runtime.gas import gas_fee, gas_price_gwei
from basis.testkit import strategies as bst
from basis.testkit.runs import custom_config, market_row, mode_config

ON_CHAIN = sorted(set(OperationType) - TRADES)


def test_worked_number_in_the_share_class() -> None:
    config = mode_config(overrides={"venues.wallet.gas_price_gwei": 30})
    row = market_row(config, price_usd__ETH=3000.0, price_usd__USDT=1.0)
    fee = gas_fee(config, row, OperationType.SUPPLY)
    assert (fee.units, fee.price_gwei, fee.token) == (200_000, 30.0, "USDT")
    assert fee.amount == pytest.approx(200_000 * 30e-9 * 3000.0)


def test_worked_number_in_ether() -> None:
    config = mode_config("pure_lending_eth", {"venues.wallet.gas_price_gwei": 30})
    fee = gas_fee(config, market_row(config), OperationType.WITHDRAW)
    assert fee.token == "ETH"
    assert fee.amount == pytest.approx(220_000 * 30e-9)


def test_market_price_is_base_fee_plus_priority_fee() -> None:
    config = mode_config()
    assert gas_price_gwei(config, {"gas_base_fee_gwei": 20.0, "gas_priority_fee_gwei": 1.5}) == 21.5


def test_gas_price_of_zero_needs_no_market() -> None:
    config = mode_config(overrides={"venues.wallet.gas_price_gwei": 0})
    assert gas_fee(config, {}, OperationType.SUPPLY).amount == 0.0


def test_mode_without_a_wallet_pays_no_gas_and_can_do_nothing_on_chain() -> None:
    config = custom_config(["binance:BaseToken:USDT"])
    assert gas_price_gwei(config, {}) == 0.0
    with pytest.raises(ComponentError, match="wallet") as caught:
        gas_fee(config, {}, OperationType.SUPPLY)
    assert caught.value.error_code == "CONFIG-002"


@given(
    operation=st.sampled_from(ON_CHAIN),
    price=bst.floats(0.0, 1e4),
    ether=bst.prices(),
    dollar=bst.floats(0.5, 2.0),
)
def test_fee_in_the_share_class_is_worth_the_fee_in_ether(
    operation: OperationType, price: float, ether: float, dollar: float
) -> None:
    in_dollars = mode_config(overrides={"venues.wallet.gas_price_gwei": price})
    in_ether = mode_config("pure_lending_eth", {"venues.wallet.gas_price_gwei": price})
    row = {"price_usd:ETH": ether, "price_usd:USDT": dollar}
    one, other = gas_fee(in_dollars, row, operation), gas_fee(in_ether, row, operation)
    assert one.amount * dollar == pytest.approx(other.amount * ether, rel=1e-9)
    assert one.units == other.units >= 21_000
