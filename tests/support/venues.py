"""The conformance suites over the real core of the venues service, and small helpers for tests of venues."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basis.models.messages import PositionsRequest
from basis.models.order import Order
from basis.runtime.valuation import Valuer
from basis.testkit.conformance.adapter import SimulatedAdapter
from basis.testkit.conformance.cases import Settled
from basis.testkit.runs import START, run_ref
from basis.venues.core.execution import Executed, execute
from basis.venues.core.interface import At, Stretch, is_own_entry, set_entries
from basis.venues.core.settlement import settle
from basis.venues.manager import VenueInterfaceFactory, VenueInterfaceManager

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.execution import ExecutionHandshake
    from basis.venues.core.interface import SimulatedVenue


def order(operation: str, venue: str, amount: float, number: int = 0, group: str | None = None, **fields: Any) -> Order:
    """An order of one operation; a group makes it an atomic step with its number as sequence."""
    values: dict[str, Any] = {
        "operation_id": f"op-{number}",
        "operation": operation,
        "venue": venue,
        "amount": amount,
        "strategy_intent": "entry_full",
        "strategy_id": "hand_made",
    }
    if group is not None:
        values |= {"execution_mode": "atomic", "atomic_group_id": group, "sequence_in_group": number}
    return Order.model_validate(values | fields)


def at_tick(config: RunConfig, market: Mapping[str, float], tick: int = 3) -> At:
    """A tick of a configuration."""
    return At(tick, config.time_step_s, market, config, Valuer.of(config))


def stretch_of(
    config: RunConfig, ledger: Mapping[str, float], market: Mapping[str, NDArray[np.float64]], first_tick: int = 1
) -> Stretch:
    """A stretch of ticks; the market has one value more than ticks."""
    ticks = min((len(column) for column in market.values()), default=2) - 1
    return Stretch(first_tick, ticks, START, config.time_step_s, market, ledger, config, Valuer.of(config))


_FACTORY = VenueInterfaceFactory()
_SIMULATED: dict[tuple[str, ...], Mapping[str, SimulatedVenue]] = {}


def simulated(config: RunConfig) -> Mapping[str, SimulatedVenue]:
    """Simulated venues of a mode, kept: loading entry points takes longer than a transaction."""
    names = tuple(config.venues)
    if names not in _SIMULATED:
        _SIMULATED[names] = _FACTORY.simulated(config)
    return _SIMULATED[names]


def transact(
    orders: Sequence[Order],
    ledger: Mapping[str, float],
    config: RunConfig,
    market: Mapping[str, float],
    tick: int = 3,
) -> Executed:
    """One transaction through the core, with all venues of the mode."""
    now = START + timedelta(seconds=config.time_step_s * tick)
    return execute(orders, ledger, at_tick(config, market, tick), simulated(config), now)


def settle_columns(
    ledger: Mapping[str, float], config: RunConfig, market: Mapping[str, NDArray[np.float64]], first_tick: int
) -> Settled:
    """Ticks without orders through the core, with all venues of the mode; own entries that ended are gone."""
    stretch = stretch_of(config, ledger, market, first_tick)
    done = settle(stretch, simulated(config))
    after = dict(ledger)
    for key, column in done.balances.items():
        value = float(column[-1])
        if is_own_entry(key):
            set_entries(after, {key: value})
        else:
            after[key] = value
    return Settled(done.settlements, done.balances, after)


class CoreVenue(SimulatedAdapter):
    """Answers the questions of a suite of simulated venues with the real core; inherit it before the cases and the suite."""

    def transact(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float], tick: int = 3
    ) -> tuple[Sequence[ExecutionHandshake], Mapping[str, float]]:
        """One transaction."""
        done = transact(orders, ledger, self.config(), market, tick)
        return done.handshakes, done.ledger

    def settle(
        self, ledger: Mapping[str, float], market: Mapping[str, NDArray[np.float64]], first_tick: int
    ) -> Settled:
        """Ticks without orders."""
        return settle_columns(ledger, self.config(), market, first_tick)

    def positions(self, ledger: Mapping[str, float]) -> Mapping[str, float]:
        """The service's own answer."""
        manager = VenueInterfaceManager(Path("unused"), Path("unused"))
        return manager.positions(PositionsRequest(run=run_ref(self.config()), ledger=dict(ledger))).balances
