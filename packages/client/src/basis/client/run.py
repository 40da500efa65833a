"""One run: where it is, what it came to, and its log."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from basis.client import frames
from basis.client.errors import RunFailedError, UnavailableError
from basis.models.messages import RunStatus
from basis.results.models import Moment, OrderDetail, PnlAnswer, RunReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    import polars as pl

    from basis.client.transport import Transport

_ENDED = frozenset({"completed", "failed", "cancelled"})
_PAGE_TICKS = 5_000
_PAGE = 500
_RECONNECTS = 5


class Run:
    """A run of a gateway; made by :meth:`Client.submit` and :meth:`Client.run`.

    Args:
        transport: to the gateway.
        correlation_id: the run.
    """

    def __init__(self, transport: Transport, correlation_id: str) -> None:
        self._transport = transport
        self.correlation_id = correlation_id
        """32 hex digits."""

    def __repr__(self) -> str:
        return f"Run({self.correlation_id!r})"

    # ------------------------------------------------------------------------------------------------- where it is

    def status(self) -> RunStatus:
        """Where it is."""
        return RunStatus.model_validate(self._transport.get(f"backtest/{self.correlation_id}/status"))

    def follow(self) -> Iterator[RunStatus]:
        """Its status as it changes, until it has ended."""
        lost = 0
        while True:
            try:
                for status in self._progress():
                    lost = 0
                    yield status
                    if status.status in _ENDED:
                        return
            except UnavailableError:
                lost += 1
                if lost > _RECONNECTS:
                    raise
            time.sleep(0.2 * (lost + 1))  # the stream ended before the run: the gateway was restarted

    def _progress(self) -> Iterator[RunStatus]:
        with self._transport.stream(f"backtest/{self.correlation_id}/stream") as answer:
            name = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: ") and name == "progress":
                    yield RunStatus.model_validate(json.loads(line.removeprefix("data: ")))

    def wait(
        self,
        on_progress: Callable[[RunStatus], object] | None = None,
        *,
        timeout_s: float | None = None,
        check: bool = True,
    ) -> RunReport:
        """Wait until it has ended.

        Args:
            on_progress: called with each status.
            timeout_s: longest wait, seconds; the run goes on.
            check: raise where it did not complete.

        Raises:
            TimeoutError: it has not ended in time.
            RunFailedError: it failed or was cancelled, and ``check`` is true.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for status in self.follow():
            if on_progress is not None:
                on_progress(status)
            if status.status in _ENDED:
                if check and status.status != "completed":
                    raise RunFailedError(status)
                break
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"run {self.correlation_id} is at {status.progress:.0%} after {timeout_s:g} s")
        return self.report()

    def cancel(self) -> RunStatus:
        """Ask for its end: at once where it is queued, at its next window where it runs; an ended one stays as it is."""
        return RunStatus.model_validate(self._transport.ask("DELETE", f"backtest/{self.correlation_id}").json())

    def deposit(self, amount: float, *, request_id: str | None = None) -> dict[str, Any]:
        """Put capital in while it runs, from its next tick on.

        Args:
            amount: share class, above 0.
            request_id: your own id: asked again under it, it counts once; None = a new one.

        Returns:
            What is on record: ``tick`` and ``time`` at which it takes effect.

        Raises:
            ConflictError: the run is not under way.
        """
        return self._move("deposit", amount, request_id)

    def withdraw(self, amount: float, *, request_id: str | None = None) -> dict[str, Any]:
        """Take capital out while it runs: free balance first, else unwound 1:1. As :meth:`deposit`."""
        return self._move("withdraw", amount, request_id)

    def _move(self, what: str, amount: float, request_id: str | None) -> dict[str, Any]:
        body = {"amount": amount, "request_id": request_id}
        return dict(self._transport.ask("POST", f"capital/{self.correlation_id}/{what}", json=body).json())

    def delete(self) -> None:
        """Take it away, log and all.

        Raises:
            ConflictError: it has not ended.
        """
        self._transport.ask("DELETE", self._path(""))

    # --------------------------------------------------------------------------------------------- what it came to

    def report(self) -> RunReport:
        """Metrics, costs, attribution, configuration, and which curves there are."""
        return RunReport.model_validate(self._transport.get(self._path("")))

    def pnl(self) -> PnlAnswer:
        """PnL by cause, venue, asset and day."""
        return PnlAnswer.model_validate(self._transport.get(self._path("/pnl")))

    def at(self, tick: int) -> Moment:
        """The state at a tick, after its orders."""
        return Moment.model_validate(self._transport.get(self._path("/at"), tick=tick))

    @overload
    def curves(self, *columns: str, points: int | None = None, frame: Literal["polars"] = "polars") -> pl.DataFrame: ...

    @overload
    def curves(self, *columns: str, points: int | None = None, frame: Literal["pandas"]) -> pd.DataFrame: ...

    def curves(
        self, *columns: str, points: int | None = None, frame: frames.Kind = "polars"
    ) -> pl.DataFrame | pd.DataFrame:
        """Curves over the ticks of the run: columns ``tick``, ``time`` (UTC), and one each.

        Args:
            *columns: names of :attr:`RunReport.columns`, e.g. ``equity``, ``drawdown``, ``attribution.gas``; none = equity
                and drawdown.
            points: every tick where None; else about so many that draw the same picture (M4), at most 5,000.
            frame: polars or pandas.
        """
        names = ",".join(columns or ("equity", "drawdown"))
        if points is not None:
            answers = [self._transport.get(self._path("/curves"), columns=names, points=points)]
        else:
            answers = list(self._every_tick(names))
        return _framed(frames.curves(answers), frame)

    def _every_tick(self, names: str) -> Iterator[Any]:
        first, total = 0, 1
        while first < total:
            last = first + _PAGE_TICKS - 1
            path = self._path("/curves")
            found = self._transport.get(path, columns=names, start_tick=first, end_tick=last, points=_PAGE_TICKS)
            assert found["method"] == "raw", "a page holds every tick"
            yield found
            first, total = found["last_tick"] + 1, found["total_ticks"]

    # -------------------------------------------------------------------------------------------------- what it did

    @overload
    def orders(self, frame: Literal["polars"] = "polars") -> pl.DataFrame: ...

    @overload
    def orders(self, frame: Literal["pandas"]) -> pd.DataFrame: ...

    def orders(self, frame: frames.Kind = "polars") -> pl.DataFrame | pd.DataFrame:
        """Every order with what became of it: a row each; deltas, execution details and reconciliation as JSON text."""
        rows = [_flat(row) for row in self._pages("/orders")]
        return _framed(frames.records(rows), frame)

    def order(self, operation_id: str) -> OrderDetail:
        """One order, with every event that carries its operation."""
        return OrderDetail.model_validate(self._transport.get(self._path(f"/orders/{operation_id}")))

    @overload
    def events(self, event_type: str, *, text: str = "", frame: Literal["polars"] = "polars") -> pl.DataFrame: ...

    @overload
    def events(self, event_type: str, *, text: str = "", frame: Literal["pandas"]) -> pd.DataFrame: ...

    def events(self, event_type: str, *, text: str = "", frame: frames.Kind = "polars") -> pl.DataFrame | pd.DataFrame:
        """Events of one type, a row each; maps and lists as JSON text.

        Args:
            event_type: e.g. ``strategy_decisions``; all of them: docs/reference/events.md.
            text: only events whose line contains it.
            frame: polars or pandas.
        """
        rows = [_flat(row) for row in self.iter_events(event_type, text=text)]
        return _framed(frames.records(rows), frame)

    def iter_events(self, event_type: str, *, text: str = "") -> Iterator[dict[str, Any]]:
        """Events of one type as they are on disk, page by page."""
        return self._pages(f"/events/{event_type}", text=text)

    def _pages(self, what: str, **query: Any) -> Iterator[dict[str, Any]]:
        after: int | None = None
        while True:
            page = self._transport.get(self._path(what), after=after, limit=_PAGE, **query)
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    # ------------------------------------------------------------------------------------------------------- files

    def export(self, target: str | Path) -> Path:
        """Write its zip (log, summary, curves and attribution as Parquet).

        Args:
            target: file, or folder for ``<correlation_id>.zip``.
        """
        return self._download("/export", Path(target), ".zip")

    def tearsheet(self, target: str | Path) -> Path:
        """Write its tearsheet: one HTML file that needs nothing else."""
        return self._download("/tearsheet", Path(target), ".html")

    def _download(self, what: str, target: Path, suffix: str) -> Path:
        if target.is_dir():
            target /= f"{self.correlation_id}{suffix}"
        part = target.with_name(f"{target.name}.part")
        try:
            with self._transport.stream(self._path(what)) as answer, part.open("wb") as file:
                for piece in answer.iter_bytes():
                    file.write(piece)
            part.replace(target)  # whole, or not there
        finally:
            part.unlink(missing_ok=True)
        return target

    def _path(self, what: str) -> str:
        return f"results/{self.correlation_id}{what}"


def _framed(frame: pl.DataFrame, kind: frames.Kind) -> pl.DataFrame | pd.DataFrame:
    return frame if kind == "polars" else frames.as_pandas(frame)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table: keys of maps differ from row to row, so a map is text."""
    return {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in row.items()}
