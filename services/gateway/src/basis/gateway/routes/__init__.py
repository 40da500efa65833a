"""Routes of the HTTP API, one module a topic."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

if TYPE_CHECKING:
    from basis.gateway.backtest_service import BacktestService
    from basis.gateway.live_service import LiveService
    from basis.gateway.run_list import RunList
    from basis.gateway.status_feed import StatusFeeds
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """What the handlers work with."""

    bus: Bus
    backtests: BacktestService
    live: LiveService
    runs: RunList
    settings: Settings
    clock: Clock
    started: float
    """Monotonic time of the start, seconds."""
    closing: asyncio.Event
    """Set when the server is told to stop: open streams end."""
    feeds: StatusFeeds
    """For those who follow a run."""


def _context(request: Request) -> Context:
    found = request.app.state.context
    assert isinstance(found, Context)
    return found


Ctx = Annotated[Context, Depends(_context)]
"""Dependency: the context of the app."""
