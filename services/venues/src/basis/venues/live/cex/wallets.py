"""Wallets inside an exchange: a mode sees one balance a token, so money is moved to where an order needs it (ADR 0023).

A token has a home: the margin wallet of the mode's perps that settle in it, else the wallet that spot trades from. Idle money
lies there, so that it counts as margin. It is moved out for a spot order or a withdrawal, and moved home when it is idle
again. A move changes no balance of the mode; one whose outcome is unknown is not asked about: balances are read again, and
what still lacks is moved.
"""

from __future__ import annotations

import asyncio
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.instruments import INSTRUMENTS, InstrumentType, is_inverse, margin_token
from basis.venues.live.cex.connection import together
from basis.venues.live.errors import ProvedFailure, Retryable, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from basis.venues.live.cex.connection import Connection
    from basis.venues.live.cex.profiles import Profile

_STEP = Decimal("1e-8")
"""Smallest amount that is moved."""
_TRIES = 4


class Held(NamedTuple):
    """One token in one wallet."""

    total: Decimal
    """All of it, unrealised PnL of the perps that it margins included."""
    free: Decimal
    """What may be moved or spent."""


Holdings = dict[tuple[str, str], Held]
"""(wallet, token) -> what is there."""


class Move(NamedTuple):
    """A transfer inside the account."""

    source: str
    target: str
    token: str
    amount: Decimal


def plan_moves(holdings: Mapping[tuple[str, str], Held], token: str, target: str, needed: Decimal) -> list[Move]:
    """What to move so that ``target`` has ``needed`` free; the fullest wallets give first. Pure.

    Returns:
        Moves, which may come to less than what lacks where there is no more.
    """
    lacking = needed - _free(holdings, target, token)
    others = sorted(
        ((held.free, wallet) for (wallet, name), held in holdings.items() if name == token and wallet != target),
        key=lambda pair: (-pair[0], pair[1]),
    )
    moves = []
    for free, wallet in others:
        if lacking <= 0:
            break
        # up to a whole step, where there is as much: half a step too little would be refused
        wanted = -(-lacking // _STEP) * _STEP
        amount = min(wanted, free).quantize(_STEP, ROUND_DOWN)
        if amount > 0:
            moves.append(Move(wallet, target, token, amount))
            lacking -= amount
    return moves


def plan_home(holdings: Mapping[tuple[str, str], Held], token: str, home: str) -> list[Move]:
    """Everything that is free elsewhere, moved home. Pure."""
    moves = []
    for (wallet, name), held in sorted(holdings.items()):
        amount = held.free.quantize(_STEP, ROUND_DOWN)
        if name == token and wallet != home and amount > 0:
            moves.append(Move(wallet, home, token, amount))
    return moves


def _free(holdings: Mapping[tuple[str, str], Held], wallet: str, token: str) -> Decimal:
    found = holdings.get((wallet, token))
    return found.free if found else Decimal(0)


class Wallets:
    """The wallets of one exchange.

    Args:
        link: the exchange.
        profile: its wallets.
        keys: what the mode may hold, in all venues.
    """

    def __init__(self, link: Connection, profile: Profile, keys: Collection[str]) -> None:
        self._link = link
        self._profile = profile
        mine = [INSTRUMENTS[key] for key in keys if key in INSTRUMENTS and INSTRUMENTS[key].venue == profile.venue]
        perps = [one.symbol for one in mine if one.type is InstrumentType.PERP]
        self.tokens = sorted(
            {one.symbol for one in mine if one.type is InstrumentType.BASE_TOKEN} | {margin_token(one) for one in perps}
        )
        """Tokens that the mode holds here."""
        self._homes = dict.fromkeys(self.tokens, profile.spot)
        for symbol in perps:
            self._homes[margin_token(symbol)] = profile.inverse if is_inverse(symbol) else profile.linear
        used = {profile.cash, profile.spot, *self._homes.values()}
        self._used = [wallet for wallet in profile.accounts if wallet in used]
        self._away = set(self.tokens)
        """Tokens of which something may lie away from home."""
        self._lock = asyncio.Lock()

    async def read(self) -> Holdings:
        """All wallets that the mode may have something in.

        Raises:
            LiveVenueError: they cannot be read.
        """
        answers = await together(*(self._read(wallet) for wallet in self._used))
        return {key: held for answer in answers for key, held in answer.items()}

    async def _read(self, wallet: str) -> Holdings:
        params = dict(self._profile.balances[wallet])
        found = await self._link.ask("balances", self._link.client.fetch_balance, params)
        pnl = {} if self._profile.total_has_pnl else _bybit_pnl(found["info"])
        held = {}
        for token in self.tokens:
            row = found.get(token) or {}
            total = Decimal(str(row.get("total") or 0)) + pnl.get(token, Decimal(0))
            held[wallet, token] = Held(total, max(Decimal(str(row.get("free") or 0)), Decimal(0)))
        return held

    async def bring(self, token: str, wallet: str, needed: Decimal) -> None:
        """Have as much of a token free in a wallet.

        Raises:
            ProvedFailure: VEN-008, the account has less.
            LiveVenueError: it cannot be moved now. Nothing else happened.
        """
        if all(other == wallet for other in self._used):
            return
        async with self._lock:
            for left in range(_TRIES - 1, -1, -1):
                holdings = await self.read()
                if _free(holdings, wallet, token) >= needed:
                    return
                moves = plan_moves(holdings, token, wallet, needed)
                there = _free(holdings, wallet, token) + sum((move.amount for move in moves), Decimal(0))
                if there < needed:
                    message = (
                        f"{needed:f} {token} needed, {there:f} free at {self._profile.venue}: insufficient balance"
                    )
                    raise ProvedFailure("VEN-008", message, self._profile.venue)
                self._away.add(token)
                await self._make(moves, last=left == 0)
        raise Retryable("VEN-003", f"{token} could not be moved to the wallet {wallet}", self._profile.venue)

    async def home(self, tokens: Sequence[str] | None = None) -> None:
        """Move idle money home; nothing is asked where nothing can be away.

        Raises:
            LiveVenueError: it cannot be moved now.
        """
        wanted = self._away if tokens is None else self._away & set(tokens)
        if not wanted or len(self._used) == 1:
            return
        async with self._lock:
            for left in range(_TRIES - 1, -1, -1):
                holdings = await self.read()
                moves = [move for token in sorted(wanted) for move in plan_home(holdings, token, self._homes[token])]
                if not moves:
                    self._away -= wanted
                    return
                await self._make(moves, last=left == 0)

    def touch(self, *tokens: str) -> None:
        """Something of these may lie away from home now."""
        self._away.update(token for token in tokens if token in self._homes)

    async def _make(self, moves: Sequence[Move], *, last: bool) -> None:
        names = self._profile.accounts
        for move in moves:
            try:
                await self._link.send(
                    "transfer between wallets",
                    self._link.client.transfer,
                    move.token,
                    float(move.amount),
                    names[move.source],
                    names[move.target],
                )
            except (UnknownOutcome, Retryable):
                if last:
                    raise
                await asyncio.sleep(self._link.config.retry_wait_s)  # then balances say whether it happened


def _bybit_pnl(info: Any) -> dict[str, Decimal]:
    """Token -> unrealised PnL, which ccxt leaves out of the total."""
    rows = (info.get("result") or {}).get("list") or []
    coins = rows[0].get("coin", []) if rows else []
    return {one["coin"]: Decimal(one.get("unrealisedPnl") or "0") for one in coins}
