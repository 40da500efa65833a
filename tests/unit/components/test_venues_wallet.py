"""Simulated wallet: the conformance suite, and transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from tests.support.venues import CoreVenueConformance, order

from basis.models.operations import OperationType
from basis.testkit import strategies as bst
from basis.testkit.conformance.venue import Case
from basis.testkit.runs import START, custom_config, market_row
from basis.venues.core.execution import Executed, execute
from basis.venues.interfaces.wallet import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig

USDT, ETH, CEX = "wallet:BaseToken:USDT", "wallet:BaseToken:ETH", "binance:BaseToken:USDT"
CONFIG = custom_config([USDT, CEX, ETH], venues={"wallet": {"gas_price_gwei": 10.0}})
MARKET = market_row(CONFIG)
GAS = 10e-9 * 65_000


def transfer(amount: float, source: str = "wallet", target: str = "binance", token: str = "USDT") -> Any:
    return order("transfer", "wallet", amount, source_venue=source, target_venue=target, source_token=token)


def run(found: Any, ledger: Mapping[str, float]) -> Executed:
    return execute([found], ledger, MARKET, CONFIG, {"wallet": SIMULATED}, START)


class TestWalletConformance(CoreVenueConformance):
    def config(self) -> RunConfig:
        return CONFIG

    def name(self) -> str:
        return "wallet"

    def offered(self) -> frozenset[OperationType]:
        return frozenset({OperationType.TRANSFER})

    def accepted(self) -> list[Case]:
        ledger = {USDT: 1000.0, CEX: 1000.0, ETH: 1.0}
        return [
            Case("wallet to binance", (transfer(100.0),), ledger, MARKET, 0.0),
            Case("binance to wallet", (transfer(1000.0, "binance", "wallet"),), ledger, MARKET, 0.0),
        ]

    def refused(self) -> list[tuple[Case, str]]:
        ledger = {USDT: 1000.0, CEX: 1000.0, ETH: 1.0}
        orders = [
            (transfer(1001.0), "VEN-008"),
            (transfer(1.0, "wallet", "wallet"), "VEN-009"),
            (transfer(1.0, "wallet", "okx"), "VEN-001"),
            (transfer(1.0, "wallet", "binance", "DOGE"), "VEN-001"),
            (transfer(1.0, "wallet", "binance", "ETH"), "VEN-001"),
        ]
        return [(Case(f"transfer {code}", (one,), ledger, MARKET, 0.0), code) for one, code in orders]


@given(amount=bst.floats(1e-6, 1e6), held=bst.floats(0.0, 1e6))
def test_transfer_arrives_in_full_or_not_at_all(amount: float, held: float) -> None:
    done = run(transfer(amount), {USDT: held, CEX: 5.0, ETH: 1.0})
    if amount <= held:
        assert (done.ledger[USDT], done.ledger[CEX]) == (held - amount, 5.0 + amount)
        assert done.ledger[ETH] == pytest.approx(1.0 - GAS)
    else:
        assert done.handshakes[0].error_code == "VEN-008"
        assert done.ledger == {USDT: held, CEX: 5.0, ETH: 1.0}


def test_transfer_without_ether_for_its_gas_is_refused() -> None:
    (answer,) = run(transfer(1.0), {USDT: 10.0}).handshakes
    assert answer.error_code == "VEN-008"
    assert ETH in str(answer.error_message)
