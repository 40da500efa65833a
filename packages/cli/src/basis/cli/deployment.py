"""Where a command's services come from: this process and its forks, or a cluster that already runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from basis.cli import services
from basis.models.errors import ComponentError
from basis.runtime import subjects
from basis.runtime.bus import Bus
from basis.runtime.nats_server import die_with_parent
from basis.runtime.settings import project_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from multiprocessing.process import BaseProcess

    from basis.runtime.settings import Settings

SECRETS = project_folder("deploy") / "secrets"
"""Where ``make up`` leaves passwords of the NATS server."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_RESTARTS = 5
_LOOK_EVERY_S = 0.1
_END_TIMEOUT_S = 15.0


APART = ("event-logger",)
"""Services that an embedded run forks off: writing and hashing would else take turns with the run (ADR 0026)."""


class Children:
    """One process a service, started again when one dies. The first start is a fork, so that imports are paid once.

    Args:
        settings: of every child.
        names: services.
        log_level: of the children's own logs on stderr.
    """

    def __init__(
        self, settings: Settings, names: tuple[str, ...] = subjects.RUN_CRITICAL, log_level: str = "WARNING"
    ) -> None:
        self.names = names
        self._settings = settings.model_copy(update={"log_level": log_level})
        gc.freeze()  # what is loaded now is shared with the children as long as no one writes to it
        context = multiprocessing.get_context("fork")
        self._forked = {
            name: context.Process(target=_child, args=(name, self._settings), daemon=True) for name in names
        }
        self._again: dict[str, subprocess.Popen[bytes]] = {}
        self._restarts = 0

    def start(self) -> None:
        """Fork all children. Must be called before this process has an event loop or threads."""
        for process in self._forked.values():
            process.start()

    async def watch(self) -> None:
        """Start again whatever dies; the runs in hand go on by themselves.

        Raises:
            ComponentError: ENGINE-001, children keep dying.
        """
        while True:
            for name in self._forked:
                code = self._ended(name)
                if code is not None:
                    self._start_again(name, code)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _ended(self, name: str) -> int | None:
        again = self._again.get(name)
        return again.poll() if again is not None else self._forked[name].exitcode

    def _start_again(self, name: str, code: int) -> None:
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise ComponentError("ENGINE-001", f"the service {name} ended with {code}, once too often", "cli")
        print(f"basis: the service {name} ended with {code}: started again", file=sys.stderr)
        self._again[name] = subprocess.Popen(
            services.command_of(name),
            env=services.child_environment(self._settings),
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def stop(self) -> None:
        """Tell all children to end, and wait until they have."""
        for name, process in self._forked.items():
            again = self._again.get(name)
            if again is not None:
                again.terminate()
            elif process.is_alive():
                process.terminate()
        for name, process in self._forked.items():
            _wait(process, self._again.get(name))


def _wait(process: BaseProcess, again: subprocess.Popen[bytes] | None) -> None:
    process.join(_END_TIMEOUT_S)
    if process.is_alive():
        process.kill()
        process.join()
    if again is not None:
        try:
            again.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            again.kill()
            again.wait()


def _child(name: str, settings: Settings) -> None:
    # Ctrl-C reaches the whole process group; the parent cancels the run first and ends its children afterwards
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    sys.exit(services.main_of(name, settings))


@contextmanager
def forked(settings: Settings, names: tuple[str, ...]) -> Iterator[Children]:
    """Services in processes of their own while the context is open. Must be entered before there is a loop or a thread."""
    services.preload(names)
    children = Children(settings, names)
    children.start()
    try:
        yield children
    finally:
        children.stop()


@asynccontextmanager
async def beside(settings: Settings, children: Children) -> AsyncIterator[Bus]:
    """The services that a run needs and that no child has, in this process, on one bus; the children are watched."""
    rest = tuple(name for name in subjects.RUN_CRITICAL if name not in children.names)
    async with services.running(rest, settings) if rest else cluster(settings) as bus:
        watching = asyncio.create_task(children.watch())
        try:
            yield bus
            if watching.done():
                watching.result()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError, ComponentError):
                await watching


def with_credentials(settings: Settings) -> Settings:
    """Settings with what ``make up`` left for the command line, where it talks to a server of this machine as nobody."""
    hosts = {urlsplit(url.strip()).hostname for url in settings.nats_url.split(",")}
    left = SECRETS / "command-line.nats"
    if settings.nats_credentials_file is not None or not hosts <= _LOOPBACK or not os.access(left, os.R_OK):
        return settings
    return settings.model_copy(update={"nats_credentials_file": left})


@asynccontextmanager
async def cluster(settings: Settings) -> AsyncIterator[Bus]:
    """A connection to services that already run elsewhere."""
    bus = Bus(with_credentials(settings), "cli")
    await bus.connect()
    try:
        await bus.start()
        yield bus
    finally:
        await bus.stop()
