"""Simulated wallet: transfers out of it, to an exchange or the client, and what arrives in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from tests.support.venues import order, settle_columns, transact

from basis.testkit import strategies as bst
from basis.testkit.runs import custom_config, market_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig
    from basis.models.order import Order
    from basis.testkit.conformance.cases import Settled
    from basis.venues.core.execution import Executed

USDT, ETH, CEX = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH", "binance:BaseToken:USDT"
TRANSIT = "transit:BaseToken:USDT"
CONFIG = custom_config([USDT, CEX, ETH], share_class="ETH", venues={"wallet": {"gas_price_gwei": 10.0}})
GAS = 10e-9 * 65_000


def delayed(venue: str, seconds: int) -> RunConfig:
    changes: dict[str, dict[str, object]] = {"wallet": {"gas_price_gwei": 10.0}}
    changes.setdefault(venue, {})["deposit_delay_s"] = seconds
    return custom_config([USDT, CEX, ETH, TRANSIT], share_class="ETH", venues=changes)


def transfer(amount: float, source: str = "wallet", target: str = "binance", token: str = "USDT") -> Order:
    return order("transfer", source, amount, source_venue=source, target_venue=target, source_token=token)


def run(found: Order, ledger: Mapping[str, float], config: RunConfig = CONFIG, tick: int = 3) -> Executed:
    return transact([found], ledger, config, market_row(config), tick)


def wait(ledger: Mapping[str, float], config: RunConfig, ticks: int, first_tick: int = 4) -> Settled:
    market = {name: np.full(ticks + 1, value) for name, value in market_row(config).items()}
    return settle_columns(ledger, config, market, first_tick)


@given(amount=bst.floats(1e-6, 1e6), held=bst.floats(0.0, 1e6))
def test_transfer_arrives_in_full_or_not_at_all(amount: float, held: float) -> None:
    done = run(transfer(amount), {USDT: held, CEX: 5.0, ETH: 1.0})
    if amount <= held:
        assert (done.ledger[USDT], done.ledger[CEX]) == (held - amount, 5.0 + amount)
        assert done.ledger[ETH] == pytest.approx(1.0 - GAS)
        assert done.handshakes[0].costs == {"gas": {ETH: pytest.approx(GAS)}}
    else:
        assert done.handshakes[0].error_code == "VEN-008"
        assert done.ledger == {USDT: held, CEX: 5.0, ETH: 1.0}


def test_transfer_without_ether_for_its_gas_is_refused() -> None:
    (answer,) = run(transfer(1.0), {USDT: 10.0}).handshakes
    assert answer.error_code == "VEN-008"
    assert ETH in str(answer.error_message)


def test_gas_is_paid_in_the_share_class_where_that_is_not_ether() -> None:
    config = custom_config([USDT, CEX, ETH], venues={"wallet": {"gas_price_gwei": 10.0}})
    done = run(transfer(100.0), {USDT: 1000.0}, config)
    assert done.ledger[USDT] == pytest.approx(900.0 - GAS * 3000.0 / 0.999)


def test_what_is_paid_to_the_client_leaves_the_account_and_is_no_cost() -> None:
    done = run(transfer(100.0, target="client"), {USDT: 1000.0, ETH: 1.0})
    (answer,) = done.handshakes
    assert answer.actual_deltas == {USDT: -100.0, ETH: pytest.approx(-GAS)}
    assert answer.costs == {"external": {USDT: 100.0}, "gas": {ETH: pytest.approx(GAS)}}
    assert done.ledger[USDT] == 900.0


@pytest.mark.parametrize(("delay_s", "ticks"), [(1, 1), (3600, 1), (3601, 2), (9000, 3), (86_400, 24)])
def test_delayed_transfer_is_in_transit_until_its_tick(delay_s: int, ticks: int) -> None:
    config = delayed("binance", delay_s)
    sent = run(transfer(100.0), {USDT: 1000.0, ETH: 1.0}, config)
    assert sent.ledger[TRANSIT] == 100.0
    assert sent.ledger[f"binance:arriving:USDT@{3 + ticks}"] == 100.0
    assert CEX not in sent.ledger
    if ticks > 1:
        before = wait(sent.ledger, config, ticks - 1)
        assert (before.ledger[TRANSIT], before.settlements) == (100.0, ())
    arrived = wait(sent.ledger, config, ticks)
    (settlement,) = arrived.settlements
    assert (settlement.tick, settlement.venue, settlement.kind) == (3 + ticks, "binance", "transfer_arrival")
    assert settlement.deltas == {TRANSIT: -100.0, CEX: 100.0}
    assert (arrived.ledger[CEX], arrived.ledger[TRANSIT]) == (100.0, 0.0)
    assert not [key for key in arrived.ledger if "arriving" in key]


def test_withdrawal_of_an_exchange_arrives_in_the_wallet_less_its_fee() -> None:
    config = delayed("wallet", 7200)
    sent = run(transfer(100.0, "binance", "wallet"), {CEX: 500.0, ETH: 1.0}, config)
    (answer,) = sent.handshakes
    assert answer.costs == {"fees": {CEX: 1.0}}
    assert sent.ledger == {CEX: 400.0, ETH: 1.0, TRANSIT: 99.0, "wallet:arriving:USDT@5": 99.0}
    arrived = wait(sent.ledger, config, 2)
    assert arrived.settlements[0].venue == "wallet"
    assert arrived.ledger == {CEX: 400.0, ETH: 1.0, TRANSIT: 0.0, USDT: 99.0}


def test_two_transfers_of_one_tick_arrive_as_one() -> None:
    config = delayed("binance", 3600)
    one = run(transfer(100.0), {USDT: 1000.0, ETH: 1.0}, config)
    two = run(transfer(50.0), one.ledger, config)
    assert two.ledger["binance:arriving:USDT@4"] == 150.0
    arrived = wait(two.ledger, config, 1)
    assert [settlement.deltas for settlement in arrived.settlements] == [{TRANSIT: -150.0, CEX: 150.0}]
