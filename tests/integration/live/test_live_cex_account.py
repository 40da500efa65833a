"""What a live exchange says of its account and its market: balances, margins, settlements, transfers, quotes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from tests.support.live_cex import ADDRESS, CASH, HOME, keys_of, live_config

from basis.models.errors import InputError
from basis.models.operations import ExecutionStatus
from basis.runtime.clock import SystemClock
from basis.venues.core.interface import VenueRefusal
from basis.venues.core.transfer_ledger import Arrival, PendingTransfer, TransferLedger
from basis.venues.live.cex.venue import LiveExchange
from basis.venues.live.errors import Fatal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.live_cex import Stage

    from basis.models.messages import Settlement


def settled(stage: Stage, seconds: float = 5.0) -> Sequence[Settlement]:
    now = datetime.now(UTC)
    return stage.run(stage.live.settlements(now - timedelta(seconds=seconds), now + timedelta(seconds=1)))


def test_balances_are_one_a_token_over_all_wallets_with_unrealised_pnl(stage: Stage) -> None:
    usdt = f"{stage.venue}:BaseToken:USDT"
    stage.server.exchange.deposit(CASH[stage.venue], "USDT", 500)
    assert stage.balances()[usdt] == 100_500.0
    stage.send(stage.trade("perp", "sell", 2.0, price=3000.0))
    stage.server.exchange.set_price("ETHUSDT", "linear", 2900)
    assert stage.balances()[usdt] == pytest.approx(100_500.0 - 3.0 + 200.0)
    margin = stage.run(stage.live.margins())["USDT"]
    assert margin.notional == pytest.approx(5800.0)
    assert margin.equity == pytest.approx(100_697.0)
    assert margin.ratio == pytest.approx(100_697.0 / 5800.0)


def test_money_is_where_it_is_needed_and_goes_home_again(stage: Stage) -> None:
    """A spot order is paid out of margin, what it brings becomes margin, and no balance of the mode changes by it."""
    exchange = stage.server.exchange
    exchange.deposit(CASH[stage.venue], "USDT", 400)
    stage.send(stage.trade("spot", "buy", 10.0, price=3000.0))
    stage.send(stage.trade("spot", "sell", 9.0, price=3000.0))
    stage.send(stage.trade("perp", "sell", 1.0, price=3000.0))
    stage.live._wallets.touch("USDT")
    stage.run(stage.live._wallets.home())
    for wallet, held in exchange.account.wallets.items():
        if wallet != HOME[stage.venue]:
            assert held["USDT"] < Decimal("1e-7"), wallet
    total = sum(source[3] for source in exchange.account.transfers)
    assert total > 0


@pytest.mark.parametrize("fault", ["error_after", "error_before", "disconnect_after", "rate"])
def test_move_between_wallets_with_an_unknown_outcome_is_repaired_by_balances(stage: Stage, fault: str) -> None:
    exchange = stage.server.exchange
    exchange.deposit(CASH[stage.venue], "USDT", 400)
    stage.server.faults.add("transfer", fault)
    stage.live._wallets.touch("USDT")
    stage.run(stage.live._wallets.home())
    assert exchange.account.wallets[HOME[stage.venue]]["USDT"] == 100_400
    assert exchange.account.wallets[CASH[stage.venue]]["USDT"] == 0
    assert stage.balances()[f"{stage.venue}:BaseToken:USDT"] == 100_400.0


def test_funding_is_a_settlement_of_what_the_exchange_booked(stage: Stage) -> None:
    stage.send(stage.trade("perp", "sell", 2.0, price=3000.0))
    before = stage.balances()
    stage.server.exchange.fund("ETHUSDT", "linear", "0.0002")
    stage.server.exchange.fund("ETHUSDT", "linear", "-0.0001")
    first, second = settled(stage)
    assert (first.kind, second.kind) == ("funding", "funding")
    usdt = f"{stage.venue}:BaseToken:USDT"
    assert first.deltas == pytest.approx({usdt: 1.2})
    assert second.deltas == pytest.approx({usdt: -0.6})
    after = stage.balances()
    assert after[usdt] - before[usdt] == pytest.approx(0.6)
    assert first.details["id"] != second.details["id"]
    assert settled(stage) == [first, second] or list(settled(stage)) == [first, second]


def test_no_payment_is_left_out_of_a_long_history(stage: Stage) -> None:
    """More than any exchange answers at once, whichever end of it the exchange leaves out."""
    stage.send(stage.trade("perp", "sell", 2.0, price=3000.0))
    exchange = stage.server.exchange
    listing, now = exchange.listings["ETHUSDT", "linear"], exchange.now_ms()
    for number in range(230):
        exchange._fund(listing, Decimal("0.0001"), now - 400_000 + 1000 * number, Decimal(3000))
    found = [one for one in settled(stage, seconds=500) if one.kind == "funding"]
    assert len({str(one.details["id"]) for one in found}) == len(found) == 230
    stamps = [int(str(one.details["at_ms"])) for one in found]
    assert stamps == sorted(stamps)


def test_own_trades_are_no_settlements(stage: Stage) -> None:
    stage.send(stage.trade("perp", "sell", 2.0, price=3000.0))
    stage.send(stage.trade("perp", "buy", 2.0, price=3000.0))
    assert not settled(stage)
    other = stage.make()
    stage.run(other.open())
    now = datetime.now(UTC)
    assert not stage.run(other.settlements(now - timedelta(seconds=9), now + timedelta(seconds=1)))
    stage.run(other.close())


def test_liquidation_is_a_settlement(stage: Stage) -> None:
    stage.server.reset()
    stage.fill(usdt=500.0, btc=0.0)
    stage.send(stage.trade("perp", "buy", 2.0, price=3000.0))
    stage.server.exchange.set_price("ETHUSDT", "linear", 2700)
    (liquidated,) = settled(stage)
    assert liquidated.kind == "liquidation"
    assert liquidated.deltas[f"{stage.venue}:Perp:ETHUSDT"] == -2.0


# -------------------------------------------------------------------------------------------------------- transfers


def test_withdrawal_leaves_into_transit_less_the_fee(stage: Stage) -> None:
    usdt, transit = f"{stage.venue}:BaseToken:USDT", "transit:BaseToken:USDT"
    before = stage.balances()
    done = stage.send(stage.withdrawal(500.0))
    assert done.status is ExecutionStatus.CONFIRMED, done
    assert done.actual_deltas == {usdt: -500.0, transit: 499.0}
    assert done.costs == {"fees": {usdt: 1.0}}
    assert stage.balances()[usdt] - before[usdt] == pytest.approx(-500.0)
    (movement,) = stage.server.exchange.account.movements
    assert (movement.address, float(movement.amount), float(movement.fee)) == (ADDRESS, 500.0, 1.0)


def test_payout_to_the_client_is_capital_not_cost(stage: Stage) -> None:
    usdt = f"{stage.venue}:BaseToken:USDT"
    done = stage.send(stage.withdrawal(500.0, target="client"))
    assert done.actual_deltas == {usdt: -500.0}
    assert done.costs == {"fees": {usdt: 1.0}, "external": {usdt: 499.0}}


@pytest.mark.parametrize(
    "fault", ["error_after", "error_before", "timeout_after", "disconnect_before", "garbage_after"]
)
def test_one_withdrawal_whatever_goes_wrong(stage: Stage, fault: str) -> None:
    order = stage.withdrawal(500.0)
    prepared = stage.prepare(order)
    stage.impatient().server.faults.add("withdraw", fault)
    stage.server.faults.add("withdrawals", "error_before", times=2)
    done = stage.carry_out(order, prepared)
    assert done.status is ExecutionStatus.CONFIRMED, done
    assert len(stage.server.exchange.account.movements) == 1
    assert done.actual_deltas[f"{stage.venue}:BaseToken:USDT"] == -500.0


@pytest.mark.parametrize(
    ("amount", "token", "target", "code"),
    [
        (1.0, "USDT", "wallet", "VEN-007"),
        (10.0, "USDT", "aave_v3", "VEN-001"),
        (10.0, "DOGE", "wallet", "VEN-001"),
        (0.1, "BTC", "wallet", "VEN-001"),
    ],
)
def test_withdrawals_are_refused_before_sending(
    stage: Stage, amount: float, token: str, target: str, code: str
) -> None:
    with pytest.raises(VenueRefusal) as refusal:
        stage.prepare(stage.withdrawal(amount, token, target))
    assert refusal.value.error_code == code
    with pytest.raises(VenueRefusal, match="VEN-009"):
        stage.prepare(stage.withdrawal(10.0, target=stage.venue))
    assert not stage.server.requests["withdraw"]


def test_withdrawal_of_more_than_there_is_fails(stage: Stage) -> None:
    done = stage.send(stage.withdrawal(1e6))
    assert (done.status, done.error_code) == (ExecutionStatus.FAILED, "VEN-008")
    assert not stage.server.exchange.account.movements


def test_transfer_there_and_back_is_counted_once_at_every_moment(stage: Stage) -> None:
    """Exchange -> wallet -> exchange; the chain is a transaction that the ledger is told of."""
    usdt, exchange = f"{stage.venue}:BaseToken:USDT", stage.server.exchange
    exchange.withdrawal_delay_ms = exchange.deposit_delay_ms = 0
    wallet, ledger = 0.0, TransferLedger()

    def value() -> float:
        return stage.balances()[usdt] + wallet + sum(ledger.in_flight().values())

    start = value()
    order = stage.withdrawal(500.0)
    done = stage.send(order)
    now = datetime.now(UTC)
    leaving = PendingTransfer(
        operation_id=order.operation_id,
        source=stage.venue,
        target="wallet",
        token="USDT",
        sent=500.0,
        arriving=499.0,
        left_at=now,
    )
    assert done.actual_deltas["transit:BaseToken:USDT"] == leaving.arriving
    ledger = ledger.depart(leaving)
    assert value() == pytest.approx(start - 1.0)
    seen = Arrival(id="log-1", target="wallet", token="USDT", amount=499.0, at=now, transaction="0x1")
    ledger, ended = ledger.arrive(seen)
    assert ended is not None
    wallet += ended.arriving
    assert value() == pytest.approx(start - 1.0)
    back = PendingTransfer(
        operation_id="back",
        source="wallet",
        target=stage.venue,
        token="USDT",
        sent=200.0,
        arriving=200.0,
        left_at=now,
        transaction="0xback",
    )
    wallet, ledger = wallet - 200.0, ledger.depart(back)
    assert value() == pytest.approx(start - 1.0)
    exchange.receive("USDT", 200, "0xback")
    (arrival,) = settled(stage)
    assert arrival.deltas == {usdt: 200.0, "transit:BaseToken:USDT": -200.0}
    details = arrival.details
    for _ in range(2):  # reported twice, counted once
        ledger, ended = ledger.arrive(
            Arrival(
                id=str(details["id"]),
                target=stage.venue,
                token="USDT",
                amount=200.0,
                at=now,
                transaction=str(details["transaction"]),
            )
        )
    assert ledger.in_flight() == {}
    assert value() == pytest.approx(start - 1.0)


# ----------------------------------------------------------------------------------------------------------- market


def test_market_columns_carry_the_exchanges_own_time(stage: Stage) -> None:
    venue = stage.venue
    stage.server.exchange.fund("ETHUSDT", "linear", "0.0003")
    stage.server.exchange.set_price("ETHUSDT", "linear", 3010)
    columns = [f"{kind}:{venue}:ETHUSDT" for kind in ("spot", "perp", "perp_close", "perp_high", "perp_low", "funding")]
    columns += [f"funding_mean:{venue}:ETHUSDT", "price_usd:ETH", "spot:other:ETHUSDT"]
    found = stage.run(stage.live.market(columns))
    assert set(found) == set(columns[:-2])
    values = {column.split(":")[0]: value for column, (value, _) in found.items()}
    assert (values["spot"], values["perp"], values["perp_close"]) == (3000.0, 3010.0, 3010.0)
    assert values["funding"] == values["funding_mean"] == 0.0003
    assert values["perp_high"] >= values["perp_low"] >= 3000.0
    now = datetime.now(UTC)
    for column, (_, at) in found.items():
        limit = timedelta(minutes=2) if "high" in column or "low" in column else timedelta(seconds=5)
        assert now - limit < at <= now + timedelta(seconds=1), column


def test_stale_exchange_shows_in_its_stamps(stage: Stage) -> None:
    """An exchange whose clock stands still says so: whoever asks sees the age (DATA-003)."""
    still = stage.server.exchange.now_ms() - 60_000
    stage.server.exchange.clock = lambda: still
    found = stage.run(stage.live.market([f"perp:{stage.venue}:ETHUSDT"]))
    ((_, at),) = found.values()
    assert datetime.now(UTC) - at > timedelta(seconds=55)


def test_without_keys_it_quotes_and_refuses_everything_else(stage: Stage) -> None:
    config = live_config(stage.server.url)
    public = LiveExchange(stage.venue, keys_of(stage.venue), config, None, SystemClock())
    stage.run(public.open())
    column = f"perp:{stage.venue}:ETHUSDT"
    assert stage.run(public.market([column]))[column][0] == 3000.0
    order = stage.trade("perp", "buy", 1.0, price=3000.0)
    for ask in (public.prepare([order]), public.balances([f"{stage.venue}:BaseToken:USDT"]), public.cancel_all()):
        with pytest.raises(Fatal, match="VEN-005"):
            stage.run(ask)
    stage.run(public.close())


def test_factory_reads_the_environment(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import entry_points

    from basis.testkit.runs import custom_config

    name = stage.venue.upper()
    monkeypatch.setenv(f"BASIS_{name}_URL", stage.server.url)
    config = custom_config([f"{stage.venue}:BaseToken:USDT", f"{stage.venue}:Perp:ETHUSDT"], share_class="USDT")
    (entry,) = [one for one in entry_points(group="basis.venues.live") if one.name == stage.venue]
    live = entry.load()(stage.venue, config, SystemClock())
    stage.run(live.open())
    assert live.name == stage.venue
    stage.run(live.close())
    monkeypatch.setenv(f"BASIS_{name}_API_KEY", "k")
    with pytest.raises(InputError, match=r"VEN-005.*API_"):
        entry.load()(stage.venue, config, SystemClock())
