"""Fixtures of the integration tests: a real nats-server on a free loopback port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from basis.testkit.nats import NatsServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server with JetStream and an empty store; tests may kill and restart it."""
    with NatsServer(tmp_path / "nats") as server:
        yield server
