"""The compose stack: the same run in containers, with replicas and through crashes, gives the events of an embedded run.

Needs a Docker engine, the compose plugin and the two base images. The image stays behind as ``basis-test:local`` (the next
build starts from its layers); everything else is taken down.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pyarrow.parquet as pq
import pytest

from basis.models.events import EVENT_MODELS
from basis.runtime.structured_logger import COMPONENTS
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
PYTHON_IMAGE, NATS_IMAGE, IMAGE = "python:3.11-slim", "nats:2-alpine", "basis-test:local"
SERVICES = ("strategy", "execution", "venues", "monitors", "event-logger", "gateway")
START, END, CAPITAL = "2022-01-03", "2022-12-20", 100_000.0
SLOW = {"engine.initial_window": 1, "engine.max_window": 1}
SLOW_END = "2022-03-20"


def run(*command: str, env: dict[str, str] | None = None, check: bool = True) -> str:
    """Output of a command; its errors are the failure's message."""
    done = subprocess.run(
        command, env=os.environ | (env or {}), capture_output=True, text=True, check=False, cwd=ROOT, timeout=300
    )
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


class Stack(NamedTuple):
    """A compose project of our own."""

    project: str
    env: dict[str, str]
    logs: Path
    data: Path

    def compose(self, *arguments: str, check: bool = True, env: dict[str, str] | None = None) -> str:
        """``docker compose`` on the project."""
        return run("docker", "compose", "-p", self.project, *arguments, env=self.env | (env or {}), check=check)

    def up(self, *scales: str, **env: str) -> None:
        """Bring up, and wait until every container is healthy."""
        scaled = [argument for scale in scales for argument in ("--scale", scale)]
        self.compose("up", "-d", "--wait", "--wait-timeout", "90", *scaled, env=env)

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers."""
        return self.compose("ps", "-aq", service).split()

    def http(self) -> httpx.Client:
        """Client of the API."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.env['BASIS_HTTP_PORT']}/api/v1/", timeout=30)

    def submit(self, client: httpx.Client, end: str = END, overrides: dict[str, Any] | None = None) -> str:
        """Id of an accepted run."""
        body = {
            "strategy_name": "pure_lending_usdt",
            "start_date": START,
            "end_date": end,
            "initial_capital": CAPITAL,
            "config_overrides": overrides or {},
        }
        answer = client.post("backtest/", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["correlation_id"])

    def outcome(self, client: httpx.Client, cid: str) -> dict[str, Any]:
        """Result of a run, once it has ended."""
        until(client, cid, lambda status: status["status"] in {"completed", "failed", "cancelled"})
        return dict(client.get(f"backtest/{cid}/result").json())

    def directory(self, cid: str) -> Path:
        """The one directory of a run on the host."""
        (found,) = (self.logs / cid).iterdir()
        return found

    def service_logs(self) -> str:
        """What all services wrote to stderr."""
        return self.compose("logs", "--no-color", *SERVICES)


def until(client: httpx.Client, cid: str, done: Any, patience_s: float = 90) -> dict[str, Any]:
    deadline = time.monotonic() + patience_s
    while not done(status := client.get(f"backtest/{cid}/status").json()):
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return dict(status)


@pytest.fixture(scope="module")
def base_image() -> str:
    if not works("docker", "info"):
        pytest.skip("no Docker engine answers: 'docker info' fails")
    if not works("docker", "compose", "version"):
        pytest.skip("the Docker engine has no compose plugin")
    for image in (PYTHON_IMAGE, NATS_IMAGE):
        if not works("docker", "image", "inspect", image):
            pytest.skip(f"base image {image} is missing: docker pull {image}")
    return PYTHON_IMAGE


@pytest.fixture(scope="module")
def image(base_image: str) -> str:
    usable = run("bash", "deploy/python-image.sh", base_image).strip()
    run("docker", "build", "-q", "--build-arg", f"PYTHON_IMAGE={usable}", "-t", IMAGE, str(ROOT))
    return IMAGE


def free_ports(count: int) -> list[str]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "catalogue"
    write_sample(folder, years=1)
    return folder


@pytest.fixture(scope="module")
def stack(image: str, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    logs = tmp_path_factory.mktemp("logs") / "runs"
    logs.mkdir()
    uid, gid = (os.getuid(), os.getgid()) if os.getuid() != 0 else (1000, 1000)  # never root inside
    os.chown(logs, uid, gid)
    secrets = tmp_path_factory.mktemp("secrets")
    run("deploy/nats-passwords.sh", str(secrets))
    for file in (secrets, *secrets.iterdir()):
        os.chown(file, uid, gid)
    http_port, nats_port, monitor_port = free_ports(3)
    env = {
        "BASIS_IMAGE": image,
        "NATS_IMAGE": NATS_IMAGE,
        "BASIS_HTTP_PORT": http_port,
        "NATS_PORT": nats_port,
        "NATS_MONITOR_PORT": monitor_port,
        "BASIS_DATA_DIR_HOST": str(sample),
        "BASIS_LOGS_DIR_HOST": str(logs),
        "BASIS_SECRETS_DIR_HOST": str(secrets),
        "BASIS_UID": str(uid),
        "BASIS_GID": str(gid),
        "BASIS_LOG_LEVEL": "INFO",
    }
    with project(Stack(f"basis-test-{uuid.uuid4().hex[:8]}", env, logs, sample)) as found:
        yield found


@contextmanager
def project(stack: Stack) -> Iterator[Stack]:
    try:
        stack.up()
        yield stack
    finally:
        stack.compose("down", "-v", "--remove-orphans", "-t", "10", check=False)


def embedded(stack: Stack, folder: Path, end: str) -> dict[str, Any]:
    """The same run in one process, on the same data."""
    places = ("--data", str(stack.data), "--logs", str(folder), "--start", START, "--end", end)
    command = (sys.executable, "-m", "basis.cli", "backtest", "pure_lending_usdt", *places, "--capital", str(CAPITAL))
    return dict(json.loads(run(*command, "--json", env={"BASIS_CACHE_DIR": str(folder / "cache")})))


@pytest.fixture(scope="module")
def reference(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return embedded(stack, tmp_path_factory.mktemp("embedded"), END)


def test_a_run_over_http_is_the_embedded_run(stack: Stack, reference: dict[str, Any]) -> None:
    with stack.http() as client:
        cid = stack.submit(client)
        outcome = stack.outcome(client, cid)
    assert outcome["status"]["status"] == "completed", outcome
    assert outcome["event_hash"] == reference["event_hash"]
    assert outcome["events"] == reference["events"]
    assert outcome["result"] == reference["result"]
    check_directory(stack.directory(cid), outcome)
    check_supply(stack.directory(cid), stack.data)
    assert_no_errors(stack)


def check_directory(directory: Path, outcome: dict[str, Any]) -> None:
    assert outcome["log_directory"].endswith(f"{directory.parent.name}/{directory.name}")
    metadata = json.loads((directory / "run_metadata.json").read_text())
    assert (metadata["status"], metadata["event_hash"]) == ("completed", outcome["event_hash"])
    assert {file.stem for file in directory.glob("*.log")} == set(COMPONENTS)
    written = {file.stem: file.read_bytes().count(b"\n") for file in (directory / "events").iterdir()}
    assert written == outcome["events"]
    assert set(written) <= set(EVENT_MODELS)
    levels = {json.loads(line)["level"] for log in directory.glob("*.log") for line in log.read_text().splitlines()}
    assert levels <= {"DEBUG", "INFO"}


def check_supply(directory: Path, data: Path) -> None:
    (order,) = map(json.loads, (directory / "events" / "orders.jsonl").read_text().splitlines())
    (executed,) = map(json.loads, (directory / "events" / "execution_deltas.jsonl").read_text().splitlines())
    supplied = {delta["instrument_key"]: delta["delta_amount"] for delta in executed["deltas"]}["aave_v3:aToken:aUSDT"]
    rows = pq.read_table(data / "aave_v3" / "usdt.parquet", columns=["timestamp", "liquidity_index"]).to_pylist()
    index = next(row["liquidity_index"] for row in rows if row["timestamp"].isoformat() == order["timestamp"])
    assert order["operation_type"] == "supply"
    assert supplied == pytest.approx(order["amount"] / index, rel=1e-12)


def assert_no_errors(stack: Stack) -> None:
    wrong = ("ERROR", "CRITICAL", "Traceback", "iolation")
    assert [line for line in stack.service_logs().splitlines() if any(word in line for word in wrong)] == []


def test_results_are_read_from_a_folder_that_the_gateway_cannot_write(stack: Stack) -> None:
    with stack.http() as client:
        cid = stack.submit(client, "2022-01-10")
        outcome = stack.outcome(client, cid)
        report = client.get(f"results/{cid}").json()
        assert report["metrics"]["total_return"] == pytest.approx(outcome["result"]["total_return"], rel=1e-12)
        curves = client.get(f"results/{cid}/curves").json()
        assert len(curves["ticks"]) == outcome["ticks"]
        assert cid in {item["correlation_id"] for item in client.get("results/").json()["items"]}
        assert client.delete(f"results/{cid}").status_code == 204
        assert not (stack.logs / cid).exists()
        assert client.get(f"results/{cid}").status_code == 404


def test_containers_are_locked_down(stack: Stack) -> None:
    mounts: dict[str, dict[str, bool]] = {}
    for service in (*SERVICES, "nats"):
        (container,) = stack.containers(service)
        (found,) = json.loads(run("docker", "inspect", container))
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert {one["HostIp"] for ports in (host["PortBindings"] or {}).values() for one in ports} <= {"127.0.0.1"}
        mounts[service] = {one["Destination"]: one["RW"] for one in found["Mounts"] if one["Type"] == "bind"}
        if service != "nats":
            assert found["Config"]["User"] == f"{stack.env['BASIS_UID']}:{stack.env['BASIS_GID']}" != "0:0"
    configuration = {"/etc/nats/compose.conf": False, "/etc/nats/accounts.conf": False}
    own = {"/run/secrets/nats": False}
    assert mounts == dict.fromkeys(SERVICES, own) | {
        "venues": {"/data": False} | own,
        "event-logger": {"/logs": True} | own,
        "gateway": {"/logs": False} | own,
        "nats": configuration,
    }


def test_each_service_has_a_password_of_its_own_and_no_other(stack: Stack) -> None:
    secrets = Path(stack.env["BASIS_SECRETS_DIR_HOST"])
    passwords = {file.stem: file.read_text().strip().partition(":")[2] for file in secrets.glob("*.nats")}
    history = run("docker", "history", "--no-trunc", stack.env["BASIS_IMAGE"])
    for service in SERVICES:
        (container,) = stack.containers(service)
        given = run("docker", "exec", container, "cat", "/run/secrets/nats").strip()
        assert given == f"{service}:{passwords[service]}"
        told = run("docker", "inspect", container) + history
        assert not [user for user, password in passwords.items() if password in told], service


def test_command_line_of_the_host_and_nobody_else(stack: Stack, reference: dict[str, Any]) -> None:
    places = ("--nats", f"nats://127.0.0.1:{stack.env['NATS_PORT']}", "--start", START, "--end", END)
    command = (sys.executable, "-m", "basis.cli", "backtest", "pure_lending_usdt", *places, "--capital", str(CAPITAL))
    own = Path(stack.env["BASIS_SECRETS_DIR_HOST"]) / "command-line.nats"
    done = json.loads(run(*command, "--json", env={"BASIS_NATS_CREDENTIALS_FILE": str(own)}))
    assert done["event_hash"] == reference["event_hash"]
    nobody = tmp_file(own.parent / "nobody", "strategy:guessed")
    refused = subprocess.run(
        command,
        env=os.environ | {"BASIS_NATS_CREDENTIALS_FILE": str(nobody)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "BUS-001" in refused.stderr
    assert "guessed" not in refused.stderr


def tmp_file(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_killed_containers_change_nothing(stack: Stack, tmp_path: Path) -> None:
    expected = embedded(stack, tmp_path, SLOW_END)
    victims = [*stack.containers("event-logger"), *stack.containers("monitors")]
    with stack.http() as client:
        cid = stack.submit(client, SLOW_END, SLOW)
        until(client, cid, lambda status: status["ticks"] > 200)
        run("docker", "kill", "-s", "KILL", *victims)
        killed_at = client.get(f"backtest/{cid}/status").json()
        assert killed_at["status"] == "running", killed_at
        run("docker", "start", *victims)
        outcome = stack.outcome(client, cid)
    assert outcome["status"]["status"] == "completed", outcome
    assert killed_at["ticks"] < outcome["ticks"]
    assert outcome["event_hash"] == expected["event_hash"]
    assert outcome["events"] == expected["events"]


def test_more_replicas_change_nothing(stack: Stack, reference: dict[str, Any]) -> None:
    stack.up("monitors=2", "event-logger=2")
    assert [len(stack.containers(service)) for service in ("monitors", "event-logger", "venues")] == [2, 2, 1]
    with stack.http() as client:
        cids = [stack.submit(client) for _ in range(2)]
        outcomes = [stack.outcome(client, cid) for cid in cids]
    for outcome in outcomes:
        assert outcome["status"]["status"] == "completed", outcome
        assert outcome["event_hash"] == reference["event_hash"]


def test_logs_that_cannot_be_written_refuse_the_run(stack: Stack, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    stack.up(BASIS_LOGS_DIR_HOST=str(closed))
    with stack.http() as client:
        before = client.get("backtest/list").json()
        answer = client.post("backtest/", json={"strategy_name": "pure_lending_usdt"})
        assert (answer.status_code, answer.json()["error_code"]) == (422, "LOG-003"), answer.text
        assert client.get("backtest/list").json() == before
    assert list(closed.iterdir()) == []
