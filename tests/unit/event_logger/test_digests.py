"""Hashing while appending: the same hash as a full pass, whatever comes in which sequence, or none at all."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.event_logger.core import digests as digests_module
from basis.event_logger.core import lines as lines_module
from basis.event_logger.core.canonical import reference_hash
from basis.event_logger.core.digests import CanonicalDigest, RunDigests, known_events, known_files
from basis.event_logger.core.lines import canonical_hash
from basis.event_logger.core.plan import event_path
from basis.models.events.base import Phase, order_key
from basis.runtime.domain_events import EVERY_TICK

CID = "0123456789abcdef0123456789abcdef"
PHASES = dict(
    zip(sorted(EVERY_TICK), (Phase.POSITION, Phase.EXPOSURE, Phase.RISK, Phase.PNL, Phase.DECISION), strict=True)
)
AFTER = {"positions": Phase.AFTER_POSITION, "exposures": Phase.AFTER_EXPOSURE}
RARE = {"orders": Phase.ORDER, "reconciliations": Phase.EXECUTION}

Batch = tuple[str, bytes]


def line(order: int, **fields: Any) -> bytes:
    head = {"correlation_id": CID, "pid": 7, "real_utc_time": "2024-05-12T00:00:00+00:00"}
    return orjson.dumps(head | {"order": order, "timestamp": "2024-05-12T00:00:00+00:00"} | fields) + b"\n"


def batches(draw: st.DrawFn, first: int, last: int, phases: dict[str, Phase]) -> list[Batch]:
    """Events of some types of ticks first..last, cut into messages at random places, types interleaved at random."""
    queues = []
    for name, phase in phases.items():
        extra: dict[str, Any] = draw(st.sampled_from([{}, {"order_id": f"{CID}-1"}, {"duration_ms": 1.5}]))
        lines = [line(order_key(tick, phase), **extra) for tick in range(first, last + 1)]
        cuts = sorted(draw(st.sets(st.integers(1, max(len(lines) - 1, 1)))))
        pieces = [lines[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(lines)], strict=True)]
        queues.append([(event_path(name), b"".join(piece)) for piece in pieces if piece])
    found = []
    while any(queues):
        found.append(draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    return found


@st.composite
def commits(draw: st.DrawFn) -> list[Batch]:
    """What a run publishes: windows in strict sequence; some end in orders, whose events come after all of theirs."""
    found, tick = [], 0
    for _ in range(draw(st.integers(0, 5))):
        last = tick + draw(st.integers(0, 6))
        found += batches(draw, tick, last, PHASES)
        if draw(st.booleans()):
            found += batches(draw, last, last, RARE)
            found += batches(draw, last, last, AFTER)
        tick = last + 1
    return found


def fed(given_batches: list[Batch]) -> CanonicalDigest:
    digest = CanonicalDigest(CID)
    for path, block in given_batches:
        digest.add(path, block)
        digest.release()
    return digest


def hash_of(digest: CanonicalDigest) -> str:
    done = digest.finish()
    assert done is not None
    return done.digest.hexdigest()


def reference(given_batches: list[Batch]) -> str:
    return reference_hash([one for _, block in given_batches for one in block.splitlines(keepends=True)], CID)


@pytest.fixture(params=[2, 10**9], ids=["many at once", "line by line"])
def _eager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Release whatever may be released, however little; cut blocks in both ways."""
    monkeypatch.setattr(digests_module, "RELEASE_BYTES", 0)
    monkeypatch.setattr(lines_module, "_FEW_BYTES", request.param)


@pytest.mark.usefixtures("_eager")
@given(commits())
def test_any_sequence_that_a_run_may_come_in_gives_the_reference_hash(given_batches: list[Batch]) -> None:
    digest = fed(given_batches)
    assert digest.void is None
    assert hash_of(digest) == hash_of(digest) == reference(given_batches)


@pytest.mark.usefixtures("_eager")
@given(commits(), st.data())
def test_a_stretch_of_the_stream_may_be_taken_apart_by_file(given_batches: list[Batch], data: st.DataObject) -> None:
    """As the store does it: all that a file gets, then all that the next one gets, orders of a tick last or first."""
    digest = CanonicalDigest(CID)
    rest = given_batches
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        stretch, rest = rest[:size], rest[size:]
        for name in data.draw(st.permutations(sorted({path for path, _ in stretch}))):
            for path, block in stretch:
                if path == name:
                    digest.add(path, block)
        digest.release()
    assert digest.void is None
    assert hash_of(digest) == reference(given_batches)


@pytest.mark.usefixtures("_eager")
@given(commits(), st.randoms(use_true_random=False))
def test_any_other_sequence_gives_the_reference_hash_or_none(given_batches: list[Batch], chance: Any) -> None:
    chance.shuffle(given_batches)
    digest = fed(given_batches)
    assert (digest.finish() is None) == (digest.void is not None)
    assert digest.void is not None or hash_of(digest) == reference(given_batches)


@pytest.mark.usefixtures("_eager")
def test_what_is_complete_is_not_held() -> None:
    digest = CanonicalDigest(CID)
    for tick in range(50):
        for name, phase in PHASES.items():
            digest.add(event_path(name), line(order_key(tick, phase)))
            digest.release()
        assert sum(map(len, digest._held.values())) == len(PHASES)  # those of this tick
    assert digest._size < 2_000  # and what was hashed does not count


def everything(tick: int) -> list[Batch]:
    return [(event_path(name), line(order_key(tick, phase))) for name, phase in PHASES.items()]


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize(
    ("late", "why"),
    [
        ((event_path("orders"), line(order_key(3, Phase.POSITION))), "out of order"),  # tick 3 is hashed already
        ((event_path("orders"), line(order_key(4, Phase.PNL))), "out of order"),  # as is this very order
        ((event_path("positions"), line(order_key(5, Phase.POSITION))), "out of order"),
        ((event_path("positions"), line(order_key(7, 0)) + line(order_key(6, 0))), "out of order"),
        ((event_path("positions"), line(order_key(7, 0)) * 2), "out of order"),
        ((event_path("positions"), b"no json\n"), "invalid literal"),
        ((event_path("positions"), b"\n"), "empty"),
        ((event_path("positions"), b"{}\n"), "no order"),
    ],
)
def test_what_cannot_be_hashed_on_the_way_makes_it_void(late: Batch, why: str) -> None:
    digest = fed([batch for tick in range(6) for batch in everything(tick)])
    assert digest.void is None
    digest.add(*late)
    assert why in str(digest.void)
    digest.add(*everything(8)[0])
    assert digest.finish() is None
    assert not digest._held


def test_a_run_without_events_of_every_tick_is_not_held_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests_module, "HELD_BYTES", 2_000)
    digest = fed([(event_path("positions"), line(order_key(tick, Phase.POSITION))) for tick in range(100)])
    assert digest.void == "too much to hold"
    assert digest.finish() is None


@pytest.mark.usefixtures("_eager")
def test_equal_orders_come_in_the_sequence_of_the_files() -> None:
    given_batches = [batch for tick in range(6) for batch in everything(tick)]
    same = [(event_path(name), line(order_key(6, Phase.ORDER), name=name)) for name in ("reconciliations", "orders")]
    given_batches += same + everything(7)
    blocks = [
        [block for path, block in given_batches if path == name] for name in sorted({path for path, _ in given_batches})
    ]
    digest = fed(given_batches)
    assert digest.void is None
    assert hash_of(digest) == canonical_hash(lambda: blocks, CID)


def test_an_empty_run_has_a_hash() -> None:
    assert hash_of(CanonicalDigest(CID)) == hashlib.sha256(b"").hexdigest()


# ------------------------------------------------------------------------------------------------------ whole runs


PATH, LOG = event_path("positions"), "api.log"


def run_of(parts: list[bytes]) -> RunDigests:
    digests = RunDigests(CID)
    for path, given_parts in ((PATH, parts), (LOG, [b'"a"\n', b'"b"\n'])):
        digests.add(path, given_parts)
    return digests


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "newline apart"])
def test_files_and_events_are_known(cut: bool) -> None:
    lines = [line(order) for order in range(4)]
    parts = [b"".join(lines[:2]), b"".join(lines[2:])]
    digests = run_of([parts[0][:-1], b"\n", parts[1]] if cut else parts)
    sizes = {PATH: len(b"".join(lines)), LOG: 8, "empty.log": 0}
    known = known_files(digests, sizes)
    assert {path: (found.seal.count, found.seal.bytes) for path, found in known.items()} == {
        PATH: (4, sizes[PATH]), LOG: (2, 8), "empty.log": (0, 0),
    }  # fmt: skip
    assert known[PATH].seal.sha256 == hashlib.sha256(b"".join(lines)).hexdigest()
    events = known_events(digests, sizes)
    assert events is not None
    assert (events.digest.hexdigest(), events.last) == (canonical_hash(lambda: [parts], CID), 3)


def test_what_is_otherwise_on_disk_is_not_known() -> None:
    digests = run_of([line(0)])
    size = len(line(0))
    assert known_files(digests, {PATH: size + 1, LOG: 8}).keys() == {LOG}
    assert known_events(digests, {PATH: size + 1, LOG: 8}) is None
    assert known_events(digests, {LOG: 8}) is None
    assert known_events(digests, {PATH: size, event_path("orders"): 5}) is None
    assert known_events(digests, {PATH: size, LOG: 9}) is not None
    assert known_events(None, {PATH: size}) is None
    assert known_files(None, {PATH: size, LOG: 0}).keys() == {LOG}
