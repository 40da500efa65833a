"""``make golden``: golden runs on the synthetic sample and on real data; shows what differs, re-records with ``--record``.

A golden run is one JSON file of ``tests/golden``: the command, its statistics, a hash of its orders and its event hash.
Those of ``tests/golden/real`` are on the market data of ``BASIS_DATA`` (default ``../shared/market-data``), and left out,
with a word, where it is not there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "golden"
BASIS = str(Path(sys.executable).parent / "basis")
SEED = 7
REAL_DATA = Path(os.environ.get("BASIS_DATA", ROOT.parent / "shared" / "market-data"))
"""Real market data; the project ships none."""


def make_sample(folder: Path) -> Path:
    """The synthetic sample that golden runs are on."""
    data = folder / "synthetic"
    subprocess.run([BASIS, "data", "sample", str(data), "--seed", str(SEED)], check=True, capture_output=True)
    return data


def files() -> list[Path]:
    """Every golden run, sorted: those on the sample, then those on real data."""
    return [*sorted(FOLDER.glob("*.json")), *sorted((FOLDER / "real").glob("*.json"))]


def is_real(file: Path) -> bool:
    """True for a golden run on real data."""
    return file.parent.name == "real"


def run(arguments: list[str], data: Path, logs: Path) -> dict[str, Any]:
    """Run a golden's command and keep what must not change."""
    command = [BASIS, "backtest", *arguments, "--data", str(data), "--logs", str(logs), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    found = json.loads(done.stdout)
    return {
        "status": found["status"],
        "ticks": found["ticks"],
        "events": found["events"],
        "event_hash": found["event_hash"],
        "orders_sha256": _orders(Path(found["log_directory"]), found["correlation_id"]),
        # what nobody asked for is not recorded: golden runs are repeatable from their configuration alone
        "result": {name: value for name, value in found["result"].items() if name != "requested_flows" or value},
    }


def _orders(directory: Path, correlation_id: str) -> str:
    """Hash of what was ordered: operation, venue, tokens, amount and expectation of each order."""
    digest = hashlib.sha256()
    names = ("timestamp", "operation_type", "venue", "source_token", "target_token", "amount", "expected_deltas")
    for line in (directory / "events" / "orders.jsonl").read_bytes().splitlines():
        order = orjson.loads(line)
        assert order["correlation_id"] == correlation_id
        digest.update(orjson.dumps({name: order[name] for name in names}))
    return digest.hexdigest()


def differences(expected: object, found: object, path: str = "") -> list[str]:
    """Every value that differs, as ``path: expected -> found``."""
    if isinstance(expected, dict) and isinstance(found, dict):
        lines: list[str] = []
        for name in sorted(expected | found):
            lines += differences(expected.get(name), found.get(name), f"{path}.{name}" if path else name)
        return lines
    return [] if expected == found else [f"{path}: {expected!r} -> {found!r}"]


def main() -> int:
    """Compare, or record; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write what is found")
    record = parser.parse_args().record
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        data = make_sample(Path(folder))
        for file in files():
            name = file.relative_to(FOLDER).with_suffix("").as_posix()
            if is_real(file) and not REAL_DATA.is_dir():
                print(f"{name}: left out, no market data at {REAL_DATA}")
                continue
            golden = json.loads(file.read_text())
            found = run(golden["arguments"], REAL_DATA if is_real(file) else data, Path(folder) / "logs")
            lines = differences(golden.get("expected"), found)
            print(f"{name}: {'as recorded' if not lines else f'{len(lines)} differences'}")
            for line in lines:
                print(f"  {line}")
            if record and lines:
                file.write_text(json.dumps({"arguments": golden["arguments"], "expected": found}, indent=1) + "\n")
            failed += bool(lines)
    return 0 if record else int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
