"""``/results/{id}``: the log of a run, its orders and events page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from basis.gateway import http
from basis.gateway.problems import responses
from basis.gateway.routes import Ctx
from basis.results import events as event_pages
from basis.results import orders as order_pages
from basis.results.models import EventPage, OrderDetail, OrderPage, TypedEventPage

router = APIRouter(prefix="/results", tags=["results"], route_class=http.StrictRoute)
RunId = Annotated[str, Depends(http.run_id)]
_MAX_ORDER = 2**62
After = Annotated[
    int, Query(ge=-1, le=_MAX_ORDER, description="Order key after which the page begins: `next` of the last")
]
Text = Annotated[str, Query(max_length=200, description="What the line on disk must contain, in any case")]
EventType = Annotated[str, Path(max_length=100, examples=["orders"], description="Event type, e.g. orders")]


@router.get("/{correlation_id}/orders", operation_id="list_result_orders", responses=responses(404, 409, 422))
async def orders(
    correlation_id: RunId,
    context: Ctx,
    after: After = -1,
    limit: Annotated[int, Query(ge=1, le=order_pages.MAX_LIMIT, description="Most orders")] = 100,
) -> OrderPage:
    """Orders with what became of them: expected and actual deltas, the comparison, the atomic group."""
    return await context.runs.read(context.runs.results.orders, correlation_id, after, limit)


@router.get(
    "/{correlation_id}/orders/{operation_id}", operation_id="get_result_order", responses=responses(404, 409, 422)
)
async def order(
    correlation_id: RunId,
    operation_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,100}$", description="operation_id of the order")],
    context: Ctx,
) -> OrderDetail:
    """One order, every event that carries its operation, and its atomic group."""
    return await context.runs.read(context.runs.results.order, correlation_id, operation_id)


@router.get("/{correlation_id}/events", operation_id="list_result_events", responses=responses(404, 409, 422))
async def events(
    correlation_id: RunId,
    context: Ctx,
    types: Annotated[
        str, Query(alias="type", max_length=1000, description="Event types, separated by commas; empty means all")
    ] = "",
    text: Text = "",
    after: After = -1,
    limit: Annotated[int, Query(ge=1, le=event_pages.MAX_LIMIT, description="Most events")] = 100,
) -> EventPage:
    """Events in causal order. A search looks at a bounded part of the log: a page may be empty before the end."""
    wanted = [name.strip() for name in types.split(",") if name.strip()]
    return await context.runs.read(context.runs.results.events, correlation_id, wanted, text, after, limit)


@router.get(
    "/{correlation_id}/events/{event_type}",
    operation_id="list_result_events_of_type",
    responses=responses(404, 409, 422),
)
async def typed_events(
    correlation_id: RunId,
    event_type: EventType,
    context: Ctx,
    text: Text = "",
    after: After = -1,
    limit: Annotated[int, Query(ge=1, le=event_pages.MAX_LIMIT, description="Most events")] = 100,
) -> TypedEventPage:
    """Events of one type, as on disk."""
    return await context.runs.read(context.runs.results.typed_events, correlation_id, event_type, text, after, limit)


@router.get(
    "/{correlation_id}/events/{event_type}/{order}",
    operation_id="get_result_event",
    response_class=Response,
    responses=responses(404, 409, 422)
    | {200: {"description": "The event", "content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def event(
    correlation_id: RunId,
    event_type: EventType,
    order: Annotated[int, Path(ge=0, le=_MAX_ORDER, description="Order key")],
    context: Ctx,
) -> Response:
    """One event, byte for byte as on disk."""
    line = await context.runs.read(context.runs.results.event, correlation_id, event_type, order)
    return Response(line, media_type="application/json")
