"""``basis doctor``: is this machine fit to run Basis, and if not, what to do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from basis.cli.backtest import is_outdated_sample
from basis.cli.output import Rows, print_json, print_rows
from basis.event_logger.directories import LogDirectoryManager
from basis.gateway import keys
from basis.models.errors import ComponentError
from basis.runtime import config_loader
from basis.runtime.nats_server import NatsServer, NatsServerError, find_binary
from basis.runtime.settings import Settings

_FREE_BYTES = 1_000_000_000


class Finding(NamedTuple):
    """One thing looked at."""

    what: str
    ok: bool
    found: str
    """What was seen, and for a fault what would mend it."""
    needed: bool = True
    """False where only a part of Basis needs it."""


def command(*, as_json: bool) -> int:
    """Look at everything; exit code 1 where something needed is missing."""
    settings = Settings()
    findings = [
        _python(),
        _nats(),
        _configs(settings),
        _data(settings),
        _logs(settings),
        _disk(settings),
        _port(settings),
        _nats_port(settings),
        _keys(settings),
        _docker(),
        _program(
            "chromium", ("chromium", "chromium-browser", "google-chrome"), "the tests of the dashboard in a browser"
        ),
        _program("node", ("node",), "anvil, for live tests against Ethereum's own contracts"),
    ]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        rows = [
            [finding.what, "ok" if finding.ok else "MISSING" if finding.needed else "absent", finding.found]
            for finding in findings
        ]
        print_rows(Rows("basis doctor", ("", "", ""), rows))
    return 0 if all(finding.ok for finding in findings if finding.needed) else 1


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), f"{version} (3.11 or newer) at {sys.executable}")


def _nats() -> Finding:
    try:
        binary = find_binary()
        with NatsServer() as server:
            return Finding("nats-server", True, f"{binary}, starts at {server.url}")
    except NatsServerError as error:
        return Finding("nats-server", False, str(error))


def _configs(settings: Settings) -> Finding:
    try:
        for name in config_loader.mode_names(settings.configs_dir):
            config_loader.load(settings.configs_dir, name)
    except ComponentError as error:
        return Finding("configs", False, error.message)
    return Finding(
        "configs", True, f"{len(config_loader.mode_names(settings.configs_dir))} modes in {settings.configs_dir}"
    )


def _data(settings: Settings) -> Finding:
    if not settings.data_dir.is_dir():
        hint = "made on the first 'basis backtest', or with 'basis data sample DIR'"
        return Finding("data", False, f"{settings.data_dir}: {hint}", needed=False)
    series = sum(1 for _ in settings.data_dir.rglob("*.parquet"))
    if is_outdated_sample(settings.data_dir):
        return Finding(
            "data", False, f"{settings.data_dir}: a sample of an older version, made anew on use", needed=False
        )
    found = f"{series} series in {settings.data_dir}; 'basis data check' looks inside"
    return Finding("data", series > 0, found, needed=False)


def _logs(settings: Settings) -> Finding:
    try:
        LogDirectoryManager(settings.logs_dir).check_writable()
    except ComponentError as error:
        return Finding("logs", False, error.message)
    return Finding("logs", True, f"{settings.logs_dir.resolve()} can be written")


def _disk(settings: Settings) -> Finding:
    place = next(path for path in (settings.logs_dir.resolve(), *settings.logs_dir.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free
    return Finding("disk", free >= _FREE_BYTES, f"{free / 1e9:.1f} GB free at {place} (1 GB or more)")


def _port(settings: Settings) -> Finding:
    with socket.socket() as probe:
        taken = probe.connect_ex((settings.gateway_host, settings.gateway_port)) == 0
    where = f"{settings.gateway_host}:{settings.gateway_port}"
    hint = "in use: a gateway runs there, or set BASIS_GATEWAY_PORT" if taken else "free"
    return Finding("http port", not taken, f"{where} {hint}", needed=False)


def _nats_port(settings: Settings) -> Finding:
    """Of a server that runs beside: a backtest brings its own."""
    where = urlsplit(settings.nats_url.split(",")[0])
    host, port = where.hostname or "127.0.0.1", where.port or 4222
    with socket.socket() as probe:
        probe.settimeout(1.0)
        there = probe.connect_ex((host, port)) == 0
    found = "a server answers" if there else "no server: 'basis backtest' brings its own"
    return Finding("nats port", there, f"{host}:{port} {found}", needed=False)


def _keys(settings: Settings) -> Finding:
    try:
        ring = keys.required(settings)
    except ComponentError as error:
        return Finding("API keys", False, error.message)
    found = f"{len(ring.keys)} keys" if ring else f"none asked for at {settings.gateway_host}"
    return Finding("API keys", True, found)


def _program(what: str, names: tuple[str, ...], purpose: str) -> Finding:
    found = next((path for name in names if (path := shutil.which(name))), None)
    return Finding(what, found is not None, found or f"not installed: for {purpose} only", needed=False)


def _docker() -> Finding:
    docker = shutil.which("docker")
    if docker is None:
        return Finding("docker", False, "not installed: needed for 'make up' only", needed=False)
    try:
        seen = subprocess.run(
            [docker, "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env=dict(os.environ),
        )
    except subprocess.TimeoutExpired:
        return Finding("docker", False, "the engine does not answer: needed for 'make up' only", needed=False)
    if seen.returncode:
        return Finding("docker", False, "no engine runs: needed for 'make up' only", needed=False)
    return Finding("docker", True, f"engine {seen.stdout.strip()} at {Path(docker)}", needed=False)
