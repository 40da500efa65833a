"""PositionUpdateHandler: deltas once, costs booked, expected against actual, ours against the venue's."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.messages import PortfolioState
from basis.models.order import Order
from basis.monitors.core.plan import compile_plan
from basis.monitors.core.position_update_handler import (
    RELATIVE_TOLERANCE,
    Update,
    fee_in,
    share_price,
    total_value_usd,
    update,
)
from basis.testkit import strategies as bst
from basis.testkit.runs import START, custom_config, market_row, portfolio

USDT, ETH, A_USDT = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH", "aave_v3:aToken:aUSDT"
BINANCE = "binance:BaseToken:USDT"
BTC = "binance:BaseToken:BTC"
EIGEN = "wallet:BaseToken:EIGEN"
PERP = "binance:Perp:BTCUSDT"
CONFIG = custom_config([USDT, ETH, A_USDT, BINANCE, BTC, PERP, EIGEN])
PLAN = compile_plan(CONFIG)
ROW = market_row(CONFIG, price_usd__USDT=1.0)


def order(number: int = 0, **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "operation_id": f"op-{number}",
        "operation": "supply",
        "venue": "aave_v3",
        "amount": 105.0,
        "expected_deltas": {USDT: -105.0, A_USDT: 100.0},
        "strategy_intent": "entry_full",
        "strategy_id": "hand_made",
    }
    return Order.model_validate(fields | changes)


def confirmed(deltas: dict[str, float], number: int = 0, **changes: Any) -> ExecutionHandshake:
    fields: dict[str, Any] = {
        "operation_id": f"op-{number}",
        "status": "confirmed",
        "actual_deltas": deltas,
        "submitted_at": START,
        "executed_at": START,
        "simulated": True,
    }
    return ExecutionHandshake.model_validate(fields | changes)


def failed(number: int = 0) -> ExecutionHandshake:
    return ExecutionHandshake(
        operation_id=f"op-{number}", status="failed", error_code="VEN-009", submitted_at=START, simulated=True
    )


def start(**positions: float) -> PortfolioState:
    held = {USDT: 1000.0, ETH: 10.0, BINANCE: 1e6} | {key.replace("__", ":"): q for key, q in positions.items()}
    return portfolio(held, market=ROW, capital=1000.0, tick=0)


def after_of(state: PortfolioState, *handshakes: ExecutionHandshake) -> dict[str, float]:
    """The venue's own balances, had it done exactly this."""
    held = dict(state.positions)
    for handshake in handshakes:
        for key, delta in handshake.actual_deltas.items():
            held[key] = held.get(key, 0.0) + delta
    return held


SUPPLY = confirmed({USDT: -105.0, A_USDT: 100.0})


def test_confirmed_order_moves_positions_and_agrees() -> None:
    done = update(PLAN, start(), [order()], [SUPPLY], after_of(start(), SUPPLY))
    assert (done.portfolio.positions[USDT], done.portfolio.positions[A_USDT]) == (895.0, 100.0)
    assert (done.newly_applied, done.differences) == ((0,), ())
    assert done.applied_deltas == {USDT: -105.0, A_USDT: 100.0}
    assert done.portfolio.applied == ("op-0",)


def test_repeat_is_applied_once() -> None:
    first = update(PLAN, start(), [order()], [SUPPLY], after_of(start(), SUPPLY))
    again = update(PLAN, first.portfolio, [order()], [SUPPLY], after_of(start(), SUPPLY))
    assert again.newly_applied == ()
    assert again.portfolio == first.portfolio
    assert again.differences == ()


def test_failed_order_moves_nothing_and_agrees() -> None:
    done = update(PLAN, start(), [order()], [failed()], start().positions)
    assert done == Update(start(), (), (), {})


def test_delta_on_a_key_that_the_mode_does_not_hold_raises_pos_002() -> None:
    other = confirmed({"lido:LST:wstETH": 1.0})
    with pytest.raises(ComponentError, match="lido:LST:wstETH") as caught:
        update(PLAN, start(), [order()], [other], {})
    assert caught.value.error_code == "POS-002"


@pytest.mark.parametrize("handshakes", [[], [confirmed({}, 1)], [SUPPLY, SUPPLY]])
def test_handshakes_of_other_orders_raise_engine_002(handshakes: list[ExecutionHandshake]) -> None:
    with pytest.raises(ComponentError, match="do not belong") as caught:
        update(PLAN, start(), [order()], handshakes, {})
    assert caught.value.error_code == "ENGINE-002"


def test_actual_that_differs_from_expected_is_a_delta_mismatch() -> None:
    short = confirmed({USDT: -105.0, A_USDT: 99.0})
    done = update(PLAN, start(), [order()], [short], after_of(start(), short))
    (found,) = done.differences
    assert (found.kind, found.instrument_key, found.expected, found.actual) == ("delta", A_USDT, 100.0, 99.0)
    assert found.words() == f"delta {A_USDT}: expected 100.0, actual 99.0"
    assert found.fields()["tolerance"] == found.tolerance == pytest.approx(1e-7)


@pytest.mark.parametrize("came", [True, False])
def test_delta_that_was_not_expected_or_did_not_come_is_a_mismatch(came: bool) -> None:
    full = {USDT: -105.0, A_USDT: 100.0, ETH: -0.1}
    usual = {USDT: -105.0, A_USDT: 100.0}
    done, wanted = confirmed(full if came else usual), order(expected_deltas=usual if came else full)
    found = update(PLAN, start(), [wanted], [done], after_of(start(), done)).differences
    assert [difference.instrument_key for difference in found] == [ETH]


def test_order_that_gives_without_taking_raises_pnl_003() -> None:
    lost = confirmed({USDT: -105.0})
    with pytest.raises(ComponentError, match="USDT against nothing") as caught:
        update(PLAN, start(), [order()], [lost], after_of(start(), lost))
    assert caught.value.error_code == "PNL-003"


def test_venue_balance_that_differs_is_a_balance_mismatch() -> None:
    balances = after_of(start(), SUPPLY) | {ETH: 9.0}
    done = update(PLAN, start(), [order()], [SUPPLY], balances)
    (found,) = done.differences
    assert (found.kind, found.instrument_key, found.expected, found.actual) == ("balance", ETH, 10.0, 9.0)


def test_venue_that_forgot_a_balance_is_a_mismatch() -> None:
    balances = after_of(start(), SUPPLY)
    del balances[ETH]
    assert [found.instrument_key for found in update(PLAN, start(), [order()], [SUPPLY], balances).differences] == [ETH]


@given(amount=bst.floats(1e-3, 1e9), error=bst.floats(0.0, 1e-6))
def test_tolerance_is_one_part_in_a_billion(amount: float, error: float) -> None:
    actual = confirmed({USDT: -amount, A_USDT: amount * (1 + error)})
    wanted = order(amount=amount, expected_deltas={USDT: -amount, A_USDT: amount})
    state = start(wallet__BaseToken__USDT=amount)
    done = update(PLAN, state, [wanted], [actual], after_of(state, actual))
    gap = abs(actual.actual_deltas[A_USDT] - amount)
    limit = RELATIVE_TOLERANCE * max(amount, actual.actual_deltas[A_USDT])
    assert bool(done.differences) == (gap > max(limit, 1e-12))


def test_balance_that_is_nan_is_a_mismatch() -> None:
    balances = after_of(start(), SUPPLY) | {ETH: math.nan}
    assert len(update(PLAN, start(), [order()], [SUPPLY], balances).differences) == 1


# ------------------------------------------------------------------------------------------------------------ costs


def booked(wanted: Order, handshake: ExecutionHandshake) -> PortfolioState:
    return update(PLAN, start(), [wanted], [handshake], after_of(start(), handshake)).portfolio


def test_gas_in_the_share_class_is_booked_as_gas_of_the_wallet() -> None:
    state = booked(order(), confirmed({USDT: -107.0, A_USDT: 100.0}, costs={"gas": {USDT: 2.0}}))
    assert state.attribution == {"gas": -2.0}
    assert state.pnl_by_venue == {"wallet": -2.0}
    assert state.pnl_by_asset == {"USDT": -2.0}


def test_gas_in_ether_is_booked_at_the_price_of_the_tick() -> None:
    state = booked(order(), confirmed({USDT: -105.0, A_USDT: 100.0, ETH: -0.001}, costs={"gas": {ETH: 0.001}}))
    assert state.attribution["gas"] == pytest.approx(-3.0)
    assert state.pnl_by_asset == {"ETH": pytest.approx(-3.0)}


SPOT_BUY = order(operation="spot_trade", venue="binance", pair="BTCUSDT", side="buy", amount=1.0, expected_deltas={})


def test_fee_and_slippage_of_a_trade_are_booked_apart() -> None:
    # 1 BTC of 60,000: 100 lost to slippage, 60 of fee
    costs = {"fees": {BINANCE: 60.0}, "slippage": {BINANCE: 100.0}}
    state = booked(SPOT_BUY, confirmed({BTC: 1.0, BINANCE: -60_160.0}, costs=costs))
    assert state.attribution == {"fees": -60.0, "slippage": -100.0}
    assert state.pnl_by_venue == {"binance": pytest.approx(-160.0)}


def test_venue_price_that_is_not_the_common_price_is_basis() -> None:
    # bought at 60,030 where the mode values BTC at 60,000
    state = booked(SPOT_BUY, confirmed({BTC: 1.0, BINANCE: -60_090.0}, costs={"fees": {BINANCE: 60.0}}))
    assert state.attribution == {"fees": -60.0, "basis": pytest.approx(-30.0)}
    assert state.pnl_by_venue == {"binance": pytest.approx(-90.0)}
    assert state.pnl_by_asset == {"USDT": -60.0, "BTC": pytest.approx(-30.0)}


def test_value_that_a_supply_loses_is_no_basis() -> None:
    short = confirmed({USDT: -105.0, A_USDT: 99.0})
    assert booked(order(), short).attribution == {}  # it stays in the gap, which stops the run once it matters


def test_perp_trade_costs_fee_and_slippage_of_its_margin() -> None:
    wanted = order(operation="perp_trade", venue="binance", pair="BTCUSDT", side="sell", amount=1.0, expected_deltas={})
    costs = {"fees": {BINANCE: 30.0}, "slippage": {BINANCE: 24.0}}
    state = booked(wanted, confirmed({PERP: -1.0, BINANCE: -54.0}, costs=costs))
    assert state.attribution == {"fees": -30.0, "slippage": -24.0}
    assert state.positions[PERP] == -1.0


def test_withdrawal_lowers_capital_and_is_no_pnl() -> None:
    wanted = order(operation="transfer", venue="wallet", source_venue="wallet", target_venue="client", amount=100.0)
    done = confirmed({USDT: -102.0}, costs={"gas": {USDT: 2.0}, "external": {USDT: 100.0}})
    state = booked(wanted, done)
    assert state.capital == 900.0
    assert state.attribution == {"gas": -2.0}
    assert sum(state.pnl_by_venue.values()) == -2.0


def test_costs_add_up_over_operations() -> None:
    one = confirmed({USDT: -107.0, A_USDT: 100.0}, 0, costs={"gas": {USDT: 2.0}})
    two = confirmed({USDT: -108.0, A_USDT: 100.0}, 1, costs={"gas": {USDT: 3.0}})
    done = update(PLAN, start(), [order(0), order(1)], [one, two], after_of(start(), one, two))
    assert done.portfolio.attribution == {"gas": -5.0}
    assert done.portfolio.applied == ("op-0", "op-1")


def test_cost_on_a_key_that_the_mode_does_not_hold_raises_pos_002() -> None:
    odd = confirmed({USDT: -105.0, A_USDT: 100.0}, costs={"fees": {"okx:BaseToken:USDT": 1.0}})
    with pytest.raises(ComponentError, match="okx:BaseToken:USDT") as caught:
        update(PLAN, start(), [order()], [odd], {})
    assert caught.value.error_code == "POS-002"


def test_fee_inside_one_delta_is_fees_and_gas_of_its_key() -> None:
    done = confirmed({USDT: -105.0}, costs={"gas": {USDT: 2.0}, "fees": {USDT: 1.0, ETH: 5.0}, "slippage": {USDT: 9.0}})
    assert (fee_in(done, USDT), fee_in(done, ETH), fee_in(done, A_USDT)) == (3.0, 5.0, 0.0)


@given(u=bst.floats(1.0, 1e6), gas=bst.floats(0.0, 100.0), index=bst.indices())
def test_equity_falls_by_what_is_booked_and_nothing_else(u: float, gas: float, index: float) -> None:
    row = ROW | {"liquidity_index:USDT": index}
    state = portfolio({USDT: 2e6}, market=row, capital=2e6, tick=0)
    done = confirmed({USDT: -u - gas, A_USDT: u / index}, costs={"gas": {USDT: gas}})
    after = update(PLAN, state, [order(amount=u)], [done], after_of(state, done)).portfolio
    fall = total_value_usd(PLAN, after) - total_value_usd(PLAN, state)
    assert fall == pytest.approx(sum(after.attribution.values()), abs=1e-8 * max(u, 1.0))
    assert sum(after.pnl_by_venue.values()) == pytest.approx(sum(after.attribution.values()))


@given(places=st.lists(st.booleans(), min_size=1, max_size=6))
def test_only_operations_not_yet_applied_move_anything(places: list[bool]) -> None:
    orders = [order(number) for number in range(len(places))]
    answers = [confirmed({USDT: -1.0, A_USDT: 1 / 1.05}, number) for number in range(len(places))]
    known = tuple(f"op-{number}" for number, seen in enumerate(places) if seen)
    state = start().model_copy(update={"applied": known})
    done = update(PLAN, state, orders, answers, start().positions)
    assert done.newly_applied == tuple(number for number, seen in enumerate(places) if not seen)
    assert done.portfolio.positions[USDT] == 1000.0 - places.count(False)
    assert set(done.portfolio.applied) == {found.operation_id for found in orders}


def test_share_price_of_each_kind() -> None:
    assert share_price(PLAN, ROW, USDT) == 1.0
    assert share_price(PLAN, ROW, ETH) == 3000.0
    assert share_price(PLAN, ROW, EIGEN) == pytest.approx(3.0)
    assert share_price(PLAN, ROW, BTC) == 60_000.0
    assert share_price(PLAN, ROW, PERP) is None
