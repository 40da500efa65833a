"""OpenTelemetry: one trace follows one run through all services, in NATS headers.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set (or a provider was installed by the host program): then a message costs one
question for the provider. One span a window or order, never one a tick.
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from opentelemetry import context, propagate, trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context

_log = logging.getLogger(__name__)
_NO_SPAN = nullcontext(trace.INVALID_SPAN)


def install(service: str) -> None:
    """Export this process's spans over OTLP/HTTP where the environment asks for it.

    Needs the optional packages of ``basis-runtime[otlp]``; says so where they are missing.
    """
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set but basis-runtime[otlp] is not installed: no traces")
        return
    provider = TracerProvider(resource=Resource.create({"service.name": f"basis-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def tracer(service: str) -> trace.Tracer:
    """Tracer of a service; no-op unless a provider is installed."""
    return trace.get_tracer(f"basis.{service}")


def is_on() -> bool:
    """True where a provider is installed: without one, spans and headers are work for nobody."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def span(
    tracer: trace.Tracer, name: str, kind: trace.SpanKind, parent: Context | None = None
) -> AbstractContextManager[trace.Span]:
    """A span around what is done in the context.

    Args:
        tracer: of the service.
        name: of the span.
        kind: which side of a message this is.
        parent: from :func:`extract`; None = the current span.
    """
    return tracer.start_as_current_span(name, context=parent, kind=kind) if is_on() else _NO_SPAN


def inject(headers: dict[str, str]) -> dict[str, str]:
    """Add the current trace context to message headers, where tracing is on."""
    if is_on():
        propagate.inject(headers)
    return headers


def extract(headers: Mapping[str, str] | None) -> Context | None:
    """Trace context of a received message; None where tracing is off."""
    return propagate.extract(headers or {}, context=context.get_current()) if is_on() else None
