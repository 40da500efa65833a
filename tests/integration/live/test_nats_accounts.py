"""NATS accounts: every service works with what its user may do, and nothing that is not its own business is let through.

A real nats-server with configs/nats/accounts.conf and passwords as ``make up`` makes them; services in processes of their own.
"""

from __future__ import annotations

import asyncio
import re
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import nats
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nats.js.api import StreamConfig
from nats.js.errors import Error as JetStreamError
from tests.support.cluster import passwords
from tests.support.exchange_run import ExchangeRun, exchange_run, until

from basis.models.errors import ComponentError, InputError
from basis.runtime import subjects
from basis.runtime.bus import Bus
from basis.runtime.nats_server import NatsServer
from basis.runtime.settings import Settings
from basis.testkit.runs import CID, CONFIGS, REPO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nats.aio.client import Client

pytestmark = [pytest.mark.timeout(300)]
ACCOUNTS = CONFIGS / "nats" / "accounts.conf"
USERS = (*subjects.SERVICES, "command-line", "observer")
ORDER = subjects.orders(CID)
EXECUTE = subjects.venues_execute(CID)
HALT = f"$KV.{subjects.KV_TRADING}.{subjects.halt_key(CID)}"
INTENT = f"$KV.{subjects.KV_INTENTS}.operation"
EVENT = subjects.events(CID, "positions")
EVERYONE_ELSES = [
    "$JS.API.STREAM.DELETE.EVENTS",
    "$JS.API.STREAM.UPDATE.EVENTS",
    "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.STREAM.PURGE.KV_intents",
    "$JS.API.CONSUMER.CREATE.KV_intents.spy",
    "$SYS.REQ.SERVER.PING",
    "_INBOX.strategy.forged",
    subjects.venues_execute(CID) + ".deeper",
]
"""What no user may publish, the one that alone may ask venues to execute included."""
FORBIDDEN = {
    "strategy": [EXECUTE, HALT, INTENT, subjects.venues_halt(CID), subjects.run_submit(CID), subjects.live_submit(CID)],
    "execution": [ORDER, HALT, INTENT, subjects.live_submit(CID), subjects.control(CID), f"$KV.runs.{CID}"],
    "venues": [ORDER, EXECUTE, EVENT, HALT, subjects.control(CID), f"$KV.runs.{CID}", subjects.run_sealed(CID)],
    "monitors": [ORDER, EXECUTE, INTENT, HALT, subjects.venues_advance(CID), subjects.control(CID), f"$KV.runs.{CID}"],
    "event-logger": [ORDER, EXECUTE, EVENT, INTENT, HALT, subjects.run_end(CID), f"$KV.runs.{CID}"],
    "gateway": [ORDER, EXECUTE, EVENT, INTENT, f"$KV.trading.{CID}.day", subjects.run_sealed(CID)],
    "command-line": [ORDER, EXECUTE, EVENT, INTENT, f"$KV.trading.{CID}.day", subjects.run_sealed(CID)],
    "observer": [ORDER, EXECUTE, EVENT, INTENT, HALT, subjects.control(CID), "$JS.API.STREAM.PURGE.EVENTS"],
}
DEAF = {
    "strategy": [ORDER, EXECUTE, "_INBOX.gateway.>", "basis.>"],
    "execution": [EXECUTE, "basis.*.control", "_INBOX.>", ">"],
    "venues": [ORDER, EVENT, "_INBOX.strategy.>", "$KV.>"],
    "monitors": [ORDER, EXECUTE, "basis.>", "_INBOX.venues.>"],
    "event-logger": [ORDER, EXECUTE, "basis.>", "_INBOX.venues.>"],
    "gateway": [ORDER, EXECUTE, "_INBOX.>", "$JS.>"],
    "command-line": [ORDER, EXECUTE, "_INBOX.>", "basis_health.gateway"],
    "observer": ["_INBOX.strategy.x", "$KV.>", "$JS.>", ">"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NatsServer, Path]]:
    """A server with accounts, and the folder of its passwords."""
    folder = tmp_path_factory.mktemp("accounts")
    environment = passwords(folder / "secrets")
    with NatsServer(folder / "nats", config=ACCOUNTS, environment=environment) as found:
        yield found, folder / "secrets"


async def connect(server: NatsServer, secrets: Path, user: str, said: list[str]) -> Client:
    """As one of the users; what the server refuses is said."""

    async def refused(error: Exception) -> None:
        said.append(str(error))

    name, _, password = (secrets / f"{user}.nats").read_text(encoding="utf-8").strip().partition(":")
    return await nats.connect(server.url, user=name, password=password, error_cb=refused, allow_reconnect=False)


def test_passwords_are_for_their_owner_alone_and_stay(tmp_path: Path) -> None:
    first = passwords(tmp_path / "secrets")
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    files = list((tmp_path / "secrets").iterdir())
    assert {file.name for file in files} == {*(f"{user}.nats" for user in USERS), "nats.env"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len(set(first.values())) == len(USERS)
    assert all(len(password) >= 48 for password in first.values())
    assert passwords(tmp_path / "secrets") == first, "a second start changes none"
    told = set(re.findall(r"\$(BASIS_NATS_PASSWORD_\w+)", ACCOUNTS.read_text(encoding="utf-8")))
    assert told == first.keys()


@pytest.mark.parametrize("who", ["{}", '{"user":"strategy","pass":"wrong"}', '{"user":"","pass":""}'])
async def test_strangers_are_refused(server: tuple[NatsServer, Path], who: str) -> None:
    host, port = server[0].url.removeprefix("nats://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"CONNECT {who}\r\nPING\r\n".encode())
    told = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    assert b"Authorization Violation" in told
    assert b"PONG" not in told


@pytest.mark.parametrize("user", USERS)
async def test_what_is_not_a_users_business_is_refused(server: tuple[NatsServer, Path], user: str) -> None:
    said: list[str] = []
    client = await connect(*server, user, said)
    try:
        wanted = [*FORBIDDEN[user], *EVERYONE_ELSES]
        for subject in wanted:
            await client.publish(subject, b"{}")
        deaf = DEAF[user]
        for subject in deaf:
            await client.subscribe(subject)
        await client.flush()
        await until("the server has said no to all", lambda: len(said) >= len(wanted) + len(deaf))
    finally:
        await client.close()
    told = " ".join(said).lower()
    for subject in wanted:
        assert f'permissions violation for publish to "{subject.lower()}"' in told, subject
    for subject in deaf:
        assert f'permissions violation for subscription to "{subject.lower()}"' in told, subject


def trading_keys() -> set[str]:
    """Last words of the keys that the venues' code has in the bucket ``trading``; the halt is the gateway's to write."""
    code = (REPO / "services/venues/src/basis/venues/live").rglob("*.py")
    return {name for file in code for name in re.findall(r'f"\{correlation_id\}\.(\w+)"', file.read_text("utf-8"))}


async def test_the_venues_may_write_each_of_their_records(server: tuple[NatsServer, Path]) -> None:
    """Also those that few runs ever write."""
    assert {"day", "exits", "transfers"} <= trading_keys()
    said: list[str] = []
    client = await connect(*server, "venues", said)
    try:
        for name in sorted(trading_keys()):
            await client.publish(f"$KV.trading.{CID}.{name}", b"{}")
        await client.publish(HALT, b"{}")  # the last: once it is refused, all before it were heard
        await client.flush()
        await until("the server has said no", lambda: bool(said))
    finally:
        await client.close()
    assert len(said) == 1, said


async def test_no_other_stream_can_be_made(server: tuple[NatsServer, Path]) -> None:
    """A stream that repeats what it gets under another subject would speak for somebody else."""
    said: list[str] = []
    client = await connect(*server, "strategy", said)
    try:
        with pytest.raises((JetStreamError, nats.errors.Error, TimeoutError)):
            await client.jetstream(timeout=0.5).add_stream(StreamConfig(name="MINE", subjects=["mine.>"]))
    finally:
        await client.close()
    assert any("$js.api.stream.create.mine" in text.lower() for text in said)


def refused_in(run: ExchangeRun, names: tuple[str, ...]) -> list[str]:
    """What services were refused, by what they and the server wrote."""
    lines = [line for name in names for line in run.log_of(name).splitlines()]
    lines += (run.folder / "nats" / "nats-server.log").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "iolation" in line]


async def test_every_service_works_with_its_account(
    bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backtest, live run and all that the gateway offers: nothing is refused."""
    names = (*subjects.RUN_CRITICAL, "gateway")
    async with exchange_run(tmp_path, bars, monkeypatch, names, accounts=True, gateway_port=free_port()) as run:
        base = f"http://127.0.0.1:{run.cluster.settings.gateway_port}/api/v1/"
        try:
            async with httpx.AsyncClient(base_url=base, timeout=30) as client:
                await backtest_over_http(client)
            await run.cluster.backtest(
                "pure_lending_usdt", start="2022-01-03", end="2022-01-10"
            )  # the command line's way
            await live_runs(run)
        finally:
            assert refused_in(run, names) == []


async def backtest_over_http(client: httpx.AsyncClient) -> None:
    body = {"strategy_name": "pure_lending_usdt", "start_date": "2022-01-03", "end_date": "2022-02-10"}
    slow = body | {"config_overrides": {"engine.initial_window": 1, "engine.max_window": 1}}
    first, second, third = [(await client.post("backtest/", json=each)).json() for each in (slow, body, body)]
    cids = [answer["correlation_id"] for answer in (first, second, third)]
    health = (await client.get("health/detailed")).json()
    assert health["status"] == "ok", health
    await client.post(f"capital/{cids[0]}/deposit", json={"amount": 10.0})
    assert (await client.delete(f"backtest/{cids[2]}")).status_code < 300, "cancelled in the queue"
    assert (await client.delete(f"backtest/{cids[0]}")).status_code < 300, "cancelled while it runs"
    for cid in cids:
        async with asyncio.timeout(60):
            while (await client.get(f"backtest/{cid}/status")).json()["status"] in {"queued", "running"}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert (await client.get(f"backtest/{cids[1]}/status")).json()["status"] == "completed"
    assert (await client.get("backtest/list")).status_code == 200
    assert (await client.get(f"results/{cids[1]}")).status_code == 200
    assert (await client.delete(f"results/{cids[1]}")).status_code == 204


async def live_runs(run: ExchangeRun) -> None:
    submit = await run.start()
    await run.ticks(submit.correlation_id, 8)
    run.cluster.kill("venues")  # who takes over reads intents and ticks
    run.cluster.launch("venues")
    await run.ticks(submit.correlation_id, 10)
    assert await run.live.live.list()
    try:
        await run.live.live.emergency_stop(submit.correlation_id, unwind=True, reason="a test of it")
    except ComponentError as error:
        assert error.error_code == "VEN-002", (
            error
        )  # the clock leapt between stamp and arrival; the engine was told all the same
    outcome = await run.live.ended(submit.correlation_id)
    assert outcome.status.status == "cancelled", outcome.status
    assert "unwound" in (outcome.status.error or "")
    run.assert_one_effect_each(outcome)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_tls_with_a_certificate_of_our_own(tmp_path: Path) -> None:
    certificate(tmp_path)
    environment = passwords(tmp_path / "secrets")
    config = tmp_path / "nats.conf"
    tls = f'tls {{ cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key" }}\n'
    config.write_text(tls + ACCOUNTS.read_text(encoding="utf-8"), encoding="utf-8")
    with NatsServer(tmp_path / "nats", config=config, environment=environment) as server:
        own = Settings(
            nats_url=f"tls://localhost:{server.url.rpartition(':')[2]}",
            nats_credentials_file=tmp_path / "secrets" / "strategy.nats",
            nats_ca_file=tmp_path / "server.pem",
        )
        bus = Bus(own, "strategy")
        await bus.connect()
        try:
            await (await bus.bucket(subjects.KV_RUNS)).put(CID, b"{}")
        finally:
            await bus.stop()
        distrustful = Bus(own.model_copy(update={"nats_ca_file": None, "nats_connect_timeout_s": 1.0}), "strategy")
        with pytest.raises(ComponentError, match="BUS-001"):
            await distrustful.connect()
        await distrustful.stop()
    for file in (tmp_path / "none.pem", config):
        with pytest.raises(InputError, match="nats_ca_file"):
            Bus(own.model_copy(update={"nats_ca_file": file}), "strategy")


def test_credentials_that_make_no_sense_are_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in ("", "secretword", "user:"):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match="expected one line, user:password") as refused:
            Bus(Settings(nats_credentials_file=file), "strategy")
        assert "secretword" not in str(refused.value)
    with pytest.raises(InputError, match="No such file"):
        Bus(Settings(nats_credentials_file=tmp_path / "none"), "strategy")


def certificate(folder: Path) -> None:
    """``server.pem`` and ``server.key`` for localhost, its own issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    found = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(found.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "server.key").write_bytes(secret)
