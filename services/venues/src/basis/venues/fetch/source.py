"""Where rows come from.

The seam between sources (:mod:`.exchange`, :mod:`.chain`) and :func:`basis.venues.fetch.fetcher.fetch`. Pages, resumption, checks
and files are the same for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from basis.venues.fetch.series import SeriesPlan


class Source(Protocol):
    """Gives the rows of series."""

    def page_ms(self, plan: SeriesPlan) -> int:
        """How long a stretch one page covers: no page is longer than what one question can be answered with."""
        ...

    async def rows(self, plan: SeriesPlan, start_ms: int, end_ms: int) -> Sequence[Sequence[float]]:
        """Rows stamped in [start, end), complete: (ms, field, field, ...) in the sequence of ``plan.fields``.

        Raises:
            ComponentError: they cannot be read, or not in full; what was asked before stays as it is.
        """
        ...

    async def now_ms(self) -> int:
        """The source's own time: what is not over by then is not fetched."""
        ...
