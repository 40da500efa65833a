"""``/live``: paper and live runs. Everything that changes something needs the scope ``trade``."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from basis.gateway import http
from basis.gateway.answers import Accepted
from basis.gateway.live_answers import LivePerformance, LiveRuns, Stopped, live_run, performance
from basis.gateway.live_requests import EmergencyStopRequest, LiveRequest, prepare_live
from basis.gateway.problems import responses
from basis.gateway.routes import Ctx
from basis.models.messages import RunStatus

router = APIRouter(prefix="/live", tags=["live"], route_class=http.StrictRoute)
RunId = Annotated[str, Depends(http.run_id)]


@router.post("/start", status_code=202, operation_id="start_live", responses=responses(409, 413, 422, 503))
async def start(body: LiveRequest, request: Request, context: Ctx) -> Accepted:
    """Start a paper or live run; a live one only where configuration, environment and key arm it."""
    prepared = await asyncio.to_thread(prepare_live, body, context.settings.configs_dir)
    accepted = await context.live.start(prepared)
    cid = request.state.correlation_id = accepted.correlation_id
    return Accepted(request_id=cid, correlation_id=cid, status=(await context.live.status(cid)).status)


@router.get("/strategies", operation_id="list_live", responses=responses(503))
async def strategies(context: Ctx) -> LiveRuns:
    """Paper and live runs that the cluster remembers, newest first."""
    return LiveRuns(items=tuple(live_run(record) for record in await context.live.list()))


@router.get("/status/{correlation_id}", operation_id="get_live_status", responses=responses(404, 422, 503))
async def status(correlation_id: RunId, context: Ctx) -> RunStatus:
    """Where a run is."""
    return await context.live.status(correlation_id)


@router.get("/performance/{correlation_id}", operation_id="get_live_performance", responses=responses(404, 422, 503))
async def live_performance(correlation_id: RunId, context: Ctx) -> LivePerformance:
    """What a run holds and has earned so far."""
    return performance(await context.live.record(correlation_id), await context.backtests.outcome(correlation_id))


@router.post(
    "/{correlation_id}/stop", status_code=202, operation_id="stop_live", responses=responses(404, 409, 422, 503)
)
async def stop(correlation_id: RunId, context: Ctx) -> RunStatus:
    """End a run after the tick in hand; positions stay as they are."""
    return (await context.live.stop(correlation_id)).status


@router.post(
    "/{correlation_id}/emergency-stop", operation_id="emergency_stop", responses=responses(404, 409, 413, 422, 503)
)
async def emergency_stop(correlation_id: RunId, body: EmergencyStopRequest, context: Ctx) -> Stopped:
    """No new order, open orders cancelled, then the run ends; with ``unwind`` once all positions are closed."""
    halted = await context.live.emergency_stop(correlation_id, unwind=body.unwind, reason=body.reason)
    found = await context.live.status(correlation_id)
    return Stopped(cancelled_orders=0 if halted is None else halted.cancelled, status=found)


@router.post(
    "/{correlation_id}/rebalance",
    status_code=202,
    operation_id="rebalance_live",
    responses=responses(404, 409, 422, 503),
)
async def rebalance(correlation_id: RunId, context: Ctx) -> RunStatus:
    """Re-target at the next tick."""
    return (await context.live.rebalance(correlation_id)).status
