"""Rate limits: never more than burst and rate allow, in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from basis.gateway.limits import RateLimit


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_more_than_burst_and_rate_allow_and_the_wait_is_enough(rate: float, burst: int, pauses: list[float]) -> None:
    limit, now, served = RateLimit(rate, burst), 0.0, 0
    for pause in pauses:
        now += pause
        wait = limit.wait("a", now)
        served += wait == 0.0
        assert served <= burst + now * rate + 1e-6
        if wait:
            now += wait * (1 + 1e-9) + 1e-9
            assert limit.wait("a", now) == 0.0
            served += 1


def test_clients_do_not_share_and_the_oldest_is_forgotten() -> None:
    limit = RateLimit(1.0, 1, clients=100)
    for number in range(1000):
        assert limit.wait(str(number), 0.0) == 0.0
    assert len(limit) == 100
    assert limit.wait("999", 0.0) > 0.0
    assert limit.wait("0", 0.0) == 0.0


def test_a_clock_that_steps_back_gives_nothing() -> None:
    limit = RateLimit(1.0, 1)
    assert limit.wait("a", 10.0) == 0.0
    assert limit.wait("a", 5.0) == 1.0
