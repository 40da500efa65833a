"""A backtest talks to its own NATS server and to nothing else: every connection and every name look-up is watched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

# Python imports sitecustomize before anything else, in child processes too. uvloop's sockets are libuv's, which raise no
# audit events: services of a process of their own run on asyncio's loop here.
WATCH = """
import os, sys, types

def _run(main, **options):
    import asyncio
    return asyncio.run(main, **options)

_loop = types.ModuleType("uvloop")
_loop.run = _run
sys.modules["uvloop"] = _loop

_file = os.open(os.path.join(os.environ["WATCH_DIR"], f"{os.getpid()}.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_WATCHED = {
    "socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.gethostbyaddr", "socket.getnameinfo", "urllib.Request", "http.client.connect", "subprocess.Popen",
}

def _hook(event, args):
    if event in _WATCHED:
        from json import dumps
        shown = [list(one) if isinstance(one, tuple) else one for one in args]
        os.write(_file, (dumps([os.getpid(), event, shown], default=repr) + chr(10)).encode())

sys.addaudithook(_hook)
"""
BACKTEST = ("backtest", "pure_lending_usdt", "--start", "2022-01-03", "--end", "2022-02-03", "--json")


class Watched(NamedTuple):
    """What a command did."""

    output: dict[str, object]
    events: list[tuple[int, str, list[object]]]
    """Process id, audit event, arguments."""

    def addresses(self) -> set[tuple[str, int]]:
        """Where sockets were connected to, and where datagrams were sent to."""
        kinds = {"socket.connect", "socket.sendto", "socket.sendmsg"}
        found = [args[-1] for _, kind, args in self.events if kind in kinds]
        return {(str(address[0]), int(address[1])) for address in found if isinstance(address, list)}

    def connecting(self) -> int:
        """How many processes connected to anything."""
        return len({pid for pid, kind, _ in self.events if kind == "socket.connect"})

    def names(self) -> set[str]:
        """Names that were looked up."""
        kinds = {
            "socket.getaddrinfo",
            "socket.gethostbyname",
            "socket.gethostbyaddr",
            "urllib.Request",
            "http.client.connect",
        }
        return {str(args[0]) for _, kind, args in self.events if kind in kinds}

    def commands(self) -> list[str]:
        """Programs that were started."""
        return [os.path.basename(str(args[0])) for _, kind, args in self.events if kind == "subprocess.Popen"]  # noqa: PTH119


def watched(tmp_path: Path, *extra: str) -> Watched:
    hook, watch = tmp_path / "hook", tmp_path / "watch"
    hook.mkdir()
    watch.mkdir()
    (hook / "sitecustomize.py").write_text(WATCH)
    write_sample(tmp_path / "data", years=1)
    environment = os.environ | {
        "PYTHONPATH": str(hook),
        "WATCH_DIR": str(watch),
        "BASIS_CACHE_DIR": str(tmp_path / "cache"),
    }
    places = ("--data", str(tmp_path / "data"), "--logs", str(tmp_path / "logs"))
    command = [sys.executable, "-m", "basis.cli", *BACKTEST, *places, *extra]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for file in watch.iterdir() for line in file.read_text().splitlines()]
    return Watched(json.loads(done.stdout), [(pid, kind, args) for pid, kind, args in lines])


@pytest.mark.parametrize(("extra", "processes"), [((), 2), (("--processes",), 6)], ids=["embedded", "processes"])
def test_a_backtest_connects_to_its_nats_server_only(tmp_path: Path, extra: tuple[str, ...], processes: int) -> None:
    found = watched(tmp_path, *extra)
    assert found.output["status"] == "completed"
    assert "nats-server" in found.commands()
    assert found.connecting() == processes  # the hook sees all of them
    addresses = found.addresses()
    assert {host for host, _ in addresses} == {"127.0.0.1"}
    assert len({port for _, port in addresses}) == 1, addresses  # one server
    assert found.names() <= {"127.0.0.1"}


def test_the_hook_would_see_a_connection(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    code = "import socket\ntry: socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError: pass"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "WATCH_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=30)
    lines = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.read_text().splitlines()]
    seen = Watched({}, [(pid, kind, args) for pid, kind, args in lines])
    assert seen.addresses() == {("127.0.0.1", 9)}
    assert seen.names() == {"127.0.0.1"}
