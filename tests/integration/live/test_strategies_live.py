"""Strategies live on an accelerated clock, against local counterparts: exchanges that replay bars, anvil.

``BASIS_LIVE_TICKS=200`` for long runs.

At the end the books are reconciled with what the counterparts themselves hold, and the log is what was sealed.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.chain import Account, chain_of_tests
from tests.support.cluster import assert_every_event_once, event_lines
from tests.support.live import ARMED, assert_verified, live_cluster
from tests.support.markets import Markets
from tests.support.warp import keep_up

from basis.runtime.clock import SharedClock
from basis.testkit.runs import REPO
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("anvil")]
TICKS = int(os.environ.get("BASIS_LIVE_TICKS", "12"))
BEGIN = datetime(2024, 5, 12, 7, 50, tzinfo=UTC)
REAL = REPO.parent / "shared" / "market-data"
_ALIKE = {
    "{venue}/btcusdt_spot_1h": "binance/btcusdt_spot_1h",
    "{venue}/btcusdt_perp_1h": "binance/btcusdt_perp_1h",
    "{venue}/btcusdt_funding": "binance/btcusdt_funding",
    "{venue}/ethusdt_spot_1h": "bybit/ethusdt_spot_1h",
    "{venue}/ethusdt_perp_1h": "binance/ethusdt_perp_1h",
    "{venue}/ethusdt_funding": "binance/ethusdt_funding",
}
"""Series of each exchange -> real one that is there: prices of all venues move together."""

ON_CHAIN: dict[str, dict[str, float]] = {
    "pure_lending_usdt": {"USDT": 50_000},
    "pure_lending_eth": {"ETH": 20},
    "eth_staking_only": {"ETH": 20},
    "eth_leveraged": {"ETH": 20},
}
BOTH: dict[str, dict[str, float]] = {
    "btc_basis": {"USDT": 100_000},
    "eth_basis": {"USDT": 100_000},
    "usdt_market_neutral_no_leverage": {"USDT": 100_000},
    "usdt_market_neutral": {"USDT": 100_000},
}
EXCHANGE: dict[str, dict[str, float]] = {
    "ml_btc_directional_usdt_margin": {"USDT": 100_000},
    "ml_btc_directional_btc_margin": {"BTC": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real bars where they are there, else synthetic ones."""
    folder = tmp_path_factory.mktemp("bars") / "catalogue"
    write_sample(folder, years=3)
    if REAL.is_dir():
        for venue in ("binance", "bybit", "okx"):
            for ours, real in _ALIKE.items():
                shutil.copyfile(REAL / f"{real}.parquet", folder / f"{ours.format(venue=venue)}.parquet")
    return folder


@pytest.fixture(scope="module")
def chain() -> Iterator[Account]:
    with chain_of_tests() as account:
        yield account


def signals(folder: Path) -> dict[str, Any]:
    """A model's file: long, then short, then neutral."""
    lines = ["timestamp,signal,confidence,sd"]
    sides = ["long", "long", "short", "short", "neutral", "long"]
    for hour in range(40):
        at = BEGIN.timestamp() - 3600 + 1800 * hour
        lines.append(f"{datetime.fromtimestamp(at, UTC).isoformat()},{sides[hour % len(sides)]},0.9,0.02")
    (folder / "signals.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "strategy__signals__provider": "file",
        "strategy__signals__location": str(folder / "signals.csv"),
        "live__fixed_columns": {"price_usd:USDT": 1.0},
        "time_step_s": 300,
    }


async def live_run(mode: str, capital: dict[str, float], account: Account | None, data: Path, folder: Path) -> None:
    """One strategy from its first tick to the seal."""
    clock = SharedClock(folder / "clock")
    clock.set(BEGIN)
    if account is not None:
        account.world.restore()
    markets = Markets(account, clock, data)
    with markets.open():
        overrides: dict[str, Any] = dict(ARMED)
        if account is None:
            overrides |= signals(folder)
            for token, amount in capital.items():
                markets.fund("binance", token, amount)
        else:
            keep_up(account, clock)
            account.node.fund(account.address, 2 * 10**17)  # for gas
            for token, amount in capital.items():
                account.world.give(account.address, token, round(amount * 10 ** {"USDT": 6, "ETH": 18}[token]))
        async with live_cluster(folder, data, BEGIN, markets.factories(), live_trading=True) as cluster:
            submit = await cluster.start(mode, ticks=TICKS, mode="live", **overrides)
            outcome = await cluster.ended(submit.correlation_id)
            assert outcome.status.status == "completed", outcome.status
        assert outcome.ticks == TICKS
        assert_every_event_once(outcome)
        assert_verified(outcome)
        assert_no_secret(folder, markets)
        found = event_lines(outcome)
        executed = found["operation_executions"]
        assert executed, "it traded"
        assert not any(line["simulated"] for line in executed)
        failures = {line["error_message"] for line in executed if line["status"] != "confirmed"}
        assert sum(line["status"] == "confirmed" for line in executed) >= 1, failures
        assert found["reconciliations"][-1]["success"], "books and counterparts agree at the end"
        print(
            f"\n{mode}: {len(executed)} operations, {len(found['reconciliations'])} comparisons, "
            f"failed {[line['error_message'] for line in executed if line['status'] != 'confirmed'][:5]}, "
            f"result {outcome.result.final_value if outcome.result else None}"
        )


def assert_no_secret(folder: Path, markets: Markets) -> None:
    """Nothing that a run leaves behind holds a secret: event log, component logs, JetStream's and KV's files."""
    secrets = [part for server in markets.servers.values() for part in server.credentials if len(part) > 5]
    if markets.account is not None:
        secrets.append(markets.account.key.get_secret_value().removeprefix("0x"))
    assert len(secrets) >= 6, "there is something to look for"
    looked = 0
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            looked += len(content)
            for secret in secrets:
                assert secret.encode() not in content, f"a secret is in {file}"
    assert looked > 100_000, "there was something to look at"


@pytest.mark.parametrize("mode", EXCHANGE)
async def test_on_an_exchange(mode: str, data: Path, tmp_path: Path) -> None:
    await live_run(mode, EXCHANGE[mode], None, data, tmp_path)


@pytest.mark.parametrize("mode", ON_CHAIN)
async def test_on_chain(mode: str, chain: Account, data: Path, tmp_path: Path) -> None:
    await live_run(mode, ON_CHAIN[mode], chain, data, tmp_path)


@pytest.mark.parametrize("mode", BOTH)
async def test_on_both(mode: str, chain: Account, data: Path, tmp_path: Path) -> None:
    await live_run(mode, BOTH[mode], chain, data, tmp_path)
