"""Simulated Aave v3: the conformance suite, and the scaled-balance maths of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.support.venues import CoreVenueConformance, order

from basis.models.operations import OperationType
from basis.testkit import strategies as bst
from basis.testkit.conformance.venue import Case
from basis.testkit.runs import START, custom_config, market_row
from basis.venues.core.execution import Executed, execute
from basis.venues.core.interface import VenueRefusal
from basis.venues.interfaces.aave_v3 import SIMULATED
from basis.venues.interfaces.aave_v3.simulated import account_data, holding_key, reserve_of, scaled
from basis.venues.manager import VenueInterfaceFactory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig

USDT, ETH = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH"
A_USDT, D_USDT = "aave_v3:aToken:aUSDT", "aave_v3:debtToken:debtUSDT"
A_WETH, D_WETH = "aave_v3:aToken:aWETH", "aave_v3:debtToken:debtWETH"
A_WEETH, WEETH = "aave_v3:aToken:aweETH", "etherfi:LST:weETH"
KEYS = [USDT, ETH, A_USDT, D_USDT, A_WETH, D_WETH, A_WEETH, WEETH]
EMODE = {"ltv": 0.93, "liquidation_threshold": 0.95, "liquidation_bonus": 0.01, "reserve_factor": 0.1}


def config_of(**aave: Any) -> RunConfig:
    return custom_config(KEYS, venues={"aave_v3": aave, "wallet": {"gas_price_gwei": 10.0}})


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
    return execute([found], ledger, market, config, VenueInterfaceFactory().simulated(config), START)


class TestAaveConformance(CoreVenueConformance):
    def config(self) -> RunConfig:
        return CONFIG

    def name(self) -> str:
        return "aave_v3"

    def offered(self) -> frozenset[OperationType]:
        return frozenset({OperationType.SUPPLY, OperationType.BORROW, OperationType.REPAY, OperationType.WITHDRAW})

    def accepted(self) -> list[Case]:
        ledger = {USDT: 1e4, ETH: 10.0, A_USDT: 1e4, D_WETH: 1.0, WEETH: 5.0}
        orders = [
            aave("supply", 1000.0),
            aave("supply", 2.0, "WETH"),
            aave("supply", 2.0, "weETH"),
            aave("borrow", 0.5, "WETH"),
            aave("repay", 0.5, "WETH"),
            aave("withdraw", 100.0),
        ]
        return [Case(f"{one.operation} {one.amount}", (one,), ledger, MARKET, 0.0) for one in orders]

    def refused(self) -> list[tuple[Case, str]]:
        ledger = {USDT: 1e4, ETH: 10.0, A_USDT: 1e4, D_WETH: 1.0}
        orders = [
            (aave("supply", 1e5), "VEN-008"),
            (aave("supply", 1.0, "DOGE"), "VEN-009"),
            (aave("borrow", 10.0, "WETH"), "VEN-009"),
            (aave("repay", 5.0, "WETH"), "VEN-008"),
            (aave("withdraw", 1e5), "VEN-008"),
            (aave("withdraw", 8000.0), "VEN-009"),
        ]
        return [(Case(f"{one.operation} {one.amount}", (one,), ledger, MARKET, 0.0), code) for one, code in orders]


# ------------------------------------------------------------------------------------------------- scaled balances


@given(amount=bst.floats(1e-3, 1e9), start=bst.indices(), growth=bst.floats(1.0, 2.0))
def test_supply_then_withdraw_all_gives_the_interest_and_leaves_nothing(
    amount: float, start: float, growth: float
) -> None:
    config = custom_config([USDT, A_USDT], venues={"wallet": {"gas_price_gwei": 0.0}})
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
    values = [
        account_data({A_USDT: shares}, MARKET | {"liquidity_index:USDT": index}, CONFIG).collateral
        for index in (low, high)
    ]
    assert values[0] <= values[1]


@given(shares=bst.floats(1.0, 1e6), extra=bst.floats(1e-9, 1.0))
def test_withdrawing_more_than_there_is_beyond_rounding_is_refused(shares: float, extra: float) -> None:
    (answer,) = run(aave("withdraw", shares * 1.05 * (1 + extra)), {A_USDT: shares, ETH: 1.0}).handshakes
    assert (answer.status, answer.error_code) == ("failed", "VEN-008")


# -------------------------------------------------------------------------------------------------- health factor


@given(ledger=bst.ledgers((A_USDT, A_WETH, A_WEETH, D_WETH, D_USDT), high=1e3))
def test_account_data_is_the_sum_over_reserves(ledger: dict[str, float]) -> None:
    found = account_data(ledger, MARKET, CONFIG)
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
    before = account_data(ledger, MARKET, CONFIG).health_factor
    assume(before is None or before >= 1.0)
    done = run(aave(operation, amount, token), ledger)
    after = account_data(done.ledger, MARKET, CONFIG).health_factor
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


def test_supply_beyond_the_cap_is_refused_and_names_it() -> None:
    raw = CONFIG.model_dump(mode="json")["venues"]["aave_v3"]["reserves"]
    raw["USDT"]["supply_cap"] = 1000.0
    config = config_of(reserves=raw)
    assert run(aave("supply", 999.0), {USDT: 1e4, ETH: 1.0}, config).handshakes[0].status == "confirmed"
    (answer,) = run(aave("supply", 1001.0), {USDT: 1e4, ETH: 1.0}, config).handshakes
    assert (answer.error_code, "supply cap" in str(answer.error_message)) == ("VEN-009", True)


@pytest.mark.parametrize(
    ("change", "about"), [({"borrow_cap": 0.4}, "borrow cap"), ({"borrowing_enabled": False}, "off")]
)
def test_borrow_that_the_reserve_does_not_lend_is_refused(change: dict[str, Any], about: str) -> None:
    raw = CONFIG.model_dump(mode="json")["venues"]["aave_v3"]["reserves"]
    raw["WETH"] |= change
    (answer,) = run(aave("borrow", 0.5, "WETH"), {A_USDT: 1e5, ETH: 1.0}, config_of(reserves=raw)).handshakes
    assert answer.error_code == "VEN-009"
    assert about in str(answer.error_message)


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
    SIMULATED.check({D_WETH: 1.0}, MARKET, custom_config([USDT]))  # nothing of Aave's to check


def test_lst_is_held_at_its_protocol_and_everything_else_in_the_wallet() -> None:
    assert [holding_key(token) for token in ("weETH", "wstETH", "WETH", "USDT")] == [
        "etherfi:LST:weETH",
        "lido:LST:wstETH",
        ETH,
        USDT,
    ]
