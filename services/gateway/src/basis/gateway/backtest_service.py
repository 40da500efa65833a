"""BacktestService: accepts backtests, follows them, and answers for what became of them. No HTTP here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.js.errors import BadRequestError, KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError

from basis.models.config import RunConfig
from basis.models.errors import ComponentError, InputError
from basis.models.messages import (
    Control,
    CoverageReply,
    CoverageRequest,
    RemoveReply,
    RemoveRequest,
    RunOutcome,
    RunRecord,
    RunStatus,
    RunSubmit,
)
from basis.runtime import codec, health, subjects
from basis.runtime.bus import StreamMessage
from basis.runtime.clock import new_correlation_id
from basis.runtime.structured_logger import StructuredLogger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Container, Sequence

    from nats.aio.msg import Msg
    from nats.js.api import RawStreamMsg

    from basis.gateway.requests import PreparedBacktest
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock

_log = logging.getLogger(__name__)
_COMPONENT = "backtest_service"
_SERVICE_PATIENCE_S = 10.0
_LOOK_EVERY_S = 1.0
_READS_AT_ONCE = 32
_CONTROL_TIMEOUT_S = 1.0
_CONTROL_TRIES = 5
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
            ComponentError: BUS-002, a service is not there; LOG-002, the work queue is full.
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
        await self._bus.publish_stream([StreamMessage(subjects.run_submit(cid), codec.encode(submit), header)])
        await self._log.info(
            cid,
            submit.start,
            f"accepted {config.mode}",
            start=submit.start.isoformat(),
            end=coverage.end.isoformat(),
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
            reason = str(logger.get("reason", "the event-logger is not ready")).removeprefix("LOG-003 ")
            raise InputError("LOG-003", reason, _COMPONENT)

    async def status(self, correlation_id: str) -> RunStatus:
        """Where a run is.

        Raises:
            InputError: RUN-001, unknown.
        """
        found = await self._recorded_status(correlation_id)
        if found is not None:
            return found
        try:
            return _queued_status(await self._submission(correlation_id))
        except InputError:
            # a short run may have begun, ended and left the queue between the two looks
            found = await self._recorded_status(correlation_id)
            if found is None:
                raise
            return found

    async def _recorded_status(self, correlation_id: str) -> RunStatus | None:
        runs = await self._bus.bucket(subjects.KV_RUNS)
        try:
            entry = await runs.get(correlation_id)
        except KeyNotFoundError:
            return None
        return RunRecord.model_validate_json(entry.value or b"").status

    async def _submission(self, correlation_id: str) -> RawStreamMsg:
        """The run's message in the work queue.

        Raises:
            InputError: RUN-001, not there: unknown.
        """
        try:
            return await self._bus.jetstream.get_last_msg(subjects.STREAM_RUNS, subjects.run_submit(correlation_id))
        except NotFoundError as error:
            raise InputError("RUN-001", f"no run {correlation_id!r}", _COMPONENT) from error

    async def outcome(self, correlation_id: str) -> RunOutcome | None:
        """What became of a run; None while it has not ended.

        Raises:
            InputError: RUN-001, unknown.
        """
        found = await self._recorded_outcome(correlation_id)
        if found is not None:
            return found
        status = await self.status(correlation_id)
        if status.status not in ENDED:
            return None
        # an engine records the outcome before the status: it ended between the two looks, or no engine ever had it
        return await self._recorded_outcome(correlation_id) or _never_started(status)

    async def _recorded_outcome(self, correlation_id: str) -> RunOutcome | None:
        results = await self._bus.bucket(subjects.KV_RESULTS)
        try:
            entry = await results.get(correlation_id)
        except KeyNotFoundError:
            return None
        return RunOutcome.model_validate_json(entry.value or b"")

    async def list(self, without: Container[str] = ()) -> Sequence[RunStatus]:
        """All runs that this cluster remembers: queued ones first, then newest first.

        Args:
            without: runs that need not be looked up.
        """
        reads = asyncio.Semaphore(_READS_AT_ONCE)
        submitted = await self._submitted()  # before the keys: a run that begins meanwhile is in one of the two
        recorded = await self._recorded()

        async def look(correlation_id: str) -> RunStatus | None:
            async with reads:
                try:
                    return await self.status(correlation_id)
                except InputError:  # gone between the two looks
                    return None

        known = [cid for cid in dict.fromkeys([*recorded, *submitted]) if cid not in without]
        found = await asyncio.gather(*(look(correlation_id) for correlation_id in known))
        return sorted((status for status in found if status is not None), key=by_recency, reverse=True)

    async def _submitted(self) -> Sequence[str]:
        """Runs in the work queue: those that wait, and those that an engine has in hand."""
        wanted = subjects.run_submit(subjects.ANY_RUN)
        info = await self._bus.jetstream.stream_info(subjects.STREAM_RUNS, subjects_filter=wanted)
        return [subject.split(".")[1] for subject in info.state.subjects or {}]

    async def _recorded(self) -> Sequence[str]:
        """Runs with an entry in the bucket, removed ones among them.

        By the stream's own list: nats-py's ``keys()`` makes a consumer, and who may make consumers may have the server
        deliver anywhere (docs/security.md).
        """
        kept = f"$KV.{subjects.KV_RUNS}."
        info = await self._bus.jetstream.stream_info(f"KV_{subjects.KV_RUNS}", subjects_filter=f"{kept}>")
        return [subject.removeprefix(kept) for subject in info.state.subjects or {}]

    async def cancel(self, correlation_id: str, reason: str = "cancelled on request") -> RunStatus:
        """End a run: at once where it is still queued, at its next window where an engine has it.

        One that has ended stays as it is.

        Returns:
            Status after the request: ``cancelled`` for a queued run, ``running`` for one whose engine was told.

        Raises:
            InputError: RUN-001, unknown.
            ComponentError: BUS-002, its engine does not answer: it died, and another one has not taken over yet.
        """
        status = await self.status(correlation_id)
        if status.status == "queued":
            status = await self._cancel_queued(status, reason)
        if status.status in ENDED:
            return status
        return await self._cancel_running(correlation_id, reason)

    async def _cancel_queued(self, status: RunStatus, reason: str) -> RunStatus:
        """Record a queued run as cancelled, unless an engine was first; the record is what an engine obeys."""
        cancelled = status.model_copy(
            update={
                "status": "cancelled",
                "completed_at": self._clock.now(),
                "error_code": "ENGINE-003",
                "error": reason,
            }
        )
        runs = await self._bus.bucket(subjects.KV_RUNS)
        payload = RunRecord(status=cancelled).model_dump_json().encode()
        try:
            await runs.create(status.correlation_id, payload)
        except KeyWrongLastSequenceError:
            return await self.status(status.correlation_id)
        await self._unqueue(status.correlation_id)
        await self._bus.publish(subjects.progress(status.correlation_id), cancelled.model_dump_json().encode())
        return cancelled

    async def _unqueue(self, correlation_id: str) -> None:
        try:
            message = await self._submission(correlation_id)
            await self._bus.jetstream.delete_msg(subjects.STREAM_RUNS, message.seq or 0)
        except (InputError, NotFoundError, BadRequestError) as error:
            # an engine took it away first: it saw the record and let the run be
            _log.debug("%s was not in the queue any more: %s", correlation_id, error)

    async def _cancel_running(self, correlation_id: str, reason: str) -> RunStatus:
        order = codec.encode(Control(command="cancel", reason=reason))
        for _ in range(_CONTROL_TRIES):
            with contextlib.suppress(NatsError, TimeoutError):
                await self._bus.client.request(subjects.control(correlation_id), order, timeout=_CONTROL_TIMEOUT_S)
                return await self.status(correlation_id)
            status = await self.status(correlation_id)
            if status.status in ENDED:
                return status
        message = f"the engine of run {correlation_id} does not answer; once another one has taken over, cancel again"
        raise ComponentError("BUS-002", message, _COMPONENT)

    async def remove(self, correlation_id: str) -> int:
        """Take the directory and the records of an ended run away; returns how many directories there were.

        Raises:
            ComponentError: RUN-002, it has not ended; BUS-002, the event-logger, who alone writes logs, does not answer.
        """
        with contextlib.suppress(InputError):
            status = await self.status(correlation_id)
            if status.status not in ENDED:
                message = f"run {correlation_id} is {status.status}: cancel it first"
                raise ComponentError("RUN-002", message, _COMPONENT)
        request = RemoveRequest(correlation_id=correlation_id)
        subject = subjects.directory_remove(correlation_id)
        answer = await self._bus.request(subject, request, RemoveReply, patience_s=_SERVICE_PATIENCE_S)
        for name in (subjects.KV_RUNS, subjects.KV_RESULTS):
            await (await self._bus.bucket(name)).purge(correlation_id)
        return answer.removed

    async def record(self, correlation_id: str) -> RunRecord:
        """What is on record of a run that has begun, of any kind.

        Raises:
            InputError: RUN-001, unknown.
            ComponentError: RUN-003, it has not begun.
        """
        runs = await self._bus.bucket(subjects.KV_RUNS)
        with contextlib.suppress(KeyNotFoundError):
            return RunRecord.model_validate_json((await runs.get(correlation_id)).value or b"")
        status = await self.status(correlation_id)
        raise ComponentError("RUN-003", f"run {correlation_id} is {status.status}: it has not begun", _COMPONENT)

    async def move_capital(self, correlation_id: str, amount: float, request_id: str) -> RunRecord:
        """Have the client put capital in or take it out, from the run's next tick on.

        Args:
            correlation_id: run.
            amount: share class; positive = deposit, negative = withdrawal.
            request_id: the client's own id of it: asked again under it, it counts once.

        Returns:
            The record, with the request on it.

        Raises:
            InputError: RUN-001, unknown.
            ComponentError: RUN-003, the run is not under way; BUS-002, its engine does not answer: ask again.
        """
        request = Control(command="deposit" if amount > 0.0 else "withdraw", amount=abs(amount), request_id=request_id)
        heard = "no answer"
        for _ in range(_CONTROL_TRIES):
            record = await self.record(correlation_id)
            if record.status.status in ENDED:
                message = f"run {correlation_id} is {record.status.status}: no capital moves any more"
                raise ComponentError("RUN-003", message, _COMPONENT)
            with contextlib.suppress(NatsError, TimeoutError):
                answer = await self._bus.client.request(
                    subjects.control(correlation_id), codec.encode(request), timeout=_CONTROL_TIMEOUT_S
                )
                heard = answer.data.decode()
                if heard == "ok":
                    return await self.record(correlation_id)
                await self._clock.sleep(0.1)
        message = f"the engine of run {correlation_id} does not answer ({heard}): ask again under the same request_id"
        raise ComponentError("BUS-002", message, _COMPONENT)

    async def follow(self, correlation_id: str) -> AsyncGenerator[RunStatus, None]:
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
                    async with asyncio.timeout(
                        _LOOK_EVERY_S
                    ):  # wait_for of Python 3.11 loses a cancellation now and then
                        status = await news.get()
                except TimeoutError:
                    status = await self.status(correlation_id)
        finally:
            await subscription.unsubscribe()


def _notes(coverage: CoverageReply) -> tuple[str, ...]:
    return (*(("synthetic data",) if coverage.synthetic else ()), *coverage.notes)


def _queued_status(message: RawStreamMsg) -> RunStatus:
    submit = codec.decode(message.data or b"", RunSubmit)
    mode = RunConfig.model_validate_json(submit.config).mode
    return RunStatus(correlation_id=submit.correlation_id, strategy=mode, status="queued", total_ticks=0)


def _never_started(status: RunStatus) -> RunOutcome:
    return RunOutcome(
        status=status, log_directory=None, ticks=status.ticks, events={}, event_hash=None, loop_s=0.0, result=None
    )


def by_recency(status: RunStatus) -> tuple[bool, str]:
    """Key that sorts queued runs last and newer ones after older ones."""
    begun = status.started_at or status.completed_at
    return status.status == "queued", begun.isoformat() if begun is not None else ""
