"""Record the examples of the OpenAPI document: one short run, and what a real gateway answers about it.

python tools/record_examples.py      write services/gateway/src/basis/gateway/examples.json

A test holds each example to its schema; record again where it fails.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from basis.models.base import document_fields

document_fields()  # as the gateway's process does, before any model is defined
services = importlib.import_module("basis.cli.services")
gateway = importlib.import_module("basis.gateway.app")
subjects = importlib.import_module("basis.runtime.bus")
NatsServer = importlib.import_module("basis.runtime.nats_server").NatsServer
Settings = importlib.import_module("basis.runtime.settings").Settings
write_sample = importlib.import_module("basis.venues.data.sample").write_sample

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "services/gateway/src/basis/gateway/examples.json"
RUN = {"strategy_name": "eth_leveraged", "start_date": "2022-01-03", "end_date": "2022-01-10", "initial_capital": 100}
_QUERIES: dict[str, dict[str, Any]] = {
    "list_results": {"limit": 1},
    "get_result_curves": {"points": 4},
    "get_result_at": {"tick": 0},
    "list_result_orders": {"limit": 1},
    "list_result_events": {"limit": 2, "type": "orders,risk_assessments"},
    "list_result_events_of_type": {"limit": 1},
}


def trimmed(value: Any) -> Any:
    """Short enough to be read: two items of each list."""
    if isinstance(value, list):
        return [trimmed(one) for one in value[:2]]
    if isinstance(value, dict):
        return {key: trimmed(one) for key, one in value.items()}
    return value


def without_bulk(value: Any) -> Any:
    """The configuration of a run is long, and is documented elsewhere."""
    if isinstance(value, dict):
        return {
            key: dict(list(one.items())[:4])
            if key in {"config", "sources"} and isinstance(one, dict)
            else without_bulk(one)
            for key, one in value.items()
        }
    return [without_bulk(one) for one in value] if isinstance(value, list) else value


async def ended(http: httpx.AsyncClient, cid: str) -> None:
    """Wait for a run."""
    async with http.stream("GET", f"backtest/{cid}/stream") as answer:
        async for _ in answer.aiter_lines():
            pass


async def record(url: str) -> dict[str, Any]:
    """operationId -> answer."""
    async with httpx.AsyncClient(base_url=f"{url}/", timeout=60) as http:
        accepted = (await http.post("backtest/", json=RUN)).json()
        other = (await http.post("backtest/", json=RUN)).json()["correlation_id"]
        cid = accepted["correlation_id"]
        for run in (cid, other):
            await ended(http, run)
        orders = (await http.get(f"results/{cid}/orders")).json()["items"]
        names = {
            "correlation_id": cid,
            "mode": RUN["strategy_name"],
            "event_type": "orders",
            "order": orders[0]["order"],
            "operation_id": orders[0]["operation_id"],
        }
        found = {"submit_backtest": accepted}
        for path, methods in gateway.openapi_document()["paths"].items():
            operation = methods.get("get")
            if operation is None or operation["operationId"] in {"stream_backtest", "get_asyncapi"}:
                continue
            where = re.sub(r"\{(\w+)\}", lambda match: str(names[match[1]]), path.removeprefix("/api/v1/"))
            query = _QUERIES.get(operation["operationId"], {})
            if path.endswith("/compare"):
                query = {"a": cid, "b": other}
            answer = await http.get(where, params=query)
            if answer.headers["content-type"] == "application/json":
                answer.raise_for_status()
                found[operation["operationId"]] = without_bulk(trimmed(answer.json()))
        return found


async def main() -> int:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder, NatsServer() as nats:
        write_sample(Path(folder) / "sample", years=1)
        settings = Settings(
            nats_url=nats.url,
            data_dir=Path(folder) / "sample",
            logs_dir=Path(folder) / "logs",
            cache_dir=Path(folder) / "cache",
            configs_dir=ROOT / "configs",
            gateway_port=0,
        )
        async with services.running(subjects.RUN_CRITICAL, settings), gateway.running(settings) as url:
            found = await record(url)
        text = json.dumps(dict(sorted(found.items())), indent=1).replace(folder, "/srv/basis")
    TARGET.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {len(found)} examples to {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
