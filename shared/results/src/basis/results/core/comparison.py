"""What differs between two runs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.results.models import Comparison, ConfigDifference, Difference, RunSummary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from basis.results.models import RunReport

_OF_REPORT = ("initial_capital", "final_value", "ticks", "funding", "net_flows", "failed_orders")
_OF_COSTS = ("fees", "gas", "slippage")


def compare(a: RunReport, b: RunReport) -> Comparison:
    """Metrics and configuration of two runs side by side; every metric, but only differing parts of the configuration."""
    left, right = dict(_numbers(a)), dict(_numbers(b))
    first, second = dict(_leaves(a.config)), dict(_leaves(b.config))
    return Comparison(
        same_events=a.event_hash is not None and a.event_hash == b.event_hash,
        metrics={name: _difference(left.get(name), right.get(name)) for name in dict.fromkeys([*left, *right])},
        config={
            path: ConfigDifference(a=first.get(path), b=second.get(path))
            for path in sorted(first.keys() | second.keys())
            if first.get(path) != second.get(path)
        },
        a=_summary(a),
        b=_summary(b),
    )


def _summary(report: RunReport) -> RunSummary:
    return RunSummary(**{name: getattr(report, name) for name in RunSummary.model_fields})


def _numbers(report: RunReport) -> Iterator[tuple[str, float | bool | str | None]]:
    if report.metrics is not None:
        yield from report.metrics.model_dump(mode="json").items()
    for name in _OF_REPORT:
        yield name, getattr(report, name)
    for name in _OF_COSTS:
        yield f"costs.{name}", getattr(report.costs, name)
    for cause, part in report.attribution.items():
        yield f"attribution.{cause}", part
    for kind, count in report.orders_by_type.items():
        yield f"orders.{kind}", count


def _difference(a: float | bool | str | None, b: float | bool | str | None) -> Difference:
    numbers = isinstance(a, int | float) and isinstance(b, int | float) and not isinstance(a, bool)
    return Difference(a=a, b=b, difference=float(b) - float(a) if numbers else None)  # type: ignore[arg-type]


def _leaves(value: JsonValue | Mapping[str, JsonValue], path: str = "") -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value  # type: ignore[misc]
