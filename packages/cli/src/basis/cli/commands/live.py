"""``basis live``: paper and live runs on services that run already (``basis services up``, containers)."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import TYPE_CHECKING

import orjson

from basis.cli import deployment
from basis.cli.output import refusal
from basis.gateway.backtest_service import BacktestService
from basis.gateway.live_answers import performance
from basis.gateway.live_requests import LiveRequest, prepare_live
from basis.gateway.live_service import LiveService
from basis.models.errors import ComponentError, InputError
from basis.runtime import config_loader
from basis.runtime.clock import clock_of
from basis.runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_CONNECT_S = 3.0


def start(
    mode: str,
    *,
    live: bool,
    capital: float | None,
    end: str | None,
    overrides: Sequence[str],
    nats: str | None,
    as_json: bool,
) -> int:
    """Start a run and print its id; it goes on by itself."""

    async def ask(service: LiveService) -> dict[str, object]:
        request = LiveRequest(
            strategy_name=mode,
            mode="live" if live else "paper",
            initial_capital=capital,
            end_date=end,
            config_overrides=dict(config_loader.parse_override(text) for text in overrides),
        )
        prepared = prepare_live(request, Settings().configs_dir, trusted=True)
        submit = await service.start(prepared)
        return {
            "correlation_id": submit.correlation_id,
            "mode": submit.run_mode,
            "strategy": mode,
            "start": submit.start.isoformat(),
            "initial_capital": submit.initial_capital,
        }

    return _run(ask, nats, as_json=as_json)


def status(correlation_id: str, *, nats: str | None, as_json: bool) -> int:
    """Print where a run is, what it holds and what it has earned."""

    async def ask(service: LiveService) -> dict[str, object]:
        record = await service.record(correlation_id)
        return performance(record, None).model_dump(mode="json") | {"error": record.status.error}

    return _run(ask, nats, as_json=as_json)


def list_runs(*, nats: str | None, as_json: bool) -> int:
    """Print all paper and live runs that the cluster remembers."""

    async def ask(service: LiveService) -> dict[str, object]:
        found = await service.list()
        return {
            record.status.correlation_id: f"{record.run_mode} {record.status.strategy} {record.status.status}"
            for record in found
        }

    return _run(ask, nats, as_json=as_json)


def stop(correlation_id: str, *, nats: str | None, as_json: bool) -> int:
    """End a run after the tick in hand."""

    async def ask(service: LiveService) -> dict[str, object]:
        record = await service.stop(correlation_id)
        return {"correlation_id": correlation_id, "status": record.status.status}

    return _run(ask, nats, as_json=as_json)


def rebalance(correlation_id: str, *, nats: str | None, as_json: bool) -> int:
    """Re-target at the next tick."""

    async def ask(service: LiveService) -> dict[str, object]:
        record = await service.rebalance(correlation_id)
        return {"correlation_id": correlation_id, "status": record.status.status}

    return _run(ask, nats, as_json=as_json)


def deposit(correlation_id: str, amount: float, *, nats: str | None, as_json: bool) -> int:
    """Capital that the client puts in; a live run counts it when it arrives."""

    async def ask(service: LiveService) -> dict[str, object]:
        record = await service.deposit(correlation_id, _sound(amount))
        return {"correlation_id": correlation_id, "deposit": amount, "status": record.status.status}

    return _run(ask, nats, as_json=as_json)


def withdraw(correlation_id: str, amount: float, *, nats: str | None, as_json: bool) -> int:
    """Capital that the client takes out: free balance first, else unwound 1:1."""

    async def ask(service: LiveService) -> dict[str, object]:
        record = await service.withdraw(correlation_id, _sound(amount))
        return {"correlation_id": correlation_id, "withdrawal": amount, "status": record.status.status}

    return _run(ask, nats, as_json=as_json)


def _sound(amount: float) -> float:
    if not (math.isfinite(amount) and amount > 0.0):
        raise InputError("CONFIG-003", f"amount {amount}: expected a number above 0, in the share class", "cli")
    return amount


def emergency_stop(correlation_id: str, *, unwind: bool, reason: str, nats: str | None, as_json: bool) -> int:
    """No new order, cancel what is open, end the run."""

    async def ask(service: LiveService) -> dict[str, object]:
        halted = await service.emergency_stop(correlation_id, unwind=unwind, reason=reason)
        return {
            "correlation_id": correlation_id,
            "cancelled_orders": 0 if halted is None else halted.cancelled,
            "status": (await service.status(correlation_id)).status,
        }

    return _run(ask, nats, as_json=as_json)


def _run(ask: Callable[[LiveService], Awaitable[dict[str, object]]], nats: str | None, *, as_json: bool) -> int:
    settings = Settings(**({} if nats is None else {"nats_url": nats}), nats_connect_timeout_s=_CONNECT_S)  # type: ignore[arg-type]

    async def connected() -> dict[str, object]:
        async with deployment.cluster(settings) as bus:
            clock = clock_of(settings.clock_file)
            return await ask(LiveService(bus, clock, BacktestService(bus, clock)))

    try:
        answer = asyncio.run(connected())
    except InputError as error:
        return refusal(error, 2, as_json=as_json)
    except ComponentError as error:
        return refusal(error, 2 if error.error_code in {"BUS-001", "BUS-002"} else 1, as_json=as_json)
    if as_json:
        sys.stdout.write(orjson.dumps(answer).decode() + "\n")
    else:
        for name, value in answer.items():
            print(f"{name:20} {value}")
    return 0
