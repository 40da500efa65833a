"""Double entry: every event's postings sum to zero for each token, or the run stops."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.messages import Settlement
from basis.models.order import Order
from basis.monitors.core.postings import Leg, balanced, of_handshake, of_settlement
from basis.testkit import strategies as bst
from basis.testkit.runs import START

USDT, ETH = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH"
A_USDT, DEBT, FLASH = "aave_v3:aToken:aUSDT", "aave_v3:debtToken:debtWETH", "morpho:debtToken:flashWETH"
LST, CLAIM = "etherfi:LST:weETH", "etherfi:BaseToken:ETH"
BINANCE, BTC, PERP = "binance:BaseToken:USDT", "binance:BaseToken:BTC", "binance:Perp:BTCUSDT"


def order(operation: str, venue: str, **fields: Any) -> Order:
    trade = {"pair": "BTCUSDT", "side": "buy"} if operation.endswith("trade") else {}
    values = {"operation_id": "op", "operation": operation, "venue": venue, "amount": 1.0}
    return Order.model_validate(values | {"strategy_intent": "rebalance", "strategy_id": "hand_made"} | trade | fields)


def confirmed(deltas: dict[str, float], **costs: dict[str, float]) -> ExecutionHandshake:
    return ExecutionHandshake.model_validate(
        {
            "operation_id": "op",
            "status": "confirmed",
            "actual_deltas": deltas,
            "costs": costs,
            "submitted_at": START,
            "executed_at": START,
            "simulated": True,
        }
    )


def rows(legs: tuple[Leg, ...]) -> list[tuple[str, str, Any]]:
    return [(leg.account, leg.token, pytest.approx(leg.amount)) for leg in legs]


def sums(legs: tuple[Leg, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for leg in legs:
        found[leg.token] = found.get(leg.token, 0.0) + leg.amount
    return found


def test_spot_trade_is_split_into_market_fee_and_slippage() -> None:
    done = confirmed({BTC: 1.0, BINANCE: -60_160.0}, fees={BINANCE: 60.0}, slippage={BINANCE: 100.0})
    assert rows(of_handshake(order("spot_trade", "binance"), done)) == [
        (BTC, "BTC", 1.0),
        (BINANCE, "USDT", -60_160.0),
        ("fees:binance", "USDT", 60.0),
        ("slippage:binance", "USDT", 100.0),
        ("market:binance", "BTC", -1.0),
        ("market:binance", "USDT", 60_000.0),
    ]


@pytest.mark.parametrize(
    ("operation", "venue", "deltas", "costs"),
    [
        ("perp_trade", "binance", {PERP: -1.0, BINANCE: -54.0}, {"fees": {BINANCE: 30.0}, "slippage": {BINANCE: 24.0}}),
        ("supply", "aave_v3", {USDT: -107.0, A_USDT: 100.0}, {"gas": {USDT: 2.0}}),
        ("borrow", "aave_v3", {DEBT: 1.0, ETH: 1.08}, {}),
        ("repay", "aave_v3", {DEBT: -1.0, ETH: -1.08}, {}),
        ("stake", "etherfi", {ETH: -1.0, LST: 0.96}, {}),
        ("unstake", "etherfi", {LST: -1.0, CLAIM: 1.04, USDT: -3.0}, {"gas": {USDT: 3.0}}),
        ("swap", "uniswap", {LST: -1.0, ETH: 1.03}, {"slippage": {ETH: 0.01}}),
        ("flash_borrow", "morpho", {ETH: 10.0, FLASH: 10.0}, {}),
        ("flash_repay", "morpho", {ETH: -10.01, FLASH: -10.0}, {"fees": {ETH: 0.01}}),
        ("transfer", "binance", {BINANCE: -100.0, USDT: 99.0}, {"fees": {USDT: 1.0}}),
        ("transfer", "wallet", {USDT: -102.0}, {"gas": {USDT: 2.0}, "external": {USDT: 100.0}}),
    ],
)
def test_every_operation_balances(
    operation: str, venue: str, deltas: dict[str, float], costs: dict[str, dict[str, float]]
) -> None:
    legs = of_handshake(order(operation, venue), confirmed(deltas, **costs))
    assert {leg.account: leg.amount for leg in legs if leg.account in deltas} == deltas
    assert all(abs(total) < 1e-9 for total in sums(legs).values())
    assert any(leg.account.startswith("market:") for leg in legs) == (operation != "transfer")


@pytest.mark.parametrize(
    ("operation", "deltas", "costs"),
    [
        ("transfer", {BINANCE: -100.0, USDT: 99.0}, {}),
        ("transfer", {BINANCE: -100.0, USDT: 101.0}, {}),
        ("perp_trade", {PERP: 1.0, BINANCE: -54.0}, {"fees": {BINANCE: 30.0}}),
        ("borrow", {DEBT: -1.0, ETH: 1.0}, {}),
        ("stake", {ETH: -1.0}, {}),
        ("transfer", {USDT: -100.0}, {"external": {USDT: 99.0}}),
    ],
)
def test_order_that_gives_or_takes_alone_raises_pnl_003(
    operation: str, deltas: dict[str, float], costs: dict[str, dict[str, float]]
) -> None:
    with pytest.raises(ComponentError, match="against nothing") as caught:
        of_handshake(order(operation, "binance"), confirmed(deltas, **costs))
    assert caught.value.error_code == "PNL-003"


@given(q=bst.amounts(), price=bst.prices(), fee=bst.floats(0.0, 0.01), slip=bst.floats(0.0, 0.05))
def test_trades_balance_at_any_size(q: float, price: float, fee: float, slip: float) -> None:
    paid, lost = q * price * (1 + slip) * fee, q * price * slip
    done = confirmed(
        {BTC: q, BINANCE: -(q * price * (1 + slip)) - paid}, fees={BINANCE: paid}, slippage={BINANCE: lost}
    )
    legs = of_handshake(order("spot_trade", "binance"), done)
    assert abs(sums(legs)["BTC"]) == 0.0
    assert abs(sums(legs)["USDT"]) <= 1e-9 * q * price
    market = next(leg for leg in legs if (leg.account, leg.token) == ("market:binance", "USDT"))
    assert market.amount == pytest.approx(q * price, rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "account"),
    [
        ("funding", "funding:binance"),
        ("reward", "rewards:binance"),
        ("liquidation", "liquidation:binance"),
        ("take_profit", "market:binance"),
        ("stop_loss", "market:binance"),
        ("deposit", "client"),
    ],
)
@given(amount=bst.floats(-1e6, 1e6), fee=bst.floats(0.0, 10.0))
def test_settlements_go_against_the_account_of_their_kind(kind: str, account: str, amount: float, fee: float) -> None:
    found = Settlement.model_validate(
        {"tick": 0, "venue": "binance", "kind": kind, "deltas": {BINANCE: amount}, "fees": {BINANCE: fee}}
    )
    legs = of_settlement(found)
    assert {leg.account for leg in legs} <= {BINANCE, "fees:binance", account}
    assert abs(sums(legs)["USDT"]) <= 1e-9 * (abs(amount) + fee)


@given(amount=bst.floats(1e-3, 1e6), lost=st.sampled_from([0.0, 1e-3, -1e-3]))
def test_arrival_balances_only_where_all_that_left_arrives(amount: float, lost: float) -> None:
    deltas = {"transit:BaseToken:USDT": -amount, BINANCE: amount * (1 - lost)}
    found = Settlement.model_validate({"tick": 0, "venue": "binance", "kind": "transfer_arrival", "deltas": deltas})
    if lost == 0.0:
        assert sums(of_settlement(found)) == {"USDT": 0.0}
        return
    with pytest.raises(ComponentError, match="USDT") as caught:
        of_settlement(found)
    assert caught.value.error_code == "PNL-003"


def test_nan_does_not_balance() -> None:
    with pytest.raises(ComponentError, match="leave nan USDT"):
        balanced([Leg(USDT, "USDT", float("nan"))], "an order")
