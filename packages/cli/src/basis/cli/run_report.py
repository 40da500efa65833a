"""A run's report, and the comparison of two, as rows for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from basis.results.models import Comparison, RunReport

_FRACTIONS: Final = frozenset(
    {
        "total_return", "annualized_return", "volatility", "max_drawdown", "hit_rate", "hit_rate_days", "time_in_market",
        "benchmark_return", "usd_return", "excess_return", "target_apy", "target_max_drawdown",
    }
)  # fmt: skip


def rows(report: RunReport) -> Iterator[tuple[str, object]]:
    """Name and value of all that a person wants to know; None where there is nothing to say."""
    unit = report.share_class or ""
    yield "strategy", report.strategy
    yield "status", report.status
    yield "error", f"[{report.error_code}] {report.error}" if report.error else None
    yield (
        "period",
        f"{report.start:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M} UTC" if report.start and report.end else None,
    )
    yield "ticks", f"{report.ticks:,} of {report.total_ticks:,}" if report.total_ticks else f"{report.ticks:,}"
    yield "initial capital", _money(report.initial_capital, unit)
    yield "final value", _money(report.final_value, unit)
    yield "net flows", _money(report.net_flows, unit) if report.net_flows else None
    for name, value in (report.metrics.model_dump(mode="json") if report.metrics else {}).items():
        yield name, None if value is None else _shown(name, value)
    for kind in ("fees", "gas", "slippage"):
        yield kind, _money(getattr(report.costs, kind), unit)
    yield "funding", _money(report.funding, unit)
    for cause, part in report.attribution.items():
        yield f"attribution.{cause}", _money(part, unit) if part else None
    yield "attribution gap", f"{report.attribution_gap:.3e} {unit}" if report.attribution_gap is not None else None
    for kind, count in report.orders_by_type.items():
        yield f"orders.{kind}", count
    yield "orders failed", report.failed_orders or None
    for key, quantity in report.final_positions.items():
        yield key, f"{quantity:,.6f}" if quantity else None
    for name, count in report.counts.items():
        yield f"events.{name}", f"{count:,}"
    yield "event hash", report.event_hash


def differences(found: Comparison) -> list[list[object]]:
    """Rows of what differs: configuration first, then metrics."""
    config: list[list[object]] = [[path, one.a, one.b, None] for path, one in found.config.items()]
    metrics: list[list[object]] = [
        [
            name,
            *(None if value is None else _shown(name, value) for value in (one.a, one.b)),
            _change(name, one.difference),
        ]
        for name, one in found.metrics.items()
        if one.a != one.b
    ]
    return [*config, *metrics]


def _change(name: str, difference: float | None) -> str | None:
    return None if difference is None else f"{'+' if difference > 0 else ''}{_shown(name, difference)}"


def _shown(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4%}" if name in _FRACTIONS else f"{value:,.6f}"
    return str(value)


def _money(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:,.6f} {unit}"
