"""The simulated venues against the real contracts: the same orders from the same state give the same deltas.

Within 1e-9, relative. What is left below that: the contracts round amounts to wei and indices to rays, the simulation
computes in floats. Gas is a cost of its own on both sides and is taken off: units in the simulation are typical ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.support.chain import execute
from tests.support.venues import at_tick, order, settle_columns, transact

from basis.models.operations import ExecutionStatus
from basis.testkit.chain.aave import RAY, WAD
from basis.testkit.chain.uniswap import MAX
from basis.testkit.chain.world import EMODE_TERMS
from basis.testkit.runs import custom_config, market_row
from basis.venues.interfaces.aave_v3.simulated import account_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.chain import Account, Opened

    from basis.models.config import RunConfig
    from basis.models.execution import ExecutionHandshake
    from basis.models.order import Order
    from basis.venues.live.chain.venue import ChainVenue

TOLERANCE = 1e-9
YEAR = 365 * 86_400
ETH, USDT = "wallet:BaseToken:ETH", "wallet:BaseToken:USDT"
A_USDT, A_WETH, A_WEETH = "aave_v3:aToken:aUSDT", "aave_v3:aToken:aWETH", "aave_v3:aToken:aweETH"
D_USDT, D_WETH = "aave_v3:debtToken:debtUSDT", "aave_v3:debtToken:debtWETH"
WEETH, OWED = "etherfi:LST:weETH", "morpho:debtToken:flashWETH"
KEYS = (ETH, USDT, A_USDT, A_WETH, A_WEETH, D_USDT, D_WETH, WEETH, OWED)


def aged(account: Account) -> None:
    """Two years of interest on every reserve, so that no index is 1, and a staking rate that has grown."""
    world = account.world
    for token, units in (("WETH", 60_000 * WAD), ("weETH", 5_000 * WAD), ("USDT", 5 * 10**13)):
        world.aave.pool.send("borrow", world.tokens[token].address, units, 2, 0, world.owner)
    account.node.warp(2 * YEAR)
    world.set_rate("weETH", 1.0731)
    world.set_prices(3000.0)


def simulation(emode: bool = True, flash_fee: float = 0.0, swap_bps: float = 0.0) -> RunConfig:
    """A mode on the simulated venues with the terms of the test chain, without gas."""
    changes: dict[str, dict[str, Any]] = {
        "wallet": {"gas_price_gwei": 0.0},
        "morpho": {"fee": flash_fee},
        "uniswap": {"execution_cost_bps": {"weETH/ETH": {"1e12": swap_bps}}},
    }
    if emode:
        changes["aave_v3"] = {"emode": EMODE_TERMS.model_dump()}
    return custom_config(KEYS, share_class="ETH", venues=changes)


async def market_of(venue: ChainVenue, config: RunConfig) -> dict[str, float]:
    """The chain's market at its last block, for the simulation."""
    quoted = await venue.market([feed.column for feed in config.feeds()])
    assert {"price_usd:ETH", "price_usd:USDT", "oracle_price_eth:weETH", "borrow_index:WETH"} <= set(quoted)
    return market_row(config) | {column: value for column, (value, _) in quoted.items()}


def without_gas(handshake: ExecutionHandshake) -> dict[str, float]:
    """Deltas with the gas put back."""
    gas = handshake.costs.get("gas", {})
    found = {key: delta + gas.get(key, 0.0) for key, delta in handshake.actual_deltas.items()}
    return {key: delta for key, delta in found.items() if abs(delta) > 1e-15}


def assert_same(live: Sequence[ExecutionHandshake], simulated: Sequence[ExecutionHandshake]) -> None:
    """Confirmed on both sides with the same deltas, order by order and key by key."""
    for one, other in zip(live, simulated, strict=True):
        assert one.status is other.status is ExecutionStatus.CONFIRMED, (one, other)
        real = without_gas(one)
        assert set(real) == set(other.actual_deltas), one.operation_id
        for key, delta in other.actual_deltas.items():
            # gas is put back in floats: an ulp of the wallet's change
            assert real[key] == pytest.approx(delta, rel=TOLERANCE, abs=1e-14), (one.operation_id, key)


def same_time(account: Account) -> None:
    """The next block is at the time of the last: an index that was read is the one that will be used."""
    account.node.rpc("evm_setNextBlockTimestamp", account.node.time)


async def both(
    account: Account,
    venue: ChainVenue,
    config: RunConfig,
    orders: Sequence[Order],
    market: dict[str, float] | None = None,
) -> tuple[Sequence[ExecutionHandshake], dict[str, float]]:
    """Execute on the chain and in the simulation from the chain's state; the simulation's ledger after."""
    ledger = dict(await venue.balances(KEYS))
    row = market or await market_of(venue, config)
    same_time(account)
    live = await execute(venue, *orders)
    done = transact(orders, ledger, config, row)
    assert_same(live, done.handshakes)
    after = await venue.balances([key for key in KEYS if key not in {ETH, OWED}])
    for key, held in after.items():
        assert done.ledger.get(key, 0.0) == pytest.approx(held, rel=TOLERANCE, abs=1e-12), key
    return live, done.ledger


def entry(own: float, loan: float, rate: float, fee: float = 0.0) -> tuple[Order, ...]:
    """What a leveraged mode orders to open its position."""
    lst = (own + loan) / rate
    return (
        order("flash_borrow", "morpho", loan, 0, "g"),
        order("stake", "etherfi", own + loan, 1, "g", source_token="ETH", target_token="weETH"),
        order("supply", "aave_v3", lst, 2, "g", source_token="weETH"),
        order("borrow", "aave_v3", loan * (1.0 + fee), 3, "g", target_token="WETH"),
        order("flash_repay", "morpho", loan, 4, "g"),
    )


def leave(debt: float, lst: float) -> tuple[Order, ...]:
    """What it orders to close it."""
    return (
        order("flash_borrow", "morpho", debt, 0, "g"),
        order("repay", "aave_v3", debt, 1, "g", source_token="WETH"),
        order("withdraw", "aave_v3", lst, 2, "g", target_token="weETH"),
        order("swap", "uniswap", lst, 3, "g", source_token="weETH", target_token="ETH"),
        order("flash_repay", "morpho", debt, 4, "g"),
    )


async def swap_bps(account: Account, venue: ChainVenue, lst: float, price: float) -> float:
    """Cost of a swap that the pool quotes now, basis points of its own price: fee and price impact."""
    world = account.world
    units = round(lst * WAD)
    asked = (world.tokens["weETH"].address, world.tokens["WETH"].address, units, 100, 0)
    quoted = world.uniswap.quoter.call("quoteExactInputSingle", asked)[0]
    return float((1.0 - quoted / (units * price)) * 1e4)


async def test_leveraged_staking_entry_a_year_and_exit(account: Account, opened: Opened) -> None:
    """Opened at LTV 0.65 in one transaction, held for a year of interest, closed in one transaction."""
    aged(account)
    # what is ordered is within 1e-12 of all there is; the flash loan of the exit is larger by as much
    venue = await opened(close_within=1e-12)
    config = simulation()
    own, rate = 20.0, account.world.rate("weETH")
    await both(account, venue, config, entry(own, own * 0.65 / 0.35, rate))

    account.node.warp(YEAR)
    account.world.set_rate("weETH", 1.1053)
    account.world.set_prices(2800.0)
    market = await market_of(venue, config)
    held = await venue.balances(KEYS)
    debt, lst = held[D_WETH] * market["borrow_index:WETH"], held[A_WEETH] * market["liquidity_index:weETH"]
    cost = await swap_bps(account, venue, lst, market["dex_price_eth:weETH"])
    live, ledger = await both(account, venue, simulation(swap_bps=cost), leave(debt, lst), market)
    assert account.world.debt_token("WETH").call("scaledBalanceOf", account.address) == 0
    assert ledger.get(D_WETH, 0.0) == pytest.approx(0.0, abs=1e-12)
    assert live[3].costs["slippage"][ETH] > 0.0


async def test_growing_and_shrinking_a_position(account: Account, opened: Opened) -> None:
    """A second entry on top of the first, and a partial exit."""
    aged(account)
    venue, config = await opened(), simulation()
    rate = account.world.rate("weETH")
    await both(account, venue, config, entry(10.0, 15.0, rate))
    account.node.warp(30 * 86_400)
    account.world.set_prices(3000.0)
    await both(account, venue, config, entry(5.0, 9.0, rate))
    market = await market_of(venue, config)
    cost = await swap_bps(account, venue, 4.0, market["dex_price_eth:weETH"])
    await both(account, venue, simulation(swap_bps=cost), leave(4.0, 4.0), market)


@pytest.mark.parametrize("kind", ["morpho", "aave"])
async def test_flash_fee(account: Account, opened: Opened, kind: str) -> None:
    """Morpho takes none, Aave 0.05 %: the same loss on both sides, stated as a fee."""
    lender = account.config.flash if kind == "morpho" else {"kind": "aave", "lender": account.config.aave.pool}
    assert lender is not None
    fee = 0.0 if kind == "morpho" else 0.0005
    changed = {"flash": lender if isinstance(lender, dict) else lender.model_dump()}
    account.world.aave.pool.send("supply", account.world.tokens["WETH"].address, WAD, account.address, 0)
    account.config = account.changed(**changed) if kind == "aave" else account.config
    try:
        if kind == "aave":
            await _allow_aave_flash(account)
        venue, config = await opened(), simulation(flash_fee=fee)
        loan = 1234.5
        live, _ = await both(
            account,
            venue,
            config,
            (order("flash_borrow", "morpho", loan, 0, "g"), order("flash_repay", "morpho", loan, 1, "g")),
        )
        paid = live[1].costs.get("fees", {}).get(ETH, 0.0)
        assert paid == pytest.approx(loan * fee, rel=TOLERANCE)
        await both(account, venue, config, entry(10.0, 12.0, account.world.rate("weETH"), fee))
    finally:
        account.config = account.changed(flash={"kind": "morpho", "lender": account.world.lender.address})


async def _allow_aave_flash(account: Account) -> None:
    from pydantic import SecretStr

    from basis.venues.live.chain.onboarding import onboard

    await onboard(account.config, SecretStr(account.node.url), account.wallet, account.clock, emode=True)


async def test_supply_borrow_a_year_of_interest_repay_withdraw(account: Account, opened: Opened) -> None:
    """Each step alone, a year between; interest on both sides is the index, and the index is Aave's formula to the last ray."""
    aged(account)
    world, node = account.world, account.node
    venue, config = await opened(close_within=1e-12), simulation()
    await both(account, venue, config, (order("supply", "aave_v3", 40.0, source_token="WETH"),))
    await both(account, venue, config, (order("borrow", "aave_v3", 20.0, target_token="WETH"),))
    reserve = world.aave.reserve(world.tokens["WETH"].address)
    node.warp(YEAR)
    world.set_prices(3000.0)
    market, held = await market_of(venue, config), await venue.balances(KEYS)
    dt = node.time - reserve["lastUpdateTimestamp"]
    pool, weth = world.aave.pool, world.tokens["WETH"].address
    income = _ray_mul(_linear(reserve["currentLiquidityRate"], dt), reserve["liquidityIndex"])
    debt = _ray_mul(_compounded(reserve["currentVariableBorrowRate"], dt), reserve["variableBorrowIndex"])
    assert pool.call("getReserveNormalizedIncome", weth) == income
    assert pool.call("getReserveNormalizedVariableDebt", weth) == debt
    # balance = scaled x index, in the simulation's floats and in the contracts' own balanceOf
    owed = held[D_WETH] * market["borrow_index:WETH"]
    supplied = held[A_WETH] * market["liquidity_index:WETH"]
    assert owed == pytest.approx(world.debt_token("WETH").call("balanceOf", account.address) / WAD, rel=TOLERANCE)
    assert supplied == pytest.approx(world.a_token("WETH").call("balanceOf", account.address) / WAD, rel=TOLERANCE)
    assert owed > 20.1
    await both(account, venue, config, (order("repay", "aave_v3", owed / 2.0, source_token="WETH"),))
    await both(account, venue, config, (order("withdraw", "aave_v3", 1.5, target_token="WETH"),))
    rest = (await venue.balances([D_WETH]))[D_WETH] * (await market_of(venue, config))["borrow_index:WETH"]
    await both(account, venue, config, (order("repay", "aave_v3", rest, source_token="WETH"),))


async def test_health_factor_and_limits(account: Account, opened: Opened) -> None:
    """getUserAccountData against the simulation's: one collateral to 1e-9, several to a basis point.

    Aave averages the thresholds of several collaterals in whole basis points, rounded down; the simulation does not.
    """
    aged(account)
    venue, config = await opened(), simulation()
    await both(account, venue, config, entry(10.0, 15.0, account.world.rate("weETH")))
    for usd in (3000.0, 1500.0, 4200.0):
        account.world.set_prices(usd)
        await _assert_health(account, venue, config, TOLERANCE)
    account.world.give(account.address, "USDT", 9_000 * 10**6)
    await both(account, venue, config, (order("supply", "aave_v3", 9_000.0, source_token="USDT"),))
    await _assert_health(account, venue, config, 1.3e-4)


async def _assert_health(account: Account, venue: ChainVenue, config: RunConfig, tolerance: float) -> None:
    real = account.world.aave.account(account.address)
    ledger, market = dict(await venue.balances(KEYS)), await market_of(venue, config)
    found = account_data(ledger, at_tick(config, market))
    assert found.collateral == pytest.approx(real["collateral"] / 1e8, rel=TOLERANCE)
    assert found.debt == pytest.approx(real["debt"] / 1e8, rel=TOLERANCE)
    assert found.health_factor == pytest.approx(real["health_factor"] / WAD, rel=tolerance)


async def test_borrow_limit_and_liquidation_threshold_are_where_the_contracts_have_them(
    account: Account, opened: Opened
) -> None:
    """Just below a limit both sides accept, just above both refuse."""
    venue, config = await opened(least_health_factor=1.0), simulation()
    await both(account, venue, config, (order("supply", "aave_v3", 10.0, source_token="WETH"),))
    for amount, accepted in ((9.3 * (1 + 1e-6), False), (9.3 * (1 - 1e-6), True)):
        borrowing = order("borrow", "aave_v3", amount, target_token="WETH")
        assert await _accepted(account, venue, config, borrowing) == (accepted, accepted)
    await both(account, venue, config, (order("borrow", "aave_v3", 9.0, target_token="WETH"),))
    # 9.0 of debt needs 9.0 / 0.95 of collateral for a health factor of 1
    spare = 10.0 - 9.0 / 0.95
    for amount, accepted in ((spare * (1 + 1e-5), False), (spare * (1 - 1e-5), True)):
        taking = order("withdraw", "aave_v3", amount, target_token="WETH")
        assert await _accepted(account, venue, config, taking) == (accepted, accepted)


async def _accepted(account: Account, venue: ChainVenue, config: RunConfig, one: Order) -> tuple[bool, bool]:
    from basis.venues.core.interface import VenueRefusal

    ledger, market = dict(await venue.balances(KEYS)), await market_of(venue, config)
    done = transact((one,), ledger, config, market)
    try:
        await venue.prepare((one,))
        real = True
    except VenueRefusal as refused:
        assert refused.error_code == "VEN-009"
        real = False
    return real, done.handshakes[0].status is ExecutionStatus.CONFIRMED


async def test_liquidation_of_half_in_emode(account: Account, opened: Opened) -> None:
    """Health factor between 0.95 and 1: half of the debt, collateral with the bonus of the e-mode."""
    aged(account)
    world = account.world
    venue, config = await opened(), simulation()
    await both(account, venue, config, entry(10.0, 80.0, world.rate("weETH")))
    held, market = await venue.balances(KEYS), await market_of(venue, config)
    lst, debt = held[A_WEETH] * market["liquidity_index:weETH"], held[D_WETH] * market["borrow_index:WETH"]
    world.set_feed("weETH", 3000.0 * 0.97 * debt / 0.95 / lst)  # the oracle follows a depeg
    await _liquidated(account, venue, config, ("weETH", "WETH"), 0.5)


async def test_liquidation_of_all_outside_emode(account: Account, opened: Opened) -> None:
    """Health factor below 0.95: all of the debt, the reserve's own bonus."""
    aged(account)
    world = account.world
    with account.node.as_sender(account.address) as sender:
        world.aave.pool.send("setUserEMode", 0, sender=sender)
    venue, config = await opened(emode=False), simulation(emode=False)
    world.give(account.address, "USDT", 300_000 * 10**6)
    await both(account, venue, config, (order("supply", "aave_v3", 300_000.0, source_token="USDT"),))
    await both(account, venue, config, (order("borrow", "aave_v3", 70.0, target_token="WETH"),))
    world.set_prices(300_000.0 * 0.78 / 70.0 / 0.9)
    await _liquidated(account, venue, config, ("USDT", "WETH"), 1.0)


async def _liquidated(
    account: Account, venue: ChainVenue, config: RunConfig, pair: tuple[str, str], part: float
) -> None:
    """Liquidate on the chain and in the simulation: the same settlement.

    Positions of more than 2,000 USD: v3.3 closes smaller ones entirely. Enough collateral for the bonus: v3.3 writes off debt
    without collateral, in the simulation it stays.
    """
    world, node = account.world, account.node
    since, ledger = account.clock.now(), dict(await venue.balances(KEYS))
    liquidator = node.accounts[4]
    world.give(liquidator, "WETH", 200 * WAD)
    world.tokens["WETH"].send("approve", world.aave.pool.address, MAX, sender=liquidator)
    args = (*(world.tokens[one].address for one in pair), account.address, MAX, False)
    world.aave.pool.send("liquidationCall", *args, sender=liquidator)
    (live,) = await venue.settlements(since, account.clock.now())
    market = await market_of(venue, config)
    if pair[0] == "weETH":  # the simulation's oracle is the rate
        price = world.aave.oracle.call("getAssetPrice", world.tokens["weETH"].address) / 1e8
        market["oracle_price_eth:weETH"] = price / market["price_usd:ETH"]
    columns = {name: np.array([value, value]) for name, value in market.items()}
    (simulated,) = settle_columns(ledger, config, columns, 1).settlements
    taken = f"aave_v3:aToken:a{pair[0]}"
    assert (live.kind, live.venue) == (simulated.kind, simulated.venue)
    assert set(live.deltas) == set(simulated.deltas) == {taken, D_WETH}
    assert -live.deltas[D_WETH] == pytest.approx(ledger[D_WETH] * part, rel=TOLERANCE)
    # USDT has six decimals: a unit of a hundred thousand is 1e-11
    for key, delta in simulated.deltas.items():
        assert live.deltas[key] == pytest.approx(delta, rel=TOLERANCE), key
    assert live.fees[taken] == pytest.approx(simulated.fees[taken], rel=1e-7)
    after = await venue.balances(KEYS)
    for key in (taken, D_WETH):
        assert after[key] == pytest.approx(ledger[key] + live.deltas[key], rel=1e-12, abs=1e-9)


# Aave v3 MathUtils, written from its description: linear interest for suppliers, three terms of the binomial for debt


def _ray_mul(one: int, other: int) -> int:
    return (one * other + RAY // 2) // RAY


def _linear(rate: int, dt: int) -> int:
    return RAY + rate * dt // YEAR


def _compounded(rate: int, dt: int) -> int:
    second = _ray_mul(rate, rate) // (YEAR * YEAR)
    third = _ray_mul(second, rate) // YEAR
    return RAY + rate * dt // YEAR + dt * (dt - 1) * second // 2 + dt * (dt - 1) * (dt - 2) * third // 6
