"""The way in: a gateway, and what one asks of it that is about no run in particular."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from basis.client.errors import RefusedError
from basis.client.run import Run
from basis.client.transport import Transport
from basis.results.models import Comparison, RunSummary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime
    from types import TracebackType

    from basis.models.messages import RunStatusName

DEFAULT_URL = "http://127.0.0.1:8001"
_PAGE = 100
_CID = re.compile("[0-9a-f]{32}")


class Client:
    """A gateway.

    Args:
        url: its address; None = ``BASIS_URL``, else ``http://127.0.0.1:8001``.
        api_key: key of the scope that is needed; None = ``BASIS_API_KEY``, else none.
        timeout_s: for each request, seconds.

    Errors are :class:`basis.client.BasisError`, with the gateway's problem document.
    """

    def __init__(self, url: str | None = None, *, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        key = api_key or os.environ.get("BASIS_API_KEY") or None
        self._transport = Transport(url or os.environ.get("BASIS_URL") or DEFAULT_URL, key, timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # -------------------------------------------------------------------------------------------------------- runs

    def submit(
        self,
        mode: str,
        *,
        start: str | date | datetime | None = None,
        end: str | date | datetime | None = None,
        capital: float | None = None,
        share_class: str | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Run:
        """Submit a backtest.

        Args:
            mode: one of :meth:`modes`.
            start: time of the first tick, UTC unless it says otherwise; None = where the data begins.
            end: time of the last tick; None = where the data ends.
            capital: initial capital, share class; None = the share class's default.
            share_class: must be the mode's own where given.
            overrides: dotted path in the merged configuration -> value, e.g. ``{"venues.wallet.gas_price_gwei": 0}``.

        Raises:
            RefusedError: bad input; nothing was started.
        """
        body = {
            "strategy_name": mode,
            "start_date": _time(start),
            "end_date": _time(end),
            "initial_capital": capital,
            "share_class": share_class,
            "config_overrides": dict(overrides or {}),
        }
        accepted = self._transport.ask("POST", "backtest/", json=body).json()
        return Run(self._transport, accepted["correlation_id"])

    def run(self, correlation_id: str) -> Run:
        """A run by its id; asks nothing yet.

        Raises:
            RefusedError: it is no id: 32 lower-case hex digits.
        """
        if not _CID.fullmatch(correlation_id):
            raise RefusedError(f"{correlation_id!r} is no correlation_id: expected 32 lower-case hex digits")
        return Run(self._transport, correlation_id)

    def list(
        self,
        *,
        status: RunStatusName | None = None,
        strategy: str | None = None,
        text: str | None = None,
        limit: int | None = None,
    ) -> Iterator[RunSummary]:
        """Runs, newest first, page by page.

        Args:
            status: only runs that are there, e.g. ``completed``.
            strategy: only runs of this mode.
            text: what correlation_id, strategy, status or error must contain.
            limit: most runs; None = all.
        """
        after, left = None, limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            page = self._transport.get("results/", limit=size, after=after, status=status, strategy=strategy, text=text)
            for item in page["items"]:
                yield RunSummary.model_validate(item)
            after = page["next"]
            left = None if left is None else left - len(page["items"])
            if after is None:
                return

    def compare(self, a: str | Run, b: str | Run) -> Comparison:
        """Two runs side by side: metrics, configuration, and whether their events are the same."""
        ids = [run.correlation_id if isinstance(run, Run) else run for run in (a, b)]
        return Comparison.model_validate(self._transport.get("results/compare", a=ids[0], b=ids[1]))

    # ------------------------------------------------------------------------------------------------------- modes

    def modes(self) -> dict[str, dict[str, Any]]:
        """Mode -> what it is in short."""
        return {mode["mode"]: mode for mode in self._transport.get("strategies/")}

    def config(self, mode: str) -> dict[str, Any]:
        """The merged configuration of a mode, with the source of every value."""
        return dict(self._transport.get(f"strategies/{mode}/config"))

    def schema(self, mode: str) -> dict[str, Any]:
        """JSON Schema of a mode's strategy parameters."""
        return dict(self._transport.get(f"strategies/{mode}/schema"))

    def health(self) -> dict[str, Any]:
        """The gateway and every service."""
        return dict(self._transport.get("health/detailed"))


def _time(moment: str | date | datetime | None) -> str | None:
    return moment if moment is None or isinstance(moment, str) else moment.isoformat()
