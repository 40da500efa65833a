"""Columns to JSON lines: a template made once, filled once a tick. Pure.

orjson writes a whole column at once, and a bytes template joins the pieces: about a microsecond a line, where a dict a
line costs five. The text is the same to the last byte (a property test holds it to that).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLACE = b"%b"


class Each(NamedTuple):
    """A value a tick that is no float array: stamps, order keys, optional numbers."""

    values: Sequence[Any]
    """One a tick."""


def compile_template(fields: Mapping[str, Any], ticks: int, what: str) -> tuple[bytes, list[list[bytes]]]:
    """A bytes template for ``%``, and for each of its places the text of each tick.

    Args:
        fields: nested mappings and lists; float arrays and :class:`Each` vary by tick, all else is constant.
        ticks: length of every column that is used; longer ones are cut.
        what: named in errors.

    Raises:
        ComponentError: LOG-001, an array holds NaN or infinity; names its path.
    """
    tokens: list[list[bytes]] = []
    template = _mapping(fields, ticks, what, tokens)
    return template, tokens


def _mapping(fields: Mapping[str, Any], ticks: int, path: str, tokens: list[list[bytes]]) -> bytes:
    parts = [
        orjson.dumps(name).replace(b"%", b"%%") + b":" + _value(value, ticks, f"{path}.{name}", tokens)
        for name, value in fields.items()
    ]
    return b"{" + b",".join(parts) + b"}"


def _value(value: Any, ticks: int, path: str, tokens: list[list[bytes]]) -> bytes:
    if isinstance(value, np.ndarray):
        return _array(value[:ticks], path, tokens)
    if isinstance(value, Each):
        return _each(value.values[:ticks], tokens)
    if isinstance(value, dict):
        return _mapping(value, ticks, path, tokens)
    if isinstance(value, list):
        return b"[" + b",".join(_value(item, ticks, f"{path}[{n}]", tokens) for n, item in enumerate(value)) + b"]"
    if isinstance(value, float) and not np.isfinite(value):
        raise ComponentError("LOG-001", f"{path} is {value}", "domain_event_logger")
    return orjson.dumps(value).replace(b"%", b"%%")


def _each(values: Sequence[Any], tokens: list[list[bytes]]) -> bytes:
    if isinstance(values, range):
        texts = orjson.dumps(np.arange(values.start, values.stop, values.step), option=orjson.OPT_SERIALIZE_NUMPY)
        tokens.append(texts[1:-1].split(b","))
        return _PLACE
    first = values[0]
    if all(value is first for value in values):
        return orjson.dumps(first).replace(b"%", b"%%")
    words = orjson.dumps(values)[1:-1].split(b",")
    if len(words) == len(values):  # as many pieces as values: no value holds a comma, each piece is one of them
        tokens.append(words)
        return _PLACE
    tokens.append([orjson.dumps(value) for value in values])
    return _PLACE


def _array(column: np.ndarray[Any, Any], path: str, tokens: list[list[bytes]]) -> bytes:
    if not np.isfinite(column).all():
        raise ComponentError("LOG-001", f"{path} holds NaN or infinity", "domain_event_logger")
    column = column + 0.0  # -0.0 becomes 0.0, so that a constant column is constant in its text too
    if (column == column[0]).all():
        return orjson.dumps(float(column[0]))
    texts = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    tokens.append(texts)
    return _PLACE
