"""Rate limits: a token bucket for each client, in bounded memory. Pure: the time comes in."""

from __future__ import annotations

from collections import OrderedDict


class RateLimit:
    """Token buckets by client.

    Args:
        rate: requests a second in the long run.
        burst: requests at once after a pause.
        clients: buckets kept; the one longest unused goes first. A full bucket is the same as none, and one that is not
            full was used within burst / rate seconds, so only a flood of addresses forgets anything.
    """

    def __init__(self, rate: float, burst: int, clients: int = 10_000) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clients = clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, client: str, now: float) -> float:
        """Take a token.

        Args:
            client: key or address.
            now: monotonic time, seconds.

        Returns:
            0 where there was one; else the seconds until there is one, and nothing was taken.
        """
        tokens, seen = self._buckets.pop(client, (self._burst, now))
        tokens = min(tokens + max(now - seen, 0.0) * self._rate, self._burst)
        allowed = tokens >= 1.0
        self._buckets[client] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) / self._rate
