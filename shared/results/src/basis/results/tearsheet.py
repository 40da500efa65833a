"""A run on one page: a self-contained HTML file with its charts, to mail around. Opens offline; asks no server for anything."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

from basis.results import curves, report
from basis.results.core import columns, metrics
from basis.results.core.growth import growth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from basis.models.messages import RunMetadata
    from basis.results.cache import ColumnCache
    from basis.results.directories import RunDir
    from basis.results.models import ChartInfo, RunReport

_POINTS: Final = 2_000
_COLOURS: Final = (
    "#4269d0", "#efb118", "#3ca951", "#ff725c", "#a463f2", "#6cc5b0",
    "#97bbf5", "#9c6b4e", "#ff8ab7", "#9498a0", "#d4a017", "#2f7f86",
)  # fmt: skip
_PERCENT: Final = frozenset(
    {
        "total_return", "annualized_return", "volatility", "max_drawdown", "hit_rate", "hit_rate_days", "time_in_market",
        "benchmark_return", "usd_return", "excess_return", "target_apy", "target_max_drawdown",
    }
)  # fmt: skip
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --faint: #888; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin: 2rem 0 .3rem; font-size: 1.1rem; }
p.faint, td.faint { color: var(--faint); } p.error { border-left: 4px solid #d33; padding-left: .7rem; }
section.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 0 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
td, th { border-bottom: 1px solid var(--line); padding: .2rem .4rem; text-align: left; overflow-wrap: anywhere; }
td:not(:first-child), th:not(:first-child) { text-align: right; }
table.months td, table.months th { padding: .2rem; } .chart { height: 320px; } .up { color: #2a9d4a; } .down { color: #d1495b; }
@media print { .chart { break-inside: avoid; } }
"""


def build(cache: ColumnCache, run: RunDir, metadata: RunMetadata, found: RunReport) -> str:
    """The page.

    Everything that comes from the log is escaped: for HTML as text, for charts as JSON without markup.

    Raises:
        ComponentError: LOG-004, the log is damaged.
    """
    # loaded here: nobody else needs a chart library
    from plotly.offline import get_plotlyjs  # noqa: PLC0415

    title = f"{found.strategy} {found.correlation_id[:8]}"
    charts = columns.charts(found.columns, found.attribution, metadata.share_class)
    drawn = [_chart(chart, *_picture(cache, run, metadata, chart), found) for chart in charts] if found.metrics else []
    csp = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f'<meta http-equiv="Content-Security-Policy" content="{csp}">',
            f"<title>{_text(title)}</title><style>{_STYLE}</style>",
            f"<script>{get_plotlyjs()}</script></head><body>",
            _head(found),
            _tables(found),
            *drawn,
            _months(cache, run, metadata),
            _foot(found),
            "</body></html>",
        )
    )


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _head(found: RunReport) -> str:
    period = f"{found.start:%Y-%m-%d} to {found.end:%Y-%m-%d}" if found.start and found.end else ""
    lines = [
        f"<h1>{_text(found.strategy)}</h1>",
        f'<p class="faint">{_text(period)} · {found.mode} · {found.status} · {found.ticks:,} ticks · '
        f"{'synthetic data · ' if found.synthetic else ''}run {found.correlation_id}</p>",
    ]
    if found.error:
        lines.append(f'<p class="error">[{_text(found.error_code)}] {_text(found.error)}</p>')
    return "\n".join(lines)


def _tables(found: RunReport) -> str:
    unit = _text(found.share_class)
    money = [
        ("initial capital", _amount(found.initial_capital)),
        ("final value", _amount(found.final_value)),
        ("deposits less withdrawals", _amount(found.net_flows)),
        *((kind, _amount(getattr(found.costs, kind))) for kind in ("fees", "gas", "slippage")),
        ("funding", _amount(found.funding)),
    ]
    parts = [(cause.replace("_", " "), _amount(part)) for cause, part in found.attribution.items() if part]
    figures = found.metrics.model_dump(mode="json") if found.metrics else {}
    shown = [(name.replace("_", " "), _figure(name, value)) for name, value in figures.items() if value is not None]
    orders = [*found.orders_by_type.items(), ("failed", found.failed_orders)]
    held = [(key, f"{quantity:,.6f}") for key, quantity in found.final_positions.items() if quantity]
    return (
        '<section class="tables">'
        f"<div><h2>Metrics</h2>{_table(shown)}</div>"
        f"<div><h2>Money, {unit}</h2>{_table(money)}<h2>PnL by cause, {unit}</h2>{_table(parts)}"
        f"<h2>Orders</h2>{_table(orders)}<h2>Holdings at the end</h2>{_table(held)}</div></section>"
    )


def _table(rows: Iterable[tuple[object, object]]) -> str:
    lines = "".join(f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in rows)
    return f"<table>{lines}</table>"


def _amount(value: float | None) -> str:
    return "" if value is None else f"{value:,.6f}"


def _figure(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4%}" if name in _PERCENT else f"{value:,.4f}"
    return str(value)


def _picture(
    cache: ColumnCache, run: RunDir, metadata: RunMetadata, chart: ChartInfo
) -> tuple[list[int], Mapping[str, list[float | None]]]:
    drawn = curves.picture(curves.read(cache, run, metadata, chart.columns), _POINTS)
    values = {
        name: [value if value == value else None for value in column.tolist()]  # noqa: PLR0124 - NaN is a gap
        for name, column in drawn.table.columns.items()
    }
    return curves.times_ms(drawn.table.ticks, metadata).tolist(), values


def _chart(chart: ChartInfo, times: list[int], values: Mapping[str, list[float | None]], found: RunReport) -> str:
    from plotly.io import to_html  # noqa: PLC0415 - as above

    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": _text(name.partition(".")[2] or name),  # plotly reads names as markup
            "x": times,
            "y": column,
            "line": {"width": 1.4, "color": _COLOURS[number % len(_COLOURS)]},
            "fill": "tozeroy" if chart.name == "drawdown" else "none",
        }
        for number, (name, column) in enumerate(values.items())
    ]
    figure = {"data": traces, "layout": _layout(chart, _levels(chart, found))}
    body = to_html(
        figure,
        config={"displaylogo": False, "responsive": True},
        include_plotlyjs=False,
        full_html=False,
        div_id=f"chart-{chart.name}",
        validate=False,
    )
    return f'<h2>{_text(chart.title)}, {_text(chart.unit)}</h2><div class="chart">{body}</div>'


def _levels(chart: ChartInfo, found: RunReport) -> list[tuple[float, str]]:
    # the levels of net_delta are fractions, the chart is in USD
    level = found.triggers.get(chart.name) if chart.name != "net_delta" else None
    return [(level.warn, "#d4a017"), (level.breach, "#d1495b")] if level else []


def _layout(chart: ChartInfo, levels: Sequence[tuple[float, str]]) -> dict[str, Any]:
    faint = "rgba(128,128,128,.25)"
    return {
        "margin": {"l": 70, "r": 20, "t": 10, "b": 35},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "#888", "size": 12},
        "hovermode": "x unified",
        "showlegend": len(chart.columns) > 1,
        "legend": {"orientation": "h"},
        "xaxis": {"type": "date", "gridcolor": faint},
        "yaxis": {"gridcolor": faint, "zerolinecolor": faint, **({"tickformat": ".2%"} if chart.unit == "fraction" else {})},
        "shapes": [
            {
                "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level,
                "line": {"color": colour, "width": 1, "dash": "dot"},
            }
            for level, colour in levels
        ],
    }  # fmt: skip


def _months(cache: ColumnCache, run: RunDir, metadata: RunMetadata) -> str:
    """Return of each month, a row a year."""
    curve = report.curve_of(cache, run, metadata)
    if curve is None:
        return ""
    frame = report.frame_of(metadata)
    unit = growth(curve.equity, curve.capital).unit
    last: dict[tuple[int, int], float] = {}
    for place in metrics.last_of_days(curve, frame).tolist():
        moment = metrics.time_of(frame, int(curve.ticks[place]))
        last[moment.year, moment.month] = float(unit[place])
    # the first month also bears what the first tick cost
    before = float(curve.capital[0] / curve.equity[0]) if curve.equity[0] else 1.0
    returns: dict[tuple[int, int], float] = {}
    for month, value in last.items():
        returns[month] = value / before - 1.0 if before else 0.0
        before = value
    rows = []
    for year in sorted({year for year, _ in returns}):
        cells = "".join(_month(returns.get((year, month))) for month in range(1, 13))
        rows.append(f"<tr><td>{year}</td>{cells}</tr>")
    names = "".join(f"<th>{name}</th>" for name in _MONTHS)
    return f'<h2>Return by month</h2><table class="months"><tr><th></th>{names}</tr>{"".join(rows)}</table>'


def _month(value: float | None) -> str:
    return "<td></td>" if value is None else f'<td class="{"up" if value >= 0 else "down"}">{value:.2%}</td>'


def _foot(found: RunReport) -> str:
    rows = [
        ("event hash", found.event_hash),
        ("configuration, SHA-256", found.config_sha256),
        ("market data", found.data_path),
        ("market data, SHA-256", found.data_sha256),
        ("Basis", found.code_version),
        *(("note", note) for note in found.data_notes),
    ]
    note = "" if found.sealed else '<p class="error">The run has not ended: this is what was on disk.</p>'
    return f"<h2>What it was made from</h2>{note}{_table((name, value) for name, value in rows if value)}"
