"""Models to msgpack and back, columns to NumPy and back. NaN and infinity stop here."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from basis.models.errors import ComponentError
from basis.models.messages import Settlement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

M = TypeVar("M", bound=BaseModel)

_LITTLE_ENDIAN = np.dtype("<f8")


def _fallback(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a message")


_encoder = msgspec.msgpack.Encoder(enc_hook=_fallback)
_decoder = msgspec.msgpack.Decoder()


def warm(*models: type[BaseModel]) -> None:
    """Build models now: they are built on first use otherwise, which would fall into the first window of a run."""
    for model in models:
        model.model_rebuild()


def encode(model: BaseModel) -> bytes:
    """One message as a msgpack map."""
    return _encoder.encode(model.model_dump())


def decode(payload: bytes, model: type[M]) -> M:
    """Validate a message.

    Raises:
        ComponentError: BUS-003, not msgpack or not of the model; names the field.
    """
    try:
        return model.model_validate(_decoder.decode(payload))
    except (msgspec.DecodeError, UnicodeDecodeError, ValidationError) as error:
        raise ComponentError("BUS-003", f"{model.__name__}: {error}", "bus") from error


def pack(values: Iterable[float] | FloatArray, name: str) -> bytes:
    """A column as bytes.

    Raises:
        ComponentError: DATA-002 where a value is NaN or infinite; names the column and the place.
    """
    array = np.asarray(values, dtype=_LITTLE_ENDIAN)
    finite = np.isfinite(array)
    if not finite.all():
        place = int(np.argmin(finite))
        raise ComponentError("DATA-002", f"column {name!r}: {array[place]} at place {place}", "codec")
    return array.tobytes()


def pack_all(columns: Mapping[str, FloatArray]) -> dict[str, bytes]:
    """Columns as bytes.

    Raises:
        ComponentError: DATA-002 where a value is NaN or infinite; names the column and the place.
    """
    packed = {name: np.asarray(column, dtype=_LITTLE_ENDIAN).tobytes() for name, column in columns.items()}
    if not _are_finite(packed):
        for name, column in columns.items():
            pack(column, name)
    return packed


def _are_finite(columns: Mapping[str, bytes]) -> bool:
    """True where no value of any column is NaN or infinite: one look at all of them, for each look costs the same."""
    return bool(np.isfinite(unpack(b"".join(columns.values()))).all())


def pack_settlements(settlements: Iterable[Settlement]) -> bytes:
    """Settlements as one value of a message; empty where there are none."""
    found = [
        {
            "tick": event.tick,
            "venue": event.venue,
            "kind": event.kind,
            "deltas": event.deltas,
            "fees": event.fees,
            "details": event.details,
        }
        for event in settlements
    ]
    return _encoder.encode(found) if found else b""


def unpack_settlements(packed: bytes) -> tuple[Settlement, ...]:
    """Settlements of a window, validated.

    Raises:
        ComponentError: BUS-003, not a list of settlements, or NaN or infinity in one; names the field.
    """
    if not packed:
        return ()
    try:
        return _settlements().validate_python(_decoder.decode(packed))
    except (msgspec.DecodeError, UnicodeDecodeError, ValidationError) as error:
        raise ComponentError("BUS-003", f"settlements: {error}", "bus") from error


@lru_cache(maxsize=1)
def _settlements() -> TypeAdapter[tuple[Settlement, ...]]:
    return TypeAdapter(tuple[Settlement, ...])


def unpack(column: bytes) -> FloatArray:
    """A column as a read-only array, without a copy."""
    return np.frombuffer(column, dtype=_LITTLE_ENDIAN)


def unpack_all(columns: Mapping[str, bytes]) -> dict[str, FloatArray]:
    """All columns of a message as arrays.

    Raises:
        ComponentError: DATA-002 where a value is NaN or infinite; names the column and the place.
    """
    arrays = {name: unpack(column) for name, column in columns.items()}
    if not _are_finite(columns):
        bad = next(name for name, array in arrays.items() if not np.isfinite(array).all())
        raise ComponentError("DATA-002", f"column {bad!r} holds NaN or infinity", "codec")
    return arrays
