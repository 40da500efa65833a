"""Routes of the HTTP API, one module a topic.

A new endpoint goes into the module of its topic (``capital.py`` is a short one to begin from); a new topic is a module with a
``router``, listed in ``basis.gateway.app``. It needs a scope (``access``), its problem documents (``responses``) and an example
of each body; ``make reference`` writes it into docs/reference, and the schemathesis tests ask it whatever the document allows.
"""

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
