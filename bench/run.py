"""``make bench``: ticks a second, cold command time, sink throughput, memory, tick to order; on the synthetic sample.

Usage: ``python bench/run.py [loop] [cold] [modes] [orders] [hop] [sink] [memory] [latency] [restart] [--repeat 3]
[--json]``. Nothing named: all. Run it on a machine that does nothing else; figures and method of the last run are in
docs/performance.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
BASIS = str(Path(sys.executable).parent / "basis")
DATA = ROOT / "data" / "synthetic"
MODE = "pure_lending_usdt"
YEAR = ("--start", "2022-01-01", "--end", "2022-12-31T23:00:00")
"""8,760 hourly ticks."""


def backtest(*arguments: str, logs: str, mode: str = MODE) -> tuple[dict[str, Any], float, dict[str, int]]:
    """One cold command: its JSON, its wall-clock seconds, and the peak RSS in MiB of each process it had."""
    begin = time.perf_counter()
    command = [BASIS, "backtest", mode, "--data", str(DATA), "--logs", logs, "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    peaks: dict[str, int] = {}
    if "--processes" in arguments:
        _watch(process, peaks)
    out, err = process.communicate()
    wall = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {err.decode()}")
    found: dict[str, Any] = json.loads(out)
    return found, wall, peaks


def _watch(process: subprocess.Popen[bytes], peaks: dict[str, int]) -> None:
    order: list[int] = []
    while process.poll() is None:
        try:
            children = psutil.Process(process.pid).children(recursive=True)
        except psutil.Error:
            break
        for child in children:
            try:
                rss = child.memory_info().rss
                if child.pid not in order:
                    order.append(child.pid)
                name = child.name() if child.name() == "nats-server" else f"service {order.index(child.pid)}"
                peaks[name] = max(peaks.get(name, 0), rss >> 20)
            except psutil.Error:
                continue
        time.sleep(0.1)


def loop(repeat: int) -> dict[str, Any]:
    """Ticks a second from the first tick until the last event is on disk and the run is sealed."""
    found: dict[str, Any] = {}
    for name, extra in (("embedded", ()), ("processes", ("--processes",))):
        for label, step in (
            ("hourly, 8,760 ticks", YEAR),
            ("5 min, 105,109 ticks", (*YEAR, "--set", "time_step_s=300")),
        ):
            with tempfile.TemporaryDirectory() as logs:
                speeds = [backtest(*step, *extra, logs=logs)[0]["loop_ticks_per_s"] for _ in range(repeat)]
            found[f"{name}, {label}"] = round(statistics.median(speeds))
    return found


def cold(repeat: int) -> dict[str, Any]:
    """Seconds of the whole command, cold process, 8,760 hourly ticks, full log on disk."""
    with tempfile.TemporaryDirectory() as logs:
        walls = [backtest(*YEAR, logs=logs)[1] for _ in range(max(repeat, 5))]
        processes = [backtest(*YEAR, "--processes", logs=logs)[1] for _ in range(repeat)]
    return {
        "embedded, median": round(statistics.median(walls), 2),
        "embedded, best": round(min(walls), 2),
        "processes, median": round(statistics.median(processes), 2),
    }


def modes(repeat: int) -> dict[str, Any]:
    """A year of each mode: seconds of the whole command embedded, and ticks a second with separate processes."""
    listed = subprocess.run([BASIS, "modes", "list", "--json"], capture_output=True, text=True, check=True)
    found: dict[str, Any] = {}
    total = 0.0
    for row in json.loads(listed.stdout):
        mode = row["mode"]
        with tempfile.TemporaryDirectory() as logs:
            runs = [backtest(*YEAR, logs=logs, mode=mode) for _ in range(repeat)]
            apart = [backtest(*YEAR, "--processes", logs=logs, mode=mode)[0] for _ in range(repeat)]
        wall = statistics.median(seconds for _, seconds, _ in runs)
        total += wall
        orders = runs[0][0]["events"].get("orders", 0)
        found[mode] = {
            "ticks": runs[0][0]["ticks"],
            "orders": orders,
            "embedded_wall_s": round(wall, 2),
            "embedded_ticks_per_s": round(statistics.median(run["loop_ticks_per_s"] for run, _, _ in runs)),
            "processes_ticks_per_s": round(statistics.median(run["loop_ticks_per_s"] for run in apart)),
        }
    found["all of them, embedded, s"] = round(total, 1)
    return found


def orders(repeat: int) -> dict[str, Any]:
    """Milliseconds of a tick that rebalances, the first and the last hundred of 10,000 in one run."""
    del repeat
    mode, ticks = "ml_btc_directional_usdt_margin", 10_001
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "signals.csv"
        begin = datetime(2022, 1, 1, tzinfo=UTC)
        rows = [
            f"{(begin + timedelta(hours=n)).isoformat()},{'long' if n % 2 else 'short'},0.9,0.5" for n in range(ticks)
        ]
        file.write_text("\n".join(["timestamp,signal,confidence,sd", *rows]) + "\n")
        changes = {
            "time_step_s": 3600,
            "strategy.signals.provider": "file",
            "strategy.signals.location": str(file),
            "venues.binance.perp_taker_fee_bps": 0,  # else the costs of so many trades leave nothing to trade with
            "venues.binance.execution_cost_bps": "{}",
            "data.feeds.perp:binance:BTCUSDT": "{series: binance/btcusdt_perp_1h, period_s: 3600}",
            "data.feeds.spot:binance:BTCUSDT": "{series: binance/btcusdt_spot_1h, period_s: 3600}",
        }
        arguments = [part for path, value in changes.items() for part in ("--set", f"{path}={value}")]
        end = (begin + timedelta(hours=ticks - 1)).isoformat()
        run, _, _ = backtest("--start", begin.isoformat(), "--end", end, *arguments, logs=folder, mode=mode)
        lines = (Path(run["log_directory"]) / "events" / "tight_loop_executions.jsonl").read_text().splitlines()
    times = [datetime.fromisoformat(json.loads(line)["real_utc_time"]).timestamp() for line in lines]
    apart = [1000 * (late - early) for early, late in pairwise(times)]
    first, last = statistics.median(apart[10:110]), statistics.median(apart[-100:])
    return {
        "orders": len(lines),
        "first, ms": round(first, 2),
        "last, ms": round(last, 2),
        "ratio": round(last / first, 3),
    }


def hop(repeat: int) -> dict[str, Any]:
    """Milliseconds a tick where every tick is a conversation (max_window 1), over 1,000 ticks."""
    arguments = ("--start", "2022-01-01", "--end", "2022-02-11T15:00:00", "--set", "engine.max_window=1")
    found: dict[str, Any] = {}
    for name, extra in (("embedded", ()), ("processes", ("--processes",))):
        with tempfile.TemporaryDirectory() as logs:
            speeds = [backtest(*arguments, *extra, logs=logs)[0]["loop_ticks_per_s"] for _ in range(repeat)]
        found[f"{name}, ms a tick"] = round(1000 / statistics.median(speeds), 2)
    return found


def sink(repeat: int) -> dict[str, Any]:
    """Events a second, JetStream to JSONL on disk."""
    found: dict[str, Any] = {}
    for name, extra in (("prefilled stream", ["--prefilled"]), ("with its producer", [])):
        runs = [
            subprocess.run(
                [sys.executable, str(ROOT / "bench" / "sink.py"), "--events", "400000", *extra],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for _ in range(repeat)
        ]
        speeds = [float(json.loads(text.strip().splitlines()[-1])["events_per_s"]) for text in runs]
        found[name] = round(statistics.median(speeds))
    return found


def memory(repeat: int) -> dict[str, Any]:
    """Peak RSS in MiB of each process by run length, and of long-lived services over 100 runs in a row."""
    del repeat
    found: dict[str, Any] = {}
    for label, end in (("8,929 ticks", "2022-02-01"), ("51,841 ticks", "2022-06-30"), ("210,241 ticks", "2024-01-01")):
        arguments = ("--start", "2022-01-01", "--end", end, "--set", "time_step_s=300", "--processes")
        with tempfile.TemporaryDirectory() as logs:
            found[label] = backtest(*arguments, logs=logs)[2]
    found["100 runs in a row, after 10 and after 100"] = asyncio.run(_many_runs())
    return found


async def _many_runs() -> dict[str, list[int]]:
    from basis.runtime.nats_server import NatsServer

    with tempfile.TemporaryDirectory() as folder, NatsServer() as server:
        environment = dict(os.environ) | {
            "BASIS_NATS_URL": server.url,
            "BASIS_LOGS_DIR": f"{folder}/logs",
            "BASIS_DATA_DIR": str(DATA),
            "BASIS_LOG_LEVEL": "ERROR",
        }
        names = ("strategy", "execution", "venues", "monitors", "event-logger")
        services = {
            name: subprocess.Popen([sys.executable, "-m", "basis.cli", "service", name], env=environment)
            for name in names
        }
        try:
            sizes: dict[str, list[int]] = {name: [] for name in names}
            for number in range(1, 101):
                command = [BASIS, "backtest", MODE, "--nats", server.url, "--json", "--start", "2022-01-01"]
                subprocess.run([*command, "--end", "2022-03-01"], env=environment, check=True, capture_output=True)
                if number in {10, 100}:
                    for name, process in services.items():
                        sizes[name].append(psutil.Process(process.pid).memory_info().rss >> 20)
            return sizes
        finally:
            for process in services.values():
                process.terminate()
            for process in services.values():
                process.wait()


def latency(repeat: int) -> dict[str, Any]:
    """Milliseconds from a live tick's market row to the order at the venue, services apart: best of the passes."""
    command = [sys.executable, str(ROOT / "bench" / "tick_to_order.py"), "--passes", str(repeat)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    best: dict[str, Any] = found["best"]
    return best | {"p99 of each pass, ms": [one["p99, ms"] for one in found["passes"]]}


def restart(repeat: int) -> dict[str, Any]:
    """Live run, services started as a user would: seconds from a service's death at a labelled point until the run went on."""
    found: dict[str, list[float]] = {}
    test = "tests/integration/live/test_kill_points.py"
    for _ in range(repeat):
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", test]
        told = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"BASIS_COLD_STARTS": "1"}, capture_output=True, text=True, check=False
        )
        if told.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {told.returncode}: {told.stdout[-2000:]}")
        for seconds, point in re.findall(
            r"^ *([0-9.]+) s until the run went on, killed (.+)$", told.stdout, re.MULTILINE
        ):
            found.setdefault(point, []).append(float(seconds))
    return {point: f"{statistics.median(each):.2f} ({max(each):.2f} at most)" for point, each in found.items()}


BENCHES = {
    "loop": loop,
    "cold": cold,
    "modes": modes,
    "orders": orders,
    "hop": hop,
    "sink": sink,
    "memory": memory,
    "latency": latency,
    "restart": restart,
}


def speed() -> dict[str, float]:
    """How fast the machine is just now."""
    told = subprocess.run([sys.executable, str(ROOT / "bench" / "machine.py")], capture_output=True, check=True)
    found: dict[str, float] = json.loads(told.stdout)
    return found


def main() -> None:
    """Run the benches named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        subprocess.run([BASIS, "data", "sample", str(DATA)], check=True, stdout=sys.stderr)
    found: dict[str, Any] = {}
    for name in arguments.names or BENCHES:
        before = speed()
        found[name] = BENCHES[name](arguments.repeat) | {"machine before": before, "machine after": speed()}
        if not arguments.json:
            print(f"{name}: {BENCHES[name].__doc__}")
            for label, value in found[name].items():
                print(f"  {label:50} {value}")
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
