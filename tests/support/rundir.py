"""Run directories written by hand, line by line as the event-logger does: for what real runs do not come to."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from basis.models.events import ATTRIBUTION
from basis.models.messages import FileSeal, RunMetadata
from basis.results.directories import METADATA, RunDir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CID = "0123456789abcdef0123456789abcdef"
PID = 7
START = datetime(2024, 5, 12, tzinfo=UTC)
SPAN = 1_000_000
KEYS = ("wallet:BaseToken:USDT", "aave_v3:aToken:aUSDT")


def event(tick: int, phase: int, **fields: Any) -> dict[str, Any]:
    """An event line's fields."""
    return {
        "correlation_id": CID,
        "pid": PID,
        "real_utc_time": "2026-01-01T00:00:00.000000+00:00",
        "order": tick * SPAN + phase * 10_000,
        "timestamp": (START + timedelta(hours=tick)).isoformat(),
        **fields,
    }


def tick_events(tick: int, equity: float, capital: float, usd: float = 1.0) -> dict[str, dict[str, Any]]:
    """The four events of a tick's state, and its decision."""
    return {
        "positions": event(
            tick,
            10,
            positions={KEYS[0]: equity, KEYS[1]: 0.0},
            total_value_usd=equity * usd,
            position_type="portfolio",
            trigger_source="tick",
        ),
        "exposures": event(
            tick,
            20,
            net_delta_usd=0.0,
            asset_exposures={"USDT": {"quantity": equity, "usd_value": equity * usd, "percentage": 1.0}},
            total_value_usd=equity * usd,
            share_class_value=equity,
        ),
        "risk_assessments": event(
            tick,
            30,
            health_factor=None,
            ltv_ratio=None,
            liquidation_threshold=None,
            margin_usage=None,
            risk_level="low",
            warnings=[],
            breaches=[],
        ),
        "pnl_calculations": event(
            tick,
            40,
            realized_pnl=0.0,
            unrealized_pnl=equity - capital,
            total_pnl=equity - capital,
            fees_paid=0.0,
            funding_received=0.0,
            pnl_by_venue={"wallet": equity - capital},
            pnl_by_asset={"USDT": equity - capital},
            attribution={cause: (equity - capital if cause == "supply" else 0.0) for cause in ATTRIBUTION},
            attribution_gap=0.0,
        ),
        "strategy_decisions": event(
            tick,
            50,
            decision_type="hold",
            trigger_source="none",
            orders_generated=0,
            action_taken="hold",
            reasoning="nothing to do",
            market_conditions={},
            portfolio_state={},
            risk_level="low",
            constraints_violated=[],
        ),
    }


def flow(tick: int, amount: float) -> dict[str, Any]:
    """A deposit, or a withdrawal where negative."""
    return event(
        tick,
        5,
        source_operation_id=f"{CID}-{tick:08}-s00",
        operation_type="deposit",
        deltas=[{"instrument_key": KEYS[0], "delta_amount": amount, "source": "deposit", "price": 1.0, "fee": 0.0}],
        postings=[
            {"account": KEYS[0], "token": "USDT", "amount": amount},
            {"account": "client", "token": "USDT", "amount": -amount},
        ],
    )


def write_run(
    root: Path,
    equity: Sequence[float],
    flows: Mapping[int, float] | None = None,
    *,
    sealed: bool = True,
    extra: Mapping[str, Sequence[dict[str, Any]]] | None = None,
    **fields: Any,
) -> RunDir:
    """A run with an equity at each tick.

    Args:
        root: log root.
        equity: share class (USDT), one a tick.
        flows: tick -> deposit at that tick.
        sealed: with the hashes of its files.
        extra: event type -> further events.
        **fields: further fields of the metadata.
    """
    paid = dict(flows or {})
    lines: dict[str, list[dict[str, Any]]] = {}
    capital = float(fields.get("initial_capital", 1000.0))
    for tick, value in enumerate(equity):
        capital += paid.get(tick, 0.0)
        for name, found in tick_events(tick, value, capital).items():
            lines.setdefault(name, []).append(found)
        if tick in paid:
            lines.setdefault("execution_deltas", []).append(flow(tick, paid[tick]))
    for name, more in (extra or {}).items():
        lines.setdefault(name, []).extend(more)
    run = RunDir(CID, PID, root / CID / str(PID))
    run.events.mkdir(parents=True)
    for name, found_lines in lines.items():
        ordered = sorted(found_lines, key=lambda one: int(one["order"]))
        run.event_file(name).write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in ordered))
    write_metadata(run, len(equity), sealed=sealed, **fields)
    return run


def write_metadata(run: RunDir, ticks: int, *, sealed: bool = True, **fields: Any) -> None:
    """``run_metadata.json`` for what is in the directory."""
    end = START + timedelta(hours=max(ticks - 1, 1))
    values: dict[str, Any] = {
        "correlation_id": run.correlation_id,
        "pid": run.pid,
        "mode": "backtest",
        "strategy": "hand_made",
        "initial_capital": 1000.0,
        "share_class": "USDT",
        "config": {
            "time_step_s": 3600,
            "target_apy": 0.05,
            "max_drawdown": 0.01,
            "risk": {"hf_warn": 1.25, "hf_breach": 1.1},
        },
        "config_sha256": "1" * 64,
        "data_path": "/data",
        "data_sha256": "2" * 64,
        "code_version": "0.1.0",
        "start_time": START,
        "end_time": end,
        "started_at": "2026-01-01T00:00:00Z",
        "status": "completed" if sealed else "running",
    }
    if sealed:
        seals = {}
        for path in sorted(run.events.glob("*.jsonl")):
            content = path.read_bytes()
            seals[f"events/{path.name}"] = FileSeal(
                count=content.count(b"\n"), bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
            )
        values |= {
            "ticks": ticks,
            "counts": {name.removeprefix("events/").removesuffix(".jsonl"): seal.count for name, seal in seals.items()},
            "files": seals,
            "event_hash": "3" * 64,
            "ended_at": "2026-01-01T00:00:10Z",
            "sealed_at": "2026-01-01T00:00:11Z",
        }
    metadata = RunMetadata.model_validate(values | fields)
    (run.path / METADATA).write_bytes(metadata.model_dump_json().encode())
