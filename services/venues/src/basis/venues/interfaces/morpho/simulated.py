"""Simulated flash loans: borrowed and repaid within one transaction, or the transaction never was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import JsonValue

from basis.models.config import FlashLoanConfig
from basis.models.instruments import Venue
from basis.models.operations import ExecutionMode, OperationType
from basis.venues.core.interface import Step, VenueRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig
    from basis.models.order import Order

OWED = "morpho:debtToken:flashWETH"
"""What the open transaction owes the lender, WETH."""
_WALLET = "wallet:BaseToken:ETH"


class SimulatedFlashLoan:
    """WETH flash loans; the fee is the venue's configuration (Morpho takes none)."""

    operations = frozenset({OperationType.FLASH_BORROW, OperationType.FLASH_REPAY})

    def execute(
        self, order: Order, ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig
    ) -> Step:
        """``flash_borrow``: wallet +D, owed +D. ``flash_repay``: wallet -D(1+f), owed -D."""
        del market
        if order.execution_mode is not ExecutionMode.ATOMIC:
            raise VenueRefusal("VEN-009", "a flash loan needs an atomic group", "morpho")
        if order.operation is OperationType.FLASH_BORROW:
            return Step({_WALLET: order.amount, OWED: order.amount}, {"amount": order.amount})
        venue = config.venues.get(Venue.MORPHO)
        fee = venue.fee if isinstance(venue, FlashLoanConfig) else 0.0
        owed = ledger.get(OWED, 0.0)
        if order.amount > owed:
            raise VenueRefusal("VEN-009", f"repays {order.amount!r}, but only {owed!r} is owed", "morpho")
        paid = order.amount * (1.0 + fee)
        details: dict[str, JsonValue] = {"amount": order.amount, "fee_fraction": fee}
        return Step({_WALLET: -paid, OWED: -order.amount}, details, {_WALLET: paid - order.amount})

    def check(self, ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig) -> None:
        """At the end of a transaction nothing is owed."""
        del market, config
        owed = ledger.get(OWED, 0.0)
        if owed != 0.0:
            raise VenueRefusal("VEN-009", f"flash loan not repaid: {owed!r} WETH still owed", "morpho")
