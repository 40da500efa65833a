"""Simulated flash loans: borrowed and repaid within one transaction, or the transaction never was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import JsonValue

from basis.models.config import FlashLoanConfig
from basis.models.instruments import Venue
from basis.models.operations import ExecutionMode, OperationType
from basis.venues.core.interface import At, PassiveVenue, Step, VenueRefusal
from basis.venues.interfaces.tokens import require_held

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.order import Order

OWED = "morpho:debtToken:flashWETH"
"""What the open transaction owes the lender, WETH."""
_WALLET = "wallet:BaseToken:ETH"
_COMPONENT = "morpho"


class SimulatedFlashLoan(PassiveVenue):
    """WETH flash loans; the fee is the venue's configuration (Morpho takes none)."""

    operations = frozenset({OperationType.FLASH_BORROW, OperationType.FLASH_REPAY})

    def execute(self, order: Order, ledger: Mapping[str, float], at: At) -> Step:
        """``flash_borrow``: wallet +D, owed +D. ``flash_repay``: wallet -D(1+f), owed -D.

        Raises:
            VenueRefusal: VEN-001, the mode does not hold WETH or the loan; VEN-009, outside an atomic group, or more
                repaid than owed.
        """
        require_held(at.config, _WALLET, OWED, component=_COMPONENT)
        if order.execution_mode is not ExecutionMode.ATOMIC:
            raise VenueRefusal("VEN-009", "a flash loan needs an atomic group", _COMPONENT)
        if order.operation is OperationType.FLASH_BORROW:
            return Step({_WALLET: order.amount, OWED: order.amount}, {"amount": order.amount})
        venue = at.config.venues.get(Venue.MORPHO)
        fee = venue.fee if isinstance(venue, FlashLoanConfig) else 0.0
        owed = ledger.get(OWED, 0.0)
        if order.amount > owed:
            raise VenueRefusal("VEN-009", f"repays {order.amount!r}, but only {owed!r} is owed", _COMPONENT)
        paid = order.amount * (1.0 + fee)
        details: dict[str, JsonValue] = {"amount": order.amount, "fee_fraction": fee}
        return Step({_WALLET: -paid, OWED: -order.amount}, details, fees={_WALLET: paid - order.amount})

    def check(self, ledger: Mapping[str, float], at: At) -> None:
        """At the end of a transaction nothing is owed.

        Raises:
            VenueRefusal: VEN-009, something is.
        """
        del at
        owed = ledger.get(OWED, 0.0)
        if owed != 0.0:
            raise VenueRefusal("VEN-009", f"flash loan not repaid: {owed!r} WETH still owed", _COMPONENT)
