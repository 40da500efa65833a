"""``/health`` and ``/metrics``: for people, load balancers and Prometheus."""

from __future__ import annotations

import asyncio
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, get_args

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from basis.gateway.answers import DetailedHealth, Health, ServiceHealth
from basis.gateway.problems import responses
from basis.gateway.routes import Context, Ctx
from basis.models.messages import RunStatusName
from basis.runtime import health as service_health
from basis.runtime import subjects

if TYPE_CHECKING:
    from collections.abc import Mapping

router = APIRouter(tags=["health"])
_VERSION = version("basis-gateway")
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/health", operation_id="get_health")
async def health(context: Ctx) -> Health:
    """The gateway itself; asks no one."""
    return Health(version=_VERSION, nats_connected=context.bus.is_connected, uptime_s=_uptime(context))


@router.get("/health/detailed", operation_id="get_detailed_health")
async def detailed(context: Ctx) -> DetailedHealth:
    """Each service by a NATS round trip, all at once."""
    found = await asyncio.gather(*(_ask(context, name) for name in subjects.SERVICES))
    services = dict(zip(subjects.SERVICES, found, strict=True))
    return DetailedHealth(status="ok" if all(one.ready for one in found) else "degraded", services=services)


async def _ask(context: Context, name: str) -> ServiceHealth:
    begin = context.clock.monotonic()
    answer = await service_health.ask(context.bus, name)
    ms = round((context.clock.monotonic() - begin) * 1e3, 3)
    if answer is None:
        silence = f"no answer within {subjects.HEALTH_TIMEOUT_S:g} s"
        return ServiceHealth(ready=False, ms=None, reason=silence, details={})
    details = {key: value for key, value in answer.items() if key not in {"service", "ready", "reason"}}
    reason = str(answer["reason"]) if "reason" in answer else None
    return ServiceHealth.model_validate(
        {"ready": bool(answer.get("ready")), "ms": ms, "reason": reason, "details": details}
    )


@router.get(
    "/metrics",
    operation_id="get_metrics",
    response_class=PlainTextResponse,
    responses=responses(503) | {200: {"content": {"text/plain": {"example": 'basis_runs{status="completed"} 3\n'}}}},
)
async def metrics(context: Ctx) -> PlainTextResponse:
    """Prometheus text format."""
    lines = [
        *_metric("basis_gateway_info", "gauge", "Version of the gateway.", {f'{{version="{_VERSION}"}}': 1}),
        *_metric("basis_gateway_uptime_seconds", "gauge", "Time since the start.", {"": _uptime(context)}),
        *_metric("basis_nats_connected", "gauge", "1 while NATS is connected.", {"": int(context.bus.is_connected)}),
    ]
    if context.bus.is_connected:  # else the gateway's own numbers still get out
        counted = Counter(status.status for status in await context.backtests.list())
        runs = {f'{{status="{name}"}}': counted[name] for name in get_args(RunStatusName)}
        lines += _metric("basis_runs", "gauge", "Runs that the cluster remembers, by status.", runs)
    return PlainTextResponse("\n".join(lines) + "\n", media_type=_PROMETHEUS)


def _metric(name: str, kind: str, help_text: str, values: Mapping[str, float]) -> list[str]:
    samples = [f"{name}{labels} {value:g}" for labels, value in values.items()]
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *samples]


def _uptime(context: Context) -> float:
    return round(context.clock.monotonic() - context.started, 3)
