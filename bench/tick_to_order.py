"""Tick to order sent: from the venue's last answer to the tick's questions until the next order reaches the venue.

Usage: ``python bench/tick_to_order.py [--orders 330] [--warm-up 30] [--passes 1] [--stages]``. JSON on stdout.
On a machine with other work ``chrt -r 20 python bench/tick_to_order.py`` (root) gives its processes the processor first.

A live run of ``ml_btc_directional_usdt_margin`` with a signal that turns at every tick: one order a tick. Services, NATS and the
exchange (the testkit's local Binance, over HTTP, behind an unmodified ccxt) have a process each; ticks follow one another at
once on a shared clock. Both moments are taken by the exchange itself, in one process by one clock: when its last answer
before the order was ready, and when the head of the order's request had been read. So what it takes to answer is outside,
and everything of ours is inside: reading the answer, keeping the tick, assessing, deciding, asking execution and venues while the
order is written down, intent beside limits and a look at what is on record, signing, sending. ``asked just before`` counts what
the last question before each order was: ``deposits`` ends the reading of a tick (``balance`` where a funding came in), so nothing
is asked between it and the order.

``--stages`` listens to every message on NATS beside it, which costs time, and says when each was seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
from nats.errors import Error as NatsError

from basis.runtime.nats_server import NatsServer
from basis.runtime.subjects import RUN_CRITICAL, health

ROOT = Path(__file__).resolve().parent.parent
BASIS = str(Path(sys.executable).parent / "basis")
DATA = ROOT / "data" / "synthetic"
MODE = "ml_btc_directional_usdt_margin"
BEGIN = datetime(2022, 3, 1, 0, 0, 30, tzinfo=UTC)
STEP_S = 300
ORDER = "order.create"
_PATIENCE_S = 240.0
_SLOWEST = 8


def signals(file: Path, ticks: int) -> None:
    """A model that changes its mind at every tick."""
    rows = ["timestamp,signal,confidence,sd"]
    for step in range(-10, 10 * ticks):
        at = BEGIN + timedelta(seconds=STEP_S * step)
        rows.append(f"{at.isoformat()},{'long' if step % 2 else 'short'},0.9,0.1")
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")


def control(url: str, what: str, **given: Any) -> dict[str, Any]:
    """Ask the exchange's control interface."""
    request = urllib.request.Request(f"{url}/_control/{what}", json.dumps(given).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


class Children:
    """Processes that end with this one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[subprocess.Popen[str]] = []

    def start(self, name: str, *command: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """One process, its words in a file."""
        with (self._folder / f"{name}.log").open("w") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        self._all.append(child)
        return child

    def stop(self) -> None:
        """End them."""
        for child in self._all:
            child.terminate()
        for child in self._all:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


def live(*arguments: str, environment: dict[str, str]) -> dict[str, Any]:
    """One ``basis live`` command."""
    done = subprocess.run(
        [BASIS, "live", *arguments, "--json"], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(f"basis live {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one_pass(orders: int, stages: bool) -> tuple[list[list[Any]], list[tuple[float, str]]]:
    """One run: what the exchange heard, and, if wanted, what went over NATS."""
    with tempfile.TemporaryDirectory() as name, NatsServer(Path(name) / "nats") as server:
        folder = Path(name)
        clock = folder / "clock"
        clock.write_bytes(struct.pack("<d", BEGIN.timestamp()))
        signals(folder / "signals.csv", orders)
        children = Children(folder)
        try:
            exchange = children.start(
                "exchange", "basis.testkit.exchange", "--data", str(DATA), "--clock-file", str(clock)
            )
            assert exchange.stdout is not None
            keys = json.loads(exchange.stdout.readline())
            url = keys["url"]
            control(url, "deposit", wallet="linear", asset="USDT", amount=1_000_000)
            (folder / "live").mkdir()
            # the ticks of five hours in some minutes: a real exchange would not take so many questions
            (folder / "live" / "binance.yaml").write_text("rate_limit: false\n", encoding="utf-8")
            environment = dict(os.environ) | {
                "BASIS_NATS_URL": server.url,
                "BASIS_LOGS_DIR": f"{folder}/logs",
                "BASIS_CACHE_DIR": f"{folder}/cache",
                "BASIS_DATA_DIR": str(DATA),
                "BASIS_LOG_LEVEL": "WARNING",
                "BASIS_CLOCK_FILE": str(clock),
                "BASIS_LIVE_TRADING": "true",
                "BASIS_LIVE_DIR": f"{folder}/live",
                "BASIS_BINANCE_URL": url,
                "BASIS_BINANCE_API_KEY": keys["key"],
                "BASIS_BINANCE_API_SECRET": keys["secret"],
            }
            for service in RUN_CRITICAL:
                children.start(service, "basis.cli", "service", service, environment=environment)
            asyncio.run(_ready(server.url))
            changes = {
                "live.enabled": True,
                "live.time_step_s": STEP_S,
                "live.limits.max_order_usd": 1e9,
                "live.limits.max_daily_usd": 1e12,
                "live.fixed_columns": "{price_usd:USDT: 1.0}",
                "strategy.max_position_size": 0.1,
                "strategy.signals.provider": "file",
                "strategy.signals.location": folder / "signals.csv",
            }
            given = [part for path, value in changes.items() for part in ("--set", f"{path}={value}")]
            cid = live("start", MODE, "--real", *given, environment=environment)["correlation_id"]
            seen = asyncio.run(_until(url, server.url, orders, stages, lambda: _still(cid, environment)))
            live("stop", cid, environment=environment)
            return control(url, "heard")["heard"], seen
        except BaseException:
            kept = Path(tempfile.mkdtemp(prefix="tick_to_order-"))
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            print(f"what it left is in {kept}", file=sys.stderr)
            raise
        finally:
            children.stop()


async def _ready(bus: str) -> None:
    """Wait until every service answers."""
    client = await nats.connect(bus)
    try:
        for service in RUN_CRITICAL:
            deadline = time.monotonic() + _PATIENCE_S
            while True:
                try:
                    answer = json.loads((await client.request(health(service), b"", timeout=1.0)).data)
                    if answer.get("ready"):
                        break
                except (NatsError, TimeoutError):
                    pass
                if time.monotonic() > deadline:
                    raise SystemExit(f"{service} is not ready after {_PATIENCE_S:g} s")
                await asyncio.sleep(0.1)
    finally:
        await client.close()


def _still(cid: str, environment: dict[str, str]) -> None:
    found = live("status", cid, environment=environment)
    if found["status"] != "running":
        raise SystemExit(f"the run ended: {found}")


async def _until(url: str, bus: str, orders: int, stages: bool, check: Any) -> list[tuple[float, str]]:
    """Wait for so many orders; the subjects seen meanwhile."""
    seen: list[tuple[float, str]] = []

    async def hear(message: Any) -> None:
        seen.append((time.time(), message.subject))

    client = await nats.connect(bus)
    try:
        if stages:
            await client.subscribe(">", cb=hear)
        deadline, done, idle = time.monotonic() + _PATIENCE_S, -1, 0
        while True:
            # not the list itself: what it takes to tell would make orders wait
            found = (await asyncio.to_thread(control, url, "state"))["requests"].get(ORDER, 0)
            if found >= orders:
                return seen
            if time.monotonic() > deadline:
                raise SystemExit(f"{found} orders in {_PATIENCE_S:g} s")
            idle = idle + 1 if found == done else 0
            done = found
            if idle and idle % 5 == 0:
                await asyncio.to_thread(check)
            await asyncio.sleep(2.0)
    finally:
        await client.close()


def is_order(row: list[Any]) -> bool:
    """An order of the strategy; take profit and stop loss are requests of their own."""
    return row[0] == ORDER and "algo" not in row[2].lower()


def times(heard: list[list[Any]]) -> tuple[list[float], dict[str, int]]:
    """Milliseconds from tick to order, one a tick, and what was asked in between."""
    found: list[float] = []
    between: dict[str, int] = {}
    rows = sorted(heard, key=lambda row: row[3])
    for place, row in enumerate(rows):
        if not is_order(row):
            continue
        found.append(1000 * (row[3] - max(one[4] for one in rows[:place])))
        last = rows[place - 1][0]
        between[last] = between.get(last, 0) + 1
    return found, between


def percentile(values: list[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def summary(values: list[float]) -> dict[str, Any]:
    """What is told of a pass."""
    return {
        "orders": len(values),
        "p50, ms": round(statistics.median(values), 2),
        "p90, ms": round(percentile(values, 0.9), 2),
        "p99, ms": round(percentile(values, 0.99), 2),
        "max, ms": round(max(values), 2),
    }


def measured(orders: int, warm_up: int, passes: int) -> dict[str, Any]:
    """Passes one after the other, each with its load, and the best of them by its p99."""
    told = []
    for _ in range(passes):
        before = json.loads(subprocess.check_output([sys.executable, str(ROOT / "bench" / "machine.py")]))
        heard, _ = one_pass(orders + warm_up, stages=False)
        found, between = times(heard)
        # those that follow met the command that stops the run: a Python that starts beside the services
        told.append(
            summary(found[warm_up : orders + warm_up]) | {"machine before": before, "asked just before": between}
        )
    return {"best": min(told, key=lambda one: float(one["p99, ms"])), "passes": told}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=330)
    parser.add_argument("--warm-up", type=int, default=30)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--stages", action="store_true")
    chosen = parser.parse_args()
    if not chosen.stages:
        print(json.dumps(measured(chosen.orders, chosen.warm_up, chosen.passes), indent=1))
        return
    heard, seen = one_pass(chosen.orders + chosen.warm_up, stages=True)
    for line in staged(sorted(heard, key=lambda row: row[3]), seen):
        print(line)


def staged(rows: list[list[Any]], seen: list[tuple[float, str]]) -> list[str]:
    """What went over NATS while the slowest orders were on their way; milliseconds since the tick was read."""
    lines, found = [], []
    until = max((at for at, _ in seen), default=0.0)
    for place in [place for place, row in enumerate(rows) if is_order(row) and row[3] < until][30:]:
        begin, end = max(row[4] for row in rows[:place]), rows[place][3]
        found.append((end - begin, begin, end))
    for took, begin, end in sorted(found, reverse=True)[:_SLOWEST]:
        lines.append(f"--- {1000 * took:.1f} ms")
        lines += [f"{1000 * (at - begin):8.2f}  {subject}" for at, subject in seen if begin <= at <= end]
    return lines


if __name__ == "__main__":
    main()
