"""Services as processes that are forked from one that has everything loaded: real processes, started in a moment."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PRELOADED = [
    "basis.cli.services",
    "basis.strategy.service",
    "basis.execution.service",
    "basis.monitors.service",
    "basis.event_logger.service",
    "basis.venues.service",
    "basis.venues.live.chain.factory",
    "ccxt.async_support",
]


class Forked:
    """One service; as much of ``subprocess.Popen`` as a cluster uses.

    Args:
        name: service.
        environment: of the child.
        log: file for what it prints.
    """

    def __init__(self, name: str, environment: Mapping[str, str], log: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self._process = context.Process(target=_serve, args=(name, dict(environment), str(log)), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Of the child."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it lives; minus the signal that ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As :attr:`returncode`."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end; None where it lives on."""
        self._process.join(timeout)
        return self._process.exitcode


def _serve(name: str, environment: dict[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from basis.cli import services
    from basis.runtime.settings import Settings

    logging.getLogger().handlers.clear()
    sys.exit(services.main_of(name, Settings()))
