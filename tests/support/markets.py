"""Everything that the ten strategies trade on: the test chain, three exchanges, and who carries money between them."""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from tests.support.live_cex import WALLETS, live_config
from tests.support.warp import NODE, chain_factories, keep_up

from basis.models.instruments import TOKEN_DECIMALS
from basis.testkit.exchange import ExchangeServer
from basis.venues.live.cex.clients import Credentials
from basis.venues.live.cex.venue import LiveExchange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.chain import Account

    from basis.models.config import RunConfig
    from basis.runtime.clock import Clock

EXCHANGES = ("binance", "bybit", "okx")
TOKENS = ("USDT", "ETH")
_FEED_DEVIATION = 0.005


class Markets:
    """The counterparts of live runs.

    Args:
        account: wallet on the test chain; None where a mode has none.
        clock: whose time they keep.
        data: catalogue whose bars and funding the exchanges replay.
        rpc_path: what comes after the node's address, e.g. a key.
    """

    def __init__(self, account: Account | None, clock: Clock, data: Path, rpc_path: str = "") -> None:
        self.account, self.clock = account, clock
        self.servers = {
            venue: ExchangeServer(venue, clock=lambda: int(clock.now().timestamp() * 1000)) for venue in EXCHANGES
        }
        self._data = data
        self._rpc_path = rpc_path
        self._paid: set[str] = set()
        self._received: dict[tuple[str, str], int] = {}
        self._carried = 0
        self._told_usd = float("inf")

    @contextmanager
    def open(self) -> Iterator[None]:
        """Exchanges up."""
        with contextlib.ExitStack() as stack:
            for server in self.servers.values():
                stack.enter_context(server)
                server.exchange.replay(self._data)
            if self.account is not None:
                for venue, address in self._addresses().items():
                    for token in TOKENS:
                        self._received[venue, token] = self.account.world.units(token, address)
            yield

    def _addresses(self) -> dict[str, str]:
        """Deposit address of each exchange."""
        assert self.account is not None
        return {venue: self.account.node.accounts[4 + place] for place, venue in enumerate(EXCHANGES)}

    def factories(self) -> Mapping[str, Any]:
        """Makers of live interfaces."""

        def make(venue: str, config: RunConfig, clock: Clock) -> LiveExchange:
            server = self.servers[venue]
            keys = server.credentials
            secrets = Credentials(SecretStr(keys.key), SecretStr(keys.secret), SecretStr(keys.password))
            targets: dict[str, Any] = {}
            if self.account is not None:
                where = {token: {"address": self.account.address, "network": "ERC20"} for token in TOKENS}
                targets = {"wallet": where, "client": where}
            settings = live_config(server.url, withdrawal_addresses=targets, request_timeout_s=10, recv_window_ms=5000)
            return LiveExchange(venue, config.position_subscriptions, settings, secrets, clock)

        found: dict[str, Any] = dict.fromkeys(EXCHANGES, make)
        if self.account is not None:
            destinations = self._addresses() | {"client": self.account.client}
            found |= chain_factories(self.account, self.clock, self._carry, self._rpc_path, destinations=destinations)
        return found

    def fund(self, venue: str, token: str, amount: float) -> None:
        """Money on an exchange before a run."""
        self.servers[venue].exchange.deposit(WALLETS[venue][0], token, amount)

    def _carry(self) -> None:
        """Deposits and withdrawals arrive, and the oracle follows the exchanges: once before each tick."""
        assert self.account is not None
        with NODE:
            self._follow_prices(self.account)
            self._to_exchanges(self.account)
        for venue, server in self.servers.items():
            with server.lock:
                server.exchange.advance(server.exchange.now_ms())
                done = [
                    movement
                    for movement in server.exchange.account.movements
                    if movement.kind == "withdrawal" and movement.status == "done"
                ]
            for movement in done:
                if (name := f"{venue}/{movement.id}") not in self._paid:
                    self._paid.add(name)
                    units = int((movement.amount - movement.fee) * 10 ** TOKEN_DECIMALS[movement.asset])
                    with NODE:
                        self._pay(movement.address, movement.asset, units)

    def _follow_prices(self, account: Account) -> None:
        """As real feeds do: told anew once the price has moved by half a percent."""
        tape = self.servers["binance"].exchange.tapes["ETHUSDT", "spot"]
        price = float(tape.price(round(self.clock.now().timestamp() * 1000)))
        if abs(price / self._told_usd - 1.0) > _FEED_DEVIATION:
            self._told_usd = price
            account.world.set_prices(price)

    def _to_exchanges(self, account: Account) -> None:
        """What reached a deposit address on chain is seen by its exchange."""
        keep_up(account, self.clock)
        for venue, address in self._addresses().items():
            for token in TOKENS:
                units = account.world.units(token, address)
                more = units - self._received[venue, token]
                self._received[venue, token] = units
                if more > 0:
                    amount = Decimal(more) / 10 ** TOKEN_DECIMALS[token]
                    self._carried += 1
                    with self.servers[venue].lock:
                        self.servers[venue].exchange.receive(token, amount, f"0x{self._carried:064x}")

    def _pay(self, address: str, token: str, units: int) -> None:
        """A transaction to the wallet: ether as a transfer, so that it is in a block."""
        assert self.account is not None
        if token == "ETH":
            sender = self.account.node.accounts[9]
            self.account.node.fund(sender, self.account.node.balance(sender) + units + 10**18)
            self.account.node.send(sender, address, value=units)
        else:
            self.account.world.give(address, token, units)
