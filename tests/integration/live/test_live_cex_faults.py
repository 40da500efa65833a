"""What goes wrong between us and an exchange: the exchange lines of the fault table, and one effect per operation_id."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.live_cex import keys_of

from basis.models.operations import ExecutionStatus
from basis.venues.live.errors import Fatal, Retryable
from basis.venues.live.lease import leased

if TYPE_CHECKING:
    from tests.support.live_cex import Stage

    from basis.models.execution import ExecutionHandshake

CONFIRMED, PENDING, FAILED = ExecutionStatus.CONFIRMED, ExecutionStatus.PENDING, ExecutionStatus.FAILED
HAPPENED = ("error_after", "timeout_after", "disconnect_after", "garbage_after")
NEVER = ("error_before", "timeout_before", "disconnect_before")


@pytest.mark.parametrize("fault", HAPPENED)
@pytest.mark.parametrize("kind", ["spot", "perp"])
def test_lost_answer_is_pending_and_resolves_to_what_happened(stage: Stage, kind: str, fault: str) -> None:
    before = stage.balances()
    order = stage.trade(kind, "buy", 1.0, price=3000.0)
    prepared = stage.prepare(order)
    stage.impatient().server.faults.add("order.create", fault)
    assert stage.send(order, prepared).status is PENDING
    stage.impatient(5)
    done = stage.resolve(order, prepared)
    assert done.status is CONFIRMED
    after = stage.balances()
    assert {key: after[key] - before[key] for key in done.actual_deltas} == pytest.approx(done.actual_deltas, abs=1e-9)
    assert stage.resolve(order, prepared).actual_deltas == done.actual_deltas  # however often it is asked
    assert stage.traded("ETHUSDT", "spot" if kind == "spot" else "linear") == 1


@pytest.mark.parametrize("fault", NEVER)
def test_lost_request_is_pending_and_resolves_to_never_arrived(stage: Stage, fault: str) -> None:
    order = stage.trade("perp", "sell", 1.0, price=3000.0)
    prepared = stage.prepare(order)
    stage.impatient().server.faults.add("order.create", fault)
    assert stage.send(order, prepared).status is PENDING
    stage.impatient(5)
    proved = stage.resolve(order, prepared)
    assert (proved.status, proved.error_code) == (FAILED, "VEN-014")
    assert stage.send(order, prepared).status is CONFIRMED
    assert stage.traded("ETHUSDT", "linear") == -1


def test_order_that_arrives_late_is_waited_for_or_expires_but_is_never_doubled(stage: Stage) -> None:
    """The request reaches the exchange after the client gave up: within its window it counts, after it never."""
    for delay_s, happened in ((0.5, True), (1.3, False)):  # window 1 s
        stage.fresh()
        order = stage.trade("perp", "sell", 1.0, price=3000.0)
        prepared = stage.prepare(order)
        stage.impatient().server.faults.add("order.create", "timeout_late", delay_s=delay_s)
        done = stage.carry_out(order, prepared)
        assert done.status is CONFIRMED
        time.sleep(0.8)  # whatever was on its way is there
        assert stage.traded("ETHUSDT", "linear") == -1, happened


@pytest.mark.parametrize(("fault", "code"), [("rate", "VEN-006"), ("banned", "VEN-006"), ("reject", "VEN-009")])
def test_refusal_is_proof(stage: Stage, fault: str, code: str) -> None:
    order = stage.trade("spot", "buy", 1.0, price=3000.0)
    stage.server.faults.add("order.create", fault)
    done = stage.send(order)
    assert (done.status, done.error_code, done.actual_deltas) == (FAILED, code, {})
    assert not stage.server.exchange.account.trades


@pytest.mark.parametrize("fault", ["rate", "error_before", "timeout_before", "disconnect_before"])
def test_questions_are_asked_again(stage: Stage, fault: str) -> None:
    stage.impatient().server.faults.add("balance", fault, times=2)
    assert stage.balances()[f"{stage.venue}:BaseToken:USDT"] == 100_000.0
    stage.server.faults.add("balance", "rate", times=99)
    with pytest.raises(Retryable, match="VEN-006"):
        stage.balances()


def test_rate_limit_is_sat_out_as_long_as_the_exchange_says_and_a_ban_is_not(binance: Stage) -> None:
    binance.server.exchange.retry_after_s = 1
    binance.server.faults.add("balance", "rate")
    begin = time.monotonic()
    assert binance.balances()["binance:BaseToken:USDT"] == 100_000.0
    assert time.monotonic() - begin >= 1.0  # a lower bound alone
    binance.server.exchange.retry_after_s = 3600
    binance.server.faults.add("balance", "banned", times=9)
    binance.server.requests.clear()
    with pytest.raises(Retryable, match="VEN-006"):
        binance.balances()
    assert binance.server.requests["balance"] <= 3  # one a wallet, and none again


def test_answer_that_cannot_be_read_after_sending_is_pending(stage: Stage) -> None:
    order = stage.trade("perp", "buy", 1.0, price=3000.0)
    prepared = stage.prepare(order)
    stage.server.faults.add("trades", "error_before", times=4)
    assert stage.send(order, prepared).status is PENDING
    assert stage.resolve(order, prepared).status is CONFIRMED
    assert stage.traded("ETHUSDT", "linear") == 1


def test_same_order_sent_twice_is_found_not_doubled(stage: Stage) -> None:
    """A caller that forgets to resolve: perps and two of three exchanges keep ids for ever, and say so."""
    order = stage.trade("perp", "buy", 1.0, price=3000.0)
    prepared = stage.prepare(order)
    first = stage.send(order, prepared)
    again = stage.send(order, prepared)
    assert again.status is PENDING
    assert stage.resolve(order, prepared).actual_deltas == first.actual_deltas
    assert stage.traded("ETHUSDT", "linear") == 1


def test_restarted_process_finds_its_order_by_the_same_words(stage: Stage) -> None:
    from basis.venues.live.interface import Prepared

    order = stage.trade("perp", "buy", 1.0, price=3000.0)
    prepared = stage.prepare(order)
    stage.impatient().server.faults.add("order.create", "timeout_after")
    stage.send(order, prepared)
    other = stage.make()
    stage.run(other.open())
    try:
        recorded = Prepared(prepared.operation_ids, prepared.venue, dict(prepared.reference))
        (done,) = stage.run(other.resolve([order], recorded))
        assert done.status is CONFIRMED
        lost = stage.trade("perp", "buy", 1.0, price=3000.0)
        (proved,) = stage.run(other.resolve([lost], stage.prepare(lost)))
        assert (proved.status, proved.error_code) == (FAILED, "VEN-014")
    finally:
        stage.run(other.close())
    assert stage.traded("ETHUSDT", "linear") == 1


def test_clock_skew_stops_at_open_and_refuses_orders(stage: Stage) -> None:
    order = stage.trade("perp", "buy", 1.0, price=3000.0)
    prepared = stage.prepare(order)
    for skew_ms in (40_000, -40_000):
        stage.server.skew_ms = skew_ms
        with pytest.raises(Fatal, match="VEN-011"):
            stage.run(stage.live.check_clock())
        other = stage.make()
        with pytest.raises(Fatal, match="VEN-011"):
            stage.run(other.open())
        stage.run(other.close())
        refused = stage.send(order, prepared)
        assert (refused.status, refused.error_code) == (FAILED, "VEN-011")
    stage.server.skew_ms = 0
    assert stage.send(order, prepared).status is CONFIRMED


def test_a_request_that_was_too_slow_is_repeated(stage: Stage) -> None:
    """Its stamp is refused, yet the clocks agree: a question is asked again, an order is known not to be there."""
    stage.server.faults.add("positions", "late")
    assert stage.balances()
    order = stage.trade("perp", "buy", 1.0, price=3000.0)
    prepared = stage.prepare(order)
    stage.server.faults.add("order.create", "late")
    refused = stage.send(order, prepared)
    assert (refused.status, refused.error_code) == (FAILED, "VEN-002")
    assert stage.send(order, prepared).status is CONFIRMED
    assert stage.traded("ETHUSDT", "linear") == 1


def test_wrong_keys_stop_at_open(stage: Stage) -> None:
    from pydantic import SecretStr

    from basis.venues.live.cex.clients import Credentials

    other = stage.make()
    other._link.client.secret = "wrong" * 8
    with pytest.raises(Fatal, match="VEN-005"):
        stage.run(other.open())
    stage.run(other.close())
    assert "wrong" not in repr(Credentials(SecretStr("wrong"), SecretStr("wrong"), None))


def test_fees_in_bnb_stop_at_open(binance: Stage) -> None:
    binance.server.exchange.fee_asset = "BNB"
    other = binance.make()
    with pytest.raises(Fatal, match="BNB"):
        binance.run(other.open())
    binance.run(other.close())


FAULTS = (*HAPPENED, *NEVER, "rate", "late", "timeout_late")
READS = ("error_before", "rate", "late", "disconnect_before")


@given(
    kind=st.sampled_from(("spot", "perp")),
    sends=st.lists(st.sampled_from(FAULTS), max_size=3),
    finds=st.lists(st.sampled_from(READS), max_size=5),
    trades=st.lists(st.sampled_from(READS), max_size=3),
    part=st.booleans(),
)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_one_effect_per_operation_whatever_goes_wrong(
    stage: Stage, kind: str, sends: list[str], finds: list[str], trades: list[str], part: bool
) -> None:
    """Send, resolve, send again, as the execution service does, under any sequence of faults."""
    stage.fresh().impatient()
    listing = "spot" if kind == "spot" else "linear"
    order = stage.trade(kind, "buy", 1.0, price=3000.0)
    prepared = stage.prepare(order)
    before = stage.balances()
    if part:
        stage.server.exchange.liquidity["ETHUSDT", listing] = Decimal("0.4")
    for operation, faults in (("order.create", sends), ("order.get", finds), ("trades", trades)):
        for fault in faults:
            stage.server.faults.add(operation, fault, delay_s=0.1)
    done = stage.carry_out(order, prepared, most=20)
    stage.impatient(5).server.faults.clear()
    after = stage.balances()
    if not part:
        assert done.status is CONFIRMED, (done.error_code, done.error_message)
        assert stage.traded("ETHUSDT", listing) == 1
        change = {key: after[key] - before[key] for key in after if after[key] != before[key]}
        assert change == pytest.approx(done.actual_deltas, abs=1e-9)
    elif done.status is CONFIRMED:
        assert stage.traded("ETHUSDT", listing) == Decimal("0.4")
    orders = [one for one in stage.server.exchange.account.orders.values() if one.filled]
    assert len(orders) == 1


class Lapsed:
    """A lease that ran out between the renewal and the signature: the process stood still."""

    async def renew(self) -> None:
        """It was fresh when it was looked at."""

    def holds(self) -> bool:
        """Not any more."""
        return False


def test_what_is_signed_does_not_leave_without_a_lease(stage: Stage) -> None:
    order = stage.trade("perp", "buy", 1.0, price=3000.0)
    prepared = stage.prepare(order)

    async def send() -> ExecutionHandshake:
        with leased(Lapsed()):
            (found,) = await stage.live.send([order], prepared)
        return found

    found = stage.run(send())
    assert found.status is PENDING, "its owner resolves it: another may have sent it"
    assert "another replica" in str(found.error_message)
    assert stage.server.requests["order.create"] == 0
    assert stage.send(order, prepared).status is CONFIRMED


def test_nothing_goes_on_asking_after_a_failure(binance: Stage) -> None:
    """Of several questions at once the others end with the one that fails."""
    binance.server.faults.add("positions", "rate", times=99)
    binance.server.faults.add("balance", "timeout_before", times=99)  # still waits when positions are given up

    async def left_behind() -> set[str]:
        with pytest.raises(Retryable):
            await binance.live.balances(keys)
        return {str(task.get_coro()) for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    keys = [key for key in keys_of("binance") if key.startswith("binance")]
    assert binance.run(left_behind()) == set()
    binance.server.faults.clear()
    assert binance.balances()["binance:BaseToken:USDT"] == 100_000.0
