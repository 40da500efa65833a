"""Every on-chain operation through the live venue, against the real contracts: deltas are what the chain's balances say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.chain import ETHER, execute
from tests.support.venues import order

from basis.models.operations import ExecutionStatus
from basis.testkit.chain.aave import WAD
from basis.venues.core.interface import VenueRefusal

if TYPE_CHECKING:
    from tests.support.chain import Account

    from basis.models.execution import ExecutionHandshake
    from basis.models.order import Order
    from basis.venues.live.chain.venue import ChainVenue

ETH, USDT = "wallet:BaseToken:ETH", "wallet:BaseToken:USDT"
A_USDT, A_WETH, A_WEETH = "aave_v3:aToken:aUSDT", "aave_v3:aToken:aWETH", "aave_v3:aToken:aweETH"
D_USDT, D_WETH = "aave_v3:debtToken:debtUSDT", "aave_v3:debtToken:debtWETH"
WEETH, WSTETH = "etherfi:LST:weETH", "lido:LST:wstETH"
KEYS = (
    ETH,
    USDT,
    A_USDT,
    A_WETH,
    A_WEETH,
    D_USDT,
    D_WETH,
    WEETH,
    WSTETH,
    "etherfi:BaseToken:ETH",
    "lido:BaseToken:ETH",
)


async def done(venue: ChainVenue, *orders: Order) -> tuple[ExecutionHandshake, ...]:
    """Execute; every handshake is confirmed, and together they are what the chain's own balances changed by."""
    before = await venue.balances(KEYS)
    handshakes = await execute(venue, *orders)
    after = await venue.balances(KEYS)
    assert [one.status for one in handshakes] == [ExecutionStatus.CONFIRMED] * len(orders), handshakes
    assert not any(one.simulated for one in handshakes)
    for key in KEYS:
        moved = sum(one.actual_deltas.get(key, 0.0) for one in handshakes)
        assert moved == pytest.approx(after[key] - before[key], rel=1e-12, abs=1e-12), key
    return handshakes


def exact(handshake: ExecutionHandshake, key: str) -> int:
    """Change in smallest units."""
    units = handshake.venue_metadata["units"]
    assert isinstance(units, dict)
    return int(str(units.get(key, 0)))


def supply(amount: float, token: str, number: int = 0, group: str | None = None) -> Order:
    return order("supply", "aave_v3", amount, number, group, source_token=token)


def borrow(amount: float, token: str, number: int = 0, group: str | None = None) -> Order:
    return order("borrow", "aave_v3", amount, number, group, target_token=token)


def repay(amount: float, token: str, number: int = 0, group: str | None = None) -> Order:
    return order("repay", "aave_v3", amount, number, group, source_token=token)


def withdraw(amount: float, token: str, number: int = 0, group: str | None = None) -> Order:
    return order("withdraw", "aave_v3", amount, number, group, target_token=token)


def stake(amount: float, venue: str, lst: str, number: int = 0, group: str | None = None) -> Order:
    return order("stake", venue, amount, number, group, source_token="ETH", target_token=lst)


async def test_supply_and_withdraw_of_a_token_move_exactly_the_scaled_balance(
    account: Account, venue: ChainVenue
) -> None:
    """Scaled balances of the contracts to the last unit, at an index that a year of interest has moved."""
    account.world.give(account.address, "USDT", 10_000 * 10**6)
    await done(venue, supply(3_000.0, "USDT"))
    account.node.warp(365 * 86_400)
    account.world.set_prices(3000.0)
    a_usdt = account.world.a_token("USDT")
    before = a_usdt.call("scaledBalanceOf", account.address)
    (given,) = await done(venue, supply(1_234.567891, "USDT"))
    assert exact(given, A_USDT) == a_usdt.call("scaledBalanceOf", account.address) - before
    assert exact(given, USDT) == -1_234_567_891
    before = a_usdt.call("scaledBalanceOf", account.address)
    (taken,) = await done(venue, withdraw(4_000.0, "USDT"))
    assert exact(taken, A_USDT) == a_usdt.call("scaledBalanceOf", account.address) - before
    assert abs(exact(taken, USDT) - 4_000 * 10**6) <= 1  # the contract's rounding of a transfer of aTokens
    left = await venue.balances([A_USDT])
    index = (await venue.market(["liquidity_index:USDT"]))["liquidity_index:USDT"][0]
    await done(venue, withdraw(left[A_USDT] * index, "USDT"))
    assert a_usdt.call("scaledBalanceOf", account.address) == 0


async def test_ether_is_wrapped_for_aave_and_comes_back_as_ether(account: Account, venue: ChainVenue) -> None:
    """WETH and ETH are one token of the wallet."""
    (given,) = await done(venue, supply(10.0, "WETH"))
    assert exact(given, A_WETH) == 10 * WAD
    await done(venue, withdraw(4.0, "WETH"))
    assert account.units("WETH") == 0
    # ether that happens to be WETH is spent too
    account.world.give(account.address, "WETH", 5 * WAD)
    account.node.fund(account.address, 3 * WAD)
    await done(venue, supply(7.0, "WETH"))
    assert account.units("WETH") < 5 * WAD


async def test_borrow_and_repay_a_part_and_all(account: Account, venue: ChainVenue) -> None:
    """A full repayment takes what is owed in its block; nothing is left behind."""
    account.world.give(account.address, "WETH", 0)
    await done(venue, supply(20.0, "WETH"))
    (lent,) = await done(venue, borrow(5.0, "WETH"))
    debt = account.world.debt_token("WETH")
    assert exact(lent, D_WETH) == debt.call("scaledBalanceOf", account.address)
    account.node.warp(90 * 86_400)
    account.world.set_prices(3000.0)
    await done(venue, repay(2.0, "WETH"))
    owed = (await venue.balances([D_WETH]))[D_WETH] * (await venue.market(["borrow_index:WETH"]))["borrow_index:WETH"][
        0
    ]
    account.node.warp(12)
    (last,) = await done(venue, repay(owed, "WETH"))
    assert debt.call("scaledBalanceOf", account.address) == 0
    assert -exact(last, ETH) / WAD == pytest.approx(owed, rel=1e-5, abs=1e-3)


async def test_staking_at_lido_and_etherfi_and_their_queues(account: Account, venue: ChainVenue) -> None:
    """Stake at the rate; unstaking is a claim until it is finalized and claimed."""
    world = account.world
    (lido,) = await done(venue, stake(2.0, "lido", "wstETH"))
    assert exact(lido, WSTETH) == 2 * WAD * 100 // 116
    (etherfi,) = await done(venue, stake(3.0, "etherfi", "weETH"))
    assert abs(exact(etherfi, WEETH) - 3 * WAD * 100 // 104) <= 2
    world.set_rate("weETH", 1.05)
    await done(venue, order("unstake", "etherfi", 1.0, source_token="weETH", target_token="ETH"))
    await done(venue, order("unstake", "lido", 0.5, source_token="wstETH", target_token="ETH"))
    claims = await venue.balances(["etherfi:BaseToken:ETH", "lido:BaseToken:ETH"])
    assert claims == {"etherfi:BaseToken:ETH": pytest.approx(1.05), "lido:BaseToken:ETH": pytest.approx(0.58)}
    assert await venue.claim() == 0
    since = account.clock.now()
    world.finalize("weETH")
    before = account.units("ETH")
    assert await venue.claim() == 1
    assert account.units("ETH") == pytest.approx(before + 1.05 * WAD, abs=0.001 * WAD)
    (arrived,) = await venue.settlements(since, account.clock.now())
    assert (arrived.kind, arrived.venue) == ("unstake_arrival", "etherfi")
    gained = (account.units("ETH") - before) / WAD
    assert arrived.deltas == {"etherfi:BaseToken:ETH": pytest.approx(-1.05), ETH: pytest.approx(gained, rel=1e-12)}
    assert await venue.claim() == 0
    assert await venue.balances(["etherfi:BaseToken:ETH"]) == {"etherfi:BaseToken:ETH": 0.0}


async def test_requests_at_etherfi_are_known_as_the_chain_has_them(account: Account, venue: ChainVenue) -> None:
    """What was read once is not read again, unless the chain took it back."""
    key = "etherfi:BaseToken:ETH"
    node = account.node
    await done(venue, stake(3.0, "etherfi", "weETH"))
    await done(venue, order("unstake", "etherfi", 1.0, source_token="weETH", target_token="ETH"))
    node.mine(5)
    (owed,) = (await venue.balances([key])).values()
    assert owed == pytest.approx(1.04)
    before = node.rpc("evm_snapshot")
    node.mine(30)
    assert (await venue.balances([key]))[key] == owed
    assert node.rpc("evm_revert", before)
    await done(venue, order("unstake", "etherfi", 0.5, source_token="weETH", target_token="ETH"))
    node.mine(60)  # beyond what had been read of the blocks that are gone
    assert (await venue.balances([key]))[key] == pytest.approx(1.56)


async def test_swap_pays_what_was_quoted_and_states_its_slippage(account: Account, venue: ChainVenue) -> None:
    """Exact input; slippage is what the account lost against the staker's rate."""
    world = account.world
    await done(venue, stake(10.0, "etherfi", "weETH"))
    held = world.units("weETH", account.address)
    asked = (world.tokens["weETH"].address, world.tokens["WETH"].address, held, 100, 0)
    quoted = world.uniswap.quoter.call("quoteExactInputSingle", asked)[0]
    (sold,) = await done(venue, order("swap", "uniswap", held / WAD, source_token="weETH", target_token="ETH"))
    gas = round(sold.fee_amount * WAD)
    assert exact(sold, ETH) + gas == pytest.approx(quoted, abs=1000)
    assert sold.costs["slippage"][ETH] == pytest.approx(10.0 - quoted / WAD, rel=1e-6)
    world.give(account.address, "EIGEN", 100 * WAD)
    (reward,) = await execute(venue, order("swap", "uniswap", 100.0, source_token="EIGEN", target_token="ETH"))
    assert reward.actual_deltas["wallet:BaseToken:EIGEN"] == -100.0
    assert reward.actual_deltas[ETH] == pytest.approx(0.0997, abs=1e-3)


async def test_swap_beyond_its_tolerance_is_refused_before_it_is_sent(account: Account, venue: ChainVenue) -> None:
    """Neither by the quote nor, where the pool moves after it, by the contract."""
    await done(venue, stake(10.0, "etherfi", "weETH"))
    nonce = account.node.rpc("eth_getTransactionCount", account.address, "latest")
    tight = order("swap", "uniswap", 5.0, source_token="weETH", target_token="ETH", slippage_tolerance=1e-5)
    with pytest.raises(VenueRefusal, match="VEN-009") as refused:
        await venue.prepare((tight,))
    assert "slippage_tolerance" in refused.value.message
    assert account.node.rpc("eth_getTransactionCount", account.address, "latest") == nonce


async def test_transfers_reach_their_address_and_only_configured_ones(account: Account, venue: ChainVenue) -> None:
    """Tokens, ether and capital paid out; each unit arrives."""
    account.world.give(account.address, "USDT", 500 * 10**6)

    def out(amount: float, token: str, target: str = "binance") -> Order:
        return order("transfer", "wallet", amount, source_venue="wallet", target_venue=target, source_token=token)

    await done(venue, out(123.456789, "USDT"))
    assert account.world.units("USDT", account.exchange) == 123_456_789
    before = account.node.balance(account.exchange)
    await done(venue, out(1.5, "ETH"))
    assert account.node.balance(account.exchange) - before == 3 * WAD // 2
    (paid,) = await done(venue, out(10.0, "USDT", "client"))
    assert paid.costs["external"] == {USDT: 10.0}
    for refused, code in (
        (out(1.0, "USDT", "okx"), "VEN-001"),
        (out(1e6, "USDT"), "VEN-008"),
        (out(1e-9, "USDT"), "VEN-007"),
        (out(float(ETHER), "ETH"), "VEN-008"),
        (out(1.0, "DOGE"), "VEN-001"),
    ):
        with pytest.raises(VenueRefusal, match=code):
            await venue.prepare((refused,))


async def test_arrivals_are_seen_however_they_come(account: Account, venue: ChainVenue) -> None:
    """Tokens, ether by a transaction, ether by a contract, and all of it beside transactions of our own in one block."""
    world, node = account.world, account.node
    since = account.clock.now()
    world.give(account.address, "USDT", 25 * 10**6)
    node.send(node.accounts[3], account.address, value=2 * WAD)
    world.give(account.address, "EIGEN", 7 * WAD)
    # a contract sends ether: WETH9 pays out to whoever withdraws; selfdestruct-like top-up by the node itself
    node.fund(account.address, node.balance(account.address) + WAD)
    node.mine()
    await execute(venue, supply(1.0, "WETH"))
    found = await venue.settlements(since, account.clock.now())
    by_key = {key: sum(one.deltas.get(key, 0.0) for one in found) for key in (USDT, ETH, "wallet:BaseToken:EIGEN")}
    assert by_key == {USDT: 25.0, ETH: 3.0, "wallet:BaseToken:EIGEN": 7.0}
    assert [one.kind for one in found if "wallet:BaseToken:EIGEN" in one.deltas] == ["reward"]
    stamps = [str(one.details["timestamp"]) for one in found]
    assert stamps == sorted(stamps)
    assert len({one.details["id"] for one in found}) == len(found)
    assert await venue.settlements(account.clock.now(), account.clock.now()) == []


async def test_market_columns_are_the_chains_own(account: Account, venue: ChainVenue) -> None:
    """Indices at the block's time, oracle, pool, totals without our own; what the chain does not know is left out."""
    world = account.world
    columns = [
        "liquidity_index:USDT",
        "borrow_index:WETH",
        "oracle_price_eth:weETH",
        "dex_price_eth:weETH",
        "price_usd:ETH",
    ]
    columns += ["total_supplied:WETH", "gas_base_fee_gwei", "dex:EIGENWETH", "spot:binance:ETHUSDT", "supply_apr:USDT"]
    found = await venue.market(columns)
    assert set(columns) - set(found) == {"spot:binance:ETHUSDT"}
    pool, weth = world.aave.pool, world.tokens["WETH"].address
    assert found["borrow_index:WETH"][0] == pool.call("getReserveNormalizedVariableDebt", weth) / 10**27
    assert found["oracle_price_eth:weETH"][0] == 1.04
    assert found["dex_price_eth:weETH"][0] == pytest.approx(1.039, rel=1e-9)
    assert found["price_usd:ETH"][0] == 3000.0
    assert found["dex:EIGENWETH"][0] == pytest.approx(1e-3, rel=1e-9)
    before = found["total_supplied:WETH"][0]
    await execute(venue, supply(50.0, "WETH"))
    after = (await venue.market(["total_supplied:WETH"]))["total_supplied:WETH"][0]
    assert after == pytest.approx(before, rel=1e-9)
    assert {when for _, when in found.values()} <= {account.clock.now(), next(iter(found.values()))[1]}
