"""LiveService: starts, stops and steers paper and live runs. No HTTP here."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, NotFoundError

from basis.models.config import RunConfig
from basis.models.errors import ComponentError, InputError
from basis.models.messages import (
    Control,
    Halt,
    HaltReply,
    ReadyReply,
    ReadyRequest,
    RunMode,
    RunRecord,
    RunStatus,
    RunSubmit,
)
from basis.runtime import codec, health, subjects
from basis.runtime.bus import StreamMessage
from basis.runtime.clock import new_correlation_id
from basis.runtime.structured_logger import StructuredLogger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from basis.gateway.backtest_service import BacktestService
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.config_loader import MergedConfig

_COMPONENT = "live_service"
_PATIENCE_S = 30.0
_CONTROL_TIMEOUT_S = 1.0
_CONTROL_TRIES = 8
_BEGIN_S = 10.0
_NO_DATA = "0" * 64
"""In place of the catalogue's hash: what a live run reads is kept tick by tick in the bucket live_ticks."""
ENDED = frozenset({"completed", "failed", "cancelled"})


class PreparedLive(NamedTuple):
    """A request that makes sense in itself."""

    merged: MergedConfig
    """Configuration, with the tick of ``live.time_step_s``."""
    run_mode: RunMode
    """``paper`` or ``live``."""
    capital: float
    """Capital of a paper run, share class; a live run has what its venues hold."""
    end: datetime | None
    """Last tick; None = until it is stopped."""


class LiveService:
    """The API of paper and live runs, for the HTTP gateway and the command line alike.

    Args:
        bus: connection.
        clock: wall clock.
        runs: status and outcomes, which are those of any run.
    """

    def __init__(self, bus: Bus, clock: Clock, runs: BacktestService) -> None:
        self._bus = bus
        self._clock = clock
        self._runs = runs
        self._log = StructuredLogger(bus, "api", clock)

    async def start(self, prepared: PreparedLive) -> RunSubmit:
        """Ask the venues whether the run may begin, and hand it to the engines.

        Raises:
            InputError: CONFIG-001 a mode without a strategy; VEN-016 live trading is not armed; RUN-004 another live run has an
                account of it.
            ComponentError: what a venue lacks (VEN-00x, DATA-00x), or BUS-002, a service is not there.
        """
        config = prepared.merged.config
        if prepared.run_mode == "live" and not config.live.enabled:
            message = f"{config.mode} is not armed for live trading: set live.enabled to true in its configuration"
            raise InputError("VEN-016", message, _COMPONENT)
        await self._check_strategy(config.mode)
        if prepared.run_mode == "live":
            await self._require_free(config)
        cid = new_correlation_id()
        ready = await self._bus.request(
            subjects.venues_ready(cid),
            ReadyRequest(
                correlation_id=cid,
                run_mode=prepared.run_mode,
                config=prepared.merged.payload,
                initial_capital=prepared.capital,
            ),
            ReadyReply,
            patience_s=_PATIENCE_S,
        )
        start = _whole_second(self._clock.now())
        if prepared.end is not None and prepared.end <= start:
            raise InputError("CONFIG-003", f"end {prepared.end.isoformat()} has passed already", _COMPONENT)
        submit = RunSubmit(
            correlation_id=cid,
            run_mode=prepared.run_mode,
            config=prepared.merged.payload,
            config_sha256=prepared.merged.sha256,
            start=start,
            end=prepared.end,
            initial_capital=ready.equity if prepared.run_mode == "live" else prepared.capital,
            initial_balances=ready.balances if prepared.run_mode == "live" else None,
            data_sha256=_NO_DATA,
            data_path=f"live: {', '.join(ready.venues)}",
            data_notes=ready.notes,
            submitted_at=self._clock.now(),
        )
        header = {subjects.HEADER_MSG_ID: f"{cid}.submit"}
        await self._bus.publish_stream([StreamMessage(subjects.live_submit(cid), codec.encode(submit), header)])
        await self._log.info(
            cid,
            start,
            f"accepted {config.mode}, {prepared.run_mode}",
            initial_capital=submit.initial_capital,
            venues=list(ready.venues),
        )
        await self._begun(cid)
        return submit

    async def _begun(self, correlation_id: str) -> None:
        """Wait a moment for an engine to take the run; where none is free it stays queued."""
        deadline = self._clock.monotonic() + _BEGIN_S
        while self._clock.monotonic() < deadline:
            with contextlib.suppress(InputError):
                await self.record(correlation_id)
                return
            await asyncio.sleep(0.02)

    async def status(self, correlation_id: str) -> RunStatus:
        """Where a paper or live run is.

        Raises:
            InputError: RUN-001, no such run, or a backtest.
        """
        try:
            return (await self.record(correlation_id)).status
        except InputError:
            try:
                submit = await self._submitted(correlation_id)
            except NotFoundError:
                return (await self.record(correlation_id)).status
        mode = RunConfig.model_validate_json(submit.config).mode
        return RunStatus(correlation_id=correlation_id, strategy=mode, status="queued", total_ticks=0)

    async def _check_strategy(self, mode: str) -> None:
        answer = await health.ask(self._bus, "strategy")
        if answer is None:
            message = "the service strategy does not answer: start it with 'basis services up' or docker compose"
            raise ComponentError("BUS-002", message, _COMPONENT)
        built = answer.get("strategies", [])
        if isinstance(built, list) and mode not in built:
            message = f"mode {mode!r} has no strategy in this version; built: {', '.join(built)}"
            raise InputError("CONFIG-001", message, _COMPONENT)

    async def _require_free(self, config: RunConfig) -> None:
        """One account, one run: an emergency stop cancels all that is open there, and what another does is a mismatch."""
        for record in await self.list():
            cid = record.status.correlation_id
            if record.run_mode != "live" or record.status.status in ENDED:
                continue
            with contextlib.suppress(NotFoundError):
                other = RunConfig.model_validate_json((await self._submitted(cid)).config)
                if shared := [str(venue) for venue in config.venues if venue in other.venues]:
                    message = f"{', '.join(shared)}: live run {cid} of {other.mode} has the account: stop it first"
                    raise InputError("RUN-004", message, _COMPONENT)

    async def _submitted(self, correlation_id: str) -> RunSubmit:
        """A paper or live run as it was handed to the engines; it is in the work queue until it has ended."""
        found = await self._bus.jetstream.get_last_msg(subjects.STREAM_LIVE, subjects.live_submit(correlation_id))
        return codec.decode(found.data or b"", RunSubmit)

    async def record(self, correlation_id: str) -> RunRecord:
        """Entry of a paper or live run.

        Raises:
            InputError: RUN-001, no such run, or a backtest.
        """
        runs = await self._bus.bucket(subjects.KV_RUNS)
        with contextlib.suppress(KeyNotFoundError):
            entry = await runs.get(correlation_id)
            found = RunRecord.model_validate_json(entry.value or b"")
            if found.run_mode != "backtest":
                return found
        raise InputError("RUN-001", f"no paper or live run {correlation_id!r}", _COMPONENT)

    async def list(self) -> Sequence[RunRecord]:
        """Paper and live runs that this cluster remembers, newest first."""
        runs = await self._bus.bucket(subjects.KV_RUNS)
        found: list[RunRecord] = []
        for status in await self._runs.list():
            with contextlib.suppress(KeyNotFoundError):
                entry = await runs.get(status.correlation_id)
                found.append(RunRecord.model_validate_json(entry.value or b""))
        return [record for record in found if record.run_mode != "backtest"]

    async def stop(self, correlation_id: str, reason: str = "stopped on request") -> RunRecord:
        """End a run after the tick in hand; positions stay as they are."""
        return await self._control(correlation_id, Control(command="stop", reason=reason))

    async def rebalance(self, correlation_id: str) -> RunRecord:
        """Re-target at the next tick."""
        return await self._control(correlation_id, Control(command="rebalance", request_id=new_correlation_id()))

    async def deposit(self, correlation_id: str, amount: float, request_id: str = "") -> RunRecord:
        """Capital that the client puts in, from the next tick on. A live run counts it when it arrives at a venue, announced or
        not: there this is a word in the log, so that nothing is counted twice."""
        identity = request_id or new_correlation_id()
        return await self._control(correlation_id, Control(command="deposit", amount=amount, request_id=identity))

    async def withdraw(self, correlation_id: str, amount: float, request_id: str = "") -> RunRecord:
        """Capital that the client takes out: free balance first, else unwound 1:1."""
        identity = request_id or new_correlation_id()
        return await self._control(correlation_id, Control(command="withdraw", amount=amount, request_id=identity))

    async def emergency_stop(self, correlation_id: str, *, unwind: bool, reason: str) -> HaltReply | None:
        """No new order from now on, open orders cancelled, then the run ends: at once, or once all is unwound.

        The halt is written first: venues read it before every order that they send. That does not wait for the engine.

        Returns:
            What the venues cancelled; None for a paper run, which has no orders at any venue.

        Raises:
            ComponentError: the venues could not cancel everything, or nobody answered; the engine was told all the same.
        """
        record = await self.record(correlation_id)
        halted: HaltReply | None = None
        failed: ComponentError | None = None
        if record.run_mode == "live":
            order = Halt(correlation_id=correlation_id, unwind=unwind, reason=reason)
            trading = await self._bus.bucket(subjects.KV_TRADING)
            await trading.put(subjects.halt_key(correlation_id), order.model_dump_json().encode())
            try:
                halted = await self._bus.request(
                    subjects.venues_halt(correlation_id), order, HaltReply, patience_s=_PATIENCE_S
                )
            except ComponentError as error:
                failed = error
        if record.status.status not in ENDED:
            await self._control(
                correlation_id, Control(command="emergency_stop", reason=reason, unwind=unwind, request_id="emergency")
            )
        if failed is not None:
            raise failed
        return halted

    async def _control(self, correlation_id: str, request: Control) -> RunRecord:
        """Tell the engine of a run, until it says that it heard.

        Raises:
            InputError: RUN-001; RUN-003, it has ended.
            ComponentError: BUS-002, no engine answers: it died, and another one has not taken over yet.
        """
        record = await self.record(correlation_id)
        if record.status.status in ENDED:
            raise InputError("RUN-003", f"run {correlation_id} has ended: {record.status.status}", _COMPONENT)
        payload = codec.encode(request)
        heard = b"no engine"
        for _ in range(_CONTROL_TRIES):
            with contextlib.suppress(NatsError, TimeoutError):
                answer = await self._bus.client.request(
                    subjects.control(correlation_id), payload, timeout=_CONTROL_TIMEOUT_S
                )
                heard = answer.data
                if heard == b"ok":
                    return await self.record(correlation_id)
            await asyncio.sleep(0.25)
        message = f"the engine of run {correlation_id} does not answer ({heard.decode()}): try again"
        raise ComponentError("BUS-002", message, _COMPONENT)


def _whole_second(now: datetime) -> datetime:
    """The next whole second: stamps of ticks are whole seconds."""
    return now.replace(microsecond=0) + timedelta(seconds=1)
