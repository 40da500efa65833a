"""Simulated Aave v3: scaled balances, caps, e-mode, health factor, liquidation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.support.venues import at_tick, order, stretch_of, transact

from basis.models.instruments import holding_key
from basis.models.messages import Settlement
from basis.testkit import strategies as bst
from basis.testkit.runs import custom_config, market_row
from basis.venues.core.interface import VenueRefusal
from basis.venues.interfaces.aave_v3 import SIMULATED
from basis.venues.interfaces.aave_v3.simulated import account_data, health_factors, reserve_of, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig
    from basis.venues.core.execution import Executed
    from basis.venues.interfaces.aave_v3.simulated import AccountData

USDT, ETH = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH"
A_USDT, D_USDT = "aave_v3:aToken:aUSDT", "aave_v3:debtToken:debtUSDT"
A_WETH, D_WETH = "aave_v3:aToken:aWETH", "aave_v3:debtToken:debtWETH"
A_WEETH, WEETH = "aave_v3:aToken:aweETH", "etherfi:LST:weETH"
KEYS = [USDT, ETH, A_USDT, D_USDT, A_WETH, D_WETH, A_WEETH, WEETH]
EMODE = {"ltv": 0.93, "liquidation_threshold": 0.95, "liquidation_bonus": 0.01, "reserve_factor": 0.1}


def config_of(**aave: Any) -> RunConfig:
    return custom_config(KEYS, share_class="ETH", venues={"aave_v3": aave, "wallet": {"gas_price_gwei": 10.0}})


CONFIG = config_of()
MARKET = market_row(CONFIG)


def aave(operation: str, amount: float, token: str = "USDT", number: int = 0) -> Any:
    gives = operation in {"supply", "repay"}
    return order(
        operation,
        "aave_v3",
        amount,
        number,
        source_token=token if gives else None,
        target_token=None if gives else token,
    )


def run(
    found: Any, ledger: Mapping[str, float], config: RunConfig = CONFIG, market: Mapping[str, float] = MARKET
) -> Executed:
    return transact([found], ledger, config, market)


def account(
    ledger: Mapping[str, float], market: Mapping[str, float] = MARKET, config: RunConfig = CONFIG
) -> AccountData:
    return account_data(ledger, at_tick(config, market))


# ------------------------------------------------------------------------------------------------- scaled balances


UNCAPPED = {
    token: reserve | {"supply_cap": None}
    for token, reserve in CONFIG.model_dump(mode="json")["venues"]["aave_v3"]["reserves"].items()
}


@given(amount=bst.floats(1e-3, 1e9), start=bst.indices(), growth=bst.floats(1.0, 2.0))
def test_supply_then_withdraw_all_gives_the_interest_and_leaves_nothing(
    amount: float, start: float, growth: float
) -> None:
    config = custom_config(
        [USDT, A_USDT], venues={"wallet": {"gas_price_gwei": 0.0}, "aave_v3": {"reserves": UNCAPPED}}
    )
    row = market_row(config) | {"liquidity_index:USDT": start}
    supplied = run(aave("supply", amount), {USDT: amount}, config, row)
    later = row | {"liquidity_index:USDT": start * growth}
    everything = supplied.ledger[A_USDT] * (start * growth)
    done = run(aave("withdraw", everything), supplied.ledger, config, later)
    assert done.handshakes[0].status == "confirmed"
    assert done.ledger[A_USDT] == 0.0
    assert done.ledger[USDT] == pytest.approx(amount * growth, rel=1e-12)


@given(amount=bst.floats(1e-3, 100.0), start=bst.indices(), growth=bst.floats(1.0, 1.2))
def test_borrow_then_repay_all_costs_the_interest_and_leaves_nothing(
    amount: float, start: float, growth: float
) -> None:
    config = config_of()
    row = MARKET | {"borrow_index:WETH": start}
    ledger = {A_USDT: 1e6, ETH: 200.0}
    borrowed = run(aave("borrow", amount, "WETH"), ledger, config, row)
    later = row | {"borrow_index:WETH": start * growth}
    done = run(aave("repay", borrowed.ledger[D_WETH] * (start * growth), "WETH"), borrowed.ledger, config, later)
    assert done.handshakes[0].status == "confirmed"
    assert done.ledger[D_WETH] == 0.0
    gas = 10e-9 * (250_000 + 180_000)
    assert done.ledger[ETH] == pytest.approx(200.0 - amount * (growth - 1) - gas, rel=1e-9)


@given(amount=bst.amounts(), index=bst.indices())
def test_scaled_times_index_is_the_amount(amount: float, index: float) -> None:
    assert scaled(amount, index) * index == pytest.approx(amount, rel=1e-15)


@given(shares=bst.floats(1.0, 1e6), one=bst.indices(), other=bst.indices())
def test_growing_index_never_shrinks_a_balance(shares: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    values = [account({A_USDT: shares}, MARKET | {"liquidity_index:USDT": index}).collateral for index in (low, high)]
    assert values[0] <= values[1]


@given(shares=bst.floats(1.0, 1e6), extra=bst.floats(1e-9, 1.0))
def test_withdrawing_more_than_there_is_beyond_rounding_is_refused(shares: float, extra: float) -> None:
    (answer,) = run(aave("withdraw", shares * 1.05 * (1 + extra)), {A_USDT: shares, ETH: 1.0}).handshakes
    assert (answer.status, answer.error_code) == ("failed", "VEN-008")


# -------------------------------------------------------------------------------------------------- health factor


@given(ledger=bst.ledgers((A_USDT, A_WETH, A_WEETH, D_WETH, D_USDT), high=1e3))
def test_account_data_is_the_sum_over_reserves(ledger: dict[str, float]) -> None:
    found = account(ledger)
    usdt, weth, weeth = (
        ledger[A_USDT] * 1.05 * 0.999,
        ledger[A_WETH] * 1.05 * 3000.0,
        ledger[A_WEETH] * 1.05 * 3000.0 * 1.04,
    )
    assert found.collateral == pytest.approx(usdt + weth + weeth)
    assert found.debt == pytest.approx(1.08 * (ledger[D_WETH] * 3000.0 + ledger[D_USDT] * 0.999))
    assert found.liquidation_limit == pytest.approx(usdt * 0.78 + weth * 0.83 + weeth * 0.80)
    assert found.borrow_limit == pytest.approx(usdt * 0.75 + weth * 0.805 + weeth * 0.775)
    if found.debt:
        assert found.health_factor == pytest.approx(found.liquidation_limit / found.debt)
    else:
        assert found.health_factor is None


@given(
    ledger=bst.ledgers((USDT, ETH, A_USDT, A_WETH, D_WETH, D_USDT), high=1e3),
    operation=st.sampled_from(["supply", "withdraw", "borrow", "repay"]),
    token=st.sampled_from(["USDT", "WETH"]),
    amount=bst.floats(1e-3, 1e4),
)
def test_no_action_takes_a_health_factor_from_at_least_one_to_below(
    ledger: dict[str, float], operation: str, token: str, amount: float
) -> None:
    before = account(ledger).health_factor
    assume(before is None or before >= 1.0)
    done = run(aave(operation, amount, token), ledger)
    after = account(done.ledger).health_factor
    assert after is None or after >= 1.0


@pytest.mark.parametrize(("collateral", "status"), [(1000.0, "confirmed"), (990.0, "failed")])
def test_borrow_is_accepted_up_to_the_limit_and_not_beyond(collateral: float, status: str) -> None:
    debt = 1000.0 * 1.05 * 0.999 * 0.75 / 3000.0 * (1 - 1e-9)
    (answer,) = run(aave("borrow", debt, "WETH"), {A_USDT: collateral, ETH: 1.0}).handshakes
    assert answer.status == status
    if status == "failed":
        assert "borrow limit" in str(answer.error_message)


def test_debt_can_be_repaid_while_the_account_is_above_its_borrow_limit() -> None:
    # prices moved: debt lies between the borrow limit and the liquidation limit
    ledger = {A_USDT: 1000.0, ETH: 1.0, D_WETH: 1000.0 * 1.05 * 0.999 * 0.77 / (3000.0 * 1.08)}
    (answer,) = run(aave("repay", 0.001, "WETH"), ledger).handshakes
    assert answer.status == "confirmed"


def test_collateral_can_be_added_while_the_account_is_above_its_borrow_limit() -> None:
    ledger = {USDT: 10.0, A_USDT: 1000.0, ETH: 1.0, D_WETH: 1000.0 * 1.05 * 0.999 * 0.77 / (3000.0 * 1.08)}
    (answer,) = run(aave("supply", 1.0), ledger).handshakes
    assert answer.status == "confirmed"


# ------------------------------------------------------------------------------------------------- caps and e-mode


def reserves(**changes: dict[str, Any]) -> dict[str, Any]:
    raw: dict[str, Any] = CONFIG.model_dump(mode="json")["venues"]["aave_v3"]["reserves"]
    return {token: reserve | changes.get(token, {}) for token, reserve in raw.items()}


@pytest.mark.parametrize(("amount", "status"), [(899.0, "confirmed"), (901.0, "failed")])
def test_supply_cap_counts_the_reserve_our_own_and_the_order(amount: float, status: str) -> None:
    # one million supplied by others, 100 of our own
    config = config_of(reserves=reserves(USDT={"supply_cap": 1_001_000.0}))
    (answer,) = run(aave("supply", amount), {USDT: 1e4, ETH: 1.0, A_USDT: 100.0 / 1.05}, config).handshakes
    assert answer.status == status
    if status == "failed":
        assert (answer.error_code, "supply cap 1.001e+06" in str(answer.error_message)) == ("VEN-009", True)


@pytest.mark.parametrize(("amount", "status"), [(0.29, "confirmed"), (0.31, "failed")])
def test_borrow_cap_counts_the_reserve_our_own_and_the_order(amount: float, status: str) -> None:
    config = config_of(reserves=reserves(WETH={"borrow_cap": 800_000.4}))
    ledger = {A_USDT: 1e5, ETH: 1.0, D_WETH: 0.1 / 1.08}
    (answer,) = run(aave("borrow", amount, "WETH"), ledger, config).handshakes
    assert answer.status == status
    if status == "failed":
        assert (answer.error_code, "borrow cap" in str(answer.error_message)) == ("VEN-009", True)


def test_borrowing_that_is_switched_off_is_refused() -> None:
    config = config_of(reserves=reserves(WETH={"borrowing_enabled": False}))
    (answer,) = run(aave("borrow", 0.5, "WETH"), {A_USDT: 1e5, ETH: 1.0}, config).handshakes
    assert (answer.error_code, "off" in str(answer.error_message)) == ("VEN-009", True)


def test_reserve_whose_tokens_the_mode_does_not_hold_is_refused() -> None:
    (answer,) = run(aave("borrow", 0.5, "wstETH"), {A_USDT: 1e5, ETH: 1.0}).handshakes
    assert (answer.error_code, "debtwstETH" in str(answer.error_message)) == ("VEN-001", True)


def test_emode_lends_eth_correlated_tokens_alone() -> None:
    ledger = {A_WETH: 10.0, ETH: 1.0}
    config = config_of(emode=EMODE)
    (answer,) = run(aave("borrow", 100.0, "USDT"), ledger, config).handshakes
    assert (answer.error_code, "e-mode" in str(answer.error_message)) == ("VEN-009", True)
    assert run(aave("borrow", 100.0, "USDT"), ledger).handshakes[0].status == "confirmed"
    assert run(aave("borrow", 1.0, "WETH"), ledger, config).handshakes[0].status == "confirmed"


def test_emode_lifts_the_limits_of_eth_correlated_reserves_alone() -> None:
    config = config_of(emode=EMODE)
    assert (reserve_of(config, "WETH").ltv, reserve_of(config, "weETH").liquidation_threshold) == (0.93, 0.95)
    assert reserve_of(config, "USDT") == reserve_of(CONFIG, "USDT")
    wanted, ledger = aave("borrow", 9.0, "WETH"), {A_WEETH: 10.0 / 1.05 / 1.04, ETH: 1.0}
    assert run(wanted, ledger, config).handshakes[0].status == "confirmed"
    assert run(wanted, ledger).handshakes[0].status == "failed"


def test_ether_is_supplied_as_weth() -> None:
    done = run(aave("supply", 1.0, "ETH"), {ETH: 2.0})
    assert done.ledger[A_WETH] == pytest.approx(1 / 1.05)


def test_mode_without_aave_refuses_with_ven_001() -> None:
    with pytest.raises(VenueRefusal, match="does not list"):
        reserve_of(custom_config([USDT]), "USDT")


def test_lst_is_held_at_its_protocol_and_everything_else_in_the_wallet() -> None:
    assert [holding_key(token) for token in ("weETH", "wstETH", "WETH", "USDT")] == [
        "etherfi:LST:weETH",
        "lido:LST:wstETH",
        ETH,
        USDT,
    ]


# ---------------------------------------------------------------------------------------------------- liquidation


def liquidated(
    ledger: Mapping[str, float], config: RunConfig = CONFIG, **changes: float
) -> tuple[Settlement | None, dict[str, float]]:
    """What Aave closes at a tick, and the ledger after."""
    market = MARKET | {name.replace("__", ":"): value for name, value in changes.items()}
    found = SIMULATED.closings(ledger, at_tick(config, market))
    after = dict(ledger)
    for settlement, entries in found:
        assert not entries
        for key, delta in settlement.deltas.items():
            after[key] += delta
    return (found[0][0] if found else None), after


def under_water(factor: float, debt_usd: float = 1000.0, threshold: float = 0.78) -> dict[str, float]:
    """USDT collateral against a WETH debt at a health factor."""
    return {
        A_USDT: factor * debt_usd / threshold / (0.999 * 1.05),
        D_WETH: debt_usd / (3000.0 * 1.08),
    }


@pytest.mark.parametrize(("factor", "part"), [(0.999, 0.5), (0.951, 0.5), (0.949, 1.0), (0.9, 1.0)])
def test_half_of_the_debt_is_liquidated_and_all_of_it_below_095(factor: float, part: float) -> None:
    done, after = liquidated(under_water(factor))
    assert done is not None
    assert done.details["health_factor_before"] == pytest.approx(factor)
    assert done.details["repaid_usd"] == pytest.approx(1000.0 * part)
    assert done.details["repaid"] == pytest.approx(1000.0 * part / 3000.0)
    assert done.details["seized_usd"] == pytest.approx(1000.0 * part * 1.045)
    assert done.details["seized"] == pytest.approx(1000.0 * part * 1.045 / 0.999)
    assert done.details["bonus"] == pytest.approx(1000.0 * part * 0.045 / 0.999)
    assert done.fees == {A_USDT: pytest.approx(1000.0 * part * 0.045 / (0.999 * 1.05))}
    left = account(after)
    assert left.debt == pytest.approx(1000.0 * (1 - part), abs=1e-9)
    assert left.collateral == pytest.approx(factor * 1000.0 / 0.78 - 1000.0 * part * 1.045)
    assert done.details["health_factor_after"] == (None if part == 1.0 else pytest.approx(left.health_factor))


@pytest.mark.parametrize("factor", [1.0 + 1e-9, 1.5, 10.0])
def test_account_with_a_health_factor_of_at_least_one_is_left_alone(factor: float) -> None:
    assert liquidated(under_water(factor))[0] is None


def test_account_without_debt_or_without_collateral_is_left_alone() -> None:
    assert liquidated({A_USDT: 100.0})[0] is None
    assert liquidated({D_WETH: 1.0})[0] is None
    assert SIMULATED.first_break(stretch_of(CONFIG, {D_WETH: 1.0}, columns(3)), {}) is None


def test_collateral_that_does_not_cover_the_bonus_is_taken_whole_and_repays_so_much_less() -> None:
    ledger = {A_USDT: 500.0 / (0.999 * 1.05), D_WETH: 1000.0 / (3000.0 * 1.08)}
    done, after = liquidated(ledger)
    assert done is not None
    assert after[A_USDT] == 0.0
    assert done.details["repaid_usd"] == pytest.approx(500.0 / 1.045)
    assert account(after).debt == pytest.approx(1000.0 - 500.0 / 1.045)
    assert done.details["health_factor_after"] == 0.0
    assert liquidated(after)[0] is None  # bad debt: nothing left to take


def test_largest_debt_is_repaid_from_the_largest_collateral() -> None:
    ledger = {A_USDT: 100.0, A_WETH: 1.0, D_USDT: 1500.0, D_WETH: 0.4}
    done, _ = liquidated(ledger)
    assert done is not None
    assert (done.details["debt_token"], done.details["collateral_token"]) == ("USDT", "WETH")
    assert set(done.deltas) == {D_USDT, A_WETH}
    assert done.details["liquidation_bonus"] == 0.05


def test_emode_bonus_is_taken_in_emode() -> None:
    config = config_of(emode=EMODE)
    ledger = {A_WEETH: 10.0 / (1.05 * 1.04), D_WETH: 9.6 / 1.08}
    done, _ = liquidated(ledger, config)
    assert done is not None
    assert done.details["health_factor_before"] == pytest.approx(9.5 / 9.6)
    assert done.details["liquidation_bonus"] == 0.01
    assert done.details["seized_usd"] == pytest.approx(4.8 * 1.01 * 3000.0)


@given(
    ledger=bst.ledgers((A_USDT, A_WETH, A_WEETH, D_WETH, D_USDT), high=1e3),
    usdt=bst.floats(0.1, 2.0),
    ether=bst.floats(100.0, 9000.0),
)
def test_liquidation_costs_the_account_the_bonus_and_never_makes_it_richer(
    ledger: dict[str, float], usdt: float, ether: float
) -> None:
    market = MARKET | {"price_usd:USDT": usdt, "price_usd:ETH": ether}
    done, after = liquidated(ledger, price_usd__USDT=usdt, price_usd__ETH=ether)
    before = account(ledger, market)
    broken = before.health_factor is not None and before.health_factor < 1.0 and before.collateral > 0.0
    assert (done is not None) == broken
    if done is None:
        return
    later = account(after, market)
    gain = (later.collateral - later.debt) - (before.collateral - before.debt)
    repaid, bonus = float(str(done.details["repaid_usd"])), float(str(done.details["liquidation_bonus"]))
    assert gain == pytest.approx(-repaid * bonus, abs=1e-9 * before.debt)
    assert later.debt <= before.debt
    assert all(quantity >= 0.0 for quantity in after.values())
    part = 1.0 if before.health_factor is not None and before.health_factor < 0.95 else 0.5
    assert repaid <= before.debt * part * (1 + 1e-12)


# ------------------------------------------------------------------------------------------------------- stretches


def columns(ticks: int, **changes: Any) -> dict[str, Any]:
    """A market that stands still, but for some columns; one value more than ticks."""
    found = {name: np.full(ticks + 1, value) for name, value in MARKET.items()}
    return found | {name.replace("__", ":"): np.asarray(values) for name, values in changes.items()}


@given(
    ledger=bst.ledgers((A_USDT, A_WETH, A_WEETH, D_WETH, D_USDT), high=1e3),
    seed=st.integers(0, 2**32 - 1),
    ticks=st.integers(1, 30),
)
def test_health_factors_over_a_stretch_are_those_of_each_tick(ledger: dict[str, float], seed: int, ticks: int) -> None:
    stretch = stretch_of(CONFIG, ledger, bst.walk(MARKET, ticks + 1, seed, scale=0.1))
    found = health_factors(stretch)
    expected = [account_data(ledger, stretch.at(place)).health_factor for place in range(ticks)]
    assert found.tolist() == [math.inf if factor is None else factor for factor in expected]
    first = SIMULATED.first_break(stretch, {})
    broken = [place for place in range(ticks) if SIMULATED.closings(ledger, stretch.at(place))]
    assert first == (broken[0] if broken else None)


def test_break_is_found_at_the_tick_where_the_price_crosses() -> None:
    market = columns(4, price_usd__ETH=[3000.0, 3000.0, 3200.0, 3300.0, 3400.0])
    stretch = stretch_of(CONFIG, under_water(1.08), market)
    assert SIMULATED.first_break(stretch, {}) == 2
    assert [factor < 1.0 for factor in health_factors(stretch)] == [False, False, True, True]


def test_balances_of_the_stretch_count_before_those_of_the_ledger() -> None:
    stretch = stretch_of(CONFIG, under_water(1.05), columns(3))
    assert SIMULATED.first_break(stretch, {}) is None
    growing = np.array([1.0, 1.06, 1.0]) * stretch.ledger[D_WETH]
    assert SIMULATED.first_break(stretch, {D_WETH: growing}) == 1
    assert SIMULATED.first_break(stretch_of(CONFIG, {A_USDT: 1.0}, columns(3)), {D_WETH: growing}) == 0


def test_interest_alone_breaks_an_account_in_the_end() -> None:
    index = 1.08 * np.exp(np.linspace(0.0, 0.1, 101))
    stretch = stretch_of(CONFIG, under_water(1.05), columns(100, borrow_index__WETH=index))
    first = SIMULATED.first_break(stretch, {})
    assert first is not None
    assert index[first + 1] / 1.08 > 1.05 >= index[first] / 1.08
    assert not SIMULATED.accrue(stretch)
    assert not SIMULATED.scheduled(stretch)
