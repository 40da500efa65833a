"""Fetch series into a catalogue: page by page, each checked and kept before the next is asked for.

A fetch that is killed goes on where it stopped: pages that are there are not asked for again. One that is done is extended by
asking for a later end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.models.errors import InputError
from basis.venues.fetch.series import SeriesPlan, check_rows, gaps, rows_of
from basis.venues.fetch.store import PageStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from basis.venues.fetch.series import Rows
    from basis.venues.fetch.source import Source

_DAY_MS = 86_400_000


class Progress(NamedTuple):
    """How far a series is."""

    series: str
    done_ms: int
    """Of the stretch that was asked for, milliseconds."""
    total_ms: int
    rows: int
    """Fetched by this call."""


class Fetched(NamedTuple):
    """What became of a series."""

    series: str
    rows: int
    """In the file now."""
    fetched: int
    """By this call."""
    asked: int
    """Questions that this call asked."""
    first_ms: int | None
    last_ms: int | None
    gaps: tuple[tuple[int, int], ...]
    """(row before, row after) where rows are missing at the source."""


async def fetch(
    root: Path,
    plans: Sequence[SeriesPlan],
    source: Source,
    start_ms: int,
    end_ms: int,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[Fetched]:
    """Fetch the rows in [start, end) of some series from one source.

    Args:
        root: folder of the catalogue; made where it is missing.
        plans: series.
        source: gives their rows.
        start_ms: first stamp wanted.
        end_ms: stamps before this; cut to what is over by the source's clock.
        on_progress: told after each page.

    Raises:
        InputError: CONFIG-003 nothing to fetch; DATA-002 what came is no market data, or contradicts the file.
        ComponentError: the source gives no answer. Pages that were kept stay, and the catalogue is as it was.
    """
    if (root / "SYNTHETIC.json").exists():
        message = f"{root} is a synthetic catalogue: real data does not go into one, name another folder"
        raise InputError("CONFIG-003", message, "fetch")
    now = await source.now_ms()
    done = []
    for plan in plans:
        end = min(end_ms, now // plan.period_ms * plan.period_ms if plan.kind != "funding" else now)
        if start_ms >= end:
            raise InputError("CONFIG-003", f"series {plan.name}: nothing is over between start and end yet", "fetch")
        done.append(await _series(PageStore(root, plan), plan, source, start_ms, end, on_progress))
    return done


async def _series(
    store: PageStore,
    plan: SeriesPlan,
    source: Source,
    start_ms: int,
    end_ms: int,
    on_progress: Callable[[Progress], None],
) -> Fetched:
    total, rows, asked = end_ms - start_ms, 0, 0
    covered = [(start, end) for start, end, _ in store.pages()]
    covered += _stored(plan, store.written())
    for start, end in lacking(start_ms, end_ms, covered, source.page_ms(plan)):
        page = rows_of(plan, await source.rows(plan, start, end)).between(start, end)
        check_rows(plan, page)
        store.keep(start, end, page)
        asked, rows = asked + 1, rows + len(page.times)
        on_progress(Progress(plan.name, end - start_ms, total, rows))
    whole = store.finish(lambda rows: check_rows(plan, rows))
    if not len(whole.times):
        message = f"series {plan.name}: the source has no row of that time"
        raise InputError("DATA-001", message, "fetch")
    on_progress(Progress(plan.name, total, total, rows))
    first, last = int(whole.times[0]), int(whole.times[-1])
    return Fetched(plan.name, len(whole.times), rows, asked, first, last, tuple(gaps(plan, whole)))


def _stored(plan: SeriesPlan, rows: Rows) -> list[tuple[int, int]]:
    """Stretches that the file covers: from its first row to the end of its last. Its gaps were gaps of the source."""
    if not len(rows.times):
        return []
    after = 1 if plan.kind == "funding" else plan.period_ms
    return [(int(rows.times[0]), int(rows.times[-1]) + after)]


def lacking(start_ms: int, end_ms: int, covered: Sequence[tuple[int, int]], page_ms: int) -> list[tuple[int, int]]:
    """Pages of [start, end) that nothing covers, by time, none longer than a page. Pure."""
    found = []
    at = start_ms
    for start, end in [*sorted(covered), (end_ms, end_ms)]:
        while at < min(start, end_ms):
            until = min(at + page_ms, start, end_ms)
            found.append((at, until))
            at = until
        at = max(at, end)
    return found
