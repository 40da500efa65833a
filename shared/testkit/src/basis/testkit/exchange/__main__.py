"""A local exchange as a process: prints its address and keys as one JSON line, then serves until it is stopped.

python -m basis.testkit.exchange --venue binance [--data DIR] [--start 2024-05-12] [--clock-file PATH]

With ``--data`` it replays bars and funding of a catalogue, from ``--start`` on at the speed of the wall clock, or at the
time that ``--clock-file`` holds (a float64 of epoch seconds, little-endian, as ``basis.runtime.clock.SharedClock`` writes).
"""

from __future__ import annotations

import argparse
import json
import struct
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from basis.testkit.exchange.server import ExchangeServer
from basis.testkit.exchange.treasury import wall_ms

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venue", choices=("binance", "bybit", "okx"), default="binance")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--start")
    parser.add_argument("--clock-file", type=Path)
    chosen = parser.parse_args()
    clock = _clock(chosen.start, chosen.clock_file)
    with ExchangeServer(chosen.venue, clock=clock, port=chosen.port) as server:
        if chosen.data is not None:
            server.exchange.replay(chosen.data)
        print(json.dumps({"url": server.url, **server.credentials._asdict()}), flush=True)
        while True:
            time.sleep(3600)


def _clock(start: str | None, file: Path | None) -> Callable[[], int]:
    if file is not None:
        return lambda: int(struct.unpack("<d", file.read_bytes())[0] * 1000)
    if start is None:
        return wall_ms
    ahead = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp() * 1000) - wall_ms()
    return lambda: wall_ms() + ahead


if __name__ == "__main__":
    main()
