"""What centralised exchanges accept and refuse, simulated or live, and their suite; not yet who answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.support.on_chain_cases import transfer
from tests.support.venue_cases import ETH, OP, USDT, VenueCases
from tests.support.venues import order

from basis.testkit.conformance.exchange import ExchangeConformance

if TYPE_CHECKING:
    from basis.models.order import Order
    from basis.testkit.conformance.cases import Case


class ExchangeCases(VenueCases, ExchangeConformance):
    """The same account on each exchange: both coins, both perps, one of them short."""

    VENUE = "binance"
    OFFERED = frozenset({OP.SPOT_TRADE, OP.PERP_TRADE, OP.TRANSFER})
    SHARE_CLASS = "USDT"
    OTHERS: ClassVar[tuple[str, ...]] = (USDT, ETH)
    MARKET: ClassVar[dict[str, float]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keys and balances follow from the venue."""
        super().__init_subclass__(**kwargs)
        own = ("BaseToken:USDT", "BaseToken:ETH", "BaseToken:BTC", "Perp:ETHUSDT", "Perp:BTCUSDT")
        cls.KEYS = (*(f"{cls.VENUE}:{key}" for key in own), *cls.OTHERS)
        cls.LEDGER = dict(zip(cls.KEYS, (1e5, 10.0, 1.0, -5.0), strict=False)) | {
            f"{cls.VENUE}:entry_price:ETHUSDT": 3100.0
        }

    def trade(self, kind: str, side: str, amount: float, pair: str = "ETHUSDT", **fields: Any) -> Order:
        return order(f"{kind}_trade", self.VENUE, amount, side=side, pair=pair, **fields)

    def withdraw(self, amount: float, token: str = "USDT", target: str = "wallet") -> Order:
        return transfer(amount, token, self.VENUE, target)

    def case(self, name: str, *orders: Order, **fields: Any) -> Case:
        prices = {
            f"{self.VENUE}:BaseToken:{coin}": self.MARKET[f"spot:{self.VENUE}:{coin}USDT"] * 0.999
            for coin in ("ETH", "BTC")
            if self.MARKET and orders[0].operation is OP.SPOT_TRADE
        }
        return super().case(name, *orders, market=self.MARKET, prices=prices, **fields)

    def accepted(self) -> list[Case]:
        return [
            self.case("buy spot", self.trade("spot", "buy", 2.0)),
            self.case("sell all spot", self.trade("spot", "sell", 10.0)),
            self.case("buy other spot", self.trade("spot", "buy", 0.1, "BTCUSDT")),
            self.case("enlarge a short", self.trade("perp", "sell", 2.5)),
            self.case("reduce a short", self.trade("perp", "buy", 2.5)),
            self.case("close a short", self.trade("perp", "buy", 5.0)),
            self.case("turn a short", self.trade("perp", "buy", 7.0)),
            self.case("open another short", self.trade("perp", "sell", 0.1, "BTCUSDT")),
            self.case("limit that is reached", self.trade("spot", "sell", 1.0, order_type="limit", price=2500.0)),
            self.case("withdraw usdt", self.withdraw(100.0)),
            self.case("withdraw ether", self.withdraw(1.0, "ETH")),
            self.case("pay out to the client", self.withdraw(100.0, target="client")),
        ]

    def refused(self) -> list[tuple[Case, str]]:
        few = {key: 300.0 if key.endswith("BaseToken:USDT") else held for key, held in self.LEDGER.items()}
        return [
            self.refusal("less than a lot", "VEN-007", self.trade("spot", "buy", 1.23456789e-9)),
            self.refusal("below the least notional", "VEN-007", self.trade("spot", "buy", 1e-4)),
            self.refusal("buy for more than there is", "VEN-008", self.trade("spot", "buy", 1000.0)),
            self.refusal("sell more than there is", "VEN-008", self.trade("spot", "sell", 11.0)),
            self.refusal("short without margin", "VEN-008", self.trade("perp", "sell", 10_000.0)),
            self.refusal("buy spot with the margin", "VEN-008", self.trade("spot", "buy", 0.05), ledger=few),
            self.refusal("no such market", "VEN-001", self.trade("spot", "buy", 1.0, "DOGEUSDT")),
            self.refusal(
                "limit that is not reached", "VEN-009", self.trade("spot", "buy", 1.0, order_type="limit", price=2500.0)
            ),
            self.refusal("withdraw more than there is", "VEN-008", self.withdraw(1e6)),
            self.refusal("withdraw the margin", "VEN-008", self.withdraw(99_999.0)),
            self.refusal("withdraw no more than the fee", "VEN-007", self.withdraw(1.0)),
            self.refusal("withdraw to itself", "VEN-009", self.withdraw(10.0, target=self.VENUE)),
            self.refusal("withdraw to a venue not held", "VEN-001", self.withdraw(10.0, target="aave_v3")),
        ]
