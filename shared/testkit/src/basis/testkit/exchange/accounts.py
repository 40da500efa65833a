"""What an account of a local exchange holds: wallets, positions, orders, trades and what moved in and out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from basis.testkit.exchange.instruments import Listing


class Why(StrEnum):
    """Why an exchange refuses; each face says it in its own code and words."""

    BALANCE = "insufficient balance"
    MARGIN = "insufficient margin"
    LOT = "amount is no multiple of the lot"
    TICK = "price is no multiple of the tick"
    NOTIONAL = "notional below the least"
    SYMBOL = "unknown symbol"
    DUPLICATE = "client order id is used"
    NO_ORDER = "order does not exist"
    REDUCE_ONLY = "reduce-only order would not reduce"
    POST_ONLY = "post-only order would take"
    WITHDRAWAL = "withdrawal is not possible"
    DUPLICATE_WITHDRAWAL = "withdrawal id is used"
    PARAMETER = "parameter is wrong"
    REJECTED = "rejected"
    KEY = "API key is unknown"
    SIGNATURE = "signature is wrong"
    CLOCK = "timestamp is outside of the receive window"
    RATE = "too many requests"
    BANNED = "banned for too many requests"
    UNAVAILABLE = "internal error"
    PATH = "no such path"


class Refused(Exception):
    """The exchange refuses a request."""

    def __init__(self, why: Why, detail: str = "") -> None:
        super().__init__(f"{why}: {detail}" if detail else str(why))
        self.why, self.detail = why, detail


@dataclass
class Position:
    """A perp of an account, one-way mode."""

    amount: Decimal = Decimal(0)
    """Signed: base units, or USD where inverse."""
    entry: Decimal = Decimal(0)
    """Mean price."""
    leverage: Decimal = Decimal(20)
    """As set by the account; margin is computed with the exchange's own limit."""


@dataclass
class Order:
    """An order, and what became of it."""

    id: int
    client: str
    listing: Listing
    buy: bool
    type: str
    """market or limit."""
    amount: Decimal
    price: Decimal | None
    tif: str
    """GTC, IOC, FOK, or PO for post-only."""
    reduce_only: bool
    created_ms: int
    updated_ms: int
    trigger: Decimal | None = None
    """Price that wakes it; None once it is live."""
    trigger_above: bool = False
    """Wakes at or above the trigger, else at or below."""
    purpose: str = ""
    """take_profit or stop_loss of a conditional order."""
    parent: int | None = None
    """Order that it was attached to."""
    filled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    """Sum of amount x price; of amount / price where inverse."""
    status: str = "open"
    """waiting (for its trigger), open, filled, canceled, expired, rejected."""
    hold: Decimal = Decimal(0)
    """What it locks of a spot balance."""

    @property
    def sign(self) -> int:
        """+1 buys, -1 sells."""
        return 1 if self.buy else -1

    @property
    def rest(self) -> Decimal:
        """Not filled."""
        return self.amount - self.filled

    @property
    def average(self) -> Decimal:
        """Mean price of the fills; 0 without."""
        if not self.filled:
            return Decimal(0)
        return self.filled / self.cost if self.listing.kind == "inverse" else self.cost / self.filled

    @property
    def hold_asset(self) -> str:
        """Asset that a resting spot order locks."""
        return self.listing.quote if self.buy else self.listing.base


class Trade(NamedTuple):
    """One fill."""

    id: int
    order: Order
    amount: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    pnl: Decimal
    """Realised, in the settlement asset."""
    at_ms: int
    maker: bool


class Income(NamedTuple):
    """What a margin account was paid or charged beside trades."""

    id: int
    listing: Listing
    kind: str
    """funding or liquidation."""
    asset: str
    amount: Decimal
    """Signed."""
    position: Decimal
    price: Decimal
    rate: Decimal
    at_ms: int


@dataclass
class Movement:
    """A withdrawal or deposit."""

    id: str
    kind: str
    """withdrawal or deposit."""
    asset: str
    amount: Decimal
    """What leaves the account in all, or reaches it."""
    fee: Decimal
    address: str
    network: str
    created_ms: int
    due_ms: int
    """When it is done."""
    client: str = ""
    txid: str = ""
    status: str = "pending"
    """pending, done, failed."""


@dataclass
class Account:
    """All that one owner has at an exchange."""

    wallets: dict[str, dict[str, Decimal]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Decimal)))
    """Wallet -> asset -> balance, held for orders included."""
    held: dict[str, dict[str, Decimal]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Decimal)))
    """Wallet -> asset -> held for resting orders."""
    positions: dict[tuple[str, str], Position] = field(default_factory=lambda: defaultdict(Position))
    """(symbol, kind) -> position."""
    orders: dict[int, Order] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    income: list[Income] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    transfers: list[tuple[str, str, str, Decimal]] = field(default_factory=list)
    """From wallet, to wallet, asset, amount: transfers inside the account."""
