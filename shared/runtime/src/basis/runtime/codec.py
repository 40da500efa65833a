"""Models to msgpack and back, columns to NumPy and back. NaN and infinity stop here."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from basis.models.errors import ComponentError
from basis.models.messages import PackedSettlements
from basis.runtime.settlements import SettlementColumns, in_columns, in_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from basis.models.messages import Settlement

    FloatArray = NDArray[np.float64]

M = TypeVar("M", bound=BaseModel)

_LITTLE_ENDIAN = np.dtype("<f8")
_LITTLE_ENDIAN_INT = np.dtype("<i8")


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
    """Settlements that are few, as one value of a message; empty where there are none."""
    return pack_settlement_columns(in_columns(settlements))


def pack_settlement_columns(settlements: Iterable[SettlementColumns]) -> bytes:
    """Settlements as one value of a message; empty where there are none."""
    packed = [
        {
            "venue": found.venue,
            "kind": found.kind,
            "ticks": found.ticks.astype(_LITTLE_ENDIAN_INT).tobytes(),
            "deltas": {key: _packed(values) for key, values in found.deltas.items()},
            "fees": {key: _packed(values) for key, values in found.fees.items()},
            "details": {
                name: _packed(value) if isinstance(value, np.ndarray) else value
                for name, value in found.details.items()
            },
        }
        for found in settlements
    ]
    return _encoder.encode(packed) if packed else b""


def _packed(values: FloatArray) -> bytes:
    return np.asarray(values, dtype=_LITTLE_ENDIAN).tobytes()


def unpack_settlements(packed: bytes) -> tuple[Settlement, ...]:
    """Settlements of a window one by one, by tick.

    Raises:
        ComponentError: as :func:`unpack_settlement_columns`.
    """
    return in_rows(unpack_settlement_columns(packed))


def unpack_settlement_columns(packed: bytes) -> tuple[SettlementColumns, ...]:
    """Settlements of a window, validated.

    Raises:
        ComponentError: BUS-003, not a list of settlements, ticks that do not ascend, or NaN or infinity in one; names the
            field.
    """
    if not packed:
        return ()
    try:
        found = _settlements().validate_python(_decoder.decode(packed))
    except (msgspec.DecodeError, UnicodeDecodeError, ValidationError) as error:
        raise ComponentError("BUS-003", f"settlements: {error}", "bus") from error
    return tuple(_settlement_columns(one) for one in found)


def _settlement_columns(packed: PackedSettlements) -> SettlementColumns:
    ticks = np.frombuffer(packed.ticks, dtype=_LITTLE_ENDIAN_INT)
    if ticks[0] < 0 or (ticks[1:] <= ticks[:-1]).any():
        raise ComponentError("BUS-003", "settlements: ticks that do not ascend from 0", "bus")
    columns = [
        *packed.deltas.items(),
        *packed.fees.items(),
        *((name, value) for name, value in packed.details.items() if isinstance(value, bytes)),
    ]
    if not bool(np.isfinite(unpack(b"".join(column for _, column in columns))).all()):
        bad = next(name for name, column in columns if not np.isfinite(unpack(column)).all())
        raise ComponentError("BUS-003", f"settlements: {bad!r} holds NaN or infinity", "bus")
    return SettlementColumns(
        venue=packed.venue,
        kind=packed.kind,
        ticks=ticks,
        deltas={key: unpack(column) for key, column in packed.deltas.items()},
        fees={key: unpack(column) for key, column in packed.fees.items()},
        details={name: unpack(value) if isinstance(value, bytes) else value for name, value in packed.details.items()},
    )


@lru_cache(maxsize=1)
def _settlements() -> TypeAdapter[tuple[PackedSettlements, ...]]:
    return TypeAdapter(tuple[PackedSettlements, ...])


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
