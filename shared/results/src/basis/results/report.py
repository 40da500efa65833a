"""The report of a run: everything that its page begins with, from metadata, equity and the events of its operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from basis.models.events import ATTRIBUTION, EVENT_MODELS
from basis.models.events.base import TICK_SPAN
from basis.results import curves, extract
from basis.results.core import columns, ledger, metrics
from basis.results.lines import EventFile, order_of
from basis.results.models import Costs, Derived, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from basis.models.messages import RunMetadata
    from basis.results.cache import ColumnCache
    from basis.results.directories import RunDir
    from basis.results.models import Metrics, RunSummary

_COUNTED_BYTES: Final = 8 * 1024**2
"""Event files of an unsealed run are counted line by line up to this size, estimated from their first lines beyond."""


def build(cache: ColumnCache, run: RunDir, metadata: RunMetadata, summary: RunSummary) -> RunReport:
    """The report of a run, whether it has ended or not.

    Raises:
        ComponentError: LOG-004, the log is damaged; names the file.
    """
    last = last_event(run, "pnl_calculations") or {}
    attribution = dict(last.get("attribution") or {})
    result = metadata.result
    found = cache.derived(run, metadata, lambda: derive(cache, run, metadata))
    costs = {kind: 0.0 - attribution.get(kind, 0.0) for kind in ("fees", "gas", "slippage")}
    return RunReport(
        **summary.model_dump(),
        metrics=found.metrics,
        costs=Costs(**costs, total=sum(costs.values()), by_venue=found.paid),
        funding=attribution.get("funding", 0.0),
        attribution=attribution,
        attribution_gap=last.get("attribution_gap"),
        orders_by_type=found.orders_by_type if result is None else result.orders_by_type,
        failed_orders=found.failed_orders if result is None else result.failed_orders,
        counts=metadata.counts or count_events(run),
        final_positions=(last_event(run, "positions") or {}).get("positions", {}),
        net_flows=found.net_flows,
        config=metadata.config,
        config_sha256=metadata.config_sha256,
        data_path=metadata.data_path,
        data_sha256=metadata.data_sha256,
        data_notes=metadata.data_notes,
        code_version=metadata.code_version,
        sealed=metadata.sealed_at is not None,
        columns=curves.available(run, metadata),
        triggers=columns.triggers(metadata.config),
    )


def derive(cache: ColumnCache, run: RunDir, metadata: RunMetadata) -> Derived:
    """What takes reading the events: metrics, who was paid, orders, flows.

    Raises:
        ComponentError: LOG-004, the log is damaged; names the file.
    """
    deltas = list(_events(run, "execution_deltas"))
    executions = list(_events(run, "operation_executions"))
    by_type, failed = _orders(executions)
    return Derived(
        metrics=_metrics(cache, run, metadata, deltas, executions),
        paid=ledger.paid(deltas),
        orders_by_type=by_type,
        failed_orders=failed,
        net_flows=_net_flows(cache, run, metadata),
    )


def frame_of(metadata: RunMetadata) -> metrics.Frame:
    """Period, capital and targets of a run."""
    config = metadata.config
    apy, fall = config.get("target_apy"), config.get("max_drawdown")
    return metrics.Frame(
        metadata.start_time,
        curves.time_step_s(config),
        metadata.initial_capital,
        apy if isinstance(apy, int | float) else None,
        fall if isinstance(fall, int | float) else None,
    )


def curve_of(cache: ColumnCache, run: RunDir, metadata: RunMetadata) -> metrics.Curve | None:
    """Equity, capital and value in USD of every tick on disk; None where there is none."""
    frame = cache.get(run, metadata, "equity")
    if not frame.height:
        return None
    equity, capital, usd = (frame[name].to_numpy() for name in ("equity", "capital", "total_value_usd"))
    return metrics.Curve(frame[extract.TICK].to_numpy(), equity, capital, usd)


def _metrics(
    cache: ColumnCache,
    run: RunDir,
    metadata: RunMetadata,
    deltas: list[dict[str, Any]],
    executions: list[dict[str, Any]],
) -> Metrics | None:
    curve = curve_of(cache, run, metadata)
    if curve is None:
        return None
    changes = (
        (event["order"] // TICK_SPAN, {delta["instrument_key"]: delta["delta_amount"] for delta in event["deltas"]})
        for event in deltas
    )
    ticks = int(curve.ticks[-1]) + 1
    held = ledger.ticks_in_market(changes, metadata.share_class, ticks)
    traded = ledger.traded_value(executions, ledger.delta_prices(deltas))
    return metrics.compute(curve, frame_of(metadata), traded, held / ticks)


def _net_flows(cache: ColumnCache, run: RunDir, metadata: RunMetadata) -> float:
    capital = cache.get(run, metadata, "equity")["capital"].to_numpy()
    return float(capital[-1] - metadata.initial_capital) if len(capital) else 0.0


def _orders(executions: list[dict[str, Any]]) -> tuple[dict[str, int], int]:
    confirmed: dict[str, int] = {}
    failed = 0
    for event in executions:
        if event["status"] == "confirmed":
            confirmed[event["operation_type"]] = confirmed.get(event["operation_type"], 0) + 1
        else:
            failed += 1
    return confirmed, failed


def _events(run: RunDir, event_type: str) -> Iterator[dict[str, Any]]:
    with EventFile(run.event_file(event_type)) as file:
        for line in file.lines():
            yield file.parse(line)


def last_event(run: RunDir, event_type: str) -> dict[str, Any] | None:
    """Last event of a type; None where there is none."""
    with EventFile(run.event_file(event_type)) as file:
        line = file.last()
        return file.parse(line) if line else None


def last_tick(run: RunDir) -> int | None:
    """Last tick on disk; None where there is none."""
    with EventFile(run.event_file("exposures")) as file:
        line = file.last()
        return order_of(line, file.path) // TICK_SPAN if line else None


def count_events(run: RunDir) -> dict[str, int]:
    """Event type -> lines so far; large files are estimated from the length of some of their lines."""
    counts = {}
    for name in EVENT_MODELS:
        with EventFile(run.event_file(name)) as file:
            if file.size > _COUNTED_BYTES:
                lengths = [len(line) for line in file.sample(32)]
                counts[name] = round(file.size / (sum(lengths) / len(lengths)))
            elif file.size:
                counts[name] = sum(block.count(b"\n") for block in file.blocks())
    return counts


def daily(cache: ColumnCache, run: RunDir, metadata: RunMetadata) -> list[Mapping[str, Any]]:
    """Equity, PnL and attribution of each UTC day."""
    curve = curve_of(cache, run, metadata)
    if curve is None:
        return []
    names = [f"attribution.{cause}" for cause in ATTRIBUTION]
    table = curves.read(cache, run, metadata, ["pnl", *names])
    length = min(len(curve.ticks), len(table.ticks))
    if not length:
        return []
    frame = frame_of(metadata)
    cut = metrics.Curve(curve.ticks[:length], curve.equity[:length], curve.capital[:length], curve.value_usd[:length])
    places = metrics.last_of_days(cut, frame)
    earned = {name: np.diff(values[places], prepend=0.0) for name, values in table.columns.items()}
    return [
        {
            "date": metrics.time_of(frame, int(cut.ticks[place])).date().isoformat(),
            "equity": float(cut.equity[place]),
            "pnl": float(earned["pnl"][number]),
            "attribution": {name.partition(".")[2]: float(earned[name][number]) for name in names},
        }
        for number, place in enumerate(places.tolist())
    ]
