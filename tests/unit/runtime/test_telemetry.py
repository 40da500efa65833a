"""Traces: off unless asked for, carried in headers when on."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

from opentelemetry import trace

from basis.runtime import telemetry

if TYPE_CHECKING:
    import pytest


def test_install_without_an_endpoint_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    before = trace.get_tracer_provider()
    telemetry.install("strategy")
    assert trace.get_tracer_provider() is before


def test_without_a_provider_nothing_is_injected() -> None:
    assert telemetry.inject({"a": "b"}) == {"a": "b"}


def test_endpoint_without_the_exporter_warns_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with caplog.at_level(logging.WARNING):
        telemetry.install("strategy")
    assert "no traces" in caplog.text


def test_trace_context_travels_in_headers() -> None:
    # a provider can be installed once a process: in one of its own
    code = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from basis.runtime import telemetry
        trace.set_tracer_provider(TracerProvider())
        with telemetry.tracer("a").start_as_current_span("outer") as outer:
            headers = telemetry.inject({})
        with telemetry.tracer("b").start_as_current_span("inner", context=telemetry.extract(headers)) as inner:
            assert inner.get_span_context().trace_id == outer.get_span_context().trace_id
            assert inner.parent.span_id == outer.get_span_context().span_id
        with telemetry.tracer("b").start_as_current_span("root", context=telemetry.extract(None)) as root:
            assert root.parent is None
        print("ok")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == "ok", done.stderr
