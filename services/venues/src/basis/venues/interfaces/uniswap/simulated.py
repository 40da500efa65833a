"""Simulated Uniswap: swaps between ETH and LSTs or reward tokens at the market price of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.models.errors import ComponentError
from basis.models.instruments import holding_key, wallet_token
from basis.models.operations import OperationType
from basis.runtime.fills import swap_cost
from basis.venues.core.interface import At, PassiveVenue, Step, VenueRefusal
from basis.venues.interfaces.tokens import require_held

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.order import Order

_COMPONENT = "uniswap"
_PRICES = {
    "weETH": "dex_price_eth:weETH",
    "wstETH": "dex_price_eth:wstETH",
    "EIGEN": "dex:EIGENWETH",
    "ETHFI": "dex:ETHFIWETH",
}
"""Token -> market column of its price in ETH."""
_ROUNDING = 1e-12


class SimulatedUniswap(PassiveVenue):
    """Swaps at q x P_in / P_out x (1 - cost), prices in ETH; the cost is the configuration's, by size."""

    operations = frozenset({OperationType.SWAP})

    def execute(self, order: Order, ledger: Mapping[str, float], at: At) -> Step:
        """``swap``: in -q, out +q x P_in / P_out x (1 - cost) (behaviour.md section 2).

        The slippage is what the account loses against its own valuation, in the token received: the pool's price against
        the oracle rate of an LST, and the cost. A pool that pays more than the oracle says makes no negative slippage:
        then the step is priced at the pool, and the slippage is the cost alone.

        Raises:
            VenueRefusal: VEN-001, no such pair or not held by the mode; VEN-009, the cost is above the order's
                slippage_tolerance.
        """
        del ledger  # the balance is checked with the transaction
        source, target = wallet_token(order.source_token or ""), wallet_token(order.target_token or "")
        given, received = _pair(source, target, at)
        price_in, price_out = _price_eth(source, at), _price_eth(target, at)
        notional = order.amount * price_in * at.valuer.usd("ETH", at.market)
        cost = _cost(order, source, target, notional, at)
        quantity = order.amount * price_in / price_out * (1.0 - cost)
        fair = order.amount * at.valuer.unit_usd(given, at.market) / at.valuer.unit_usd(received, at.market)
        deltas = {given: -order.amount, received: quantity}
        details = {
            "price_in_eth": price_in,
            "price_out_eth": price_out,
            "cost_fraction": cost,
            "notional_usd": notional,
            "amount_in": order.amount,
            "amount_out": quantity,
        }
        if quantity <= fair:
            return Step(deltas, dict(details), slippage={received: fair - quantity})
        eth_usd = at.valuer.usd("ETH", at.market)
        prices = {given: price_in * eth_usd, received: price_out * eth_usd}
        lost = order.amount * price_in / price_out - quantity
        return Step(deltas, dict(details), slippage={received: max(lost, 0.0)}, prices=prices)


def _pair(source: str, target: str, at: At) -> tuple[str, str]:
    """Instrument keys given and received."""
    if (source == "ETH") == (target == "ETH") or {source, target} - {"ETH", *_PRICES}:
        known = ", ".join(_PRICES)
        raise VenueRefusal(
            "VEN-001", f"no pair {source}/{target}; one side is ETH, the other one of: {known}", _COMPONENT
        )
    keys = holding_key(source), holding_key(target)
    require_held(at.config, *keys, component=_COMPONENT)
    return keys


def _price_eth(token: str, at: At) -> float:
    return 1.0 if token == "ETH" else at.market[_PRICES[token]]


def _cost(order: Order, source: str, target: str, notional_usd: float, at: At) -> float:
    try:
        cost = swap_cost(at.config, source, target, notional_usd)
    except ComponentError as error:
        raise VenueRefusal(error.error_code, error.message, _COMPONENT) from error
    if cost > order.slippage_tolerance * (1.0 + _ROUNDING):
        message = f"cost {cost:g} of a swap of {notional_usd:.2f} USD is above slippage_tolerance {order.slippage_tolerance:g}"
        raise VenueRefusal("VEN-009", message, _COMPONENT)
    return cost
