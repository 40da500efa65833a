"""Simulated liquid staking: stake and unstake at the protocol's exchange rate, an unstake queue, and weekly rewards.

Rewards. The market columns ``reward_eigen_per_eeth`` and ``reward_ethfi_per_eeth`` hold tokens per 1 eETH for one whole
payment, as ether.fi publishes them. Checked against the data (2024-10-05 to 2025-02-22): 0.166 to 0.205 EIGEN per eETH
and week, which equals eigen_earned / (eth_restaked + eth_not_restaked) within 6 %. At the DEX price of EIGEN, times
365/7, it is 0.6 to 1.6 % a year, on average 0.93 % where the benchmark ``eeth_apy.reward_apy`` has figures, against its
0.89 %: the unit is right, nothing is to be scaled. The first EIGEN row is an exception of the source: its period has 51
days, its figure is about one week's (a sixth of eigen_earned per eETH), so that a holder of that period is paid too
little here. The first ETHFI row is not scaled (0.248 ETHFI per eETH for those 51 days).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from basis.models.config import StakingConfig
from basis.models.instruments import Venue, holding_key, wallet_token
from basis.models.messages import Settlement
from basis.models.operations import OperationType, SettlementKind
from basis.runtime.settlements import in_columns
from basis.venues.core.interface import At, PassiveVenue, Step, Stretch, VenueRefusal
from basis.venues.interfaces.tokens import require_held

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.config import RunConfig
    from basis.models.messages import Detail
    from basis.models.order import Order
    from basis.runtime.settlements import SettlementColumns

_WALLET = "wallet:BaseToken:ETH"
_DAY_S = 86_400
_REWARD_TOKENS = ("EIGEN", "ETHFI")
_WEETH, _A_WEETH = "etherfi:LST:weETH", "aave_v3:aToken:aweETH"


class SimulatedStaking(PassiveVenue):
    """One staking protocol.

    Args:
        venue: etherfi or lido; its configuration names the LST.
    """

    operations = frozenset({OperationType.STAKE, OperationType.UNSTAKE})

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def execute(self, order: Order, ledger: Mapping[str, float], at: At) -> Step:
        """``stake``: ETH -e, LST +e/X. ``unstake``: LST -l, ETH +l*X in the wallet, or as a claim while in the queue.

        X is the oracle's exchange rate, ETH per LST.

        Raises:
            VenueRefusal: VEN-001, the mode does not hold what is needed; VEN-009, another token than the protocol's.
        """
        staking = self._config(at.config)
        rate = at.market.get(f"oracle_price_eth:{staking.lst}")
        require_held(at.config, _WALLET, holding_key(staking.lst), component=self._venue)
        if rate is None:
            raise VenueRefusal("VEN-001", f"the market lacks the rate of {staking.lst}", self._venue)
        self._check_tokens(order, staking)
        if order.operation is OperationType.STAKE:
            received = order.amount / rate
            details: dict[str, JsonValue] = {"exchange_rate_eth": rate, "amount": order.amount, "received": received}
            return Step({_WALLET: -order.amount, holding_key(staking.lst): received}, details)
        return self._unstake(order, staking, rate, ledger, at)

    def scheduled(self, stretch: Stretch) -> Sequence[SettlementColumns]:
        """Claims that leave the queue, and rewards on what was held into each tick."""
        return in_columns([*self._arrivals(stretch), *self._rewards(stretch)])

    def _unstake(self, order: Order, staking: StakingConfig, rate: float, ledger: Mapping[str, float], at: At) -> Step:
        ether = order.amount * rate
        details: dict[str, JsonValue] = {"exchange_rate_eth": rate, "amount": order.amount, "received": ether}
        lst = holding_key(staking.lst)
        if staking.unstake_queue_days == 0.0:
            return Step({lst: -order.amount, _WALLET: ether}, details)
        require_held(at.config, self._claim, component=self._venue)
        due = at.tick + math.ceil(staking.unstake_queue_days * _DAY_S / at.step_s)
        entry = f"{self._entry_prefix}{due}"
        entries = {entry: ledger.get(entry, 0.0) + ether}
        return Step({lst: -order.amount, self._claim: ether}, details | {"arrival_tick": due}, entries=entries)

    def _arrivals(self, stretch: Stretch) -> list[Settlement]:
        """Claims that are due, by tick; the last one takes all of the claim, so that no rounding is left behind."""
        prefix = self._entry_prefix
        queue = sorted(
            (int(key.removeprefix(prefix)), amount) for key, amount in stretch.ledger.items() if key.startswith(prefix)
        )
        left = stretch.ledger.get(self._claim, 0.0)
        found = []
        for place, (tick, entry) in enumerate(queue):
            amount = left if place == len(queue) - 1 else entry
            left -= amount
            if stretch.first_tick <= tick < stretch.first_tick + stretch.ticks:
                deltas = {self._claim: -amount, _WALLET: amount}
                details: dict[str, Detail] = {"amount": amount, "token": "ETH"}
                kind = SettlementKind.UNSTAKE_ARRIVAL
                found.append(Settlement(tick=tick, venue=self._venue, kind=kind, deltas=deltas, details=details))
        return found

    def _rewards(self, stretch: Stretch) -> list[Settlement]:
        """EIGEN and ETHFI of ether.fi at each tick that pays, for tokens that the mode holds; Lido pays none."""
        if self._venue is not Venue.ETHERFI:
            return []
        return [
            self._reward(token, int(place) - 1, stretch)
            for token in _REWARD_TOKENS
            if f"wallet:BaseToken:{token}" in stretch.config.position_subscriptions and _holds_weeth(stretch)
            for place in np.flatnonzero(stretch.market[f"reward_{token.lower()}_per_eeth"])
            if place > 0  # the first entry is of the tick before
        ]

    def _reward(self, token: str, place: int, stretch: Stretch) -> Settlement:
        """One payment: eETH held into the tick x tokens per eETH.

        With KING configured, ether.fi pays KING, which is unwrapped at once and without cost into the same tokens:
        ``king_amount`` is the reward in KING, by the token's amount in one KING.
        """
        market = stretch.at(place).market
        rate, per_eeth = market["oracle_price_eth:weETH"], market[f"reward_{token.lower()}_per_eeth"]
        supplied = stretch.ledger.get(_A_WEETH, 0.0)
        weeth = stretch.ledger.get(_WEETH, 0.0)
        if supplied:
            weeth += supplied * market["liquidity_index:weETH"]
        amount = weeth * rate * per_eeth
        details: dict[str, Detail] = {"token": token, "eeth": weeth * rate, "per_eeth": per_eeth, "amount": amount}
        in_king = self._config(stretch.config).king.get(token, 0.0)
        if in_king > 0.0:
            details |= {"king_amount": amount / in_king, f"{token.lower()}_per_king": in_king}
        return Settlement(
            tick=stretch.first_tick + place,
            venue=self._venue,
            kind=SettlementKind.REWARD,
            deltas={f"wallet:BaseToken:{token}": amount},
            details=details,
        )

    @property
    def _claim(self) -> str:
        """ETH in the queue."""
        return f"{self._venue}:BaseToken:ETH"

    @property
    def _entry_prefix(self) -> str:
        """Of the ledger entry that holds what leaves the queue at a tick, followed by the tick."""
        return f"{self._venue}:unstaking:ETH@"

    def _check_tokens(self, order: Order, staking: StakingConfig) -> None:
        ether, lst = order.source_token, order.target_token
        if order.operation is OperationType.UNSTAKE:
            ether, lst = lst, ether
        if wallet_token(ether or "ETH") != "ETH" or (lst or staking.lst) != staking.lst:
            message = f"{order.operation} {order.source_token} to {order.target_token}: only ETH and {staking.lst}"
            raise VenueRefusal("VEN-009", message, self._venue)

    def _config(self, config: RunConfig) -> StakingConfig:
        found = config.venues.get(self._venue)
        if not isinstance(found, StakingConfig):
            raise VenueRefusal("VEN-001", f"the mode does not list the venue {self._venue}", self._venue)
        return found


def _holds_weeth(stretch: Stretch) -> bool:
    return bool(stretch.ledger.get(_WEETH, 0.0) or stretch.ledger.get(_A_WEETH, 0.0))
