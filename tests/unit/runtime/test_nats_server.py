"""A nats-server of one's own: starts, restarts on its port and store, and says why it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nats.aio.client import Client

from basis.runtime.nats_server import NatsServer, NatsServerError, find_binary


async def connected(url: str) -> Client:
    client = Client()
    await client.connect(url, connect_timeout=2, max_reconnect_attempts=1)
    return client


async def test_server_answers_with_jetstream_and_is_gone_afterwards() -> None:
    with NatsServer() as server:
        client = await connected(server.url)
        info = await client.jetstream().account_info()
        await client.close()
        folder = server._folder
    assert info.streams == 0
    assert not folder.exists(), "a temporary store is dropped"


async def test_store_that_was_given_survives_kill_and_restart_on_the_same_port(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    url = server.start()
    client = await connected(url)
    await client.jetstream().add_stream(name="S", subjects=["s"])
    await client.jetstream().publish("s", b"kept")
    await client.close()
    server.kill()
    assert server.start() == url
    client = await connected(url)
    found = await client.jetstream().get_last_msg("S", "s")
    await client.close()
    server.stop()
    assert found.data == b"kept"
    assert (tmp_path / "nats").is_dir()


def test_stop_and_kill_twice_are_harmless(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    server.start()
    server.kill()
    server.kill()
    server.stop()
    server.stop()


def test_wait_without_launch_raises() -> None:
    with pytest.raises(NatsServerError, match="not launched"):
        NatsServer(Path("unused")).wait()


def test_binary_named_by_the_environment_that_is_not_there_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_SERVER_BIN", "/nowhere/nats-server")
    with pytest.raises(NatsServerError, match="NATS_SERVER_BIN=/nowhere/nats-server"):
        find_binary()


def test_binary_is_found_and_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_binary()
    assert os.access(found, os.X_OK)
    monkeypatch.setenv("NATS_SERVER_BIN", found)
    assert find_binary() == found


def test_store_that_cannot_be_written_raises(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(NatsServerError, match="does not start with the store"):
        NatsServer(file / "store").launch()


def test_server_that_ends_at_once_raises_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "nats-server"
    fake.write_text("#!/bin/sh\necho port is taken >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("NATS_SERVER_BIN", str(fake))
    with pytest.raises(NatsServerError, match="port is taken"):
        NatsServer(tmp_path / "store").start()
