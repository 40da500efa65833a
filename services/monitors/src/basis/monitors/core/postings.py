"""Double entry: every change of an account against a named counter-account. Pure.

For each token the legs of one event sum to zero. What an order exchanges goes through ``market:<venue>``; an exchange
both gives and takes, so an order that moves one token alone must balance without that account. Contracts of a perp are
made against the market and are no token of value; a venue that closes a position on its own (take profit, stop loss)
settles the difference between its price and the mark with the market as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.models.errors import ComponentError
from basis.models.instruments import INSTRUMENTS
from basis.models.operations import OperationType, SettlementKind
from basis.runtime.valuation import valuation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement
    from basis.models.order import Order
    from basis.runtime.settlements import SettlementColumns

_COMPONENT = "position_update_handler"
ROUNDING = 1e-9
"""What the legs of a token may differ from zero by, as a fraction of the sum of their sizes."""
_SETTLEMENT_ACCOUNTS = {
    SettlementKind.FUNDING: "funding:{venue}",
    SettlementKind.REWARD: "rewards:{venue}",
    SettlementKind.LIQUIDATION: "liquidation:{venue}",
    SettlementKind.TAKE_PROFIT: "market:{venue}",
    SettlementKind.STOP_LOSS: "market:{venue}",
    SettlementKind.DEPOSIT: "client",
}


class Leg(NamedTuple):
    """One leg of a double entry; logged as ``basis.models.events.execution_delta.Posting``, which says what is what."""

    account: str
    token: str
    amount: float


def token_of(key: str) -> str:
    """Unit of an account: the symbol at its venue; scaled quantity for ``aUSDT`` and ``debtWETH``, a perp its symbol."""
    return INSTRUMENTS[key].symbol


def of_handshake(order: Order, handshake: ExecutionHandshake) -> tuple[Leg, ...]:
    """Postings of a confirmed order.

    Raises:
        ComponentError: PNL-003, the legs of a token do not sum to zero: the order gives without taking or takes without
            giving; names the operation and the token.
    """
    legs = [Leg(key, token_of(key), delta) for key, delta in handshake.actual_deltas.items()]
    names = {
        "fees": f"fees:{order.venue}",
        "gas": "gas:ethereum",
        "slippage": f"slippage:{order.venue}",
        "external": "client",
    }
    for kind, costs in handshake.costs.items():
        legs += [Leg(names[kind], token_of(key), cost) for key, cost in costs.items() if cost]
    what = f"{order.operation} {order.operation_id}"
    rests = _rests(legs)
    signs = {token_of(key): valuation(key).sign for key in handshake.actual_deltas}
    values = [signs.get(token, 1.0) * rest for token, rest in rests.items()]
    # a real perp filled better than the mark gains margin against its contracts, which have no value of their own
    is_real_perp = not handshake.simulated and order.operation is OperationType.PERP_TRADE
    if not is_real_perp and any(value > 0.0 for value in values) != any(value < 0.0 for value in values):
        token, rest = next((token, rest) for token, rest in rests.items() if signs.get(token, 1.0) != 0.0)
        raise ComponentError("PNL-003", f"{what} moves {rest!r} {token} against nothing", _COMPONENT)
    legs += [Leg(f"market:{order.venue}", token, -rest) for token, rest in rests.items()]
    return balanced(legs, what)


def counter_account(settlement: Settlement | SettlementColumns) -> str | None:
    """The account that a settlement of one key and without fees is against: it balances by construction. None for others."""
    account = _SETTLEMENT_ACCOUNTS.get(settlement.kind)
    if account is None or len(settlement.deltas) != 1 or settlement.fees:
        return None
    return account.format(venue=settlement.venue)


def of_settlement(settlement: Settlement) -> tuple[Leg, ...]:
    """Postings of what a venue did on its own.

    Raises:
        ComponentError: PNL-003, the legs of a token do not sum to zero (an arrival that is not what had left).
    """
    venue = settlement.venue
    account = counter_account(settlement)
    if account is not None:
        ((key, delta),) = settlement.deltas.items()
        token = token_of(key)
        return (Leg(key, token, delta), Leg(account, token, -delta))
    account = _SETTLEMENT_ACCOUNTS.get(settlement.kind)
    legs = [Leg(key, token_of(key), delta) for key, delta in settlement.deltas.items()]
    legs += [Leg(f"fees:{venue}", token_of(key), fee) for key, fee in settlement.fees.items() if fee]
    if account is not None:
        name = account.format(venue=venue)
        legs += [Leg(name, token, -rest) for token, rest in _rests(legs).items()]
    return balanced(legs, f"{settlement.kind} at {venue}, tick {settlement.tick},")


def balanced(legs: Sequence[Leg], what: str) -> tuple[Leg, ...]:
    """The legs, once they are seen to sum to zero for each token.

    Raises:
        ComponentError: PNL-003, they do not.
    """
    for token, rest in _rests(legs).items():
        raise ComponentError("PNL-003", f"postings of {what} leave {rest!r} {token}", _COMPONENT)
    return tuple(legs)


def _rests(legs: Iterable[Leg]) -> Mapping[str, float]:
    """Token -> sum of the legs, where it is not zero within rounding."""
    sums: dict[str, float] = {}
    sizes: dict[str, float] = {}
    for leg in legs:
        sums[leg.token] = sums.get(leg.token, 0.0) + leg.amount
        sizes[leg.token] = sizes.get(leg.token, 0.0) + abs(leg.amount)
    return {token: total for token, total in sums.items() if not abs(total) <= ROUNDING * sizes[token]}
