"""StrategyManager._calculate_expected_deltas: the table of behaviour.md section 2, line by line."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.operations import TRADES, OperationType, OrderSide
from basis.strategy.core.deltas import OperationParams
from basis.strategy.core.desk import make_order
from basis.strategy.core.strategy_manager import StrategyManager
from basis.testkit import strategies as bst
from basis.testkit.runs import mode_config

USDT, ETH = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH"
BUY, SELL = OrderSide.BUY, OrderSide.SELL
MANAGER = StrategyManager(mode_config(), cast("Any", None))  # deltas never ask the strategy


def params(operation: str, **fields: Any) -> OperationParams:
    defaults: dict[str, Any] = {"venue": "aave_v3", "amount": 100.0, "token": "USDT"}
    return OperationParams(operation=OperationType(operation), **(defaults | fields))


def changed(found: OperationParams, name: str, value: float) -> OperationParams:
    fields: dict[str, Any] = {name: value}
    return replace(found, **fields)


def deltas(found: OperationParams) -> dict[str, float]:
    return MANAGER._calculate_expected_deltas(found)


SPOT: dict[str, Any] = {"venue": "binance", "token": "BTC", "target_token": "USDT", "price": 60_000.0, "amount": 0.5}
PERP: dict[str, Any] = SPOT | {"symbol": "BTCUSDT", "fee_rate": 0.0005}
EXAMPLES: dict[str, tuple[OperationParams, dict[str, float]]] = {
    # buy 0.5 at 60,000 with 10 bps slippage: 30,030 paid, 10 bps fee on it 30.03
    "spot_buy": (
        params("spot_trade", side=BUY, slippage=0.001, fee_rate=0.001, **SPOT),
        {"binance:BaseToken:BTC": 0.5, "binance:BaseToken:USDT": -30_060.03},
    ),
    # sell 0.5: 29,970 received less 29.97
    "spot_sell": (
        params("spot_trade", side=SELL, slippage=0.001, fee_rate=0.001, **SPOT),
        {"binance:BaseToken:BTC": -0.5, "binance:BaseToken:USDT": 29_940.03},
    ),
    "perp_buy": (
        params("perp_trade", side=BUY, **PERP),
        {"binance:Perp:BTCUSDT": 0.5, "binance:BaseToken:USDT": -15.0},
    ),
    "perp_sell": (
        params("perp_trade", side=SELL, **PERP),
        {"binance:Perp:BTCUSDT": -0.5, "binance:BaseToken:USDT": -15.0},
    ),
    "supply": (params("supply", index=1.25), {USDT: -100.0, "aave_v3:aToken:aUSDT": 80.0}),
    "supply_with_gas": (
        params("supply", index=1.25, gas_fee=2.0, gas_token="USDT"),
        {USDT: -102.0, "aave_v3:aToken:aUSDT": 80.0},
    ),
    "supply_weth": (params("supply", token="WETH", index=1.25), {ETH: -100.0, "aave_v3:aToken:aWETH": 80.0}),
    "supply_lst": (
        params("supply", token="weETH", index=1.0),
        {"etherfi:LST:weETH": -100.0, "aave_v3:aToken:aweETH": 100.0},
    ),
    "withdraw": (params("withdraw", index=1.25), {"aave_v3:aToken:aUSDT": -80.0, USDT: 100.0}),
    "borrow": (params("borrow", token="WETH", index=1.25), {"aave_v3:debtToken:debtWETH": 80.0, ETH: 100.0}),
    "repay": (params("repay", token="WETH", index=1.25), {"aave_v3:debtToken:debtWETH": -80.0, ETH: -100.0}),
    "stake": (
        params("stake", venue="etherfi", token="weETH", exchange_rate=1.25),
        {ETH: -100.0, "etherfi:LST:weETH": 80.0},
    ),
    "stake_lido": (
        params("stake", venue="lido", token="wstETH", exchange_rate=1.25, gas_fee=0.01),
        {ETH: -100.01, "lido:LST:wstETH": 80.0},
    ),
    "unstake": (
        params("unstake", venue="etherfi", token="weETH", exchange_rate=1.25),
        {"etherfi:LST:weETH": -100.0, ETH: 125.0},
    ),
    # 100 weETH at 1.04 ETH for WETH at 1 with 10 bps: 103.896
    "swap": (
        params(
            "swap", venue="uniswap", token="weETH", target_token="WETH", price=1.04, target_price=1.0, slippage=0.001
        ),
        {"etherfi:LST:weETH": -100.0, ETH: 103.896},
    ),
    "flash_borrow": (
        params("flash_borrow", venue="morpho", token="WETH"),
        {ETH: 100.0, "morpho:debtToken:flashWETH": 100.0},
    ),
    "flash_repay": (
        params("flash_repay", venue="morpho", token="WETH", fee_rate=0.0005),
        {ETH: -100.05, "morpho:debtToken:flashWETH": -100.0},
    ),
    "transfer": (
        params("transfer", venue="wallet", source_venue="binance", target_venue="wallet", withdrawal_fee=1.0),
        {"binance:BaseToken:USDT": -100.0, USDT: 99.0},
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_numbers(name: str) -> None:
    found, expected = EXAMPLES[name]
    assert deltas(found) == pytest.approx(expected, rel=1e-12)


def test_every_operation_has_a_worked_number_and_a_method_of_its_own() -> None:
    assert {found.operation for found, _ in EXAMPLES.values()} == set(OperationType)
    for operation in OperationType:
        assert callable(getattr(StrategyManager, f"_calculate_{operation}_deltas"))


NEEDS = {
    "spot_trade": ("price",),
    "perp_trade": ("price",),
    "supply": ("index",),
    "withdraw": ("index",),
    "borrow": ("index",),
    "repay": ("index",),
    "stake": ("exchange_rate",),
    "unstake": ("exchange_rate",),
    "swap": ("price", "target_price"),
}
BAD_SHAPES = [0.0, -1.0, math.nan, math.inf, -math.inf]


def refused(found: OperationParams, about: str) -> None:
    with pytest.raises(ComponentError, match=about) as caught:
        deltas(found)
    assert caught.value.error_code == "STRAT-002"
    assert caught.value.component == "strategy_manager"


@pytest.mark.parametrize(("operation", "name"), [(key, name) for key, names in NEEDS.items() for name in names])
@pytest.mark.parametrize("value", BAD_SHAPES)
def test_operation_with_a_bad_price_index_or_rate_raises_strat_002(operation: str, name: str, value: float) -> None:
    found = next(found for found, _ in EXAMPLES.values() if found.operation == operation)
    refused(changed(found, name, value), name)


def test_supply_with_zero_index_raises_strat_002() -> None:
    refused(params("supply", index=0.0), "index")


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("value", BAD_SHAPES)
def test_amount_that_is_no_positive_number_raises_strat_002(example: str, value: float) -> None:
    refused(replace(EXAMPLES[example][0], amount=value), "amount")


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("name", ["slippage", "fee_rate", "withdrawal_fee", "gas_fee"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_cost_that_is_negative_or_not_finite_raises_strat_002(example: str, name: str, value: float) -> None:
    refused(changed(EXAMPLES[example][0], name, value), name)


@pytest.mark.parametrize("operation", sorted(TRADES))
def test_trade_without_a_side_raises_strat_002(operation: str) -> None:
    refused(params(operation, **PERP), "side is missing")


def test_transfer_to_where_it_came_from_raises_strat_002() -> None:
    refused(params("transfer", source_venue="wallet", target_venue="wallet"), "to itself")


@pytest.mark.parametrize("fee", [100.0, 101.0])
def test_transfer_that_its_fee_eats_raises_strat_002(fee: float) -> None:
    refused(params("transfer", source_venue="binance", withdrawal_fee=fee), "eats it")


def test_delta_that_overflows_raises_strat_002() -> None:
    refused(params("supply", amount=1e300, index=1e-300), "would change by")


# ------------------------------------------------------------------------------------------------------- properties


@given(
    q=bst.amounts(),
    price=bst.prices(),
    slip=bst.floats(0, 0.5),
    fee=bst.floats(0, 0.1),
    side=st.sampled_from(OrderSide),
)
def test_spot_trade_conserves_value_up_to_slippage_and_fee(
    q: float, price: float, slip: float, fee: float, side: OrderSide
) -> None:
    found = deltas(
        params("spot_trade", **(SPOT | {"amount": q, "price": price}), side=side, slippage=slip, fee_rate=fee)
    )
    paid = q * price * (1 + slip if side is BUY else 1 - slip)
    value = found["binance:BaseToken:BTC"] * price + found["binance:BaseToken:USDT"]
    assert value == pytest.approx(-(q * price * slip + paid * fee), rel=1e-9, abs=1e-9 * q * price)


@given(q=bst.amounts(), price=bst.prices(), fee=bst.floats(0, 0.1), side=st.sampled_from(OrderSide))
def test_perp_trade_moves_the_perp_and_pays_the_fee_alone(q: float, price: float, fee: float, side: OrderSide) -> None:
    fields = PERP | {"amount": q, "price": price, "fee_rate": fee}
    found = deltas(params("perp_trade", side=side, **fields))
    assert found["binance:Perp:BTCUSDT"] == (q if side is BUY else -q)
    assert found["binance:BaseToken:USDT"] == pytest.approx(-q * price * fee)


@given(
    operation=st.sampled_from(["supply", "withdraw", "borrow", "repay"]),
    token=st.sampled_from(["USDT", "WETH", "weETH", "wstETH"]),
    amount=bst.amounts(),
    index=bst.indices(),
    gas=bst.floats(0, 10),
)
def test_aave_operation_conserves_value_up_to_gas(
    operation: str, token: str, amount: float, index: float, gas: float
) -> None:
    found = deltas(params(operation, token=token, amount=amount, index=index, gas_fee=gas, gas_token="BTC"))
    assert found.pop("wallet:BaseToken:BTC", 0.0) == -gas
    (scaled_key, scaled), (_, plain) = sorted(
        found.items(), key=lambda item: "Token:a" not in item[0] and "debt" not in item[0]
    )
    sign = -1.0 if "debtToken" in scaled_key else 1.0
    assert sign * scaled * index + plain == pytest.approx(0.0, abs=1e-9 * amount)


@given(amount=bst.amounts(), rate=bst.indices(), token=st.sampled_from(["weETH", "wstETH"]))
def test_stake_then_unstake_gives_the_ether_back(amount: float, rate: float, token: str) -> None:
    staked = deltas(params("stake", token=token, amount=amount, exchange_rate=rate))
    (lst,) = (delta for key, delta in staked.items() if ":LST:" in key)
    back = deltas(params("unstake", token=token, amount=lst, exchange_rate=rate))
    assert back[ETH] == pytest.approx(amount, rel=1e-12)


@given(amount=bst.amounts(), price=bst.prices(), target=bst.prices(), cost=bst.floats(0, 1))
def test_swap_loses_its_cost_and_nothing_else(amount: float, price: float, target: float, cost: float) -> None:
    found = deltas(
        params(
            "swap", token="USDT", target_token="WETH", amount=amount, price=price, target_price=target, slippage=cost
        )
    )
    assert found[USDT] == -amount
    assert found[ETH] * target == pytest.approx(amount * price * (1 - cost), rel=1e-9)


@given(amount=bst.amounts(), fee=bst.floats(0, 0.1))
def test_flash_loan_costs_its_fee(amount: float, fee: float) -> None:
    taken = deltas(params("flash_borrow", venue="morpho", token="WETH", amount=amount))
    given_back = deltas(params("flash_repay", venue="morpho", token="WETH", amount=amount, fee_rate=fee))
    owed = "morpho:debtToken:flashWETH"
    assert taken[owed] + given_back[owed] == 0.0
    assert taken[ETH] + given_back[ETH] == pytest.approx(-amount * fee, rel=1e-9, abs=1e-9 * amount)


@given(amount=bst.floats(1, 1e9), share=bst.floats(0, 0.99))
def test_transfer_loses_its_fee_and_nothing_else(amount: float, share: float) -> None:
    found = deltas(params("transfer", source_venue="okx", amount=amount, withdrawal_fee=amount * share))
    assert sum(found.values()) == pytest.approx(-amount * share, abs=1e-9 * amount)


@given(
    found=st.sampled_from([found for found, _ in EXAMPLES.values()]),
    amount=bst.amounts(),
    gas=bst.floats(1e-9, 10),
)
def test_gas_is_one_more_delta_on_the_wallet_of_its_token(found: OperationParams, amount: float, gas: float) -> None:
    free = deltas(replace(found, amount=max(amount, 2.0), gas_fee=0.0))
    paid = deltas(replace(found, amount=max(amount, 2.0), gas_fee=gas, gas_token="BTC"))
    assert paid == {**free, "wallet:BaseToken:BTC": free.get("wallet:BaseToken:BTC", 0.0) - gas}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("group", [None, ("g", 2)])
def test_order_of_the_parameters_names_venues_tokens_and_group(name: str, group: tuple[str, int] | None) -> None:
    found, expected = EXAMPLES[name]
    if found.operation in TRADES and group is not None:
        return
    order = make_order(
        found,
        operation_id="op",
        expected_deltas=expected,
        details={"note": 1},
        intent=cast("Any", "rebalance"),
        strategy_id="hand_made",
        group=group,
    )
    assert (order.atomic_group_id, order.sequence_in_group) == (group or (None, None))
    assert order.operation is found.operation
    assert order.amount == found.amount
    assert order.expected_deltas == expected
    assert None not in (order.source_venue, order.target_venue, order.source_token, order.target_token)
    assert (order.pair is not None) == (found.operation in TRADES)


def test_sold_spot_gives_base_and_receives_quote() -> None:
    order = make_order(
        EXAMPLES["spot_sell"][0],
        operation_id="op",
        expected_deltas={},
        details={},
        intent=cast("Any", "exit_full"),
        strategy_id="hand_made",
    )
    assert (order.source_token, order.target_token, order.pair) == ("BTC", "USDT", "BTCUSDT")
