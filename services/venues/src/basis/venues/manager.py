"""VenueInterfaceManager and VenueInterfaceFactory: which venue answers for a run, and with what market."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np

from basis.models.config import DirectionalStrategyConfig, RunConfig
from basis.models.errors import ComponentError, InputError
from basis.models.messages import (
    AdvanceReply,
    AdvanceRequest,
    CoverageReply,
    CoverageRequest,
    ExecuteReply,
    ExecuteRequest,
    Outcome,
    PositionsReply,
    PositionsRequest,
    RunRef,
    Window,
)
from basis.models.operations import ExecutionStatus
from basis.runtime import codec
from basis.runtime.timeline import tick_time
from basis.runtime.valuation import Valuer
from basis.venues.core import execution
from basis.venues.core.coverage import requested_range, require_whole_bars
from basis.venues.core.interface import At, Stretch
from basis.venues.core.settlement import settle
from basis.venues.data import signals
from basis.venues.data.catalogue import Catalogue, Market, describe
from basis.venues.data.sample import is_synthetic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from basis.venues.core.interface import SimulatedVenue

_COMPONENT = "venue_interface_manager"
_WINDOW_BYTES = 500_000
"""Columns and settlements of one window stay under this, so that a message that holds them stays under a megabyte."""
_SETTLEMENT_BYTES = 300
"""About what one settlement takes in a message."""
_FUNDING_S = 8 * 3600
_BLOCK_TICKS = 4096
"""Ticks that market columns are read for at once."""
_BLOCKS_KEPT = 4
"""Of all runs; one takes 30 kB a column."""

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


class _Setup(NamedTuple):
    """What follows from a configuration alone: made once, used by every request of its runs."""

    config: RunConfig
    valuer: Valuer
    venues: Mapping[str, SimulatedVenue]
    tick_bytes: int
    """Most that one tick adds to a reply, liquidations and the like aside."""


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
        self._setups: _Recent[_Setup] = _Recent()
        self._markets: _Recent[Market] = _Recent()
        self._blocks: _Recent[Mapping[str, codec.FloatArray]] = _Recent(_BLOCKS_KEPT)

    def coverage(self, request: CoverageRequest) -> CoverageReply:
        """Check that the data can feed every tick of a run.

        Raises:
            InputError: DATA-00x or CONFIG-003; names the series, the time, and what is there.
        """
        config = RunConfig.model_validate_json(request.config)
        market = self._open(config)  # always anew: the files may have changed since the last run
        self._remember(hashlib.sha256(request.config).hexdigest(), config, market)
        step_s = config.time_step_s
        start, end = requested_range(request.start, request.end, market.coverage(step_s), step_s)
        require_whole_bars(market.feeds, start, step_s)
        self._check(config, market, start, end)
        return CoverageReply(
            start=start,
            end=end,
            data_sha256=market.data_sha256,
            data_path=str(self._data_dir.resolve()),
            synthetic=is_synthetic(self._data_dir),
            notes=describe(market, int(start.timestamp() * 1000)),
        )

    def advance(self, request: AdvanceRequest) -> AdvanceReply:
        """The next ticks: market columns, balances with settlements applied, and the settlements."""
        run = request.run
        setup = self._setup(run)
        fitting = max(_WINDOW_BYTES // setup.tick_bytes, 1)
        wanted = min(request.ticks, run.last_tick - request.first_tick + 1, fitting)
        columns = self._columns_and_before(run, request.first_tick, wanted)
        stretch = Stretch(
            request.first_tick,
            wanted,
            run.start,
            run.time_step_s,
            columns,
            request.ledger,
            setup.config,
            setup.valuer,
        )
        settled = settle(stretch, setup.venues)
        window = Window(
            first_tick=request.first_tick,
            ticks=wanted,
            market=codec.pack_all({name: values[1:] for name, values in columns.items()}),
            balances=codec.pack_all(settled.balances),
            settlements=codec.pack_settlement_columns(settled.columns),
        )
        return AdvanceReply(window=window)

    def execute(self, request: ExecuteRequest) -> ExecuteReply:
        """One order or atomic group at its tick; and those that follow while each is confirmed, for it is a simulation."""
        run = request.run
        setup = self._setup(run)
        row = self._row(run, request.tick)
        return simulate(request, At(request.tick, run.time_step_s, row, setup.config, setup.valuer), setup.venues)

    def positions(self, request: PositionsRequest) -> PositionsReply:
        """Balances of the keys that the mode holds, as the venues have them."""
        config = self._config(request.run)
        return PositionsReply(balances=_held(config, request.ledger))

    def _row(self, run: RunRef, tick: int) -> Mapping[str, float]:
        """Market columns at one tick."""
        return {name: float(values[0]) for name, values in self._columns(run, tick, 1).items()}

    def _open(self, config: RunConfig) -> Market:
        """The market of a configuration; the one place where a run's series are opened."""
        if isinstance(config.strategy, DirectionalStrategyConfig):
            return signals.open_market(self._catalogue, config.feeds(), config.strategy.signals)
        return self._catalogue.open(config.feeds())

    def _check(self, config: RunConfig, market: Market, start: datetime, end: datetime) -> None:
        """Refuse what cannot feed every tick of [start, end]."""
        start_ms, end_ms = (int(moment.timestamp() * 1000) for moment in (start, end))
        if isinstance(config.strategy, DirectionalStrategyConfig):
            signals.check_market(market, config.strategy.signals, self._data_dir, start_ms, end_ms)
        market.check(start_ms, end_ms, config.time_step_s * 1000)

    def _remember(self, config_sha256: str, config: RunConfig, market: Market) -> None:
        """Keep what the run's first window will ask for."""
        self._setups.get(config_sha256, lambda: self._prepare(config))
        self._markets.get(f"{config_sha256}{market.data_sha256}", lambda: market)

    def _prepare(self, config: RunConfig) -> _Setup:
        columns = len(config.feeds()) + len(config.position_subscriptions)
        fundings = len(config.perps()) * config.time_step_s / _FUNDING_S
        tick_bytes = 8 * columns + math.ceil(_SETTLEMENT_BYTES * fundings)
        return _Setup(config, Valuer.of(config), self._factory.simulated(config), tick_bytes)

    def _setup(self, run: RunRef) -> _Setup:
        return self._setups.get(run.config_sha256, lambda: self._prepare(RunConfig.model_validate_json(run.config)))

    def _config(self, run: RunRef) -> RunConfig:
        return self._setup(run).config

    def _market(self, run: RunRef) -> Market:
        key = f"{run.config_sha256}{run.data_sha256}"
        market = self._markets.get(key, lambda: self._open(self._config(run)))
        if market.data_sha256 != run.data_sha256:
            message = f"the catalogue {self._data_dir} changed since the run was accepted: submit it again"
            raise ComponentError("DATA-002", message, _COMPONENT)
        return market

    def _columns(self, run: RunRef, first_tick: int, ticks: int) -> Mapping[str, codec.FloatArray]:
        """Market columns of a stretch, cut from blocks: reading a feed costs as much for 64 ticks as for 4,096, and half of
        the ticks asked for ahead are asked for again after orders. Where a range is cut makes no difference to its values."""
        first, last = first_tick // _BLOCK_TICKS, (first_tick + ticks - 1) // _BLOCK_TICKS
        try:
            blocks = [self._block(run, number) for number in range(first, last + 1)]
        except InputError:  # of a tick of the block that was not asked for, or of one that was: then with its own words
            return self._read(run, first_tick, ticks)
        begin = first_tick - first * _BLOCK_TICKS
        cut = slice(begin, begin + ticks)
        if len(blocks) == 1:
            return {name: values[cut] for name, values in blocks[0].items()}
        return {name: np.concatenate([block[name] for block in blocks])[cut] for name in blocks[0]}

    def _block(self, run: RunRef, number: int) -> Mapping[str, codec.FloatArray]:
        first = number * _BLOCK_TICKS
        ticks = min(_BLOCK_TICKS, run.last_tick + 1 - first)
        key = f"{run.config_sha256}{run.data_sha256}{run.start.isoformat()}{run.time_step_s}/{first}/{ticks}"
        return self._blocks.get(key, lambda: self._read(run, first, ticks))

    def _read(self, run: RunRef, first_tick: int, ticks: int) -> Mapping[str, codec.FloatArray]:
        market = self._market(run)
        start_ms = int(tick_time(run, first_tick).timestamp() * 1000)
        return market.columns(start_ms, run.time_step_s * 1000, ticks)

    def _columns_and_before(self, run: RunRef, first_tick: int, ticks: int) -> Mapping[str, codec.FloatArray]:
        """One value more than ticks: the first is of the tick before, at tick 0 of tick 0 itself."""
        if first_tick > 0:
            return self._columns(run, first_tick - 1, ticks + 1)
        return {name: np.concatenate((values[:1], values)) for name, values in self._columns(run, 0, ticks).items()}


def simulate(request: ExecuteRequest, at: At, venues: Mapping[str, SimulatedVenue]) -> ExecuteReply:
    """Execute at simulated venues: what is asked for, and what follows it while each is confirmed."""
    ledger, now = request.ledger, tick_time(request.run, request.tick)
    outcomes: list[Outcome] = []
    for orders in (request.orders, *request.following):
        done = execution.execute(orders, ledger, at, venues, now)
        ledger = done.ledger
        outcomes.append(Outcome(handshakes=done.handshakes, ledger=ledger, balances=_held(at.config, ledger)))
        if any(handshake.status is not ExecutionStatus.CONFIRMED for handshake in done.handshakes):
            break
    return ExecuteReply(**dict(outcomes[0]), ahead=tuple(outcomes[1:]))


def _held(config: RunConfig, ledger: Mapping[str, float]) -> dict[str, float]:
    return {key: ledger.get(key, 0.0) for key in config.position_subscriptions}
