"""``/live``, ``/capital`` and ``basis live`` over real HTTP: paper and real runs at a local exchange, and every refusal.

One deployment for all: a gateway with keys behind a socket, all services, a real NATS, the testkit's Binance.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
import yaml
from tests.support.cluster import settings_for
from tests.support.gateway import problem, serving

from basis.cli.main import main
from basis.gateway import keys
from basis.gateway.keys import Scope
from basis.runtime.clock import SharedClock
from basis.runtime.nats_server import NatsServer
from basis.testkit.exchange import ExchangeServer
from basis.testkit.runs import REPO
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from basis.runtime.settings import Settings

pytestmark = pytest.mark.timeout(240)
MODE, UNARMED = "ml_btc_directional_usdt_margin", "ml_btc_directional_btc_margin"
BEGIN = datetime(2022, 3, 1, 0, 0, 30, tzinfo=UTC)
STEP_S = 300
NO_RUN = "0123456789abcdef" * 2
PATIENCE_S = 90.0


class Deployed(NamedTuple):
    """What runs, and clients of it by scope."""

    settings: Settings
    exchange: ExchangeServer
    trade: httpx.Client
    run: httpx.Client
    read: httpx.Client
    nobody: httpx.Client

    def until(self, cid: str, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a status."""
        deadline = time.monotonic() + PATIENCE_S
        while not done(found := self.read.get(f"live/status/{cid}").json()):
            assert time.monotonic() < deadline, json.dumps(found)
            time.sleep(0.05)
        return dict(found)

    def performance(self, cid: str, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for what a run holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not done(found := self.read.get(f"live/performance/{cid}").json()):
            assert time.monotonic() < deadline, json.dumps(found)
            time.sleep(0.05)
        return dict(found)

    def start(self, mode: str, **more: Any) -> str:
        """A run of MODE that has begun."""
        answer = self.trade.post("live/start", json={"strategy_name": MODE, "mode": mode, **more})
        assert answer.status_code == 202, answer.text
        cid = str(answer.json()["correlation_id"])
        assert answer.headers["x-correlation-id"] == cid
        self.until(cid, lambda found: found["ticks"] >= 3)
        return cid

    def position(self) -> float:
        """Of the perp, at the exchange."""
        with self.exchange.lock:
            return float(sum(held.amount for held in self.exchange.exchange.account.positions.values()))

    def orders(self) -> list[float]:
        """When orders of strategies came to the exchange, epoch seconds."""
        with self.exchange.lock:
            heard = list(self.exchange.heard)
        return [one.arrived for one in heard if one.operation == "order.create" and "algo" not in one.path.lower()]


def configs_of(folder: Path) -> Path:
    """The project's configurations, one mode armed, with a model that turns at every tick."""
    rows = ["timestamp,signal,confidence,sd"]
    for step in range(-10, 200_000 // STEP_S * 30):
        at = BEGIN + timedelta(seconds=STEP_S * step)
        rows.append(f"{at.isoformat()},{'long' if step % 2 else 'short'},0.9,0.1")
    (folder / "signals.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    configs = folder / "configs"
    shutil.copytree(REPO / "configs", configs)
    live: dict[str, Any] = {"time_step_s": STEP_S, "fixed_columns": {"price_usd:USDT": 1.0}}
    armed = {"enabled": True, "limits": {"max_order_usd": 1e9, "max_daily_usd": 1e12, "max_leverage": 10.0}}
    for mode, section in ((MODE, live | armed), (UNARMED, live)):
        file = configs / "modes" / f"{mode}.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        content["live"] = section
        content["strategy"]["max_position_size"] = 0.1
        content["strategy"]["signals"] |= {"provider": "file", "location": str(folder / "signals.csv")}
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return configs


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("live-http")
    write_sample(folder / "data", years=1)
    clock = SharedClock(folder / "clock")
    clock.set(BEGIN)
    made = {scope: keys.make(f"the-{scope}", scope) for scope in Scope}
    (folder / "live").mkdir()
    home = {"client": {"USDT": {"address": "0x" + "12" * 20, "network": "ERC20"}}}
    terms = {"rate_limit": False, "withdrawal_addresses": home}
    (folder / "live" / "binance.yaml").write_text(yaml.safe_dump(terms), encoding="utf-8")
    exchange = ExchangeServer("binance", clock=lambda: int(clock.now().timestamp() * 1000))
    with pytest.MonkeyPatch.context() as patch, NatsServer(folder / "nats") as nats, exchange:
        exchange.exchange.replay(folder / "data")
        exchange.exchange.deposit("linear", "USDT", 100_000)
        secrets = exchange.credentials
        patch.setenv("BASIS_LIVE_DIR", str(folder / "live"))
        patch.setenv("BASIS_BINANCE_URL", exchange.url)
        patch.setenv("BASIS_BINANCE_API_KEY", secrets.key)
        patch.setenv("BASIS_BINANCE_API_SECRET", secrets.secret)
        settings = settings_for(
            folder,
            folder / "data",
            nats.url,
            configs_dir=configs_of(folder),
            clock_file=folder / "clock",
            live_trading=True,
            gateway_port=0,
            api_keys=";".join(key.line() for _, key in made.values()),
        )
        with serving(settings) as url:
            base = f"{url}/api/v1/"
            clients = {
                scope: httpx.Client(base_url=base, timeout=60, headers={"X-API-Key": text})
                for scope, (text, _) in made.items()
            }
            with httpx.Client(base_url=base, timeout=60) as nobody:
                found = Deployed(
                    settings, exchange, clients[Scope.TRADE], clients[Scope.RUN], clients[Scope.READ], nobody
                )
                try:
                    yield found
                finally:  # after a test that failed
                    for run in found.read.get("live/strategies").json()["items"]:
                        if run["status"]["status"] == "running":
                            cid = run["status"]["correlation_id"]
                            found.trade.post(f"live/{cid}/emergency-stop", json={})
                            found.until(cid, lambda now: now["status"] != "running")
            for client in clients.values():
                client.close()


def test_a_paper_run_from_its_start_to_its_stop(there: Deployed) -> None:
    before = there.orders()
    cid = there.start("paper", initial_capital=100_000)
    items = there.read.get("live/strategies").json()["items"]
    assert (items[0]["mode"], items[0]["status"]["correlation_id"]) == ("paper", cid)
    found = there.performance(cid, lambda now: now["orders_by_type"].get("perp_trade", 0) >= 2)
    assert (found["mode"], found["status"], found["capital"]) == ("paper", "running", 100_000.0)

    for _ in range(2):  # asked again under its id it counts once
        moved = there.trade.post(f"capital/{cid}/deposit", json={"amount": 25_000, "request_id": "one"})
        assert moved.status_code == 202, moved.text
        assert moved.json()["kind"] == "deposit"
    there.performance(cid, lambda now: now["capital"] == 125_000.0)
    taken = there.trade.post(f"capital/{cid}/withdraw", json={"amount": 5_000, "currency": "USDT"})
    assert taken.status_code == 202, taken.text
    there.performance(cid, lambda now: now["capital"] == pytest.approx(120_000.0, abs=2))  # less a fee
    assert there.trade.post(f"live/{cid}/rebalance").status_code == 202
    wrong = there.trade.post(f"capital/{cid}/deposit", json={"amount": 1, "currency": "ETH"})
    assert "USDT" in problem(wrong, 422, "CONFIG-003")

    stopped = there.trade.post(f"live/{cid}/stop")
    assert stopped.status_code == 202, stopped.text
    assert there.until(cid, lambda now: now["status"] != "running")["status"] == "completed"
    assert there.orders() == before, "a paper run orders nothing at an exchange"

    for ended in (there.trade.post(f"live/{cid}/stop"), there.trade.post(f"live/{cid}/rebalance")):
        assert "completed" in problem(ended, 409, "RUN-003")
    assert "completed" in problem(there.trade.post(f"capital/{cid}/deposit", json={"amount": 1}), 409, "RUN-003")
    halted = there.trade.post(f"live/{cid}/emergency-stop", json={})
    assert (halted.status_code, halted.json()["status"]["status"]) == (200, "completed"), "harmless"


def test_who_may_not(there: Deployed) -> None:
    start = {"strategy_name": MODE, "mode": "paper"}
    unarmed = there.trade.post("live/start", json={"strategy_name": UNARMED, "mode": "live"})
    assert "live.enabled" in problem(unarmed, 422, "VEN-016")
    itself = start | {"mode": "live", "config_overrides": {"live.limits.max_order_usd": 1e9}}
    assert "not for clients" in problem(there.trade.post("live/start", json=itself), 422, "CONFIG-003")
    assert problem(there.trade.post("live/start", json=start | {"strategy_name": "none"}), 422, "CONFIG-001")
    assert problem(there.trade.post("live/start", json=start | {"mode": "real"}), 422, "CONFIG-003")
    changes = ["start", f"{NO_RUN}/stop", f"{NO_RUN}/rebalance", f"{NO_RUN}/emergency-stop"]
    for path in changes:
        for client in (there.run, there.read):
            assert "trade" in problem(client.post(f"live/{path}", json=start), 403, "AUTH-002")
        problem(there.nobody.post(f"live/{path}", json=start), 401, "AUTH-001")
    for path in changes[1:]:
        problem(there.trade.post(f"live/{path}", json={}), 404, "RUN-001")
    for path in (f"status/{NO_RUN}", f"performance/{NO_RUN}"):
        problem(there.read.get(f"live/{path}"), 404, "RUN-001")
    for path in ("deposit", "withdraw"):
        problem(there.trade.post(f"capital/{NO_RUN}/{path}", json={"amount": 1}), 404, "RUN-001")
    paper = there.start("paper")
    for path in ("deposit", "withdraw"):
        problem(there.run.post(f"capital/{paper}/{path}", json={"amount": 1}), 403, "AUTH-002")
    assert there.trade.post(f"live/{paper}/stop").status_code == 202


def test_emergency_stop_and_no_second_run_of_an_account(there: Deployed) -> None:
    cid = there.start("live")
    again = there.trade.post("live/start", json={"strategy_name": MODE, "mode": "live"})
    assert cid in problem(again, 409, "RUN-004")
    ordered = len(there.orders())
    there.performance(cid, lambda now: len(there.orders()) >= ordered + 2 and now["orders_by_type"]["perp_trade"] > 2)
    answer = there.trade.post(f"live/{cid}/emergency-stop", json={"reason": "a test of it"})
    answered = time.time()
    assert answer.status_code == 200, answer.text
    found = there.until(cid, lambda now: now["status"] != "running")
    assert (found["status"], found["error"]) == ("cancelled", "a test of it")
    time.sleep(1.5)
    late = [arrived - answered for arrived in there.orders() if arrived > answered + 1.0]
    assert not late, f"no new order a second after the answer, by the exchange's own list: {late}"
    with there.exchange.lock:
        heard = {one.operation for one in there.exchange.heard}
        waiting = [order for order in there.exchange.exchange.account.orders.values() if order.status == "open"]
    assert any("cancel" in operation for operation in heard), heard
    assert not waiting, "take profit and stop loss of the position are cancelled too"
    assert there.position() != 0.0, "positions stay"


def test_capital_of_a_live_run_counts_when_it_arrives_and_is_paid_out(there: Deployed) -> None:
    """An announcement alone is nothing; what arrives is the client's, announced or not, and counted once."""
    cid = there.start("live")

    def capital() -> float:
        return float(there.performance(cid, lambda _: True)["capital"])

    begun = there.performance(cid, lambda now: now["orders_by_type"].get("perp_trade", 0) >= 2)
    announced = there.trade.post(f"capital/{cid}/deposit", json={"amount": 10_000})
    assert announced.status_code == 202, announced.text
    ticks = there.until(cid, lambda _: True)["ticks"]
    there.until(cid, lambda now: now["ticks"] >= ticks + 3)
    assert capital() == begun["capital"]
    with there.exchange.lock:
        there.exchange.exchange.receive("USDT", 10_000, "0x" + "ab" * 32)
    put_in = begun["capital"] + 10_000.0
    found = there.performance(cid, lambda now: now["capital"] == put_in)
    assert found["total_return"] == pytest.approx(begun["total_return"], abs=0.05), "capital is no profit"

    while capital() == put_in:  # asked again while it is under way, it counts once
        taken = there.trade.post(f"capital/{cid}/withdraw", json={"amount": 5_000, "request_id": "out"})
        assert taken.status_code == 202, taken.text
    ticks = there.until(cid, lambda _: True)["ticks"]
    there.until(cid, lambda now: now["ticks"] >= ticks + 3)
    assert capital() == pytest.approx(put_in - 5_000.0, abs=2)
    with there.exchange.lock:
        paid = [one for one in there.exchange.exchange.account.movements if one.kind == "withdrawal"]
    assert [(str(one.asset), float(one.amount)) for one in paid] == [("USDT", 5_000.0)]
    assert there.trade.post(f"live/{cid}/emergency-stop", json={"unwind": True}).status_code == 200
    there.until(cid, lambda now: now["status"] == "cancelled")


def test_emergency_stop_with_unwinding(there: Deployed) -> None:
    cid = there.start("live")
    there.performance(cid, lambda now: now["orders_by_type"].get("perp_trade", 0) >= 2)
    answer = there.trade.post(f"live/{cid}/emergency-stop", json={"unwind": True})
    assert answer.status_code == 200, answer.text
    found = there.until(cid, lambda now: now["status"] != "running")
    assert found["status"] == "cancelled"
    assert "unwound" in found["error"]
    assert there.position() == 0.0


@pytest.fixture
def basis(there: Deployed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line: (exit code, its one JSON object)."""
    monkeypatch.setenv("BASIS_CONFIGS_DIR", str(there.settings.configs_dir))
    monkeypatch.setenv("BASIS_CLOCK_FILE", str(there.settings.clock_file))

    def run(*arguments: str, nats: str = there.settings.nats_url) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["basis", "live", *arguments, "--nats", nats, "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr().out
        assert out.count("\n") == 1, out
        return int(ended.value.code or 0), dict(json.loads(out))

    return run


def test_the_command_line(there: Deployed, basis: Any) -> None:
    code, started = basis("start", MODE, "--capital", "5000")
    assert (code, started["mode"], started["strategy"], started["initial_capital"]) == (0, "paper", MODE, 5000.0)
    cid = started["correlation_id"]
    there.until(cid, lambda now: now["ticks"] >= 3)
    code, status = basis("status", cid)
    assert (code, status["status"], status["capital"]) == (0, "running", 5000.0)
    assert basis("list")[1][cid] == f"paper {MODE} running"
    assert basis("rebalance", cid)[0] == 0
    assert basis("deposit", cid, "1000")[1]["deposit"] == 1000.0
    there.performance(cid, lambda now: now["capital"] == 6000.0)
    assert basis("withdraw", cid, "500")[0] == 0
    there.performance(cid, lambda now: now["capital"] == pytest.approx(5500.0, abs=2))
    for wrong in ("0", "nan", "inf"):
        code, refused = basis("deposit", cid, wrong)
        assert (code, refused["error_code"]) == (2, "CONFIG-003")
    assert basis("stop", cid)[0] == 0
    there.until(cid, lambda now: now["status"] == "completed")
    assert basis("stop", cid) == (
        2,
        {"status": "refused", "error_code": "RUN-003", "error": f"run {cid} has ended: completed"},
    )

    code, real = basis("start", MODE, "--real")
    assert (code, real["mode"]) == (0, "live")
    live = real["correlation_id"]
    there.performance(live, lambda now: now["orders_by_type"].get("perp_trade", 0) >= 1)
    code, second = basis("start", MODE, "--real")
    assert (code, second["error_code"]) == (2, "RUN-004")
    code, halted = basis("emergency-stop", live, "--unwind")
    assert code == 0
    assert halted["correlation_id"] == live
    there.until(live, lambda now: now["status"] == "cancelled")
    assert there.position() == 0.0

    for arguments, error_code in (
        (("start", "no_such_mode"), "CONFIG-001"),
        (("start", UNARMED, "--real"), "VEN-016"),
        (("status", NO_RUN), "RUN-001"),
        (("stop", NO_RUN), "RUN-001"),
        (("emergency-stop", NO_RUN), "RUN-001"),
        (("withdraw", NO_RUN, "1"), "RUN-001"),
    ):
        code, refused = basis(*arguments)
        assert (code, refused["error_code"], refused["status"]) == (2, error_code, "refused"), arguments
    code, away = basis("list", nats="nats://127.0.0.1:1")
    assert (code, away["error_code"]) == (2, "BUS-001")


def test_a_venue_that_says_no_is_exit_code_1(there: Deployed, basis: Any) -> None:
    code, failed = basis("start", UNARMED, "--set", "live.fixed_columns={}", "--set", "live.quote_max_age_s=1e-9")
    assert (code, failed["status"]) == (1, "failed"), failed
