"""A live exchange of ours and a local one behind it, driven from sync tests: one event loop for both lives."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import SecretStr

from basis.models.live_cex_config import CexLiveConfig
from basis.models.operations import ExecutionStatus
from basis.models.order import Order
from basis.runtime.clock import SystemClock
from basis.testkit.exchange import ExchangeServer
from basis.venues.live.cex.clients import Credentials
from basis.venues.live.cex.venue import LiveExchange

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from basis.models.execution import ExecutionHandshake
    from basis.runtime.clock import Clock
    from basis.venues.live.interface import Prepared

T = TypeVar("T")
ADDRESS = "0x" + "34" * 20
WALLETS = {"binance": ("spot", "linear", "inverse"), "bybit": ("unified", "fund"), "okx": ("trading", "funding")}
HOME = {"binance": "linear", "bybit": "unified", "okx": "trading"}
CASH = {"binance": "spot", "bybit": "fund", "okx": "funding"}


def keys_of(venue: str) -> list[str]:
    """All that a mode can hold at a venue, and the wallet that it sends to."""
    own = ["BaseToken:USDT", "BaseToken:ETH", "BaseToken:BTC", "Perp:ETHUSDT", "Perp:BTCUSDT"]
    own += ["Perp:BTCUSD"] if venue == "binance" else []
    others = [f"{place}:BaseToken:{token}" for place in ("wallet", "transit") for token in ("USDT", "ETH")]
    return [*(f"{venue}:{key}" for key in own), *others]


def live_config(url: str, **changes: Any) -> CexLiveConfig:
    """Short waits and windows, yet long enough for a machine with other work."""
    target = {"USDT": {"address": ADDRESS, "network": "ERC20"}, "ETH": {"address": ADDRESS, "network": "ERC20"}}
    fields: dict[str, Any] = {
        "base_url": url,
        "recv_window_ms": 1000,
        "request_timeout_s": 5,
        "max_clock_skew_ms": 100,
        "retry_wait_s": 0.02,
        "fill_wait_s": 0.2,
        "rate_limit": False,
        "withdrawal_addresses": {"wallet": target, "client": target, "okx": target},
    }
    return CexLiveConfig.model_validate(fields | changes)


def live_exchange(server: ExchangeServer, config: CexLiveConfig, clock: Clock) -> LiveExchange:
    """Our interface to the account of a local exchange, not opened."""
    keys = server.credentials
    secrets = Credentials(SecretStr(keys.key), SecretStr(keys.secret), SecretStr(keys.password))
    return LiveExchange(server.venue, keys_of(server.venue), config, secrets, clock)


class Stage:
    """One venue on stage.

    Args:
        venue: binance, bybit or okx.
        **changes: of the live configuration.
    """

    def __init__(self, venue: str, **changes: Any) -> None:
        self.venue = venue
        self.server = ExchangeServer(venue)
        self._changes = changes
        self._runner = asyncio.Runner()
        self._orders = 0

    def __enter__(self) -> Self:
        self.server.__enter__()
        self.live = self.make()
        self.fill()
        self.run(self.live.open())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.live.close())
        self._runner.close()
        self.server.__exit__()

    def make(self, **changes: Any) -> LiveExchange:
        """Another live exchange at the same account: a process that was started again."""
        return live_exchange(self.server, live_config(self.server.url, **(self._changes | changes)), SystemClock())

    def fill(self, usdt: float = 100_000, btc: float = 1.0) -> None:
        """Money where it counts as margin."""
        self.server.exchange.deposit(HOME[self.venue], "USDT", usdt)
        self.server.exchange.deposit("inverse" if self.venue == "binance" else HOME[self.venue], "BTC", btc)

    def impatient(self, seconds: float = 0.3) -> Self:
        """Requests time out soon, until the next :meth:`fresh`: a loaded machine must not look like a lost answer."""
        self.live._link.client.timeout = round(1000 * seconds)
        return self

    def fresh(self) -> Self:
        """Another account, as new."""
        self.server.reset()
        self.live._link.client.timeout = 5000
        self.fill()
        self.live._wallets.touch("USDT", "ETH", "BTC")
        self.live._trades.exits_at.clear()
        self.live._seen.clear()  # another account counts its orders from the same number on
        return self

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for it."""
        return self._runner.run(coroutine)

    # ------------------------------------------------------------------------------------------------------ orders

    def order(self, operation: str, **fields: Any) -> Order:
        """An order with an id of its own."""
        self._orders += 1
        common = {
            "operation_id": f"{id(self):x}-{self._orders}",
            "operation": operation,
            "venue": self.venue,
            "strategy_intent": "entry_full",
            "strategy_id": "test",
        }
        return Order.model_validate(common | fields)

    def trade(self, kind: str, side: str, amount: float, pair: str = "ETHUSDT", **fields: Any) -> Order:
        """A spot or perp trade."""
        return self.order(f"{kind}_trade", side=side, amount=amount, pair=pair, **fields)

    def withdrawal(self, amount: float, token: str = "USDT", target: str = "wallet") -> Order:
        """Out of the exchange."""
        return self.order("transfer", source_venue=self.venue, target_venue=target, source_token=token, amount=amount)

    def prepare(self, order: Order) -> Prepared:
        """Only that."""
        return self.run(self.live.prepare([order]))

    def send(self, order: Order, prepared: Prepared | None = None) -> ExecutionHandshake:
        """Prepare where nobody has, and send."""
        (found,) = self.run(self.live.send([order], prepared or self.prepare(order)))
        return found

    def resolve(self, order: Order, prepared: Prepared) -> ExecutionHandshake:
        """Ask what became of it."""
        (found,) = self.run(self.live.resolve([order], prepared))
        return found

    def carry_out(self, order: Order, prepared: Prepared, most: int = 12) -> ExecutionHandshake:
        """As the execution service does: send, resolve while pending, send again only where it never arrived."""
        found = self.send(order, prepared)
        for _ in range(most):
            if found.status is ExecutionStatus.PENDING:
                found = self.resolve(order, prepared)
            elif found.error_code in {"VEN-002", "VEN-003", "VEN-006", "VEN-014"}:  # proved not to be there
                found = self.send(order, prepared)
            else:
                break
        return found

    def balances(self) -> Mapping[str, float]:
        """What the exchange says."""
        return self.run(self.live.balances([key for key in keys_of(self.venue) if key.startswith(self.venue)]))

    def traded(self, symbol: str, kind: str) -> Decimal:
        """Sum of all fills at the exchange, signed."""
        listing = self.server.exchange.listings[symbol, kind]
        trades = self.server.exchange.trades_of(listing)
        return sum((trade.order.sign * trade.amount for trade in trades), Decimal(0))
