"""The canonical log: the fast way and the plain way give the same bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.event_logger.core import lines as lines_module
from basis.event_logger.core.canonical import keyed_lines, order_of, reference_hash, reference_line
from basis.event_logger.core.lines import (
    DisorderError,
    Lines,
    canonical_hash,
    from_keyed,
    lines_of,
    merged,
    orders_of,
    taken,
    text_of,
)
from basis.models.events import WALL_CLOCK_FIELDS

CID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


@pytest.fixture(autouse=True, params=[2, 10**9], ids=["many at once", "line by line"])
def _cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test twice: short blocks are otherwise cut line by line alone."""
    monkeypatch.setattr(lines_module, "_FEW_BYTES", request.param)


def line(order: int, cid: str = CID, pid: int = 7, wall: str = "2024-05-12T00:00:00+00:00", **fields: Any) -> bytes:
    head = {"correlation_id": cid, "pid": pid, "real_utc_time": wall}
    return orjson.dumps(head | {"order": order, "timestamp": "2024-05-12T00:00:00+00:00"} | fields) + b"\n"


TEXT = st.text(max_size=12) | st.sampled_from([CID, f"{CID}-000-1", f"x{CID}{CID}", OTHER, '"order":5', "_ms", "\x01"])


def stay_apart(fields: dict[str, Any]) -> bool:
    """Two keys that differ by the run's id alone are one key once it is cut out: parsed, the later one is left; cut, both."""
    return len({key.replace(CID, "") for key in fields}) == len(fields)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2).filter(stay_apart),
    max_leaves=3,
)
KEYS = st.sampled_from([*sorted(WALL_CLOCK_FIELDS - {"real_utc_time"}), "metadata", "x_ms", "positions", "order_id"])
FIELDS = st.dictionaries(KEYS, VALUES, max_size=2)
FILES = st.lists(st.lists(FIELDS, max_size=4), max_size=3)


def spread(files: list[list[dict[str, Any]]], stride: int) -> list[list[bytes]]:
    """Orders that interleave between files, unevenly."""
    return [
        [line((place * stride + number) * 5 + number, **fields) for place, fields in enumerate(file)]
        for number, file in enumerate(files)
    ]


def in_blocks(lines: list[bytes], size: int) -> list[bytes]:
    return [b"".join(lines[begin : begin + size]) for begin in range(0, len(lines), size)]


@given(FILES, st.integers(4, 9), st.integers(1, 4))
def test_fast_and_plain_give_the_same_hash(files: list[list[dict[str, Any]]], stride: int, block: int) -> None:
    lines = spread(files, stride)
    blocks = [in_blocks(file, block) for file in lines]
    assert canonical_hash(lambda: blocks, CID) == reference_hash([one for file in lines for one in file], CID)


@given(st.lists(FIELDS, min_size=1, max_size=6))
def test_each_line_alone_is_the_same(fields: list[dict[str, Any]]) -> None:
    lines = [line(place, **each) for place, each in enumerate(fields)]
    expected = [(order_of(one), reference_line(one, CID)[1:-1]) for one in lines]
    assert keyed_lines(b"".join(lines), CID) == expected
    assert [keyed_lines(one, CID)[0] for one in lines] == expected


def test_only_what_a_run_did_counts() -> None:
    def run(cid: str, pid: int, wall: str, took: float) -> str:
        lines = [line(place, cid, pid, wall, order_id=f"{cid}-{place}", duration_ms=took) for place in range(5)]
        return canonical_hash(lambda: [[b"".join(lines)]], cid)

    assert run(CID, 1, "2024-01-01T00:00:00+00:00", 1.0) == run(OTHER, 2, "2025-01-01T00:00:00.5+00:00", 2.0)


@pytest.mark.parametrize(
    "changed", [line(1, x=1), line(2), line(1, metadata={"duration_ms": 1}), line(1, correlation="1")]
)
def test_any_other_difference_counts(changed: bytes) -> None:
    assert canonical_hash(lambda: [[line(0), changed]], CID) != canonical_hash(lambda: [[line(0), line(1)]], CID)


def test_another_runs_line_is_not_taken_for_ours() -> None:
    """Its id stays: the block holds our id as often as it has lines, but not where it should be."""
    lines = [line(0, cid=OTHER), line(1, x=CID)]
    assert canonical_hash(lambda: [[b"".join(lines)]], CID) == reference_hash(lines, CID)


def test_disorder_changes_nothing_but_the_cost() -> None:
    lines = [line(order) for order in (5, 3, 9, 1)]
    assert canonical_hash(lambda: [in_blocks(lines, 2)], CID) == reference_hash(lines, CID)
    with pytest.raises(DisorderError):
        list(merged([[from_keyed([(2, b"")]), from_keyed([(2, b"")])]]))


def test_an_empty_run_has_a_hash() -> None:
    assert canonical_hash(list, CID) == canonical_hash(lambda: [[], []], CID) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("bad", [b"[]\n", b"{}\n", b'{"order":"1"}\n', b'{"order":true}\n', b"no json\n", b"\n", b"{"])
def test_what_is_no_event_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_hash(lambda: [[line(0), bad]], CID)


def test_the_merge_is_streaming() -> None:
    """It never asks for more than one block a file beyond what it gives."""
    asked = [0, 0]

    def source(number: int) -> Any:
        for place in range(100):
            asked[number] += 1
            yield from_keyed([(place * 2 + number, b"")])

    given_orders = []
    for count, parts in enumerate(merged([source(0), source(1)])):
        given_orders += orders_of(parts)
        assert max(asked) <= count + 2
    assert given_orders == list(range(200))


# ------------------------------------------------------------------------------------------------- many lines at once

HEADS: list[dict[str, Any]] = [{}, {"wall": "2024-05-12T00:00:00.5+00:00"}, {"pid": 12}, {"cid": OTHER}]
EXTRAS: list[dict[str, Any]] = [{}, {"order_id": f"{CID}-1"}, {"duration_ms": 1.5}, {"x_ms": CID}, {"params": "ms"}]


@st.composite
def stretches(draw: st.DrawFn) -> list[bytes]:
    """Lines as a message holds them, many alike: head, shape and number of digits change a few times, or never."""
    found: list[bytes] = []
    order = draw(st.sampled_from([0, 7, 95, 10**6 - 3, 10**17, 10**18 - 2, 2**63 - 3, 2**64 - 400]))
    for _ in range(draw(st.integers(1, 10))):
        head, extra = draw(st.sampled_from(HEADS)), draw(st.sampled_from(EXTRAS))
        for place in range(draw(st.integers(1, 6))):
            found.append(line(order, **head, **extra, value="v" * draw(st.integers(0, 3)), place=place))
            order += draw(st.integers(1, 5))
    return found


def canonical(lines: list[bytes]) -> bytes:
    return b"".join(reference_line(one, CID) for one in lines)


def as_they_stand(found: list[Lines]) -> bytes:
    return b"".join(
        b"{" + each.text[begin:end] for each in found for begin, end in zip(each.begins, each.ends, strict=True)
    )


@given(stretches())
def test_many_at_once_are_what_each_is(lines: list[bytes]) -> None:
    found = lines_of(b"".join(lines), CID)
    assert [order for each in found for order in each.orders] == [order_of(one) for one in lines]
    assert text_of(found) == as_they_stand(found) == canonical(lines)
    assert sum(each.size() for each in found) == sum(len(reference_line(one, CID)) - 1 for one in lines)


@given(stretches(), st.integers(0, 2**64 + 100))
def test_what_is_below_a_limit_is_taken(lines: list[bytes], limit: int) -> None:
    held = lines_of(b"".join(lines), CID)
    below = [one for one in lines if order_of(one) < limit]
    assert text_of(taken(held, limit)) == canonical(below)
    assert text_of(taken(held, None)) == canonical(lines[len(below) :])
    assert not held


@given(stretches(), st.data())
def test_damaged_bytes_are_cut_alike_or_refused(lines: list[bytes], data: st.DataObject) -> None:
    """Any byte of a block may be another, or the block torn: what is cut many at once is what is cut line by line."""
    block = bytearray(b"".join(lines))
    for _ in range(data.draw(st.integers(1, 3))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.sampled_from(b'\n"0,:a{'))
    torn = bytes(block[: data.draw(st.integers(1, len(block)))])
    try:
        keyed = keyed_lines(torn, CID)
    except ValueError:
        keyed = []
    try:
        found = lines_of(torn, CID)
    except ValueError:
        assert not keyed
        return
    # what is cut is not parsed: a line whose rest is damaged may stand in one way where another line made it be refused
    if keyed:
        assert [order for each in found for order in each.orders] == [order for order, _ in keyed]
        assert as_they_stand(found) == b"".join(b"{%b\n" % text for _, text in keyed)


def test_a_message_is_cut_at_once() -> None:
    """Not line by line with the same result: that is what makes it cheap."""
    lines = [line(10**9 + place, order_id=f"{CID}-1") for place in range(50)]
    found, rest = lines_module._cut_alike(b"".join(lines), CID.encode())
    assert found is not None
    assert (len(found.orders), rest) == (50, b"")
    longer = [line(10**10 + place, wall="2024") for place in range(50)]
    found, rest = lines_module._cut_alike(b"".join(lines + longer), CID.encode())
    assert found is not None
    assert (len(found.orders), rest) == (50, b"".join(longer))


@pytest.mark.parametrize("byte", list(b'a0,\n":'))
def test_a_damaged_beginning_is_never_taken_for_like_the_others(byte: int) -> None:
    """Each byte of a line up to behind its order is another in turn."""
    lines = [line(10**9 + place) for place in range(3)]
    for place in range(lines[1].index(b',"timestamp"') + 1):
        damaged = bytearray(lines[1])
        damaged[place] = byte
        block = lines[0] + bytes(damaged) + lines[2]
        try:
            expected = keyed_lines(block, CID)
        except ValueError:
            with pytest.raises(ValueError, match=r"."):
                lines_of(block, CID)
        else:
            found = lines_of(block, CID)
            assert [order for each in found for order in each.orders] == [order for order, _ in expected]
            assert as_they_stand(found) == b"".join(b"{%b\n" % text for _, text in expected)
