"""Order -> venue -> handshake -> reconcile, over a real NATS; and what happens when the two sides do not agree."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.support.cluster import Cluster, embedded_cluster
from tests.support.market import write_market

from basis.execution.manager import ExecutionManager
from basis.models.errors import ComponentError
from basis.models.execution import ExecutionHandshake
from basis.models.messages import (
    AfterOrders,
    ExecuteReply,
    ExecuteRequest,
    OrdersReply,
    OrdersRequest,
    PositionsReply,
    PositionsRequest,
    ReconcileReply,
    ReconcileRequest,
    Window,
)
from basis.models.operations import OperationType, StrategyIntent
from basis.models.order import Order
from basis.runtime import codec
from basis.runtime.clock import SimulatedClock
from basis.runtime.gas import gas_fee
from basis.runtime.structured_logger import StructuredLogger
from basis.runtime.timeline import operation_id
from basis.runtime.valuation import Valuer
from basis.strategy.core.deltas import OperationParams
from basis.strategy.core.desk import make_order
from basis.strategy.core.strategy_manager import StrategyManager
from basis.testkit.runs import START, custom_config, market_row, portfolio, run_ref

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from basis.models.messages import RunRef

USDT, ETH, A_USDT = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH", "aave_v3:aToken:aUSDT"
CONFIG = custom_config([USDT, ETH, A_USDT])
ROW = market_row(CONFIG)
CONSTANT = {name: [value] for name, value in ROW.items()}
HELD = {USDT: 1000.0, ETH: 1.0}
CAPITAL = sum(amount * Valuer.of(CONFIG).unit_share(key, ROW) for key, amount in HELD.items())
TICK = 3
AT_TICK = Window(first_tick=TICK, ticks=1, market={k: codec.pack([v], k) for k, v in ROW.items()}, balances={})


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    data = write_market(tmp_path / "data", CONFIG, columns=cast("Any", CONSTANT))
    async with embedded_cluster(tmp_path, data, ("execution", "venues", "monitors")) as found:
        yield found


def order(run: RunRef, number: int, operation: OperationType, amount: float, index: float = 1.05) -> Order:
    """An order as the StrategyManager makes it."""
    fee = gas_fee(CONFIG, ROW, operation)
    params = OperationParams(operation, "aave_v3", amount, "USDT", index=index, gas_fee=fee.amount, gas_token=fee.token)
    return make_order(
        params,
        operation_id=operation_id(run, TICK, number),
        expected_deltas=StrategyManager(CONFIG, cast("Any", None))._calculate_expected_deltas(params),
        details={"liquidity_index": index},
        intent=StrategyIntent.ENTRY_FULL,
        strategy_id=CONFIG.mode,
    )


def request(run: RunRef, *orders: Order) -> OrdersRequest:
    state = portfolio(HELD, market=ROW, capital=CAPITAL, tick=TICK)
    return OrdersRequest(run=run, tick=TICK, orders=orders, ledger=HELD, portfolio=state, window=AT_TICK)


def counts(reply: OrdersReply, *kinds: str) -> dict[str, int]:
    return {kind: len(reply.events[kind]) for kind in kinds}


async def test_order_executes_and_expected_equals_actual(cluster: Cluster) -> None:
    run = await cluster.run_ref(CONFIG)
    supply, withdraw = order(run, 0, OperationType.SUPPLY, 500.0), order(run, 1, OperationType.WITHDRAW, 105.0)
    async with cluster.spying() as spy:
        reply = await cluster.trade(request(run, supply, withdraw))
    assert reply.fatal is None
    for wanted, answer in zip((supply, withdraw), reply.handshakes, strict=True):
        assert answer.actual_deltas == pytest.approx(wanted.expected_deltas, rel=1e-12)
    assert reply.ledger == pytest.approx(reply.portfolio.positions)
    gas = sum(gas_fee(CONFIG, ROW, one.operation).amount for one in (supply, withdraw))
    assert reply.ledger[USDT] == pytest.approx(605.0 - gas)
    assert reply.ledger[A_USDT] == pytest.approx((500.0 - 105.0) / 1.05)
    kinds = ("operation_executions", "execution_deltas", "reconciliations", "tight_loop_executions")
    assert {kind: len(spy.events(kind)) for kind in kinds} == dict.fromkeys(kinds, 2) == counts(reply, *kinds)
    assert [line["trigger_source"] for line in spy.events("positions")] == ["execution", "execution", "after_execution"]
    for kind in ("exposures", "risk_assessments", "pnl_calculations"):
        assert len(spy.events(kind)) == 1, "the tick once more, after its orders"
    assert (reply.counts, reply.equity) == ({}, spy.events("exposures")[0]["share_class_value"])
    for line in spy.events("reconciliations"):
        assert line["success"]
        assert line["simulated_positions"] == pytest.approx(line["real_positions"])
    for line in spy.events("tight_loop_executions"):
        assert (line["reconciliation_attempts"], line["retry_attempts"], line["failure_reason"]) == (1, 0, None)
    (first, second) = spy.events("operation_executions")
    assert (first["timestamp"], first["fee_currency"]) == ("2024-05-12T03:00:00+00:00", "USDT")
    assert first["order"] < second["order"]


async def test_events_of_each_order_tell_their_story_in_sequence(cluster: Cluster) -> None:
    run = await cluster.run_ref(CONFIG)
    async with cluster.spying() as spy:
        await cluster.trade(request(run, *(order(run, n, OperationType.SUPPLY, 10.0) for n in range(3))))
    kinds = ("operation_executions", "execution_deltas", "positions", "reconciliations", "tight_loop_executions")
    story = sorted((line["order"], kind) for kind in kinds for line in spy.events(kind))
    assert [kind for _, kind in story] == [*kinds * 3, "positions"]


async def test_failed_order_stops_the_rest_of_its_tick(cluster: Cluster) -> None:
    run = await cluster.run_ref(CONFIG)
    orders = [
        order(run, 0, OperationType.SUPPLY, 100.0),
        order(run, 1, OperationType.SUPPLY, 1e6),
        order(run, 2, OperationType.SUPPLY, 100.0),
    ]
    async with cluster.spying() as spy:
        reply = await cluster.trade(request(run, *orders))
    assert [answer.status for answer in reply.handshakes] == ["confirmed", "failed"]
    assert reply.handshakes[1].error_code == "VEN-008"
    assert reply.fatal is None
    gas = gas_fee(CONFIG, ROW, OperationType.SUPPLY).amount
    assert reply.ledger[USDT] == pytest.approx(900.0 - gas)
    assert len(spy.events("execution_deltas")) == 1
    failed = spy.events("operation_executions")[1]
    assert (failed["status"], failed["error_code"], failed["position_deltas"]) == ("failed", "VEN-008", [])
    assert [line["level"] for line in spy.logs("execution_manager") if "error_code" in line] == ["ERROR"]


async def test_wrong_expectation_is_found_and_stops_the_run_with_exec_004(cluster: Cluster) -> None:
    run = await cluster.run_ref(CONFIG)
    wrong = order(run, 0, OperationType.SUPPLY, 500.0, index=1.06)  # the market says 1.05
    async with cluster.spying() as spy:
        reply = await cluster.trade(request(run, wrong, order(run, 1, OperationType.SUPPLY, 1.0)))
    assert reply.fatal is not None
    assert reply.fatal[0] == "EXEC-004"
    assert "EXEC-003" in reply.fatal[1]
    assert A_USDT in reply.fatal[1]
    assert len(reply.handshakes) == 1, "no order may follow an unexplained one"
    attempts = spy.events("reconciliations")
    assert [line["retry_attempt"] for line in attempts] == [0, 1, 2, 3]
    assert not any(line["success"] for line in attempts)
    assert attempts[0]["mismatches"][0]["kind"] == "delta"
    assert len(spy.events("execution_deltas")) == 1, "a retry re-queries, it never applies again"
    (loop,) = spy.events("tight_loop_executions")
    assert (loop["system_failure_triggered"], loop["reconciliation_success"], loop["retry_attempts"]) == (
        True,
        False,
        3,
    )
    assert "CRITICAL" in {line["level"] for line in spy.logs("execution_manager")}


async def test_wrong_expectation_in_the_middle_throws_away_what_was_executed_after_it(cluster: Cluster) -> None:
    run = await cluster.run_ref(CONFIG)
    right, last = order(run, 0, OperationType.SUPPLY, 100.0), order(run, 2, OperationType.SUPPLY, 100.0)
    wrong = order(run, 1, OperationType.SUPPLY, 100.0, index=1.06)
    async with cluster.spying() as spy:
        reply = await cluster.trade(request(run, right, wrong, last))
    assert reply.fatal is not None
    assert wrong.operation_id in [answer.operation_id for answer in reply.handshakes]
    assert last.operation_id not in [answer.operation_id for answer in reply.handshakes]
    assert reply.ledger == pytest.approx(reply.portfolio.positions), "the balances that were last compared"
    assert reply.portfolio.applied == (right.operation_id, wrong.operation_id)
    tried = [(line["trigger_source"], line["retry_attempt"]) for line in spy.events("reconciliations")]
    assert tried == [(right.operation_id, 0), *((wrong.operation_id, attempt) for attempt in range(4))]
    attempts = {line["operation_id"]: line["reconciliation_attempts"] for line in spy.events("tight_loop_executions")}
    assert attempts == {right.operation_id: 1, wrong.operation_id: 4}
    orders = [line["order"] for line in spy.events("reconciliations")]
    assert orders == sorted(set(orders)), "each comparison has a place of its own"


async def test_orders_of_a_tick_are_one_trip_to_the_venues_and_one_to_the_monitors(cluster: Cluster) -> None:
    run = await cluster.run_ref(CONFIG)
    orders = [order(run, n, OperationType.SUPPLY, 10.0) for n in range(5)]
    async with cluster.spying() as spy:
        reply = await cluster.trade(request(run, *orders))
    assert len(reply.handshakes) == 5
    trips = ("venues.execute", "monitors.reconcile")
    assert [subject for subject, _ in spy.messages if subject in trips] == list(trips)


async def test_repeated_request_gives_the_same_answer(cluster: Cluster) -> None:
    run = await cluster.run_ref(CONFIG)
    message = request(run, order(run, 0, OperationType.SUPPLY, 500.0))
    first, again = await cluster.trade(message), await cluster.trade(message)
    differing = {"events", "logs"}  # they carry the wall clock
    assert first.model_dump(exclude=differing) == again.model_dump(exclude=differing)
    assert counts(first, *first.events) == counts(again, *first.events)
    assert [line.digest for line in first.logs] == [line.digest for line in again.logs]


async def test_batch_that_makes_no_sense_raises_strat_003_and_is_logged(cluster: Cluster) -> None:
    run = await cluster.run_ref(CONFIG)
    same = order(run, 0, OperationType.SUPPLY, 1.0)
    async with cluster.spying() as spy:
        with pytest.raises(ComponentError, match="repeated") as caught:
            await cluster.trade(request(run, same, same))
    assert caught.value.error_code == "STRAT-003"
    (line,) = spy.logs("execution_manager")
    assert (line["error_code"], line["timestamp"]) == ("STRAT-003", "2024-05-12T03:00:00+00:00")
    assert "Traceback" in line["stack_trace"]


async def test_data_that_changed_since_the_run_was_accepted_raises_data_002(cluster: Cluster) -> None:
    run = run_ref(CONFIG)  # a SHA-256 that no catalogue has
    with pytest.raises(ComponentError, match="changed since") as caught:
        await cluster.trade(request(run, order(run, 0, OperationType.SUPPLY, 1.0)))
    assert caught.value.error_code == "DATA-002"


# ------------------------------------------------------------------------------- a fake of the port, one side at odds


class Counterparts:
    """Venues and monitors by hand: the venue confirms, and the comparison fails as often as it is told to."""

    def __init__(self, failures: int, status: str = "confirmed") -> None:
        self.failures = failures
        self.status = status
        self.executed = 0
        self.asked = 0
        self.attempts: list[int] = []

    async def execute(self, request: ExecuteRequest, timeout_s: float) -> ExecuteReply:
        assert timeout_s == 30.0
        self.executed += 1
        done = self.status == "confirmed"
        answers = tuple(
            ExecutionHandshake.model_validate(
                {
                    "operation_id": one.operation_id,
                    "status": self.status,
                    "actual_deltas": one.expected_deltas if done else {},
                    "submitted_at": START,
                    "executed_at": START + timedelta(seconds=1) if done else None,
                    "simulated": False,
                }
            )
            for one in request.orders
        )
        return ExecuteReply(handshakes=answers, ledger=request.ledger, balances=request.ledger)

    async def positions(self, request: PositionsRequest, timeout_s: float) -> PositionsReply:
        assert timeout_s == 10.0
        self.asked += 1
        return PositionsReply(balances=request.ledger)

    async def reconcile(self, request: ReconcileRequest, timeout_s: float) -> ReconcileReply:
        assert timeout_s == 10.0
        if not request.transactions:
            after = AfterOrders(portfolio=request.portfolio, equity=1.0, events={})
            return ReconcileReply(
                portfolio=request.portfolio, compared=0, success=True, mismatches=(), events={}, after=after
            )
        self.attempts.append(request.retry_attempt)
        success = len(self.attempts) > self.failures
        words = () if success else ("balance x: expected 1.0, actual 2.0",)
        after = AfterOrders(portfolio=request.portfolio, equity=1.0, events={})
        return ReconcileReply(
            portfolio=request.portfolio,
            compared=len(request.transactions),
            success=success,
            mismatches=words,
            events={},
            after=after,
        )


class RecordingClock(SimulatedClock):
    """Remembers how long it was asked to wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.mark.parametrize(("failures", "attempts"), [(0, 1), (1, 2), (3, 4), (99, 4)])
async def test_mismatch_is_queried_again_with_back_off_and_then_stops_the_run(
    cluster: Cluster, failures: int, attempts: int
) -> None:
    run = run_ref(CONFIG)
    others, clock = Counterparts(failures), RecordingClock()
    log = StructuredLogger(cluster.bus, "execution_manager", clock)
    manager = ExecutionManager(cluster.bus, others, clock, log)
    orders = [order(run, n, OperationType.SUPPLY, 1.0) for n in range(2)]
    async with cluster.spying() as spy:
        reply = await manager.run(request(run, *orders))
    stopped = failures >= 4
    assert others.attempts[:attempts] == list(range(attempts))
    assert clock.waits == [1.0, 2.0, 4.0][: attempts - 1]
    assert others.executed == (1 if stopped else 2), "a retry re-queries, it never executes again"
    if stopped:
        assert reply.fatal is not None
        assert reply.fatal[0] == "EXEC-004"
        assert "EXEC-003 reconciliation still fails after 4 comparisons" in reply.fatal[1]
        assert "expected 1.0, actual 2.0" in reply.fatal[1]
    else:
        assert reply.fatal is None
    loop = spy.events("tight_loop_executions")[0]
    assert (loop["reconciliation_attempts"], loop["system_failure_triggered"]) == (attempts, stopped)


async def test_unknown_outcome_stops_the_run_and_nothing_is_sent_again(cluster: Cluster) -> None:
    run = run_ref(CONFIG)
    others, clock = Counterparts(0, status="pending"), RecordingClock()
    manager = ExecutionManager(cluster.bus, others, clock, StructuredLogger(cluster.bus, "execution_manager", clock))
    reply = await manager.run(request(run, *(order(run, n, OperationType.SUPPLY, 1.0) for n in range(2))))
    assert reply.fatal is not None
    assert (reply.fatal[0], "outcome unknown" in reply.fatal[1]) == ("EXEC-004", True)
    assert (others.executed, others.attempts) == (1, [])
    assert reply.counts == {"operation_executions": 1, "tight_loop_executions": 1}, "published at once: a real venue"
