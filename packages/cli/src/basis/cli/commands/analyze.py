"""``basis analyze lookahead``: does a mode decide on anything that it could not have known?

Look-ahead: the run is repeated on the catalogue as it was known at several instants; up to there every decision and every
order must be the same. Recursion: the run is repeated from a later start; what its decisions look at must be the same.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from basis.cli import backtest, deployment
from basis.cli.backtest import Arguments
from basis.cli.output import Rows, print_json, print_rows, refusal
from basis.models.errors import ComponentError, InputError
from basis.models.events import WALL_CLOCK_FIELDS
from basis.runtime.nats_server import NatsServer, NatsServerError
from basis.runtime.settings import Settings
from basis.venues.data.truncate import write_known_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from basis.cli.backtest import Finished
    from basis.gateway.requests import PreparedBacktest

_COMPARED = ("strategy_decisions", "orders")
_DAY = timedelta(days=1)
_LEFT_OUT = WALL_CLOCK_FIELDS | {"pid", "correlation_id"}


class Check(NamedTuple):
    """One repetition."""

    kind: str
    """``lookahead`` or ``recursion``."""
    at: datetime
    """Instant that the data was cut at, or later start."""
    compared: int
    """Events compared."""
    difference: str | None
    """First difference in words; None where all is the same."""


class _Runs:
    """Runs of one mode on this machine, each with its own catalogue and start."""

    def __init__(self, arguments: Arguments, settings: Settings) -> None:
        self._arguments = arguments
        self._settings = settings

    def prepared(self, start: datetime | None = None, end: datetime | None = None) -> PreparedBacktest:
        """The run, from or to another time."""
        begin, finish = (moment.isoformat() if moment else None for moment in (start, end))
        changed = self._arguments._replace(start=begin or self._arguments.start, end=finish or self._arguments.end)
        return backtest.prepared(changed, self._settings)

    def run(self, ready: PreparedBacktest, data: Path) -> Path:
        """Do it; returns its directory.

        Raises:
            ComponentError: it failed, with the run's own code.
        """
        settings = self._settings.model_copy(update={"data_dir": data})
        nothing_apart = deployment.Children(settings, ())  # from the second run on there are threads: no fork
        finished: Finished = asyncio.run(
            backtest.run(ready, deployment.beside(settings, nothing_apart), lambda _: None)
        )
        outcome = finished.outcome
        if outcome.status.status != "completed" or outcome.log_directory is None:
            code = outcome.status.error_code or "ENGINE-002"
            raise ComponentError(code, outcome.status.error or "the run did not complete", "analyze")
        return Path(outcome.log_directory)


def command(arguments: Arguments, data: Path | None, cuts: int, *, as_json: bool) -> int:
    """Analyse; exit code 1 where a decision changed, 2 where it cannot be run."""
    logging.getLogger("basis").addHandler(logging.NullHandler())
    logging.getLogger("basis").propagate = False
    server = NatsServer()
    try:
        server.launch()
        settings = Settings() if data is None else Settings(data_dir=data)
        backtest.ensure_data(settings.data_dir, given=data is not None, tell=lambda _: None)
        with tempfile.TemporaryDirectory(prefix="basis-analyze-") as folder:
            settings = settings.model_copy(update={"nats_url": server.wait(), "logs_dir": Path(folder) / "logs"})
            checks = list(_analyse(_Runs(arguments, settings), settings.data_dir, Path(folder), cuts))
    except NatsServerError as error:
        return refusal(ComponentError("BUS-001", str(error), "cli"), 1, as_json=as_json)
    except InputError as error:
        return refusal(error, 2, as_json=as_json)
    except ComponentError as error:
        return refusal(error, 1, as_json=as_json)
    finally:
        server.stop()
    _print(arguments.mode, checks, as_json=as_json)
    return 0 if all(check.difference is None for check in checks) else 1


def _analyse(runs: _Runs, data: Path, folder: Path, cuts: int) -> Iterator[Check]:
    whole = runs.prepared()
    directory = runs.run(whole, data)
    meta = orjson.loads((directory / "run_metadata.json").read_bytes())
    start, end = (datetime.fromisoformat(meta[name]) for name in ("start_time", "end_time"))
    moments = _midnights(start, end, cuts)
    for number, moment in enumerate(moments):
        known = folder / f"known-{number}"
        write_known_at(data, known, whole.merged.config.feeds(), int(moment.timestamp() * 1000))
        try:
            other = runs.run(runs.prepared(start, moment), known)
        except ComponentError as error:
            yield Check("lookahead", moment, 0, f"the run on data known at {moment.isoformat()} fails: {error}")
            continue
        yield _compared("lookahead", moment, _events(directory, None, moment), _events(other, None, moment))
    later = moments[len(moments) // 3]
    again = runs.run(runs.prepared(later, end), data)
    yield _compared("recursion", later, _conditions(directory, later), _conditions(again, later))


def _midnights(start: datetime, end: datetime, count: int) -> list[datetime]:
    """So many midnights spread over a range, its first day left out.

    Midnights, because daily indices are interpolated between two snapshots (stated in every run's metadata): in between,
    the run itself needs the next one.

    Raises:
        InputError: CONFIG-003, the range holds no midnight to cut at.
    """
    first = (start.astimezone(UTC) + _DAY).replace(hour=0, minute=0, second=0, microsecond=0)
    days = (end - first) // _DAY
    if days < 1:
        raise InputError(
            "CONFIG-003", f"{start.isoformat()} to {end.isoformat()} is too short: needs three days", "cli"
        )
    return list(dict.fromkeys(first + _DAY * round(days * (n + 1) / (count + 1)) for n in range(count)))


def _events(directory: Path, since: datetime | None, until: datetime | None) -> dict[int, str]:
    """Order key -> canonical text of each decision and order within a range."""
    found: dict[int, str] = {}
    for event_type in _COMPARED:
        path = directory / "events" / f"{event_type}.jsonl"
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            event = orjson.loads(line)
            moment = datetime.fromisoformat(event["timestamp"])
            if (since is None or moment >= since) and (until is None or moment <= until):
                text = orjson.dumps({key: value for key, value in event.items() if key not in _LEFT_OUT}).decode()
                found[event["order"]] = text.replace(event["correlation_id"], "")
    return found


def _conditions(directory: Path, since: datetime) -> dict[int, str]:
    """Unix second -> market conditions that were decided on."""
    found: dict[int, str] = {}
    for line in (directory / "events" / "strategy_decisions.jsonl").read_bytes().splitlines():
        event = orjson.loads(line)
        moment = datetime.fromisoformat(event["timestamp"])
        if moment >= since:
            found[int(moment.timestamp())] = orjson.dumps(event["market_conditions"]).decode()
    return found


def _compared(kind: str, at: datetime, first: dict[int, str], second: dict[int, str]) -> Check:
    keys = sorted({*first, *second})
    different = next((key for key in keys if first.get(key) != second.get(key)), None)
    text = None if different is None else f"{first.get(different, 'nothing')} became {second.get(different, 'nothing')}"
    return Check(kind, at, len(keys), text)


def _print(mode: str, checks: list[Check], *, as_json: bool) -> None:
    ok = all(check.difference is None for check in checks)
    if as_json:
        found = [check._asdict() | {"at": check.at.isoformat()} for check in checks]
        print_json({"mode": mode, "ok": ok, "checks": found})
        return
    rows = [
        [
            check.kind,
            check.at.isoformat(),
            str(check.compared),
            "same" if check.difference is None else check.difference,
        ]
        for check in checks
    ]
    title = f"{mode}: {'no look-ahead found' if ok else 'decisions change'}"
    print_rows(Rows(title, ("check", "at", "events compared", "result"), rows))
