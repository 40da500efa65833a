"""The on-chain account as a :class:`~basis.venues.live.interface.LiveVenue`: wallet, Aave, stakers, DEX and flash loans in one.

Every order but a transfer, and every atomic group, is one transaction of our executor contract. One transaction of the wallet
at a time: an order is prepared only when no other waits to be mined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from basis.models.instruments import TOKEN_DECIMALS, Venue, wallet_token
from basis.models.operations import OperationType
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.chain import abi
from basis.venues.live.chain.amounts import to_units
from basis.venues.live.chain.claims import Claims, EtherfiRequests
from basis.venues.live.chain.handshakes import Handshakes
from basis.venues.live.chain.history import History
from basis.venues.live.chain.market import Market
from basis.venues.live.chain.onboarding import missing_permissions
from basis.venues.live.chain.plan import Quote, compile_plan, swapped, touched
from basis.venues.live.chain.receipts import Decoder
from basis.venues.live.chain.rpc import COMPONENT, Read, Rpc
from basis.venues.live.chain.sending import Call, cancelling, gas_reserve, sign
from basis.venues.live.chain.state import Book, State, read_book, read_state
from basis.venues.live.chain.tracker import Fate, Reference, Tracker
from basis.venues.live.chain.wallet import Fees, Wallet
from basis.venues.live.errors import Fatal, UnknownOutcome
from basis.venues.live.interface import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pydantic import SecretStr

    from basis.models.chain_config import OnChainConfig
    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement
    from basis.models.order import Order
    from basis.runtime.clock import Clock

ON_CHAIN: Final = (Venue.WALLET, Venue.AAVE_V3, Venue.LIDO, Venue.ETHERFI, Venue.UNISWAP, Venue.MORPHO)
"""Venues that one :class:`ChainVenue` stands for."""
_OFFERED: Final = {
    Venue.WALLET: {OperationType.TRANSFER},
    Venue.AAVE_V3: {OperationType.SUPPLY, OperationType.BORROW, OperationType.REPAY, OperationType.WITHDRAW},
    Venue.LIDO: {OperationType.STAKE, OperationType.UNSTAKE},
    Venue.ETHERFI: {OperationType.STAKE, OperationType.UNSTAKE},
    Venue.UNISWAP: {OperationType.SWAP},
    Venue.MORPHO: {OperationType.FLASH_BORROW, OperationType.FLASH_REPAY},
}


class ChainVenue:
    """Ethereum.

    Args:
        config: addresses, confirmations, fees, limits.
        rpc_url: JSON-RPC address of a node; a secret, for it may hold a key.
        key: the wallet's private key, hex.
        clock: wall clock of the run; real patience.
        emode: True: the account must be in the configured e-mode; False: in none.
        holds: instruments of the mode; gas is a delta only where ``wallet:BaseToken:ETH`` is one of them.

    Raises:
        InputError: VEN-005, the key is none.
    """

    name = "wallet"
    operations = frozenset().union(*_OFFERED.values())
    venues = frozenset(ON_CHAIN)

    def __init__(
        self,
        config: OnChainConfig,
        rpc_url: SecretStr,
        key: SecretStr,
        clock: Clock,
        *,
        emode: bool = False,
        holds: frozenset[str] | None = None,
    ) -> None:
        self._config, self._clock = config, clock
        self._emode = config.aave.emode_category if emode else 0
        self._holds = holds
        self._wallet = Wallet(key)
        self._rpc = Rpc(rpc_url, config.request_timeout_s)
        self._tracker = Tracker(self._rpc, config, clock)
        self._requests = EtherfiRequests(self._rpc, config)
        self._book: Book | None = None

    @property
    def address(self) -> str:
        """The wallet's address."""
        return self._wallet.address

    async def open(self) -> None:
        """Check chain, contracts, ownership, permissions and e-mode.

        Raises:
            Fatal: CONFIG-003 another chain, a wrong address, no executor, or a wallet that is not onboarded; names what.
            Retryable: the node does not answer.
        """
        if int(await self._rpc.ask(self._rpc.w3.eth.chain_id)) != self._config.chain_id:
            raise Fatal("CONFIG-003", f"the node is not on chain {self._config.chain_id}", COMPONENT)
        if self._config.executor is None:
            raise Fatal("CONFIG-003", "executor: none is configured: deploy it first (docs/how-to/go-live)", COMPONENT)
        book = await read_book(self._rpc, self._config, self.address, self._config.executor)
        missing = await missing_permissions(self._rpc, self._config, book, self._emode)
        if missing:
            raise Fatal("CONFIG-003", f"the wallet is not onboarded: {'; '.join(missing[:5])}", COMPONENT)
        self._book = book

    async def close(self) -> None:
        """Let go of connections."""
        await self._rpc.close()

    async def prepare(self, orders: Sequence[Order]) -> Prepared:
        """Check against balances and rules, quote, dry-run, sign; send nothing.

        Raises:
            VenueRefusal: VEN-001, VEN-007, VEN-008, VEN-009, VEN-012, VEN-013.
            Retryable: the node does not answer, the oracle is stale, or another transaction is pending.
        """
        _check_offered(orders)
        for order in orders:
            self._check_held(order)
        state = await self._state()
        if orders[0].operation is OperationType.TRANSFER:
            reference = await self._transfer(orders, state)
        else:
            reference = await self._execute(orders, state)
        ids = tuple(order.operation_id for order in orders)
        return Prepared(ids, self.name, reference.model_dump(mode="json"))

    def prepare_at_once(self, orders: Sequence[Order]) -> Prepared | None:
        """Never: nonce, gas, quotes and the dry run are asked of the node."""
        del orders
        return None

    async def send(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        """Broadcast, replace at rising fees, wait for confirmations; deltas from the receipt."""
        submitted = self._clock.now()
        reference = Reference.model_validate(prepared.reference)
        outcome = await self._tracker.send(reference)
        return await self._handshakes().answer(orders, reference, outcome, submitted)

    async def resolve(self, orders: Sequence[Order], prepared: Prepared) -> tuple[ExecutionHandshake, ...]:
        """What became of it: VEN-014 where the node does not know it and its nonce is free (send may follow with the same
        ``prepared``), VEN-017 where it can never happen any more (prepare anew)."""
        submitted = self._clock.now()
        reference = Reference.model_validate(prepared.reference)
        outcome = await self._tracker.settle(reference)
        return await self._handshakes().answer(orders, reference, outcome, submitted)

    async def cancel_all(self) -> int:
        """Push every transaction of the wallet that waits out of the node's pool by an empty one with its nonce.

        Raises:
            UnknownOutcome, Retryable: it is not known yet whether it went.
        """
        state = await self._state()
        count = state.pending - state.nonce
        for nonce in range(state.nonce, state.pending):
            above = await self._fees_of(nonce)
            reference = cancelling(self._config, self._wallet, nonce, state.block.base_fee, above)
            outcome = await self._tracker.send(reference)
            if outcome.fate is Fate.OPEN:
                raise UnknownOutcome(
                    "VEN-010", f"transaction {nonce} could not be cancelled yet: {outcome.reason}", COMPONENT
                )
        return count

    async def balances(self, keys: Sequence[str]) -> Mapping[str, float]:
        """What the chain says is there; keys of other venues are left out."""
        return await self._market().balances(keys, await self._claims().outstanding())

    async def settlements(self, since: datetime, until: datetime) -> Sequence[Settlement]:
        """Arrivals, claims, liquidations in the blocks of (since, until]; ``tick`` is 0, ``details["timestamp"]`` says when."""
        return await self._history().settlements(since, until)

    async def market(self, columns: Sequence[str]) -> Mapping[str, tuple[float, datetime]]:
        """Indices, oracle and pool prices, rates, totals, gas, at the last block; other columns are left out."""
        return await self._market().columns(columns)

    async def claim(self) -> int:
        """Claim everything that has left a staker's queue, one transaction each; returns how many.

        Harmless to repeat: a protocol pays a request once. What arrived is among :meth:`settlements`.
        """
        count = 0
        for call in await self._claims().ready():
            state = await self._state()
            reference = await sign(self._rpc, self._wallet, self._config, state, call)
            outcome = await self._tracker.send(reference)
            if outcome.fate is not Fate.DONE:
                raise UnknownOutcome("VEN-010", f"claim not confirmed: {outcome.reason}", COMPONENT)
            count += 1
        return count

    # ---------------------------------------------------------------------------------------------------- inside

    def _check_held(self, order: Order) -> None:
        """A mode that does not hold an instrument may not move it."""
        missing = sorted(touched(order) - self._holds) if self._holds is not None else []
        if missing:
            message = f"the mode does not hold {missing[0]!r}: add it to position_subscriptions"
            raise VenueRefusal("VEN-001", message, COMPONENT)

    async def _execute(self, orders: Sequence[Order], state: State) -> Reference:
        quotes = await self._quotes(orders)
        reserve = gas_reserve(state, self._config, len(orders))
        plan = compile_plan(orders, self._config, self._there(), state, quotes, reserve)
        deadline = state.block.timestamp + self._config.deadline_s
        data = abi.EXECUTE.data(plan.steps, plan.returned, plan.least_health, deadline)
        call = Call(self._there().executor, data, plan.value)
        return await sign(self._rpc, self._wallet, self._config, state, call, plan.owners, deadline)

    async def _transfer(self, orders: Sequence[Order], state: State) -> Reference:
        """Ether or tokens to an address of the configuration; ether first out of WETH would be two transactions: refused."""
        order = orders[0]
        if len(orders) > 1:
            raise VenueRefusal("VEN-009", "a transfer shares no transaction with other orders", COMPONENT)
        if order.source_venue != Venue.WALLET:
            raise VenueRefusal("VEN-001", f"transfer from {order.source_venue} is not for the wallet", COMPONENT)
        if order.target_venue == Venue.WALLET:
            raise VenueRefusal("VEN-009", "transfer from the wallet to itself", COMPONENT)
        target = self._config.destinations.get(order.target_venue or "")
        if target is None:
            known = ", ".join(self._config.destinations) or "none"
            message = f"no address of {order.target_venue!r} is configured: destinations: {known}"
            raise VenueRefusal("VEN-001", message, COMPONENT)
        token = wallet_token(order.source_token or "")
        if token != "ETH" and token not in self._there().tokens:
            raise VenueRefusal("VEN-001", f"unknown token {order.source_token!r}", COMPONENT)
        units = to_units(order.amount, TOKEN_DECIMALS[token])
        if units == 0:
            raise VenueRefusal("VEN-007", f"{order.amount!r} {token} is less than its smallest unit", COMPONENT)
        held = state.native if token == "ETH" else state.units[token]
        if units > held:
            decimals = TOKEN_DECIMALS[token]
            message = f"transfer of {order.amount!r} {token}: only {held / 10**decimals!r} there"
            raise VenueRefusal("VEN-008", message, COMPONENT)
        if token == "ETH":
            call = Call(target, "0x", units)
        else:
            call = Call(self._there().tokens[token], abi.TRANSFER.data(target, units), 0)
        return await sign(self._rpc, self._wallet, self._config, state, call)

    async def _quotes(self, orders: Sequence[Order]) -> dict[int, Quote]:
        """What pools pay for the swaps among the orders.

        Raises:
            VenueRefusal: VEN-001 no such pair; VEN-009 the pool cannot pay for it.
        """
        uniswap, book, found = self._config.uniswap, self._there(), {}
        for place, order in enumerate(orders):
            if order.operation is not OperationType.SWAP or uniswap is None:
                continue
            source, target = swapped(order, book)
            units = to_units(order.amount, TOKEN_DECIMALS[source])
            fee = uniswap.fees[target if source == "WETH" else source]
            asked = (book.tokens[source], book.tokens[target], units, fee, 0)
            (answer,) = await self._rpc.read([Read(uniswap.quoter, abi.QUOTE, (asked,))])
            if answer is None or units == 0:
                raise VenueRefusal("VEN-009", f"no quote for {order.amount!r} {source} to {target}", COMPONENT)
            found[place] = Quote(units, answer[0])
        return found

    async def _fees_of(self, nonce: int) -> Fees:
        """Fees of the wallet's pending transaction with a nonce; the cap where the node does not show it."""
        (block,) = await self._rpc.batch([("eth_getBlockByNumber", ["pending", True])])
        for one in block["transactions"] if block else ():
            if abi.same(one["from"], self.address) and int(one["nonce"], 16) == nonce and "maxFeePerGas" in one:
                return Fees(int(one["maxFeePerGas"], 16), int(one["maxPriorityFeePerGas"], 16))
        cap = round(self._config.fees.cap_gwei * 10**9)
        return Fees(cap, min(cap, round(self._config.fees.tip_gwei * 10**9 * self._config.fees.bump_factor**16)))

    async def _state(self) -> State:
        return await read_state(self._rpc, self._config, self._there(), self._clock.now().timestamp())

    def _there(self) -> Book:
        if self._book is None:
            raise Fatal("ENGINE-002", "the venue is not open", COMPONENT)
        return self._book

    def _decoder(self) -> Decoder:
        return Decoder(self._config, self._there())

    def _handshakes(self) -> Handshakes:
        return Handshakes(self._rpc, self._decoder(), self._there(), self._clock, self._holds)

    def _claims(self) -> Claims:
        return Claims(self._rpc, self._config, self._there(), self._requests)

    def _market(self) -> Market:
        return Market(self._rpc, self._config, self._there(), self._clock)

    def _history(self) -> History:
        return History(self._rpc, self._config, self._there(), self._decoder(), self._holds)


def _check_offered(orders: Sequence[Order]) -> None:
    for order in orders:
        offered = _OFFERED.get(order.venue)  # type: ignore[call-overload]
        if offered is None or order.operation not in offered:
            by = [str(venue) for venue, operations in _OFFERED.items() if order.operation in operations]
            message = (
                f"{order.venue} does not offer {order.operation}; offered by: {', '.join(by) or 'no venue on chain'}"
            )
            raise VenueRefusal("VEN-001", message, COMPONENT)
