"""Messages and columns on the wire: bit for bit, and nothing that is not finite."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.base import FrozenModel
from basis.models.errors import ComponentError
from basis.models.messages import RunRef, Settlement
from basis.runtime import codec
from basis.testkit import strategies as bst
from basis.testkit.runs import mode_config, run_ref

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(values=st.lists(FINITE, max_size=64))
def test_column_survives_bit_for_bit_little_endian(values: list[float]) -> None:
    packed = codec.pack(values, "x")
    assert packed == b"".join(np.float64(value).astype("<f8").tobytes() for value in values)
    assert [value.hex() for value in codec.unpack(packed).tolist()] == [value.hex() for value in values]


@given(values=st.lists(FINITE, max_size=20), place=st.integers(0, 20), bad=bst.not_finite())
def test_column_with_nan_or_infinity_raises_data_002_and_names_the_place(
    values: list[float], place: int, bad: float
) -> None:
    place = min(place, len(values))
    with pytest.raises(ComponentError, match=f"'price': .* at place {place}") as caught:
        codec.pack([*values[:place], bad, *values[place:]], "price")
    assert caught.value.error_code == "DATA-002"


def test_received_column_with_nan_raises_data_002_and_names_it() -> None:
    columns = {"good": codec.pack([1.0], "good"), "bad": np.array([math.nan]).tobytes()}
    with pytest.raises(ComponentError, match="'bad'") as caught:
        codec.unpack_all(columns)
    assert caught.value.error_code == "DATA-002"


def test_unpacked_column_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        codec.unpack(codec.pack([1.0], "x"))[0] = 2.0


def test_times_and_bytes_travel_as_they_are() -> None:
    run = run_ref(mode_config())
    again = codec.decode(codec.encode(run), RunRef)
    assert again == run
    assert again.start.utcoffset() == run.start.utcoffset()


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"not msgpack", msgspec.msgpack.encode([1, 2])])
def test_payload_that_is_no_message_raises_bus_003(payload: bytes) -> None:
    with pytest.raises(ComponentError, match="RunRef") as caught:
        codec.decode(payload, RunRef)
    assert caught.value.error_code == "BUS-003"


def test_message_of_another_model_raises_bus_003_and_names_the_field() -> None:
    settlement = Settlement(tick=1, venue="binance", kind="funding", deltas={})
    with pytest.raises(ComponentError, match="correlation_id"):
        codec.decode(codec.encode(settlement), RunRef)


def test_settlements_travel_packed_and_come_back_as_they_were() -> None:
    funding = Settlement(
        tick=3, venue="okx", kind="funding", deltas={"okx:BaseToken:USDT": 1.5}, fees={}, details={"funding_rate": 1e-4}
    )
    assert codec.unpack_settlements(codec.pack_settlements([funding, funding])) == (funding, funding)
    assert codec.pack_settlements([]) == b""
    assert codec.unpack_settlements(b"") == ()


@pytest.mark.parametrize("change", [{"deltas": {"okx:BaseToken:USDT": math.nan}}, {"kind": "gift"}, {"tick": -1}])
def test_settlement_that_makes_no_sense_raises_bus_003(change: dict[str, Any]) -> None:
    row = {"tick": 1, "venue": "okx", "kind": "funding", "deltas": {}, "fees": {}, "details": {}} | change
    with pytest.raises(ComponentError, match=next(iter(change))) as caught:
        codec.unpack_settlements(msgspec.msgpack.encode([row]))
    assert caught.value.error_code == "BUS-003"


@given(payload=st.binary(max_size=200))
def test_no_bytes_get_past_but_as_bus_003(payload: bytes) -> None:
    with pytest.raises(ComponentError) as caught:
        codec.decode(payload, RunRef)
    assert caught.value.error_code == "BUS-003"


def test_value_that_has_no_place_in_a_message_raises() -> None:
    class Odd(FrozenModel):
        """A model with a complex number."""

        value: complex

    with pytest.raises(TypeError, match="complex"):
        codec.encode(Odd(value=1j))
