"""The modes, balances and markets that a venue is tested on; simulated and live venues have the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from basis.models.operations import OperationType
from basis.testkit.conformance.cases import Case
from basis.testkit.conformance.venue import VenueConformance
from basis.testkit.runs import custom_config, market_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig
    from basis.models.order import Order

USDT, ETH = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH"
OP = OperationType

_CONFIGS: dict[type, RunConfig] = {}


class VenueCases(VenueConformance):
    """A mode, its market, and one ledger that all accepted cases start from."""

    KEYS: ClassVar[tuple[str, ...]]
    VENUE: ClassVar[str]
    OFFERED: ClassVar[frozenset[OperationType]]
    LEDGER: ClassVar[dict[str, float]]
    CHANGES: ClassVar[dict[str, dict[str, Any]]] = {}
    SHARE_CLASS: ClassVar[str] = "ETH"

    def config(self) -> RunConfig:
        if type(self) not in _CONFIGS:
            venues = {"wallet": {"gas_price_gwei": 10.0}} | self.CHANGES
            _CONFIGS[type(self)] = custom_config(self.KEYS, share_class=self.SHARE_CLASS, venues=venues)
        return _CONFIGS[type(self)]

    def name(self) -> str:
        return self.VENUE

    def offered(self) -> frozenset[OperationType]:
        return self.OFFERED

    def case(self, name: str, *orders: Order, ledger: Mapping[str, float] | None = None, **fields: Any) -> Case:
        market = market_row(self.config()) | fields.pop("market", {})
        return Case(name, orders, self.LEDGER if ledger is None else ledger, market, **fields)

    def refusal(self, name: str, code: str, *orders: Order, **fields: Any) -> tuple[Case, str]:
        return self.case(name, *orders, **fields), code
