"""Perps, settlements, margin and shocks in the monitors, against a plain loop over ticks and worked numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.events import Phase, order_key
from basis.models.instruments import INSTRUMENTS, InstrumentType, margin_key
from basis.models.messages import PortfolioState, Settlement
from basis.monitors.core import settlement_events
from basis.monitors.core.assessment import Assessment, VenueBalances, assess
from basis.monitors.core.plan import compile_plan
from basis.monitors.core.risk_monitor import maintenance
from basis.runtime import fills
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.settlements import SettlementColumns, in_columns
from basis.runtime.timeline import tick_stamps
from basis.runtime.valuation import Valuer
from basis.testkit import strategies as bst
from basis.testkit.runs import CID, START, custom_config, market_row, mode_config, portfolio, run_ref

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from basis.models.config import RunConfig

    Floats = NDArray[np.float64]
    Market = dict[str, Floats]

USDT, ETH, EIGEN = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH", "wallet:BaseToken:EIGEN"
CLAIM, TRANSIT, LST = "etherfi:BaseToken:ETH", "transit:BaseToken:USDT", "etherfi:LST:weETH"
A_WEETH, DEBT = "aave_v3:aToken:aweETH", "aave_v3:debtToken:debtWETH"
BINANCE, BTC, BYBIT = "binance:BaseToken:USDT", "binance:BaseToken:BTC", "bybit:BaseToken:USDT"
LINEAR, INVERSE, ETH_PERP = "binance:Perp:BTCUSDT", "binance:Perp:BTCUSD", "bybit:Perp:ETHUSDT"
KEYS = (USDT, ETH, EIGEN, CLAIM, TRANSIT, LST, A_WEETH, DEBT, BINANCE, BTC, BYBIT, LINEAR, INVERSE, ETH_PERP)
PERPS = {LINEAR, INVERSE, ETH_PERP}
SHOCKS = [
    {"name": "rally", "btc_move": 0.3, "eth_rise": 0.3},
    {"name": "depeg", "lst_depeg": 0.05, "eth_fall": 0.3},
]
CONFIGS = {
    "USDT": custom_config(KEYS, risk={"scenarios": SHOCKS}),
    "ETH": custom_config(KEYS, share_class="ETH", risk={"scenarios": SHOCKS}),
    "BTC": custom_config([BINANCE, BTC, LINEAR, INVERSE], share_class="BTC", asset="BTC"),
}
RICH = {"USDT": BINANCE, "ETH": ETH, "BTC": BTC}


def columns(row: Mapping[str, float], ticks: int) -> Market:
    return {name: np.full(ticks, value) for name, value in row.items()}


def by_hand(
    config: RunConfig, positions: Mapping[str, float], market: Market, settlements: Sequence[Settlement], ticks: int
) -> Market:
    """Balances as a venue would keep them, tick by tick: mark to market, then settlements one by one."""
    ledger, found = dict.fromkeys(config.position_subscriptions, 0.0) | dict(positions), []
    for tick in range(ticks):
        held = dict(ledger)
        for venue, symbol in config.perps():
            marks = market[f"perp:{venue}:{symbol}"]
            pnl = fills.perp_pnl(symbol, held[f"{venue}:Perp:{symbol}"], marks[max(tick - 1, 0)], marks[tick])
            ledger[margin_key(venue, symbol)] += float(pnl)
        for settlement in settlements:
            if settlement.tick == tick:
                for key, delta in settlement.deltas.items():
                    ledger[key] += delta
        found.append(dict(ledger))
    return {key: np.array([row[key] for row in found]) for key in ledger}


def value_of(config: RunConfig, ledger: Mapping[str, float], row: Mapping[str, float]) -> float:
    valuer = Valuer.of(config)
    return sum(quantity * valuer.unit_share(key, row) for key, quantity in ledger.items())


def state_of(config: RunConfig, positions: Mapping[str, float], market: Market) -> PortfolioState:
    row = {name: float(column[0]) for name, column in market.items()}
    return portfolio(positions, market={}, capital=value_of(config, positions, row))


def lines(done: Assessment, config: RunConfig, ticks: int) -> dict[str, list[bytes]]:
    logger = DomainEventLogger(CID, 7, START)
    run, first = run_ref(config), done.window.first_tick
    stamps = tick_stamps(run, first, ticks)
    settlement_events.emit(done.window, ticks, stamps, run, logger)
    done.emit(ticks, stamps, "tick", logger)
    found: dict[str, list[bytes]] = {}
    for batch in logger.drain():
        found.setdefault(batch.event_type, []).extend(batch.payload.splitlines())
    return found


def last(done: Assessment, config: RunConfig, kind: str = "risk_assessments") -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(lines(done, config, done.window.ticks)[kind][-1])
    return found


def settlement(tick: int, kind: str, deltas: dict[str, float], **fields: Any) -> Settlement:
    venue = next(iter(deltas)).split(":")[0]
    return Settlement.model_validate({"tick": tick, "venue": venue, "kind": kind, "deltas": deltas} | fields)


@st.composite
def settlements(draw: st.DrawFn, config: RunConfig, ticks: int) -> list[Settlement]:
    """Anything that a venue may do on its own, by tick."""
    found = []
    wide = USDT in config.position_subscriptions
    kinds = ["funding", "stop_loss", *(["reward", "deposit", "arrival", "queue", "seizure"] if wide else [])]
    for tick in sorted(draw(st.lists(st.integers(0, ticks - 1), max_size=6))):
        kind, size = draw(st.sampled_from(kinds)), draw(bst.floats(0.01, 100.0))
        if kind == "funding":
            found.append(settlement(tick, "funding", {BINANCE: size, BTC: -size / 1e5}))
        elif kind == "stop_loss":
            found.append(
                settlement(tick, "stop_loss", {LINEAR: size / 1e3, BINANCE: -3.0 * size}, fees={BINANCE: size})
            )
        elif kind == "reward":
            found.append(settlement(tick, "reward", {EIGEN: size}))
        elif kind == "deposit":
            found.append(settlement(tick, "deposit", {config.initial_key(): size}))
        elif kind == "arrival":
            found.append(settlement(tick, "transfer_arrival", {TRANSIT: -size, BYBIT: size}))
        elif kind == "queue":
            found.append(settlement(tick, "unstake_arrival", {CLAIM: -size / 100, ETH: size / 100}))
        else:
            taken = {DEBT: -size / 100, A_WEETH: -size / 90}
            found.append(settlement(tick, "liquidation", taken, fees={A_WEETH: size / 1e4}))
    return found


@st.composite
def cases(draw: st.DrawFn) -> tuple[RunConfig, dict[str, float], Market, list[Settlement], int]:
    config = CONFIGS[draw(st.sampled_from(sorted(CONFIGS)))]
    ticks, scale = draw(st.integers(1, 20)), draw(st.sampled_from([1e-4, 0.01, 0.1]))
    market = bst.walk(market_row(config), ticks, draw(st.integers(0, 2**32 - 1)), scale)
    positions = draw(bst.ledgers(config.position_subscriptions, high=100.0))
    if INVERSE in positions:
        positions[INVERSE] *= 1e4
    rich = positions | {RICH[config.share_class.currency]: 1e8}
    rich |= {} if BTC in rich and config.share_class.currency == "BTC" else {BTC: 1e4}
    return config, rich, market, draw(settlements(config, ticks)), ticks


Case = tuple["RunConfig", "dict[str, float]", "Market", "list[Settlement]", int]


# -------------------------------------------------------------------------------------------------------- properties


@given(case=cases())
def test_quantities_and_equity_are_those_of_a_plain_loop_over_ticks(case: Case) -> None:
    config, positions, market, settled, ticks = case
    state = state_of(config, positions, market)
    done = assess(compile_plan(config), state, market, 0, ticks, in_columns(settled))
    expected = by_hand(config, positions, market, settled, ticks)
    for key, column in done.window.quantities.items():
        assert np.allclose(column, expected[key], rtol=1e-12, atol=1e-6), key
    row = {name: float(column[-1]) for name, column in market.items()}
    ledger = {key: float(column[-1]) for key, column in expected.items()}
    assert done.window.equity[-1] == pytest.approx(value_of(config, ledger, row), rel=1e-9, abs=1e-4)


@given(case=cases())
def test_attribution_closes_by_cause_venue_and_asset(case: Case) -> None:
    config, positions, market, settled, ticks = case
    state = state_of(config, positions, market)
    done = assess(compile_plan(config), state, market, 0, ticks, in_columns(settled))
    total = done.window.equity - done.window.capital
    for parts in (done.pnl.attribution, done.pnl.by_venue, done.pnl.by_asset):
        assert np.abs(sum(parts.values()) - total).max() <= 1e-9 * state.capital


@given(case=cases(), data=st.data())
def test_no_figure_and_no_line_depends_on_where_windows_are_cut(case: Case, data: st.DataObject) -> None:
    config, positions, market, settled, ticks = case
    plan, state = compile_plan(config), state_of(config, positions, market)
    whole = assess(plan, state, market, 0, ticks, in_columns(settled))
    pieces: dict[str, list[bytes]] = {}
    done = 0
    for length in data.draw(bst.cuts(ticks)):
        here = [found for found in settled if done <= found.tick < done + length]
        part_market = {name: column[done : done + length] for name, column in market.items()}
        part = assess(plan, state, part_market, done, length, in_columns(here))
        for kind, found in lines(part, config, length).items():
            pieces.setdefault(kind, []).extend(found)
        for name, column in part.columns().items():
            assert column.tobytes() == whole.columns()[name][done : done + length].tobytes(), name
        assert part.risk.code.tobytes() == whole.risk.code[done : done + length].tobytes()
        done += length
        state = part.state_at(length - 1)
    assert pieces == lines(whole, config, ticks)
    assert state == whole.state_at(ticks - 1)


@given(case=cases())
def test_delta_is_the_net_delta_before_times_the_move_of_each_price(case: Case) -> None:
    config, positions, market, _, ticks = case
    done = assess(compile_plan(config), state_of(config, positions, market), market, 0, ticks)
    valuer, own, expected = Valuer.of(config), config.share_class.currency, 0.0
    quote = valuer.share("USDT", market)
    perps: dict[str, Floats] = {}
    for perp in done.window.perps:
        perps[perp.line.asset] = perps.get(perp.line.asset, np.zeros(ticks)) + perp.units
    for asset, quantity in done.exposure.quantity.items():
        hedge = perps.get(asset, np.zeros(ticks))
        price = valuer.share(asset, market)
        if asset not in {own, "EIGEN"}:
            expected += float(((quantity - hedge)[:-1] * np.diff(price)).sum())
        expected += float((hedge[:-1] * np.diff(price / quote) * quote[1:]).sum())
    size = 1e8 if own != "BTC" else 1e6
    assert float(done.pnl.attribution["delta"][-1]) == pytest.approx(expected, rel=1e-9, abs=1e-9 * size)


@given(case=cases())
def test_net_delta_is_all_but_what_is_held_of_the_share_class(case: Case) -> None:
    config, positions, market, settled, ticks = case
    done = assess(compile_plan(config), state_of(config, positions, market), market, 0, ticks, in_columns(settled))
    valuer, own, row = Valuer.of(config), config.share_class.currency, {k: float(v[-1]) for k, v in market.items()}
    expected = 0.0
    for key, column in done.window.quantities.items():
        entry, quantity = INSTRUMENTS[key], float(column[-1])
        if entry.type is InstrumentType.PERP:
            units = quantity / row[f"perp:{entry.venue}:{entry.symbol}"] if key == INVERSE else quantity
            expected += units * valuer.usd(entry.asset, row)
        elif entry.asset != own:
            expected += quantity * valuer.unit_usd(key, row)
    assert done.exposure.net_delta_usd[-1] == pytest.approx(expected, rel=1e-9, abs=1.0)


@given(case=cases())
def test_ledger_that_agrees_passes_the_cross_check(case: Case) -> None:
    config, positions, market, settled, ticks = case
    theirs = by_hand(config, positions, market, settled, ticks)
    state = state_of(config, positions, market)
    moving = {key: column for key, column in theirs.items() if (column != positions.get(key, 0.0)).any()}
    assess(compile_plan(config), state, market, 0, ticks, in_columns(settled), VenueBalances(positions, moving))


@given(case=cases(), data=st.data())
def test_balance_of_a_venue_that_differs_stops_the_run_and_is_named(case: Case, data: st.DataObject) -> None:
    config, positions, market, settled, ticks = case
    theirs = by_hand(config, positions, market, settled, ticks)
    key = data.draw(st.sampled_from(sorted(config.position_subscriptions)))
    place = data.draw(st.integers(0, ticks - 1))
    state = state_of(config, positions, market)
    row = {name: float(column[0]) for name, column in market.items()}
    unit = abs(Valuer.of(config).unit_share(key, row)) or np.inf
    theirs[key][place] += max(1e-3, 1e-8 * float(np.abs(theirs[key]).max()), 1e-11 * state.capital / unit)
    with pytest.raises(ComponentError, match=f"tick {place}: {key} is") as caught:
        assess(compile_plan(config), state, market, 0, ticks, in_columns(settled), VenueBalances(positions, theirs))
    assert caught.value.error_code == "POS-001"


def test_constant_balance_that_the_ledger_lacks_stops_the_run() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 3)
    state = state_of(config, {USDT: 100.0}, market)
    with pytest.raises(ComponentError, match="by the venue") as caught:
        assess(compile_plan(config), state, market, 0, 3, (), VenueBalances({}, {}))
    assert caught.value.error_code == "POS-001"


@given(notional=bst.floats(0.0, 1e7))
def test_maintenance_on_columns_is_that_of_the_fills(notional: float) -> None:
    config = CONFIGS["USDT"]
    for perp in compile_plan(config).perps:
        edges = [float(cap) for cap in perp.caps[:-1]]
        sizes = np.array([notional, *edges, *(np.nextafter(edge, np.inf) for edge in edges)])
        tiers = fills.market_config(config, perp.venue, perp.symbol, perp=True)
        assert maintenance(perp, sizes).tolist() == [fills.maintenance_margin(tiers, float(size)) for size in sizes]


# --------------------------------------------------------------------------------------------------- worked numbers


def marked(key: str, quantity: float, marks: tuple[float, float], share: str = "USDT", **changes: float) -> Assessment:
    """One perp over one move of its mark; the asset's own price stays unless changed."""
    config = CONFIGS[share]
    entry = INSTRUMENTS[key]
    first = market_row(config) | {f"perp:{entry.venue}:{entry.symbol}": marks[0]}
    second = first | {f"perp:{entry.venue}:{entry.symbol}": marks[1]}
    second |= {name.replace("__", ":"): value for name, value in changes.items()}
    market = {name: np.array([first[name], second[name]]) for name in first}
    positions = {key: quantity, RICH[share]: 1e6, BTC: 1e2}
    return assess(compile_plan(config), state_of(config, positions, market), market, 0, 2)


def test_short_pays_the_rise_of_its_mark_into_its_margin() -> None:
    done = marked(LINEAR, -2.0, (60_000.0, 60_100.0), spot__binance__BTCUSDT=60_080.0)
    assert done.window.quantities[BINANCE].tolist() == [1e6, 1e6 - 200.0]
    parts = {cause: float(column[1]) for cause, column in done.pnl.attribution.items()}
    assert parts["delta"] == pytest.approx(-2.0 * 80.0 + 1e2 * 80.0)
    assert parts["basis"] == pytest.approx(-2.0 * 20.0)


def test_inverse_contracts_settle_in_btc_by_the_inverse_of_the_mark() -> None:
    done = marked(INVERSE, 60_000.0, (60_000.0, 75_000.0), "BTC", spot__binance__BTCUSDT=75_000.0)
    assert done.window.quantities[BTC].tolist() == pytest.approx([1e2, 1e2 + 0.2])
    parts = {cause: float(column[1]) for cause, column in done.pnl.attribution.items()}
    assert parts["delta"] == pytest.approx(0.2)  # 1 BTC x 15,000 USDT / 75,000
    assert parts["basis"] == pytest.approx(0.0, abs=1e-9)
    assert done.exposure.net_delta_usd[1] == pytest.approx(60_000.0 * 0.999)


def test_stop_is_marked_first_and_then_closed_at_its_level() -> None:
    config = CONFIGS["USDT"]
    first = market_row(config)
    market = {name: np.array([value, value]) for name, value in first.items()}
    market["perp:binance:BTCUSDT"] = market["spot:binance:BTCUSDT"] = np.array([60_000.0, 59_000.0])
    positions = {LINEAR: 1.0, BINANCE: 1e5}
    # marked at 59,000 (-1,000); the stop was at 59,400: +400 against the mark, less a fee of 30
    stop = settlement(1, "stop_loss", {LINEAR: -1.0, BINANCE: 370.0}, fees={BINANCE: 30.0}, details={"price": 59_400.0})
    done = assess(compile_plan(config), state_of(config, positions, market), market, 0, 2, in_columns([stop]))
    assert done.window.quantities[BINANCE][1] == 1e5 - 630.0
    assert done.window.quantities[LINEAR][1] == 0.0
    parts = {cause: float(column[1]) for cause, column in done.pnl.attribution.items()}
    assert (parts["delta"], parts["fees"], parts["basis"]) == (-600.0, -30.0, 0.0)
    assert last(done, config, "pnl_calculations")["realized_pnl"] == -30.0
    event = last(done, config, "execution_deltas")
    assert event["operation_type"] == "stop_loss"
    assert event["order"] == order_key(1, Phase.SETTLEMENT, 0)
    assert event["metadata"] == {"price": 59_400.0}
    assert [delta["price"] for delta in event["deltas"]] == [None, 1.0]


def test_funding_reward_and_deposit_count_where_they_belong() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 3)
    flows = [
        settlement(1, "funding", {BYBIT: 12.0}),
        settlement(1, "deposit", {USDT: 500.0}),
        settlement(2, "reward", {EIGEN: 10.0}),
    ]
    start = state_of(config, {USDT: 1000.0, BYBIT: 100.0}, market)
    done = assess(compile_plan(config), start, market, 0, 3, in_columns(flows))
    assert done.window.capital.tolist() == [1100.0, 1600.0, 1600.0]
    assert [done.state_at(place).capital for place in range(3)] == [1100.0, 1600.0, 1600.0]
    assert done.pnl.attribution["funding"].tolist() == [0.0, 12.0, 12.0]
    assert done.pnl.attribution["rewards"][2] == pytest.approx(10 * 1e-3 * 3000.0)
    assert done.pnl.by_venue["bybit"][2] == 12.0
    numbers = [(*some.settlements.ticks.tolist(), *some.numbers) for some in settlement_events.numbered(done.window, 3)]
    assert numbers == [(1, 0), (1, 1), (2, 0)]
    assert len(list(settlement_events.numbered(done.window, 2))) == 2


def test_settlements_in_columns_are_the_same_as_one_by_one() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 6)
    start = state_of(config, {USDT: 1000.0, BYBIT: 100.0, BINANCE: 70.0}, market)
    kind = settlement(0, "funding", {BYBIT: 1.0}).kind
    fundings = (
        SettlementColumns(
            "bybit", kind, np.array([1, 3, 4]), {BYBIT: np.array([0.1, -0.2, 0.3])}, {}, {"token": "USDT"}
        ),
        SettlementColumns(
            "bybit",
            kind,
            np.array([1, 4]),
            {BYBIT: np.array([7.7, 1e-9])},
            {BYBIT: np.array([0.0, 0.2])},
            {"a": np.ones(2)},
        ),
        SettlementColumns("binance", kind, np.array([0, 1, 5]), {BINANCE: np.array([1.0, 2.0, 3.0])}),
    )
    found = []
    for settled in (fundings, in_columns(row for some in fundings for row in some.rows())):
        done = assess(compile_plan(config), start, market, 0, 6, settled)
        logger = DomainEventLogger(CID, 7, START)
        run = run_ref(config)
        settlement_events.emit(done.window, 5, tick_stamps(run, 0, 6), run, logger)
        done.emit(6, tick_stamps(run, 0, 6), "tick", logger)
        found.append([(batch.event_type, batch.count, batch.payload) for batch in logger.drain()])
    assert found[0] == found[1]
    assert found[0][0][:2] == ("execution_deltas", 7)


def test_same_tick_again_marks_nothing_again() -> None:
    done = marked(LINEAR, -2.0, (60_000.0, 60_100.0))
    config = CONFIGS["USDT"]
    row = {name: np.array([value]) for name, value in done.state_at(1).market.items()}
    again = assess(compile_plan(config), done.state_at(1), row, 1, 1)
    assert again.state_at(0) == done.state_at(1)


def test_settlement_outside_the_window_raises_engine_002() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 2)
    with pytest.raises(ComponentError, match=r"outside 0\.\.1") as caught:
        assess(
            compile_plan(config),
            state_of(config, {USDT: 1.0}, market),
            market,
            0,
            2,
            in_columns([settlement(2, "reward", {ETH: 1.0})]),
        )
    assert caught.value.error_code == "ENGINE-002"


def test_arrival_that_is_not_what_had_left_raises_pnl_003() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 1)
    start = state_of(config, {TRANSIT: 100.0, USDT: 1e9}, market)
    short = settlement(0, "transfer_arrival", {TRANSIT: -100.0, BYBIT: 99.0})
    with pytest.raises(ComponentError, match="transfer_arrival") as caught:
        assess(compile_plan(config), start, market, 0, 1, in_columns([short]))
    assert caught.value.error_code == "PNL-003"


# -------------------------------------------------------------------------------------------------------------- risk


def held(positions: Mapping[str, float], config: RunConfig | None = None) -> dict[str, Any]:
    config = config or CONFIGS["USDT"]
    market = columns(market_row(config), 1)
    done = assess(compile_plan(config), state_of(config, positions, market), market, 0, 1)
    return last(done, config)


def test_worst_exchange_counts_for_margin_and_every_exchange_is_shown() -> None:
    # 60,000 of notional on 30,000 and 3,000 on 500
    risk = held({LINEAR: -1.0, BINANCE: 30_000.0, ETH_PERP: -1.0, BYBIT: 500.0, ETH: 1.0, BTC: 1.0})
    assert risk["metadata"]["margin_ratio"] == {"binance": pytest.approx(0.5), "bybit": pytest.approx(500.0 / 3000.0)}
    tiers = fills.market_config(CONFIGS["USDT"], "bybit", "ETHUSDT", perp=True)
    assert risk["margin_usage"] == pytest.approx(fills.maintenance_margin(tiers, 3000.0) / 500.0)
    assert risk["risk_level"] == "high"
    assert risk["breaches"] == ["margin_ratio of bybit below 0.2"]


@pytest.mark.parametrize(
    ("margin", "level", "warned", "breached"),
    [
        (900.0, "low", 0, 0),
        (800.0, "medium", 1, 0),
        (590.0, "high", 0, 1),
        (1.0, "critical", 0, 2),
        (-5.0, "critical", 0, 2),
    ],
)
def test_risk_level_by_margin_ratio(margin: float, level: str, warned: int, breached: int) -> None:
    risk = held({ETH_PERP: -1.0, BYBIT: margin, ETH: 1.0, USDT: 1e5})
    assert (risk["risk_level"], len(risk["warnings"]), len(risk["breaches"])) == (level, warned, breached)


@pytest.mark.parametrize(("ether", "level"), [(0.05, "low"), (0.5, "medium"), (3.0, "high")])
def test_net_delta_is_a_risk_of_market_neutral_modes(ether: float, level: str) -> None:
    positions = {ETH: ether, USDT: 1e5 - 3000.0 * ether}
    assert held(positions)["risk_level"] == level


def test_net_delta_is_no_risk_of_a_directional_mode() -> None:
    config = mode_config("ml_btc_directional_usdt_margin")
    risk = held({"binance:BaseToken:USDT": 1e5, "binance:Perp:BTCUSDT": 1.0}, config)
    assert (risk["risk_level"], risk["warnings"]) == ("low", [])


def test_nothing_held_has_no_ratio() -> None:
    risk = held({USDT: 1e5})
    assert (risk["health_factor"], risk["margin_usage"], risk["risk_level"]) == (None, None, "low")
    assert risk["metadata"]["margin_ratio"] == {"binance": None, "bybit": None}
    nothing = {"health_factor": None, "margin_ratio": None, "liquidated": False}
    assert risk["metadata"]["scenarios"] == {"rally": nothing, "depeg": nothing}


def test_rally_takes_margin_from_a_short_and_a_fall_takes_collateral() -> None:
    # short 1 ETH at 3,000 on 1,000: after +30 % the margin is 100 on 3,900
    risk = held({ETH_PERP: -1.0, BYBIT: 1000.0, A_WEETH: 10.0, DEBT: 6.0, USDT: 1e5})
    rally, depeg = risk["metadata"]["scenarios"]["rally"], risk["metadata"]["scenarios"]["depeg"]
    factor = risk["health_factor"]
    assert rally["margin_ratio"] == pytest.approx(100.0 / 3900.0)
    assert rally["health_factor"] == pytest.approx(factor)  # collateral and debt rise alike
    assert depeg["health_factor"] == pytest.approx(factor * 0.95)
    assert depeg["margin_ratio"] == pytest.approx(1900.0 / 2100.0)
    assert (rally["liquidated"], depeg["liquidated"]) == (False, False)


def test_short_that_a_rally_would_ruin_is_liquidated_in_it() -> None:
    risk = held({ETH_PERP: -1.0, BYBIT: 905.0, USDT: 1e5})
    assert risk["metadata"]["scenarios"]["rally"]["liquidated"] is True
    assert risk["metadata"]["scenarios"]["depeg"]["liquidated"] is False


def test_inverse_long_loses_btc_in_a_fall() -> None:
    config = custom_config(
        [BTC, INVERSE],
        share_class="BTC",
        asset="BTC",
        risk={"scenarios": [{"name": "crash", "btc_move": -0.5}]},
    )
    # 60,000 contracts at 60,000 are 1 BTC of notional; at 30,000 they are 2, and 1 BTC is lost
    crash = held({BTC: 3.0, INVERSE: 60_000.0}, config)["metadata"]["scenarios"]["crash"]
    assert crash["margin_ratio"] == pytest.approx(1.0)
    assert crash["liquidated"] is False
    ruined = held({BTC: 1.005, INVERSE: 60_000.0}, config)["metadata"]["scenarios"]["crash"]
    assert ruined["liquidated"] is True


def test_columns_that_the_strategy_reads_hold_margin_and_notional_in_usd() -> None:
    config = CONFIGS["USDT"]
    market = columns(market_row(config), 2)
    positions = {LINEAR: -1.0, BINANCE: 30_000.0, USDT: 1e5}
    found = assess(compile_plan(config), state_of(config, positions, market), market, 0, 2).columns()
    assert found["margin:binance"][1] == pytest.approx(30_000.0 * 0.999)
    assert found["notional:binance"][1] == pytest.approx(60_000.0 * 0.999)
    assert found["notional:bybit"].tolist() == [0.0, 0.0]
    assert found["capital"].tolist() == [130_000.0, 130_000.0]


@pytest.mark.parametrize("mode", bst.MODES)
def test_every_mode_is_assessed(mode: str) -> None:
    config = mode_config(mode)
    market = bst.walk(market_row(config), 5, 1, 1e-3)
    state = state_of(config, {config.initial_key(): 1e4}, market)
    done = assess(compile_plan(config), state, market, 0, 5)
    assert {kind: len(found) for kind, found in lines(done, config, 5).items()} == dict.fromkeys(
        ("positions", "exposures", "risk_assessments", "pnl_calculations"), 5
    )
