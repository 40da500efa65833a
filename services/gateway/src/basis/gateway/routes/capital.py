"""``/capital``: money that comes and goes while a run is under way."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, ConfigDict, Field

from basis.gateway import access, http
from basis.gateway.keys import Scope
from basis.gateway.problems import responses
from basis.gateway.routes import Context, Ctx
from basis.models.base import CorrelationId, FrozenModel
from basis.models.errors import InputError
from basis.runtime import config_loader
from basis.runtime.clock import new_correlation_id

router = APIRouter(prefix="/capital", tags=["capital"], route_class=http.StrictRoute)
RunId = Annotated[str, Depends(http.run_id)]
_ERRORS = responses(404, 409, 422, 503)
_COMPONENT = "capital"


class CapitalRequest(FrozenModel):
    """Body of a deposit or withdrawal."""

    model_config = ConfigDict(strict=True, defer_build=False)

    amount: float = Field(gt=0, le=1e15, examples=[25000])
    """How much, share class."""
    currency: str | None = Field(default=None, examples=["USDT"])
    """Must be the run's share class where given."""
    request_id: str | None = Field(default=None, pattern="^[0-9a-zA-Z_.-]{1,64}$", examples=["deposit-2024-06-01"])
    """Your own id: asked again under it, it counts once; null = a new one."""


class CapitalMoved(FrozenModel):
    """A deposit or withdrawal that is on record: it survives a crash of the engine."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "correlation_id": "4f0c7a9e5d2b4c1e8a6f3b2d1c0e9f8a",
                    "request_id": "deposit-2024-06-01",
                    "kind": "deposit",
                    "amount": 25000,
                    "currency": "USDT",
                    "tick": 3624,
                    "time": "2024-06-01T00:00:00Z",
                }
            ]
        }
    )

    correlation_id: CorrelationId
    """Run."""
    request_id: str
    """Of the request."""
    kind: Literal["deposit", "withdrawal"]
    """What it is."""
    amount: float
    """How much, share class."""
    currency: str
    """Share class."""
    tick: int | None
    """Tick at which it takes effect; null for a paper or live run (the next one), and for a run that has just ended."""
    time: AwareDatetime | None
    """Time of that tick in the run."""


@router.post("/{correlation_id}/deposit", operation_id="deposit_capital", status_code=202, responses=_ERRORS)
async def deposit(correlation_id: RunId, body: CapitalRequest, request: Request, context: Ctx) -> CapitalMoved:
    """Put capital into a running run, from its next tick on.

    A backtest is then the run that it would have been with this flow in ``capital_flows``, event for event.
    """
    return await _move(correlation_id, body, 1.0, request, context)


@router.post("/{correlation_id}/withdraw", operation_id="withdraw_capital", status_code=202, responses=_ERRORS)
async def withdraw(correlation_id: RunId, body: CapitalRequest, request: Request, context: Ctx) -> CapitalMoved:
    """Take capital out of a running run, from its next tick on: free balance first, else positions are unwound 1:1.

    Who asks for more than there is gets what there is.
    """
    return await _move(correlation_id, body, -1.0, request, context)


async def _move(
    correlation_id: str, body: CapitalRequest, sign: float, request: Request, context: Context
) -> CapitalMoved:
    record = await context.backtests.record(correlation_id)
    if record.run_mode != "backtest":
        access.require(request, Scope.TRADE)
    merged = await asyncio.to_thread(config_loader.load, context.settings.configs_dir, record.status.strategy)
    currency = merged.config.share_class.currency
    if body.currency is not None and body.currency != currency:
        message = f"currency is {body.currency!r}, the share class of run {correlation_id} is {currency}"
        raise InputError("CONFIG-003", message, _COMPONENT)
    request_id = body.request_id or new_correlation_id()
    record = await context.backtests.move_capital(correlation_id, sign * body.amount, request_id)
    flows = record.checkpoint.flows if record.checkpoint is not None else ()
    found = next((flow for flow in flows if flow.request_id == request_id), None)
    return CapitalMoved(
        correlation_id=correlation_id,
        request_id=request_id,
        kind="deposit" if sign > 0.0 else "withdrawal",
        amount=body.amount,
        currency=currency,
        tick=found.tick if found is not None else None,
        time=found.date if found is not None else None,
    )
