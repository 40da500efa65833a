"""Simulated wallet: transfers between the on-chain account and other venues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.instruments import INSTRUMENTS, wallet_token
from basis.models.operations import OperationType
from basis.venues.core.interface import Step, VenueRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig
    from basis.models.order import Order


class SimulatedWallet:
    """Transfers arrive in full and at once; gas is charged by the transaction."""

    operations = frozenset({OperationType.TRANSFER})

    def execute(
        self, order: Order, ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig
    ) -> Step:
        """``transfer``: source -q, target +q (behaviour.md section 2)."""
        del ledger, market
        token = wallet_token(order.source_token or "")
        source = f"{order.source_venue}:BaseToken:{token}"
        target = f"{order.target_venue}:BaseToken:{token}"
        for key in (source, target):
            if key not in INSTRUMENTS or key not in config.position_subscriptions:
                raise VenueRefusal("VEN-001", f"transfer of {token!r}: the mode does not hold {key!r}", "wallet")
        if source == target:
            raise VenueRefusal("VEN-009", f"transfer from {source!r} to itself", "wallet")
        return Step({source: -order.amount, target: order.amount}, {"amount": order.amount})

    def check(self, ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig) -> None:
        """Balances are checked for all venues at once."""
        del ledger, market, config
