"""The canonical log: the fast way and the plain way give the same bytes."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.event_logger.core.canonical import (
    DisorderError,
    canonical_hash,
    keyed_lines,
    merged,
    order_of,
    reference_hash,
    reference_line,
)
from basis.models.events import WALL_CLOCK_FIELDS

CID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32


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
        list(merged([[[(2, b"")], [(2, b"")]]]))


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
            yield [(place * 2 + number, b"")]

    given_orders = []
    for count, block in enumerate(merged([source(0), source(1)])):
        given_orders += [order for order, _ in block]
        assert max(asked) <= count + 2
    assert given_orders == list(range(200))
