"""``basis backtest``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from basis.cli.imports import UNUSED, quick_imports
from basis.runtime.nats_server import NatsServer, NatsServerError

if TYPE_CHECKING:
    from pathlib import Path


def command(
    *,
    mode: str,
    start: str | None,
    end: str | None,
    capital: float | None,
    data: Path | None,
    logs: Path | None,
    overrides: list[str],
    nats: str | None,
    processes: bool,
    as_json: bool,
    dashboard: bool,
) -> int:
    """Run it; returns the exit code."""
    server = NatsServer() if nats is None else None
    try:
        if server is not None:
            server.launch()  # starts while Python imports
        with quick_imports(UNUSED if server is not None else ()):
            from basis.cli.backtest import Arguments  # noqa: PLC0415
            from basis.cli.commands.backtest_run import execute  # noqa: PLC0415

        arguments = Arguments(mode, start, end, capital, overrides, processes, nats is not None)
        return execute(arguments, data=data, logs=logs, nats=nats, server=server, as_json=as_json, dashboard=dashboard)
    except NatsServerError as error:
        print(f"basis: [BUS-001] {error}", file=sys.stderr)
        return 1
    finally:
        if server is not None:
            server.stop()
