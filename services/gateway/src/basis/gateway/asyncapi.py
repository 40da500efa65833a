"""The AsyncAPI document of the bus: every subject of ``basis.runtime.subjects``, who sends what to whom, and the schemas."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic.json_schema import models_json_schema

from basis.models import messages
from basis.models.events import EVENT_MODELS
from basis.models.execution import ExecutionHandshake
from basis.runtime import packing, subjects
from basis.runtime.structured_logger import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

_MSGPACK, _JSON, _NDJSON = "application/msgpack", "application/json", "application/x-ndjson"
_RUN = "{correlation_id}"
_REF = "#/components/schemas/{model}"


class Channel(NamedTuple):
    """One subject."""

    name: str
    """Key in the document."""
    address: str
    """Subject, with parameters in braces."""
    kind: str
    """``request`` (queue group, answered), ``work queue``, ``stream`` (durable), ``core`` (told to whoever listens)."""
    sender: str
    receivers: str
    content: str
    """Media type."""
    models: tuple[type[BaseModel], ...]
    """Payload; one of them where there are several."""
    what: str
    """In a sentence."""
    reply: type[BaseModel] | None = None
    """Body of the reply's envelope."""


def channels() -> Sequence[Channel]:
    """Every subject, in the order in which a run uses them."""
    request, stream = "request", "stream"
    return (
        Channel("venues.coverage", subjects.venues_coverage(_RUN), request, "gateway, command line", "venues", _MSGPACK,
                (messages.CoverageRequest,), "Can the data feed this run? Asked before it is accepted.", messages.CoverageReply),
        Channel("run.submit", subjects.run_submit(_RUN), "work queue", "gateway, command line", "strategy", _MSGPACK,
                (messages.RunSubmit,), "A run to be done; acknowledged when it has ended."),
        Channel("venues.ready", subjects.venues_ready(_RUN), request, "gateway", "venues", _MSGPACK,
                (messages.ReadyRequest,), "May this paper or live run begin, and with what?", messages.ReadyReply),
        Channel("run.live", subjects.live_submit(_RUN), "live work queue", "gateway", "strategy", _MSGPACK,
                (messages.RunSubmit,), "A paper or live run to be done; given to another engine as often as it takes."),
        Channel("heartbeat", subjects.live_heartbeat(_RUN), "core", "strategy", "venues", _MSGPACK,
                (), "The engine of a paper or live run is there (dead-man switch)."),
        Channel("venues.halt", subjects.venues_halt(_RUN), request, "gateway", "venues", _MSGPACK,
                (messages.Halt,), "No new order of this live run, and cancel what is open.", messages.HaltReply),
        Channel("run.start", subjects.run_start(_RUN), stream, "strategy", "event-logger", _MSGPACK,
                (messages.RunStart,), "Open the run's directory."),
        Channel("venues.advance", subjects.venues_advance(_RUN), request, "strategy", "venues", _MSGPACK,
                (messages.AdvanceRequest,), "Settle and report the next ticks.", messages.AdvanceReply),
        Channel("monitors.assess", subjects.monitors_assess(_RUN), request, "strategy", "monitors", _MSGPACK,
                (messages.AssessRequest,), "What do these ticks mean?", messages.AssessReply),
        Channel("monitors.commit", subjects.monitors_commit(_RUN), request, "strategy", "monitors", _MSGPACK,
                (messages.CommitRequest,), "These ticks happened: publish their events.", messages.CommitReply),
        Channel("orders", subjects.orders(_RUN), request, "strategy", "execution", _MSGPACK,
                (messages.OrdersRequest,), "All orders of one tick.", messages.OrdersReply),
        Channel("venues.execute", subjects.venues_execute(_RUN), request, "execution", "venues", _MSGPACK,
                (messages.ExecuteRequest,), "One order, or one atomic group.", messages.ExecuteReply),
        Channel("venues.positions", subjects.venues_positions(_RUN), request, "execution", "venues", _MSGPACK,
                (messages.PositionsRequest,), "What do you hold?", messages.PositionsReply),
        Channel("monitors.reconcile", subjects.monitors_reconcile(_RUN), request, "execution", "monitors", _MSGPACK,
                (messages.ReconcileRequest,), "Apply these handshakes once, and compare.", messages.ReconcileReply),
        Channel("handshakes", subjects.handshakes(_RUN), "core", "execution", "observers", _JSON,
                (ExecutionHandshake,), "What became of an order, as it comes."),
        Channel("events", subjects.events(_RUN, "{event_type}"), stream, "strategy, execution, monitors",
                "event-logger, observers", _NDJSON, tuple(EVENT_MODELS.values()),
                "Complete lines of one event type; the schema is of one line."),
        Channel("logs", subjects.logs(_RUN, "{component}"), stream, "gateway, command line, strategy, execution, monitors",
                "event-logger, observers", _NDJSON, (), "Complete lines of one component log."),
        Channel("progress", subjects.progress(_RUN), "core", "strategy, gateway", "gateway, command line, observers", _JSON,
                (messages.RunStatus,), "Where the run is."),
        Channel("control", subjects.control(_RUN), request, "gateway, event-logger", "strategy", _MSGPACK,
                (messages.Control,), "Do as told, before the next window; every engine hears it, the run's own answers."),
        Channel("run.end", subjects.run_end(_RUN), stream, "strategy", "event-logger", _MSGPACK,
                (messages.RunEnd,), "Seal the run."),
        Channel("run.sealed", subjects.run_sealed(_RUN), stream, "event-logger", "strategy, gateway", _MSGPACK,
                (messages.RunSealed,), "The run is on disk."),
        Channel("directory.remove", subjects.directory_remove(_RUN), request, "gateway", "event-logger", _MSGPACK,
                (messages.RemoveRequest,), "Take the directory of a run away.", messages.RemoveReply),
        Channel("health", subjects.health("{service}"), request, "gateway, command line, strategy", "every service", _JSON,
                (), "Are you there, and ready? Any replica answers."),
    )  # fmt: skip


_PARAMETERS: Final = {
    "correlation_id": {
        "description": "The run: 32 lower-case hex digits",
        "examples": ["4f0c7a9e5d2b4c1e8a6f3b2d1c0e9f8a"],
    },
    "event_type": {"description": "Type of the events", "enum": list(EVENT_MODELS)},
    "component": {"description": "Whose log", "enum": list(COMPONENTS)},
    "service": {"description": "Who is asked", "enum": list(subjects.SERVICES)},
}
_STREAMS: Final = {
    "work queue": subjects.STREAM_RUNS,
    "live work queue": subjects.STREAM_LIVE,
    "stream": subjects.STREAM_EVENTS,
}
_LOG_LINE: Final = {
    "type": "object",
    "description": "A line of a component log.",
    "required": ["real_utc_time", "timestamp", "level", "component", "correlation_id", "message"],
    "properties": {
        "real_utc_time": {"type": "string", "format": "date-time", "description": "Wall clock."},
        "timestamp": {"type": "string", "format": "date-time", "description": "Engine time."},
        "level": {"enum": ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]},
        "component": {"enum": list(COMPONENTS)},
        "correlation_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "message": {"type": "string"},
        "error_code": {"type": "string", "description": "Code of the error registry, for errors."},
        "stack_trace": {"type": "string", "description": "For errors."},
    },
}
_HEALTH: Final = {
    "type": "object",
    "description": "What a service says of itself.",
    "required": ["service", "pid", "ready"],
    "properties": {
        "service": {"enum": list(subjects.SERVICES)},
        "pid": {"type": "integer"},
        "ready": {"type": "boolean"},
        "reason": {"type": "string", "description": "Why it is not ready."},
    },
}


def document() -> dict[str, Any]:
    """The AsyncAPI 3 document."""
    all_channels = channels()
    models = {model for one in all_channels for model in (*one.models, one.reply) if model is not None}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schema = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    found: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Basis bus",
            "version": version("basis-gateway"),
            "description": "What the services of Basis say to one another over NATS. "
            "`nats sub 'basis.<correlation_id>.>'` shows a whole run. Requests and replies are msgpack maps, where a time is "
            "a msgpack timestamp and a column is bytes (little-endian float64); what people read is JSON. A reply is an "
            "envelope: `body` is the msgpack of the reply's model, or `code` and `message` say what went wrong.",
        },
        "defaultContentType": _MSGPACK,
        "servers": {
            "local": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "The containers' NATS; BASIS_NATS_URL",
            }
        },
        "channels": {},
        "operations": {},
        "components": {"schemas": schema["$defs"] | {"LogLine": _LOG_LINE, "HealthAnswer": _HEALTH}, "messages": {}},
    }
    for channel in all_channels:
        _add(found, channel)
    return found


def _add(found: dict[str, Any], channel: Channel) -> None:
    key = _identifier(channel.name)
    payloads = [{"$ref": _REF.format(model=model.__name__)} for model in channel.models]
    if channel.name == "logs":
        payloads = [{"$ref": _REF.format(model="LogLine")}]
    payload: dict[str, Any] = {"const": "", "description": "Empty."} if not payloads else payloads[0]
    if len(payloads) > 1:
        payload = {"oneOf": payloads}
    message: dict[str, Any] = {"name": key, "title": channel.what, "contentType": channel.content, "payload": payload}
    if channel.kind in _STREAMS:
        message["headers"] = {
            "type": "object",
            "required": [subjects.HEADER_MSG_ID],
            "properties": {
                subjects.HEADER_MSG_ID: {"type": "string", "description": "Published again, JetStream refuses it"},
                subjects.HEADER_ORDERS: {"type": "string", "description": "first:last:count of an event message"},
                packing.HEADER: {
                    "type": "string",
                    "const": packing.ZSTD,
                    "description": f"The payload, {packing.LEAST_BYTES:,} bytes or more of events, is one zstd frame",
                },
            },
        }
    found["components"]["messages"][key] = message
    names = [word.split("}")[0] for word in channel.address.split("{")[1:]]
    found["channels"][key] = {
        "address": channel.address,
        "title": channel.name,
        "description": channel.what + (f" In the stream {_STREAMS[channel.kind]}." if channel.kind in _STREAMS else ""),
        "messages": {key: {"$ref": f"#/components/messages/{key}"}},
        "parameters": {name: _PARAMETERS[name] for name in names},
        "bindings": {"nats": {"bindingVersion": "0.1.0"}},
    }
    operation: dict[str, Any] = {
        "action": "send",
        "channel": {"$ref": f"#/channels/{key}"},
        "title": f"{channel.sender} to {channel.receivers}",
        "summary": channel.what,
        "messages": [{"$ref": f"#/channels/{key}/messages/{key}"}],
        "tags": [{"name": channel.kind}],
    }
    if channel.kind == "request":
        _add_reply(found, channel, key)
        operation["reply"] = {
            "channel": {"$ref": f"#/channels/{key}Reply"},
            "messages": [{"$ref": f"#/channels/{key}Reply/messages/{key}Reply"}],
        }
    found["operations"][key] = operation


def _add_reply(found: dict[str, Any], channel: Channel, key: str) -> None:
    payload: dict[str, Any]
    if channel.reply is not None:
        payload = {
            "type": "object",
            "description": f"Envelope; `body` is the msgpack of {channel.reply.__name__}.",
            "required": ["body", "code", "message", "component", "severity", "is_input"],
            "properties": {
                "body": {"$ref": _REF.format(model=channel.reply.__name__)},
                "code": {"type": "string", "description": "Code of the error registry; empty where all is well."},
                "message": {"type": "string"},
                "component": {"type": "string"},
                "severity": {"type": "string"},
                "is_input": {"type": "boolean", "description": "True for an InputError."},
            },
        }
    elif channel.name == "health":
        payload = {"$ref": _REF.format(model="HealthAnswer")}
    else:
        payload = {"const": "ok", "description": "Heard."}
    content = {"health": _JSON, "control": "text/plain"}.get(channel.name, _MSGPACK)
    found["components"]["messages"][f"{key}Reply"] = {
        "name": f"{key}Reply",
        "title": f"Answer to {channel.name}",
        "contentType": content,
        "payload": payload,
    }
    found["channels"][f"{key}Reply"] = {
        "address": None,  # the inbox that the request names
        "title": f"{channel.name}: the reply",
        "messages": {f"{key}Reply": {"$ref": f"#/components/messages/{key}Reply"}},
    }


def _identifier(name: str) -> str:
    head, *rest = name.split(".")
    return head + "".join(word.capitalize() for word in rest)
