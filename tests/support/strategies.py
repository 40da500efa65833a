"""The ten strategies live on an accelerated clock, against local counterparts: one run each, and what must hold at its end.

Exchanges replay bars (real ones where they are there), anvil follows the clock. ``make live`` and a test run them.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.cluster import assert_every_event_once, event_lines
from tests.support.live import ARMED, assert_verified, live_cluster
from tests.support.markets import EXCHANGES, Markets
from tests.support.warp import keep_up

from basis.models.instruments import INSTRUMENTS, TOKEN_DECIMALS, InstrumentType, is_inverse
from basis.runtime import subjects
from basis.runtime.clock import SharedClock
from basis.testkit.runs import REPO
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.support.chain import Account
    from tests.support.live import LiveCluster

    from basis.models.instruments import Instrument

BEGIN = datetime(2024, 5, 12, 7, 50, tzinfo=UTC)
REAL = REPO.parent / "shared" / "market-data"
_ALIKE = {
    "{venue}/btcusdt_spot_1h": "binance/btcusdt_spot_1h",
    "{venue}/btcusdt_perp_1h": "binance/btcusdt_perp_1h",
    "{venue}/btcusdt_funding": "binance/btcusdt_funding",
    "{venue}/btcusd_perp_1h": "binance/btcusdt_perp_1h",
    "{venue}/btcusd_funding": "binance/btcusdt_funding",
    "{venue}/ethusdt_spot_1h": "bybit/ethusdt_spot_1h",
    "{venue}/ethusdt_perp_1h": "binance/ethusdt_perp_1h",
    "{venue}/ethusdt_funding": "binance/ethusdt_funding",
}
"""Series of each exchange -> real one that is there: prices of all venues move together."""
CAPITAL: dict[str, tuple[str, float]] = {
    "ml_btc_directional_usdt_margin": ("USDT", 100_000),
    "ml_btc_directional_btc_margin": ("BTC", 2),
    "pure_lending_usdt": ("USDT", 50_000),
    "pure_lending_eth": ("ETH", 20),
    "eth_staking_only": ("ETH", 20),
    "eth_leveraged": ("ETH", 20),
    "btc_basis": ("USDT", 100_000),
    "eth_basis": ("USDT", 100_000),
    "usdt_market_neutral_no_leverage": ("USDT", 100_000),
    "usdt_market_neutral": ("USDT", 100_000),
}
"""Mode -> what it begins with: on Binance where it trades there alone, else in the wallet."""
RPC_SECRET = "rpc-key-that-must-never-be-logged"
"""Part of the node's address: services of others put their key there."""
_GAS = 2 * 10**17
_PLANTED = "planted-so-that-the-search-is-known-to-find"


class Done(NamedTuple):
    """A run that ended as it should."""

    mode: str
    ticks: int
    orders: int
    """Confirmed ones."""
    refused: list[str]
    """Why others were not executed."""
    compared: int
    """Balances that were compared at the end, besides all comparisons of the run."""
    searched: int
    """Bytes that no secret was found in."""
    value: float
    """At the end, share class."""
    seconds: float


def write_bars(folder: Path) -> Path:
    """A catalogue for the exchanges to replay: real bars where they are there, else synthetic ones."""
    write_sample(folder, years=3)
    if REAL.is_dir():
        for venue in EXCHANGES:
            for ours, real in _ALIKE.items():
                shutil.copyfile(REAL / f"{real}.parquet", folder / f"{ours.format(venue=venue)}.parquet")
    return folder


async def live_run(mode: str, ticks: int, account: Account | None, bars: Path, folder: Path) -> Done:
    """One strategy from its first tick to the seal.

    Raises:
        AssertionError: something does not hold.
    """
    begin = time.monotonic()
    clock = SharedClock(folder / "clock")
    clock.set(BEGIN)
    if mode.startswith("ml_"):
        account = None
    markets = Markets(account, clock, bars, rpc_path=f"/?key={RPC_SECRET}")
    with markets.open(), _service_log(folder / "services.log"):
        overrides = dict(ARMED) | begin_with(markets, mode, folder)
        async with live_cluster(folder, bars, BEGIN, markets.factories(), live_trading=True) as cluster:
            submit = await cluster.start(mode, ticks=ticks, mode="live", **overrides)
            outcome = await cluster.ended(submit.correlation_id)
            assert outcome.status.status == "completed", outcome.status
            await _plant(cluster)
    assert outcome.ticks == ticks, f"{outcome.ticks} of {ticks} ticks"
    assert_every_event_once(outcome)
    assert_verified(outcome)
    found = event_lines(outcome)
    executed = found["operation_executions"]
    confirmed = [line for line in executed if line["status"] == "confirmed"]
    refused = [str(line["error_message"]) for line in executed if line["status"] != "confirmed"]
    assert confirmed, f"it traded: {refused}"
    assert not any(line["simulated"] for line in executed)
    assert found["reconciliations"][-1]["success"], "books and venues agree after the last order"
    compared = assert_reconciled(markets, found["positions"][-1]["positions"], found["exposures"][-1])
    searched = assert_no_secret(folder, markets)
    value = outcome.result.final_value if outcome.result else 0.0
    return Done(mode, ticks, len(confirmed), refused, compared, searched, value, time.monotonic() - begin)


def begin_with(markets: Markets, mode: str, folder: Path) -> dict[str, Any]:
    """Money where the mode begins; and what it is configured with besides."""
    token, amount = CAPITAL[mode]
    account = markets.account
    if account is None:
        markets.fund("binance", token, amount)
        return _signals(folder)
    account.world.restore()
    keep_up(account, markets.clock)
    account.node.fund(account.address, _GAS)
    account.world.give(account.address, token, round(amount * 10 ** TOKEN_DECIMALS[token]))
    return {}


def _signals(folder: Path) -> dict[str, Any]:
    """A model's file: long, then short, then neutral, for 200 ticks of five minutes."""
    lines = ["timestamp,signal,confidence,sd"]
    sides = ["long", "long", "short", "short", "neutral", "long"]
    for half_hour in range(40):
        at = BEGIN.timestamp() - 3600 + 1800 * half_hour
        lines.append(f"{datetime.fromtimestamp(at, UTC).isoformat()},{sides[half_hour % len(sides)]},0.9,0.02")
    (folder / "signals.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "strategy__signals__provider": "file",
        "strategy__signals__location": str(folder / "signals.csv"),
        "live__fixed_columns": {"price_usd:USDT": 1.0},
        "time_step_s": 300,
    }


# ------------------------------------------------------------------------------------------------------- what must hold


def assert_reconciled(markets: Markets, positions: Mapping[str, float], exposure: Mapping[str, Any]) -> int:
    """The monitors' last positions are what the counterparts themselves hold; asked past our own interfaces.

    Returns:
        how many balances were compared.
    """
    compared = 0
    for key, ours in positions.items():
        theirs = _held(markets, key)
        if theirs is None:
            assert abs(ours) < 1e-6, f"{key}: {ours} is still on its way"
            continue
        asset = INSTRUMENTS[key].asset
        usd = exposure["asset_exposures"].get(asset, {})
        price = abs(usd["usd_value"] / usd["quantity"]) if usd.get("quantity") else 1.0
        tolerance = max(1.0 / price if price else 1.0, 1e-4 * abs(theirs))
        assert abs(ours - theirs) <= tolerance, f"{key}: books {ours!r}, counterpart {theirs!r}"
        compared += 1
    assert compared >= 2, "there was something to compare"
    return compared


def _held(markets: Markets, key: str) -> float | None:
    """What a counterpart holds; None for what is between them."""
    found = INSTRUMENTS[key]
    if found.venue in EXCHANGES:
        exchange = markets.servers[found.venue].exchange
        if found.type is InstrumentType.PERP:
            kind = "inverse" if is_inverse(found.symbol) else "linear"
            return float(exchange.account.positions[found.symbol, kind].amount)
        wallets = list(exchange.account.wallets)
        return float(sum((exchange.equity(wallet, found.symbol) for wallet in wallets), Decimal(0)))
    if markets.account is None or found.venue == "transit":
        return None
    return _on_chain(markets.account, found)


def _on_chain(account: Account, found: Instrument) -> float:
    """Balance of the wallet: scaled on Aave, ether with WETH; nothing is owed by a flash lender or a staker's queue."""
    world, owner, token = account.world, account.address, found.underlying
    units = 0
    if found.venue == "aave_v3":
        held = world.a_token(token) if found.type is InstrumentType.A_TOKEN else world.debt_token(token)
        units = int(held.call("scaledBalanceOf", owner))
    elif found.venue == "wallet" or found.type is InstrumentType.LST:
        token = found.symbol
        units = world.units(token, owner) + (world.units("WETH", owner) if token == "ETH" else 0)
    return float(Decimal(units) / 10 ** TOKEN_DECIMALS.get(token, 18))


def assert_no_secret(folder: Path, markets: Markets) -> int:
    """Nothing that a run leaves behind holds a secret: event log, component logs, services' logs, files of JetStream and KV.

    The search itself must find what was planted in a file and in a bucket.

    Returns:
        how many bytes were looked at.
    """
    secrets = {part for server in markets.servers.values() for part in server.credentials if len(part) > 5}
    if markets.account is not None:
        key = markets.account.key.get_secret_value().removeprefix("0x")
        secrets |= {key, key.upper(), str(int(key, 16)), RPC_SECRET}
    (folder / "planted.log").write_text(f'{{"key": "{_PLANTED}"}}\n', encoding="utf-8")
    where, looked = search(folder, [*secrets, _PLANTED])
    assert {word for word, _ in where} == {_PLANTED}, f"secrets in {sorted({str(file) for _, file in where})}"
    kinds = {file.relative_to(folder).parts[0] for _, file in where}
    assert kinds == {"planted.log", "nats"}, f"the search found the planted word only in {kinds}"
    assert looked > 100_000, "there was something to look at"
    (folder / "planted.log").unlink()
    return looked


def search(folder: Path, words: Iterable[str]) -> tuple[set[tuple[str, Path]], int]:
    """(word, file) for every file below a folder that holds a word, and how many bytes were looked at."""
    pattern = re.compile(b"|".join(re.escape(word.encode()) for word in words))
    found, looked = set(), 0
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            looked += len(content)
            found |= {(match.decode(), file) for match in set(pattern.findall(content))}
    return found, looked


async def _plant(cluster: LiveCluster) -> None:
    """A word in a bucket: the search must find it in the files of JetStream."""
    results = await cluster.bus.bucket(subjects.KV_RESULTS)
    await results.put("planted", _PLANTED.encode())


@contextlib.contextmanager
def _service_log(file: Path) -> Iterator[None]:
    """What the services of this process and their libraries say, as their containers would log it."""
    root = logging.getLogger()
    handler = logging.FileHandler(file, encoding="utf-8")
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()
