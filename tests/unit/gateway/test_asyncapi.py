"""The AsyncAPI document: valid by the official schema, every subject of the bus in it, every reference resolved."""

from __future__ import annotations

import copy
import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from basis.gateway import asyncapi
from basis.runtime import subjects

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = json.loads((Path(__file__).parents[2] / "support" / "asyncapi-3.0.0.schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
DOCUMENT = asyncapi.document()


def test_the_document_is_valid() -> None:
    VALIDATOR.validate(DOCUMENT)


@pytest.mark.parametrize("spoil", ["asyncapi", "info"])
def test_a_spoilt_document_is_not(spoil: str) -> None:
    wrong = copy.deepcopy(DOCUMENT)
    del wrong[spoil]
    assert not VALIDATOR.is_valid(wrong)


def test_an_operation_without_a_channel_is_not_valid() -> None:
    wrong = copy.deepcopy(DOCUMENT)
    del wrong["operations"]["progress"]["channel"]
    assert not VALIDATOR.is_valid(wrong)


def addresses_of_the_bus() -> set[str]:
    """What each function of the bus that makes a subject makes."""
    found = set()
    for name, made in inspect.getmembers(subjects, inspect.isfunction):
        names = list(inspect.signature(made).parameters)
        if made.__module__ != subjects.__name__ or not names or names[0] not in {"cid", "service"} or name[0] == "_":
            continue
        known = {"cid": "correlation_id"}
        found.add(made(*(f"{{{known.get(parameter, parameter)}}}" for parameter in names)))
    return {address for address in found if address.startswith("basis")}  # not the keys of buckets


def test_every_subject_of_the_bus_is_in_it_and_no_other() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()} - {None}
    assert addresses == addresses_of_the_bus()
    assert len(addresses) > 15


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 60
    for reference in found:
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_parameters_are_those_of_the_address() -> None:
    for key, channel in DOCUMENT["channels"].items():
        names = re.findall(r"\{(\w+)\}", channel["address"] or "")
        assert list(channel.get("parameters", {})) == names, key
