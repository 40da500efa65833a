"""What an engine says of its run: which it is, that it starts, how far it is, how it ended. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import orjson

from basis.models.messages import OPEN_END, RunEnd, RunOutcome, RunRef, RunStart, RunStatus
from basis.runtime.timeline import tick_time

if TYPE_CHECKING:
    from datetime import datetime

    from basis.models.config import RunConfig
    from basis.models.errors import ComponentError
    from basis.models.messages import Checkpoint, RunResult, RunSealed, RunSubmit
    from basis.strategy.core.requested_flows import ConfigText


def reference(submit: RunSubmit, text: ConfigText, time_step_s: int, last_tick: int, pid: int) -> RunRef:
    """What every request of the run carries, so that any replica can answer it."""
    return RunRef(
        correlation_id=submit.correlation_id,
        pid=pid,
        config_sha256=text.sha256,
        config=text.payload,
        start=submit.start,
        time_step_s=time_step_s,
        last_tick=last_tick,
        initial_capital=submit.initial_capital,
        data_sha256=submit.data_sha256,
        run_mode=submit.run_mode,
    )


def start(submit: RunSubmit, config: RunConfig, state: Checkpoint, code_version: str) -> RunStart:
    """What opens the run's directory: the configuration as it was submitted, without what was asked for since."""
    return RunStart(
        correlation_id=submit.correlation_id,
        pid=state.pid,
        mode=submit.run_mode,
        strategy=config.mode,
        initial_capital=submit.initial_capital,
        share_class=config.share_class.currency,
        config=orjson.loads(submit.config),
        config_sha256=submit.config_sha256,
        data_path=submit.data_path,
        data_sha256=submit.data_sha256,
        data_notes=submit.data_notes,
        code_version=code_version,
        start_time=submit.start,
        end_time=submit.end,
        started_at=state.started_at,
    )


def status(
    correlation_id: str,
    strategy: str,
    last_tick: int,
    name: str,
    state: Checkpoint | None,
    failure: ComponentError | None = None,
) -> RunStatus:
    """Where the run is.

    Args:
        correlation_id: run.
        strategy: its mode.
        last_tick: of the whole run, ``OPEN_END`` where it has none.
        name: ``running``, or how it ended.
        state: after the last committed tick; None before the run's start.
        failure: why it ended, where not well.
    """
    total = 0 if last_tick == OPEN_END else last_tick + 1
    ticks = ticks_done(state) if state is not None else 0
    return RunStatus.model_validate(
        {
            "correlation_id": correlation_id,
            "strategy": strategy,
            "status": name,
            "progress": ticks / total if total else 0.0,
            "ticks": ticks,
            "total_ticks": total,
            "started_at": state.started_at if state is not None else None,
            "equity": state.statistics.equity if state is not None else None,
            "error_code": failure.error_code if failure is not None else None,
            "error": failure.message if failure is not None else None,
        }
    )


def ticks_done(state: Checkpoint) -> int:
    """Ticks committed."""
    return state.next_tick - state.skipped


def last_done(state: Checkpoint) -> int:
    """Last committed tick; 0 before the first."""
    return max(state.next_tick - 1, 0)


def ending(failure: ComponentError | None) -> Literal["completed", "cancelled", "failed"]:
    """How a run ended that ended so."""
    if failure is None:
        return "completed"
    return "cancelled" if failure.error_code == "ENGINE-003" else "failed"


def end(run: RunRef, ended: RunStatus, state: Checkpoint, result: RunResult | None, ended_at: datetime) -> RunEnd:
    """What has the run sealed.

    Args:
        run: run.
        ended: how it ended.
        state: after its last committed tick.
        result: what it came to.
        ended_at: wall clock.
    """
    last = last_done(state)
    return RunEnd(
        correlation_id=run.correlation_id,
        pid=run.pid,
        status=ended.status,
        last_tick=last,
        timestamp=tick_time(run, last),
        ticks=ticks_done(state),
        counts=state.counts,
        error_code=ended.error_code,
        error=ended.error,
        result=result,
        ended_at=ended_at,
    )


def outcome(
    ended: RunStatus, state: Checkpoint, sealed: RunSealed | None, result: RunResult | None, loop_s: float
) -> RunOutcome:
    """What is kept of the run.

    Args:
        ended: how it ended.
        state: after its last committed tick.
        sealed: what is on disk; None where nothing is.
        result: what it came to.
        loop_s: from its first tick until it was on disk, seconds.
    """
    return RunOutcome(
        status=ended,
        log_directory=sealed.log_directory if sealed is not None else None,
        ticks=ticks_done(state),
        events=sealed.counts if sealed is not None else {},
        event_hash=sealed.event_hash if sealed is not None else None,
        loop_s=loop_s,
        result=result,
    )
