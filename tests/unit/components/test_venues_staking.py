"""Simulated staking: exchange rate, unstake queue, and the weekly rewards of ether.fi."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.venues import order, settle_columns, stretch_of, transact

from basis.testkit import strategies as bst
from basis.testkit.runs import REPO, custom_config, market_row
from basis.venues.interfaces.staking import ETHERFI, LIDO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig
    from basis.models.order import Order
    from basis.venues.core.execution import Executed

DATA = Path(os.environ.get("BASIS_DATA", REPO / ".." / "shared" / "market-data")).resolve()
ETH, EIGEN, ETHFI = "wallet:BaseToken:ETH", "wallet:BaseToken:EIGEN", "wallet:BaseToken:ETHFI"
WEETH, A_WEETH, CLAIM = "etherfi:LST:weETH", "aave_v3:aToken:aweETH", "etherfi:BaseToken:ETH"
WSTETH = "lido:LST:wstETH"
RATE = 1.04


def config_of(*keys: str, **etherfi: Any) -> RunConfig:
    found = [ETH, WEETH, *(keys or (EIGEN, ETHFI, A_WEETH, CLAIM, WSTETH))]
    return custom_config(found, share_class="ETH", venues={"wallet": {"gas_price_gwei": 0.0}, "etherfi": etherfi})


CONFIG = config_of()


def stake(amount: float, venue: str = "etherfi", lst: str = "weETH") -> Order:
    return order("stake", venue, amount, source_token="ETH", target_token=lst)


def unstake(amount: float, venue: str = "etherfi", lst: str = "weETH") -> Order:
    return order("unstake", venue, amount, source_token=lst, target_token="ETH")


def run(found: Order, ledger: Mapping[str, float], config: RunConfig = CONFIG, tick: int = 3) -> Executed:
    return transact([found], ledger, config, market_row(config), tick)


def columns(config: RunConfig, ticks: int, **changes: Any) -> dict[str, Any]:
    """A market that stands still and pays no reward, but for some columns; one value more than ticks."""
    row = {name: 0.0 if name.startswith("reward") else value for name, value in market_row(config).items()}
    found: dict[str, Any] = {name: np.full(ticks + 1, value) for name, value in row.items()}
    return found | {name.replace("__", ":"): np.asarray(values, dtype=float) for name, values in changes.items()}


# ------------------------------------------------------------------------------------------------ stake and unstake


@given(amount=bst.floats(1e-6, 1e6), rate=bst.floats(1.0, 2.0))
def test_stake_and_unstake_at_the_same_rate_give_it_all_back(amount: float, rate: float) -> None:
    config = config_of(WSTETH)
    market = market_row(config) | {"oracle_price_eth:wstETH": rate}
    staked = transact([stake(amount, "lido", "wstETH")], {ETH: amount}, config, market)
    assert staked.ledger[ETH] == 0.0
    assert staked.ledger[WSTETH] == pytest.approx(amount / rate, rel=1e-15)
    back = transact([unstake(staked.ledger[WSTETH], "lido", "wstETH")], staked.ledger, config, market)
    assert back.ledger[ETH] == pytest.approx(amount, rel=1e-15)
    assert back.ledger[WSTETH] == 0.0
    assert not back.handshakes[0].costs


@pytest.mark.parametrize(("days", "ticks"), [(7, 168), (0.01, 1), (1 / 24, 1), (1.01, 25)])
def test_unstaking_goes_through_the_queue(days: float, ticks: int) -> None:
    config = config_of(unstake_queue_days=days)
    done = run(unstake(2.0), {WEETH: 5.0}, config)
    due = 3 + ticks
    assert done.ledger == {WEETH: 3.0, CLAIM: 2.0 * RATE, f"etherfi:unstaking:ETH@{due}": 2.0 * RATE}
    assert done.handshakes[0].execution_details["arrival_tick"] == due
    settled = settle_columns(done.ledger, config, columns(config, ticks), 4)
    (arrival,) = settled.settlements
    assert (arrival.tick, arrival.kind, arrival.venue) == (due, "unstake_arrival", "etherfi")
    assert arrival.deltas == {CLAIM: -2.0 * RATE, ETH: 2.0 * RATE}
    assert settled.ledger == {WEETH: 3.0, CLAIM: 0.0, ETH: 2.0 * RATE}
    if ticks > 1:
        early = settle_columns(done.ledger, config, columns(config, ticks - 1), 4)
        assert (early.settlements, early.ledger) == ((), done.ledger)


@given(amounts=st.lists(bst.floats(1e-3, 10.0), min_size=2, max_size=6))
def test_last_claim_to_arrive_leaves_nothing_behind(amounts: list[float]) -> None:
    ledger: Mapping[str, float] = {WEETH: 100.0}
    for tick, amount in enumerate(amounts):
        ledger = run(unstake(amount), ledger, tick=tick).ledger
    settled = settle_columns(ledger, CONFIG, columns(CONFIG, 200), len(amounts))
    assert len(settled.settlements) == len(amounts)
    assert settled.ledger[CLAIM] == 0.0
    assert settled.ledger[ETH] == pytest.approx(sum(amounts) * RATE, rel=1e-12)
    assert not [key for key in settled.ledger if "@" in key]


def test_mode_without_a_claim_cannot_use_the_queue() -> None:
    (answer,) = run(unstake(1.0), {WEETH: 5.0}, config_of(EIGEN)).handshakes
    assert (answer.error_code, CLAIM in str(answer.error_message)) == ("VEN-001", True)


# --------------------------------------------------------------------------------------------------------- rewards


def test_reward_is_paid_on_eeth_held_and_supplied() -> None:
    ledger = {WEETH: 2.0, A_WEETH: 3.0}
    market = columns(
        CONFIG, 4, reward_eigen_per_eeth=[0, 0, 0.2, 0, 0], reward_ethfi_per_eeth=[0, 0, 0.1, 0, 0.3],
        oracle_price_eth__weETH=[1.04, 1.04, 1.05, 1.05, 1.06], liquidity_index__weETH=[1.05, 1.05, 1.06, 1.06, 1.07],
    )  # fmt: skip
    settled = settle_columns(ledger, CONFIG, market, 10)
    then, later = (2.0 + 3.0 * 1.06) * 1.05, (2.0 + 3.0 * 1.07) * 1.06
    assert [(s.tick, s.kind, s.venue, s.details["token"]) for s in settled.settlements] == [
        (11, "reward", "etherfi", "EIGEN"),
        (11, "reward", "etherfi", "ETHFI"),
        (13, "reward", "etherfi", "ETHFI"),
    ]
    paid = [next(iter(s.deltas.values())) for s in settled.settlements]
    assert paid == pytest.approx([0.2 * then, 0.1 * then, 0.3 * later], rel=1e-12)
    assert settled.ledger[EIGEN] == pytest.approx(0.2 * then)
    assert settled.ledger[ETHFI] == pytest.approx(0.1 * then + 0.3 * later)
    assert settled.settlements[0].details["eeth"] == pytest.approx(then)
    assert "king_amount" not in settled.settlements[0].details


def test_reward_of_the_tick_before_the_stretch_is_not_paid_again() -> None:
    market = columns(CONFIG, 2, reward_eigen_per_eeth=[0.2, 0, 0])
    assert not settle_columns({WEETH: 2.0}, CONFIG, market, 10).settlements


def test_only_tokens_that_the_mode_holds_are_paid() -> None:
    config = config_of(EIGEN)
    market = columns(config, 2, reward_eigen_per_eeth=[0, 0.2, 0], reward_ethfi_per_eeth=[0, 0.1, 0])
    settled = settle_columns({WEETH: 2.0}, config, market, 10)
    assert [set(s.deltas) for s in settled.settlements] == [{EIGEN}]


@pytest.mark.parametrize("ledger", [{}, {ETH: 5.0}, {CLAIM: 3.0}, {WSTETH: 3.0}])
def test_who_holds_no_weeth_is_paid_nothing(ledger: dict[str, float]) -> None:
    market = columns(CONFIG, 2, reward_eigen_per_eeth=[0, 0.2, 0])
    assert not settle_columns(ledger, CONFIG, market, 10).settlements


def test_lido_pays_no_rewards() -> None:
    stretch = stretch_of(CONFIG, {WSTETH: 5.0, WEETH: 5.0}, columns(CONFIG, 2, reward_eigen_per_eeth=[0, 0.2, 0]))
    assert len(ETHERFI.scheduled(stretch)) == 1
    assert not LIDO.scheduled(stretch)


def test_reward_in_king_is_unwrapped_into_the_same_amount() -> None:
    config = config_of(king={"EIGEN": 0.5})
    market = columns(config, 1, reward_eigen_per_eeth=[0, 0.2], reward_ethfi_per_eeth=[0, 0.1])
    eigen, ethfi = settle_columns({WEETH: 1.0}, config, market, 10).settlements
    assert eigen.deltas == {EIGEN: pytest.approx(0.2 * RATE)}
    assert eigen.details["king_amount"] == pytest.approx(0.4 * RATE)
    assert "king_amount" not in ethfi.details  # one KING holds none of it: paid as it is


@pytest.mark.skipif(not (DATA / "etherfi").is_dir(), reason=f"no market data at {DATA}: set BASIS_DATA")
def test_published_rewards_are_of_the_size_of_the_benchmark() -> None:
    """EIGEN per eETH and week, at the DEX price and a year long, is the benchmark's reward APY: no scaling is missing."""
    import pyarrow.parquet as pq

    def rows(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pq.read_table(DATA / f"{name}.parquet").to_pylist()
        return found

    price = {row["timestamp"]: row["open"] for row in rows("uniswap_v3/eigen_weth_1h")}
    benchmark = {row["timestamp"]: row["reward_apy"] for row in rows("benchmark/eeth_apy")}
    paid = [row for row in rows("etherfi/eigen_distributions") if benchmark.get(row["timestamp"]) is not None]
    ours = [row["eigen_per_eeth_published"] * price[row["timestamp"]] * 365 / 7 for row in paid]
    assert len(paid) >= 10
    assert np.mean(ours) == pytest.approx(np.mean([benchmark[row["timestamp"]] for row in paid]), rel=0.1)
    for row in rows("etherfi/eigen_distributions")[1:]:
        each = row["eigen_earned"] / (row["eth_restaked"] + row["eth_not_restaked"])
        assert row["eigen_per_eeth_published"] == pytest.approx(each, rel=0.065)
