"""Orders at live exchanges: every kind on every venue, deltas as the exchange books them, limits before sending."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from basis.models.operations import ExecutionStatus
from basis.venues.core.interface import VenueRefusal

if TYPE_CHECKING:
    from tests.support.live_cex import Stage

    from basis.models.execution import ExecutionHandshake

CONFIRMED, FAILED = ExecutionStatus.CONFIRMED, ExecutionStatus.FAILED


def moved(before: Any, after: Any) -> dict[str, float]:
    return {key: after[key] - before[key] for key in after if abs(after[key] - before[key]) > 1e-12}


def assert_booked(stage: Stage, before: Any, handshake: ExecutionHandshake) -> None:
    """The exchange's own balances moved by the deltas and nothing else."""
    assert handshake.status is CONFIRMED, handshake
    assert not handshake.simulated
    assert moved(before, stage.balances()) == pytest.approx(handshake.actual_deltas, abs=1e-9)


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("kind", ["spot", "perp"])
@pytest.mark.parametrize("order_type", ["market", "limit"])
def test_trades_move_what_the_exchange_books(stage: Stage, kind: str, side: str, order_type: str) -> None:
    stage.server.exchange.deposit(
        "spot"
        if stage.venue == "binance"
        else stage.server.exchange.wallet_of(stage.server.exchange.listings["ETHUSDT", "spot"]),
        "ETH",
        10,
    )
    before = stage.balances()
    price = {"buy": 3010.0, "sell": 2990.0}[side] if order_type == "limit" else 3000.0
    done = stage.send(stage.trade(kind, side, 2.0, order_type=order_type, price=price))
    assert_booked(stage, before, done)
    assert done.execution_details["fill_price"] == 3000.0
    assert stage.traded("ETHUSDT", "spot" if kind == "spot" else "linear") == (2 if side == "buy" else -2)


def test_fees_are_read_from_trades_in_the_token_that_paid_them(stage: Stage) -> None:
    base, quote = f"{stage.venue}:BaseToken:ETH", f"{stage.venue}:BaseToken:USDT"
    bought = stage.send(stage.trade("spot", "buy", 2.0, price=3000.0))
    assert bought.actual_deltas == pytest.approx({base: 1.998, quote: -6000.0})
    assert bought.costs["fees"] == pytest.approx({base: 0.002})
    assert bought.fee_currency == "ETH"
    assert bought.fee_amount == pytest.approx(0.002)
    sold = stage.send(stage.trade("spot", "sell", 1.0, price=3000.0))
    assert sold.actual_deltas == pytest.approx({base: -1.0, quote: 2997.0})
    stage.server.exchange.fee_asset = "quote"
    quoted = stage.send(stage.trade("spot", "buy", 1.0, price=3000.0))
    assert quoted.actual_deltas == pytest.approx({base: 1.0, quote: -3003.0})


def test_fees_in_a_token_that_no_mode_holds_are_stated_and_in_no_delta(stage: Stage) -> None:
    stage.server.exchange.fee_asset = "BNB"
    before = stage.balances()
    done = stage.send(stage.trade("spot", "buy", 2.0, price=3000.0))
    assert_booked(stage, before, done)
    assert done.execution_details["fees_outside"] == {"BNB": 0.01}
    assert done.fee_currency == "BNB"
    assert done.fee_amount == pytest.approx(0.01)
    assert "fees" not in done.costs


def test_slippage_is_measured_against_the_reference_price(stage: Stage) -> None:
    stage.server.exchange.half_spread = Decimal("0.001")
    before = stage.balances()
    done = stage.send(stage.trade("spot", "buy", 2.0, price=3000.0))
    assert_booked(stage, before, done)
    assert done.execution_details["fill_price"] == 3003.0
    assert done.costs["slippage"] == pytest.approx({f"{stage.venue}:BaseToken:USDT": 6.0})


def test_market_order_never_fills_beyond_its_tolerance(stage: Stage) -> None:
    stage.server.exchange.half_spread = Decimal("0.006")
    done = stage.send(stage.trade("perp", "sell", 1.0, price=3000.0))  # tolerance 0.5 %
    assert (done.status, done.error_code, done.actual_deltas) == (FAILED, "VEN-009", {})
    assert not stage.server.exchange.account.trades


def test_partial_fill_is_confirmed_with_what_was_filled(stage: Stage) -> None:
    stage.server.exchange.liquidity["ETHUSDT", "linear"] = Decimal("0.7")
    before = stage.balances()
    done = stage.send(stage.trade("perp", "sell", 2.0, price=3000.0))
    assert_booked(stage, before, done)
    assert done.actual_deltas[f"{stage.venue}:Perp:ETHUSDT"] == -0.7
    assert not stage.server.exchange.open_orders()


def test_fills_at_several_prices_are_summed(stage: Stage) -> None:
    stage.server.exchange.pieces = 3
    before = stage.balances()
    done = stage.send(stage.trade("perp", "buy", 2.0, price=3000.0))
    assert done.execution_details["trades"] == 3
    assert done.execution_details["fill_price"] == pytest.approx(3000.01, abs=1e-4)
    perp = f"{stage.venue}:Perp:ETHUSDT"
    # unrealised: the pieces were dearer than the mark, and balances are with unrealised PnL
    gap = (3000.0 - float(str(done.execution_details["fill_price"]))) * 2.0
    change = moved(before, stage.balances())
    assert change[perp] == done.actual_deltas[perp] == 2.0
    assert change[f"{stage.venue}:BaseToken:USDT"] == pytest.approx(
        done.actual_deltas[f"{stage.venue}:BaseToken:USDT"] + gap, abs=1e-6
    )


def test_limit_that_rests_is_cancelled_after_the_wait(stage: Stage) -> None:
    done = stage.send(stage.trade("spot", "buy", 1.0, order_type="limit", price=2900.0))
    assert (done.status, done.error_code) == (FAILED, "VEN-009")
    assert not stage.server.exchange.open_orders()
    assert stage.balances()[f"{stage.venue}:BaseToken:USDT"] == 100_000.0


def test_post_only_rests_or_is_refused_but_never_takes(stage: Stage) -> None:
    post = {"post_only": True}
    taking = stage.trade("perp", "buy", 1.0, order_type="limit", price=3001.0, operation_details=post)
    assert stage.send(taking).error_code == "VEN-009"
    resting = stage.trade("perp", "buy", 1.0, order_type="limit", price=2990.0, operation_details=post)
    assert stage.send(resting).error_code == "VEN-009"  # nobody came
    assert not stage.server.exchange.account.trades


def test_reduce_only_never_opens(stage: Stage) -> None:
    only = {"reduce_only": True}
    opened = stage.send(stage.trade("perp", "buy", 1.0, price=3000.0, operation_details=only))
    assert opened.status is FAILED or opened.status is ExecutionStatus.PENDING
    stage.send(stage.trade("perp", "sell", 1.0, price=3000.0))
    closed = stage.send(stage.trade("perp", "buy", 3.0, price=3000.0, operation_details=only))
    assert closed.actual_deltas[f"{stage.venue}:Perp:ETHUSDT"] == 1.0
    assert stage.balances()[f"{stage.venue}:Perp:ETHUSDT"] == 0.0


def test_inverse_perp_counts_in_dollars_and_pays_in_bitcoin(binance: Stage) -> None:
    before = binance.balances()
    done = binance.send(binance.trade("perp", "buy", 30_000.0, "BTCUSD", price=60_000.0))
    assert_booked(binance, before, done)
    assert done.actual_deltas == pytest.approx({"binance:Perp:BTCUSD": 30_000.0, "binance:BaseToken:BTC": -0.00025})
    binance.server.exchange.set_price("BTCUSD", "inverse", 66_000)
    gain = 30_000 * (1 / 60_000 - 1 / 66_000)
    assert binance.balances()["binance:BaseToken:BTC"] == pytest.approx(1 - 0.00025 + gain, rel=1e-9)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"amount": 1e-9}, "VEN-007"),
        ({"amount": 1.0000000123}, "VEN-007"),
        ({"amount": 0.0001}, "VEN-007"),
        ({"amount": 1.0, "pair": "DOGEUSDT"}, "VEN-001"),
        ({"amount": 1.0, "order_type": "limit", "price": 3000.001}, "VEN-007"),
        ({"amount": 1.0, "operation_details": {"post_only": True}}, "VEN-009"),
        ({"amount": 1.0, "operation_details": {"time_in_force": "GTT"}}, "VEN-009"),
        ({"amount": 1e9}, "VEN-009"),
    ],
    ids=["lot", "no whole lots", "notional", "market", "tick", "post-only market", "time in force", "too large"],
)
def test_limits_refuse_before_anything_is_sent(stage: Stage, fields: dict[str, Any], code: str) -> None:
    order = stage.trade("spot", "buy", **({"price": 3000.0} | fields))
    stage.server.requests.clear()
    if stage.venue == "okx" and fields["amount"] in {0.0001, 1e9}:
        # OKX lists neither a least notional nor a largest amount: it is the one that refuses
        assert stage.send(order).error_code in {"VEN-008", "VEN-009"}
        assert not stage.server.exchange.account.trades
        return
    with pytest.raises(VenueRefusal) as refusal:
        stage.prepare(order)
    assert refusal.value.error_code == code
    assert not stage.server.requests["order.create"]


def test_exchange_refuses_what_the_account_cannot_pay(stage: Stage) -> None:
    for order in (
        stage.trade("spot", "buy", 100.0, price=3000.0),
        stage.trade("spot", "sell", 1.0, price=3000.0),
        stage.trade("perp", "sell", 2000.0, price=3000.0),
    ):
        done = stage.send(order)
        assert (done.status, done.error_code, done.actual_deltas) == (FAILED, "VEN-008", {}), done
    assert not stage.server.exchange.account.trades


def test_levels_close_the_position_at_the_exchange_and_are_settlements(stage: Stage) -> None:
    from datetime import UTC, datetime, timedelta

    since = datetime.now(UTC) - timedelta(seconds=1)
    for level, kind in ((2890.0, "take_profit"), (3110.0, "stop_loss")):
        stage.fresh()
        done = stage.send(stage.trade("perp", "sell", 2.0, price=3000.0, take_profit=2900.0, stop_loss=3100.0))
        assert done.execution_details["exits"] == {"take_profit": 2900.0, "stop_loss": 3100.0}
        assert len(stage.server.exchange.open_orders()) == 2
        stage.server.exchange.set_price("ETHUSDT", "linear", level)
        assert stage.balances()[f"{stage.venue}:Perp:ETHUSDT"] == 0.0
        (closing,) = stage.run(stage.live.settlements(since, datetime.now(UTC) + timedelta(seconds=1)))
        assert (closing.kind, closing.deltas[f"{stage.venue}:Perp:ETHUSDT"]) == (kind, 2.0)
        assert closing.details["fill_price"] == {"take_profit": 2900.0, "stop_loss": 3100.0}[kind]


def test_levels_go_with_their_position(stage: Stage) -> None:
    stage.send(stage.trade("perp", "buy", 2.0, price=3000.0, take_profit=3100.0, stop_loss=2900.0))
    stage.send(stage.trade("perp", "sell", 1.0, price=3000.0))
    assert len(stage.server.exchange.open_orders()) == 2  # half of it is still there
    stage.send(stage.trade("perp", "sell", 1.0, price=3000.0))
    assert not stage.server.exchange.open_orders()


def test_cancel_all_cancels_what_rests_and_what_waits(stage: Stage) -> None:
    stage.send(stage.trade("perp", "buy", 2.0, price=3000.0, take_profit=3100.0, stop_loss=2900.0))
    exchange = stage.server.exchange
    exchange.place(
        exchange.listings["ETHUSDT", "linear"], buy=True, amount=Decimal(1), price=Decimal(2000), client="x1"
    )
    exchange.place(
        exchange.listings["BTCUSDT", "linear"], buy=True, amount=Decimal(1), price=Decimal(20_000), client="x2"
    )
    assert stage.run(stage.live.cancel_all()) == 4
    assert not exchange.open_orders()
    assert stage.run(stage.live.cancel_all()) == 0
