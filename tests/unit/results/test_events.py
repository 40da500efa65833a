"""Pages of events: every one once, in causal order, whatever the page size, filter and stretch that was searched."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rundir import CID, PID, write_run

from basis.models.errors import InputError
from basis.results import events
from basis.results.directories import RunDir

TYPES = ("orders", "positions", "strategy_decisions")
WORDS = st.sampled_from(["", "Supply", "HOLD", "nothing like it"])


@settings(max_examples=60)
@given(
    places=st.lists(st.tuples(st.sampled_from(TYPES), WORDS, st.integers(0, 60_000)), max_size=40),
    wanted=st.sampled_from(["", "supply", "Hold", "absent"]),
    types=st.lists(st.sampled_from(TYPES), max_size=3),
    limit=st.integers(1, 12),
    max_scanned=st.integers(1, 60),
)
def test_pages_joined_are_the_whole(
    places: list[tuple[str, str, int]], wanted: str, types: list[str], limit: int, max_scanned: int
) -> None:
    with TemporaryDirectory() as folder:
        run = RunDir(CID, PID, Path(folder))
        run.events.mkdir()
        whole: list[tuple[int, str, dict[str, Any]]] = []
        for order, (kind, word, fill) in enumerate(places):
            event = {"correlation_id": CID, "pid": PID, "order": order * 1000, "reasoning": word, "fill": "." * fill}
            with run.event_file(kind).open("ab") as file:
                file.write(orjson.dumps(event) + b"\n")
            if (not types or kind in types) and wanted.lower() in word.lower():
                whole.append((order * 1000, kind, event))
        found, after, scanned = [], -1, 0
        for _ in range(200):
            page = events.page(run, types, wanted, after, limit, max_scanned)
            assert len(page.items) <= limit
            found += [(item.order, item.type, item.event) for item in page.items]
            scanned += page.scanned
            if page.next is None:
                break
            assert page.next > after
            after = page.next
        else:
            pytest.fail("no end")
        assert found == whole
        looked_at = sum(1 for kind, _, _ in places if not types or kind in types)
        assert scanned <= looked_at


def test_a_page_ends_after_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path, [1000.0] * 50)
    monkeypatch.setattr(events, "MAX_PAGE_BYTES", 2000)
    page = events.page(run, ["positions"], limit=1000)
    assert 0 < len(page.items) < 50
    assert page.next is not None


def test_types_are_those_that_exist(tmp_path: Path) -> None:
    run = write_run(tmp_path, [1000.0])
    for bad in ("trades", "../../etc/passwd", "orders.jsonl", ""):
        with pytest.raises(InputError, match=r"CONFIG-003.*orders"):
            events.page(run, [bad])
        with pytest.raises(InputError, match=r"CONFIG-003.*orders"):
            events.one(run, bad, 0)
