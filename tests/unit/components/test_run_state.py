"""The state of a run: windows, ledgers, statistics and the result, against NumPy's formulas."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.config import EngineConfig
from basis.models.errors import InputError
from basis.models.execution import ExecutionHandshake
from basis.models.messages import Checkpoint, RunStatistics, Settlement, Window
from basis.models.order import Order
from basis.runtime import codec
from basis.strategy.core import run_state
from basis.testkit import strategies as bst
from basis.testkit.runs import START, custom_config, mode_config, portfolio, run_ref

CURVES = st.lists(bst.floats(1.0, 1e9), min_size=1, max_size=200)


def checkpoint(statistics: RunStatistics, ticks: int, **fields: Any) -> Checkpoint:
    start = run_state.initial_checkpoint(mode_config(), 1000.0, 7, START)
    return start.model_copy(update={"statistics": statistics, "next_tick": ticks} | fields)


def with_equity(before: RunStatistics, equity: list[float]) -> RunStatistics:
    """Statistics of a run without deposits and withdrawals."""
    return run_state.with_equity(before, equity, [1000.0] * len(equity))


@given(data=st.data(), curve=CURVES)
def test_statistics_do_not_depend_on_how_equity_is_cut(data: st.DataObject, curve: list[float]) -> None:
    whole = with_equity(RunStatistics(), curve)
    pieces, done = RunStatistics(), 0
    for length in data.draw(bst.cuts(len(curve))):
        pieces = with_equity(pieces, curve[done : done + length])
        done += length
    assert pieces == whole


@given(curve=st.lists(bst.floats(500.0, 2000.0), min_size=3, max_size=200))
def test_result_equals_the_formulas_written_with_numpy(curve: list[float]) -> None:
    config = mode_config()
    run = run_ref(config, initial_capital=1000.0)
    statistics = with_equity(RunStatistics(), curve)
    found = run_state.result(run, config, checkpoint(statistics, len(curve)))
    assert found is not None
    equity = np.array(curve)
    returns = equity[1:] / equity[:-1] - 1.0
    per_year = 365 * 24
    assert found.final_value == curve[-1]
    assert found.total_return == pytest.approx(curve[-1] / 1000.0 - 1.0, rel=1e-12)
    assert found.volatility == pytest.approx(returns.std(ddof=1) * math.sqrt(per_year), rel=1e-6, abs=1e-6)
    drawdown = float((equity / np.maximum.accumulate(equity) - 1.0).min())
    assert found.max_drawdown == pytest.approx(drawdown, abs=1e-15)
    if found.volatility > 1e-3:
        assert found.sharpe == pytest.approx(returns.mean() * per_year / found.volatility, rel=1e-6, abs=1e-9)
    years = (len(curve) - 1) / per_year
    expected = math.exp(math.log(curve[-1] / 1000.0) / years) - 1.0 if years * 700 > math.log(4) else None
    if expected is not None and math.log(curve[-1] / 1000.0) / years < 700:
        assert found.annualized_return == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_result_before_the_first_tick_is_none() -> None:
    config = mode_config()
    assert run_state.result(run_ref(config), config, checkpoint(RunStatistics(), 0)) is None


def test_result_of_a_single_tick_has_no_volatility_and_no_sharpe() -> None:
    config = mode_config()
    statistics = with_equity(RunStatistics(), [1000.0])
    found = run_state.result(run_ref(config, initial_capital=1000.0), config, checkpoint(statistics, 1))
    assert found is not None
    assert (found.volatility, found.sharpe, found.max_drawdown, found.total_return) == (0.0, None, 0.0, 0.0)


@pytest.mark.parametrize(("final", "expected"), [(0.0, -1.0), (-5.0, -1.0)])
def test_annualised_return_of_a_ruin_is_minus_one(final: float, expected: float) -> None:
    config = mode_config()
    statistics = with_equity(RunStatistics(), [1000.0, final])
    found = run_state.result(run_ref(config, initial_capital=1000.0), config, checkpoint(statistics, 2))
    assert found is not None
    assert found.annualized_return == expected


def test_annualised_return_that_would_overflow_is_the_plain_return() -> None:
    config = mode_config()
    statistics = with_equity(RunStatistics(), [1000.0, 2000.0])
    found = run_state.result(run_ref(config, initial_capital=1000.0), config, checkpoint(statistics, 2))
    assert found is not None
    assert found.annualized_return == 1.0


def test_fees_are_positive_where_attribution_is_negative() -> None:
    config = mode_config()
    state = portfolio({}, market={}, capital=1000.0, attribution={"gas": -2.5, "fees": -1.0, "supply": 10.0})
    statistics = with_equity(RunStatistics(), [1006.5])
    found = run_state.result(
        run_ref(config, initial_capital=1000.0), config, checkpoint(statistics, 1, portfolio=state)
    )
    assert found is not None
    assert found.fees == {"fees": 1.0, "gas": 2.5, "slippage": 0.0}
    assert found.attribution_gap == 0.0
    assert set(found.final_positions) == set(config.position_subscriptions)


# ------------------------------------------------------------------------------------------------------- windows


@given(
    window=st.integers(1, 4096), between=st.integers(1, 10**6), most=st.integers(1, 4096), least=st.integers(1, 4096)
)
def test_window_stays_within_its_bounds(window: int, between: int, most: int, least: int) -> None:
    engine = EngineConfig(max_window=most, initial_window=least)
    window = min(window, most)
    assert 1 <= run_state.after_orders(between, engine) <= most
    assert min(2 * window, most) <= run_state.grown(window, engine) <= most


def test_window_doubles_to_its_maximum_and_follows_the_distance_of_orders() -> None:
    engine = EngineConfig(initial_window=8)
    sizes = [1]
    while sizes[-1] < engine.max_window:
        sizes.append(run_state.grown(sizes[-1], engine))
    assert sizes == [1, 8, 16, 32, 64, 128, 256, 512, 1024]
    assert [run_state.after_orders(between, engine) for between in (1, 100, 512, 5000)] == [8, 200, 1024, 1024]


@given(values=st.lists(bst.floats(-1e9, 1e9), min_size=1, max_size=20), data=st.data())
def test_ledger_at_a_place_takes_what_changed_and_keeps_the_rest(values: list[float], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(values) - 1))
    balances = {"wallet:BaseToken:USDT": codec.pack(values, "x")}
    window = Window(first_tick=5, ticks=len(values), market={}, balances=balances)
    before = {"wallet:BaseToken:USDT": 1.0, "wallet:BaseToken:ETH": 2.0}
    assert run_state.ledger_at(before, window, place) == {
        "wallet:BaseToken:USDT": values[place],
        "wallet:BaseToken:ETH": 2.0,
    }
    assert run_state.ledger_at(before, window.model_copy(update={"balances": {}}), place) == before


def test_single_tick_is_the_tick_again_without_its_settlements() -> None:
    settlement = Settlement(tick=6, venue="binance", kind="funding", deltas={"binance:BaseToken:USDT": 1.0})
    market = {"x": codec.pack([1.0, 2.0, 3.0], "x")}
    window = Window(first_tick=5, ticks=3, market=market, balances={}, settlements=codec.pack_settlements([settlement]))
    found = run_state.single_tick(window, 1)
    assert (found.first_tick, found.ticks, found.settlements) == (6, 1, b"")
    assert codec.unpack(found.market["x"]).tolist() == [2.0]


# ------------------------------------------------------------------------------------------------------- beginning


def test_capital_starts_in_the_wallet_where_the_mode_has_one() -> None:
    assert mode_config().initial_key() == "wallet:BaseToken:USDT"


def test_capital_starts_on_the_first_cex_of_a_mode_without_a_wallet() -> None:
    config = custom_config(["okx:BaseToken:USDT", "bybit:BaseToken:USDT"], asset="BTC")
    assert config.initial_key() == "bybit:BaseToken:USDT"


def test_mode_that_holds_its_share_class_nowhere_raises_config_003() -> None:
    with pytest.raises(InputError, match="holds its share class USDT nowhere") as caught:
        custom_config(["wallet:BaseToken:ETH"]).initial_key()
    assert caught.value.error_code == "CONFIG-003"


def test_venue_and_portfolio_begin_with_the_same_balance() -> None:
    state = run_state.initial_checkpoint(mode_config(), 1000.0, 7, START)
    assert state.ledger == state.portfolio.positions == {"wallet:BaseToken:USDT": 1000.0}
    assert (state.next_tick, state.portfolio.capital, state.portfolio.tick) == (0, 1000.0, -1)


def test_orders_are_counted_by_type_and_failures_apart() -> None:
    def order(number: int, operation: str) -> Order:
        return Order.model_validate(
            {
                "operation_id": str(number),
                "operation": operation,
                "venue": "aave_v3",
                "amount": 1.0,
                "strategy_intent": "entry_full",
                "strategy_id": "hand_made",
            }
        )

    def answer(number: int, status: str) -> ExecutionHandshake:
        done = status == "confirmed"
        return ExecutionHandshake.model_validate(
            {
                "operation_id": str(number),
                "status": status,
                "error_code": None if done else "VEN-009",
                "submitted_at": START,
                "executed_at": START + timedelta(seconds=1) if done else None,
                "simulated": True,
            }
        )

    orders = [order(0, "supply"), order(1, "supply"), order(2, "borrow"), order(3, "repay")]
    handshakes = [answer(0, "confirmed"), answer(1, "confirmed"), answer(2, "failed")]
    state = run_state.with_orders(checkpoint(RunStatistics(), 1, orders_by_type={"supply": 1}), orders, handshakes)
    assert state.orders_by_type == {"supply": 3}
    assert state.failed_orders == 1


@given(
    returns=st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=40),
    flows=st.lists(st.floats(-50.0, 400.0), min_size=40, max_size=40),
)
def test_deposits_and_withdrawals_are_no_returns(returns: list[float], flows: list[float]) -> None:
    equity, capital, growth = [1000.0], [1000.0], 1.0
    for change, flow in zip(returns, flows, strict=False):
        grown = equity[-1] * (1.0 + change)
        paid = flow if grown + flow > 100.0 else 0.0
        equity.append(grown + paid)
        capital.append(capital[-1] + paid)
        growth *= 1.0 + change
    found = run_state.with_equity(RunStatistics(), equity, capital)
    assert found.growth == pytest.approx(growth, rel=1e-9)
    assert found.return_sum == pytest.approx(sum(returns), rel=1e-9, abs=1e-9)
    deepest, peak, index = 0.0, 1.0, 1.0
    for change in returns:
        index *= 1.0 + change
        peak = max(peak, index)
        deepest = min(deepest, index / peak - 1.0)
    assert found.max_drawdown == pytest.approx(deepest, abs=1e-9)


def test_a_deposit_after_all_was_lost_is_a_new_beginning() -> None:
    found = run_state.with_equity(RunStatistics(), [1000.0, 500.0, 550.0], [1000.0, 1500.0, 1500.0])
    assert (found.max_drawdown, found.peak, found.growth) == (-1.0, 550.0, 0.0)


def test_growth_bears_what_the_orders_of_the_first_tick_cost() -> None:
    found = run_state.with_equity(RunStatistics(), [990.0, 1089.0], [1000.0, 1000.0])
    assert found.growth == pytest.approx(1.089)
    paid_in = run_state.with_equity(RunStatistics(), [990.0, 1589.0], [1000.0, 1500.0])
    assert paid_in.growth == pytest.approx(1.089)
    assert paid_in.return_sum == pytest.approx(0.1)
