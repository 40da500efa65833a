"""Binary search in event files: the same as a look at every line, whatever the lengths of the lines."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.results.lines import EventFile, order_of

ORDERS = st.lists(st.integers(0, 10**12), unique=True, max_size=60).map(sorted)
FILLS = st.lists(st.integers(0, 9000), min_size=60, max_size=60)


def line(order: int, fill: int = 0) -> bytes:
    return orjson.dumps({"correlation_id": "0" * 32, "pid": 1, "order": order, "text": "x" * fill}) + b"\n"


@given(orders=ORDERS, fills=FILLS, torn=st.binary(max_size=30).filter(lambda text: b"\n" not in text), data=st.data())
def test_every_way_to_read_a_file_finds_the_same_lines(
    orders: list[int], fills: list[int], torn: bytes, data: st.DataObject
) -> None:
    lines = [line(order, fill) for order, fill in zip(orders, fills, strict=False)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "orders.jsonl"
        path.write_bytes(b"".join(lines) + torn)
        with EventFile(path) as file:
            assert file.size == sum(map(len, lines)), "what has no newline yet does not exist"
            assert list(file.lines()) == lines
            assert (file.first(), file.last()) == ((lines[0], lines[-1]) if lines else (None, None))
            wanted = data.draw(st.one_of(st.integers(0, 10**12), st.sampled_from(orders or [0])))
            place = bisect_left(orders, wanted)
            offset = file.offset_of(wanted)
            assert offset == sum(map(len, lines[:place]))
            assert list(file.lines(offset)) == lines[place:]
            assert file.before(offset) == (lines[place - 1] if place else None)
            assert list(file.lines(0, offset)) == lines[:place]
            assert b"".join(file.blocks(size=data.draw(st.integers(1, 20_000)))) == b"".join(lines)
            count = data.draw(st.integers(1, 70))
            sample = file.sample(count)
            assert len(sample) <= max(count, 2)
            assert sample == sorted(sample, key=lambda one: order_of(one, path))
            assert set(sample) <= set(lines)
            if lines:
                assert sample[-1] == lines[-1]
                assert count == 1 or sample[0] == lines[0]


def test_a_missing_file_is_an_empty_one(tmp_path: Path) -> None:
    with EventFile(tmp_path / "none.jsonl") as file:
        assert (file.size, file.first(), file.last(), list(file.lines()), file.sample(5)) == (0, None, None, [], [])
        assert file.offset_of(5) == 0


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b"".join(line(order, 3000) for order in range(100)))
    with EventFile(path) as file:
        path.write_bytes(line(0))
        with pytest.raises(ComponentError, match=r"LOG-004.*ended at byte"):
            list(file.lines())


@pytest.mark.parametrize("content", [b"not json\n", b'{"order":"x"}\n', b'{"a":1}\n', b"\x00\xff\n"])
def test_a_line_that_is_no_event_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_bytes(content)
    with EventFile(path) as file, pytest.raises(ComponentError, match=r"LOG-004.*orders.jsonl"):
        file.offset_of(5)


def test_what_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b"[1]\n")
    with EventFile(path) as file, pytest.raises(ComponentError, match="no event"):
        file.parse(b"[1]\n")
