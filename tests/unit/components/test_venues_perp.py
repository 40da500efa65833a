"""Perps on simulated exchanges: mark-to-market, funding, take profit and stop loss, liquidation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cex import BTC, COIN, FREE, INVERSE, LINEAR, PERP, USDT, Run, settled, ticks_of, walk
from tests.support.venues import order, transact

from basis.models.config import CexConfig
from basis.models.instruments import Venue
from basis.runtime.fills import maintenance_margin, perp_pnl
from basis.testkit.runs import custom_config, market_row
from basis.venues.interfaces.cex.account import maintenance

if TYPE_CHECKING:
    from basis.models.config import RunConfig
    from basis.models.messages import Settlement
    from basis.models.order import Order

BYBIT, BYBIT_PERP = "bybit:BaseToken:USDT", "bybit:Perp:BTCUSDT"
TWO = custom_config([USDT, PERP, BYBIT, BYBIT_PERP], asset="BTC", venues={"binance": FREE, "bybit": FREE})
ENTRY, STOP, TARGET = (f"binance:{name}:BTCUSDT" for name in ("entry_price", "stop_loss", "take_profit"))
sizes = st.floats(0.001, 50.0)


def trade(side: str, amount: float, pair: str = "BTCUSDT", venue: str = "binance", **fields: Any) -> Order:
    return order("perp_trade", venue, amount, side=side, pair=pair, **fields)


def bars(
    config: RunConfig, ledger: dict[str, float], *rows: tuple[float, float, float], symbol: str = "BTCUSDT"
) -> Run:
    """Ticks of (high, low, mark), after a tick at 60,000: settlements and ledger."""
    name = f"binance:{symbol}"
    high, low, mark = zip((60_000.0, 60_000.0, 60_000.0), *rows, strict=True)
    columns = {f"perp_high:{name}": high, f"perp_low:{name}": low, f"perp:{name}": mark}
    return settled(ticks_of(config, columns, ledger, 10))


# --- mark-to-market -------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 9_999), quantity=st.floats(-5.0, 5.0), count=st.integers(2, 60))
def test_linear_gains_add_up_to_quantity_times_the_way_of_the_mark(seed: int, quantity: float, count: int) -> None:
    marks = walk(seed, count)
    done = settled(ticks_of(LINEAR, {"perp:binance:BTCUSDT": marks}, {USDT: 1e7, PERP: quantity}))
    gain = done.ledger[USDT] - 1e7
    assert gain == pytest.approx(quantity * (marks[-1] - marks[0]), abs=1e-6)
    assert done.ledger[PERP] == quantity


@given(seed=st.integers(0, 9_999), contracts=st.integers(-1000, 1000), count=st.integers(2, 60))
def test_inverse_gains_add_up_to_contracts_times_the_difference_of_reciprocals(
    seed: int, contracts: int, count: int
) -> None:
    marks = walk(seed, count)
    ledger = {BTC: 50.0, INVERSE: 100.0 * contracts}
    done = settled(ticks_of(COIN, {"perp:binance:BTCUSD": marks}, ledger))
    gain = done.ledger[BTC] - 50.0
    assert gain == pytest.approx(100.0 * contracts * (1.0 / marks[0] - 1.0 / marks[-1]), abs=1e-12)


@given(seed=st.integers(0, 9_999), lots=st.integers(2, 9_999), side=st.sampled_from(["buy", "sell"]))
def test_a_round_trip_without_costs_earns_exactly_the_way_of_the_mark(seed: int, lots: int, side: str) -> None:
    amount, marks = lots / 1000, walk(seed, 24)
    opened = transact([trade(side, amount)], {USDT: 1e7}, TWO, market_row(TWO, perp__binance__BTCUSDT=marks[0]))
    assert opened.handshakes[0].status == "confirmed"
    held = settled(ticks_of(TWO, {"perp:binance:BTCUSDT": marks}, opened.ledger))
    row = market_row(TWO, perp__binance__BTCUSDT=float(marks[-1]))
    closed = transact([trade({"buy": "sell", "sell": "buy"}[side], amount)], held.ledger, TWO, row)
    sign = 1.0 if side == "buy" else -1.0
    assert closed.ledger == {USDT: pytest.approx(1e7 + sign * amount * (marks[-1] - marks[0]), abs=1e-5), PERP: 0.0}


def test_a_trade_settles_its_slippage_and_fee_at_once() -> None:
    done = transact([trade("sell", 1.0)], {USDT: 10_000.0}, LINEAR, market_row(LINEAR))
    slippage = 60_000.0 * 4e-4
    fee = 60_000.0 * (1.0 - 4e-4) * 5e-4
    (answer,) = done.handshakes
    assert answer.actual_deltas == {PERP: -1.0, USDT: pytest.approx(-fee - slippage)}
    assert answer.costs == {"fees": {USDT: pytest.approx(fee)}, "slippage": {USDT: pytest.approx(slippage)}}
    assert done.ledger[ENTRY] == 60_000.0 * (1.0 - 4e-4)


def test_an_inverse_trade_settles_in_its_coin() -> None:
    done = transact([trade("buy", 60_000.0, "BTCUSD")], {BTC: 1.0}, COIN, market_row(COIN))
    fill = 60_000.0 * (1.0 + 4e-4)
    (answer,) = done.handshakes
    assert answer.costs["fees"] == {BTC: pytest.approx(60_000.0 / fill * 5e-4)}
    assert answer.costs["slippage"] == {BTC: pytest.approx(abs(perp_pnl("BTCUSD", 60_000.0, fill, 60_000.0)))}
    assert answer.actual_deltas[INVERSE] == 60_000.0


# --- entry price and levels -----------------------------------------------------------------------------------------


@given(parts=st.lists(st.tuples(st.integers(2, 500), st.floats(20_000.0, 90_000.0)), min_size=1, max_size=6))
@pytest.mark.parametrize(("symbol", "lot"), [("BTCUSDT", 0.001), ("BTCUSD", 100.0)])
def test_gain_since_the_entry_price_is_the_sum_of_all_adds(
    symbol: str, lot: float, parts: list[tuple[int, float]]
) -> None:
    config = custom_config([USDT, BTC, PERP, INVERSE], asset="BTC", venues={"binance": FREE})
    ledger: dict[str, float] = {USDT: 1e9, BTC: 1e6}
    expected = 0.0
    for lots, price in parts:
        row = market_row(config, **{f"perp__binance__{symbol}": price})
        amount = max(lots, 5) * lot
        done = transact([trade("buy", amount, symbol)], ledger, config, row)
        assert done.handshakes[0].status == "confirmed", done.handshakes
        ledger = done.ledger
        expected += perp_pnl(symbol, amount, price, 50_000.0)
    entry = ledger[f"binance:entry_price:{symbol}"]
    gain = perp_pnl(symbol, ledger[f"binance:Perp:{symbol}"], entry, 50_000.0)
    assert gain == pytest.approx(expected, rel=1e-9, abs=1e-7)


def test_levels_are_kept_on_a_reduction_gone_when_flat_and_new_on_a_turn() -> None:
    row = market_row(LINEAR)
    held = transact([trade("buy", 1.0, take_profit=66_000.0, stop_loss=58_000.0)], {USDT: 1e5}, LINEAR, row).ledger
    assert (held[TARGET], held[STOP]) == (66_000.0, 58_000.0)
    less = transact([trade("sell", 0.4)], held, LINEAR, row).ledger
    assert {key: less[key] for key in (ENTRY, STOP, TARGET)} == {key: held[key] for key in (ENTRY, STOP, TARGET)}
    more = transact([trade("buy", 0.4, stop_loss=59_000.0)], held, LINEAR, row).ledger
    assert (more[TARGET], more[STOP]) == (66_000.0, 59_000.0)
    flat = transact([trade("sell", 1.0)], held, LINEAR, row).ledger
    assert set(flat) == {USDT, PERP}
    turned = transact([trade("sell", 1.5, stop_loss=62_000.0)], held, LINEAR, row).ledger
    assert turned[PERP] == -0.5
    assert turned[STOP] == 62_000.0
    assert TARGET not in turned
    assert turned[ENTRY] == 60_000.0 * (1.0 - 4e-4)


@pytest.mark.parametrize(
    ("sign", "row", "kind", "fill"),
    [
        (1.0, (62_500.0, 59_500.0, 61_000.0), "take_profit", 62_000.0),
        (1.0, (61_000.0, 57_000.0, 57_500.0), "stop_loss", 58_000.0),
        (1.0, (63_000.0, 57_000.0, 61_000.0), "stop_loss", 58_000.0),  # both: the stop is first
        (1.0, (62_000.0, 59_000.0, 60_000.0), "take_profit", 62_000.0),  # touched is enough
        (-1.0, (61_000.0, 57_500.0, 60_000.0), "take_profit", 58_000.0),
        (-1.0, (62_500.0, 59_000.0, 60_000.0), "stop_loss", 62_000.0),
        (-1.0, (62_500.0, 57_000.0, 60_000.0), "stop_loss", 62_000.0),
    ],
)
def test_levels_close_the_position_at_their_price_less_the_fee(
    sign: float, row: tuple[float, float, float], kind: str, fill: float
) -> None:
    stop, target = (58_000.0, 62_000.0) if sign > 0 else (62_000.0, 58_000.0)
    ledger = {USDT: 50_000.0, PERP: 2.0 * sign, ENTRY: 60_000.0, STOP: stop, TARGET: target}
    done = bars(LINEAR, ledger, row, (99_000.0, 1_000.0, 70_000.0))
    (event,) = done.settlements
    assert (event.kind, event.tick, event.venue) == (kind, 11, "binance")
    fee = 2.0 * fill * 5e-4
    assert event.fees == {USDT: pytest.approx(fee)}
    assert event.deltas == {PERP: -2.0 * sign, USDT: pytest.approx(2.0 * sign * (fill - row[2]) - fee)}
    assert event.details["fill_price"] == fill
    assert done.ledger == {USDT: pytest.approx(50_000.0 + 2.0 * sign * (fill - 60_000.0) - fee), PERP: 0.0}
    for key in (ENTRY, STOP, TARGET):
        assert done.balances[key].tolist() == [ledger[key], 0.0, 0.0]


def test_levels_that_no_bar_reaches_do_nothing() -> None:
    ledger = {USDT: 50_000.0, PERP: 2.0, STOP: 58_000.0, TARGET: 62_000.0}
    assert bars(LINEAR, ledger, (61_999.9, 58_000.1, 60_000.0)).settlements == []


@pytest.mark.parametrize(("sign", "gap", "stop"), [(1.0, 55_000.0, 58_000.0), (-1.0, 65_000.0, 62_000.0)])
def test_a_stop_behind_a_gap_fills_where_the_bar_began(sign: float, gap: float, stop: float) -> None:
    # the bar before ended short of the stop, the mark of tick 11 is beyond it: the bar from 11 to 12 begins there
    ledger = {USDT: 50_000.0, PERP: sign, STOP: stop}
    done = bars(LINEAR, ledger, (60_000.0, 60_000.0, gap), (max(gap, 60_000.0), min(gap, 60_000.0), 60_000.0))
    (event,) = done.settlements
    assert (event.tick, event.details["fill_price"]) == (12, gap)
    assert done.ledger[USDT] == pytest.approx(50_000.0 + sign * (gap - 60_000.0) - gap * 5e-4)


def test_a_target_behind_a_gap_fills_no_better_than_its_level() -> None:
    ledger = {USDT: 50_000.0, PERP: 1.0, TARGET: 62_000.0}
    done = bars(LINEAR, ledger, (60_000.0, 60_000.0, 65_000.0), (66_000.0, 64_000.0, 65_000.0))
    assert [event.details["fill_price"] for event in done.settlements] == [62_000.0]


def test_an_inverse_position_closes_in_its_coin() -> None:
    stop = "binance:stop_loss:BTCUSD"
    done = bars(COIN, {BTC: 2.0, INVERSE: 60_000.0, stop: 50_000.0}, (60_000.0, 48_000.0, 49_000.0), symbol="BTCUSD")
    gain = 60_000.0 * (1.0 / 60_000.0 - 1.0 / 50_000.0)
    fee = 60_000.0 / 50_000.0 * 5e-4
    assert done.ledger == {BTC: pytest.approx(2.0 + gain - fee), INVERSE: 0.0}


# --- funding --------------------------------------------------------------------------------------------------------


def funded(config: RunConfig, ledger: dict[str, float], rates: list[float], closes: list[float]) -> list[Settlement]:
    names = [key.removeprefix("perp:") for key in market_row(config) if key.startswith("perp:")]
    columns = {f"funding:{name}": rates for name in names} | {f"perp_close:{name}": closes for name in names}
    return settled(ticks_of(config, columns, ledger)).settlements


@given(
    quantity=sizes,
    rates=st.lists(st.floats(-0.01, 0.01), min_size=1, max_size=10),
    close=st.floats(10_000.0, 90_000.0),
)
def test_funding_of_a_long_and_a_short_is_zero(quantity: float, rates: list[float], close: float) -> None:
    ledger = {USDT: 1e8, PERP: quantity, BYBIT: 1e8, BYBIT_PERP: -quantity}
    found = funded(TWO, ledger, rates, [close] * len(rates))
    assert len(found) == 2 * sum(rate != 0.0 for rate in rates)
    for tick in range(len(rates)):
        assert sum(delta for event in found if event.tick == tick for delta in event.deltas.values()) == 0.0


def test_a_short_receives_a_positive_rate_at_the_close_and_not_at_the_mark() -> None:
    (event,) = funded(LINEAR, {USDT: 1e6, PERP: -2.0}, [0.0, 1e-4, 0.0], [60_000.0, 59_000.0, 58_000.0])
    assert (event.tick, event.kind) == (1, "funding")
    assert event.deltas == {USDT: pytest.approx(11.8, rel=1e-15)}
    assert event.details == {
        "symbol": "BTCUSDT",
        "funding_rate": 1e-4,
        "mark_price": 59_000.0,
        "quantity": -2.0,
        "amount": event.deltas[USDT],
        "token": "USDT",
    }


def test_inverse_funding_is_in_its_coin() -> None:
    (event,) = funded(COIN, {BTC: 10.0, INVERSE: 50_000.0}, [1e-4], [50_000.0])
    assert event.deltas == {BTC: pytest.approx(-1e-4)}


# --- liquidation ----------------------------------------------------------------------------------------------------


def test_an_account_under_maintenance_is_closed_at_mark_for_a_fee() -> None:
    # 1 BTC short from 60,000 with 4,000: at 63,690 the margin is 310, maintenance 63,690 x .005 - 50
    done = settled(
        ticks_of(LINEAR, {"perp:binance:BTCUSDT": [60_000.0, 63_690.0, 63_800.0]}, {USDT: 4_000.0, PERP: -1.0})
    )
    (event,) = done.settlements
    assert (event.tick, event.kind) == (2, "liquidation")
    assert event.details["margin_balance"] == pytest.approx(200.0)
    assert event.details["maintenance_margin"] == pytest.approx(63_800.0 * 0.005 - 50.0)
    assert event.deltas == {PERP: 1.0, USDT: pytest.approx(-200.0)}
    assert event.fees == {USDT: pytest.approx(200.0)}  # 319 would be due, 200 are left
    assert event.details["shortfall"] == 0.0
    assert done.ledger == {USDT: 0.0, PERP: 0.0}


def test_what_a_negative_margin_lacks_is_the_venues_loss() -> None:
    done = settled(ticks_of(LINEAR, {"perp:binance:BTCUSDT": [60_000.0, 70_000.0]}, {USDT: 4_000.0, PERP: -1.0}))
    (event,) = done.settlements
    assert event.deltas == {PERP: 1.0, USDT: 6_000.0}
    assert (event.fees, event.details["shortfall"]) == ({}, 6_000.0)
    assert done.ledger[USDT] == 0.0


def test_a_stop_through_a_gap_that_costs_more_than_the_margin_ends_at_zero() -> None:
    ledger = {USDT: 4_000.0, PERP: 1.0, STOP: 50_000.0}
    done = bars(LINEAR, ledger, (60_000.0, 48_000.0, 49_000.0))
    assert [event.kind for event in done.settlements] == ["stop_loss", "liquidation"]
    assert done.settlements[1].details["shortfall"] == pytest.approx(6_000.0 + 25.0)
    assert done.ledger[USDT] == 0.0


def test_one_account_falls_as_a_whole_and_others_stand() -> None:
    ether, config = (
        "binance:Perp:ETHUSDT",
        custom_config([USDT, BTC, PERP, "binance:Perp:ETHUSDT", INVERSE], asset="BTC"),
    )
    ledger = {USDT: 4_000.0, BTC: 1.0, PERP: -1.0, ether: 0.1, INVERSE: 100.0}
    done = settled(ticks_of(config, {"perp:binance:BTCUSDT": [60_000.0, 63_800.0]}, ledger))
    (event,) = done.settlements
    assert set(event.deltas) == {PERP, ether, USDT}
    assert (done.ledger[INVERSE], done.ledger[BTC]) == (100.0, 1.0)


@given(
    seed=st.integers(0, 9_999),
    quantity=sizes,
    sign=st.sampled_from([1.0, -1.0]),
    leverage=st.floats(1.0, 60.0),
    sd=st.sampled_from([0.01, 0.05, 0.2]),
)
def test_liquidation_never_leaves_the_account_better_off(
    seed: int, quantity: float, sign: float, leverage: float, sd: float
) -> None:
    marks = walk(seed, 30, sd=sd)
    margin = quantity * float(marks[0]) / leverage
    done = settled(ticks_of(LINEAR, {"perp:binance:BTCUSDT": marks}, {USDT: margin, PERP: sign * quantity}))
    before = margin
    for tick, balance in enumerate(done.balances.get(USDT, np.full(30, margin)).tolist()):
        events = [event for event in done.settlements if event.tick == tick]
        if events:
            (event,) = events
            assert balance >= 0.0
            assert balance <= before + 1e-9
            reached = event.details["margin_balance"]
            assert isinstance(reached, float)
            assert event.details["shortfall"] == max(-reached, 0.0)
            assert balance == pytest.approx(max(reached, 0.0) - sum(event.fees.values()), abs=1e-9 * margin)
        else:
            assert balance >= 0.0
        before = balance
    if done.settlements:
        assert done.ledger[PERP] == 0.0
        assert len(done.settlements) == 1


@given(notional=st.floats(0.0, 1e8), venue=st.sampled_from(["binance", "bybit", "okx"]))
def test_maintenance_of_a_column_is_that_of_its_values(notional: float, venue: str) -> None:
    config = custom_config([f"{venue}:BaseToken:USDT", f"{venue}:Perp:BTCUSDT"], asset="BTC").venues[Venue(venue)]
    assert isinstance(config, CexConfig)
    market = config.markets["BTCUSDT-PERP"]
    caps = [tier.notional_cap for tier in market.tiers if tier.notional_cap is not None]
    values = [notional, *caps, *np.nextafter(caps, np.inf).tolist()]
    assert maintenance(market, np.array(values)).tolist() == [maintenance_margin(market, value) for value in values]
