"""``basis data fetch`` of the chain's series against a real node with the real Aave: what comes out is what its contracts say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import yaml
from pydantic import SecretStr

from basis.models.errors import InputError
from basis.testkit.chain.proxy import Fate, FaultyNode
from basis.testkit.runs import CONFIGS
from basis.venues.data.catalogue import Catalogue
from basis.venues.data.check import check_catalogue
from basis.venues.fetch.chain import ChainSource
from basis.venues.fetch.fetcher import fetch
from basis.venues.fetch.series import check_rows, plan_of, rows_of
from basis.venues.live.chain import abi
from basis.venues.live.chain.rpc import Read, Rpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.chain import Account

    from basis.venues.fetch.fetcher import Fetched

DAY_S, GAS_S = 86_400, 7_200
DAYS = 11
RAY = 10**27
USDT = ("aave_v3/usdt", "oracle/usdt_usd", "oracle/weth_usd", "gas/ethereum_fees")
"""What pure_lending_usdt reads."""
ALL = (*USDT, "aave_v3/weth", "oracle/weeth_eth", "oracle/wsteth_eth")


class Past(NamedTuple):
    """Some days of a chain: a block at every second hour, among them every midnight."""

    account: Account
    first: int
    """First midnight, seconds."""
    blocks: dict[int, int]
    """Time -> block, of every second hour."""

    @property
    def last(self) -> int:
        """After the last midnight that counts as settled."""
        return self.first + DAYS * DAY_S


@pytest.fixture(scope="module")
def past(chain_account: Account) -> Iterator[Past]:
    account = chain_account
    world, node = account.world, account.node
    world.restore()
    pool, usdt, ether = world.aave.pool, world.tokens["USDT"].address, world.tokens["WETH"].address
    first = -(-node.time // DAY_S) * DAY_S
    blocks = {}
    pool.send("borrow", usdt, 6 * 10**8 * 10**6, 2, 0, world.owner)
    for at in range(first, first + DAYS * DAY_S + 2 * GAS_S, GAS_S):
        node.warp(at - node.time)
        blocks[at] = node.height
        hours = (at - first) // 3600
        if hours % 24 == 6:  # updates of the reserve, not at the times of rows
            pool.send("borrow", usdt, 10**6 * 10**6, 2, 0, world.owner)
        if hours % 72 == 30:
            pool.send("borrow", ether, 10**20, 2, 0, world.owner)
            world.set_rate("weETH", 1.05 + hours * 1e-6)
            world.set_prices(3000.0 + hours)
    yield Past(account, first, blocks)
    world.restore()


def run(past: Past, root: Path, *names: str, url: str | None = None, end: int | None = None) -> list[Fetched]:
    async def work() -> list[Fetched]:
        node = SecretStr(url or past.account.node.url)
        async with ChainSource(past.account.config, node, requests_per_s=1e4) as source:
            plans = [plan_of(name) for name in names]
            return await fetch(root, plans, source, 1000 * past.first, 1000 * (end or past.last))

    return asyncio.run(work())


def said(past: Past, read: Read) -> list[Any]:
    """What a contract says at every midnight."""

    async def ask() -> list[Any]:
        rpc = Rpc(SecretStr(past.account.node.url), 20.0)
        try:
            return [(await rpc.read([read], past.blocks[at]))[0] for at in range(past.first, past.last, DAY_S)]
        finally:
            await rpc.close()

    return asyncio.run(ask())


def test_rows_are_what_the_contracts_say_at_those_blocks(past: Past, tmp_path: Path) -> None:
    config = past.account.config
    for done in run(past, tmp_path, *ALL):
        assert done.fetched == done.rows == (DAYS * 12 if done.series.startswith("gas") else DAYS)
        assert not done.gaps
    assert not (tmp_path / ".fetch").exists()
    catalogue, pool = Catalogue(tmp_path), config.aave.pool
    for token, name in (("USDT", "aave_v3/usdt"), ("WETH", "aave_v3/weth")):
        fields = ["liquidity_index", "variable_borrow_index", "supply_apr", "borrow_apr", "total_supplied"]
        found = catalogue.series(name, fields).columns
        assert found["timestamp"].tolist() == list(range(1000 * past.first, 1000 * past.last, 1000 * DAY_S))
        asset = (config.tokens[token],)
        income = said(past, Read(pool, abi.NORMALIZED_INCOME, asset))
        debt = said(past, Read(pool, abi.NORMALIZED_DEBT, asset))
        assert found["liquidity_index"].tolist() == [value / RAY for value in income], "by logs, to the last bit"
        assert found["variable_borrow_index"].tolist() == [value / RAY for value in debt]
        assert income[-1] > income[0] >= RAY, token
        data = said(past, Read(pool, abi.RESERVE_DATA, asset))
        assert found["supply_apr"].tolist() == [row[2] / RAY for row in data]
        assert found["borrow_apr"].tolist() == [row[4] / RAY for row in data]
        supplied = said(past, Read(data[0][8], abi.function("totalSupply()->uint256")))
        units = 10 ** (6 if token == "USDT" else 18)
        assert found["total_supplied"] == pytest.approx([value / units for value in supplied], rel=1e-12)
    prices = said(past, Read(config.aave.oracle, abi.ASSET_PRICE, (config.tokens["WETH"],)))
    assert len(set(prices)) > 3
    assert catalogue.series("oracle/weth_usd", ["price_usd"]).columns["price_usd"].tolist() == [p / 1e8 for p in prices]
    assert config.etherfi is not None
    rates = said(past, Read(config.etherfi.wrapped, abi.GET_RATE))
    assert len(set(rates)) > 2
    assert catalogue.series("oracle/weeth_eth", ["price_eth"]).columns["price_eth"].tolist() == [
        r / 1e18 for r in rates
    ]
    gas = catalogue.series("gas/ethereum_fees", ["base_fee_gwei", "priority_fee_p50_gwei"]).columns
    assert np.isfinite(gas["base_fee_gwei"]).all()
    assert (gas["base_fee_gwei"] > 0).all()


def test_catalogue_feeds_a_backtest(past: Past, tmp_path: Path) -> None:
    """``basis data fetch``, ``basis data check`` and ``basis backtest`` as commands; killed in the middle: the same bytes."""
    run(past, tmp_path / "whole", *USDT)
    (tmp_path / "chain.yaml").write_text(yaml.safe_dump(past.account.config.model_dump(mode="json")), encoding="utf-8")
    environ = os.environ | {
        "BASIS_CHAIN_CONFIG": str(tmp_path / "chain.yaml"),
        "BASIS_RPC_URL": past.account.node.url,
        "BASIS_LOGS_DIR": str(tmp_path / "logs"),
        "BASIS_CACHE_DIR": str(tmp_path / "cache"),
        "BASIS_CONFIGS_DIR": str(CONFIGS),
    }
    root = tmp_path / "catalogue"
    times = [np.datetime_as_string(np.datetime64(at, "s")) for at in (past.first, past.last)]
    command = [sys.executable, "-m", "basis.cli", "data", "fetch", str(root), "--mode", "pure_lending_usdt"]
    command += ["--start", str(times[0]), "--end", str(times[1]), "--requests-per-s", "1000", "--json"]
    child = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while not list((root / ".fetch" / "gas" / "ethereum_fees").glob("[0-9]*.parquet")) if root.exists() else True:
        assert time.monotonic() < patience, "the first page never came"
        assert child.poll() is None, "the command ended"
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {report["series"] for report in json.loads(done.stdout)} == set(USDT)
    for name in USDT:
        assert (root / f"{name}.parquet").read_bytes() == (tmp_path / "whole" / f"{name}.parquet").read_bytes(), name

    reports = {report.mode: report for report in check_catalogue(root, CONFIGS)}
    assert reports["pure_lending_usdt"].ok, reports["pure_lending_usdt"].faults
    backtest = [sys.executable, "-m", "basis.cli", "backtest", "pure_lending_usdt", "--data", str(root), "--json"]
    told = subprocess.run(backtest, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)
    assert result["status"] == "completed"
    assert result["ticks"] >= (DAYS - 1) * 24
    assert result["result"]["attribution"]["supply"] > 0.0


async def test_logs_are_asked_for_in_as_many_stretches_as_the_node_wants(past: Past, tmp_path: Path) -> None:
    port = int(past.account.node.url.rsplit(":", 1)[1].rstrip("/"))
    fates = iter([Fate.PASS, Fate.PASS, Fate.TOO_MANY, Fate.SERVER_ERROR])
    async with FaultyNode(port) as proxy:
        proxy.most_blocks = 7
        proxy.rule = lambda _methods: next(fates, Fate.PASS)
        await asyncio.to_thread(run, past, tmp_path / "narrow", "aave_v3/usdt", url=proxy.url)
        assert proxy.too_wide > 3
        assert proxy.seen.count("eth_getLogs") > len(past.blocks) // 7
    await asyncio.to_thread(run, past, tmp_path / "wide", "aave_v3/usdt")
    narrow, wide = ((tmp_path / kind / "aave_v3" / "usdt.parquet").read_bytes() for kind in ("narrow", "wide"))
    assert narrow == wide


def test_a_later_end_asks_for_the_rest_alone(past: Past, tmp_path: Path) -> None:
    middle = past.first + 4 * DAY_S
    (first,) = run(past, tmp_path, "aave_v3/usdt", end=middle)
    (again,) = run(past, tmp_path, "aave_v3/usdt", end=middle)
    assert (first.rows, again.asked, again.fetched) == (4, 0, 0)
    (more,) = run(past, tmp_path, "aave_v3/usdt")
    assert (more.fetched, more.rows, more.gaps) == (DAYS - 4, DAYS, ())


def test_what_cannot_be_is_refused(past: Past, tmp_path: Path) -> None:
    wrong = past.account.config.model_copy(update={"chain_id": 5})

    async def elsewhere() -> None:
        async with ChainSource(wrong, SecretStr(past.account.node.url)):
            pass

    with pytest.raises(InputError, match=r"CONFIG-003.*addresses are of chain 5"):
        asyncio.run(elsewhere())
    index, price = plan_of("aave_v3/usdt"), plan_of("oracle/weth_usd")
    fallen = [(0, 1.2, 1.3, 0.01, 0.02, 5.0, 1.0), (86_400_000, 1.1, 1.3, 0.01, 0.02, 5.0, 1.0)]
    with pytest.raises(InputError, match=r"1970-01-02.*liquidity_index below that of the row before"):
        check_rows(index, rows_of(index, fallen))
    with pytest.raises(InputError, match="no price"):
        check_rows(price, rows_of(price, [(0, 0.0)]))
    with pytest.raises(InputError, match="multiple of its period"):
        check_rows(price, rows_of(price, [(1000, 1.0)]))
    with pytest.raises(InputError, match="has no price_usd"):
        check_rows(price, rows_of(price, [(0, float("nan"))]))
    with pytest.raises(InputError, match="no series of an exchange or of the chain"):
        plan_of("aave_v3/usdc")
    assert not list(tmp_path.iterdir())
