"""Payloads that travel as zstd frames."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from basis.runtime import packing, subjects

payloads = st.binary(max_size=300) | st.builds(
    lambda part, times: part * times, st.binary(max_size=300), st.integers(0, 400)
)


@given(payload=payloads)
def test_what_is_packed_comes_back(payload: bytes) -> None:
    sent, headers = packing.packed(payload)
    assert packing.unpacked(sent, headers) == payload
    assert packing.packed(payload) == (sent, headers), "the same message for the same events"
    assert bool(headers) == (len(payload) >= packing.LEAST_BYTES)


def test_events_become_much_smaller() -> None:
    payload = b'{"order":1000000,"timestamp":"2022-01-01T00:00:00Z","positions":{"wallet:BaseToken:USDT":0.1}}\n' * 500
    assert len(packing.packed(payload)[0]) < len(payload) / 8


def test_threads_do_not_share_what_zstd_works_with() -> None:
    """Two loops in one process; shared, the process ends with a segmentation fault within a fraction of this."""
    payloads = [bytes([number]) * 300_000 + b"x" * number for number in range(1, 9)]

    def back(payload: bytes) -> bool:
        return all(packing.unpacked(*packing.packed(payload)) == payload for _ in range(50))

    with ThreadPoolExecutor(max_workers=8) as pool:
        assert all(pool.map(back, payloads))


def test_a_payload_without_the_header_is_as_it_is() -> None:
    assert packing.unpacked(b"plain", None) == b"plain"
    assert packing.unpacked(b"plain", {"Nats-Msg-Id": "1"}) == b"plain"


@pytest.mark.parametrize(
    ("payload", "encoding", "words"),
    [
        (b"plain", "zstd", "no zstd frame"),
        (b"", "zstd", "no zstd frame"),
        (b"plain", "gzip", "expected zstd"),
        (zstandard.ZstdCompressor().compress(b"a" * 9000)[:-4], "zstd", "no zstd frame"),
        (zstandard.ZstdCompressor().compress(bytes(packing.MOST_BYTES + 1)), "zstd", "are accepted"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 9000), "zstd", "are accepted"),
    ],
    ids=["no frame", "nothing", "another encoding", "cut off", "a bomb", "of unknown size"],
)
def test_what_is_no_such_frame_is_refused(payload: bytes, encoding: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        packing.unpacked(payload, {packing.HEADER: encoding})


def test_no_payload_of_ours_is_refused() -> None:
    assert packing.MOST_BYTES >= subjects.MAX_MESSAGE_BYTES
