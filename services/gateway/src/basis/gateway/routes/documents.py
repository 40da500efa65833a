"""Documents that describe the system to programs: OpenAPI comes from FastAPI itself, AsyncAPI from here."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from fastapi import APIRouter, Response

from basis.gateway import asyncapi

router = APIRouter(tags=["health"])
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "AsyncAPI 3 document",
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["asyncapi", "info", "channels", "operations"]},
                "example": {"asyncapi": "3.0.0", "info": {}, "channels": {}, "operations": {}},
            }
        },
    }
}


@router.get("/asyncapi.json", operation_id="get_asyncapi", response_class=Response, responses=_ANSWER)
async def asyncapi_document() -> Response:
    """The AsyncAPI document of the bus: every subject, who sends what to whom, and the schemas."""
    return Response(_document(), media_type="application/json")


@cache
def _document() -> bytes:
    return orjson.dumps(asyncapi.document())
