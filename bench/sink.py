"""Event sink throughput: JetStream to JSONL on disk, events a second.

Usage: ``python bench/sink.py [--events 1000000] [--fsync] [--prefilled]``. Prefilled puts all events into the stream
first and times the sink alone; else producer, server and sink run at once in two processes and a half.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from basis.event_logger.service import serve
from basis.models.events.base import Phase, tick_keys
from basis.models.messages import RunEnd, RunSealed, RunStart
from basis.runtime import codec, subjects
from basis.runtime.bus import Bus, StreamMessage
from basis.runtime.clock import SystemClock, new_correlation_id
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.settings import Settings
from basis.testkit.nats import NatsServer

COMMIT_TICKS = 500
"""Ticks whose events are published together; their events of one type make one message."""
PHASES = {
    "positions": Phase.POSITION,
    "exposures": Phase.EXPOSURE,
    "risk_assessments": Phase.RISK,
    "pnl_calculations": Phase.PNL,
    "strategy_decisions": Phase.DECISION,
}
NOW = datetime(2024, 5, 12, tzinfo=UTC)


def messages(cid: str, events: int) -> list[StreamMessage]:
    """Event messages as a backtest publishes them: five events a tick of about 500 bytes each, in sequence."""
    ticks = events // len(PHASES)
    found: list[StreamMessage] = []
    for begin in range(0, ticks, COMMIT_TICKS):
        count = min(COMMIT_TICKS, ticks - begin)
        logger = DomainEventLogger(cid, 4711, NOW)
        values = np.arange(begin, begin + count) * 1.2345678
        for name, phase in PHASES.items():
            logger.write_columns(
                name, tick_keys(begin, count, phase), ["2024-05-12T00:00:00+00:00"] * count, _fields(name, values)
            )
        found += logger.stream_messages(logger.drain())
    return found


def _fields(name: str, values: np.ndarray[Any, Any]) -> dict[str, object]:
    keys = {f"binance:Perp:KEY{number:02d}USDT": values * number for number in range(10)}
    match name:
        case "positions":
            return {
                "positions": keys, "total_value_usd": values, "position_type": "simulated", "trigger_source": "tick",
            }  # fmt: skip
        case "exposures":
            nested = {"quantity": values, "usd_value": values, "percentage": values}
            return {
                "net_delta_usd": values, "asset_exposures": {"BTC": nested, "ETH": nested, "USDT": nested},
                "total_value_usd": values, "share_class_value": values,
            }  # fmt: skip
        case "risk_assessments":
            return {
                "health_factor": values, "ltv_ratio": values, "liquidation_threshold": values, "margin_usage": values,
                "risk_level": "low", "warnings": ["a" * 80], "breaches": [],
            }  # fmt: skip
        case "pnl_calculations":
            return {
                "realized_pnl": values, "unrealized_pnl": values, "total_pnl": values, "fees_paid": values,
                "funding_received": values, "pnl_by_venue": keys, "pnl_by_asset": {}, "attribution": {"basis": values},
                "attribution_gap": 0.0,
            }  # fmt: skip
        case _:
            return {
                "decision_type": "hold", "trigger_source": "tick", "orders_generated": 0, "action_taken": "none",
                "reasoning": "nothing to do", "market_conditions": keys, "portfolio_state": {"equity": values},
                "risk_level": "low", "constraints_violated": [],
            }  # fmt: skip


async def publish(bus: Bus, cid: str, found: list[StreamMessage], events: int) -> None:
    """A whole run into the stream."""
    start = RunStart(
        correlation_id=cid, pid=4711, mode="backtest", strategy="bench", initial_capital=1e5, share_class="USDT",
        config={}, config_sha256="0" * 64, data_path="none", data_sha256="0" * 64, code_version="bench",
        start_time=NOW, end_time=NOW, started_at=NOW,
    )  # fmt: skip
    ticks = events // len(PHASES)
    end = RunEnd(
        correlation_id=cid, pid=4711, status="completed", last_tick=ticks - 1, timestamp=NOW, ticks=ticks,
        counts=dict.fromkeys(PHASES, ticks), ended_at=NOW,
    )  # fmt: skip
    for subject, model in ((subjects.run_start(cid), start), (subjects.run_end(cid), end)):
        if model is end:
            await bus.publish_stream(found)
        header = {subjects.HEADER_MSG_ID: subject}
        await bus.publish_stream([StreamMessage(subject, codec.encode(model), header)])


async def bench(arguments: argparse.Namespace, directory: Path) -> dict[str, object]:
    """One run through the sink."""
    with NatsServer(directory / "nats") as server:
        settings = Settings(nats_url=server.url, logs_dir=directory / "logs", fsync=arguments.fsync)
        producer, consumer = Bus(settings, "bench"), Bus(settings, "event-logger")
        await producer.connect()
        cid = new_correlation_id()
        found = messages(cid, arguments.events)
        sealed: asyncio.Future[RunSealed] = asyncio.get_running_loop().create_future()

        async def heard(message: object) -> None:
            sealed.set_result(codec.decode(message.data, RunSealed))  # type: ignore[attr-defined]

        await producer.client.subscribe(subjects.run_sealed(cid), cb=heard)
        if arguments.prefilled:
            await publish(producer, cid, found, arguments.events)
        began = time.perf_counter()
        sink = await serve(consumer, settings, SystemClock())
        if not arguments.prefilled:
            await publish(producer, cid, found, arguments.events)
        published = time.perf_counter() - began
        folder = directory / "logs" / cid / "4711" / "events"
        size = sum(len(message.payload) for message in found)
        while sum(path.stat().st_size for path in folder.glob("*.jsonl")) < size:  # noqa: ASYNC110 - nothing to wait for
            await asyncio.sleep(0.002)
        on_disk = time.perf_counter() - began
        result = await sealed
        took = time.perf_counter() - began
        await sink.stop()
        await consumer.stop()
        await producer.stop()
    assert sum(result.counts[name] for name in PHASES) == arguments.events and result.error is None, result
    return {
        "events": arguments.events,
        "bytes": size,
        "fsync": arguments.fsync,
        "prefilled": arguments.prefilled,
        "publish_s": round(published, 3),
        "on_disk_s": round(on_disk, 3),
        "seal_s": round(took - on_disk, 3),
        "events_per_s": round(arguments.events / on_disk),
        "sealed_events_per_s": round(arguments.events / took),
    }


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("--prefilled", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="basis-bench-") as directory:
        print(json.dumps(asyncio.run(bench(arguments, Path(directory)))))


if __name__ == "__main__":
    main()
