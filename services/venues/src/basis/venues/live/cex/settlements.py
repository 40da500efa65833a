"""What an exchange did on its own: funding, liquidations, take profits and stop losses, deposits that arrived."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from basis.models.instruments import INSTRUMENTS, margin_key
from basis.models.messages import Settlement
from basis.models.operations import OperationType, OrderSide, SettlementKind, StrategyIntent
from basis.models.order import Order
from basis.venues.live.cex.connection import together, utc
from basis.venues.live.cex.fills import outcome, read_fills
from basis.venues.live.cex.ids import purpose_of
from basis.venues.live.cex.profiles import FUNDING_HISTORY, TRADE_HISTORY
from basis.venues.live.errors import LiveVenueError, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pydantic import JsonValue

    from basis.venues.live.cex.connection import Connection
    from basis.venues.live.cex.profiles import Profile, Row
    from basis.venues.live.cex.units import Market

_ARRIVAL = SettlementKind.TRANSFER_ARRIVAL
_DAY_MS = 86_400_000
_PAGE = 100


async def settled(
    link: Connection,
    profile: Profile,
    perps: Sequence[Market],
    tokens: Sequence[str],
    keys: Collection[str],
    seen: Seen,
    since_ms: int,
    until_ms: int,
) -> list[Settlement]:
    """Everything in (since, until], by time; ``tick`` is 0: the caller knows its ticks.

    Args:
        link: the exchange.
        profile: where it differs from others.
        perps: perps that the mode may hold.
        tokens: tokens that it holds there.
        keys: instrument keys that it may hold, of all venues.
        seen: orders that were looked at before; added to.
        since_ms: after this.
        until_ms: up to this.

    Raises:
        LiveVenueError: it cannot be read in full.
    """
    parts = await together(
        *(funding(link, profile, market, since_ms, until_ms) for market in perps),
        *(closings(link, profile, market, seen, since_ms, until_ms) for market in perps),
        *(arrivals(link, profile, token, keys, since_ms, until_ms) for token in tokens),
    )
    found = [one for part in parts for one in part]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


Seen = dict[str, tuple["SettlementKind | None", str]]
"""The exchange's id of an order -> what it was, None for orders of ours and of strangers, and its side."""
_MOST_SEEN = 4096
Stamped = tuple[tuple[int, str], Settlement]
"""(ms, id) and a settlement."""


async def funding(link: Connection, profile: Profile, market: Market, since_ms: int, until_ms: int) -> list[Stamped]:
    """Funding paid and received.

    Raises:
        LiveVenueError: it cannot be read.
    """
    rows = await _pages(link, FUNDING_HISTORY, link.client.fetch_funding_history, profile, market, since_ms, until_ms)
    margin = margin_key(profile.venue, market.pair)
    found = []
    for row in rows:
        amount = profile.funding_sign * float(row["amount"])
        details: dict[str, JsonValue] = {
            "id": str(row["id"]),
            "at_ms": int(row["timestamp"]),
            "symbol": market.pair,
            "token": market.margin,
            "amount": amount,
        }
        if row.get("rate") is not None:
            details["funding_rate"] = float(row["rate"])
        one = Settlement(
            tick=0, venue=profile.venue, kind=SettlementKind.FUNDING, deltas={margin: amount}, details=details
        )
        found.append(((int(row["timestamp"]), str(row["id"])), one))
    return found


async def _pages(
    link: Connection, what: str, call: Any, profile: Profile, market: Market, since_ms: int, until_ms: int
) -> list[Row]:
    """Rows of a history in (since, until], each once and none left out.

    An answer that is full may lack rows, and exchanges do not agree on which: the stretch is halved until it is not.

    Raises:
        LiveVenueError: VEN-010, one moment has more rows than an answer holds; or they cannot be read.
    """
    found: dict[str, Row] = {}
    longest = stretch = profile.history_days * _DAY_MS
    start = since_ms + 1
    while start <= until_ms:
        end = min(start + stretch - 1, until_ms)
        params = profile.history_params(what, start, end, _PAGE)
        rows = await link.ask(what, call, market.symbol, start, _PAGE, params)
        if len(rows) >= _PAGE:
            if end == start:
                raise UnknownOutcome("VEN-010", f"{what} of {market.symbol}: too many rows at {start}", profile.venue)
            stretch = (end - start + 1) // 2
            continue
        found |= {str(row["id"]): row for row in rows if start <= int(row["timestamp"]) <= end}
        start, stretch = end + 1, min(2 * stretch, longest)
    return sorted(found.values(), key=lambda row: (int(row["timestamp"]), str(row["id"])))


async def closings(
    link: Connection, profile: Profile, market: Market, seen: Seen, since_ms: int, until_ms: int
) -> list[Stamped]:
    """Trades of orders that no order of ours asked for at that moment: take profit, stop loss, liquidation.

    Raises:
        LiveVenueError: they cannot be read.
    """
    rows = await _pages(link, TRADE_HISTORY, link.client.fetch_my_trades, profile, market, since_ms, until_ms)
    by_order: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_order[str(row["order"])].append(row)
    found = []
    for number, trades in by_order.items():
        if number not in seen:
            seen[number] = await _why(link, profile, market, number)
            while len(seen) > _MOST_SEEN:
                seen.pop(next(iter(seen)))
        kind, side = seen[number]
        if kind is not None:
            found.append(_closing(profile, market, number, trades, kind, side))
    return found


async def _why(link: Connection, profile: Profile, market: Market, number: str) -> tuple[SettlementKind | None, str]:
    """What an order was, None where it was one of ours or a stranger's: strangers are for reconciliation to find."""
    order = await profile.order(link, market, number)
    info: dict[str, Any] = order.get("info") or {}
    names = (order.get("clientOrderId"), info.get("algoClOrdId"), info.get("orderLinkId"))
    purposes = {purpose_of(name) for name in names if isinstance(name, str)}
    side = str(order["side"])
    if "order" in purposes:
        return None, side
    if "take_profit" in purposes:
        return SettlementKind.TAKE_PROFIT, side
    if "stop_loss" in purposes:
        return SettlementKind.STOP_LOSS, side
    return (SettlementKind.LIQUIDATION if profile.is_liquidation(order) else None), side


def _closing(
    profile: Profile, market: Market, number: str, trades: Sequence[Row], kind: SettlementKind, side: str
) -> Stamped:
    """Perp back, fees out of margin; the difference of fill and mark is the caller's, who knows its mark."""
    fills = read_fills(trades, market)
    as_order = Order(
        operation_id=number,
        operation=OperationType.PERP_TRADE,
        venue=profile.venue,
        amount=float(sum(fill.amount for fill in fills)),
        side=OrderSide(side),
        pair=market.pair,
        strategy_intent=StrategyIntent.EXIT_FULL,
        strategy_id="venue",
    )
    done = outcome(as_order, market, fills, None)
    details = {**done.details, "id": number, "at_ms": done.at_ms, "symbol": market.pair, "token": market.margin}
    details["quantity"] = -done.deltas[f"{profile.venue}:Perp:{market.pair}"]
    settlement = Settlement(
        tick=0,
        venue=profile.venue,
        kind=kind,
        deltas=done.deltas,
        fees=done.costs.get("fees", {}),
        details=details,
    )
    return (done.at_ms, number), settlement


async def arrivals(
    link: Connection, profile: Profile, token: str, keys: Collection[str], since_ms: int, until_ms: int
) -> list[Stamped]:
    """Deposits that were credited in (since, until], out of transit where the mode counts what is there.

    Whose they are (a transfer's of ours, the client's) is for :mod:`basis.venues.core.transfer_ledger` to say.

    A deposit is asked for by when it was seen, which may be long before it was credited: a day back, and told apart by its
    own time of completion.

    Raises:
        LiveVenueError: they cannot be read.
    """
    key, transit = f"{profile.venue}:BaseToken:{token}", f"transit:BaseToken:{token}"
    if key not in keys or key not in INSTRUMENTS:
        return []
    rows = await link.ask("deposits", link.client.fetch_deposits, token, max(since_ms - _DAY_MS, 0))
    found = []
    for row in rows:
        at_ms = _credited_ms(row)
        if row.get("status") != "ok" or not since_ms < at_ms <= until_ms:
            continue
        amount, number = float(row["amount"]), str(row["id"] or row["txid"])
        deltas = {key: amount} | ({transit: -amount} if transit in keys else {})
        details: dict[str, JsonValue] = {
            "id": number,
            "at_ms": at_ms,
            "transaction": row.get("txid"),
            "token": token,
            "amount": amount,
            "at": utc(at_ms).isoformat(),
        }
        one = Settlement(tick=0, venue=profile.venue, kind=_ARRIVAL, deltas=deltas, details=details)
        found.append(((at_ms, number), one))
    return found


def _credited_ms(row: Row) -> int:
    """When a deposit was credited, as far as the exchange says."""
    info = row.get("info") or {}
    stamp = info.get("completeTime") or info.get("successAt") or row.get("updated") or row.get("timestamp")
    if stamp is None:
        raise LiveVenueError("VEN-010", "a deposit without a time", "live_cex")
    return int(stamp)
