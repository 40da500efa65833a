"""``/results``: the list of runs, and what each came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from basis.gateway import http
from basis.gateway.problems import responses
from basis.gateway.routes import Ctx
from basis.models.base import CorrelationId
from basis.models.errors import InputError
from basis.models.messages import RunStatusName
from basis.results.curves import MAX_COLUMNS, MAX_POINTS
from basis.results.models import (
    Charts,
    Comparison,
    CurvesAnswer,
    Moment,
    PnlAnswer,
    RunList,
    RunReport,
    RunSummary,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

router = APIRouter(prefix="/results", tags=["results"], route_class=http.StrictRoute)
RunId = Annotated[str, Depends(http.run_id)]
MAX_TICK = 10**12
Tick = Annotated[int | None, Query(ge=0, le=MAX_TICK, description="Null: where the run begins or ends")]
_COMPONENT = "results"


def _download(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": what, "content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


@router.get("/", operation_id="list_results", responses=responses(404, 422))
async def list_results(
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=500, description="Most runs")] = 50,
    after: Annotated[
        CorrelationId | None, Query(description="Run after which the page begins: `next` of the last")
    ] = None,
    status: Annotated[RunStatusName | None, Query(description="Only runs that are there")] = None,
    strategy: Annotated[str | None, Query(max_length=100, description="Only runs of this mode")] = None,
    text: Annotated[
        str | None, Query(max_length=200, description="What correlation_id, strategy, status or error must contain")
    ] = None,
) -> RunList:
    """Runs of the cluster and of the log root as one list: queued ones first, then newest first."""
    found = [run for run in await context.runs.all() if _fits(run, status, strategy, text)]
    begin = 0
    if after is not None:
        places = [place for place, run in enumerate(found) if run.correlation_id == after]
        if not places:
            raise InputError("RUN-001", f"after: no run {after} in this list", _COMPONENT)
        begin = places[0] + 1
    page = found[begin : begin + limit]
    items = await context.runs.read(_with_sparklines, context.runs.results.registry, page)
    more = begin + limit < len(found)
    return RunList(items=tuple(items), next=page[-1].correlation_id if more else None, total=len(found))


@router.get("/compare", operation_id="compare_results", responses=responses(404, 409, 422))
async def compare(
    context: Ctx,
    a: Annotated[CorrelationId, Query(description="The first run")],
    b: Annotated[CorrelationId, Query(description="The second run")],
) -> Comparison:
    """Two runs side by side: every metric, and what differs in their configurations."""
    return await context.runs.read(context.runs.results.compare, a, b)


@router.get("/{correlation_id}", operation_id="get_result", responses=responses(404, 409, 422, 503))
async def report(correlation_id: RunId, context: Ctx) -> RunReport:
    """All that a run page begins with: metrics, costs, attribution, configuration, and which curves there are."""
    return await context.runs.report(correlation_id)


@router.get(
    "/{correlation_id}/curves",
    operation_id="get_result_curves",
    response_model=CurvesAnswer,
    responses=responses(404, 409, 422),
)
async def curves(
    correlation_id: RunId,
    context: Ctx,
    columns: Annotated[
        str, Query(min_length=1, max_length=4000, description="Names of `columns` of the run, separated by commas")
    ] = "equity,drawdown",
    start_tick: Tick = None,
    end_tick: Tick = None,
    points: Annotated[int, Query(ge=4, le=MAX_POINTS, description="Wanted; at most three times as many come")] = 1200,
) -> Response:
    """Columns over one x axis: every tick, or by M4 those that draw the same picture.

    One x axis for all columns: the union of first, last, lowest and highest of each pixel column of each curve.
    """
    names = _names(columns)
    found = await context.runs.read(context.runs.results.curves, correlation_id, names, points, start_tick, end_tick)
    return _raw(found)


@router.get("/{correlation_id}/at", operation_id="get_result_at", responses=responses(404, 409, 422))
async def at(
    correlation_id: RunId, context: Ctx, tick: Annotated[int, Query(ge=0, le=MAX_TICK, description="Tick, from 0")]
) -> Moment:
    """The state of a run at a tick, after its orders, with the raw events of the tick."""
    return await context.runs.read(context.runs.results.at, correlation_id, tick)


@router.get("/{correlation_id}/pnl", operation_id="get_result_pnl", responses=responses(404, 409, 422))
async def pnl(correlation_id: RunId, context: Ctx) -> PnlAnswer:
    """PnL by cause, venue, asset and day."""
    return await context.runs.read(context.runs.results.pnl, correlation_id)


@router.get("/{correlation_id}/charts", operation_id="get_result_charts", responses=responses(404, 409, 422))
async def charts(correlation_id: RunId, context: Ctx) -> Charts:
    """Charts worth drawing for this run, in the order of a run page."""
    return await context.runs.read(context.runs.results.charts, correlation_id)


@router.get(
    "/{correlation_id}/export",
    operation_id="export_result",
    response_class=StreamingResponse,
    responses=responses(404, 409, 422)
    | _download("application/zip", "Log, summary.json, curves and attribution as Parquet"),
)
async def export(correlation_id: RunId, context: Ctx) -> StreamingResponse:
    """The run as a zip, written while it is sent: the log as on disk, a summary, and its curves as Parquet."""
    pieces = await context.runs.read(context.runs.results.export, correlation_id)
    headers = {"Content-Disposition": f'attachment; filename="basis-{correlation_id}.zip"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


@router.get(
    "/{correlation_id}/tearsheet",
    operation_id="get_result_tearsheet",
    response_class=HTMLResponse,
    responses=responses(404, 409, 422) | _download("text/html", "One page, with all that it needs inside"),
)
async def tearsheet(correlation_id: RunId, context: Ctx) -> HTMLResponse:
    """The run as one self-contained HTML page, to mail around."""
    return HTMLResponse(await context.runs.read(context.runs.results.tearsheet, correlation_id))


@router.delete(
    "/{correlation_id}",
    operation_id="delete_result",
    status_code=204,
    responses=responses(404, 409, 422, 503),
)
async def delete(correlation_id: RunId, context: Ctx) -> None:
    """Delete an ended run: its directory, what the cluster remembers of it, and its curves."""
    await context.runs.remove(correlation_id)


def _fits(run: RunSummary, status: str | None, strategy: str | None, text: str | None) -> bool:
    if (status is not None and run.status != status) or (strategy is not None and run.strategy != strategy):
        return False
    if text is None:
        return True
    wanted = text.casefold()
    return any(wanted in (part or "").casefold() for part in (run.correlation_id, run.strategy, run.status, run.error))


def _with_sparklines(registry: Any, page: Sequence[RunSummary]) -> list[RunSummary]:
    return [registry.with_sparkline(run) for run in page]


def _names(columns: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in columns.split(",") if name.strip()))
    if not 1 <= len(names) <= MAX_COLUMNS:
        raise InputError("CONFIG-003", f"columns: {len(names)} names, expected 1 to {MAX_COLUMNS}", _COMPONENT)
    return names


def _raw(body: dict[str, Any]) -> Response:
    """Columns as they are: a model would look at each of a hundred thousand numbers once more. NaN becomes null."""
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
