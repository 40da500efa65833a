"""Orders to steps: the pure compiler, over made-up accounts. It never asks for more than there is, and never loses an order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.venues import order

from basis.models.chain_config import OnChainConfig
from basis.models.order import Order
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.chain import plan
from basis.venues.live.chain.amounts import MAX, WAD
from basis.venues.live.chain.plan import Plan, Quote, compile_plan
from basis.venues.live.chain.rpc import Block
from basis.venues.live.chain.state import Book, State

TOKENS = ("USDT", "WETH", "weETH", "wstETH")


def at(number: int) -> str:
    return f"0x{number:040x}"


CONFIG = OnChainConfig.model_validate(
    {
        "chain_id": 1,
        "tokens": {token: at(10 + n) for n, token in enumerate(TOKENS)},
        "aave": {"pool": at(1), "oracle": at(2)},
        "lido": {"wrapped": at(13), "queue": at(3)},
        "etherfi": {"wrapped": at(12), "rebasing": at(4), "pool": at(5), "queue": at(6)},
        "uniswap": {"factory": at(7), "router": at(8), "quoter": at(9), "fees": {"weETH": 100, "wstETH": 100}},
        "flash": {"kind": "morpho", "lender": at(20)},
    }
)
BOOK = Book(
    at(100),
    at(101),
    CONFIG.tokens,
    {token: at(30 + n) for n, token in enumerate(TOKENS)},
    {token: at(40 + n) for n, token in enumerate(TOKENS)},
    {"weETH": at(50), "wstETH": at(51)},
)


def state(native: int = 100 * WAD, **changes: dict[str, int]) -> State:
    zero = dict.fromkeys(TOKENS, 0)
    root = round(1.04**0.5 * 2**96)
    fields: dict[str, Any] = {
        "block": Block(1, 1, 10**9, "0x"),
        "native": native,
        **{
            name: zero | changes.get(name, {}) for name in ("units", "a_units", "debt_units", "a_scaled", "debt_scaled")
        },
        "rates": {"weETH": 104 * WAD // 100, "wstETH": 116 * WAD // 100},
        "prices": dict.fromkeys(TOKENS, 10**8),
        "roots": {"weETH": 2**192 // root, "wstETH": 2**192 // root},
        "emode": 1,
        "premium_bps": 5,
        "nonce": 0,
        "pending": 0,
    }
    return State(**fields)


def compiled(*orders: Order, of: State | None = None, quotes: dict[int, Quote] | None = None) -> Plan:
    return compile_plan(orders, CONFIG, BOOK, of or state(), quotes or {}, WAD // 100)


def pulled(made: Plan, token: str) -> int:
    return sum(step.amount for step in made.steps if step.kind == plan.PULL and step.target == CONFIG.tokens[token])


@given(native=st.integers(0, 200 * WAD), weth=st.integers(0, 200 * WAD), wei=st.integers(1, 300 * WAD))
def test_ether_comes_from_both_kinds_and_never_from_the_reserve_for_gas(native: int, weth: int, wei: int) -> None:
    """Ether first, then WETH; refused exactly where both together are too little."""
    amount = wei / WAD
    supply = order("supply", "aave_v3", amount, source_token="WETH")
    before = state(native, units={"WETH": weth})
    spare = max(native - WAD // 100, 0)
    try:
        made = compiled(supply, of=before)
    except VenueRefusal as refused:
        assert refused.error_code == "VEN-008"
        assert wei > (spare + weth) * (1 - 1e-15)
        return
    assert made.value <= spare
    assert pulled(made, "WETH") <= weth
    assert made.value + pulled(made, "WETH") == pytest.approx(wei, rel=1e-15)
    assert not (pulled(made, "WETH") and made.value < spare)


@given(own=st.floats(0.01, 90.0), ltv=st.floats(0.05, 0.9))
def test_entry_pays_in_exactly_what_the_account_puts_up(own: float, ltv: float) -> None:
    """The loan pays the rest; every step belongs to its order, in sequence; one health check."""
    loan = own * ltv / (1.0 - ltv)
    made = compiled(
        order("flash_borrow", "morpho", loan, 0, "g"),
        order("stake", "etherfi", own + loan, 1, "g", source_token="ETH"),
        order("supply", "aave_v3", (own + loan) / 1.04, 2, "g", source_token="weETH"),
        order("borrow", "aave_v3", loan, 3, "g", target_token="WETH"),
        order("flash_repay", "morpho", loan, 4, "g"),
    )
    assert made.value / WAD == pytest.approx(own, rel=1e-12)
    assert [step.kind for step in made.steps] == [
        plan.FLASH_MORPHO,
        plan.STAKE_ETHERFI,
        plan.SUPPLY,
        plan.BORROW,
        plan.END,
    ]
    assert made.steps[0].extra == 4
    assert made.steps[2].amount == MAX  # all that staking brought, whatever the rate is by then
    assert made.owners == (0, 1, 2, 3, 4)
    assert made.least_health == 103 * WAD // 100


def test_exit_of_everything_takes_what_is_owed_by_then() -> None:
    """The loan covers the debt's growth until the deadline; aTokens and LST go in full."""
    debt, lst = 20 * WAD, 28 * WAD
    before = state(a_units={"weETH": lst}, debt_units={"WETH": debt})
    steps = (
        order("flash_borrow", "morpho", 20.0, 0, "g"),
        order("repay", "aave_v3", 20.0, 1, "g", source_token="WETH"),
        order("withdraw", "aave_v3", 28.0, 2, "g", target_token="weETH"),
        order("swap", "uniswap", 28.0, 3, "g", source_token="weETH", target_token="ETH"),
        order("flash_repay", "morpho", 20.0, 4, "g"),
    )
    made = compiled(*steps, of=before, quotes={3: Quote(28 * WAD, 29 * WAD)})
    kinds = {step.kind: step for step in made.steps}
    assert debt < kinds[plan.FLASH_MORPHO].amount <= debt * (1 + 2e-5)
    assert kinds[plan.REPAY].amount == kinds[plan.FLASH_MORPHO].amount
    assert kinds[plan.PULL].amount == MAX
    assert kinds[plan.PULL].target == BOOK.a_tokens["weETH"]
    assert kinds[plan.SWAP].amount == MAX
    assert made.value == 0
    assert made.least_health == 0  # no debt is left
    assert made.owners == (0, 1, 2, 2, 3, 4)


@pytest.mark.parametrize(
    ("orders", "code"),
    [
        ((order("supply", "aave_v3", 1.0, source_token="DOGE"),), "VEN-009"),
        ((order("supply", "aave_v3", 1e-7, source_token="USDT"),), "VEN-007"),
        ((order("supply", "aave_v3", 1.0, source_token="USDT"),), "VEN-008"),
        ((order("withdraw", "aave_v3", 1.0, target_token="USDT"),), "VEN-008"),
        ((order("repay", "aave_v3", 1.0, source_token="WETH"),), "VEN-008"),
        ((order("stake", "lido", 1.0, source_token="USDT"),), "VEN-009"),
        ((order("stake", "lido", 1.0, source_token="ETH", target_token="weETH"),), "VEN-009"),
        ((order("unstake", "etherfi", 1.0, source_token="weETH"),), "VEN-008"),
        ((order("flash_borrow", "morpho", 1.0),), "VEN-009"),
        ((order("flash_borrow", "morpho", 1.0, 0, "g"),), "VEN-009"),
        ((order("flash_repay", "morpho", 1.0, 0, "g"),), "VEN-009"),
        ((order("flash_borrow", "morpho", 2.0, 0, "g"), order("flash_repay", "morpho", 1.0, 1, "g")), "VEN-009"),
        ((order("flash_borrow", "morpho", 2.0, 0, "g"), order("flash_borrow", "morpho", 1.0, 1, "g")), "VEN-009"),
        ((order("transfer", "wallet", 1.0, source_venue="wallet"),), "VEN-001"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(one.operation for one in value),
)
def test_what_cannot_be_is_refused_by_its_code(orders: tuple[Order, ...], code: str) -> None:
    """Before the chain is asked anything."""
    with pytest.raises(VenueRefusal) as refused:
        compiled(*orders)
    assert refused.value.error_code == code


def test_more_steps_than_the_executor_takes() -> None:
    """One transaction has room for 24."""
    many = tuple(order("stake", "lido", 0.1, n, "g", source_token="ETH") for n in range(25))
    with pytest.raises(VenueRefusal, match="25 steps"):
        compiled(*many)
