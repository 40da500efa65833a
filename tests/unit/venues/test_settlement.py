"""The settlement engine: deposits, arrivals, breaks, and the same floats however a run is cut."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cex import BTC, INVERSE, PERP, USDT, levels, settled, ticks_of, walk

from basis.models.errors import ComponentError
from basis.testkit.runs import START, custom_config
from basis.venues.core.interface import PassiveVenue
from basis.venues.core.settlement import settle
from basis.venues.manager import VenueInterfaceFactory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.operations import OperationType
    from basis.models.order import Order
    from basis.venues.core.interface import At, Step, Stretch

WALLET, TRANSIT = "wallet:BaseToken:USDT", "transit:BaseToken:USDT"
BYBIT, BYBIT_PERP = "bybit:BaseToken:USDT", "bybit:Perp:ETHUSDT"
NAMES = ("binance:BTCUSDT", "binance:BTCUSD", "bybit:ETHUSDT")
FLOWS = [
    {"date": START + timedelta(hours=3), "amount": 100.0},
    {"date": START + timedelta(hours=7, minutes=1), "amount": 0.1},
    {"date": START + timedelta(hours=7, minutes=30), "amount": 1e9},
    {"date": START + timedelta(hours=9), "amount": -5.0},
]
CONFIG = custom_config(
    [WALLET, TRANSIT, USDT, BTC, PERP, INVERSE, BYBIT, BYBIT_PERP],
    asset="BTC",
    strategy=levels(*NAMES),
    capital_flows=FLOWS,
)
VENUES = VenueInterfaceFactory().simulated(CONFIG)


def a_market(seed: int, count: int, sd: float) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Random walks of three perps with funding every eight hours, bars around them."""
    rng = np.random.default_rng(seed)
    columns = {}
    for place, name in enumerate(NAMES):
        marks = walk(seed + place, count, 3000.0 if "ETH" in name else 60_000.0, sd)
        before = np.concatenate((marks[:1], marks[:-1]))
        columns[f"perp:{name}"] = marks
        columns[f"perp_close:{name}"] = marks * 1.0001
        columns[f"perp_high:{name}"] = np.maximum(marks, before) * (1 + abs(rng.normal(0, sd / 2, count)))
        columns[f"perp_low:{name}"] = np.minimum(marks, before) / (1 + abs(rng.normal(0, sd / 2, count)))
        rates = np.where(np.arange(count) % 8 == 0, rng.normal(1e-4, 3e-4, count), 0.0)
        columns[f"funding:{name}"] = rates
    return columns


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sd=st.sampled_from([0.002, 0.01, 0.05]),
    first=st.sampled_from([0, 1, 7, 100]),
    sizes=st.tuples(*[st.floats(-3.0, 3.0)] * 3),
    margin=st.sampled_from([500.0, 20_000.0, 1e6]),
    cuts=st.lists(st.integers(0, 40), max_size=8),
)
def test_the_floats_and_events_do_not_depend_on_where_a_run_is_cut(
    seed: int, sd: float, first: int, sizes: tuple[float, float, float], margin: float, cuts: list[int]
) -> None:
    linear, inverse, ether = sizes
    ledger = {
        WALLET: 10.1,
        TRANSIT: 37.3,
        f"bybit:arriving:USDT@{first + 6}": 30.0,
        f"binance:arriving:USDT@{first + 6}": 7.3,
        USDT: margin,
        BTC: margin / 60_000.0,
        BYBIT: margin / 3.0,
        PERP: linear,
        INVERSE: 100.0 * round(100.0 * inverse),
        BYBIT_PERP: ether,
        "binance:stop_loss:BTCUSDT": 60_000.0 * (1.0 - 0.03 * math.copysign(1.0, linear)),
        "binance:take_profit:BTCUSDT": 60_000.0 * (1.0 + 0.04 * math.copysign(1.0, linear)),
        "binance:entry_price:BTCUSDT": 60_000.0,
        "bybit:stop_loss:ETHUSDT": 3_000.0 * (1.0 - 0.05 * math.copysign(1.0, ether)),
    }
    stretch = ticks_of(CONFIG, a_market(seed, 40, sd), ledger, first)
    whole = settled(stretch)
    for pieces in (settled(stretch, cuts), settled(stretch, range(40))):
        assert set(pieces.balances) == set(whole.balances)
        for key, column in whole.balances.items():
            assert pieces.balances[key].tobytes() == column.tobytes(), key
        assert pieces.settlements == whole.settlements
        assert pieces.ledger == whole.ledger
    assert list(settle(stretch, VENUES).balances) == list(whole.balances)


def still(ticks: int, ledger: dict[str, float], first_tick: int = 0) -> Stretch:
    return ticks_of(CONFIG, {"perp:binance:BTCUSDT": [60_000.0] * ticks}, ledger, first_tick)


def test_deposits_arrive_at_the_first_tick_at_or_after_their_date_and_withdrawals_are_not_ours() -> None:
    done = settle(still(12, {WALLET: 1.0}), VENUES)
    assert [(event.tick, event.kind, event.deltas) for event in done.settlements] == [
        (3, "deposit", {WALLET: 100.0}),
        (8, "deposit", {WALLET: 0.1}),
        (8, "deposit", {WALLET: 1e9}),
    ]
    assert done.balances[WALLET].tolist() == [1.0] * 3 + [101.0] * 5 + [101.0 + (0.1 + 1e9)] * 4
    assert set(done.balances) == {WALLET}


def test_a_deposit_dated_before_the_run_is_there_at_its_first_tick() -> None:
    config = CONFIG.model_copy(
        update={"capital_flows": (CONFIG.capital_flows[0].model_copy(update={"date": START - timedelta(days=9)}),)}
    )
    done = settle(still(2, {})._replace(config=config), VENUES)
    assert [event.tick for event in done.settlements] == [0]


def test_an_arrival_moves_transit_on_and_its_entry_ends() -> None:
    entry = "bybit:arriving:USDT@22"
    done = settle(still(4, {TRANSIT: 50.0, entry: 50.0}, first_tick=20), VENUES)
    (event,) = done.settlements
    assert (event.tick, event.venue, event.kind) == (22, "bybit", "transfer_arrival")
    assert event.deltas == {TRANSIT: -50.0, BYBIT: 50.0}
    assert done.balances[entry].tolist() == [50.0, 50.0, 0.0, 0.0]
    assert done.balances[TRANSIT].tolist() == [50.0, 50.0, 0.0, 0.0]
    assert done.balances[BYBIT].tolist() == [0.0, 0.0, 50.0, 50.0]
    later = settle(still(2, {TRANSIT: 50.0, entry: 50.0}, first_tick=20), VENUES)
    assert later == ({}, ())


def test_an_entry_that_was_due_before_the_stretch_is_no_guess() -> None:
    with pytest.raises(ComponentError, match="was due before tick 20") as caught:
        settle(still(2, {TRANSIT: 5.0, "bybit:arriving:USDT@19": 5.0}, first_tick=20), VENUES)
    assert caught.value.error_code == "ENGINE-002"


def test_nothing_happens_to_an_account_that_holds_no_perps() -> None:
    assert settle(still(3, {USDT: 5.0, BTC: 1.0}, first_tick=50), VENUES) == ({}, ())


def test_a_venue_that_breaks_at_every_tick_and_closes_nothing_ends() -> None:
    class Restless(PassiveVenue):
        operations: frozenset[OperationType] = frozenset()

        def execute(self, order: Order, ledger: Mapping[str, float], at: At) -> Step:
            raise AssertionError

        def first_break(self, *_: object, **__: object) -> int:
            return 0

    done = settle(still(5, {WALLET: 1.0}, first_tick=50), {"wallet": Restless()})
    assert done == ({}, ())


def test_events_of_a_tick_come_by_venue_and_kind() -> None:
    market = {
        "perp:binance:BTCUSDT": [60_000.0, 60_000.0, 60_000.0, 1_000_000.0],
        "perp_close:binance:BTCUSDT": [60_000.0] * 4,
        "funding:binance:BTCUSDT": [0.0, 0.0, 0.0, 1e-4],
        "funding:bybit:ETHUSDT": [0.0, 0.0, 0.0, 1e-4],
    }
    ledger = {
        USDT: 40_000.0,
        PERP: -1.0,
        BYBIT: 9_000.0,
        BYBIT_PERP: -1.0,
        TRANSIT: 3.0,
        "binance:arriving:USDT@3": 3.0,
    }
    done = settle(ticks_of(CONFIG, market, ledger), VENUES)
    assert [(event.venue, event.kind) for event in done.settlements] == [
        ("wallet", "deposit"),
        ("binance", "funding"),
        ("binance", "transfer_arrival"),
        ("binance", "liquidation"),
        ("bybit", "funding"),
    ]
