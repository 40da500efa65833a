"""Deposits and withdrawals that are asked for while a backtest runs. Pure.

Such a flow becomes part of the run's configuration from its tick on: every service then does what it does for a flow that was
configured from the start, and a run that had it there has the same events.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from basis.models.messages import RequestedFlow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from basis.models.messages import Control

FLOW_COMMANDS: Final = frozenset({"deposit", "withdraw"})


class ConfigText(NamedTuple):
    """A configuration as it travels."""

    payload: bytes
    """RunConfig as JSON."""
    sha256: str
    """SHA-256 of it: services keep what they derive from it under this key."""


def requested(request: Control, tick: int, date: datetime) -> RequestedFlow:
    """What a request means at a tick."""
    amount = request.amount if request.command == "deposit" else -request.amount
    return RequestedFlow(request_id=request.request_id, tick=tick, date=date, amount=amount)


def with_flows(payload: bytes, sha256: str, flows: Sequence[RequestedFlow]) -> ConfigText:
    """The configuration with flows added to its own; without any the very same bytes."""
    if not flows:
        return ConfigText(payload, sha256)
    config = orjson.loads(payload)
    added = [{"amount": flow.amount, "date": flow.date.isoformat()} for flow in flows]
    config["capital_flows"] = [*config.get("capital_flows", ()), *added]
    text = orjson.dumps(config, option=orjson.OPT_SORT_KEYS)
    return ConfigText(text, hashlib.sha256(text).hexdigest())
