"""Columns to JSON lines: a template made once, filled once a tick. Pure.

orjson writes a whole column at once, and a bytes template joins the pieces: about a microsecond a line, where a dict a
line costs five. The text is the same to the last byte (a property test holds it to that).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PLACE = b"%b"
_NOT_FINITE = b"null"
"""What orjson writes for NaN and infinity."""


class Each(NamedTuple):
    """A value a tick that is no float array: stamps, order keys, optional numbers."""

    values: Sequence[Any]
    """One a tick."""


class Texts:
    """The text of columns; each is made once, however many fields and event types show the same array or list."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], tuple[object, bytes | list[bytes]]] = {}

    def of(self, values: Any, ticks: int, make: Callable[[Any, int], bytes | list[bytes]]) -> bytes | list[bytes]:
        """Text of the first ``ticks`` values: one for all of them where they are equal, else one a tick."""
        key = (id(values), ticks)
        found = self._made.get(key)
        if found is None:  # the values are kept, so that no other object gets their id
            found = self._made[key] = values, make(values, ticks)
        return found[1]


def compile_template(
    fields: Mapping[str, Any], ticks: int, what: str, texts: Texts | None = None
) -> tuple[bytes, list[list[bytes]]]:
    """A bytes template for ``%``, and for each of its places the text of each tick.

    Args:
        fields: nested mappings and lists; float arrays and :class:`Each` vary by tick, all else is constant.
        ticks: length of every column that is used; longer ones are cut.
        what: named in errors.
        texts: of columns that were written before.

    Raises:
        ComponentError: LOG-001, an array holds NaN or infinity; names its path.
    """
    compiler = _Compiler(ticks, texts or Texts())
    return compiler.mapping(fields, what), compiler.tokens


class _Compiler:
    """Builds one template; ``tokens`` grows by one list for each place."""

    def __init__(self, ticks: int, texts: Texts) -> None:
        self.tokens: list[list[bytes]] = []
        self._ticks = ticks
        self._texts = texts

    def mapping(self, fields: Mapping[str, Any], path: str) -> bytes:
        parts = [
            orjson.dumps(name).replace(b"%", b"%%") + b":" + self._value(value, f"{path}.{name}")
            for name, value in fields.items()
        ]
        return b"{" + b",".join(parts) + b"}"

    def _value(self, value: Any, path: str) -> bytes:
        if isinstance(value, np.ndarray):
            text = self._texts.of(value, self._ticks, _floats)
            if text == _NOT_FINITE:
                raise ComponentError("LOG-001", f"{path} holds NaN or infinity", "domain_event_logger")
            return self._place(text)
        if isinstance(value, Each):
            return self._place(self._texts.of(value.values, self._ticks, _each))
        if isinstance(value, dict):
            return self.mapping(value, path)
        if isinstance(value, list):
            return b"[" + b",".join(self._value(item, f"{path}[{n}]") for n, item in enumerate(value)) + b"]"
        if isinstance(value, float) and not math.isfinite(value):
            raise ComponentError("LOG-001", f"{path} is {value}", "domain_event_logger")
        return orjson.dumps(value).replace(b"%", b"%%")

    def _place(self, text: bytes | list[bytes]) -> bytes:
        if isinstance(text, bytes):
            return text.replace(b"%", b"%%")
        self.tokens.append(text)
        return _PLACE


def _each(values: Sequence[Any], ticks: int) -> bytes | list[bytes]:
    if isinstance(values, range):
        texts = orjson.dumps(np.arange(values.start, values.stop, values.step), option=orjson.OPT_SERIALIZE_NUMPY)
        return texts[1:-1].split(b",")
    values = values[:ticks]
    first = values[0]
    if values[-1] is first and all(value is first for value in values):
        return orjson.dumps(first)
    words = orjson.dumps(values)[1:-1].split(b",")
    if len(words) == len(values):  # as many pieces as values: no value holds a comma, each piece is one of them
        return words
    return [orjson.dumps(value) for value in values]


def _floats(values: np.ndarray[Any, Any], ticks: int) -> bytes | list[bytes]:
    column = values[:ticks] + 0.0  # -0.0 becomes 0.0, so that a constant column is constant in its text too
    if column[0] == column[-1] and (column == column[0]).all():
        return orjson.dumps(float(column[0]))
    text = orjson.dumps(np.ascontiguousarray(column), option=orjson.OPT_SERIALIZE_NUMPY)
    return _NOT_FINITE if b"n" in text else text[1:-1].split(b",")
