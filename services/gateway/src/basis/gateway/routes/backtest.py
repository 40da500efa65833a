"""``/backtest``: submit, follow, read, cancel."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from basis.gateway import http
from basis.gateway.answers import Accepted
from basis.gateway.backtest_service import ENDED
from basis.gateway.problems import NotEnded, responses
from basis.gateway.requests import BacktestRequest, prepare, refuse_own_files
from basis.gateway.routes import Context, Ctx
from basis.models.errors import InputError
from basis.models.messages import RunOutcome, RunStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import BaseModel

router = APIRouter(prefix="/backtest", tags=["backtest"], route_class=http.StrictRoute)
RunId = Annotated[str, Depends(http.run_id)]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`progress` events with a RunStatus each, then one `result` event with the RunOutcome",
        "content": {
            "text/event-stream": {
                "schema": {  # of one event
                    "type": "object",
                    "required": ["event", "data"],
                    "properties": {
                        "event": {"enum": ["progress", "result"]},
                        "data": {"type": "string", "contentMediaType": "application/json"},
                    },
                },
                "example": 'event: progress\ndata: {"correlation_id": "...", "status": "running", "progress": 0.5}\n\n',
            }
        },
    }
}


@router.post("/", status_code=202, operation_id="submit_backtest", responses=responses(413, 422, 503))
async def submit(body: BacktestRequest, request: Request, context: Ctx) -> Accepted:
    """Check a backtest against configuration, services and data, and queue it; nothing is left of one that is refused."""
    refuse_own_files(body)
    prepared = await asyncio.to_thread(prepare, body, context.settings.configs_dir)
    accepted = await context.backtests.submit(prepared)
    request.state.correlation_id = accepted.correlation_id
    return Accepted(request_id=accepted.correlation_id, correlation_id=accepted.correlation_id, status="queued")


@router.get("/list", operation_id="list_backtests", responses=responses(422, 503))
async def list_runs(
    context: Ctx, limit: Annotated[int, Query(ge=1, le=10_000, description="Most runs")] = 1000
) -> list[RunStatus]:
    """Runs that the cluster remembers or that left a directory: queued ones first, then newest first.

    Page by page they are at ``/results/``.
    """
    return (await context.runs.statuses())[:limit]


@router.get("/{correlation_id}/status", operation_id="get_backtest_status", responses=responses(404, 422, 503))
async def status(correlation_id: RunId, context: Ctx) -> RunStatus:
    """Where a run is."""
    return await context.runs.status(correlation_id)


@router.get("/{correlation_id}/result", operation_id="get_backtest_result", responses=responses(404, 409, 422, 503))
async def result(correlation_id: RunId, context: Ctx) -> RunOutcome:
    """What became of a run; 409 while it has not ended."""
    outcome = await context.runs.outcome(correlation_id)
    if outcome is None:
        raise NotEnded(f"run {correlation_id} has not ended: ask again later, or follow its stream")
    return outcome


@router.get(
    "/{correlation_id}/stream",
    operation_id="stream_backtest",
    response_class=StreamingResponse,
    responses=responses(404, 422, 503) | _STREAM,
)
async def stream(correlation_id: RunId, context: Ctx) -> StreamingResponse:
    """Server-sent events: ``progress`` while the run goes on, at the end ``result``.

    Each ``progress`` is a point of the equity curve, too: ``equity`` at tick ``ticks - 1``.
    """
    known = await context.runs.status(correlation_id)  # an unknown run is a problem document, not an empty stream
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(known, context), media_type="text/event-stream", headers=headers)


@router.delete(
    "/{correlation_id}",
    operation_id="cancel_backtest",
    status_code=202,
    responses=responses(404, 422, 503) | {200: {"model": RunStatus, "description": "It has ended, by this or before"}},
)
async def cancel(correlation_id: RunId, context: Ctx, response: Response) -> RunStatus:
    """Cancel a run: at once where it is queued, at its next window where it runs; an ended one stays as it is."""
    found = await context.backtests.cancel(correlation_id)
    response.status_code = 200 if found.status in ENDED else 202
    return found


async def _events(known: RunStatus, context: Context) -> AsyncIterator[bytes]:
    if known.status in ENDED:
        yield _event("progress", known)
    else:
        try:
            async with aclosing(context.feeds.follow(known.correlation_id)) as statuses:
                async for found in statuses:
                    yield _event("progress", found)
                    if context.closing.is_set():
                        return
        except InputError:  # only its directory is left: it says no more than this
            yield _event("progress", known)
    outcome = await context.runs.outcome(known.correlation_id)
    if outcome is not None:
        yield _event("result", outcome)


def _event(name: str, data: BaseModel) -> bytes:
    return f"event: {name}\ndata: {data.model_dump_json()}\n\n".encode()
