"""The OpenAPI document: what FastAPI knows of the routes, and what holds for every route."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi

from basis.gateway import access, problems
from basis.gateway.http import HEADER_CORRELATION_ID

if TYPE_CHECKING:
    from fastapi import FastAPI

_EXAMPLES: Final = "examples.json"
"""operationId -> what a real gateway answered; made by ``tools/record_examples.py``."""
_TAGS: Final = (
    ("backtest", "Submit, follow, cancel."),
    ("capital", "Money that comes and goes during a run."),
    ("results", "What runs came to, and how."),
    ("live", "Paper and live runs: start, steer, stop."),
    ("strategies", "Modes, their configuration, the schema of their parameters."),
    ("health", "Is it there, and is it well?"),
)


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an app: problem documents, keys and their answers, the correlation id on every answer."""
    found = get_openapi(title=app.title, version=app.version, routes=app.routes, description=app.description)
    components = found["components"]
    schemas = components["schemas"]
    schemas["Problem"] = problems.Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own shape: never sent
        schemas.pop(name, None)
    components["securitySchemes"] = {
        "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Made by `basis keys new`"},
        "Bearer": {"type": "http", "scheme": "bearer", "description": "The same key"},
    }
    found["tags"] = [{"name": name, "description": text} for name, text in _TAGS if name in _used_tags(found)]
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            _complete(operation, method.upper(), path)
    _add_examples(found)
    return found


def _add_examples(found: dict[str, Any]) -> None:
    """An example for every answer in JSON: recorded, or that of another operation that answers with the same."""
    recorded = json.loads(files(__package__ or "basis.gateway").joinpath(_EXAMPLES).read_text(encoding="utf-8"))
    contents = [
        (operation["operationId"], answer["content"]["application/json"])
        for path in found["paths"].values()
        for operation in path.values()
        for answer in operation["responses"].values()
        if "application/json" in answer.get("content", {})
    ]
    by_schema = {str(content.get("schema")): recorded[name] for name, content in contents if name in recorded}
    for name, content in contents:
        example = recorded.get(name, by_schema.get(str(content.get("schema"))))
        if example is not None:
            content.setdefault("example", example)


def _used_tags(found: dict[str, Any]) -> set[str]:
    return {tag for path in found["paths"].values() for one in path.values() for tag in one.get("tags", ())}


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    words = operation.get("description", operation["summary"])
    operation["summary"] = re.split(r"[.;:](?:\s|$)", words.replace("``", "`"), maxsplit=1)[0]
    scope = access.needed(method, path)
    if scope is None:
        operation["security"] = []
    else:
        operation["security"] = [{"ApiKey": []}, {"Bearer": []}]
        operation["description"] = f"{words}\n\nNeeds a key of scope `{scope}` where the gateway asks for keys."
    refusals = [] if scope is None else [401, 403, 429]
    if "requestBody" in operation:
        refusals += [408, 413]
    answers = operation["responses"]
    for status, answer in problems.responses(*refusals).items():
        answers.setdefault(str(status), answer)
    if "429" in answers:
        retry = {"description": "Seconds until the next request is served", "schema": {"type": "integer"}}
        answers["429"].setdefault("headers", {})["Retry-After"] = retry
    for status, answer in answers.items():
        if answer.get("description") == "Successful Response":
            answer["description"] = operation["summary"] if status == "200" else "Accepted"
        answer.setdefault("headers", {})[HEADER_CORRELATION_ID] = {
            "description": "The run, or the request where it is about none",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        }
    operation["responses"] = dict(sorted(answers.items()))
