"""The heavy half of ``basis backtest``: loaded while the NATS server starts."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import orjson
import uvloop

from basis.cli import backtest, deployment
from basis.cli.commands.dashboard import see_it
from basis.cli.output import Progress, print_result, refusal
from basis.models.errors import ComponentError, InputError
from basis.runtime import subjects
from basis.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from basis.cli.backtest import Arguments, Finished
    from basis.gateway.requests import PreparedBacktest
    from basis.runtime.nats_server import NatsServer


_CLUSTER_TIMEOUT_S = 3.0


def execute(
    arguments: Arguments,
    *,
    data: Path | None,
    logs: Path | None,
    nats: str | None,
    server: NatsServer | None,
    as_json: bool,
    dashboard: bool,
) -> int:
    """Check, run, print; returns the exit code."""
    try:
        if arguments.cluster and (logs is not None or data is not None or arguments.processes):
            message = "--data, --logs and --processes are for runs of our own; the services of --nats have theirs"
            raise InputError("CONFIG-003", message, "cli")
        settings = _settings(data, logs, nats)
        ready = backtest.prepared(arguments, settings)
        if not arguments.cluster:
            given = "data_dir" in settings.model_fields_set
            backtest.ensure_data(settings.data_dir, given=given, tell=lambda text: print(text, file=sys.stderr))
        if server is not None:
            settings = settings.model_copy(update={"nats_url": server.wait()})
        with Progress(enabled=sys.stderr.isatty() and not as_json) as progress:
            finished = _run(arguments, ready, settings, progress)
    except InputError as error:
        return refusal(error, 2, as_json=as_json)
    except ComponentError as error:
        # no service, no bus: nothing had begun either, unless a run was under way
        return refusal(error, 2 if error.error_code in {"BUS-001", "BUS-002"} else 1, as_json=as_json)
    if as_json:
        sys.stdout.write(orjson.dumps(backtest.as_json(finished)).decode() + "\n")
    else:
        print_result(finished)
        if not arguments.cluster and finished.outcome.log_directory is not None:
            cid = finished.outcome.status.correlation_id
            print(see_it(cid, settings.logs_dir, start=dashboard))
    return 0 if finished.outcome.status.status == "completed" else 1


def _run(arguments: Arguments, ready: PreparedBacktest, settings: Settings, progress: Progress) -> Finished:
    if "BASIS_LOG_LEVEL" not in os.environ:
        # what goes wrong is in the run's logs and in the one line at the end; not a third time on stderr
        logging.getLogger("basis").addHandler(logging.NullHandler())
        logging.getLogger("basis").propagate = False
    if arguments.cluster:
        settings = settings.model_copy(update={"nats_connect_timeout_s": _CLUSTER_TIMEOUT_S})
        return uvloop.run(backtest.run(ready, deployment.cluster(settings), progress.update))
    names = subjects.RUN_CRITICAL if arguments.processes else deployment.APART
    with deployment.forked(settings, names) as children:
        return uvloop.run(backtest.run(ready, deployment.beside(settings, children), progress.update))


def _settings(data: Path | None, logs: Path | None, nats: str | None) -> Settings:
    named = {"data_dir": data, "logs_dir": logs, "nats_url": nats}
    return Settings(**{name: value for name, value in named.items() if value is not None})  # type: ignore[arg-type]
