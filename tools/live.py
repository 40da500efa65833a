"""``make live``: all ten strategies live for 200 ticks, against local exchanges and a local chain; a line for each.

Each run ends with its books compared with what the counterparts themselves hold, its log checked as ``basis verify`` does, and
everything that it left searched for every key. Names as arguments choose modes, ``--ticks`` another length.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.chain import Account, chain_of_tests  # noqa: E402 - below the path
from tests.support.strategies import CAPITAL, live_run, write_bars  # noqa: E402


def main() -> int:
    """Run them; 0 where all hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modes", nargs="*", default=list(CAPITAL), metavar="MODE", help="modes; all by default")
    parser.add_argument("--ticks", type=int, default=200, help="ticks of each run (200)")
    given = parser.parse_args()
    unknown = [mode for mode in given.modes if mode not in CAPITAL]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of: {', '.join(CAPITAL)}")
    logging.lastResort = None  # what services say goes to their log, not between the lines here
    begin, failed = time.monotonic(), []
    print(
        f"{'mode':32} {'ticks':>5} {'orders':>6} {'reconciled':>10} {'verify':>6} {'secrets':>8} {'value':>14} {'s':>6}"
    )
    with tempfile.TemporaryDirectory(prefix="basis-live-") as folder, chain_of_tests() as account:
        bars = write_bars(Path(folder) / "bars")
        for mode in given.modes:
            failed += [] if _one(mode, given.ticks, account, bars, Path(folder)) else [mode]
    print(
        f"{len(given.modes) - len(failed)} of {len(given.modes)} in {time.monotonic() - begin:.0f} s, "
        f"{time.process_time():.0f} s of CPU"
    )
    return 1 if failed else 0


def _one(mode: str, ticks: int, account: Account, bars: Path, folder: Path) -> bool:
    own = folder / mode
    own.mkdir()
    try:
        done = asyncio.run(live_run(mode, ticks, account, bars, own))
    except Exception as error:  # noqa: BLE001 - the next mode is run all the same
        print(f"{mode:32} failed: {type(error).__name__}: {error}", flush=True)
        return False
    print(
        f"{mode:32} {done.ticks:5} {done.orders:6} {f'{done.compared} agree':>10} {'ok':>6} {'none':>8} "
        f"{done.value:14,.4f} {done.seconds:6.1f}" + (f"  refused: {'; '.join(done.refused)}" if done.refused else ""),
        flush=True,
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
