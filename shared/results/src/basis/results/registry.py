"""Runs under a log root, each found again from its directory alone; read once, and again when they change."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from basis.models.errors import ComponentError
from basis.results import curves, report
from basis.results.directories import RunDirectories
from basis.results.lines import EventFile
from basis.results.models import RunSummary

if TYPE_CHECKING:
    from pathlib import Path

    from basis.models.messages import RunMetadata
    from basis.results.directories import RunDir

SPARKLINE_POINTS: Final = 60
"""Values of a sparkline."""


class _Seen(NamedTuple):
    stamp: tuple[int, int]
    """Time of change and size of ``run_metadata.json``."""
    run: RunDir
    summary: RunSummary
    sealed: bool
    sparkline: tuple[float, ...] | None
    """None until somebody asked for it."""


class RunRegistry:
    """The runs of a log root; threads may share one.

    Args:
        root: folder of all runs; it need not be there.
    """

    def __init__(self, root: Path) -> None:
        self.directories = RunDirectories(root)
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def summaries(self) -> dict[str, RunSummary]:
        """correlation_id -> summary without a sparkline, in no order; a directory that cannot be read is one with LOG-004."""
        newest: dict[str, tuple[tuple[int, int], RunDir]] = {}
        for run in self.directories.runs():
            try:
                stat = run.metadata.stat()
            except FileNotFoundError:  # deleted meanwhile
                continue
            stamp = (stat.st_mtime_ns, stat.st_size)
            if run.correlation_id not in newest or stamp > newest[run.correlation_id][0]:
                newest[run.correlation_id] = (stamp, run)
        with self._lock:
            self._seen = {cid: seen for cid, seen in self._seen.items() if cid in newest}
            known = dict(self._seen)
        for cid, (stamp, run) in newest.items():
            seen = known.get(cid)
            if seen is None or seen.stamp != stamp or seen.run != run:
                known[cid] = self._look(run, stamp)
        with self._lock:
            self._seen |= known
        return {cid: known[cid].summary for cid in newest}

    def changed_at(self) -> int:
        """Time at which a run last came to the root or left it, nanoseconds since the epoch; 0 where there is no root."""
        try:
            return self.directories.root.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def with_sparkline(self, summary: RunSummary) -> RunSummary:
        """The summary with its sparkline, where its directory has a tick; of a run that goes on with what is on disk."""
        seen = self._seen.get(summary.correlation_id)
        if seen is None:
            return summary
        if seen.sparkline is None or not seen.sealed:
            try:
                line = sparkline(seen.run)
                if not seen.sealed and not summary.ticks:  # nobody but the directory knows where it is
                    summary = with_progress(summary, seen.run)
            except (
                ComponentError,
                OSError,
                KeyError,
                TypeError,
                ValueError,
            ):  # its own page says what is wrong with it
                line = ()
            seen = seen._replace(sparkline=line)
            with self._lock:
                self._seen[summary.correlation_id] = seen
        return summary.model_copy(update={"sparkline": seen.sparkline or None})

    def forget(self, correlation_id: str) -> None:
        """Let go of a run that was deleted."""
        with self._lock:
            self._seen.pop(correlation_id, None)

    def _look(self, run: RunDir, stamp: tuple[int, int]) -> _Seen:
        try:
            metadata = self.directories.read_metadata(run)
        except ComponentError as error:
            return _Seen(stamp, run, _unreadable(run, error), sealed=True, sparkline=())
        return _Seen(stamp, run, summarize(metadata), sealed=metadata.sealed_at is not None, sparkline=None)


def summarize(metadata: RunMetadata) -> RunSummary:
    """Summary of a run from its metadata alone."""
    result = metadata.result
    step = curves.time_step_s(metadata.config)
    total = 0  # a paper or live run without an end
    if metadata.end_time is not None:
        total = int((metadata.end_time - metadata.start_time).total_seconds()) // step + 1
    ended = metadata.sealed_at is not None
    apy = metadata.config.get("target_apy")
    return RunSummary(
        correlation_id=metadata.correlation_id,
        strategy=metadata.strategy,
        mode=metadata.mode,
        status=metadata.status,
        progress=min(metadata.ticks / max(total, 1), 1.0) if ended else 0.0,
        share_class=metadata.share_class,
        initial_capital=metadata.initial_capital,
        start=metadata.start_time,
        end=metadata.end_time,
        started_at=metadata.started_at,
        ended_at=metadata.ended_at,
        ticks=metadata.ticks,
        total_ticks=total or None,
        final_value=result.final_value if result else None,
        total_return=result.total_return if result else None,
        annualized_return=result.annualized_return if result else None,
        volatility=result.volatility if result else None,
        sharpe=result.sharpe if result else None,
        max_drawdown=result.max_drawdown if result else None,
        target_apy=apy if isinstance(apy, int | float) else None,
        synthetic="synthetic data" in metadata.data_notes,
        error_code=metadata.error_code,
        error=metadata.error,
        event_hash=metadata.event_hash,
    )


def with_progress(summary: RunSummary, run: RunDir) -> RunSummary:
    """Summary of a run that has not ended, with what is on disk of it."""
    if summary.ended_at is not None or summary.error_code == "LOG-004":
        return summary
    tick = report.last_tick(run)
    if tick is None:
        return summary
    total = summary.total_ticks or tick + 1
    line = sparkline(run)
    equity = line[-1] if line else None
    return summary.model_copy(
        update={"ticks": tick + 1, "progress": min((tick + 1) / total, 1.0), "final_value": equity}
    )


def sparkline(run: RunDir, points: int = SPARKLINE_POINTS) -> tuple[float, ...]:
    """Equity at places spread evenly over the log: read from there, nothing between.

    Raises:
        ComponentError: LOG-004, a line is no event.
    """
    with EventFile(run.event_file("exposures")) as file:
        return tuple(float(file.parse(line)["share_class_value"]) for line in file.sample(points))


def _unreadable(run: RunDir, error: ComponentError) -> RunSummary:
    """What is said of a directory whose metadata cannot be read: the little that can be, and why."""
    try:
        found = orjson.loads(run.metadata.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        found = None
    strategy = found.get("strategy") if isinstance(found, dict) else None
    return RunSummary(
        correlation_id=run.correlation_id,
        strategy=strategy if isinstance(strategy, str) else "?",
        mode="backtest",
        status="failed",
        progress=0.0,
        error_code=error.error_code,
        error=error.message,
    )
