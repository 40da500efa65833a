"""Columns to JSON lines: what is the same at every tick is written once, columns as a whole, and joined once a tick. Pure.

orjson writes a whole column at once, and joining the pieces costs about a microsecond a line, where a dict a line costs
five. The text is the same to the last byte (a property test holds it to that).
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson

from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_NOT_FINITE = b"null"
"""What orjson writes for NaN and infinity."""


class Each(NamedTuple):
    """A value a tick that is no float array: stamps, order keys, optional numbers."""

    values: Sequence[Any]
    """One a tick."""


class Chosen(NamedTuple):
    """A value a tick, out of few: each is written once."""

    values: Sequence[Any]
    """What there is to choose from."""
    places: list[int] | bytes
    """Place of each tick's value among them."""


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


def lines(head: bytes, fields: Mapping[str, Any], ticks: int, what: str, texts: Texts | None = None) -> list[bytes]:
    """One JSON object a tick, without the line break.

    Args:
        head: what each begins with: an open brace and members, with the comma after them.
        fields: further members: nested mappings and lists; float arrays, :class:`Each` and :class:`Chosen` vary by tick,
            all else is the same at every tick.
        ticks: length of every column that is used; longer ones are cut.
        what: named in errors.
        texts: of columns that were written before.

    Raises:
        ComponentError: LOG-001, an array holds NaN or infinity; names its path.
    """
    composer = _Composer(head, ticks, texts or Texts())
    composer.members(fields, what)
    return composer.lines()


class _Composer:
    """Cuts an object into pieces: what is the same at every tick, and in between the text of each tick."""

    def __init__(self, head: bytes, ticks: int, texts: Texts) -> None:
        self._pieces: list[Iterable[bytes]] = []
        self._same = [head]
        self._ticks = ticks
        self._texts = texts

    def lines(self) -> list[bytes]:
        """All that was added, closed."""
        end = b"".join((*self._same, b"}"))
        if not self._pieces:
            return [end] * self._ticks
        return list(map(b"".join, zip(*self._pieces, repeat(end, self._ticks), strict=True)))

    def members(self, fields: Mapping[str, Any], path: str) -> None:
        comma = b""
        for name, value in fields.items():
            self._same += (comma, _key(name))
            self._value(value, f"{path}.{name}")
            comma = b","

    def _value(self, value: Any, path: str) -> None:
        if isinstance(value, np.ndarray):
            text = self._texts.of(value, self._ticks, _floats)
            if text == _NOT_FINITE:
                raise ComponentError("LOG-001", f"{path} holds NaN or infinity", "domain_event_logger")
            self._add(text)
        elif isinstance(value, Each):
            self._add(self._texts.of(value.values, self._ticks, _each))
        elif isinstance(value, Chosen):
            self._add(_chosen(value, self._ticks))
        elif isinstance(value, dict):
            self._same.append(b"{")
            self.members(value, path)
            self._same.append(b"}")
        elif isinstance(value, list):
            self._same.append(b"[")
            for number, item in enumerate(value):
                self._same.append(b"," if number else b"")
                self._value(item, f"{path}[{number}]")
            self._same.append(b"]")
        else:
            if isinstance(value, float) and not math.isfinite(value):
                raise ComponentError("LOG-001", f"{path} is {value}", "domain_event_logger")
            self._same.append(orjson.dumps(value))

    def _add(self, text: bytes | list[bytes]) -> None:
        if isinstance(text, bytes):
            self._same.append(text)
            return
        self._pieces += (repeat(b"".join(self._same), self._ticks), text)
        self._same = []


@lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
    return orjson.dumps(name) + b":"


def _chosen(value: Chosen, ticks: int) -> bytes | list[bytes]:
    texts = [orjson.dumps(one) for one in value.values]
    places = value.places[:ticks]
    if places.count(places[0]) == len(places):
        return texts[places[0]]
    if all(text == texts[0] for text in texts):
        return texts[0]
    return [texts[place] for place in places]


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
    text = orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)
    return _NOT_FINITE if b"n" in text else text[1:-1].split(b",")
