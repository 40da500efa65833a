"""Results: the one entrance to what runs left behind, for gateway, command line and Python. Blocking; threads may share one."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.errors import ComponentError
from basis.models.events import EVENT_MODELS
from basis.results import curves, events, export, extract, moment, orders, registry, report, tearsheet
from basis.results.cache import ColumnCache, check_size
from basis.results.core import columns
from basis.results.core.comparison import compare
from basis.results.models import Charts, PnlAnswer, PnlDay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from basis.models.messages import RunMetadata
    from basis.results.directories import RunDir
    from basis.results.models import (
        Comparison,
        EventPage,
        Moment,
        OrderDetail,
        OrderPage,
        RunReport,
        RunSummary,
        TypedEventPage,
    )

_COMPONENT = "results"
_log = logging.getLogger(__name__)


class Opened(NamedTuple):
    """A run as it is now."""

    run: RunDir
    metadata: RunMetadata


@contextmanager
def _reading(correlation_id: str) -> Iterator[None]:
    """Let what an event lacks, or has of the wrong kind, be damage of the log.

    Events are read as they are: models would look at each of a hundred thousand lines once more.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        _log.warning("log of run %s", correlation_id, exc_info=True)
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        message = f"log of run {correlation_id}: an event is not what its type says ({what}): see 'basis verify'"
        raise ComponentError("LOG-004", message, _COMPONENT) from error


class Results:
    """Reads runs from their directories alone; every method but the registry's raises what :meth:`open` raises.

    Args:
        logs: root of the run directories.
        cache: folder of the columns of sealed runs; None keeps them in memory only.
    """

    def __init__(self, logs: Path, cache: Path | None = None) -> None:
        self.registry = registry.RunRegistry(logs)
        self.cache = ColumnCache(cache)

    def open(self, correlation_id: str) -> Opened:
        """Directory and metadata of a run.

        Raises:
            InputError: RUN-001, no such run.
            ComponentError: LOG-004, its metadata is damaged, or of another run.
        """
        directories = self.registry.directories
        run = directories.find(correlation_id)
        metadata = directories.read_metadata(run)
        if (metadata.correlation_id, metadata.pid) != (run.correlation_id, run.pid):
            message = (
                f"{run.metadata} is that of run {metadata.correlation_id}, pid {metadata.pid}: "
                f"the directory must be called {metadata.correlation_id}/{metadata.pid}"
            )
            raise ComponentError("LOG-004", message, _COMPONENT)
        return Opened(run, metadata)

    def summary(self, correlation_id: str) -> RunSummary:
        """Summary with sparkline; errors as :meth:`open`."""
        with _reading(correlation_id):
            opened = self.open(correlation_id)
            found = registry.with_progress(registry.summarize(opened.metadata), opened.run)
            return found.model_copy(update={"sparkline": registry.sparkline(opened.run) or None})

    def report(self, correlation_id: str) -> RunReport:
        """The report; errors as :meth:`open`."""
        with _reading(correlation_id):
            opened = self.open(correlation_id)
            return report.build(self.cache, *opened, self.summary(correlation_id))

    def curves(
        self,
        correlation_id: str,
        names: Sequence[str],
        points: int = 1200,
        start_tick: int | None = None,
        end_tick: int | None = None,
    ) -> dict[str, Any]:
        """Columns by M4: the fields of :class:`CurvesAnswer` as arrays, NaN where a value is not defined.

        See :func:`basis.results.curves.picture`; errors as there and as :meth:`open`.
        """
        with _reading(correlation_id):
            run, metadata = self.open(correlation_id)
            drawn = curves.picture(curves.read(self.cache, run, metadata, names), points, start_tick, end_tick)
            ticks, values = drawn.table
            return {
                "columns": values,
                "ticks": ticks,
                "times": curves.times_ms(ticks, metadata),
                "total_ticks": drawn.total_ticks,
                "first_tick": drawn.first_tick,
                "last_tick": drawn.last_tick,
                "method": "raw" if drawn.whole else "m4",
            }

    def at(self, correlation_id: str, tick: int) -> Moment:
        """State at a tick."""
        with _reading(correlation_id):
            run, metadata = self.open(correlation_id)
            return moment.at(run, metadata, tick)

    def orders(self, correlation_id: str, after: int = -1, limit: int = 100) -> OrderPage:
        """A page of orders."""
        with _reading(correlation_id):
            run, metadata = self.open(correlation_id)
            for event_type in ("orders", "operation_executions", "reconciliations"):
                check_size(run, metadata, event_type)
            return orders.page(run, metadata, after, limit)

    def order(self, correlation_id: str, operation_id: str) -> OrderDetail:
        """One order with all its events."""
        with _reading(correlation_id):
            return orders.detail(self.open(correlation_id).run, operation_id)

    def events(
        self, correlation_id: str, types: Sequence[str] = (), text: str = "", after: int = -1, limit: int = 100
    ) -> EventPage:
        """A page of events in causal order."""
        with _reading(correlation_id):
            return events.page(self.open(correlation_id).run, types, text, after, limit)

    def typed_events(
        self, correlation_id: str, event_type: str, text: str = "", after: int = -1, limit: int = 100
    ) -> TypedEventPage:
        """A page of events of one type."""
        with _reading(correlation_id):
            return events.typed_page(self.open(correlation_id).run, event_type, text, after, limit)

    def event(self, correlation_id: str, event_type: str, order: int) -> bytes:
        """One event exactly as on disk."""
        with _reading(correlation_id):
            return events.one(self.open(correlation_id).run, event_type, order)

    def pnl(self, correlation_id: str) -> PnlAnswer:
        """PnL by cause, venue, asset and day."""
        with _reading(correlation_id):
            run, metadata = self.open(correlation_id)
            last = report.last_event(run, "pnl_calculations") or {}
            attribution = last.get("attribution", {})
            return PnlAnswer(
                attribution=attribution,
                by_venue=last.get("pnl_by_venue", {}),
                by_asset=last.get("pnl_by_asset", {}),
                total_pnl=last.get("total_pnl", 0.0),
                gap=last.get("attribution_gap", 0.0),
                days=[PnlDay.model_validate(day) for day in report.daily(self.cache, run, metadata)],
            )

    def charts(self, correlation_id: str) -> Charts:
        """Charts worth drawing."""
        with _reading(correlation_id):
            run, metadata = self.open(correlation_id)
            last = report.last_event(run, "pnl_calculations") or {}
            known = curves.available(run, metadata)
            return Charts(charts=columns.charts(known, last.get("attribution", {}), metadata.share_class))

    def compare(self, a: str, b: str) -> Comparison:
        """Two runs side by side."""
        return compare(self.report(a), self.report(b))

    def export(self, correlation_id: str) -> Iterator[bytes]:
        """The run as a zip, in pieces; errors as :meth:`open`, before the first piece."""
        opened = self.open(correlation_id)
        for event_type in EVENT_MODELS:
            check_size(*opened, event_type)
        return export.stream(self.cache, *opened, self.report(correlation_id))

    def tearsheet(self, correlation_id: str) -> str:
        """The run as one self-contained HTML page."""
        with _reading(correlation_id):
            return tearsheet.build(self.cache, *self.open(correlation_id), self.report(correlation_id))

    def forget(self, correlation_id: str) -> None:
        """Let go of all that is kept of a run that was deleted."""
        self.registry.forget(correlation_id)
        self.cache.forget(correlation_id)

    def prepare(self, correlation_id: str) -> None:
        """Extract all columns of a run now, so that nobody has to wait for them."""
        with _reading(correlation_id):
            opened = self.open(correlation_id)
            for group in extract.GROUPS:
                self.cache.get(*opened, group)
            self.report(correlation_id)
