"""What people see on the terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.table import Table

    from basis.cli.backtest import Finished
    from basis.models.errors import ComponentError
    from basis.models.messages import RunOutcome, RunStatus

_BAR = 30


class Progress:
    """A progress line on stderr with ticks/s and the time left; silent where stderr is no terminal."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._begin = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._enabled:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def update(self, status: RunStatus) -> None:
        """Draw where the run is."""
        if not self._enabled or status.total_ticks == 0:
            return
        seconds = max(time.monotonic() - self._begin, 1e-6)
        speed = status.ticks / seconds
        left = (status.total_ticks - status.ticks) / speed if speed > 0 else 0.0
        done = int(_BAR * status.progress)
        bar = "█" * done + "░" * (_BAR - done)
        sys.stderr.write(f"\r\033[K{bar} {status.progress:4.0%}  {speed:,.0f} ticks/s  {left:.0f} s left")
        sys.stderr.flush()


def refusal(error: ComponentError, code: int, *, as_json: bool) -> int:
    """One line that names what was wrong; returns the exit code."""
    sys.stderr.write(f"basis: {' '.join(str(error).split())}\n")
    if as_json:
        body = {"status": "refused" if code == 2 else "failed", "error_code": error.error_code, "error": error.message}
        sys.stdout.write(orjson.dumps(body).decode() + "\n")
    return code


class Rows(NamedTuple):
    """A table for people."""

    title: str
    names: Sequence[str]
    rows: Sequence[Sequence[object]]


def print_rows(table: Rows) -> int:
    """A table on stdout; in a pipe nothing is cut to the width of a terminal. Returns exit code 0."""
    from rich.console import Console  # noqa: PLC0415 - only where a person reads
    from rich.table import Table  # noqa: PLC0415

    console = Console() if sys.stdout.isatty() else Console(width=250)
    drawn = Table(title=table.title, title_justify="left", show_header=any(table.names))
    for name in table.names:
        drawn.add_column(name, overflow="fold")
    for row in table.rows:
        drawn.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(drawn)
    return 0


def print_json(body: object) -> int:
    """One JSON document on stdout; returns exit code 0."""
    sys.stdout.write(orjson.dumps(body).decode() + "\n")
    return 0


def print_result(finished: Finished) -> None:
    """Result of a backtest as a table."""
    from rich.console import Console  # noqa: PLC0415 - only where a person reads
    from rich.table import Table  # noqa: PLC0415

    outcome, result = finished.outcome, finished.outcome.result
    console = Console()
    status = outcome.status
    table = Table(title=f"{status.strategy}: {status.status}", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")  # hashes and paths are there to be copied: never cut
    if status.error is not None:
        table.add_row("error", f"[{status.error_code}] {status.error}")
    if result is not None:
        unit = result.share_class
        table.add_row("initial capital", f"{result.initial_capital:,.6f} {unit}")
        table.add_row("final value", f"{result.final_value:,.6f} {unit}")
        table.add_row("total return", f"{result.total_return:.4%}")
        table.add_row("annualised", f"{result.annualized_return:.4%} (target {result.target_apy:.2%})")
        table.add_row("max drawdown", f"{result.max_drawdown:.4%}")
        _add_equity(table, outcome, console.encoding)
        table.add_row("costs", ", ".join(f"{kind} {paid:,.6f}" for kind, paid in result.fees.items()))
        table.add_row("attribution gap", f"{result.attribution_gap:.3e} {unit}")
    table.add_row("ticks", f"{outcome.ticks:,} ({outcome.ticks / max(outcome.loop_s, 1e-9):,.0f} ticks/s)")
    table.add_row("events", f"{sum(outcome.events.values()):,}")
    table.add_row("event hash", str(outcome.event_hash))
    table.add_row("log", str(outcome.log_directory))
    console.print(table)


def _add_equity(table: Table, outcome: RunOutcome, encoding: str) -> None:
    """The curve in one line, and between what it moves."""
    from basis.cli import sparkline  # noqa: PLC0415 - only where a person reads

    values = sparkline.equity_of(outcome)
    if len(values) < 2:
        return
    if encoding.lower().startswith("utf"):
        table.add_row("equity", sparkline.draw(values))
    table.add_row("lowest, highest", f"{min(values):,.6f}, {max(values):,.6f} (of {len(values)} places)")
