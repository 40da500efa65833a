"""The list of runs: those that the cluster remembers and those that left a directory, as one. It survives both.

A sealed directory says all there is to say of its run. Until then the cluster knows better where the run is.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from nats.errors import Error as NatsError

from basis.gateway.backtest_service import ENDED, by_recency
from basis.models.errors import ComponentError, InputError
from basis.models.messages import RunOutcome, RunStatus
from basis.results.models import RunReport, RunSummary
from basis.results.registry import summarize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from basis.gateway.backtest_service import BacktestService
    from basis.models.messages import RunMetadata
    from basis.results.reader import Results
    from basis.runtime.clock import Clock

P = ParamSpec("P")
T = TypeVar("T")
_FRESH_S: Final = 1.0
"""How old an answer of the cluster may be in a list."""
_COMPONENT = "run_list"
_log = logging.getLogger(__name__)


class RunList:
    """Runs of cluster and disk.

    Args:
        backtests: what the cluster remembers.
        results: what is on disk.
        clock: ages answers.
    """

    def __init__(self, backtests: BacktestService, results: Results, clock: Clock) -> None:
        self.results = results
        self._backtests = backtests
        self._clock = clock
        self._ended: dict[str, RunStatus] = {}
        self._known: Mapping[str, RunStatus] = {}
        self._known_at = float("-inf")

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Blocking work on the logs, in a thread.

        Raises:
            ComponentError: as the work; LOG-004 where a file cannot be read.
        """
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise ComponentError("LOG-004", f"{where}{error.strerror or error}", _COMPONENT) from error

    async def all(self) -> list[RunSummary]:
        """Every run, queued ones first, then newest first; without sparklines."""
        on_disk = await self.read(self.results.registry.summaries)
        sealed = {cid for cid, summary in on_disk.items() if summary.ended_at is not None}
        in_cluster = await self._cluster(sealed)
        found = dict(on_disk)
        for cid, status in in_cluster.items():
            if cid not in sealed:
                found[cid] = merged(found.get(cid), status)
        return sorted(found.values(), key=_recency, reverse=True)

    async def summary(self, correlation_id: str) -> RunSummary:
        """One run, with its sparkline.

        Raises:
            InputError: RUN-001, neither cluster nor disk knows it.
            ComponentError: LOG-004, its directory is damaged.
        """
        try:
            summary = await self.read(self.results.summary, correlation_id)
        except InputError:
            return merged(None, await self._backtests.status(correlation_id))
        if summary.ended_at is not None:
            return summary
        status = await self._status(correlation_id)
        return summary if status is None else merged(summary, status)

    async def report(self, correlation_id: str) -> RunReport:
        """All about one run; of one that has no directory what the cluster says. Errors as :meth:`summary`."""
        summary = await self.summary(correlation_id)
        try:
            found = await self.read(self.results.report, correlation_id)
        except InputError:
            return RunReport(**summary.model_dump())
        return found.model_copy(update={name: getattr(summary, name) for name in RunSummary.model_fields})

    async def statuses(self) -> list[RunStatus]:
        """Every run in short: as the cluster remembers it, else as its directory says."""
        on_disk = await self.read(self.results.registry.summaries)
        found = {status.correlation_id: status for status in await self._backtests.list()}
        found |= {cid: status_of(summary) for cid, summary in on_disk.items() if cid not in found}
        return sorted(found.values(), key=by_recency, reverse=True)

    async def status(self, correlation_id: str) -> RunStatus:
        """Where a run is: as the cluster remembers it, else as its directory says.

        Raises:
            InputError: RUN-001, neither knows it.
            ComponentError: LOG-004, its directory is damaged.
        """
        try:
            return await self._backtests.status(correlation_id)
        except InputError:
            return status_of(await self.read(self.results.summary, correlation_id))

    async def outcome(self, correlation_id: str) -> RunOutcome | None:
        """What became of a run; None while it has not ended. Errors as :meth:`status`."""
        try:
            return await self._backtests.outcome(correlation_id)
        except InputError:
            opened = await self.read(self.results.open, correlation_id)
        if opened.metadata.sealed_at is None:
            return None
        return outcome_of(opened.metadata, str(opened.run.path))

    async def remove(self, correlation_id: str) -> None:
        """Delete an ended run: its directory, its records, its curves.

        Raises:
            InputError: RUN-001, neither cluster nor disk knows it.
            ComponentError: RUN-002, it has not ended; BUS-002, no event-logger answers.
        """
        if correlation_id not in {summary.correlation_id for summary in await self.all()}:
            raise InputError("RUN-001", f"no run {correlation_id}", _COMPONENT)
        await self._backtests.remove(correlation_id)
        self._ended.pop(correlation_id, None)
        self._known_at = float("-inf")
        await self.read(self.results.forget, correlation_id)

    async def _status(self, correlation_id: str) -> RunStatus | None:
        """What the cluster says of a run; None where it knows nothing, or does not answer."""
        try:
            return await self._backtests.status(correlation_id)
        except (InputError, NatsError, TimeoutError):
            return None

    async def _cluster(self, sealed: set[str]) -> Mapping[str, RunStatus]:
        """correlation_id -> status of runs that are not sealed; what was known last where NATS does not answer."""
        now = self._clock.monotonic()
        if now - self._known_at < _FRESH_S:
            return self._known
        try:
            found = await self._backtests.list(sealed | self._ended.keys())
        except (NatsError, TimeoutError, ComponentError) as error:
            _log.warning("the cluster's runs are not known: %s", error or type(error).__name__)
            return self._known
        self._ended |= {status.correlation_id: status for status in found if status.status in ENDED}
        self._known = self._ended | {status.correlation_id: status for status in found}
        self._known_at = now
        return self._known


def merged(summary: RunSummary | None, status: RunStatus) -> RunSummary:
    """A run that has not been sealed: where it is by the cluster, what it is by its directory where there is one."""
    told = {
        "status": status.status,
        "progress": min(status.progress, 1.0),
        "ticks": status.ticks,
        "total_ticks": status.total_ticks or (summary.total_ticks if summary else None),
        "started_at": status.started_at or (summary.started_at if summary else None),
        "ended_at": status.completed_at,
        "final_value": status.equity,
        "error_code": status.error_code,
        "error": status.error,
    }
    if summary is not None:
        return summary.model_copy(update=told)
    return RunSummary(correlation_id=status.correlation_id, strategy=status.strategy, mode="backtest", **told)


def status_of(summary: RunSummary) -> RunStatus:
    """A run in short, of which only the directory is left."""
    return RunStatus(
        correlation_id=summary.correlation_id,
        strategy=summary.strategy,
        status=summary.status,
        progress=summary.progress,
        ticks=summary.ticks,
        total_ticks=summary.total_ticks or summary.ticks,
        started_at=summary.started_at,
        completed_at=summary.ended_at,
        equity=summary.final_value,
        error_code=summary.error_code,
        error=summary.error,
    )


def outcome_of(metadata: RunMetadata, directory: str) -> RunOutcome:
    """What became of a run, of which only the directory is left; the time of its loop is that of the whole run."""
    ended = metadata.ended_at or metadata.started_at
    return RunOutcome(
        status=status_of(summarize(metadata)),
        log_directory=directory,
        ticks=metadata.ticks,
        events=metadata.counts,
        event_hash=metadata.event_hash,
        loop_s=max((ended - metadata.started_at).total_seconds(), 0.0),
        result=metadata.result,
    )


def _recency(summary: RunSummary) -> tuple[bool, str, str]:
    begun = summary.started_at or summary.ended_at
    return summary.status == "queued", begun.isoformat() if begun is not None else "", summary.correlation_id
