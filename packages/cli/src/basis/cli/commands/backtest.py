"""``basis backtest``."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from basis.runtime.nats_server import NatsServer, NatsServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


_UNUSED = ("uvicorn", "aiohttp")
"""What libraries import where they find it, and a backtest with a server of its own has no use for: FastStream an HTTP server,
nats-py a client of WebSockets. Together they take longer to load than NumPy and FastStream."""


@contextmanager
def _quick_imports(unused: Sequence[str]) -> Iterator[None]:
    """A third of the start-up time: no collection of what stays anyway, and nothing that is of no use."""
    absent = [name for name in unused if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        for name in absent:
            del sys.modules[name]


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
        with _quick_imports(_UNUSED if server is not None else ()):
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
