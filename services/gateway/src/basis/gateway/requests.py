"""What a client asks for, checked as far as it can be without asking anyone."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ConfigDict, Field, JsonValue

from basis.models.base import FrozenModel
from basis.models.errors import InputError
from basis.runtime import config_loader

if TYPE_CHECKING:
    from pathlib import Path

    from basis.runtime.config_loader import MergedConfig

_COMPONENT = "backtest_service"


class BacktestRequest(FrozenModel):
    """Body of ``POST /api/v1/backtest/``."""

    # strict: no "1e5" and no true in place of a number; not deferred: FastAPI cannot build it later without a warning
    model_config = ConfigDict(strict=True, defer_build=False)

    strategy_name: str = Field(examples=["pure_lending_usdt"])
    """Mode: a file of configs/modes."""
    start_date: str | None = Field(default=None, examples=["2024-05-12"])
    """Time of the first tick, ISO 8601, UTC unless it says otherwise; null = where the data begins."""
    end_date: str | None = Field(default=None, examples=["2025-03-01"])
    """Time of the last tick; null = where the data ends."""
    initial_capital: float | None = Field(default=None, examples=[100000])
    """Capital at the first tick, share class; null = the share class's default."""
    share_class: str | None = Field(default=None, examples=["USDT"])
    """Must be the mode's own where given."""
    config_overrides: dict[str, JsonValue] = Field(default_factory=dict, examples=[{"venues.wallet.gas_price_gwei": 0}])
    """Dotted path in the merged configuration -> value."""


class PreparedBacktest(NamedTuple):
    """A request that makes sense in itself."""

    merged: MergedConfig
    """Configuration."""
    start: datetime | None
    """First tick; None = where the data begins."""
    end: datetime | None
    """Last tick; None = where the data ends."""
    capital: float
    """Capital, share class."""


def prepare(request: BacktestRequest, configs: Path) -> PreparedBacktest:
    """Check a request and merge its configuration.

    Raises:
        InputError: CONFIG-00x; names what was wrong, where, and what would be right.
    """
    merged = config_loader.load(configs, request.strategy_name, request.config_overrides.items())
    share_class = merged.config.share_class
    if request.share_class is not None and request.share_class != share_class.currency:
        message = f"share_class {request.share_class!r} does not fit {request.strategy_name}, which is in {share_class.currency}"
        raise InputError("CONFIG-003", message, _COMPONENT)
    capital = share_class.default_capital if request.initial_capital is None else request.initial_capital
    if not (math.isfinite(capital) and capital > 0.0):
        raise InputError("CONFIG-003", f"initial_capital is {capital}, expected a finite number above 0", _COMPONENT)
    start, end = parse_time(request.start_date, "start_date"), parse_time(request.end_date, "end_date")
    if start is not None and end is not None and start >= end:
        message = f"start_date {start.isoformat()} is not before end_date {end.isoformat()}"
        raise InputError("CONFIG-003", message, _COMPONENT)
    return PreparedBacktest(merged, start, end, capital)


_OWN_FILES = "strategy.signals"
"""Section whose values make the venues service read a file or fetch a URL."""


def refuse_own_files(request: BacktestRequest) -> None:
    """What a client over HTTP may not set: it would have the service read its own files or its own network for it.

    Raises:
        InputError: CONFIG-003, names the path.
    """
    for path in request.config_overrides:
        if path == _OWN_FILES or path.startswith(f"{_OWN_FILES}.") or _OWN_FILES.startswith(f"{path}."):
            message = (
                f"config_overrides: {path} is not for clients: where signals come from is set in configs/ or with --set"
            )
            raise InputError("CONFIG-003", message, _COMPONENT)


def parse_time(text: str | None, name: str) -> datetime | None:
    """ISO 8601 date or time to UTC.

    Raises:
        InputError: CONFIG-003, not ISO 8601.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # overflow: an offset at the edge of the calendar
        message = f"{name} {text!r} is not an ISO 8601 date or time, e.g. 2024-05-12 or 2024-05-12T08:00:00+00:00"
        raise InputError("CONFIG-003", message, _COMPONENT) from error
