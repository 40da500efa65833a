"""All services on a real NATS, in this process or one process each, and runs on them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from tests.support.forked import Forked

from basis.cli import services
from basis.gateway.backtest_service import BacktestService
from basis.gateway.requests import BacktestRequest, prepare
from basis.models.messages import CoverageReply, CoverageRequest, OrdersReply
from basis.runtime import domain_events, health, packing, subjects
from basis.runtime.bus import Bus
from basis.runtime.clock import SystemClock
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.nats_server import NatsServer
from basis.runtime.settings import Settings
from basis.runtime.structured_logger import publish_lines
from basis.testkit.runs import CID, CONFIGS, REPO, run_ref

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from nats.aio.msg import Msg

    from basis.models.config import RunConfig
    from basis.models.messages import OrdersRequest, RunOutcome, RunRef, RunStatus


@dataclass
class Cluster:
    """Running services and a connection to them."""

    bus: Bus
    settings: Settings
    server: NatsServer
    children: dict[str, subprocess.Popen[bytes] | Forked] = field(default_factory=dict)
    """Service, or ``service-2`` for a second replica -> its process, where it has one of its own."""
    secrets: Path | None = None
    """Folder of the services' passwords at the NATS server, where it has accounts."""
    forked: bool = False
    """Whether processes are forked from a loaded one, or started as a user would."""

    async def backtest(
        self,
        mode: str = "pure_lending_usdt",
        *,
        start: str | None = None,
        end: str | None = None,
        capital: float | None = None,
        on_progress: Callable[[RunStatus], Any] | None = None,
        **overrides: Any,
    ) -> RunOutcome:
        """One run to its end; overrides are dotted paths with ``__`` for the dot."""
        request = BacktestRequest(
            strategy_name=mode,
            start_date=start,
            end_date=end,
            initial_capital=capital,
            config_overrides={name.replace("__", "."): value for name, value in overrides.items()},
        )
        service = BacktestService(self.bus, SystemClock())
        submit = await service.submit(prepare(request, CONFIGS))
        async for status in service.follow(submit.correlation_id):
            if on_progress is not None:
                on_progress(status)
        outcome = await service.outcome(submit.correlation_id)
        assert outcome is not None
        return outcome

    async def run_ref(self, config: RunConfig, **fields: Any) -> RunRef:
        """A run of a hand-made configuration, with the SHA-256 of the data as the venues see it."""
        run = run_ref(config, **fields)
        request = CoverageRequest(config=run.config)
        covered = await self.bus.request(subjects.venues_coverage(run.correlation_id), request, CoverageReply)
        return run.model_copy(update={"data_sha256": covered.data_sha256})

    @asynccontextmanager
    async def spying(self, correlation_id: str = CID) -> AsyncIterator[Spy]:
        """Hear every message of a run while the context is open."""
        spy = Spy()
        subscription = await self.bus.client.subscribe(f"basis.{correlation_id}.>", cb=spy.hear)
        await self.bus.ping()
        try:
            yield spy
        finally:
            await subscription.unsubscribe()

    async def trade(self, request: OrdersRequest) -> OrdersReply:
        """Have orders executed as the engine does, and publish what comes back."""
        cid = request.run.correlation_id
        reply = await self.bus.request(subjects.orders(cid), request, OrdersReply)
        logger = DomainEventLogger(cid, request.run.pid, SystemClock().now())
        logger.absorb(reply.events)
        await domain_events.publish(self.bus, logger)
        await publish_lines(self.bus, cid, reply.logs)
        return reply

    async def ready(self, patience_s: float = 60.0) -> None:
        """Wait until every service process answers: a loaded machine starts five of them slowly."""
        async with asyncio.timeout(patience_s):
            for name in self.children:
                service = name.removesuffix("-2")
                while (answer := await health.ask(self.bus, service)) is None or not answer.get("ready"):
                    code = self.children[name].poll()
                    assert code is None, f"{name} ended with {code}: see {self.settings.logs_dir.parent / name}.log"
                    await asyncio.sleep(0.1)

    def kill(self, name: str) -> None:
        """``kill -9`` of one service."""
        child = self.children[name]
        child.kill()
        child.wait()

    def strike(self, signal_name: str, point: str) -> None:
        """Whoever passes this point next is sent a signal; needs ``BASIS_KILL_FILE`` in the environment."""
        Path(os.environ["BASIS_KILL_FILE"]).write_text(f"{signal_name} {point}", encoding="utf-8")

    def launch(self, name: str) -> None:
        """Start (again) one service in a process of its own."""
        file, environment = self.settings.logs_dir.parent / f"{name}.log", services.child_environment(self.settings)
        service = name.removesuffix("-2")
        if self.secrets is not None:
            environment["BASIS_NATS_CREDENTIALS_FILE"] = str(self.secrets / f"{service}.nats")
        if self.forked:
            self.children[name] = Forked(service, environment, file)
            return
        with file.open("ab") as log:
            self.children[name] = subprocess.Popen(
                services.command_of(service), env=environment, stdout=log, stderr=log
            )


class Spy:
    """Messages of a run, by subject without its first two tokens."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []

    async def hear(self, message: Msg) -> None:
        """One message."""
        payload = packing.unpacked(message.data, message.headers)
        self.messages.append((message.subject.split(".", 2)[2], payload))

    def events(self, event_type: str) -> list[dict[str, Any]]:
        """Events of one type, in order."""
        lines = [
            orjson.loads(line)
            for subject, payload in self.messages
            if subject == f"events.{event_type}"
            for line in payload.splitlines()
        ]
        return sorted(lines, key=lambda line: int(line["order"]))

    def logs(self, component: str) -> list[dict[str, Any]]:
        """Log lines of one component."""
        return [
            orjson.loads(line)
            for subject, payload in self.messages
            if subject == f"logs.{component}"
            for line in payload.splitlines()
        ]


def settings_for(folder: Path, data: Path, url: str, **fields: Any) -> Settings:
    """Settings whose logs, cache and data are the test's own."""
    values: dict[str, Any] = {
        "nats_url": url,
        "logs_dir": folder / "logs",
        "cache_dir": folder / "cache",
        "data_dir": data,
        "configs_dir": CONFIGS,
        "log_level": "WARNING",
    }
    return Settings(**(values | fields))


@asynccontextmanager
async def embedded_cluster(
    folder: Path,
    data: Path,
    names: Sequence[str] = subjects.RUN_CRITICAL,
    *,
    url: str | None = None,
    **fields: Any,
) -> AsyncIterator[Cluster]:
    """Services in this process, on one bus, with a nats-server of their own.

    Args:
        folder: everything is written below it.
        data: catalogue.
        names: services.
        url: address to connect to in place of the server's own: a proxy in front of it.
        **fields: further settings.
    """
    with NatsServer(folder / "nats") as server:
        settings = settings_for(folder, data, url or server.url, **fields)
        async with services.running(names, settings) as bus:
            yield Cluster(bus, settings, server)


@asynccontextmanager
async def process_cluster(
    folder: Path,
    data: Path,
    *,
    forked: bool = False,
    names: Sequence[str] = subjects.RUN_CRITICAL,
    accounts: bool = False,
    **fields: Any,
) -> AsyncIterator[Cluster]:
    """One process a service, as in containers.

    Args:
        folder: everything is written below it.
        data: catalogue.
        forked: fork them from a process that has everything loaded: quicker to start, the same otherwise.
        names: services; ``venues-2`` is a second replica.
        accounts: whether the server knows the users of configs/nats/accounts.conf, and each service is its own.
        **fields: further settings.
    """
    secrets, environment = (folder / "secrets", passwords(folder / "secrets")) if accounts else (None, {})
    config = CONFIGS / "nats" / "accounts.conf" if accounts else None
    with NatsServer(folder / "nats", config=config, environment=environment) as server:
        settings = settings_for(folder, data, server.url, **fields)
        if secrets is not None:
            settings = settings.model_copy(update={"nats_credentials_file": secrets / "command-line.nats"})
        bus = Bus(settings, "cli")
        await bus.connect()
        await bus.start()
        cluster = Cluster(bus, settings, server, secrets=secrets, forked=forked)
        try:
            for name in names:
                cluster.launch(name)
            await cluster.ready()
            yield cluster
        finally:
            for child in cluster.children.values():
                child.send_signal(signal.SIGCONT)
                child.terminate()
            for child in cluster.children.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(child.wait, 10)
                child.kill()
                child.wait()
            await bus.stop()


def passwords(folder: Path) -> dict[str, str]:
    """Made as ``make up`` makes them; returns what nats-server needs in its environment."""
    subprocess.run([str(REPO / "deploy" / "nats-passwords.sh"), str(folder)], check=True)
    lines = (folder / "nats.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def event_lines(outcome: RunOutcome) -> dict[str, list[dict[str, Any]]]:
    """Event type -> lines of a sealed run, as they are in its files."""
    assert outcome.log_directory is not None
    folder = Path(outcome.log_directory) / "events"
    return {
        file.stem: [orjson.loads(line) for line in file.read_bytes().splitlines()] for file in folder.glob("*.jsonl")
    }


def log_lines(outcome: RunOutcome, component: str) -> list[dict[str, Any]]:
    """Lines of one component's log of a sealed run."""
    assert outcome.log_directory is not None
    file = Path(outcome.log_directory) / f"{component}.log"
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


def assert_every_event_once(outcome: RunOutcome, *, missed: bool = False) -> None:
    """Order keys are unique over the whole run, files hold what was counted, and every tick is there once.

    Args:
        outcome: of the run.
        missed: whether ticks may have been skipped; then the log says which.
    """
    found = event_lines(outcome)
    keys = [line["order"] for lines in found.values() for line in lines]
    assert len(set(keys)) == len(keys), "an event is there twice"
    assert {kind: len(lines) for kind, lines in found.items() if lines} == outcome.events
    ticks = [line["order"] // 1_000_000 for line in found["strategy_decisions"]]
    if not missed:
        assert ticks == list(range(outcome.ticks)), "a tick is missing, or out of sequence"
        return
    said = "\n".join(line["message"] for line in log_lines(outcome, "strategy_manager"))
    gone = sorted(set(range(ticks[-1] + 1)) - set(ticks))
    told = {int(number) for number in re.findall(r"tick (\d+) is skipped", said)}
    for first, last in re.findall(r"ticks (\d+) to (\d+) were missed", said):
        told |= set(range(int(first), int(last) + 1))
    assert ticks == sorted(set(ticks)), "a tick is there twice, or out of sequence"
    assert set(gone) <= told, f"ticks {gone} are missing, said to be skipped: {sorted(told)}"
