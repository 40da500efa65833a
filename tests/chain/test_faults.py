"""Everything that can go wrong between us and the chain: afterwards an operation has had exactly one effect, or provably none."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.chain import execute, impatient, reference
from tests.support.venues import order

from basis.models.operations import ExecutionStatus
from basis.runtime.clock import SystemClock
from basis.testkit.chain.aave import WAD
from basis.testkit.chain.proxy import Fate, FaultyNode, healthy
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.chain.wallet import Fees
from basis.venues.live.errors import Fatal, LiveVenueError, Retryable
from basis.venues.live.interface import Prepared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from tests.support.chain import Account, Opened

    from basis.models.execution import ExecutionHandshake
    from basis.models.order import Order
    from basis.venues.live.chain.venue import ChainVenue

SEND = "eth_sendRawTransaction"
SUPPLY = order("supply", "aave_v3", 3.0, source_token="WETH")
A_WETH = "aave_v3:aToken:aWETH"


def supplied(account: Account) -> int:
    """What the one order of these tests has done: scaled aWETH, at an index of 1."""
    return int(account.world.a_token("WETH").call("scaledBalanceOf", account.address))


def assert_once(account: Account, handshakes: tuple[ExecutionHandshake, ...]) -> None:
    """Confirmed, and exactly once."""
    (handshake,) = handshakes
    assert handshake.status is ExecutionStatus.CONFIRMED, handshake
    assert handshake.actual_deltas[A_WETH] == 3.0
    assert supplied(account) == 3 * WAD


async def until(condition: Callable[[], bool]) -> None:
    """Let others work until something is so."""
    while not condition():  # noqa: ASYNC110 - the node tells nobody
        await asyncio.sleep(0.005)


def pooled(account: Account) -> list[dict[str, Any]]:
    """Transactions of the wallet that wait in the node's pool."""
    content = account.node.rpc("txpool_content")["pending"]
    return [one for sender, byn in content.items() if sender.lower() == account.address.lower() for one in byn.values()]


# ------------------------------------------------------------------------------------------------- the line to the node


@pytest.mark.parametrize("fate", [Fate.NEVER_ARRIVES, Fate.SERVER_ERROR, Fate.CUT_BEFORE, Fate.TOO_MANY])
async def test_broadcast_that_never_arrives_is_pending_then_proven_absent_then_sent_once(
    account: Account, opened: Opened, fate: Fate
) -> None:
    """Timeout, 5xx, disconnect, 429 without execution: no guess; the same signed transaction goes out later."""
    async with FaultyNode(account.node.port) as proxy:
        venue = await opened(proxy.url)
        prepared = await venue.prepare((SUPPLY,))
        proxy.rule = lambda methods: fate if SEND in methods else Fate.PASS
        with impatient(venue):
            (pending,) = await venue.send((SUPPLY,), prepared)
        assert (pending.status, pending.actual_deltas) == (ExecutionStatus.PENDING, {})
        assert supplied(account) == 0
        proxy.rule = healthy
        (absent,) = await venue.resolve((SUPPLY,), prepared)
        assert (absent.status, absent.error_code) == (ExecutionStatus.FAILED, "VEN-014")
        assert_once(account, await venue.send((SUPPLY,), prepared))
        assert_once(account, await venue.send((SUPPLY,), prepared))  # again: the same answer, no second effect


@pytest.mark.parametrize("fate", [Fate.NO_ANSWER, Fate.ERROR_AFTER, Fate.CUT_AFTER, Fate.GARBAGE])
async def test_broadcast_whose_answer_is_lost_is_found_out_by_its_hash(
    account: Account, opened: Opened, fate: Fate
) -> None:
    """Timeout, 5xx, disconnect with execution: pending while the node is silent, confirmed once it speaks; one effect."""
    async with FaultyNode(account.node.port) as proxy:
        venue = await opened(proxy.url)
        prepared = await venue.prepare((SUPPLY,))
        proxy.rule = lambda methods: fate
        with impatient(venue):
            (pending,) = await venue.send((SUPPLY,), prepared)
        assert pending.status is ExecutionStatus.PENDING
        proxy.rule = healthy
        assert_once(account, await venue.resolve((SUPPLY,), prepared))


async def test_lost_answer_to_the_broadcast_alone_needs_no_help(account: Account, opened: Opened) -> None:
    """The order is confirmed in the same call: it looks for the hash before it sends anything again."""
    async with FaultyNode(account.node.port) as proxy:
        venue = await opened(proxy.url, request_timeout_s=2.0)
        prepared = await venue.prepare((SUPPLY,))
        proxy.rule = lambda methods: Fate.NO_ANSWER if SEND in methods and not proxy.broken.is_set() else Fate.PASS
        assert_once(account, await venue.send((SUPPLY,), prepared))


async def test_a_node_that_counts_a_transaction_before_it_shows_it_proves_nothing(
    account: Account, opened: Opened
) -> None:
    """Its nonce is used, and nothing says by what: pending, never given up; found once the node shows it."""
    async with FaultyNode(account.node.port) as proxy:
        venue = await opened(proxy.url)
        prepared = await venue.prepare((SUPPLY,))
        proxy.rule = lambda methods: Fate.PASS if SEND in methods else Fate.BEHIND
        with impatient(venue):
            (pending,) = await venue.send((SUPPLY,), prepared)
        assert (pending.status, pending.error_message) == (
            ExecutionStatus.PENDING,
            "its nonce was used by another transaction, not confirmed yet",
        )
        proxy.rule = healthy
        assert_once(account, await venue.resolve((SUPPLY,), prepared))


async def test_silent_node_before_anything_is_sent_is_retryable_and_names_no_address(
    account: Account, opened: Opened
) -> None:
    """Nothing was asked of the chain; the node's address, which holds a key in production, is in no message."""
    async with FaultyNode(account.node.port) as proxy:
        venue = await opened(proxy.url + "/v3/secret-project-key")
        for fate, code in (
            (Fate.NEVER_ARRIVES, "VEN-002"),
            (Fate.SERVER_ERROR, "VEN-003"),
            (Fate.CUT_BEFORE, "VEN-003"),
            (Fate.TOO_MANY, "VEN-006"),
            (Fate.GARBAGE, "VEN-003"),
        ):
            proxy.rule = lambda methods, fate=fate: fate  # type: ignore[misc]
            with impatient(venue), pytest.raises(Retryable) as error:
                await venue.prepare((SUPPLY,))
            assert error.value.error_code == code
            assert "secret-project-key" not in f"{error.value}{error.value!r}{error.value.__cause__}{venue._rpc!r}"
    with pytest.raises(Retryable, match="VEN-003"):
        await venue.prepare((SUPPLY,))


async def test_another_process_finishes_what_one_that_died_had_sent(
    account: Account, opened: Opened, venue: ChainVenue
) -> None:
    """The reference, as JSON, is all that is needed: also where a replacement was mined that the first never saw."""
    prepared = await venue.prepare((SUPPLY,))
    kept = json.dumps({"ids": prepared.operation_ids, "venue": prepared.venue, "reference": prepared.reference})
    account.node.rpc(SEND, reference(prepared).attempts[1].raw)  # then it was killed
    read = json.loads(kept)
    other = await opened()
    assert_once(account, await other.resolve((SUPPLY,), Prepared(tuple(read["ids"]), read["venue"], read["reference"])))


# ------------------------------------------------------------------------------------------------------ nonces and pools


async def test_stale_nonce_can_never_happen_and_is_prepared_anew(account: Account, venue: ChainVenue) -> None:
    """Another transaction of the same key used the nonce in between."""
    prepared = await venue.prepare((SUPPLY,))
    other = order("supply", "aave_v3", 1.0, 1, source_token="WETH")
    await execute(venue, other)
    (gone,) = await venue.send((SUPPLY,), prepared)
    assert (gone.status, gone.error_code) == (ExecutionStatus.FAILED, "VEN-017")
    assert supplied(account) == WAD
    (again,) = await execute(venue, SUPPLY)
    assert again.status is ExecutionStatus.CONFIRMED
    assert supplied(account) == 4 * WAD
    (still,) = await venue.resolve((SUPPLY,), prepared)
    assert still.error_code == "VEN-017"


async def test_one_transaction_at_a_time(account: Account, venue: ChainVenue) -> None:
    """While one waits to be mined, the next is not even prepared."""
    prepared = await venue.prepare((SUPPLY,))
    with account.node.unmined():
        sending = asyncio.create_task(venue.send((SUPPLY,), prepared))
        await until(lambda: bool(pooled(account)))
        with pytest.raises(Retryable, match="VEN-010"):
            await venue.prepare((SUPPLY,))
        account.node.mine()
        assert_once(account, await sending)


async def test_dropped_transaction_is_broadcast_again(account: Account, venue: ChainVenue) -> None:
    """The node forgets it; it is the same transaction that comes back."""
    prepared = await venue.prepare((SUPPLY,))
    first = reference(prepared).attempts[0].hash
    with account.node.unmined():
        sending = asyncio.create_task(venue.send((SUPPLY,), prepared))
        await until(lambda: bool(pooled(account)))
        account.node.rpc("anvil_dropTransaction", first)
        await asyncio.sleep(0)
        await until(lambda: [one["hash"] for one in pooled(account)] == [first])
        account.node.mine()
        assert_once(account, await sending)


async def test_dropped_transaction_of_one_that_died_is_proven_absent(account: Account, venue: ChainVenue) -> None:
    """VEN-014, and sending it again is safe even if the first one turns up."""
    prepared = await venue.prepare((SUPPLY,))
    first = reference(prepared).attempts[0]
    with account.node.unmined():
        account.node.rpc(SEND, first.raw)
        account.node.rpc("anvil_dropTransaction", first.hash)
        (absent,) = await venue.resolve((SUPPLY,), prepared)
        assert absent.error_code == "VEN-014"
    account.node.rpc(SEND, first.raw)  # it turns up from another node's pool
    assert_once(account, await venue.send((SUPPLY,), prepared))


async def test_waiting_transaction_is_replaced_at_rising_fees(account: Account, opened: Opened) -> None:
    """The replacement was signed beforehand, has the same nonce, and is the one that is mined."""
    venue = await opened(fees={"bump_after_s": 0.1})
    prepared = await venue.prepare((SUPPLY,))
    attempts = reference(prepared).attempts
    assert len({one.hash for one in attempts}) == len(attempts) > 2
    assert all(late.max_fee >= 1.1 * soon.max_fee for soon, late in itertools.pairwise(attempts))
    assert attempts[-1].max_fee <= 100 * 10**9
    with account.node.unmined():
        sending = asyncio.create_task(venue.send((SUPPLY,), prepared))
        await until(lambda: [one["hash"] for one in pooled(account)] == [attempts[2].hash])
        account.node.mine()
        handshakes = await sending
    assert_once(account, handshakes)
    assert handshakes[0].venue_metadata["transaction"] in {one.hash for one in attempts[2:]}


async def test_transaction_replaced_by_a_stranger_with_our_key_is_gone_once_that_is_deep(
    account: Account, opened: Opened
) -> None:
    """Not before: until then the other could still be undone."""
    venue = await opened(confirmations=3)
    prepared = await venue.prepare((SUPPLY,))
    mine = reference(prepared)
    fields = {"chainId": mine.chain_id, "nonce": mine.nonce, "gas": 21_000, "to": account.exchange, "value": 1}
    (other,) = account.wallet.sign(fields, (Fees(90 * 10**9, 80 * 10**9),))
    with account.node.unmined():
        account.node.rpc(SEND, mine.attempts[0].raw)
        account.node.rpc(SEND, other.raw)
        account.node.mine()
    with impatient(venue):
        (early,) = await venue.resolve((SUPPLY,), prepared)
    assert early.status is ExecutionStatus.PENDING
    account.node.mine(2)
    (late,) = await venue.resolve((SUPPLY,), prepared)
    assert (late.status, late.error_code) == (ExecutionStatus.FAILED, "VEN-017")
    assert supplied(account) == 0


async def test_cancel_all_uses_up_the_nonce_of_what_waits(account: Account, venue: ChainVenue) -> None:
    """What was cancelled can never happen any more."""
    prepared = await venue.prepare((SUPPLY,))
    with account.node.unmined():
        account.node.rpc(SEND, reference(prepared).attempts[0].raw)
        cancelling = asyncio.create_task(venue.cancel_all())
        await until(lambda: any(one["to"].lower() == account.address.lower() for one in pooled(account)))
        account.node.mine()
        assert await cancelling == 1
    (gone,) = await venue.resolve((SUPPLY,), prepared)
    assert gone.error_code == "VEN-017"
    assert supplied(account) == 0
    assert await venue.cancel_all() == 0


async def test_transaction_that_is_too_late_does_nothing(account: Account, venue: ChainVenue) -> None:
    """The executor's deadline: mined after it, it reverts; not mined by then, it is given up."""
    prepared = await venue.prepare((SUPPLY,))
    account.node.warp(account.config.deadline_s + 10)
    (gone,) = await venue.resolve((SUPPLY,), prepared)
    assert gone.error_code == "VEN-017"
    sent = reference(prepared).attempts[0]
    account.node.rpc(SEND, sent.raw)
    await until(lambda: account.node.rpc("eth_getTransactionReceipt", sent.hash) is not None)  # it mines a moment later
    (late,) = await venue.resolve((SUPPLY,), prepared)
    assert (late.status, late.error_code) == (ExecutionStatus.FAILED, "VEN-012")
    assert "too late" in str(late.error_message)
    assert supplied(account) == 0


# -------------------------------------------------------------------------------------------------------- reorganisation


async def test_reorganised_block_is_noticed_before_it_is_confirmed(account: Account, opened: Opened) -> None:
    """Mined, undone, broadcast again, mined again: confirmed once, in the later block."""
    venue = await opened(confirmations=3)
    prepared = await venue.prepare((SUPPLY,))
    first = reference(prepared).attempts[0].hash
    sending = asyncio.create_task(venue.send((SUPPLY,), prepared))
    await until(lambda: account.node.rpc("eth_getTransactionReceipt", first) is not None)
    mined_in = int(account.node.rpc("eth_getTransactionReceipt", first)["blockNumber"], 16)
    account.node.rpc("anvil_reorg", 1, [])
    await until(lambda: account.node.rpc("eth_getTransactionReceipt", first) is not None)
    again = int(account.node.rpc("eth_getTransactionReceipt", first)["blockNumber"], 16)
    assert again > mined_in
    assert not sending.done()
    account.node.mine(2)
    handshakes = await sending
    assert_once(account, handshakes)
    assert handshakes[0].venue_metadata["block"] == again


async def test_reorganisation_in_which_another_transaction_wins(account: Account, opened: Opened) -> None:
    """Ours was mined and undone, and the nonce went to another: gone, not confirmed."""
    venue = await opened(confirmations=3)
    prepared = await venue.prepare((SUPPLY,))
    mine = reference(prepared)
    account.node.rpc(SEND, mine.attempts[0].raw)
    with impatient(venue):
        (early,) = await venue.resolve((SUPPLY,), prepared)
    assert early.status is ExecutionStatus.PENDING
    fields = {"chainId": mine.chain_id, "nonce": mine.nonce, "gas": 21_000, "to": account.exchange, "value": 1}
    (other,) = account.wallet.sign(fields, (Fees(90 * 10**9, 80 * 10**9),))
    account.node.rpc("anvil_reorg", 1, [[other.raw, 0]])
    account.node.mine(3)
    (gone,) = await venue.resolve((SUPPLY,), prepared)
    assert (gone.status, gone.error_code) == (ExecutionStatus.FAILED, "VEN-017")
    assert supplied(account) == 0


# ------------------------------------------------------------------------------------------------------------- gas


async def test_gas_above_the_cap_is_refused_before_anything_is_signed(account: Account, venue: ChainVenue) -> None:
    """VEN-013, and nothing of the wallet is in any pool."""
    account.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(150 * 10**9))
    account.node.mine()
    with pytest.raises(VenueRefusal, match="VEN-013"):
        await venue.prepare((SUPPLY,))
    assert pooled(account) == []


async def test_gas_that_spikes_after_the_broadcast_never_pays_more_than_the_cap(
    account: Account, opened: Opened
) -> None:
    """It waits, replaced up to the cap and no further, is answered as pending, and is found when gas has fallen."""
    venue = await opened(fees={"cap_gwei": 10.0, "bump_after_s": 0.05})
    prepared = await venue.prepare((SUPPLY,))
    with account.node.unmined():
        account.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(40 * 10**9))
        account.node.mine()
        with impatient(venue):
            (pending,) = await venue.send((SUPPLY,), prepared)
        assert pending.status is ExecutionStatus.PENDING
        assert supplied(account) == 0
        assert all(int(one["maxFeePerGas"], 16) <= 10 * 10**9 for one in pooled(account))
        account.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        account.node.mine()
    handshakes = await venue.send((SUPPLY,), prepared)
    assert_once(account, handshakes)


async def test_wallet_without_ether_for_gas_is_refused(account: Account, venue: ChainVenue) -> None:
    """VEN-008 says how much is missing."""
    account.world.give(account.address, "USDT", 100 * 10**6)
    account.node.fund(account.address, 10**12)
    with pytest.raises(VenueRefusal, match="VEN-008"):
        await venue.prepare((order("supply", "aave_v3", 50.0, source_token="USDT"),))


# ------------------------------------------------------------------------------------------------------------ oracle


async def _no_price(account: Account) -> None:
    account.world.set_feed("weETH", 0.0)


async def _stale_feed(account: Account) -> None:
    account.world.set_feed("WETH", 3000.0, updated=account.node.time - account.config.aave.max_feed_age_s - 60)


async def _no_answer(account: Account) -> None:
    account.node.rpc("anvil_setCode", account.world.feeds["USDT"].address, "0x")


@pytest.mark.parametrize(
    ("breaks", "code"), [(_no_price, "DATA-001"), (_stale_feed, "DATA-003"), (_no_answer, "DATA-001")]
)
async def test_oracle_gap_stops_every_order_and_every_quote(
    account: Account, venue: ChainVenue, breaks: Callable[[Account], Awaitable[None]], code: str
) -> None:
    """No price, an old price, no feed: nothing is prepared on a guess, nothing is quoted."""
    await breaks(account)
    with pytest.raises(Retryable) as error:
        await venue.prepare((SUPPLY,))
    assert error.value.error_code == code
    with pytest.raises(Retryable):
        await venue.market(["price_usd:ETH"])


@pytest.mark.parametrize(("minutes", "kind", "code"), [(5, Retryable, "DATA-003"), (-5, Fatal, "VEN-011")])
async def test_node_and_clock_that_differ_are_not_traded_on(
    account: Account, opened: Opened, minutes: int, kind: type[LiveVenueError], code: str
) -> None:
    """The last block is older than the configuration allows: a node that has fallen behind; or newer: our clock is wrong."""
    venue = await opened(max_block_age_s=60)
    venue._clock = _Late(account, minutes)
    with pytest.raises(kind) as error:
        await venue.prepare((SUPPLY,))
    assert error.value.error_code == code


class _Late(SystemClock):
    """Ahead of the chain by some minutes, or behind it."""

    def __init__(self, account: Account, minutes: int) -> None:
        self._clock, self._minutes = account.clock, minutes

    def now(self) -> datetime:
        return self._clock.now() + timedelta(minutes=self._minutes)


# ------------------------------------------------------------------------------------------------------------- groups


def leverage(loan: float, own: float = 10.0, rate: float = 1.04) -> tuple[Order, ...]:
    """The group that opens a leveraged position."""
    lst = (own + loan) / rate
    return (
        order("flash_borrow", "morpho", loan, 0, "g"),
        order("stake", "etherfi", own + loan, 1, "g", source_token="ETH", target_token="weETH"),
        order("supply", "aave_v3", lst, 2, "g", source_token="weETH"),
        order("borrow", "aave_v3", loan, 3, "g", target_token="WETH"),
        order("flash_repay", "morpho", loan, 4, "g"),
    )


async def test_group_that_reverts_leaves_every_balance_as_it_was(account: Account, venue: ChainVenue) -> None:
    """The dry run passed, then the price fell: mined, reverted, rolled back; nothing but gas has gone."""
    orders = leverage(60.0)
    prepared = await venue.prepare(orders)
    before, ether = account.everything(), account.units("ETH")
    account.world.set_feed("weETH", 2000.0)
    handshakes = await venue.send(orders, prepared)
    assert [one.status for one in handshakes] == [ExecutionStatus.ROLLED_BACK] * 5
    assert {one.error_code for one in handshakes} == {"EXEC-005"}
    assert "borrow limit" in str(handshakes[0].error_message)
    assert all(not one.actual_deltas and not one.costs for one in handshakes)
    gas = sum(float(str(one.execution_details.get("gas_fee_eth", 0.0))) for one in handshakes)
    after = account.everything()
    assert {key: held for key, held in after.items() if before[key] != held} == {}
    assert (ether - account.units("ETH")) / WAD == pytest.approx(gas, rel=1e-9)


async def test_group_that_would_revert_is_refused_by_the_dry_run(account: Account, venue: ChainVenue) -> None:
    """Nothing is signed, nothing is paid."""
    before = account.everything() | {"ETH": account.units("ETH")}
    with pytest.raises(VenueRefusal, match="VEN-009") as refused:
        await venue.prepare(leverage(200.0))
    assert "borrow limit" in refused.value.message or "health factor" in refused.value.message
    assert account.everything() | {"ETH": account.units("ETH")} == before


# ------------------------------------------------------------------------------------------------------------ opening


async def test_opening_names_what_is_wrong(account: Account) -> None:
    """Another chain, a mistyped address, no executor, another's executor, no permissions: nothing opens."""
    pool = account.config.aave.pool
    typo = pool[:-1] + ("0" if pool[-1] != "0" else "1")
    stranger = type(account)(account.world, "22" * 32)
    stranger.config = stranger.changed(executor=account.config.executor)
    for made, part in (
        (account.venue(chain_id=1), "not on chain 1"),
        (account.venue(executor=None), "none is configured"),
        (account.venue(tokens=account.config.tokens | {"USDT": typo.swapcase().replace("0X", "0x")}), "EIP-55"),
        (account.venue(aave=account.config.aave.model_dump() | {"pool": account.exchange}), "no Aave v3 pool"),
        (account.venue(emode=False), "setUserEMode 0"),
        (stranger.venue(), "not this wallet's"),
    ):
        with pytest.raises(Fatal) as error:
            await made.open()
        assert part in error.value.message
        await made.close()
