"""The OpenAPI document: every operation says what it does, takes and answers, with examples that are what they should be."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

import jsonschema
import pytest

_SCRIPT = """
import json
from basis.models.base import document_fields
document_fields()  # as the gateway's process does, before any model is defined
from basis.gateway.app import openapi_document
print(json.dumps(openapi_document()))
"""


@cache
def document() -> dict[str, Any]:
    found = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, check=True, text=True)
    return dict(json.loads(found.stdout))


def operations() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]


def schema_of(content: dict[str, Any]) -> dict[str, Any]:
    return dict(content["schema"]) | {"components": document()["components"]}


def examples_of(content: dict[str, Any]) -> list[Any]:
    """Examples of an answer: its own, or those of its schema."""
    if "example" in content:
        return [content["example"]]
    name = content["schema"].get("$ref", "").rsplit("/", 1)[-1]
    return list(document()["components"]["schemas"].get(name, {}).get("examples", []))


def test_every_operation_has_words_an_id_and_a_tag() -> None:
    ids = [operation["operationId"] for _, operation in operations()]
    assert len(set(ids)) == len(ids) >= 14
    tags = {tag["name"] for tag in document()["tags"]}
    for name, operation in operations():
        assert len(operation["summary"]) > 10, name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        assert "security" in operation, name


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json"])
def test_every_answer_has_an_example_of_its_schema(kind: str) -> None:
    seen = 0
    for name, operation in operations():
        for status, answer in operation["responses"].items():
            assert answer["description"], (name, status)
            assert "X-Correlation-ID" in answer["headers"], (name, status)
            for content in (one for media, one in answer.get("content", {}).items() if media == kind):
                found = examples_of(content)
                assert found, (name, status)
                for example in found:
                    jsonschema.Draft202012Validator(schema_of(content)).validate(example)
                seen += 1
    assert seen > 10


def test_every_body_and_parameter_is_described_and_has_an_example() -> None:
    for name, operation in operations():
        for parameter in operation.get("parameters", ()):
            described = parameter.get("description") or parameter["schema"].get("description")
            assert described, (name, parameter["name"])
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = document()["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[-1]]
            assert "examples" in schema or all("examples" in field for field in schema["properties"].values()), name


def test_the_answers_of_a_submission() -> None:
    submit = document()["paths"]["/api/v1/backtest/"]["post"]
    assert set(submit["responses"]) == {"202", "401", "403", "408", "413", "422", "429", "503"}
    assert set(submit["responses"]["422"]["content"]) == {"application/problem+json"}
    schemas = document()["components"]["schemas"]
    assert all("description" in field for field in schemas["RunOutcome"]["properties"].values())
    assert "HTTPValidationError" not in schemas


def test_what_needs_a_key_says_so_and_names_the_refusals() -> None:
    for name, operation in operations():
        refusals = {"401", "403", "429"} & set(operation["responses"])
        assert refusals == ({"401", "403", "429"} if operation["security"] else set()), name
        assert ("scope" in operation["description"]) == bool(operation["security"]), name
    open_ = {name for name, operation in operations() if not operation["security"]}
    assert open_ == {"GET /api/v1/health", "GET /api/v1/asyncapi.json"}
