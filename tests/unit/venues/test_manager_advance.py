"""The venues' manager on files: the same ticks in any windows, orders at their tick, one place that opens series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.support.market import write_market
from tests.support.venues import order

from basis.models.messages import AdvanceRequest, CoverageRequest, ExecuteRequest
from basis.runtime.codec import unpack, unpack_settlements
from basis.runtime.fills import perp_pnl
from basis.testkit.runs import START, custom_config, run_ref
from basis.venues.core.interface import is_own_entry
from basis.venues.manager import VenueInterfaceManager

if TYPE_CHECKING:
    from pathlib import Path

    from basis.models.config import RunConfig
    from basis.models.messages import RunRef, Settlement, Window
    from basis.venues.data.catalogue import Market

USDT, PERP = "binance:BaseToken:USDT", "binance:Perp:BTCUSDT"
BYBIT, BYBIT_PERP = "bybit:BaseToken:USDT", "bybit:Perp:ETHUSDT"
CONFIG = custom_config([USDT, PERP, BYBIT, BYBIT_PERP, "transit:BaseToken:USDT"], asset="BTC")
LAST = 71


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_market(tmp_path_factory.mktemp("market"), CONFIG, days=4)


@pytest.fixture
def manager(data: Path, tmp_path: Path) -> VenueInterfaceManager:
    return VenueInterfaceManager(data, tmp_path / "cache")


def run_of(manager: VenueInterfaceManager, config: RunConfig = CONFIG) -> RunRef:
    covered = manager.coverage(CoverageRequest(config=run_ref(config).config, start=START))
    return run_ref(config, last_tick=LAST, data_sha256=covered.data_sha256)


def advanced(
    manager: VenueInterfaceManager, run: RunRef, ledger: dict[str, float], ticks: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], list[Settlement]]:
    """The whole run in windows of so many ticks, without orders: market, balances, settlements."""
    market: dict[str, list[float]] = {}
    balances: dict[str, list[float]] = {}
    settlements: list[Settlement] = []
    held, tick = dict(ledger), 0
    while tick <= LAST:
        window = manager.advance(AdvanceRequest(run=run, ledger=held, first_tick=tick, ticks=ticks)).window
        assert window.ticks == min(ticks, LAST + 1 - tick)
        for name, column in window.market.items():
            market.setdefault(name, []).extend(unpack(column).tolist())
        for key in (USDT, BYBIT, PERP, BYBIT_PERP):
            values = (
                unpack(window.balances[key]).tolist() if key in window.balances else [held.get(key, 0.0)] * window.ticks
            )
            balances.setdefault(key, []).extend(values)
        held |= {key: float(unpack(column)[-1]) for key, column in window.balances.items()}
        held = {key: value for key, value in held.items() if value or not is_own_entry(key)}
        settlements += unpack_settlements(window.settlements)
        tick += window.ticks
    return market, balances, settlements


@pytest.mark.parametrize("margin", [30_000.0, 3_600.0])
def test_a_run_is_the_same_in_windows_of_any_size(manager: VenueInterfaceManager, margin: float) -> None:
    run = run_of(manager)
    ledger = {
        USDT: margin,
        PERP: -1.0,
        BYBIT: 3_000.0,
        BYBIT_PERP: 2.0,
        "transit:BaseToken:USDT": 7.0,
        "bybit:arriving:USDT@5": 7.0,
    }
    whole = advanced(manager, run, ledger, LAST + 1)
    for ticks in (1, 7, 64):
        assert advanced(manager, run, ledger, ticks) == whole
    market, balances, settlements = whole
    kinds = [event.kind for event in settlements]
    assert "funding" in kinds
    assert "transfer_arrival" in kinds
    if "liquidation" not in kinds:
        gains = np.diff(market["perp:binance:BTCUSDT"])
        paid = sum(event.deltas.get(USDT, 0.0) for event in settlements)
        assert balances[USDT][-1] - margin == pytest.approx(-gains.sum() + paid)


def test_little_margin_is_liquidated_in_the_run_above(manager: VenueInterfaceManager) -> None:
    # the property above would say little if no window ever broke
    _, balances, settlements = advanced(manager, run_of(manager), {USDT: 300.0, PERP: -1.0}, 72)
    assert settlements[-1].kind == "liquidation"
    assert balances[PERP][-1] == 0.0


def test_an_order_executes_at_the_marks_of_its_tick_and_settles_from_there(manager: VenueInterfaceManager) -> None:
    run = run_of(manager)
    sale = order("perp_trade", "binance", 1.0, side="sell", pair="BTCUSDT")
    done = manager.execute(ExecuteRequest(run=run, tick=10, orders=(sale,), ledger={USDT: 50_000.0}))
    (answer,) = done.handshakes
    assert answer.status == "confirmed"

    def window(first: int) -> Window:
        request = AdvanceRequest(run=run, ledger=done.ledger, first_tick=first, ticks=1)
        return manager.advance(request).window

    before, after = (float(unpack(window(tick).market["perp:binance:BTCUSDT"])[0]) for tick in (10, 11))
    assert answer.execution_details["market_price"] == before
    moved = float(unpack(window(11).balances[USDT])[0]) - done.ledger[USDT]
    paid = sum(event.deltas[USDT] for event in unpack_settlements(window(11).settlements))
    assert moved == pytest.approx(perp_pnl("BTCUSDT", -1.0, before, after) + paid)


def test_series_are_opened_in_one_place(data: Path, tmp_path: Path) -> None:
    opened: list[str] = []

    class Watched(VenueInterfaceManager):
        def _open(self, config: RunConfig) -> Market:
            opened.append(config.mode)
            return super()._open(config)

    manager = Watched(data, tmp_path / "cache")
    run = run_of(manager)
    manager.advance(AdvanceRequest(run=run, ledger={USDT: 1.0}, first_tick=0, ticks=3))
    assert opened == ["hand_made"]
    replica = Watched(data, tmp_path / "cache")
    replica.advance(AdvanceRequest(run=run, ledger={USDT: 1.0}, first_tick=3, ticks=3))
    assert opened == ["hand_made"] * 2
