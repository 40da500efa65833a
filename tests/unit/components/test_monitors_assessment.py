"""Position, exposure, risk and PnL of windows: worked numbers, closing attribution, independence of window cuts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.events import ATTRIBUTION
from basis.models.messages import PortfolioState, Settlement
from basis.monitors.core.assessment import Assessment, assess
from basis.monitors.core.plan import compile_plan
from basis.monitors.core.pnl_monitor import GAP_TOLERANCE
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.settlements import in_columns
from basis.runtime.timeline import tick_stamps
from basis.runtime.valuation import Valuer
from basis.testkit import strategies as bst
from basis.testkit.runs import CID, START, custom_config, market_row, portfolio, run_ref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from basis.models.config import RunConfig

    Market = Mapping[str, NDArray[np.float64]]

USDT, ETH = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH"
A_USDT, A_WEETH, DEBT = "aave_v3:aToken:aUSDT", "aave_v3:aToken:aweETH", "aave_v3:debtToken:debtWETH"
LST = "etherfi:LST:weETH"
EIGEN = "wallet:BaseToken:EIGEN"
KEYS = (USDT, ETH, A_USDT, A_WEETH, DEBT, LST, EIGEN)
# these holdings are far from neutral: only the measures of lending are under test
LENIENT = {"delta_warn": 1.0, "delta_breach": 1.0}
CONFIGS = {
    "USDT": custom_config(KEYS, risk=LENIENT),
    "ETH": custom_config([key for key in KEYS if "USDT" not in key], share_class="ETH"),
}


def equity_of(config: RunConfig, positions: Mapping[str, float], row: Mapping[str, float]) -> float:
    valuer = Valuer.of(config)
    return sum(quantity * valuer.unit_share(key, row) for key, quantity in positions.items())


def state_of(config: RunConfig, positions: Mapping[str, float], market: Market) -> PortfolioState:
    """A run that begins with these positions: capital is what they are worth."""
    row = {name: float(column[0]) for name, column in market.items()}
    return portfolio(positions, market={}, capital=equity_of(config, positions, row))


def columns(row: Mapping[str, float], ticks: int = 1) -> dict[str, NDArray[np.float64]]:
    return {name: np.full(ticks, value) for name, value in row.items()}


def lines(done: Assessment, config: RunConfig, ticks: int, source: str = "tick") -> dict[str, list[bytes]]:
    logger = DomainEventLogger(CID, 7, START)
    done.emit(ticks, tick_stamps(run_ref(config), done.window.first_tick, ticks), source, logger)
    found: dict[str, list[bytes]] = {}
    for batch in logger.drain():
        found.setdefault(batch.event_type, []).extend(batch.payload.splitlines())
    return found


def parsed(done: Assessment, config: RunConfig, ticks: int = 1) -> dict[str, list[dict[str, Any]]]:
    return {kind: [orjson.loads(line) for line in found] for kind, found in lines(done, config, ticks).items()}


# --------------------------------------------------------------------------------------------------- worked numbers


def test_exposure_of_every_kind_of_instrument() -> None:
    config = CONFIGS["USDT"]
    row = market_row(config)
    positions = {USDT: 100.0, ETH: 1.0, A_WEETH: 10.0, DEBT: 5.0, LST: 2.0}
    market = columns(row)
    found = parsed(assess(compile_plan(config), state_of(config, positions, market), market, 0, 1), config)
    (exposure,) = found["exposures"]
    ether = 1.0 + 10.0 * 1.05 * 1.04 - 5.0 * 1.08 + 2.0 * 1.04
    assert exposure["asset_exposures"]["ETH"]["quantity"] == pytest.approx(ether)
    assert exposure["net_delta_usd"] == pytest.approx(ether * 3000.0)
    assert exposure["asset_exposures"]["USDT"]["usd_value"] == pytest.approx(99.9)
    total = ether * 3000.0 + 99.9
    assert exposure["total_value_usd"] == pytest.approx(total)
    assert exposure["share_class_value"] == pytest.approx(total / 0.999)
    assert sum(part["percentage"] for part in exposure["asset_exposures"].values()) == pytest.approx(1.0)


def test_share_class_asset_has_zero_delta() -> None:
    config = CONFIGS["ETH"]
    market = columns(market_row(config))
    positions = {ETH: 3.0, DEBT: 1.0}
    found = parsed(assess(compile_plan(config), state_of(config, positions, market), market, 0, 1), config)
    assert found["exposures"][0]["net_delta_usd"] == 0.0


def test_health_factor_and_ltv_of_behaviour_section_5() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config))
    positions = {A_USDT: 10_000.0, A_WEETH: 1.0, DEBT: 2.0}
    (risk,) = parsed(assess(compile_plan(config), state_of(config, positions, market), market, 0, 1), config)[
        "risk_assessments"
    ]
    usdt, weeth, debt = 10_000 * 1.05 * 0.999, 1.05 * 1.04 * 3000.0, 2 * 1.08 * 3000.0
    assert risk["health_factor"] == pytest.approx((usdt * 0.78 + weeth * 0.80) / debt)
    assert risk["ltv_ratio"] == pytest.approx(debt / (usdt + weeth))
    assert risk["liquidation_threshold"] == pytest.approx((usdt * 0.78 + weeth * 0.80) / (usdt + weeth))
    assert (risk["risk_level"], risk["warnings"], risk["breaches"]) == ("low", [], [])


@pytest.mark.parametrize(
    ("factor", "level", "warned", "breached"),
    [(1.3, "low", 0, 0), (1.2, "medium", 1, 0), (1.06, "high", 0, 1), (1.04, "high", 0, 2), (0.99, "critical", 0, 2)],
)
def test_risk_level_by_health_factor(factor: float, level: str, warned: int, breached: int) -> None:
    config = CONFIGS["USDT"]
    row = market_row(config)
    market = columns(row)
    debt = 1_000.0 * 1.05 * 0.999 * 0.78 / factor / (1.08 * 3000.0)
    positions = {A_USDT: 1_000.0, DEBT: debt, USDT: 5_000.0}
    (risk,) = parsed(assess(compile_plan(config), state_of(config, positions, market), market, 0, 1), config)[
        "risk_assessments"
    ]
    assert risk["risk_level"] == level
    assert (len(risk["warnings"]), len(risk["breaches"])) == (warned, breached)


@given(dust=bst.floats(0.0, 1e-17))
def test_debt_that_is_rounding_is_no_debt(dust: float) -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config))
    start = state_of(config, {A_USDT: 1e9, DEBT: dust}, market)
    (risk,) = parsed(assess(compile_plan(config), start, market, 0, 1), config)["risk_assessments"]
    assert (risk["health_factor"], risk["risk_level"]) == (None, "low")


def test_debt_without_collateral_is_critical() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config))
    done = assess(compile_plan(config), state_of(config, {DEBT: 1.0, USDT: 1e5}, market), market, 0, 1)
    (risk,) = parsed(done, config)["risk_assessments"]
    assert (risk["risk_level"], risk["health_factor"], risk["ltv_ratio"]) == ("critical", 0.0, None)


def test_emode_threshold_replaces_that_of_eth_correlated_tokens_alone() -> None:
    emode = {"ltv": 0.93, "liquidation_threshold": 0.95, "liquidation_bonus": 0.01, "reserve_factor": 0.1}
    config = custom_config(KEYS, venues={"aave_v3": {"emode": emode}}, risk=LENIENT)
    thresholds = {line.key: line.liquidation_threshold for line in compile_plan(config).lines}
    assert (thresholds[A_WEETH], thresholds[A_USDT], thresholds[USDT], thresholds[DEBT]) == (0.95, 0.78, 0.0, 0.0)


def test_attribution_of_index_rate_and_price_changes_one_factor_at_a_time() -> None:
    config = CONFIGS["USDT"]
    first = market_row(config)
    second = first | {
        "liquidity_index:USDT": 1.06,
        "liquidity_index:weETH": 1.051,
        "borrow_index:WETH": 1.09,
        "oracle_price_eth:weETH": 1.05,
        "price_usd:ETH": 3300.0,
        "dex:EIGENWETH": 2e-3,
    }
    market = {name: np.array([first[name], second[name]]) for name in first}
    positions = {A_USDT: 1000.0, A_WEETH: 10.0, DEBT: 5.0, LST: 2.0, EIGEN: 100.0, ETH: 1.0}
    done = assess(compile_plan(config), state_of(config, positions, market), market, 0, 2)
    parts = {cause: float(column[1]) for cause, column in done.pnl.attribution.items()}
    p0, p1 = 3000.0 / 0.999, 3300.0 / 0.999
    assert parts["supply"] == pytest.approx(1000.0 * 0.01 + 10 * 0.001 * 1.04 * p0)
    assert parts["borrow"] == pytest.approx(-5 * 0.01 * p0)
    assert parts["staking"] == pytest.approx(10 * 1.051 * 0.01 * p0 + 2 * 0.01 * p0)
    before, after = 10 * 1.05 * 1.04 - 5 * 1.08 + 2 * 1.04, 10 * 1.051 * 1.05 - 5 * 1.09 + 2 * 1.05
    assert parts["price_effect"] == pytest.approx((after - before) * (p1 - p0))
    assert parts["delta"] == pytest.approx((before + 1.0) * (p1 - p0))
    assert parts["dust"] == pytest.approx(100 * (2e-3 * p1 - 1e-3 * p0))
    assert float(done.pnl.total[1]) == pytest.approx(sum(parts.values()))


# -------------------------------------------------------------------------------------------------------- properties

SHARES = st.sampled_from(sorted(CONFIGS))


@st.composite
def cases(draw: st.DrawFn) -> tuple[RunConfig, dict[str, float], Market, int]:
    config = CONFIGS[draw(SHARES)]
    market = draw(bst.market_windows(config, min_ticks=1, max_ticks=30))
    positions = draw(bst.ledgers(config.position_subscriptions, high=100.0))
    wealth = positions | {f"wallet:BaseToken:{config.share_class.currency}": 1e8}  # never near ruin
    return config, wealth, market, len(next(iter(market.values())))


@given(case=cases(), data=st.data())
def test_no_figure_and_no_line_depends_on_where_windows_are_cut(
    case: tuple[RunConfig, dict[str, float], Market, int], data: st.DataObject
) -> None:
    config, positions, market, ticks = case
    plan, state = compile_plan(config), state_of(config, positions, market)
    whole = assess(plan, state, market, 0, ticks)
    expected = lines(whole, config, ticks)
    done = 0
    pieces: dict[str, list[bytes]] = {}
    for length in data.draw(bst.cuts(ticks)):
        part = assess(
            plan, state, {name: column[done : done + length] for name, column in market.items()}, done, length
        )
        for kind, found in lines(part, config, length).items():
            pieces.setdefault(kind, []).extend(found)
        for name, column in part.columns().items():
            assert column.tobytes() == whole.columns()[name][done : done + length].tobytes(), name
        done += length
        state = part.state_at(length - 1)
    assert pieces == expected
    assert state == whole.state_at(ticks - 1)


@given(case=cases())
def test_attribution_closes_and_parts_by_venue_and_asset_sum_to_the_same(
    case: tuple[RunConfig, dict[str, float], Market, int],
) -> None:
    config, positions, market, ticks = case
    state = state_of(config, positions, market)
    done = assess(compile_plan(config), state, market, 0, ticks)
    total = done.pnl.total
    for parts in (done.pnl.attribution, done.pnl.by_venue, done.pnl.by_asset):
        assert np.abs(sum(parts.values()) - total).max() <= GAP_TOLERANCE * state.capital
    assert set(done.pnl.attribution) == set(ATTRIBUTION)
    assert np.abs(done.pnl.gap).max() <= GAP_TOLERANCE * state.capital


@given(case=cases())
def test_equity_equals_the_sum_of_unit_values(case: tuple[RunConfig, dict[str, float], Market, int]) -> None:
    config, positions, market, ticks = case
    done = assess(compile_plan(config), state_of(config, positions, market), market, 0, ticks)
    for place in (0, ticks - 1):
        row = {name: float(column[place]) for name, column in market.items()}
        assert done.window.equity[place] == pytest.approx(equity_of(config, positions, row), rel=1e-9, abs=1e-3)


@given(case=cases())
def test_net_delta_leaves_the_share_class_out(case: tuple[RunConfig, dict[str, float], Market, int]) -> None:
    config, positions, market, ticks = case
    done = assess(compile_plan(config), state_of(config, positions, market), market, 0, ticks)
    others = [usd for asset, usd in done.exposure.usd.items() if asset != config.share_class.currency]
    expected = sum(others, np.zeros(ticks))
    assert np.allclose(done.exposure.net_delta_usd, expected, rtol=1e-12, atol=1e-6)


@given(case=cases())
def test_delta_is_the_net_delta_before_times_the_move_of_each_price(
    case: tuple[RunConfig, dict[str, float], Market, int],
) -> None:
    config, positions, market, ticks = case
    done = assess(compile_plan(config), state_of(config, positions, market), market, 0, ticks)
    valuer, expected = Valuer.of(config), 0.0
    for asset, quantity in done.exposure.quantity.items():
        if asset not in {config.share_class.currency, "EIGEN"}:
            moves = np.diff(valuer.share(asset, market))
            expected += float((quantity[:-1] * moves).sum())
    found = float(done.pnl.attribution["delta"][-1])
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * 1e8)


# ------------------------------------------------------------------------------------------------- settlements, again


def rewards(*ticks: int) -> tuple[Settlement, ...]:
    return tuple(Settlement(tick=tick, venue="wallet", kind="reward", deltas={ETH: 0.5}) for tick in ticks)


def test_settlement_changes_the_position_from_its_own_tick_on() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 4)
    state = portfolio({ETH: 1.0}, market={}, capital=1e9)
    with pytest.raises(ComponentError):  # capital of 1e9 that is not there does not close
        assess(compile_plan(config), state, market, 0, 4)
    start = state_of(config, {ETH: 1.0, USDT: 1e10}, market)
    done = assess(compile_plan(config), start, market, 10, 4, in_columns(rewards(12)))
    assert done.window.quantities[ETH].tolist() == [1.0, 1.0, 1.5, 1.5]
    assert done.state_at(1).positions[ETH] == 1.0
    assert done.state_at(3).positions[ETH] == 1.5


@given(ticks=st.integers(2, 12), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_positions_with_settlements_do_not_depend_on_where_windows_are_cut(
    ticks: int, data: st.DataObject, seed: int
) -> None:
    config = CONFIGS["USDT"]
    market = bst.walk(market_row(config), ticks, seed, scale=1e-4)
    paid = data.draw(st.lists(st.integers(0, ticks - 1), max_size=5).map(sorted))
    settled = tuple(Settlement(tick=t, venue="wallet", kind="reward", deltas={ETH: 1e-3 / 3}) for t in paid)
    plan, state = compile_plan(config), state_of(config, {ETH: 1.0, USDT: 1e10}, market)
    whole = assess(plan, state, market, 0, ticks, in_columns(settled))
    done = 0
    for length in data.draw(bst.cuts(ticks)):
        part_market = {name: column[done : done + length] for name, column in market.items()}
        here = [found for found in settled if done <= found.tick < done + length]
        part = assess(plan, state, part_market, done, length, in_columns(here))
        done += length
        state = part.state_at(length - 1)
        assert state.positions == whole.state_at(done - 1).positions


def test_ratios_exist_only_at_the_ticks_that_have_debt_and_collateral() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 3)
    seized = Settlement(tick=1, venue="aave_v3", kind="liquidation", deltas={DEBT: -0.5, A_USDT: -1e4})
    start = state_of(config, {A_USDT: 1e4, DEBT: 0.5, USDT: 1e11}, market)
    rows = parsed(assess(compile_plan(config), start, market, 0, 3, in_columns([seized])), config, 3)[
        "risk_assessments"
    ]
    assert [row["health_factor"] is None for row in rows] == [False, True, True]
    assert [row["ltv_ratio"] is None for row in rows] == [False, True, True]


def test_settlement_on_a_key_that_the_mode_does_not_hold_raises_pos_002() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config))
    settlement = Settlement(tick=0, venue="okx", kind="funding", deltas={"okx:BaseToken:USDT": 1.0})
    with pytest.raises(ComponentError, match="okx:BaseToken:USDT") as caught:
        assess(compile_plan(config), state_of(config, {USDT: 1.0}, market), market, 0, 1, in_columns([settlement]))
    assert caught.value.error_code == "POS-002"


def test_same_tick_again_after_its_orders_changes_no_pnl_but_names_its_source() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config))
    plan, start = compile_plan(config), state_of(config, {USDT: 100.0}, market)
    first = assess(plan, start, market, 0, 1)
    again = assess(plan, first.state_at(0), market, 0, 1)
    assert again.pnl.total.tolist() == first.pnl.total.tolist()
    before, after = lines(first, config, 1), lines(again, config, 1, "after_execution")
    for kind in before:
        assert orjson.loads(after[kind][0])["order"] > orjson.loads(before[kind][0])["order"]
    assert orjson.loads(after["positions"][0])["trigger_source"] == "after_execution"


def test_applied_operations_are_remembered_within_their_tick_and_forgotten_after() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 2)
    state = state_of(config, {USDT: 100.0}, market).model_copy(update={"applied": ("op",), "tick": 0})
    done = assess(compile_plan(config), state, market, 0, 2)
    assert done.state_at(0).applied == ("op",)
    assert done.state_at(1).applied == ()


# ---------------------------------------------------------------------------------------------------------- refusals


def test_gap_beyond_tolerance_raises_pnl_001_and_names_the_tick() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 2)
    state = state_of(config, {USDT: 100.0}, market)
    wrong = state.model_copy(update={"capital": state.capital * (1 + 2e-6)})
    with pytest.raises(ComponentError, match="tick 7") as caught:
        assess(compile_plan(config), wrong, market, 7, 2)
    assert caught.value.error_code == "PNL-001"


def test_column_that_the_row_before_lacks_raises_pnl_002() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config))
    state = state_of(config, {USDT: 100.0}, market).model_copy(update={"market": {"price_usd:USDT": 1.0}})
    with pytest.raises(ComponentError, match="lacks column") as caught:
        assess(compile_plan(config), state, market, 1, 1)
    assert caught.value.error_code == "PNL-002"


def test_market_without_a_needed_column_raises_pnl_002_and_names_it() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config))
    state = state_of(config, {USDT: 100.0}, market)
    del market["liquidity_index:USDT"]
    with pytest.raises(ComponentError, match="liquidity_index:USDT") as caught:
        assess(compile_plan(config), state, market, 0, 1)
    assert caught.value.error_code == "PNL-002"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_value_that_is_not_finite_raises_pnl_001(value: float) -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 3)
    state = state_of(config, {USDT: 100.0, ETH: 1.0}, market)
    market["price_usd:ETH"] = np.array([3000.0, value, 3000.0])
    with np.errstate(invalid="ignore"), pytest.raises(ComponentError) as caught:
        assess(compile_plan(config), state, market, 0, 3)
    assert caught.value.error_code == "PNL-001"


def test_losing_everything_still_reports() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config))
    state = portfolio({}, market={}, capital=1e-300)
    done = assess(compile_plan(config), state.model_copy(update={"capital": 0.0}), market, 0, 1)
    found = parsed(done, config)
    assert found["exposures"][0]["asset_exposures"]["ETH"]["percentage"] == 0.0


def test_perp_has_no_value_of_its_own() -> None:
    config = custom_config(["binance:BaseToken:USDT", "binance:Perp:BTCUSDT"], asset="BTC")
    market = columns(market_row(config))
    state = portfolio({"binance:BaseToken:USDT": 100.0, "binance:Perp:BTCUSDT": -1.0}, market={}, capital=100.0)
    done = assess(compile_plan(config), state, market, 0, 1)
    assert done.window.equity.tolist() == [100.0]


def test_events_are_one_a_tick_in_order_and_within_the_committed_ticks() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 5)
    done = assess(compile_plan(config), state_of(config, {USDT: 100.0}, market), market, 0, 5)
    found = {kind: [orjson.loads(line) for line in rows] for kind, rows in lines(done, config, 3).items()}
    assert set(found) == {"positions", "exposures", "risk_assessments", "pnl_calculations"}
    for rows in found.values():
        assert [row["timestamp"][11:13] for row in rows] == ["00", "01", "02"]
    story = sorted((row["order"], kind) for kind, rows in found.items() for row in rows)
    assert [kind for _, kind in story[:4]] == ["positions", "exposures", "risk_assessments", "pnl_calculations"]
