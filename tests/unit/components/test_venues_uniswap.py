"""Simulated Uniswap: the pool's price, the cost by size, and what counts as slippage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from tests.support.venues import order, transact

from basis.runtime.valuation import Valuer
from basis.testkit import strategies as bst
from basis.testkit.runs import custom_config, market_row

if TYPE_CHECKING:
    from basis.models.execution import ExecutionHandshake
    from basis.models.order import Order
    from basis.venues.core.execution import Executed

ETH, EIGEN, ETHFI = "wallet:BaseToken:ETH", "wallet:BaseToken:EIGEN", "wallet:BaseToken:ETHFI"
WEETH, WSTETH = "etherfi:LST:weETH", "lido:LST:wstETH"
KEYS = {"ETH": ETH, "EIGEN": EIGEN, "ETHFI": ETHFI, "weETH": WEETH, "wstETH": WSTETH}
CONFIG = custom_config(KEYS.values(), share_class="ETH", venues={"uniswap": {}, "wallet": {"gas_price_gwei": 0.0}})
MARKET = market_row(CONFIG, dex__EIGENWETH=1.2e-3, dex__ETHFIWETH=7e-4)
PRICES = {"ETH": 1.0, "EIGEN": 1.2e-3, "ETHFI": 7e-4, "weETH": 1.039, "wstETH": 1.039}
LEDGER = dict.fromkeys(KEYS.values(), 1e6)


def swap(amount: float, source: str, target: str, **fields: Any) -> Order:
    return order("swap", "uniswap", amount, source_token=source, target_token=target, **fields)


def run(found: Order, **changes: float) -> Executed:
    return transact(
        [found], LEDGER, CONFIG, MARKET | {name.replace("__", ":"): value for name, value in changes.items()}
    )


def confirmed(found: Order, **changes: float) -> ExecutionHandshake:
    (answer,) = run(found, **changes).handshakes
    assert answer.status == "confirmed", answer
    return answer


@pytest.mark.parametrize(
    ("source", "target", "amount", "cost"),
    [
        ("weETH", "ETH", 1.0, 20e-4),  # 3,117 USD
        ("weETH", "ETH", 10.0, 24e-4),  # 31,170 USD
        ("weETH", "ETH", 100.0, 35e-4),
        ("weETH", "ETH", 10_000.0, 35e-4),  # beyond the largest size listed
        ("wstETH", "ETH", 1.0, 15e-4),
        ("ETH", "wstETH", 1.0, 15e-4),
        ("EIGEN", "ETH", 1000.0, 10e-4),
        ("ETH", "EIGEN", 10.0, 16e-4),
        ("ETHFI", "ETH", 1000.0, 15e-4),
        ("ETHFI", "ETH", 100_000.0, 50e-4),
    ],
)
def test_swap_is_at_the_pools_price_less_the_cost_of_its_size(
    source: str, target: str, amount: float, cost: float
) -> None:
    answer = confirmed(swap(amount, source, target))
    out = amount * PRICES[source] / PRICES[target] * (1 - cost)
    assert answer.actual_deltas == {KEYS[source]: -amount, KEYS[target]: pytest.approx(out, rel=1e-12)}
    assert answer.execution_details["cost_fraction"] == pytest.approx(cost)
    assert answer.execution_details["notional_usd"] == pytest.approx(amount * PRICES[source] * 3000.0)


def test_slippage_of_an_lst_is_measured_against_the_oracle() -> None:
    sold = confirmed(swap(1.0, "weETH", "ETH"))
    assert sold.costs == {"slippage": {ETH: pytest.approx(1.04 - 1.039 * (1 - 20e-4), rel=1e-9)}}
    bought = confirmed(swap(1.0, "ETH", "weETH"))
    assert bought.costs == {"slippage": {WEETH: pytest.approx(1 / 1.04 - 1 / 1.039 * (1 - 20e-4), rel=1e-9)}}


def test_slippage_of_a_reward_token_is_the_cost_alone() -> None:
    sold = confirmed(swap(1000.0, "EIGEN", "ETH"))
    assert sold.costs == {"slippage": {ETH: pytest.approx(1.2 * 10e-4, rel=1e-9)}}


@pytest.mark.parametrize(("source", "target", "pool"), [("weETH", "ETH", 1.05), ("ETH", "weETH", 1.02)])
def test_gain_against_the_oracle_is_no_negative_slippage(source: str, target: str, pool: float) -> None:
    answer = confirmed(swap(1.0, source, target), dex_price_eth__weETH=pool)
    at_pool = pool if target == "ETH" else 1 / pool
    assert answer.costs == {"slippage": {KEYS[target]: pytest.approx(at_pool * 20e-4, rel=1e-9)}}
    assert answer.actual_deltas[KEYS[target]] == pytest.approx(at_pool * (1 - 20e-4), rel=1e-12)


@given(amount=bst.floats(1e-6, 1e5), pool=bst.floats(0.5, 2.0))
def test_there_and_back_never_gains(amount: float, pool: float) -> None:
    there = run(swap(amount, "weETH", "ETH"), dex_price_eth__weETH=pool)
    got = there.handshakes[0].actual_deltas[ETH]
    back = confirmed(swap(got, "ETH", "weETH"), dex_price_eth__weETH=pool).actual_deltas[WEETH]
    assert back < amount
    assert back == pytest.approx(amount, rel=0.01)


@given(amount=bst.floats(1e-6, 1e5), pool=bst.floats(0.5, 1.04))
def test_slippage_explains_the_loss_in_the_accounts_own_prices(amount: float, pool: float) -> None:
    row = MARKET | {"dex_price_eth:weETH": pool}
    answer = confirmed(swap(amount, "weETH", "ETH"), dex_price_eth__weETH=pool)
    valuer = Valuer.of(CONFIG)
    moved = sum(delta * valuer.unit_share(key, row) for key, delta in answer.actual_deltas.items())
    lost = sum(cost * valuer.unit_share(key, row) for key, cost in answer.costs["slippage"].items())
    assert moved == pytest.approx(-lost, rel=1e-9, abs=1e-15)


def test_cost_above_the_tolerance_of_the_order_is_refused() -> None:
    (answer,) = run(swap(1.0, "weETH", "ETH", slippage_tolerance=0.0019)).handshakes
    assert (answer.error_code, "slippage_tolerance" in str(answer.error_message)) == ("VEN-009", True)
    assert run(swap(1.0, "weETH", "ETH", slippage_tolerance=0.002)).handshakes[0].status == "confirmed"


def test_pair_that_the_configuration_does_not_list_is_refused() -> None:
    cost: dict[str, dict[str, Any]] = {
        "uniswap": {"execution_cost_bps": {"EIGEN/ETH": {"10000": 10.0}}},
        "wallet": {"gas_price_gwei": 0.0},
    }
    config = custom_config(KEYS.values(), share_class="ETH", venues=cost)
    (answer,) = transact([swap(1.0, "weETH", "ETH")], LEDGER, config, MARKET).handshakes
    assert (answer.error_code, "no pair" in str(answer.error_message)) == ("VEN-001", True)


def test_token_that_the_mode_does_not_hold_is_refused() -> None:
    config = custom_config([ETH, WEETH], share_class="ETH", venues={"uniswap": {}, "wallet": {"gas_price_gwei": 0.0}})
    (answer,) = transact([swap(1.0, "EIGEN", "ETH")], LEDGER, config, market_row(config)).handshakes
    assert (answer.error_code, EIGEN in str(answer.error_message)) == ("VEN-001", True)
