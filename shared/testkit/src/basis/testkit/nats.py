"""A real nats-server for tests that crash it: the runtime's own, with a restart on the same port and store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from basis.runtime import nats_server

if TYPE_CHECKING:
    from pathlib import Path


class NatsServer(nats_server.NatsServer):
    """One nats-server with JetStream on loopback; keeps port and store from its first start on.

    Args:
        directory: the store goes below it.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(store=directory / "jetstream")

    def restart(self) -> None:
        """Kill, then start on the same port and store."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self
