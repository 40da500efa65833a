"""VenueInterfaceManager and VenueInterfaceFactory: which venue answers for a run, and with what market."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Generic, TypeVar

from basis.models.config import RunConfig
from basis.models.errors import ComponentError
from basis.models.messages import (
    AdvanceReply,
    AdvanceRequest,
    CoverageReply,
    CoverageRequest,
    ExecuteReply,
    ExecuteRequest,
    PositionsReply,
    PositionsRequest,
    RunRef,
    Window,
)
from basis.runtime import codec
from basis.runtime.timeline import tick_time
from basis.venues.core import execution
from basis.venues.core.coverage import requested_range
from basis.venues.data.catalogue import Catalogue, Market, describe
from basis.venues.data.sample import is_synthetic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from basis.venues.core.interface import SimulatedVenue

_COMPONENT = "venue_interface_manager"
_WINDOW_BYTES = 500_000
"""Market columns of one window stay under this, so that a message that holds them stays under a megabyte."""

T = TypeVar("T")


class _Recent(Generic[T]):
    """The few most recently used values, made on demand: memory stays flat over any number of runs."""

    def __init__(self, limit: int = 8) -> None:
        self._limit = limit
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = make()
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
        return value


class VenueInterfaceFactory:
    """Makes the interfaces of a run from the entry-point group ``basis.venues``."""

    def __init__(self) -> None:
        self._found = {entry.name: entry for entry in entry_points(group="basis.venues")}

    def simulated(self, config: RunConfig) -> Mapping[str, SimulatedVenue]:
        """Simulated venues of a mode; a venue without a simulation is left out and refuses by absence (VEN-001)."""
        return {str(venue): self._found[venue].load() for venue in config.venues if venue in self._found}


class VenueInterfaceManager:
    """Answers for all venues of all backtests. Keeps caches, never state: any replica can answer any request.

    Args:
        data_dir: catalogue of market data.
        cache_dir: memory-mapped columns.
        factory: makes venue interfaces.
    """

    def __init__(self, data_dir: Path, cache_dir: Path, factory: VenueInterfaceFactory | None = None) -> None:
        self._data_dir = data_dir
        self._catalogue = Catalogue(data_dir, cache_dir)
        self._factory = factory or VenueInterfaceFactory()
        self._configs: _Recent[RunConfig] = _Recent()
        self._markets: _Recent[Market] = _Recent()
        self._venues: _Recent[Mapping[str, SimulatedVenue]] = _Recent()

    def coverage(self, request: CoverageRequest) -> CoverageReply:
        """Check that the data can feed every tick of a run.

        Raises:
            InputError: DATA-00x or CONFIG-003; names the series, the time, and what is there.
        """
        config = RunConfig.model_validate_json(request.config)
        market = self._catalogue.open(config.feeds())  # always anew: the files may have changed since the last run
        self._remember(hashlib.sha256(request.config).hexdigest(), config, market)
        step_s = config.time_step_s
        start, end = requested_range(request.start, request.end, market.coverage(step_s), step_s)
        market.check(int(start.timestamp() * 1000), int(end.timestamp() * 1000), step_s * 1000)
        return CoverageReply(
            start=start,
            end=end,
            data_sha256=market.data_sha256,
            data_path=str(self._data_dir.resolve()),
            synthetic=is_synthetic(self._data_dir),
            notes=describe(market, int(start.timestamp() * 1000)),
        )

    def advance(self, request: AdvanceRequest) -> AdvanceReply:
        """The next ticks: market columns, and balances with settlements applied."""
        run = request.run
        fitting = max(_WINDOW_BYTES // (8 * len(self._config(run).feeds())), 1)
        wanted = min(request.ticks, run.last_tick - request.first_tick + 1, fitting)
        columns = self._columns(run, request.first_tick, wanted)
        market = {name: codec.pack(values, name) for name, values in columns.items()}
        # scaled balances need no settlement: interest is in the index
        return AdvanceReply(window=Window(first_tick=request.first_tick, ticks=wanted, market=market, balances={}))

    def execute(self, request: ExecuteRequest) -> ExecuteReply:
        """One order or atomic group at its tick."""
        config = self._config(request.run)
        row = {name: float(values[0]) for name, values in self._columns(request.run, request.tick, 1).items()}
        venues = self._venues.get(request.run.config_sha256, lambda: self._factory.simulated(config))
        now = tick_time(request.run, request.tick)
        done = execution.execute(request.orders, request.ledger, row, config, venues, now)
        return ExecuteReply(handshakes=done.handshakes, ledger=done.ledger)

    def positions(self, request: PositionsRequest) -> PositionsReply:
        """Balances of the keys that the mode holds, as the venues have them."""
        config = self._config(request.run)
        return PositionsReply(balances={key: request.ledger.get(key, 0.0) for key in config.position_subscriptions})

    def _remember(self, config_sha256: str, config: RunConfig, market: Market) -> None:
        """Keep what the run's first window will ask for."""
        self._configs.get(config_sha256, lambda: config)
        self._markets.get(f"{config_sha256}{market.data_sha256}", lambda: market)
        self._venues.get(config_sha256, lambda: self._factory.simulated(config))

    def _config(self, run: RunRef) -> RunConfig:
        return self._configs.get(run.config_sha256, lambda: RunConfig.model_validate_json(run.config))

    def _market(self, run: RunRef) -> Market:
        key = f"{run.config_sha256}{run.data_sha256}"
        market = self._markets.get(key, lambda: self._catalogue.open(self._config(run).feeds()))
        if market.data_sha256 != run.data_sha256:
            message = f"the catalogue {self._data_dir} changed since the run was accepted: submit it again"
            raise ComponentError("DATA-002", message, _COMPONENT)
        return market

    def _columns(self, run: RunRef, first_tick: int, ticks: int) -> Mapping[str, codec.FloatArray]:
        market = self._market(run)
        start_ms = int(tick_time(run, first_tick).timestamp() * 1000)
        return market.columns(start_ms, run.time_step_s * 1000, ticks)
