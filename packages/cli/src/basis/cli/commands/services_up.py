"""``basis services up``: all six services, one process each, until Ctrl-C; brings a NATS server where none is named."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from basis.cli import backtest, deployment, services
from basis.cli.output import refusal
from basis.gateway import keys
from basis.models.errors import ComponentError, InputError
from basis.runtime import subjects
from basis.runtime.nats_server import NatsServer, NatsServerError
from basis.runtime.settings import Settings


def command(nats: str | None, data: Path | None, logs: Path | None) -> int:
    """Run until told to stop; returns the exit code."""
    named = {"nats_url": nats, "data_dir": data, "logs_dir": logs}
    settings = Settings(**{name: value for name, value in named.items() if value is not None})  # type: ignore[arg-type]
    server = NatsServer(store=Path(".cache/basis/nats")) if nats is None else None
    try:
        keys.required(settings)  # better one refusal now than a gateway that ends again and again
        backtest.ensure_data(
            settings.data_dir,
            given="data_dir" in settings.model_fields_set,
            tell=lambda text: print(text, file=sys.stderr),
        )
        if server is not None:
            settings = settings.model_copy(update={"nats_url": server.start()})
        services.preload(subjects.RUN_CRITICAL)
        children = deployment.Children(settings, subjects.SERVICES, log_level="INFO")
        children.start()
        try:
            asyncio.run(_until_told(children, settings))
        finally:
            children.stop()
    except NatsServerError as error:
        print(f"basis: [BUS-001] {error}", file=sys.stderr)
        return 1
    except ComponentError as error:
        return refusal(error, 2 if isinstance(error, InputError) else 1, as_json=False)
    finally:
        if server is not None:
            server.stop()
    return 0


async def _until_told(children: deployment.Children, settings: Settings) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    page = f"http://{settings.gateway_host}:{settings.gateway_port}/"
    said = f"six services on {settings.nats_url}; dashboard on {page}, HTTP API on {page}api/v1/docs; Ctrl-C ends"
    print(said, file=sys.stderr)
    watching = asyncio.create_task(children.watch())
    stopping = asyncio.create_task(told.wait())
    await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if watching.done():
        watching.result()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
