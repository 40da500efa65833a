"""``basis backtest``: one run from the command line, through the same API as any other client's."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from basis.gateway.backtest_service import BacktestService
from basis.gateway.requests import BacktestRequest, PreparedBacktest, prepare
from basis.models.errors import ComponentError, InputError
from basis.runtime import config_loader
from basis.runtime.clock import SystemClock

SAMPLE_MARKER = "SYNTHETIC.json"
SAMPLE_VERSION = 2
"""Of ``basis.venues.data.synthetic``, named here because importing it takes longer than most commands (a test compares)."""

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from basis.models.messages import RunOutcome, RunStatus
    from basis.runtime.bus import Bus
    from basis.runtime.settings import Settings


class Arguments(NamedTuple):
    """What the command line said."""

    mode: str
    start: str | None
    end: str | None
    capital: float | None
    overrides: Sequence[str]
    processes: bool
    cluster: bool


class Finished(NamedTuple):
    """How it went."""

    outcome: RunOutcome
    wall_s: float
    """From the submission until the run is sealed, seconds."""


def prepared(arguments: Arguments, settings: Settings) -> PreparedBacktest:
    """Check all that can be checked without a service.

    Raises:
        InputError: CONFIG-00x.
    """
    request = BacktestRequest(
        strategy_name=arguments.mode,
        start_date=arguments.start,
        end_date=arguments.end,
        initial_capital=None,
        config_overrides=dict(config_loader.parse_override(text) for text in arguments.overrides),
    )
    return prepare(request.model_copy(update={"initial_capital": arguments.capital}), settings.configs_dir)


def ensure_data(folder: Path, *, given: bool, tell: Callable[[str], None]) -> None:
    """Make the synthetic sample on first use, where no catalogue was named.

    Raises:
        InputError: DATA-001, the named catalogue is not there, or the sample cannot be written.
    """
    if folder.is_dir():
        if not given and is_outdated_sample(folder):
            tell(f"the synthetic sample in {folder} is of an older version: making it anew")
            shutil.rmtree(folder)
        else:
            return
    if given:
        hint = "name a folder with --data, or make one with 'basis data sample DIR'"
        raise InputError("DATA-001", f"no market data at {folder}: {hint}", "cli")
    from basis.venues.data.sample import write_sample  # noqa: PLC0415 - only on first use: it loads pyarrow

    tell(f"no data given: making the synthetic sample in {folder} (once)")
    try:
        write_sample(folder)
    except OSError as error:
        raise InputError("DATA-001", f"cannot write {folder}: {error.strerror or error}", "cli") from error


def is_outdated_sample(folder: Path) -> bool:
    """True where a generator of another version than ours made the folder: golden runs and ML signals need this one."""
    marker = folder / SAMPLE_MARKER
    try:
        found = orjson.loads(marker.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return False  # not a sample: never delete what is not ours
    return isinstance(found, dict) and found.get("version") != SAMPLE_VERSION


async def run(
    ready: PreparedBacktest, where: AbstractAsyncContextManager[Bus], on_progress: Callable[[RunStatus], None]
) -> Finished:
    """Do one backtest to its end, on the services of a deployment.

    Raises:
        InputError: refused before it began.
        ComponentError: it could not be done.
    """
    async with where as bus:
        return await _follow(bus, ready, on_progress)


async def _follow(bus: Bus, ready: PreparedBacktest, on_progress: Callable[[RunStatus], None]) -> Finished:
    service = BacktestService(bus, SystemClock())
    begin = time.perf_counter()
    submit = await service.submit(ready)
    cid = submit.correlation_id
    cancelling: set[asyncio.Task[RunStatus]] = set()

    def interrupted() -> None:
        cancelling.add(asyncio.ensure_future(service.cancel(cid, "Ctrl-C")))

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    try:
        async for status in service.follow(cid):
            on_progress(status)
        outcome = await service.outcome(cid)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    if outcome is None:
        raise ComponentError("ENGINE-002", f"run {cid} ended without a result", "cli")
    return Finished(outcome, time.perf_counter() - begin)


def as_json(finished: Finished) -> dict[str, object]:
    """What ``--json`` prints."""
    outcome = finished.outcome
    return {
        "correlation_id": outcome.status.correlation_id,
        "status": outcome.status.status,
        "log_directory": outcome.log_directory,
        "ticks": outcome.ticks,
        "events": outcome.events,
        "event_hash": outcome.event_hash,
        "wall_s": round(finished.wall_s, 6),
        "loop_ticks_per_s": round(outcome.ticks / outcome.loop_s, 1) if outcome.loop_s > 0 else None,
        "result": outcome.result.model_dump(mode="json") if outcome.result is not None else None,
        "error_code": outcome.status.error_code,
        "error": outcome.status.error,
    }
