"""``basis data``: the synthetic sample, and what a catalogue is worth."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from basis.cli.output import Rows, print_json, print_rows, refusal
from basis.models.errors import ComponentError, InputError
from basis.runtime.settings import Settings
from basis.venues.data.check import check_catalogue
from basis.venues.data.sample import write_sample

if TYPE_CHECKING:
    from pathlib import Path


def sample(folder: Path, seed: int, *, as_json: bool) -> int:
    """Write the seeded synthetic catalogue."""
    begin = time.perf_counter()
    try:
        written = write_sample(folder, seed=seed)
    except ComponentError as error:
        return refusal(error, 2, as_json=as_json)
    except OSError as error:
        failure = InputError("DATA-001", f"cannot write {folder}: {error.strerror or error}", "cli")
        return refusal(failure, 2, as_json=as_json)
    if as_json:
        return print_json({"folder": str(folder.resolve()), "seed": seed, "synthetic": True, "series": written})
    print(f"{len(written)} synthetic series in {folder}, seed {seed}, {time.perf_counter() - begin:.1f} s")
    return 0


def check(folder: Path, *, as_json: bool) -> int:
    """Coverage and faults of a catalogue for each mode; exit code 1 where it can feed none."""
    if not folder.is_dir():
        return refusal(InputError("DATA-001", f"no folder {folder}", "cli"), 2, as_json=as_json)
    try:
        reports = check_catalogue(folder, Settings().configs_dir)
    except ComponentError as error:
        return refusal(error, 2, as_json=as_json)
    if as_json:
        print_json(
            [
                {
                    "mode": report.mode,
                    "ok": report.ok,
                    "first": report.first.isoformat() if report.first else None,
                    "last": report.last.isoformat() if report.last else None,
                    "series": report.series,
                    "faults": [
                        {"code": fault.code, "series": fault.series, "message": fault.message}
                        for fault in report.faults
                    ],
                }
                for report in reports
            ]
        )
    else:
        rows = [
            [
                report.mode,
                "yes" if report.ok else "no",
                report.first.isoformat() if report.first else "",
                report.last.isoformat() if report.last else "",
                "; ".join(f"[{fault.code}] {fault.message}" for fault in report.faults[:3])
                + (f" (and {len(report.faults) - 3} more)" if len(report.faults) > 3 else ""),
            ]
            for report in reports
        ]
        print_rows(Rows(f"{folder}", ("mode", "feeds it", "first tick", "last tick", "faults"), rows))
    return 0 if any(report.ok for report in reports) else 1
