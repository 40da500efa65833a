"""The run page of a 105,120-tick run over HTTP: seconds to its first picture, and bytes; with and without cached curves.

Usage: ``python bench/results.py [--logs DIR --run CID] [--repeat 3]``. Without a run an ML mode year is made first. The gateway
is a process of its own, as it is for people; cold means that nothing is cached.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

BASIS = str(Path(sys.executable).parent / "basis")
YEAR = ("ml_btc_directional_usdt_margin", "--start", "2022-01-01", "--end", "2023-01-01")
FIRST = ("", "/curves?columns=equity,drawdown")
"""What a run page asks for at once, and draws first."""
SERVE = """
import asyncio, sys
from pathlib import Path
from basis.models.base import document_fields
document_fields()
from basis.gateway.app import opened
from basis.runtime.settings import Settings

async def main():
    settings = Settings(logs_dir=Path(sys.argv[1]), results_cache_dir=Path(sys.argv[2]), gateway_port=0)
    async with opened(settings, read_only=True) as serving:
        print(serving.url, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


def made(folder: Path) -> tuple[Path, str]:
    """Log root and id of a year at five minutes."""
    done = subprocess.run([BASIS, "backtest", *YEAR, "--logs", str(folder), "--json"], check=True, capture_output=True)
    return folder, str(json.loads(done.stdout)["correlation_id"])


def first_picture(client: httpx.Client, cid: str) -> tuple[float, int]:
    """Seconds until all that is needed for it is there, and its bytes."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(len(FIRST)) as pool:
        answers = list(pool.map(lambda path: client.get(f"results/{cid}{path}").raise_for_status(), FIRST))
    return time.perf_counter() - begin, sum(len(answer.content) for answer in answers)


def measured(logs: Path, cid: str, folder: Path) -> dict[str, Any]:
    """One gateway: cold, warm, and what it needs."""
    cache = folder / "cache"
    os.environ["BASIS_LOG_LEVEL"] = "ERROR"
    command = [sys.executable, "-c", SERVE, str(logs), str(cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            with httpx.Client(base_url=f"{server.stdout.readline().strip()}/", timeout=120) as client:
                while (
                    not (cache / cid).exists() or len(list((cache / cid).rglob("*"))) < 7
                ):  # what it prepares at its start
                    time.sleep(0.2)
                prepared, size = first_picture(client, cid)
                others = client.get(f"results/{cid}").json()["columns"]
                names = ",".join(column["name"] for column in others)
                begin = time.perf_counter()
                client.get(f"results/{cid}/curves", params={"columns": names}).raise_for_status()
                everything = time.perf_counter() - begin
                rss = psutil.Process(server.pid).memory_info().rss >> 20
        finally:
            server.terminate()
    return {"prepared": prepared, "bytes": size, "all columns, prepared": everything, "rss_mib": rss}


def cold(logs: Path, cid: str, folder: Path) -> tuple[float, float]:
    """Seconds to the first picture where nothing is prepared, and CPU seconds of the gateway: a run that came just now."""
    root = folder / "later"
    root.mkdir()
    command = [sys.executable, "-c", SERVE, str(root), str(folder / "no-cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            with httpx.Client(base_url=f"{server.stdout.readline().strip()}/", timeout=120) as client:
                time.sleep(8)  # its own imports
                client.get("results/").raise_for_status()
                process = psutil.Process(server.pid)
                before = process.cpu_times()
                (root / cid).symlink_to(logs.absolute() / cid)
                seconds = first_picture(client, cid)[0]
                after = process.cpu_times()
                return seconds, after.user + after.system - before.user - before.system
        finally:
            server.terminate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=Path)
    parser.add_argument("--run")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logs, cid = (arguments.logs, arguments.run) if arguments.run else made(folder / "logs")
        colds = []
        for number in range(arguments.repeat):
            place = folder / str(number)
            place.mkdir()
            colds.append(cold(logs, cid, place))
            shutil.rmtree(place)
        found = measured(logs, cid, folder)
    print(
        json.dumps(
            {
                "cold, s": [round(one, 3) for one, _ in colds],
                "cold, CPU s": round(statistics.median(cpu for _, cpu in colds), 3),
            }
            | found
        )
    )


if __name__ == "__main__":
    main()
