"""Simulated exchanges: trades, limits, fees, withdrawals; each exchange passes the conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.cex import BTC, LINEAR, PERP, USDT
from tests.support.venues import CoreVenue, order, transact

from basis.models.operations import OperationType
from basis.runtime.fills import trade_cost
from basis.testkit.conformance.cases import Case
from basis.testkit.conformance.simulated_exchange import SimulatedExchangeConformance
from basis.testkit.runs import custom_config, market_row

if TYPE_CHECKING:
    from basis.models.config import RunConfig
    from basis.models.execution import ExecutionHandshake
    from basis.models.order import Order

WALLET, TRANSIT = "wallet:BaseToken:USDT", "transit:BaseToken:USDT"
MARKET = market_row(LINEAR)


def trade(kind: str, side: str, amount: float, pair: str = "BTCUSDT", venue: str = "binance", **fields: Any) -> Order:
    return order(f"{kind}_trade", venue, amount, side=side, pair=pair, **fields)


def withdrawal(amount: float, venue: str, target: str, token: str = "USDT") -> Order:
    return order("transfer", venue, amount, source_venue=venue, target_venue=target, source_token=token)


class Exchange(CoreVenue, SimulatedExchangeConformance):
    """The conformance suite of one exchange."""

    venue = "binance"
    full = False

    def name(self) -> str:
        return self.venue

    def offered(self) -> frozenset[OperationType]:
        return frozenset({OperationType.SPOT_TRADE, OperationType.PERP_TRADE, OperationType.TRANSFER})

    def config(self) -> RunConfig:
        own = [f"{self.venue}:BaseToken:{token}" for token in ("USDT", "BTC", "ETH")]
        perps = [f"{self.venue}:Perp:{symbol}" for symbol in ("BTCUSDT", "ETHUSDT", *(["BTCUSD"] * self.full))]
        bars = [f"perp_{side}:{self.venue}:{symbol}" for side in ("high", "low") for symbol in ("BTCUSDT", "ETHUSDT")]
        return custom_config(
            [WALLET, *own, *perps],
            asset="BTC",
            strategy={"family": "custom", "columns": bars},
        )

    def accepted(self) -> list[Case]:
        market = market_row(self.config(), **{f"spot__{self.venue}__BTCUSDT": 60_100.0})
        usdt, btc = f"{self.venue}:BaseToken:USDT", f"{self.venue}:BaseToken:BTC"
        perp = f"{self.venue}:Perp:BTCUSDT"
        short = {usdt: 60_000.0, perp: -1.0, f"{self.venue}:entry_price:BTCUSDT": 59_000.0}
        dollar = market["price_usd:USDT"]
        spot = {btc: 60_100.0 * dollar, usdt: dollar}

        def trades(name: str, ledger: dict[str, float], kind: str, side: str, amount: float, **more: Any) -> Case:
            return Case(name, (trade(kind, side, amount, venue=self.venue, **more),), ledger, market)

        cases = [
            trades("spot buy", {usdt: 70_000.0}, "spot", "buy", 1.0)._replace(prices=spot),
            trades("spot sell", {btc: 1.5}, "spot", "sell", 1.0)._replace(prices=spot),
            trades("short", {usdt: 9_000.0}, "perp", "sell", 1.0, take_profit=50_000.0, stop_loss=66_000.0),
            trades("add to a short", short, "perp", "sell", 0.5),
            trades("reduce a short", short, "perp", "buy", 0.4),
            trades("close a short", short, "perp", "buy", 1.0),
            trades("turn a short", short, "perp", "buy", 2.0, take_profit=70_000.0),
            trades("limit", {btc: 1.5}, "spot", "sell", 1.0, order_type="limit", price=50_000.0)._replace(prices=spot),
            Case("withdraw", (withdrawal(30_000.0, self.venue, "wallet"),), short, market),
            Case("withdraw to the client", (withdrawal(100.0, self.venue, "client"),), short, market),
        ]
        return cases if self.full else [cases[0], cases[3], *cases[-3:-1]]  # one code: the rest is seen with one name

    def refused(self) -> list[tuple[Case, str]]:
        market = market_row(self.config())
        usdt, btc = f"{self.venue}:BaseToken:USDT", f"{self.venue}:BaseToken:BTC"
        short = {usdt: 4_000.0, f"{self.venue}:Perp:BTCUSDT": -1.0}
        listed = [
            ("unknown spot market", "VEN-001", trade("spot", "buy", 1.0, "DOGEUSDT")),
            ("unknown perp", "VEN-001", trade("perp", "buy", 1.0, "DOGEUSDT")),
            ("inverse of ether", "VEN-001", trade("perp", "buy", 100.0, "ETHUSD")),
            ("lot", "VEN-007", trade("perp", "buy", 0.00015)),
            ("notional", "VEN-007", trade("spot", "buy", 0.00001)),
            ("tick", "VEN-007", trade("spot", "sell", 0.1, order_type="limit", price=50_000.001)),
            ("slippage", "VEN-009", trade("spot", "sell", 0.1, slippage_tolerance=0.0001)),
            ("far from the reference", "VEN-009", trade("spot", "buy", 0.01, price=59_000.0)),
            ("limit out of reach", "VEN-009", trade("spot", "buy", 0.01, order_type="limit", price=60_000.0)),
            ("more than there is", "VEN-008", trade("spot", "sell", 2.0)),
            ("margin spent on spot", "VEN-008", trade("spot", "buy", 0.05)),
            ("margin", "VEN-008", trade("perp", "sell", 1.0)),
            ("margin of a turn", "VEN-008", trade("perp", "buy", 3.0)),
            ("levels on a reduction", "VEN-009", trade("perp", "buy", 0.5, stop_loss=50_000.0)),
            ("margin withdrawn", "VEN-008", withdrawal(1_500.0, self.venue, "wallet")),
            ("less than the fee", "VEN-007", withdrawal(1.0, self.venue, "wallet")),
            ("to itself", "VEN-009", withdrawal(10.0, self.venue, self.venue)),
            ("a token that the wallet lacks", "VEN-001", withdrawal(0.5, self.venue, "wallet", "BTC")),
            ("out of another venue", "VEN-001", withdrawal(5.0, "wallet", "binance")),
        ]
        return [
            (Case(name, (given.model_copy(update={"venue": self.venue}),), {**short, btc: 1.0}, market), code)
            for name, code, given in (listed if self.full else listed[::4])
        ]


class TestBinance(Exchange):
    full = True


class TestBybit(Exchange):
    venue = "bybit"


class TestOkx(Exchange):
    venue = "okx"


del Exchange  # pytest would collect it


def one(given: Order, ledger: dict[str, float], config: RunConfig = LINEAR, **changes: float) -> ExecutionHandshake:
    (answer,) = transact([given], ledger, config, market_row(config, **changes)).handshakes
    return answer


def test_limit_order_that_the_fill_reaches_executes() -> None:
    answer = one(trade("perp", "buy", 2.0, order_type="limit", price=61_000.0), {USDT: 60_000.0})
    assert answer.execution_details["fill_price"] == pytest.approx(60_000.0 * 1.0008)


@pytest.mark.parametrize(("side", "sign"), [("buy", 1.0), ("sell", -1.0)])
def test_spot_fill_is_the_venues_price_moved_by_cost_less_the_fee(side: str, sign: float) -> None:
    answer = one(trade("spot", side, 2.0), {USDT: 200_000.0, BTC: 3.0}, spot__binance__BTCUSDT=50_000.0)
    slippage, rate = 7e-4, 1e-3  # 100,000 USD on Binance spot
    fill = 50_000.0 * (1.0 + sign * slippage)
    assert answer.actual_deltas == pytest.approx({BTC: sign * 2.0, USDT: -sign * 2.0 * fill - 2.0 * fill * rate})
    assert answer.costs == {
        "fees": {USDT: pytest.approx(2.0 * fill * rate)},
        "slippage": {USDT: pytest.approx(100_000.0 * slippage)},
    }
    assert answer.fee_amount == pytest.approx(2.0 * fill * rate)
    assert answer.fee_currency == "USDT"


def test_withdrawal_pays_its_fee_in_the_token_and_no_gas() -> None:
    config = custom_config([WALLET, USDT])
    answer = one(withdrawal(100.0, "binance", "wallet"), {USDT: 100.0}, config)
    assert answer.actual_deltas == {USDT: -100.0, WALLET: 99.0}
    assert answer.costs == {"fees": {USDT: 1.0}}
    assert (answer.fee_amount, answer.fee_currency) == (1.0, "USDT")


def test_withdrawal_to_the_client_lowers_capital_by_what_arrives() -> None:
    answer = one(withdrawal(100.0, "binance", "client"), {USDT: 100.0})
    assert answer.actual_deltas == {USDT: -100.0}
    assert answer.costs == {"fees": {USDT: 1.0}, "external": {USDT: 99.0}}


@pytest.mark.parametrize(("delay", "due"), [(1, 4), (3600, 4), (3601, 5), (7200, 5)])
def test_delayed_transfer_is_in_transit_until_its_tick(delay: int, due: int) -> None:
    config = custom_config([WALLET, USDT, TRANSIT], venues={"wallet": {"deposit_delay_s": delay}})
    given = withdrawal(100.0, "binance", "wallet")
    first = transact([given], {USDT: 250.0}, config, market_row(config))
    assert first.ledger == {USDT: 150.0, TRANSIT: 99.0, f"wallet:arriving:USDT@{due}": 99.0}
    second = transact([given], first.ledger, config, market_row(config))
    assert second.ledger[f"wallet:arriving:USDT@{due}"] == second.ledger[TRANSIT] == 198.0


def test_reduction_is_allowed_however_little_margin_there_is_and_below_the_least_notional() -> None:
    assert one(trade("perp", "buy", 0.5), {USDT: 100.0, PERP: -1.0}).status == "confirmed"
    assert one(trade("perp", "buy", 0.001), {USDT: 100.0, PERP: -1.0}).status == "confirmed"
    assert one(trade("perp", "sell", 0.001), {USDT: 10_000.0, PERP: -0.01}).error_code == "VEN-007"


def test_levels_need_bars_to_check_them_with() -> None:
    config = custom_config([USDT, PERP], asset="BTC")
    answer = one(trade("perp", "buy", 0.1, stop_loss=50_000.0), {USDT: 10_000.0}, config)
    assert answer.error_code == "VEN-009"
    assert "perp_high" in str(answer.error_message)


def test_rounding_never_leaves_a_rest_of_a_position() -> None:
    done = transact([trade("perp", "buy", 0.3)], {USDT: 9_000.0, PERP: -(0.1 + 0.2)}, LINEAR, MARKET)
    assert done.ledger[PERP] == 0.0


@given(lots=st.integers(1, 20_000), side=st.sampled_from(["buy", "sell"]), kind=st.sampled_from(["spot", "perp"]))
def test_there_and_back_costs_exactly_both_fees_and_slippages(lots: int, side: str, kind: str) -> None:
    back = {"buy": "sell", "sell": "buy"}[side]
    amount = lots / 1000
    before = {USDT: 1e8, BTC: 1e4}
    first = transact([trade(kind, side, amount)], before, LINEAR, MARKET)
    if first.handshakes[0].error_code == "VEN-007":
        assert amount * 60_000.0 < 100.0
        return
    second = transact([trade(kind, back, amount)], first.ledger, LINEAR, MARKET)
    answers = [*first.handshakes, *second.handshakes]
    costs = sum(cost for answer in answers for paid in answer.costs.values() for cost in paid.values())
    slippage, rate = trade_cost(LINEAR, "binance", "BTCUSDT", amount * 60_000.0, perp=kind == "perp")
    assert costs == pytest.approx(2.0 * amount * 60_000.0 * (slippage + rate), rel=1e-6)
    assert second.ledger[USDT] == pytest.approx(before[USDT] - costs, abs=1e-6)
    assert second.ledger[BTC] == pytest.approx(before[BTC], abs=1e-9)
    assert second.ledger.get(PERP, 0.0) == 0.0
