"""``basis dashboard``: results in the browser, without services and without NATS."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

from basis.cli import dashboard
from basis.cli.output import print_json, refusal
from basis.models.errors import ComponentError, InputError
from basis.runtime.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

_PORTS_TO_TRY: Final = 20
_LOOK_EVERY_S: Final = 60.0


def command(
    correlation_id: str | None,
    logs: Path | None,
    port: int | None,
    *,
    background: bool,
    stop: bool,
    detached: bool,
    as_json: bool,
) -> int:
    """Serve until Ctrl-C, or see to the one in the background; returns the exit code."""
    settings = Settings() if logs is None else Settings(logs_dir=logs)
    try:
        if stop:
            return _stop(as_json=as_json)
        if not settings.logs_dir.is_dir():
            hint = "name a folder with --logs, or make a run with 'basis backtest MODE'"
            raise InputError("CONFIG-003", f"no logs at {settings.logs_dir}: {hint}", "cli")
        path = _path_of(correlation_id, settings.logs_dir)
        if background:
            found = dashboard.ensure(settings.logs_dir, settings.gateway_host)
            return _tell(found.url + path, found.pid, as_json=as_json)
        if not detached:
            return _on_a_free_port(settings, port, path, None)
        with dashboard.held(dashboard.state_file(settings.logs_dir)) as file:
            return _on_a_free_port(settings, port, path, file)
    except ComponentError as error:
        return refusal(error, 2 if isinstance(error, InputError) else 1, as_json=as_json)


def see_it(correlation_id: str, logs: Path, *, start: bool) -> str:
    """Where a run can be seen: a URL that works where a dashboard runs or may be started, else the command for one."""
    settings = Settings(logs_dir=logs)
    try:
        found = dashboard.ensure(logs, settings.gateway_host) if start else dashboard.find(logs)
    except ComponentError as error:
        return f"no dashboard: {error.message}"
    if found is None:
        folder = "" if logs == Settings().logs_dir else f" --logs {logs}"
        return f"see it: basis dashboard {correlation_id}{folder}"
    ends = "served in the background; 'basis dashboard --stop' or 'make down' ends it\n" if start else ""
    return f"{ends}see it: {found.url}/runs/{correlation_id}"


def _path_of(correlation_id: str | None, logs: Path) -> str:
    """Path of a run's page.

    Raises:
        InputError: RUN-001, no such run.
    """
    if correlation_id is None:
        return "/"
    from basis.results.directories import RunDirectories  # noqa: PLC0415 - the others need it not

    return f"/runs/{RunDirectories(logs).find(correlation_id).correlation_id}"


def _on_a_free_port(settings: Settings, wanted: int | None, path: str, file: IO[bytes] | None) -> int:
    """Serve on the port that was asked for; else on the first free one from 8011 on, else on any (0)."""
    ports = [wanted] if wanted is not None else [*range(dashboard.PORT, dashboard.PORT + _PORTS_TO_TRY), 0]
    for port in ports[:-1]:
        try:
            return asyncio.run(_serve(settings.model_copy(update={"gateway_port": port}), path, file))
        except ComponentError as error:
            if error.error_code != "ENGINE-001":
                raise
    return asyncio.run(_serve(settings.model_copy(update={"gateway_port": ports[-1]}), path, file))


async def _serve(settings: Settings, path: str, file: IO[bytes] | None) -> int:
    from basis.models.base import document_fields  # noqa: PLC0415

    document_fields()  # before the models of the API are defined
    from basis.gateway import app  # noqa: PLC0415

    logging.basicConfig(level=settings.log_level, stream=sys.stderr)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    async with app.opened(settings, read_only=True) as gateway:
        url = gateway.url.removesuffix(app.PREFIX)
        if file is None:
            print(f"{url}{path}\nreads {settings.logs_dir}; Ctrl-C ends", flush=True)
            await told.wait()
            return 0
        dashboard.announce(file, dashboard.Running(os.getpid(), url, str(settings.logs_dir.resolve())))
        while not told.is_set() and gateway.traffic.idle_s < dashboard.IDLE_END_S and settings.logs_dir.is_dir():
            await _wait(told, _LOOK_EVERY_S)
    return 0


async def _wait(told: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(told.wait(), seconds)
    except TimeoutError:
        return


def _tell(url: str, pid: int, *, as_json: bool) -> int:
    if as_json:
        return print_json({"url": url, "pid": pid})
    print(f"{url}\nserved in the background; 'basis dashboard --stop' ends it")
    return 0


def _stop(*, as_json: bool) -> int:
    ended = dashboard.stop_all()
    if as_json:
        return print_json({"stopped": [found.url for found in ended]})
    for found in ended:
        print(f"ended the dashboard at {found.url}")
    if not ended:
        print("no dashboard runs in the background")
    return 0
