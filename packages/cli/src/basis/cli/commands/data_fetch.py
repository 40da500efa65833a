"""``basis data fetch``: series of exchanges and of the chain into a catalogue."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from basis.cli.output import Rows, print_json, print_rows, refusal
from basis.models.errors import ComponentError, InputError
from basis.runtime import config_loader
from basis.runtime.settings import Settings
from basis.venues.fetch.exchange import ExchangeSource
from basis.venues.fetch.fetcher import fetch
from basis.venues.fetch.series import CHAIN, is_chain_series, is_exchange_series, plan_of
from basis.venues.live.cex.factory import read_config
from basis.venues.live.secrets import require_secret

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from basis.venues.fetch.chain import ChainSource
    from basis.venues.fetch.fetcher import Fetched, Progress
    from basis.venues.fetch.series import SeriesPlan
    from basis.venues.fetch.source import Source


class Wanted(NamedTuple):
    """What is to be fetched."""

    folder: Path
    plans: tuple[SeriesPlan, ...]
    start_ms: int
    end_ms: int


def command(
    folder: Path,
    series: Sequence[str],
    modes: Sequence[str],
    start: str,
    end: str | None,
    *,
    requests_per_s: float,
    as_json: bool,
) -> int:
    """Fetch; exit code 2 where nothing can be asked for, 1 where a source failed: the next call goes on from there."""
    try:
        wanted = _wanted(folder, series, modes, start, end)
    except ComponentError as error:
        return refusal(error, 2, as_json=as_json)
    try:
        done = asyncio.run(_fetch(wanted, requests_per_s, show=sys.stderr.isatty() and not as_json))
    except InputError as error:
        return refusal(error, 2, as_json=as_json)
    except ComponentError as error:
        return refusal(error, 1, as_json=as_json)
    if as_json:
        return print_json([one._asdict() | {"first": _iso(one.first_ms), "last": _iso(one.last_ms)} for one in done])
    rows = [
        [one.series, one.rows, one.fetched, _iso(one.first_ms), _iso(one.last_ms), len(one.gaps) or ""] for one in done
    ]
    return print_rows(Rows(f"{folder}", ("series", "rows", "new", "first", "last", "gaps"), rows))


def _wanted(folder: Path, series: Sequence[str], modes: Sequence[str], start: str, end: str | None) -> Wanted:
    names = list(series)
    for mode in modes:
        config = config_loader.load(Settings().configs_dir, mode).config
        names += [
            feed.series for feed in config.feeds() if is_exchange_series(feed.series) or is_chain_series(feed.series)
        ]
    if not names:
        raise InputError("CONFIG-003", "nothing to fetch: name series, or modes with --mode", "cli")
    plans = tuple(plan_of(name) for name in dict.fromkeys(names))
    end_ms = int(datetime.now(UTC).timestamp() * 1000) if end is None else _ms(end)
    if _ms(start) >= end_ms:
        raise InputError("CONFIG-003", f"start {start} is not before end {end or 'now'}", "cli")
    return Wanted(folder, plans, _ms(start), end_ms)


def _ms(moment: str) -> int:
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        raise InputError("CONFIG-003", f"{moment!r} is no time: expected ISO 8601, e.g. 2024-05-12", "cli") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


async def _fetch(wanted: Wanted, requests_per_s: float, *, show: bool) -> list[Fetched]:
    """Source by source, series by series: the limits of an exchange or a node are for all of its series together."""
    done: list[Fetched] = []
    async with AsyncExitStack() as stack:
        bars = stack.enter_context(_bars(show=show))
        # the chain first: that there is no node is said before anything is asked
        for venue in sorted(dict.fromkeys(plan.venue for plan in wanted.plans), key=lambda venue: venue != CHAIN):
            source: Source
            if venue == CHAIN:
                source = await stack.enter_async_context(_chain(requests_per_s))
            else:
                source = await stack.enter_async_context(ExchangeSource(venue, read_config(venue)))
            plans = [plan for plan in wanted.plans if plan.venue == venue]
            done += await fetch(wanted.folder, plans, source, wanted.start_ms, wanted.end_ms, _Drawer(bars))
    return done


def _chain(requests_per_s: float) -> ChainSource:
    """The node and the addresses that the environment names."""
    from basis.venues.fetch.chain import ChainSource  # noqa: PLC0415 - web3 takes a second
    from basis.venues.live.chain.factory import load_addresses  # noqa: PLC0415

    try:
        return ChainSource(load_addresses(), require_secret("BASIS_RPC_URL"), requests_per_s)
    except InputError:
        raise
    except ComponentError as error:
        raise InputError(error.error_code, error.message, "fetch") from None


def _bars(*, show: bool) -> AbstractContextManager[Bars | None]:
    if not show:
        return nullcontext()
    from rich.console import Console  # noqa: PLC0415 - only where a person looks
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description:32}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
    return Progress(
        *columns, TimeRemainingColumn(), TextColumn("{task.fields[rows]} rows"), console=Console(stderr=True)
    )


class _Drawer:
    """Draws progress, a bar a series."""

    def __init__(self, bars: Bars | None) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, at: Progress) -> None:
        if self._bars is None:
            return
        if at.series not in self._tasks:
            self._tasks[at.series] = self._bars.add_task(at.series, total=at.total_ms, rows=0)
        self._bars.update(self._tasks[at.series], completed=at.done_ms, rows=at.rows)


def _iso(ms: int | None) -> str:
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat()
