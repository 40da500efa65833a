"""The conformance suite of venues over the live on-chain venue: the chain is set to each case's state, then really traded on."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import Phase, settings
from tests.support.chain import Account

from basis.models.execution import ExecutionHandshake
from basis.models.instruments import AAVE_RESERVES, INSTRUMENTS, InstrumentType
from basis.models.operations import ExecutionMode, ExecutionStatus
from basis.models.venue_config import GasUnits
from basis.testkit.chain.storage import AaveStorage
from basis.testkit.chain.uniswap import MAX
from basis.testkit.chain.world import POOL_FEES
from basis.testkit.conformance.adapter import VenueAdapter
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.chain.abi import ALLOW
from basis.venues.live.chain.amounts import to_tokens, to_units
from basis.venues.live.chain.plan import FLASH_AAVE
from basis.venues.live.chain.receipts import decimals_of
from basis.venues.live.chain.venue import ChainVenue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.order import Order
    from basis.testkit.conformance.cases import Case

_ON_CHAIN = {"wallet", "aave_v3", "etherfi", "lido"}


class Stage:
    """A chain that is set to what a case says, and an event loop to trade on it from tests that are no coroutines.

    Args:
        account: the onboarded wallet.
    """

    def __init__(self, account: Account) -> None:
        account.world.restore()
        self.account, self.world = account, account.world
        self._storage = AaveStorage(account.world)
        self._loop = asyncio.new_event_loop()
        self._venues: dict[Any, ChainVenue] = {}
        self.known: dict[Any, tuple[tuple[ExecutionHandshake, ...], dict[str, float]]] = {}
        """What came of a transaction that was tried out before."""

    def close(self) -> None:
        """Let go of everything."""
        for venue in self._venues.values():
            self._loop.run_until_complete(venue.close())
        self._loop.close()

    def trade(self, orders: Sequence[Order], venue: ChainVenue) -> tuple[ExecutionHandshake, ...]:
        """Prepare and send; a refusal is a failed handshake, as the service answers it."""
        try:
            return self._loop.run_until_complete(_execute(venue, orders))
        except VenueRefusal as refusal:
            return _refused(orders, refusal, self.account)

    def balances(self, venue: ChainVenue, keys: Sequence[str]) -> Mapping[str, float]:
        """What the chain says."""
        return self._loop.run_until_complete(venue.balances(keys))

    def venue(self, holds: Sequence[str], *, emode: bool, **changes: Any) -> ChainVenue:
        """The live venue of a mode, open; kept."""
        key = (tuple(holds), emode, repr(changes))
        if key not in self._venues:
            fields = {"least_health_factor": 1.0} | changes
            account = self.account
            destinations = dict.fromkeys(("binance", "bybit", "okx"), account.exchange) | {"client": account.client}
            config = account.changed(destinations=destinations, **fields)
            made = ChainVenue(config, *account.secrets(), account.clock, emode=emode, holds=frozenset(holds))
            self._loop.run_until_complete(made.open())
            self._venues[key] = made
        return self._venues[key]

    def set(self, ledger: Mapping[str, float], market: Mapping[str, float], *, emode: bool, flash_fee: float) -> None:
        """Prices, rates, indices, pools, and every balance of the account."""
        world, account = self.world, self.account
        world.restore()
        if not emode:
            with world.node.as_sender(account.address) as sender:
                world.aave.pool.send("setUserEMode", 0, sender=sender)
        if flash_fee:
            self._flash_fee(flash_fee)
        self._set_balances({key: amount for key, amount in ledger.items() if key in INSTRUMENTS})
        self._set_market(market)

    def _set_market(self, market: Mapping[str, float]) -> None:
        world = self.world
        ether = market.get("price_usd:ETH", 3000.0)
        world.set_feed("WETH", ether)
        world.set_feed("USDT", market.get("price_usd:USDT", 1.0))
        for lst in ("weETH", "wstETH"):
            rate = market.get(f"oracle_price_eth:{lst}")
            if rate is not None:
                world.pooled[lst].send("rebase", to_units(rate, 18))
                world.set_feed(lst, ether * rate)
        for token in AAVE_RESERVES:
            liquidity, borrow = market.get(f"liquidity_index:{token}"), market.get(f"borrow_index:{token}")
            self._storage.set_indices(token, to_units(liquidity or 1.0, 27), to_units(borrow or 1.0, 27))
        for token in POOL_FEES:
            price = market.get(f"dex_price_eth:{token}", market.get(f"dex:{token}WETH"))
            if price is not None:
                self._move_pool(token, price)

    def _move_pool(self, token: str, price: float) -> None:
        """Swap until the pool is at a price, ETH per token."""
        world = self.world
        given, ether = world.tokens[token], world.tokens["WETH"]
        first = int(given.address, 16) < int(ether.address, 16)
        root = math.isqrt(round((price if first else 1.0 / price) * 2**64) << 128)
        pool = world.uniswap.factory.call("getPool", given.address, ether.address, POOL_FEES[token])
        slot = world.node.rpc("eth_call", {"to": pool, "data": "0x3850c7bd"}, "latest")
        now = int(slot[2:66], 16)
        if abs(root / now - 1.0) < 1e-12:
            return
        falls = root < now  # the first token is sold
        source, target = (given, ether) if falls == first else (ether, given)
        if source.call("allowance", world.owner, world.uniswap.router.address) == 0:
            source.send("approve", world.uniswap.router.address, MAX)
        half = source.call("balanceOf", world.owner) // 2
        world.uniswap.router.send(
            "exactInputSingle", (source.address, target.address, POOL_FEES[token], world.owner, half, 0, root)
        )

    def _set_balances(self, ledger: Mapping[str, float]) -> None:
        world, holder = self.world, self.account.address
        units = {
            key: to_units(amount, decimals_of(key)) for key, amount in ledger.items() if key.split(":")[0] in _ON_CHAIN
        }
        world.node.fund(holder, units.get("wallet:BaseToken:ETH", 0))
        supplied, owed = {}, {}
        for key, amount in units.items():
            found = INSTRUMENTS[key]
            if found.type is InstrumentType.A_TOKEN:
                supplied[found.underlying] = amount
            elif found.type is InstrumentType.DEBT_TOKEN:
                owed[found.underlying] = amount
            elif found.venue in {"etherfi", "lido"} and found.type is InstrumentType.BASE_TOKEN:
                self._claim(found.venue, amount)
            elif amount and found.symbol != "ETH":
                world.give(holder, found.symbol, amount)
        for token, amount in ((one, units) for one, units in owed.items() if units):  # what is repaid leaves the total
            world.aave.pool.send("borrow", world.tokens[token].address, 2 * amount, 2, 0, world.owner)
        self._storage.set_account(holder, supplied, owed)

    def _claim(self, venue: str, amount: int) -> None:
        """A request in a queue, made by someone for the account."""
        world = self.world
        base = world.pooled["weETH" if venue == "etherfi" else "wstETH"]
        if amount == 0:
            return
        if venue == "lido":
            lst, queue = world.tokens["wstETH"], world.queues["wstETH"]
            lst.send("approve", queue.address, MAX)
            queue.send("requestWithdrawalsWstETH", [-(-amount * 10**18 // base.call("rate"))], self.account.address)
            return
        base.send("deposit", value=2 * amount)
        base.send("approve", base.address, amount)
        base.send("requestWithdraw", self.account.address, amount)

    def _flash_fee(self, fee: float) -> None:
        """Aave lends, at a fee."""
        world, pool = self.world, self.account.config.aave.pool
        world.aave.set_flash_premium(round(fee * 1e4))
        with world.node.as_sender(self.account.address) as sender:
            world.node.send(sender, self.account.config.executor, ALLOW.data(FLASH_AAVE, [pool], True))


class LiveCore(VenueAdapter):
    """Answers the questions of a conformance suite with the live venue; inherit it before the cases."""

    SIMULATED = False
    EVIDENCE: ClassVar[Mapping[str, str]] = {"transaction": "0x[0-9a-f]{64}"}
    GAS_ROUNDING = 1e-12
    stage: ClassVar[Stage]

    @pytest.fixture(autouse=True)
    def _on_stage(self, stage: Stage) -> None:
        type(self).stage = stage
        self._asked: set[Any] = set()

    def transact(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float], tick: int = 3
    ) -> tuple[Sequence[ExecutionHandshake], Mapping[str, float]]:
        """One transaction on the chain, the ledger after it is the chain's; many checks look at the same transaction."""
        del tick
        key = (type(self), *(order.model_dump_json() for order in orders), *ledger.items(), *market.items())
        if key not in self.stage.known:
            self.stage.known[key] = self._traded(orders, ledger, market)
        self._asked.add(key)
        handshakes, after = self.stage.known[key]
        return handshakes, dict(after)

    def forget(self) -> None:
        """What this test has traded is traded again."""
        for key in self._asked:
            self.stage.known.pop(key, None)

    def examples(self, wanted: int) -> settings:
        """Two: the simplest, which tells little, and a drawn one. Each is a transaction; one that fails is not made simpler."""
        return settings(max_examples=min(wanted, 2), phases=[Phase.generate], database=None)

    def gas_of(self, handshakes: Sequence[ExecutionHandshake], case: Case) -> list[float]:
        """What the receipt says, shared among the orders of the transaction by their typical units."""
        receipt = handshakes[0].execution_details
        paid = float(str(receipt["gas_units"])) * float(str(receipt["gas_price_gwei"])) * 1e-9
        typical = [float(getattr(GasUnits(), order.operation)) for order in case.orders]
        return [paid * units / sum(typical) for units in typical]

    def without_id(self, handshake: ExecutionHandshake) -> ExecutionHandshake:
        """The id is handed back; nothing on the chain is made from it."""
        return handshake.model_copy(update={"operation_id": ""})

    def _traded(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float]
    ) -> tuple[tuple[ExecutionHandshake, ...], dict[str, float]]:
        stage, venue = self.stage, self._venue(ledger, market)
        handshakes = stage.trade(orders, venue)
        self._assert_on_chain(venue, _moved(_whole_units(ledger), handshakes), handshakes)
        return handshakes, _moved(ledger, handshakes)

    def positions(self, ledger: Mapping[str, float]) -> Mapping[str, float]:
        """The chain's own balances; what exchanges hold is not the chain's to say."""
        keys = self.config().position_subscriptions
        venue = self._venue(ledger, self.accepted()[0].market)
        return {key: ledger.get(key, 0.0) for key in keys} | dict(self.stage.balances(venue, _chain_keys(keys)))

    def _venue(self, ledger: Mapping[str, float], market: Mapping[str, float]) -> ChainVenue:
        changes: dict[str, dict[str, Any]] = getattr(self, "CHANGES", {})
        emode, fee = bool(changes.get("aave_v3", {}).get("emode")), changes.get("morpho", {}).get("fee", 0.0)
        self.stage.set(ledger, market, emode=emode, flash_fee=fee)
        lender = {"flash": {"kind": "aave", "lender": self.stage.account.config.aave.pool}} if fee else {}
        return self.stage.venue(self.config().position_subscriptions, emode=emode, **lender)

    def _assert_on_chain(
        self, venue: ChainVenue, after: Mapping[str, float], handshakes: Sequence[ExecutionHandshake]
    ) -> None:
        """The handshakes' deltas are what the chain did: its balances are the ledger's."""
        keys = _chain_keys(self.config().position_subscriptions)
        for key, held in self.stage.balances(venue, keys).items():
            assert held == pytest.approx(after.get(key, 0.0), rel=1e-9, abs=1e-12), (key, held, handshakes)


def _moved(ledger: Mapping[str, float], handshakes: Sequence[ExecutionHandshake]) -> dict[str, float]:
    """A ledger after what the handshakes say."""
    after = dict(ledger)
    for handshake in handshakes:
        for key, delta in handshake.actual_deltas.items():
            after[key] = after.get(key, 0.0) + delta
    return after


def _whole_units(ledger: Mapping[str, float]) -> dict[str, float]:
    """What a chain can hold of a ledger: a drawn balance has more digits than the token."""
    held = _chain_keys([key for key in ledger if key in INSTRUMENTS])
    return {key: to_tokens(to_units(ledger[key], decimals_of(key)), decimals_of(key)) for key in held}


def _chain_keys(keys: Sequence[str]) -> list[str]:
    return [key for key in keys if key.split(":")[0] in _ON_CHAIN]


async def _execute(venue: ChainVenue, orders: Sequence[Order]) -> tuple[ExecutionHandshake, ...]:
    return await venue.send(orders, await venue.prepare(orders))


def _refused(orders: Sequence[Order], refusal: VenueRefusal, account: Account) -> tuple[ExecutionHandshake, ...]:
    atomic = orders[0].execution_mode is ExecutionMode.ATOMIC
    return tuple(
        ExecutionHandshake(
            operation_id=order.operation_id,
            status=ExecutionStatus.ROLLED_BACK if atomic else ExecutionStatus.FAILED,
            error_code="EXEC-005" if atomic else refusal.error_code,
            error_message=f"[{refusal.error_code}] {refusal.message}" if atomic else refusal.message,
            submitted_at=account.clock.now(),
            simulated=False,
        )
        for order in orders
    )
