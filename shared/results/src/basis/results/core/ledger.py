"""What the events of a run's operations come to: turnover, who was paid, and when something was held. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basis.models.instruments import INSTRUMENTS, InstrumentType, is_inverse, margin_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PAID = {"fees": "fees", "gas": "gas", "slippage": "slippage", "liquidation": "liquidation"}
_TRADES = frozenset({"spot_trade", "perp_trade", "swap"})
_DUST = 1e-9
"""Share of the largest holding of an instrument that is rounding, not a position."""


def traded_value(executions: Iterable[Mapping[str, Any]], prices: Mapping[str, Mapping[str, float]]) -> float:
    """Value given in confirmed trades, share class: what was sold in a spot trade or swap, the notional of a perp.

    Args:
        executions: OperationExecutionEvents.
        prices: operation_id -> instrument key -> price in the share class, from ExecutionDeltaEvents.
    """
    total = 0.0
    for event in executions:
        if event["status"] != "confirmed" or event["operation_type"] not in _TRADES:
            continue
        known = prices.get(event["operation_id"], {})
        if event["operation_type"] == "perp_trade":
            total += _notional(event, known)
        else:
            total += sum(
                -delta["delta"] * known.get(delta["instrument_key"], 0.0)
                for delta in event["position_deltas"]
                if delta["delta"] < 0.0
            )
    return total


def _notional(event: Mapping[str, Any], prices: Mapping[str, float]) -> float:
    symbol, size = str(event["target_token"]), float(event["executed_amount"])
    margin = margin_key(str(event["venue"]), symbol)
    market = float(event["operation_details"].get("market_price") or 0.0)
    units = (size / market if market else 0.0) if is_inverse(symbol) else size * market
    return units * prices.get(margin, 0.0)


def delta_prices(deltas: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """operation_id -> instrument key -> price in the share class, where the log has one."""
    return {
        event["source_operation_id"]: {
            delta["instrument_key"]: delta["price"] for delta in event["deltas"] if delta["price"] is not None
        }
        for event in deltas
    }


def paid(deltas: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Kind (fees, gas, slippage, liquidation) -> who was paid -> amount in the share class, from the postings."""
    found: dict[str, dict[str, float]] = {}
    for event in deltas:
        prices = {delta["instrument_key"].rpartition(":")[2]: delta["price"] for delta in event["deltas"]}
        for posting in event["postings"]:
            kind, _, who = posting["account"].partition(":")
            price = prices.get(posting["token"])
            if kind in _PAID and price is not None:
                of_kind = found.setdefault(_PAID[kind], {})
                of_kind[who] = of_kind.get(who, 0.0) + posting["amount"] * price
    return found


def ticks_in_market(changes: Iterable[tuple[int, Mapping[str, float]]], share_class: str, ticks: int) -> int:
    """Ticks at whose end anything but the share class was held.

    Args:
        changes: tick and instrument key -> change, in order; what is held before the first is plain share class.
        share_class: its tokens count as not being in the market.
        ticks: ticks of the run.
    """
    held: dict[str, float] = {}
    most: dict[str, float] = {}
    history: list[tuple[int, dict[str, float]]] = []
    for tick, deltas in changes:
        for key, delta in deltas.items():
            if not _plain(key, share_class):
                held[key] = held.get(key, 0.0) + delta
                most[key] = max(most.get(key, 0.0), abs(held[key]))
        if history and history[-1][0] == tick:
            history[-1] = (tick, dict(held))
        else:
            history.append((tick, dict(held)))
    counted = 0
    for place, (tick, then) in enumerate(history):
        until = history[place + 1][0] if place + 1 < len(history) else ticks
        if any(abs(quantity) > _DUST * most[key] for key, quantity in then.items()):
            counted += max(min(until, ticks) - tick, 0)
    return counted


def _plain(key: str, share_class: str) -> bool:
    known = INSTRUMENTS.get(key)
    return known is not None and known.type is InstrumentType.BASE_TOKEN and known.asset == share_class
