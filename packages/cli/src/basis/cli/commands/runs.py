"""``basis runs``, ``basis events``, ``basis verify``: reading what runs left behind; needs no NATS."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import orjson

from basis.cli import run_report
from basis.cli.output import Rows, print_json, print_rows, refusal
from basis.cli.sparkline import draw
from basis.models.errors import ComponentError, InputError
from basis.models.events import EVENT_MODELS
from basis.results.directories import RunDirectories
from basis.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from basis.models.messages import RunMetadata
    from basis.results.reader import Results


def _guarded(work: Callable[[RunDirectories], int], logs: Path | None, *, as_json: bool) -> int:
    """Run a read command on the log root; a refusal is one line and exit code 2."""
    try:
        return work(RunDirectories(logs or Settings().logs_dir))
    except ComponentError as error:
        return refusal(error, 2, as_json=as_json)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
        return 0


def _summary(metadata: RunMetadata) -> dict[str, object]:
    result = metadata.result
    return {
        "correlation_id": metadata.correlation_id,
        "strategy": metadata.strategy,
        "mode": metadata.mode,
        "status": metadata.status,
        "started_at": metadata.started_at.isoformat(),
        "start_time": metadata.start_time.isoformat(),
        "end_time": metadata.end_time.isoformat() if metadata.end_time is not None else None,
        "ticks": metadata.ticks,
        "initial_capital": metadata.initial_capital,
        "share_class": metadata.share_class,
        "final_value": result.final_value if result else None,
        "total_return": result.total_return if result else None,
        "event_hash": metadata.event_hash,
        "error_code": metadata.error_code,
        "error": metadata.error,
    }


def list_runs(logs: Path | None, *, as_json: bool) -> int:
    """All runs under the log root, newest first."""

    def work(manager: RunDirectories) -> int:
        found = [_summary(manager.read_metadata(run)) for run in manager.runs()]
        found.sort(key=lambda run: str(run["started_at"]), reverse=True)
        if as_json:
            return print_json(found)
        names = ("correlation_id", "strategy", "status", "ticks", "final_value", "total_return", "started_at")
        return print_rows(
            Rows(f"{len(found)} runs in {manager.root}", names, [[run[name] for name in names] for run in found])
        )

    return _guarded(work, logs, as_json=as_json)


def show(correlation_id: str, logs: Path | None, *, as_json: bool) -> int:
    """All metrics of a run, and its equity as a line."""

    def work(manager: RunDirectories) -> int:
        results = _results(manager)
        opened = results.open(correlation_id)
        report = results.report(correlation_id)
        if as_json:
            result = opened.metadata.result
            more = {"result": result.model_dump(mode="json") if result else None, "log_directory": str(opened.run.path)}
            return print_json(report.model_dump(mode="json") | more)
        print(f"equity  {draw(report.sparkline or ())}")
        rows = [[name, value] for name, value in run_report.rows(report) if value is not None]
        return print_rows(Rows(f"run {correlation_id}", ("", ""), [*rows, ["log", str(opened.run.path)]]))

    return _guarded(work, logs, as_json=as_json)


def compare(first: str, second: str, logs: Path | None, *, as_json: bool) -> int:
    """Two runs side by side; exit code 1 where their canonical logs differ."""

    def work(manager: RunDirectories) -> int:
        found = _results(manager).compare(first, second)
        if as_json:
            print_json(found.model_dump(mode="json"))
        else:
            title = "the same events" if found.same_events else "different events"
            print_rows(Rows(title, ("", first[:8], second[:8], "difference"), run_report.differences(found)))
        return 0 if found.same_events else 1

    return _guarded(work, logs, as_json=as_json)


def export(correlation_id: str, file: Path, logs: Path | None, *, as_json: bool) -> int:
    """A run as a zip: log, summary, and its curves as Parquet."""

    def work(manager: RunDirectories) -> int:
        return _write(file, _results(manager).export(correlation_id), as_json=as_json)

    return _guarded(work, logs, as_json=as_json)


def tearsheet(correlation_id: str, file: Path, logs: Path | None, *, as_json: bool) -> int:
    """A run as one self-contained HTML page."""

    def work(manager: RunDirectories) -> int:
        return _write(file, [_results(manager).tearsheet(correlation_id).encode()], as_json=as_json)

    return _guarded(work, logs, as_json=as_json)


def _results(manager: RunDirectories) -> Results:
    from basis.results.reader import Results  # noqa: PLC0415 - polars comes with it: other commands do not wait for it

    return Results(manager.root, Settings().results_cache_dir)


def _write(file: Path, pieces: Iterable[bytes], *, as_json: bool) -> int:
    """Write a file whole or not at all; returns the exit code."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        try:
            with beside.open("wb") as target:
                for piece in pieces:
                    target.write(piece)
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError("CONFIG-003", f"cannot write {file}: {error.strerror or error}", "cli") from error
    if as_json:
        return print_json({"file": str(file), "bytes": file.stat().st_size})
    print(f"{file}: {file.stat().st_size:,} bytes")
    return 0


def events(correlation_id: str, event_type: str | None, logs: Path | None, limit: int | None, *, as_json: bool) -> int:
    """Event lines of a run as they are on disk, or the number of lines of each type."""

    def work(manager: RunDirectories) -> int:
        run = manager.find(correlation_id)
        if event_type is None:
            counts = {name: _lines(run.events / f"{name}.jsonl") for name in EVENT_MODELS}
            if as_json:
                return print_json(counts)
            return print_rows(
                Rows(f"events of {correlation_id}", ("type", "lines"), [list(pair) for pair in counts.items()])
            )
        if event_type not in EVENT_MODELS:
            raise InputError("RUN-001", f"unknown event type {event_type!r}; known: {', '.join(EVENT_MODELS)}", "cli")
        path = run.events / f"{event_type}.jsonl"
        if path.exists():
            with path.open("rb") as file:
                for number, line in enumerate(file):
                    if limit is not None and number >= limit:
                        break
                    sys.stdout.write(line.decode())
        return 0

    return _guarded(work, logs, as_json=as_json)


def _lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def verify(correlation_id: str, logs: Path | None, *, as_json: bool) -> int:
    """Re-check a sealed run; exit code 1 where it is not what was sealed."""
    from basis.event_logger.verify import verify as verify_run  # noqa: PLC0415 - NATS comes with it

    def work(manager: RunDirectories) -> int:
        report = verify_run(manager.find(correlation_id))
        if as_json:
            body = {name: getattr(report, name) for name in report.__slots__} | {"ok": report.ok}
            sys.stdout.write(orjson.dumps(body).decode() + "\n")
        elif report.ok:
            print(
                f"{correlation_id}: as sealed, {report.files} files, {report.events:,} events, hash {report.event_hash}"
            )
        for problem in () if as_json else report.problems:
            print(f"basis: [LOG-004] {correlation_id}: {problem}", file=sys.stderr)
        return 0 if report.ok else 1

    return _guarded(work, logs, as_json=as_json)
