"""The ten strategies over the pure cores of strategy, venues and monitors: what they do on markets made by hand."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.support import loop

from basis.models.instruments import CEX_VENUES, INSTRUMENTS
from basis.models.operations import SettlementKind
from basis.strategy.strategies import built_modes
from basis.testkit.runs import START, mode_config

CAPITAL = {"USDT": 100_000.0, "ETH": 100.0, "BTC": 10.0}
HEDGED = ("btc_basis", "eth_basis", "usdt_market_neutral", "usdt_market_neutral_no_leverage")
NEUTRAL = ("usdt_market_neutral", "usdt_market_neutral_no_leverage")
ML = {"ml_btc_directional_usdt_margin": "BTCUSDT", "ml_btc_directional_btc_margin": "BTCUSD"}
MODES = built_modes()


def config(mode: str, overrides: dict[str, Any] | None = None) -> Any:
    return mode_config(mode, overrides)


def capital(mode: str) -> float:
    return CAPITAL[config(mode).share_class.currency]


def flow(hour: int, amount: float) -> dict[str, Any]:
    return {"date": (START + timedelta(hours=hour)).isoformat(), "amount": amount}


def prices(asset: str, path: Any) -> dict[str, Any]:
    """Spot, perps and closes of an asset on every exchange, all the same."""
    found = {f"{kind}__{venue}__{asset}USDT": path for kind in ("perp", "perp_close") for venue in CEX_VENUES}
    return found | {f"spot__binance__{asset}USDT": path}


def no_funding(asset: str) -> dict[str, Any]:
    return {f"funding__{venue}__{asset}USDT": 0.0 for venue in CEX_VENUES}


def market(mode: str, ticks: int, **changes: Any) -> Any:
    known = {feed.column.replace(":", "__") for feed in config(mode).feeds()}
    return loop.columns(config(mode), ticks, **{name: value for name, value in changes.items() if name in known})


def failures(ran: loop.Ran) -> list[str]:
    return [str(h.error_message) for trade in ran.trades for h in trade.handshakes if h.error_message]


def check(ran: loop.Ran, start: float) -> None:
    """What holds for every run: no order fails, both ledgers agree, PnL is explained."""
    assert failures(ran) == []
    for key in INSTRUMENTS:
        ours, theirs = ran.portfolio.positions.get(key, 0.0), ran.ledger.get(key, 0.0)
        assert math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9 * start), key
    gap = ran.equity[-1] - ran.portfolio.capital - sum(ran.portfolio.attribution.values())
    assert abs(gap) <= 1e-6 * start


def random_market(mode: str, seed: int, ticks: int) -> Any:
    """Random walks for prices, growing indices and rates, funding of both signs, rewards now and then, random signals."""
    rng = np.random.default_rng(seed)
    found = loop.columns(config(mode), ticks)
    walks = {asset: np.exp(np.cumsum(rng.normal(0.0, 0.01, ticks))) for asset in ("ETH", "BTC")}
    for name, column in found.items():
        kind = name.split(":")[0]
        asset = "ETH" if "ETH" in name else "BTC"
        if kind in {"spot", "perp", "perp_close"} or name == "price_usd:ETH":
            found[name] = column * walks[asset] * np.exp(rng.normal(0.0, 1e-4, ticks))
        elif kind in {"liquidity_index", "borrow_index", "oracle_price_eth"}:
            found[name] = column * np.exp(np.cumsum(np.abs(rng.normal(2e-5, 1e-5, ticks))))
        elif kind in {"funding", "funding_mean"}:
            found[name] = rng.normal(5e-5, 1e-4, ticks) * (rng.random(ticks) < (0.2 if kind == "funding" else 1.0))
        elif kind.startswith("reward_"):
            found[name] = np.where(rng.random(ticks) < 0.05, 5.0, 0.0)
        elif kind == "signal_side":
            found[name] = np.repeat(rng.integers(-1, 2, ticks), 4)[:ticks].astype(float)
        elif kind == "signal_confidence":
            found[name] = rng.uniform(0.5, 1.0, ticks)
    for name in list(found):
        if name.startswith("perp_high:"):
            found[name] = found["perp:" + name.split(":", 1)[1]] * (1.0 + np.abs(rng.normal(0.0, 0.01, ticks)))
        elif name.startswith("perp_low:"):
            found[name] = found["perp:" + name.split(":", 1)[1]] * (1.0 - np.abs(rng.normal(0.0, 0.01, ticks)))
    return found


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a run shrinks slowly
@given(seed=st.integers(0, 10_000), window=st.integers(1, 40))
def test_any_market_closes_its_books_whatever_the_window(mode: str, seed: int, window: int) -> None:
    found = random_market(mode, seed, 48)
    flows = {"capital_flows": [flow(9, capital(mode) * 0.3), flow(20, -capital(mode) * 0.4)]}
    ran = loop.run(config(mode, flows), found, capital(mode), window)
    check(ran, capital(mode))
    again = loop.run(config(mode, flows), found, capital(mode), 48)
    assert again.equity == ran.equity
    assert again.ledger == ran.ledger
    assert again.portfolio == ran.portfolio
    assert [trade.orders for trade in again.trades] == [trade.orders for trade in ran.trades]


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in ML])
def test_deposit_goes_to_work_and_everything_can_be_withdrawn(mode: str) -> None:
    start = capital(mode)
    swap = {"strategy.exit_route": "swap"} if mode == "eth_staking_only" else {}
    changed = config(
        mode, {"capital_flows": [flow(5, start / 5), flow(10, -start * 0.3), flow(15, -start * 10)], **swap}
    )
    ran = loop.run(changed, market(mode, 30), start)
    check(ran, start)
    assert ran.actions() == ["entry_full", "entry_partial", "exit_partial", "exit_partial"]
    paid = ran.trades[2].equity_before - ran.trades[2].equity
    assert paid >= start * 0.3
    assert paid <= start * 0.305
    assert ran.equity[-1] < start * 1e-4
    assert ran.state.pending_withdrawal == 0.0  # more was asked for than there was: a later deposit does not owe it


@pytest.mark.parametrize("mode", ML)
def test_ml_mode_pays_a_withdrawal_from_free_margin_and_a_large_one_by_closing(mode: str) -> None:
    start = capital(mode)
    changed = config(mode, {"capital_flows": [flow(1, -start * 0.3), flow(3, -start * 0.65)]})
    ran = loop.run(changed, market(mode, 60, signal_side=1.0, signal_confidence=0.9), start)
    check(ran, start)
    assert ran.actions()[:2] == ["entry_full", "exit_partial"]
    assert len(ran.trades[1].orders) == 1  # margin was free: nothing was closed
    closing = next(trade for trade in ran.trades if trade.tick == 36)
    assert [order.operation for order in closing.orders] == ["perp_trade", "transfer"]


@pytest.mark.parametrize("mode", HEDGED)
@pytest.mark.parametrize("move", [0.01, -0.01])
def test_hedged_mode_earns_nothing_and_loses_only_costs_on_a_price_move(mode: str, move: float) -> None:
    asset = config(mode).asset
    start = {"BTC": 60_000.0, "ETH": 3_000.0}[asset]
    path = start * np.exp(np.cumsum(np.r_[0.0, np.full(119, move)]))
    ran = loop.run(config(mode), market(mode, 120, **prices(asset, path), **no_funding(asset)), 100_000.0)
    check(ran, 100_000.0)
    parts = ran.portfolio.attribution
    costs = -(parts["fees"] + parts["gas"] + parts["slippage"])
    earned = ran.equity[-1] - 100_000.0 + costs - parts["rewards"] - parts["dust"]
    assert abs(earned) < 150.0  # what lots leave open of a move by a factor of three
    assert 0.0 < costs < 1500.0
    ratios = [
        margin / size
        for venue in CEX_VENUES
        for margin, size in zip(ran.figures[f"margin:{venue}"], ran.figures[f"notional:{venue}"], strict=True)
        if size > 0.0
    ]
    assert min(ratios) > 0.19  # brought back at .20, one tick of 1 % at a time
    margin_calls = [trade for trade in ran.trades if trade.trigger == "margin"]
    assert len(margin_calls) == (0 if move < 0.0 else len(margin_calls) or -1)


def test_basis_leaves_when_funding_turns_and_comes_back_when_it_pays() -> None:
    mean = np.r_[np.full(5, -1e-5), np.full(10, 1e-5), np.full(10, -2e-5), np.full(10, -1e-4), np.full(10, 2e-5)]
    columns = {f"funding_mean__{venue}__BTCUSDT": mean for venue in CEX_VENUES}
    ran = loop.run(config("btc_basis"), market("btc_basis", 45, **columns, **no_funding("BTC")), 100_000.0)
    check(ran, 100_000.0)
    assert [(trade.tick, trade.action) for trade in ran.trades] == [
        (5, "entry_full"),
        (25, "exit_full"),  # -2e-5 in between is above the exit threshold: hysteresis
        (35, "entry_full"),
    ]


def test_basis_entry_is_the_closed_form_of_behaviour_md() -> None:
    ran = loop.run(config("btc_basis"), market("btc_basis", 2), 100_000.0)
    spot = ran.ledger["binance:BaseToken:BTC"]
    shorts = {venue: -ran.ledger[f"{venue}:Perp:BTCUSDT"] for venue in CEX_VENUES}
    assert sum(shorts.values()) == pytest.approx(spot, rel=1e-12)
    assert spot * 60_000.0 == pytest.approx(100_000.0 / 1.5, rel=0.005)  # E/(1+m), less costs and lots
    assert shorts[CEX_VENUES[0]] / spot == pytest.approx(0.4, abs=0.002)
    for venue in CEX_VENUES:
        assert ran.figures[f"margin:{venue}"][0] / ran.figures[f"notional:{venue}"][0] == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("mode", NEUTRAL)
def test_market_neutral_entry_hedges_what_is_staked_net_of_debt(mode: str) -> None:
    ran = loop.run(config(mode), market(mode, 2), 100_000.0)
    check(ran, 100_000.0)
    assert abs(ran.figures["net_delta_usd"][0]) < 0.01 * 3000.0 * 1.01  # a lot of the coarsest market
    short = -sum(ran.ledger[f"{venue}:Perp:ETHUSDT"] for venue in CEX_VENUES)
    assert short * 3000.0 == pytest.approx(50_000.0, rel=0.01)


@pytest.mark.parametrize("mode", [*NEUTRAL, "btc_basis"])
def test_transfers_that_take_time_lead_to_the_same_position(mode: str) -> None:
    keys = [*config(mode).position_subscriptions, "transit:BaseToken:USDT", "transit:BaseToken:ETH"]
    delays = {
        "venues.binance.deposit_delay_s": 3600,
        "venues.bybit.deposit_delay_s": 7200,
        "venues.wallet.deposit_delay_s": 3600,
    }
    asset = config(mode).asset
    quiet = no_funding(asset)
    slow = loop.run(config(mode, {"position_subscriptions": keys, **delays}), market(mode, 20, **quiet), 100_000.0)
    quick = loop.run(config(mode), market(mode, 20, **quiet), 100_000.0)
    check(slow, 100_000.0)
    assert [trade.tick for trade in slow.trades][:2] == [0, 2]
    assert slow.portfolio.positions["transit:BaseToken:USDT"] == pytest.approx(0.0, abs=1e-9)
    for venue in CEX_VENUES:
        key = f"{venue}:Perp:{asset}USDT"
        assert slow.ledger[key] == pytest.approx(quick.ledger[key], rel=0.01)
    assert slow.equity[-1] == pytest.approx(quick.equity[-1], rel=2e-3)


def slow(mode: str, **changes: Any) -> Any:
    """A mode whose transfers take a tick and whose gas is no USDT, as live."""
    keys = [*config(mode).position_subscriptions, "transit:BaseToken:USDT", "transit:BaseToken:ETH"]
    delays = {f"venues.{venue}.deposit_delay_s": 3600 for venue in ("wallet", *CEX_VENUES)}
    return config(mode, {"position_subscriptions": keys, "venues.wallet.gas_price_gwei": 0, **delays, **changes})


@pytest.mark.parametrize("mode", [*NEUTRAL, "btc_basis"])
def test_prices_that_move_while_money_is_on_its_way_call_for_no_second_transfer(mode: str) -> None:
    asset = config(mode).asset
    first = 3000.0 if asset == "ETH" else 60_000.0
    path = first * (1.0 + 1e-3 * np.sin(np.arange(12)))
    moving = {f"perp__{venue}__{asset}USDT": path * (1.0 + 1e-4 * place) for place, venue in enumerate(CEX_VENUES)}
    found = market(mode, 12, **no_funding(asset), **moving, **{f"spot__binance__{asset}USDT": path})
    ran = loop.run(slow(mode), found, 100_000.0)
    assert failures(ran) == []
    sent = [[order.operation for order in trade.orders] for trade in ran.trades]
    assert sent[0] == ["transfer"] * 3
    assert sent[1] == ["spot_trade", "perp_trade", "perp_trade", "perp_trade"]  # bought and hedged at one tick
    assert not any(order.source_token == "USDT" for trade in ran.trades[2:] for order in trade.orders if not order.pair)


@pytest.mark.parametrize("mode", NEUTRAL)
def test_hedge_that_lacks_margin_waits_for_its_money(mode: str) -> None:
    """A wallet with ether from the start: the short that it needs is opened once its margin is there, not refused."""
    held = {"wallet:BaseToken:USDT": 100_000.0, "wallet:BaseToken:ETH": 20.0}
    changed = slow(mode, **{"strategy.gas_float_eth": 0.1})
    ran = loop.run(changed, market(mode, 20, **no_funding("ETH")), 160_000.0, held=held)
    assert failures(ran) == []
    first, second = ran.trades[:2]
    assert first.trigger == second.trigger == "net_delta_emergency"
    assert {order.operation for order in first.orders} == {"transfer"}
    assert {order.operation for order in second.orders} == {"perp_trade"}
    assert abs(ran.figures["net_delta_usd"][-1]) < 0.02 * ran.equity[-1]
    assert 0.1 <= ran.ledger["wallet:BaseToken:ETH"] < 0.2, "gas money is neither staked nor sold"
    short = -sum(ran.ledger[f"{venue}:Perp:ETHUSDT"] for venue in CEX_VENUES)
    assert short * 3000.0 == pytest.approx(60_000.0, rel=0.01)


@pytest.mark.parametrize("mode", NEUTRAL)
def test_withdrawal_whose_money_takes_its_time_unwinds_once(mode: str) -> None:
    changed = slow(mode, capital_flows=[flow(10, -30_000.0)], **{"strategy.gas_float_eth": 0.1})
    held = {"wallet:BaseToken:USDT": 99_700.0, "wallet:BaseToken:ETH": 0.1}
    ran = loop.run(changed, market(mode, 40, **no_funding("ETH")), 100_000.0, held=held)
    assert failures(ran) == []
    paid = [order.amount for trade in ran.trades for order in trade.orders if order.target_venue == "client"]
    assert sum(paid) == pytest.approx(30_000.0, rel=1e-6)
    swaps = [order for trade in ran.trades for order in trade.orders if order.operation == "swap"]
    assert len(swaps) == 1
    assert abs(ran.figures["net_delta_usd"][-1]) < 0.02 * ran.equity[-1]
    short = -sum(ran.ledger[f"{venue}:Perp:ETHUSDT"] for venue in CEX_VENUES)
    assert short * 3000.0 == pytest.approx(35_000.0, rel=0.1)


def test_leverage_reaches_its_target_ltv_in_one_group() -> None:
    ran = loop.run(config("eth_leveraged"), market("eth_leveraged", 3), 100.0)
    check(ran, 100.0)
    (entry,) = ran.trades
    assert len({order.atomic_group_id for order in entry.orders}) == 1
    assert ran.figures["debt_usd"][0] / ran.figures["collateral_usd"][0] == pytest.approx(0.65, rel=1e-9)
    assert ran.figures["collateral_usd"][0] == pytest.approx(100.0 * 3000.0 / 0.35, rel=1e-3)


@pytest.mark.parametrize("mode", ["eth_leveraged", "usdt_market_neutral"])
def test_low_health_factor_goes_back_to_target(mode: str) -> None:
    rate = np.r_[np.full(20, 1.04), np.linspace(1.04, 0.92, 60), np.full(10, 0.92)]
    changed = config(mode, {"strategy.target_ltv": 0.8})
    found = market(mode, 90, oracle_price_eth__weETH=rate, dex_price_eth__weETH=rate * 0.995)
    ran = loop.run(changed, found, capital(mode))
    assert failures(ran) == []
    called = [trade for trade in ran.trades if trade.trigger == "hf_deleverage"]
    assert called
    for trade in called:
        before, after = trade.tick, trade.tick + 1
        assert ran.figures["threshold_usd"][after] / ran.figures["debt_usd"][after] > 1.1
        assert ran.figures["debt_usd"][after] < ran.figures["debt_usd"][before - 1]
    assert not [event for event in ran.settlements if event.kind is SettlementKind.LIQUIDATION]


def test_leverage_that_fell_grows_back_and_pays_its_gas_out_of_the_loan() -> None:
    index = np.r_[np.full(5, 1.08), np.full(5, 1.06)]  # less debt: equity moves past the threshold
    ran = loop.run(config("eth_leveraged"), market("eth_leveraged", 10, borrow_index__WETH=index), 100.0)
    check(ran, 100.0)
    assert [(trade.tick, trade.action) for trade in ran.trades] == [(0, "entry_full"), (5, "rebalance")]
    assert ran.figures["debt_usd"][5] / ran.figures["collateral_usd"][5] == pytest.approx(0.65, rel=1e-6)


def test_emergency_cuts_the_larger_leg_and_nothing_grows() -> None:
    """An exchange that closes its short on its own leaves the mode long: spot is sold at once, no short is touched."""
    path = np.r_[np.full(5, 60_000.0), np.full(5, 96_000.0)]
    columns = {"perp__okx__BTCUSDT": path, "perp_close__okx__BTCUSDT": path, **no_funding("BTC")}
    ran = loop.run(config("btc_basis"), market("btc_basis", 10, **columns), 100_000.0)
    assert failures(ran) == []
    assert [event.venue for event in ran.settlements if event.kind is SettlementKind.LIQUIDATION] == ["okx"]
    (cut,) = [trade for trade in ran.trades if trade.trigger == "net_delta_emergency"]
    assert cut.tick == 5
    assert [(order.operation, order.side) for order in cut.orders] == [("spot_trade", "sell")]
    assert abs(ran.figures["net_delta_usd"][6]) < 0.02 * ran.equity[6]


def test_ltv_near_the_threshold_unwinds_everything() -> None:
    rate = np.r_[np.full(5, 1.04), np.full(5, 0.89)]
    changed = config("eth_leveraged", {"strategy.target_ltv": 0.8})
    found = market("eth_leveraged", 10, oracle_price_eth__weETH=rate, dex_price_eth__weETH=rate * 0.999)
    ran = loop.run(changed, found, 100.0)
    check(ran, 100.0)
    assert (ran.trades[1].tick, ran.trades[1].action, ran.trades[1].trigger) == (5, "exit_full", "ltv_exit")
    assert [order.operation for order in ran.trades[1].orders] == [
        "flash_borrow",
        "repay",
        "withdraw",
        "swap",
        "flash_repay",
    ]


def test_rewards_are_sold_once_they_are_worth_it_and_staked_again() -> None:
    paid = np.zeros(40)
    paid[10] = 5.0
    found = market("eth_staking_only", 40, reward_eigen_per_eeth=paid, reward_ethfi_per_eeth=0.0)
    ran = loop.run(config("eth_staking_only"), found, 100.0)
    check(ran, 100.0)
    assert [(trade.tick, trade.action) for trade in ran.trades] == [(0, "entry_full"), (10, "sell_dust")]
    assert ran.portfolio.attribution["rewards"] == pytest.approx(5.0 * 100.0 * 1e-3, rel=1e-3)
    assert ran.ledger["wallet:BaseToken:EIGEN"] == 0.0


def test_rewards_below_the_limit_are_kept() -> None:
    paid = np.zeros(20)
    paid[10] = 0.01
    found = market("eth_staking_only", 20, reward_eigen_per_eeth=paid, reward_ethfi_per_eeth=0.0)
    ran = loop.run(config("eth_staking_only"), found, 100.0)
    assert ran.actions() == ["entry_full"]
    assert ran.ledger["wallet:BaseToken:EIGEN"] > 0.0


@pytest.mark.parametrize("mode", ML)
def test_directional_enters_turns_closes_and_ignores_the_unsure(mode: str) -> None:
    side = np.r_[np.zeros(3), np.ones(7), -np.ones(5), -np.ones(5), np.zeros(5), np.ones(5)]
    sure = np.r_[np.full(10, 0.7), np.full(5, 0.6), np.full(10, 0.9), np.full(5, 0.6)]
    symbol = ML[mode]
    found = market(mode, 30, signal_side=side, signal_confidence=sure, **{f"funding__binance__{symbol}": 0.0})
    ran = loop.run(config(mode), found, capital(mode))
    check(ran, capital(mode))
    assert [(trade.tick, trade.action, trade.trigger) for trade in ran.trades] == [
        (3, "entry_full", "signal"),
        (15, "rebalance", "signal"),  # at 10 the other side was not sure enough
        (20, "exit_full", "signal"),
    ]
    entry = ran.trades[0].orders[0]
    assert entry.take_profit is not None
    assert entry.stop_loss is not None
    fill = 60_000.0 * (1.0 + float(entry.operation_details["slippage"]))  # type: ignore[arg-type]
    assert entry.take_profit == pytest.approx(fill * 1.02)  # two standard deviations of 1 %
    assert entry.stop_loss == pytest.approx(fill * 0.98)


@pytest.mark.parametrize("mode", ML)
@pytest.mark.parametrize(
    ("high", "low", "kind"), [(1.05, 1.0, "take_profit"), (1.0, 0.95, "stop_loss"), (1.05, 0.95, "stop_loss")]
)
def test_exits_fire_inside_a_later_bar_stop_first(mode: str, high: float, low: float, kind: str) -> None:
    symbol, flat = ML[mode], np.ones(12)
    highs, lows = 60_000.0 * flat.copy(), 60_000.0 * flat.copy()
    highs[1], lows[1] = 70_000.0, 50_000.0  # the bar that ends at the tick of the entry: before it
    highs[5], lows[5] = 60_000.0 * high, 60_000.0 * low
    side = np.r_[0.0, np.ones(11)]
    sure = np.r_[0.9, 0.9, np.full(10, 0.5)]  # no second entry
    columns = {
        f"perp_high__binance__{symbol}": highs,
        f"perp_low__binance__{symbol}": lows,
        f"funding__binance__{symbol}": 0.0,
    }
    found = market(mode, 12, signal_side=side, signal_confidence=sure, **columns)
    ran = loop.run(config(mode), found, capital(mode))
    check(ran, capital(mode))
    assert [(event.tick, event.kind) for event in ran.settlements] == [(5, kind)]
    assert ran.portfolio.positions[f"binance:Perp:{symbol}"] == 0.0
    earned = ran.equity[-1] / capital(mode) - 1.0
    assert earned == pytest.approx(0.02 if kind == "take_profit" else -0.02, abs=0.004)


def test_orders_before_do_not_make_a_tick_dearer() -> None:
    """The state that a run carries stays as small as it was: cost of a tick cannot grow with the orders before it."""
    side = np.tile([1.0, -1.0], 150)
    mode = "ml_btc_directional_usdt_margin"
    found = market(mode, 300, signal_side=side, signal_confidence=0.9)
    few = loop.run(config(mode), {name: column[:20] for name, column in found.items()}, 100_000.0)
    many = loop.run(config(mode), found, 100_000.0)
    assert len(many.trades) == 300
    assert len(many.ledger) == len(few.ledger)
    assert len(many.portfolio.model_dump_json()) < len(few.portfolio.model_dump_json()) * 1.05
