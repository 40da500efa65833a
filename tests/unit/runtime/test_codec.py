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
from basis.models.operations import SettlementKind
from basis.runtime import codec
from basis.runtime.settlements import SettlementColumns, in_columns
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


def test_settlements_in_columns_come_back_as_they_were_by_tick() -> None:
    usdt = "okx:BaseToken:USDT"
    found = SettlementColumns(
        venue="okx",
        kind=SettlementKind.FUNDING,
        ticks=np.array([3, 8, 11]),
        deltas={usdt: np.array([1.5, -0.25, 2.0])},
        details={"symbol": "BTCUSDT", "funding_rate": np.array([1e-4, 2e-4, 3e-4]), "contracts": 7, "by_hand": None},
    )
    other = Settlement(tick=8, venue="okx", kind="reward", deltas={usdt: 1.0}, fees={usdt: 0.5})
    columns = (found, *in_columns([other]))
    rows = codec.unpack_settlements(codec.pack_settlement_columns(columns))
    assert [(row.tick, row.kind, row.deltas[usdt]) for row in rows] == [
        (3, "funding", 1.5),
        (8, "funding", -0.25),
        (8, "reward", 1.0),
        (11, "funding", 2.0),
    ]
    assert rows[1].details == {"symbol": "BTCUSDT", "funding_rate": 2e-4, "contracts": 7, "by_hand": None}
    assert rows[2] == other
    early = found.before(11)
    assert early is not None
    assert list(early.rows()) == [rows[0], rows[1]]
    assert found.before(3) is None
    assert found.before(12) is found


def floats(*values: float) -> bytes:
    return np.array(values, dtype="<f8").tobytes()


def ints(*values: int) -> bytes:
    return np.array(values, dtype="<i8").tobytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"deltas": {"okx:BaseToken:USDT": floats(math.nan, 1.0)}}, "okx:BaseToken:USDT"),
        ({"details": {"rate": floats(1.0, math.inf)}}, "rate"),
        ({"fees": {"okx:BaseToken:USDT": floats(1.0)}}, "8 bytes, expected 16"),
        ({"kind": "gift"}, "kind"),
        ({"ticks": ints(1, 1)}, "ticks"),
        ({"ticks": ints(-1, 1)}, "ticks"),
        ({"ticks": b""}, "ticks"),
        ({"gift": 1}, "gift"),
        ({"ticks": ints(1, 2)[:12]}, "'ticks' holds 12 bytes"),
    ],
)
def test_settlements_that_make_no_sense_raise_bus_003(change: dict[str, Any], words: str) -> None:
    sound = {"venue": "okx", "kind": "funding", "ticks": ints(1, 2), "deltas": {}, "fees": {}, "details": {}}
    with pytest.raises(ComponentError, match=words) as caught:
        codec.unpack_settlements(msgspec.msgpack.encode([sound | change]))
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
