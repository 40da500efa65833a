"""Trading limits: nothing outside them passes, what they allow is not refused, and a wider limit refuses nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.config import LiveConfig, RunConfig, TradingLimits
from basis.models.order import Order
from basis.runtime.valuation import Valuer
from basis.testkit.runs import market_row, mode_config
from basis.venues.core.interface import VenueRefusal
from basis.venues.core.limits import Standing, check, leverage, notional_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = mode_config("btc_basis")
MARKET = market_row(BASE)
VALUER = Valuer.of(BASE)
PRICE = MARKET["spot:binance:BTCUSDT"]
USDT = MARKET["price_usd:USDT"]
HELD = {"binance:BaseToken:USDT": 100_000.0, "bybit:BaseToken:USDT": 20_000.0}


def config(**limits: Any) -> RunConfig:
    """The mode with limits."""
    return BASE.model_copy(update={"live": LiveConfig(limits=TradingLimits(**limits))})


def order(amount: float, side: str = "buy", *, perp: bool = False, price: float | None = None, **fields: Any) -> Order:
    """A trade of BTC on Binance."""
    sign = 1.0 if side == "buy" else -1.0
    legs = (
        {"binance:Perp:BTCUSDT": sign * amount}
        if perp
        else {
            "binance:BaseToken:BTC": sign * amount,
            "binance:BaseToken:USDT": -sign * amount * PRICE,
        }
    )
    values = {
        "operation_id": "op",
        "operation": "perp_trade" if perp else "spot_trade",
        "venue": "binance",
        "amount": amount,
        "side": side,
        "pair": "BTCUSDT",
        "price": price,
        "expected_deltas": legs,
        "strategy_intent": "rebalance",
        "strategy_id": "btc_basis",
    }
    return Order.model_validate(values | fields)


def admitted(found: Order, limits: RunConfig, held: Mapping[str, float] = HELD, **standing: float) -> float | None:
    """Notional counted, None where it is refused with VEN-015."""
    values = {"row_age_s": 0.0, "spent_usd": 0.0} | standing
    try:
        return check([found], Standing(MARKET, held, **values), limits, VALUER)
    except VenueRefusal as refusal:
        assert refusal.error_code == "VEN-015"
        return None


amounts = st.floats(1e-4, 10.0)
budgets = st.floats(1.0, 1e6)


@given(amounts, budgets, budgets, st.floats(0.0, 1e6))
def test_what_passes_is_within_order_and_day(amount: float, most: float, day: float, spent: float) -> None:
    limits = config(max_order_usd=most, max_daily_usd=day, max_leverage=100.0)
    notional = admitted(order(amount), limits, spent_usd=spent)
    size = amount * PRICE * USDT
    if notional is None:
        assert size > most or spent + size > day
    else:
        assert notional == pytest.approx(size)
        assert notional <= most
        assert spent + notional <= day


@given(amounts, st.booleans(), budgets, budgets, st.floats(1.0, 4.0))
def test_wider_limits_refuse_nothing_more(amount: float, perp: bool, most: float, day: float, wider: float) -> None:
    found = order(amount, "sell", perp=perp)
    narrow = admitted(found, config(max_order_usd=most, max_daily_usd=day, max_leverage=1.0))
    wide = config(max_order_usd=most * wider, max_daily_usd=day * wider, max_leverage=wider)
    if narrow is not None:
        assert admitted(found, wide) == narrow


@given(st.floats(-3.0, 3.0), amounts, st.sampled_from(["buy", "sell"]), st.floats(0.1, 3.0))
def test_leverage_is_bounded_or_falls(position: float, amount: float, side: str, most: float) -> None:
    held = HELD | {"binance:Perp:BTCUSDT": position}
    found = order(amount, side, perp=True)
    limits = config(max_order_usd=1e9, max_daily_usd=1e9, max_leverage=most)
    after = held | {"binance:Perp:BTCUSDT": position + (amount if side == "buy" else -amount)}
    now, then = leverage(held, MARKET, VALUER), leverage(after, MARKET, VALUER)
    assert (admitted(found, limits, held) is not None) == (then <= most or then <= now)


@given(st.floats(0.9, 1.1), st.floats(0.0, 0.09))
def test_prices_stay_within_the_collar(factor: float, collar: float) -> None:
    limits = config(price_collar=collar, max_order_usd=1e9, max_daily_usd=1e9)
    price = PRICE * factor
    passed = admitted(order(0.1, price=price, order_type="limit"), limits) is not None
    assert passed == (abs(price / PRICE - 1.0) <= collar)


def test_late_orders_are_refused() -> None:
    limits = config(max_order_age_s=30.0)
    assert admitted(order(0.01), limits, row_age_s=30.0) is not None
    assert admitted(order(0.01), limits, row_age_s=30.1) is None


def test_venues_and_instruments_are_listed() -> None:
    assert admitted(order(0.01), config(venues=("bybit",))) is None
    assert admitted(order(0.01), config(venues=("binance",))) is not None
    assert admitted(order(0.01), config(instruments=("binance:BaseToken:USDT",))) is None
    both = ("binance:BaseToken:USDT", "binance:BaseToken:BTC")
    assert admitted(order(0.01), config(instruments=both)) is not None


@pytest.mark.parametrize(
    ("fields", "usd"),
    [
        ({"operation": "supply", "venue": "aave_v3", "source_token": "USDT", "target_token": "aUSDT"}, 1000 * 0.999),
        ({"operation": "withdraw", "venue": "aave_v3", "source_token": "aUSDT", "target_token": "USDT"}, 1000 * 0.999),
        (
            {"operation": "borrow", "venue": "aave_v3", "source_token": "debtWETH", "target_token": "WETH"},
            1000 * 3000.0,
        ),
        ({"operation": "stake", "venue": "etherfi", "source_token": "ETH", "target_token": "weETH"}, 1000 * 3000.0),
        ({"operation": "supply", "venue": "aave_v3", "source_token": "weETH"}, 1000 * 3000.0 * 1.04),
        ({"operation": "transfer", "venue": "wallet", "source_token": "USDT", "target_venue": "client"}, 1000 * 0.999),
    ],
)
def test_notional_of_what_is_no_trade(fields: dict[str, str], usd: float) -> None:
    found = mode_config("usdt_market_neutral")
    values = {"operation_id": "op", "amount": 1000.0, "strategy_intent": "rebalance", "strategy_id": "x"}
    made = Order.model_validate(values | fields)
    market = market_row(found) | {"price_usd:ETH": 3000.0, "spot:binance:ETHUSDT": 3000.0 / 0.999}
    assert notional_usd(made, market, Valuer.of(found)) == pytest.approx(usd)
