"""What is said on the bus, where it is kept, and within which limits: subjects, streams, buckets, headers, durations.

Subjects are ``basis.<correlation_id>.<...>``: ``nats sub 'basis.<correlation_id>.>'`` shows a whole run.
"""

from __future__ import annotations

from typing import Final

from nats.js.api import DiscardPolicy, KeyValueConfig, RetentionPolicy, StorageType, StreamConfig

ANY_RUN: Final = "*"
"""In place of a correlation_id: subscribe to all runs."""
STREAM_RUNS: Final = "RUNS"
STREAM_LIVE: Final = "LIVE"
STREAM_EVENTS: Final = "EVENTS"
KV_RUNS: Final = "runs"
KV_RESULTS: Final = "results"
KV_INTENTS: Final = "intents"
KV_LIVE_TICKS: Final = "live_ticks"
"""``<correlation_id>.<tick>`` -> what the venues said at a tick of a paper or live run."""
KV_TRADING: Final = "trading"
"""``<correlation_id>.<what>`` -> halt and daily notional of a live run."""
SERVICES: Final = ("strategy", "execution", "venues", "monitors", "event-logger", "gateway")
"""Names of the services, as in ``basis services up`` and in the compose file."""
RUN_CRITICAL: Final = SERVICES[:5]
"""Services that a run cannot do without."""

HEADER_MSG_ID: Final = "Nats-Msg-Id"
HEADER_ORDERS: Final = "Basis-Orders"
"""``first:last:count`` of an event message: the sink needs no look inside to recognise a repeat."""
HEADER_REQUEST: Final = "Basis-Request"
"""One name for a request and its repeats."""

# --------------------------------------------------------------------------------------------- limits and durations

MAX_MESSAGE_BYTES: Final = 900_000
"""Largest payload sent; the server's max_payload is 1 MiB and is never raised."""
EVENT_MESSAGE_BYTES: Final = 256_000
"""Event lines are split into messages of about this size."""
PUBLISH_WINDOW: Final = 8
"""JetStream publishes in flight at once."""
PUBLISH_TIMEOUT_S: Final = 5.0
"""Wait for a JetStream acknowledgement before publishing again under the same Nats-Msg-Id."""
RUN_ACK_WAIT_S: Final = 15.0
"""A run whose engine was silent for so long is given to another."""
RUN_HEARTBEAT_S: Final = 3.0
"""How often a running engine says so."""
RUN_MAX_DELIVER: Final = 5
"""How often a run is given to an engine before it is left to the operator."""
LIVE_ACK_WAIT_S: Final = 3.0
"""A paper or live run whose engine was silent for so long is given to another; as often as it takes."""
LIVE_HEARTBEAT_S: Final = 0.5
"""How often the engine of a paper or live run says so, to its work queue and to the venues (dead-man switch)."""
LIVE_REQUEST_S: Final = 1.0
"""How long a request of a live run waits for its reply before it is sent again."""
LIVE_TICKS_MAX_AGE_S: Final = 90 * 86_400
"""How long what the venues said at a tick is kept."""
DUPLICATE_WINDOW_S: Final = 600.0
"""JetStream refuses a Nats-Msg-Id that it saw within this time; the sink's watermarks refuse it for ever."""
EVENTS_MAX_BYTES: Final = 8 * 1024**3
"""Room for events that are not yet on disk; when full, publishing waits: nothing is dropped."""
EVENTS_MAX_AGE_S: Final = 7 * 86_400
HEALTH_TIMEOUT_S: Final = 1.0
"""Wait for a service's answer to a health request."""


def run_submit(cid: str) -> str:
    """Work queue of runs."""
    return f"basis.{cid}.run.submit"


def live_submit(cid: str) -> str:
    """Work queue of paper and live runs."""
    return f"basis.{cid}.run.live"


def live_heartbeat(cid: str) -> str:
    """Engine of a paper or live run to venues: it is there."""
    return f"basis.{cid}.heartbeat"


def venues_ready(cid: str) -> str:
    """Gateway to venues: may this paper or live run begin, and with what?"""
    return f"basis.{cid}.venues.ready"


def venues_halt(cid: str) -> str:
    """Gateway to every venues replica: no new order of this run, and cancel what is open."""
    return f"basis.{cid}.venues.halt"


def request_timeout_s(run_mode: str) -> float | None:
    """When a request of a run is sent again; None = as the settings say."""
    return None if run_mode == "backtest" else LIVE_REQUEST_S


def halt_key(cid: str) -> str:
    """Key of a run's halt in the KV bucket ``trading``."""
    return f"{cid}.halt"


def run_start(cid: str) -> str:
    """Engine to event-logger, in the event stream: open the run's directory."""
    return f"basis.{cid}.run.start"


def run_end(cid: str) -> str:
    """Engine to event-logger, in the event stream: seal the run."""
    return f"basis.{cid}.run.end"


def run_sealed(cid: str) -> str:
    """Event-logger to engine, in the event stream: the run is on disk."""
    return f"basis.{cid}.run.sealed"


def venues_coverage(cid: str) -> str:
    """Gateway to venues: can the data feed this run?"""
    return f"basis.{cid}.venues.coverage"


def venues_advance(cid: str) -> str:
    """Engine to venues: the next window."""
    return f"basis.{cid}.venues.advance"


def venues_execute(cid: str) -> str:
    """Execution to venues: one order or atomic group."""
    return f"basis.{cid}.venues.execute"


def venues_positions(cid: str) -> str:
    """Execution to venues: balances."""
    return f"basis.{cid}.venues.positions"


def monitors_assess(cid: str) -> str:
    """Engine to monitors: what does the window mean?"""
    return f"basis.{cid}.monitors.assess"


def monitors_commit(cid: str) -> str:
    """Engine to monitors: these ticks happened."""
    return f"basis.{cid}.monitors.commit"


def monitors_reconcile(cid: str) -> str:
    """Execution to monitors: apply and compare."""
    return f"basis.{cid}.monitors.reconcile"


def orders(cid: str) -> str:
    """Engine to execution: the orders of a tick."""
    return f"basis.{cid}.orders"


def handshakes(cid: str) -> str:
    """Execution to observers: handshakes as they come."""
    return f"basis.{cid}.handshakes"


def events(cid: str, event_type: str) -> str:
    """Events of one type, durable."""
    return f"basis.{cid}.events.{event_type}"


def logs(cid: str, component: str) -> str:
    """Log lines of one component, durable."""
    return f"basis.{cid}.logs.{component}"


def directory_remove(cid: str) -> str:
    """Gateway to event-logger, the only one that writes logs: take the run's directory away."""
    return f"basis.{cid}.directory.remove"


def progress(cid: str) -> str:
    """Engine to gateway and command line."""
    return f"basis.{cid}.progress"


def control(cid: str) -> str:
    """Gateway and event-logger to engine."""
    return f"basis.{cid}.control"


def health(service: str) -> str:
    """Any replica of a service; outside ``basis.`` because it belongs to no run."""
    return f"basis_health.{service}"


STREAMS = (
    StreamConfig(
        name=STREAM_RUNS,
        subjects=[run_submit(ANY_RUN)],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        max_bytes=64 * 1024**2,
        discard=DiscardPolicy.NEW,
        duplicate_window=DUPLICATE_WINDOW_S,
    ),
    StreamConfig(
        name=STREAM_LIVE,
        subjects=[live_submit(ANY_RUN)],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        max_bytes=16 * 1024**2,
        discard=DiscardPolicy.NEW,
        duplicate_window=DUPLICATE_WINDOW_S,
    ),
    StreamConfig(
        name=STREAM_EVENTS,
        subjects=[
            events(ANY_RUN, ">"),
            logs(ANY_RUN, ">"),
            run_start(ANY_RUN),
            run_end(ANY_RUN),
            run_sealed(ANY_RUN),
        ],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_bytes=EVENTS_MAX_BYTES,
        max_age=EVENTS_MAX_AGE_S,
        discard=DiscardPolicy.NEW,
        duplicate_window=DUPLICATE_WINDOW_S,
    ),
)
BUCKETS = (
    KeyValueConfig(bucket=KV_RUNS, history=1, storage=StorageType.FILE, max_bytes=64 * 1024**2),
    KeyValueConfig(bucket=KV_RESULTS, history=1, storage=StorageType.FILE, max_bytes=64 * 1024**2),
    KeyValueConfig(bucket=KV_INTENTS, history=1, storage=StorageType.FILE, max_bytes=64 * 1024**2),
)
LIVE_BUCKETS = {
    KV_TRADING: KeyValueConfig(bucket=KV_TRADING, history=1, storage=StorageType.FILE, max_bytes=16 * 1024**2),
    KV_LIVE_TICKS: KeyValueConfig(
        bucket=KV_LIVE_TICKS,
        history=1,
        storage=StorageType.FILE,
        max_bytes=512 * 1024**2,
        ttl=LIVE_TICKS_MAX_AGE_S,
    ),
}
"""Made when a paper or live run first needs them: a backtest need not wait for them."""
