"""An atomic group over NATS: execution, venues and monitors services on the simulated venue, all or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.support.cluster import Cluster, Spy, embedded_cluster
from tests.support.market import write_market

from basis.models.messages import OrdersReply, OrdersRequest, Window
from basis.models.operations import ExecutionMode, OperationType, StrategyIntent
from basis.models.order import Order
from basis.runtime import codec
from basis.runtime.gas import gas_fee
from basis.runtime.timeline import atomic_group_id, operation_id
from basis.runtime.valuation import Valuer
from basis.strategy.core.deltas import OperationParams
from basis.strategy.core.desk import make_order
from basis.strategy.core.strategy_manager import StrategyManager
from basis.testkit.runs import custom_config, market_row, portfolio

if TYPE_CHECKING:
    from pathlib import Path

    from basis.models.messages import RunRef

ETH, A_WETH, DEBT = "wallet:BaseToken:ETH", "aave_v3:aToken:aWETH", "aave_v3:debtToken:debtWETH"
OWED = "morpho:debtToken:flashWETH"
CONFIG = custom_config([ETH, A_WETH, DEBT, OWED], share_class="ETH", venues={"wallet": {"gas_price_gwei": 30.0}})
ROW = market_row(CONFIG)
CONSTANT = {name: [value] for name, value in ROW.items()}
SERVICES = ("execution", "venues", "monitors")
GAS = 30e-9 * (80_000 + 200_000 + 250_000 + 21_000)


def group(run: RunRef, tick: int, flash: float, equity: float) -> tuple[Order, ...]:
    """flash_borrow D -> supply E+D -> borrow D -> flash_repay, as the StrategyManager would order it."""
    manager = StrategyManager(CONFIG, cast("Any", None))
    steps = [
        (OperationType.FLASH_BORROW, "morpho", flash, 0.0),
        (OperationType.SUPPLY, "aave_v3", equity + flash, ROW["liquidity_index:WETH"]),
        (OperationType.BORROW, "aave_v3", flash, ROW["borrow_index:WETH"]),
        (OperationType.FLASH_REPAY, "morpho", flash, 0.0),
    ]
    orders = []
    for number, (operation, venue, amount, index) in enumerate(steps):
        fee = gas_fee(CONFIG, ROW, operation)
        params = OperationParams(operation, venue, amount, "WETH", index=index, gas_fee=fee.amount, gas_token="ETH")
        orders.append(
            make_order(
                params,
                operation_id=operation_id(run, tick, number),
                expected_deltas=manager._calculate_expected_deltas(params),
                details={"index": index},
                intent=StrategyIntent.ENTRY_FULL,
                strategy_id=CONFIG.mode,
                group=(atomic_group_id(run, tick, 0), number),
            )
        )
    return tuple(orders)


async def send(cluster: Cluster, run: RunRef, orders: tuple[Order, ...], held: dict[str, float]) -> OrdersReply:
    capital = sum(amount * Valuer.of(CONFIG).unit_share(key, ROW) for key, amount in held.items())
    state = portfolio(held, market=ROW, capital=capital, tick=3)
    window = Window(first_tick=3, ticks=1, market={k: codec.pack([v], k) for k, v in ROW.items()}, balances={})
    request = OrdersRequest(run=run, tick=3, orders=orders, ledger=held, portfolio=state, window=window)
    return await cluster.trade(request)


def story(spy: Spy) -> dict[str, int]:
    kinds = ("operation_executions", "atomic_operation_groups", "execution_deltas", "reconciliations", "positions")
    return {kind: len(spy.events(kind)) for kind in (*kinds, "tight_loop_executions")}


async def test_group_that_succeeds_makes_exactly_its_deltas(tmp_path: Path) -> None:
    data = write_market(tmp_path / "data", CONFIG, columns=cast("Any", CONSTANT))
    async with embedded_cluster(tmp_path, data, SERVICES) as cluster:
        run = await cluster.run_ref(CONFIG)
        async with cluster.spying() as spy:
            reply = await send(cluster, run, group(run, 3, 20.0, 10.0), {ETH: 11.0})
    assert reply.fatal is None
    assert [answer.status for answer in reply.handshakes] == ["confirmed"] * 4
    expected = {ETH: 1.0 - GAS, A_WETH: 30.0 / 1.05, DEBT: 20.0 / 1.08, OWED: 0.0}
    assert reply.ledger == pytest.approx(expected)
    assert {key: reply.portfolio.positions[key] for key in expected} == pytest.approx(expected)
    assert reply.portfolio.attribution["gas"] == pytest.approx(-GAS)
    assert story(spy) == {
        "operation_executions": 4,
        "atomic_operation_groups": 1,
        "execution_deltas": 4,
        "reconciliations": 1,
        "positions": 2,  # after the group, and the tick once more
        "tight_loop_executions": 4,
    }
    assert story(spy) == {kind: len(reply.events[kind]) for kind in story(spy)}
    (found,) = spy.events("atomic_operation_groups")
    assert (found["group_status"], found["rollback_triggered"], found["rollback_reason"]) == ("completed", False, None)
    assert found["total_gas_fees"] == pytest.approx(GAS)
    assert [step["operation_type"] for step in found["operations"]] == [
        "flash_borrow",
        "supply",
        "borrow",
        "flash_repay",
    ]
    (reconciled,) = spy.events("reconciliations")
    assert (reconciled["success"], reconciled["reconciliation_type"], reconciled["mismatches"]) == (
        True,
        "atomic_group",
        [],
    )
    for step in spy.events("operation_executions"):
        for delta in step["position_deltas"]:
            assert delta["delta"] == pytest.approx(delta["expected"], rel=1e-12), step["operation_type"]
    assert len([subject for subject, _ in spy.messages if subject == "handshakes"]) == 4


async def test_step_that_violates_the_borrow_limit_rolls_back_every_step(tmp_path: Path) -> None:
    data = write_market(tmp_path / "data", CONFIG, columns=cast("Any", CONSTANT))
    before = {ETH: 11.0, A_WETH: 1.0, DEBT: 0.1}
    async with embedded_cluster(tmp_path, data, SERVICES) as cluster:
        run = await cluster.run_ref(CONFIG)
        async with cluster.spying() as spy:
            # 10 of equity carry a debt of 41 at most
            reply = await send(cluster, run, group(run, 3, 60.0, 10.0), before)
    assert reply.fatal is None
    assert [answer.status for answer in reply.handshakes] == ["rolled_back"] * 4
    assert {answer.error_code for answer in reply.handshakes} == {"EXEC-005"}
    assert reply.ledger == before
    assert {key: reply.portfolio.positions[key] for key in before} == before
    assert not any(reply.portfolio.attribution.values())
    (found,) = spy.events("atomic_operation_groups")
    assert (found["group_status"], found["rollback_triggered"], found["total_gas_fees"]) == ("rolled_back", True, 0.0)
    assert "step 2 of 4" in found["rollback_reason"]
    assert "borrow limit" in found["rollback_reason"]
    assert {step["status"] for step in found["operations"]} == {"rolled_back"}
    assert spy.events("execution_deltas") == []
    assert {line["executed_amount"] for line in spy.events("operation_executions")} == {0.0}
    assert [line["execution_success"] for line in spy.events("tight_loop_executions")] == [False] * 4
    (reconciled,) = spy.events("reconciliations")
    assert reconciled["success"], "nothing moved, and that is what both sides say"
    errors = [line for line in spy.logs("execution_manager") if line.get("error_code") == "EXEC-005"]
    assert len(errors) == 4


async def test_orders_after_a_rolled_back_group_are_never_tried(tmp_path: Path) -> None:
    data = write_market(tmp_path / "data", CONFIG, columns=cast("Any", CONSTANT))
    async with embedded_cluster(tmp_path, data, SERVICES) as cluster:
        run = await cluster.run_ref(CONFIG)
        orders = group(run, 3, 60.0, 10.0)
        single = orders[1].model_copy(
            update={
                "operation_id": operation_id(run, 3, 9),
                "execution_mode": ExecutionMode.SEQUENTIAL,
                "atomic_group_id": None,
                "sequence_in_group": None,
            }
        )
        reply = await send(cluster, run, (*orders, single), {ETH: 500.0})
    assert len(reply.handshakes) == 4
    assert reply.ledger == {ETH: 500.0}
