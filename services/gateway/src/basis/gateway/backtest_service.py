"""BacktestService: accepts backtests, follows them, and answers for what became of them. No HTTP here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nats.js.errors import KeyNotFoundError, NoKeysError, NotFoundError

from basis.models.config import RunConfig
from basis.models.errors import ComponentError, InputError
from basis.models.messages import (
    Control,
    CoverageReply,
    CoverageRequest,
    RunOutcome,
    RunRecord,
    RunStatus,
    RunSubmit,
)
from basis.runtime import bus as subjects
from basis.runtime import codec, health
from basis.runtime.clock import new_correlation_id
from basis.runtime.structured_logger import StructuredLogger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.msg import Msg

    from basis.gateway.requests import PreparedBacktest
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock

_COMPONENT = "backtest_service"
_SERVICE_PATIENCE_S = 10.0
_LOOK_EVERY_S = 1.0
ENDED = frozenset({"completed", "failed", "cancelled"})
"""Statuses after which nothing changes."""


class BacktestService:
    """The API of backtests, for the HTTP gateway and the command line alike.

    Args:
        bus: connection.
        clock: wall clock.
    """

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._log = StructuredLogger(bus, "api", clock)

    async def submit(self, prepared: PreparedBacktest) -> RunSubmit:
        """Check against services and data, and hand the run to the engines.

        Raises:
            InputError: CONFIG-001 a mode without a strategy, DATA-00x data that cannot feed it, LOG-003 a log that cannot
                be written; nothing was started.
            ComponentError: BUS-002, a service is not there.
        """
        config = prepared.merged.config
        await self._check_services(config.mode)
        cid = new_correlation_id()
        coverage = await self._bus.request(
            subjects.venues_coverage(cid),
            CoverageRequest(config=prepared.merged.payload, start=prepared.start, end=prepared.end),
            CoverageReply,
            patience_s=_SERVICE_PATIENCE_S,
        )
        submit = RunSubmit(
            correlation_id=cid,
            run_mode="backtest",
            config=prepared.merged.payload,
            config_sha256=prepared.merged.sha256,
            start=coverage.start,
            end=coverage.end,
            initial_capital=prepared.capital,
            data_sha256=coverage.data_sha256,
            data_path=coverage.data_path,
            data_notes=_notes(coverage),
            submitted_at=self._clock.now(),
        )
        header = {subjects.HEADER_MSG_ID: f"{cid}.submit"}
        await self._bus.publish_stream([subjects.StreamMessage(subjects.run_submit(cid), codec.encode(submit), header)])
        await self._log.info(
            cid,
            submit.start,
            f"accepted {config.mode}",
            start=submit.start.isoformat(),
            end=submit.end.isoformat(),
            initial_capital=submit.initial_capital,
            synthetic_data=coverage.synthetic,
        )
        return submit

    async def _check_services(self, mode: str) -> None:
        """The engine knows the mode, and the event-logger can write: better asked before than found out after."""
        deadline = self._clock.monotonic() + _SERVICE_PATIENCE_S
        while True:
            strategy, logger = await asyncio.gather(
                health.ask(self._bus, "strategy"), health.ask(self._bus, "event-logger")
            )
            if strategy is not None and logger is not None:
                break
            if self._clock.monotonic() > deadline:
                missing = "strategy" if strategy is None else "event-logger"
                message = f"the service {missing} does not answer: start it with 'basis services up' or docker compose"
                raise ComponentError("BUS-002", message, _COMPONENT)
            await self._clock.sleep(0.1)
        built = strategy.get("strategies", [])
        if isinstance(built, list) and mode not in built:
            message = f"mode {mode!r} has no strategy in this version; built: {', '.join(built)}"
            raise InputError("CONFIG-001", message, _COMPONENT)
        if not logger.get("ready"):
            raise InputError("LOG-003", str(logger.get("reason", "the event-logger is not ready")), _COMPONENT)

    async def status(self, correlation_id: str) -> RunStatus:
        """Where a run is.

        Raises:
            InputError: RUN-001, unknown.
        """
        runs = await self._bus.bucket(subjects.KV_RUNS)
        try:
            entry = await runs.get(correlation_id)
        except KeyNotFoundError:
            return await self._queued(correlation_id)
        return RunRecord.model_validate_json(entry.value or b"").status

    async def _queued(self, correlation_id: str) -> RunStatus:
        try:
            found = await self._bus.jetstream.get_last_msg(subjects.STREAM_RUNS, subjects.run_submit(correlation_id))
        except NotFoundError as error:
            raise InputError("RUN-001", f"no run {correlation_id!r}", _COMPONENT) from error
        submit = codec.decode(found.data or b"", RunSubmit)
        return RunStatus(correlation_id=correlation_id, strategy=_mode_of(submit), status="queued", total_ticks=0)

    async def outcome(self, correlation_id: str) -> RunOutcome | None:
        """What became of a run; None while it has not ended.

        Raises:
            InputError: RUN-001, unknown.
        """
        results = await self._bus.bucket(subjects.KV_RESULTS)
        try:
            entry = await results.get(correlation_id)
        except KeyNotFoundError:
            await self.status(correlation_id)
            return None
        return RunOutcome.model_validate_json(entry.value or b"")

    async def list(self) -> list[RunStatus]:
        """All runs that this cluster remembers, newest first."""
        runs = await self._bus.bucket(subjects.KV_RUNS)
        try:
            keys = await runs.keys()
        except NoKeysError:
            return []
        found = [RunRecord.model_validate_json((await runs.get(key)).value or b"").status for key in keys]
        return sorted(found, key=lambda status: str(status.started_at), reverse=True)

    async def cancel(self, correlation_id: str, reason: str = "cancelled on request") -> RunStatus:
        """End a run at its next window; one that has ended stays as it is.

        Raises:
            InputError: RUN-001, unknown.
        """
        status = await self.status(correlation_id)
        if status.status not in ENDED:
            await self._bus.publish(
                subjects.control(correlation_id), codec.encode(Control(command="cancel", reason=reason))
            )
        return status

    async def follow(self, correlation_id: str) -> AsyncIterator[RunStatus]:
        """Status of a run as it changes, until it has ended; looks once a second where no news comes.

        Raises:
            InputError: RUN-001, unknown.
        """
        news: asyncio.Queue[RunStatus] = asyncio.Queue(maxsize=64)

        async def heard(message: Msg) -> None:
            if not news.full():  # a slow reader misses steps, never the end: the end is looked up
                news.put_nowait(RunStatus.model_validate_json(message.data))

        subscription = await self._bus.client.subscribe(subjects.progress(correlation_id), cb=heard)
        try:
            status = await self.status(correlation_id)
            while True:
                yield status
                if status.status in ENDED:
                    return
                try:
                    status = await asyncio.wait_for(news.get(), _LOOK_EVERY_S)
                except TimeoutError:
                    status = await self.status(correlation_id)
        finally:
            await subscription.unsubscribe()


def _notes(coverage: CoverageReply) -> tuple[str, ...]:
    return (*(("synthetic data",) if coverage.synthetic else ()), *coverage.notes)


def _mode_of(submit: RunSubmit) -> str:
    return RunConfig.model_validate_json(submit.config).mode
