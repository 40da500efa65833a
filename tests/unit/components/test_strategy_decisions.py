"""The strategy over a window: decision order, entry sizes, re-targeting, and independence of where windows are cut."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError, InputError
from basis.models.instruments import TOKEN_DECIMALS
from basis.models.operations import OperationType
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.gas import gas_fee
from basis.runtime.timeline import tick_stamps
from basis.strategy.core.decisions import decide_window
from basis.strategy.core.desk import spendable
from basis.strategy.core.strategy_manager import StrategyManager, StrategyState
from basis.strategy.core.view import TickView
from basis.strategy.strategies import built_modes, is_built, make_strategy
from basis.testkit import strategies as bst
from basis.testkit.runs import CID, START, custom_config, market_row, mode_config, run_ref

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.strategy.core.decisions import Decided

USDT, A_USDT = "wallet:BaseToken:USDT", "aave_v3:aToken:aUSDT"
FRESH = StrategyState()


def view(
    config: RunConfig,
    positions: dict[str, float],
    market: dict[str, NDArray[np.float64]] | None = None,
    equity: list[float] | None = None,
    levels: bytes | None = None,
    first_tick: int = 0,
    changing: dict[str, NDArray[np.float64]] | None = None,
) -> TickView:
    columns = market or {name: np.array([value]) for name, value in market_row(config).items()}
    ticks = len(next(iter(columns.values())))
    figures = {"equity": np.array(equity or [1000.0] * ticks)}
    return TickView(first_tick, columns, figures, positions, changing or {}, levels or bytes(ticks))


def decide(
    config: RunConfig, seen: TickView, ticks: int, state: StrategyState = FRESH, first_tick: int = 0
) -> tuple[Decided, list[dict[str, Any]], list[dict[str, Any]]]:
    logger = DomainEventLogger(CID, 7, START)
    strategy = make_strategy(config)
    run = run_ref(config)
    stamps = tick_stamps(run, first_tick, ticks)
    manager = StrategyManager(config, strategy)
    decided = decide_window(manager, strategy.conditions, seen, ticks, state, run, stamps)
    decided.log(logger)
    lines: dict[str, list[dict[str, Any]]] = {}
    for batch in logger.drain():
        lines.setdefault(batch.event_type, []).extend(orjson.loads(line) for line in batch.payload.splitlines())
    return decided, lines.get("strategy_decisions", []), lines.get("orders", [])


def test_no_position_enters_with_all_but_the_gas() -> None:
    config = mode_config()
    decided, decisions, orders = decide(config, view(config, {USDT: 1000.0}), 1)
    (order,) = decided.orders
    gas = gas_fee(config, market_row(config), OperationType.SUPPLY).amount
    assert (order.operation, order.strategy_intent) == ("supply", "entry_full")
    assert order.amount == pytest.approx(1000.0 - gas, abs=1e-6)
    assert order.amount <= 1000.0 - gas
    assert order.expected_deltas[USDT] == pytest.approx(-order.amount - gas)
    assert order.expected_deltas[A_USDT] == pytest.approx(order.amount / 1.05)
    assert (decisions[0]["decision_type"], decisions[0]["trigger_source"]) == ("entry", "no_position")
    assert orders[0]["operation_id"] == order.operation_id


def test_gas_reserve_above_the_gas_is_kept_back() -> None:
    config = mode_config(overrides={"strategy.gas_reserve": 400.0})
    decided, _, _ = decide(config, view(config, {USDT: 1000.0}), 1)
    assert decided.orders[0].amount == pytest.approx(600.0)


def test_gas_reserve_below_the_gas_still_leaves_the_gas() -> None:
    config = mode_config(overrides={"strategy.gas_reserve": 0.0})
    decided, _, _ = decide(config, view(config, {USDT: 1000.0}), 1)
    gas = gas_fee(config, market_row(config), OperationType.SUPPLY).amount
    assert decided.orders[0].amount <= 1000.0 - gas


@pytest.mark.parametrize("balance", [0.0, 1.0, 12.0])
def test_balance_that_gas_eats_holds_and_says_so(balance: float) -> None:
    config = mode_config(overrides={"venues.wallet.gas_price_gwei": 30})
    decided, decisions, _ = decide(config, view(config, {USDT: balance}), 1)
    assert decided.orders == ()
    assert (decisions[0]["decision_type"], decisions[0]["trigger_source"]) == ("hold", "no_position")
    assert "nothing worth" in decisions[0]["reasoning"]


def test_order_below_min_order_value_is_not_sent() -> None:
    config = mode_config(overrides={"venues.wallet.gas_price_gwei": 0, "strategy.min_order_value": 50.0})
    assert decide(config, view(config, {USDT: 50.0}), 1)[0].orders == ()  # 50 USDT are 49.95 USD
    assert len(decide(config, view(config, {USDT: 50.1}), 1)[0].orders) == 1


def test_position_within_the_threshold_holds() -> None:
    config = mode_config()
    seen = view(config, {USDT: 0.0, A_USDT: 100.0}, equity=[1019.0])
    decided, decisions, _ = decide(config, seen, 1, StrategyState(1000.0))
    assert decided.orders == ()
    assert (decisions[0]["trigger_source"], decisions[0]["action_taken"]) == ("none", "hold")
    assert decided.state == StrategyState(1000.0)


@pytest.mark.parametrize("equity", [1021.0, 979.0])
def test_position_past_the_threshold_retargets_what_is_free(equity: float) -> None:
    config = mode_config()
    decided, decisions, _ = decide(
        config, view(config, {USDT: 500.0, A_USDT: 100.0}, equity=[equity]), 1, StrategyState(1000.0)
    )
    assert decided.orders[0].strategy_intent == "rebalance"
    assert (decisions[0]["decision_type"], decisions[0]["action_taken"]) == ("rebalance", "rebalance")


def test_retarget_with_nothing_free_holds_and_takes_a_new_reference() -> None:
    config = mode_config()
    decided, decisions, _ = decide(
        config, view(config, {USDT: 0.0, A_USDT: 100.0}, equity=[1021.0]), 1, StrategyState(1000.0)
    )
    assert decided.state == StrategyState(1021.0)
    assert (decisions[0]["decision_type"], decisions[0]["trigger_source"]) == ("hold", "deviation")


def test_window_stops_at_the_first_tick_with_orders() -> None:
    config = mode_config()
    row = {name: np.full(5, value) for name, value in market_row(config).items()}
    row["gas_base_fee_gwei"] = np.array([1e6, 1e6, 5.0, 5.0, 5.0])
    decided, decisions, orders = decide(config, view(config, {USDT: 1000.0}, row), 5)
    assert decided.ticks == 3
    assert [line["decision_type"] for line in decisions] == ["hold", "hold", "entry"]
    assert len(orders) == 1
    assert orders[0]["timestamp"] == "2024-05-12T02:00:00+00:00"


@given(data=st.data(), ticks=st.integers(1, 24), seed=st.integers(0, 2**32 - 1), held=st.booleans())
def test_decisions_do_not_depend_on_where_windows_are_cut(
    data: st.DataObject, ticks: int, seed: int, held: bool
) -> None:
    config = mode_config(overrides={"strategy.position_deviation_threshold": 0.005})
    market = bst.walk(market_row(config), ticks, seed, scale=0.05)
    equity = (1000.0 * market["price_usd:ETH"] / market["price_usd:ETH"][0]).tolist()
    positions = {USDT: 0.0, A_USDT: 100.0} if held else {USDT: 0.5}
    levels = bytes(np.random.default_rng(seed).integers(0, 4, ticks).tolist())
    whole, decisions, _ = decide(config, view(config, positions, market, equity, levels), ticks)
    state, done, pieces = StrategyState(), 0, []
    for length in data.draw(bst.cuts(ticks)):
        cut = slice(done, done + length)
        seen = view(
            config, positions, {name: column[cut] for name, column in market.items()}, equity[cut], levels[cut], done
        )
        decided, lines, _ = decide(config, seen, length, state, done)
        state, done = decided.state, done + length
        pieces += lines
    assert orjson.dumps(pieces) == orjson.dumps(decisions)
    assert state == whole.state


@given(
    balance=bst.floats(0, 1e12),
    reserve=bst.floats(0, 1e12),
    decimals=st.sampled_from(sorted(set(TOKEN_DECIMALS.values()))),
)
def test_spendable_leaves_the_reserve_and_less_than_two_units_more(
    balance: float, reserve: float, decimals: int
) -> None:
    amount = spendable(balance, reserve, decimals)
    assert amount >= 0.0
    if amount > 0.0:
        assert (balance - amount) - reserve >= 0.0
    rounding = 4 * math.ulp(balance)
    assert amount >= min(balance - reserve, balance) - 2 * 10.0**-decimals - rounding


@pytest.mark.parametrize("decimals", [6, 18])
def test_spendable_of_less_than_the_reserve_is_nothing(decimals: int) -> None:
    assert spendable(1.0, 1.0, decimals) == 0.0
    assert spendable(1.0, 2.0, decimals) == 0.0


class TestTickView:
    def test_reads_its_own_tick_only(self) -> None:
        config = mode_config()
        row = {name: np.array([value, 2 * value]) for name, value in market_row(config).items()}
        seen = view(config, {USDT: 5.0}, row, [1.0, 2.0], bytes([0, 3]), 10, {A_USDT: np.array([7.0, 8.0])})
        first = (seen.tick, seen.equity, seen.risk_level, seen.market("price_usd:ETH"), seen.position(A_USDT))
        second = (seen.at(1).tick, seen.equity, seen.risk_level, seen.market("price_usd:ETH"), seen.position(A_USDT))
        assert first == (10, 1.0, "low", 3000.0, 7.0)
        assert second == (11, 2.0, "critical", 6000.0, 8.0)
        assert seen.positions() == {USDT: 5.0, A_USDT: 8.0}
        assert seen.figure("equity") == 2.0
        assert seen.position("wallet:BaseToken:BTC") == 0.0
        assert seen.market_row()["price_usd:ETH"] == 6000.0

    def test_missing_column_raises_strat_001(self) -> None:
        with pytest.raises(ComponentError, match="no column") as caught:
            view(mode_config(), {}).market("nope")
        assert caught.value.error_code == "STRAT-001"


def test_built_modes_are_those_with_a_module() -> None:
    assert {"pure_lending_usdt", "pure_lending_eth"} <= set(built_modes())
    assert all(is_built(mode) for mode in built_modes())


def test_mode_without_a_module_raises_config_001() -> None:
    with pytest.raises(InputError, match="hand_made") as caught:
        make_strategy(custom_config([USDT]))
    assert caught.value.error_code == "CONFIG-001"


def test_eth_lending_supplies_weth_from_the_ether_of_the_wallet() -> None:
    config = mode_config("pure_lending_eth")
    decided, _, _ = decide(config, view(config, {"wallet:BaseToken:ETH": 10.0}), 1)
    assert set(decided.orders[0].expected_deltas) == {"wallet:BaseToken:ETH", "aave_v3:aToken:aWETH"}
    assert (decided.orders[0].source_token, decided.orders[0].target_token) == ("WETH", "aWETH")
