"""What a run's curves are called, what they are measured in, where its rules act, and which are worth a chart. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from basis.results.models import ChartInfo, ColumnGroup, ColumnInfo, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EQUITY_COLUMNS: Final = ("equity", "capital", "drawdown", "net_delta_usd", "total_value_usd")
"""Columns of the group ``equity`` that clients may ask for."""
_LABELS: Final = {
    "equity": "Equity",
    "capital": "Capital put in",
    "drawdown": "Drawdown",
    "net_delta_usd": "Net delta",
    "total_value_usd": "Equity in USD",
    "pnl": "PnL",
    "health_factor": "Health factor",
    "ltv": "LTV",
    "margin_usage": "Margin usage",
}


def group_of(name: str) -> str | None:
    """Group of columns (``extract.GROUPS``) that a column is extracted with; None where there is no such column."""
    if name in EQUITY_COLUMNS:
        return "equity"
    if name == "pnl":
        return "attribution"
    if name in {"health_factor", "ltv", "margin_usage"}:
        return "risk"
    prefix, dot, rest = name.partition(".")
    groups = {"attribution": "attribution", "exposure": "exposure", "position": "position", "margin_ratio": "risk"}
    return groups.get(prefix) if dot and rest else None


def triggers(config: Mapping[str, Any]) -> dict[str, Trigger]:
    """Levels of a run's configuration at which its rules warn or act."""
    risk = config.get("risk") or {}
    found: dict[str, Trigger] = {}
    for name, prefix, unit in (
        ("health_factor", "hf", "ratio"),
        ("margin_ratio", "margin", "ratio"),
        ("net_delta", "delta", "fraction of equity"),
    ):
        warn, breach = risk.get(f"{prefix}_warn"), risk.get(f"{prefix}_breach")
        if isinstance(warn, int | float) and isinstance(breach, int | float):
            found[name] = Trigger(warn=warn, breach=breach, unit=unit)
    return found


def describe(names: Iterable[str], share_class: str, levels: Mapping[str, Trigger]) -> tuple[ColumnInfo, ...]:
    """Unit, label, group and trigger of columns."""
    return tuple(_describe(name, share_class, levels) for name in names)


def _describe(name: str, share_class: str, levels: Mapping[str, Trigger]) -> ColumnInfo:
    prefix, _, rest = name.partition(".")
    level = levels.get(prefix)
    kinds: dict[str, tuple[str, str, ColumnGroup]] = {
        "equity": (share_class, _LABELS["equity"], "equity"),
        "capital": (share_class, _LABELS["capital"], "equity"),
        "pnl": (share_class, _LABELS["pnl"], "equity"),
        "drawdown": ("fraction", _LABELS["drawdown"], "equity"),
        "total_value_usd": ("USD", _LABELS["total_value_usd"], "equity"),
        "net_delta_usd": ("USD", _LABELS["net_delta_usd"], "exposure"),
        "attribution": (share_class, rest.replace("_", " "), "attribution"),
        "exposure": ("USD", rest, "exposure"),
        "position": (rest.rpartition(":")[2], rest, "position"),
        "margin_ratio": ("ratio", f"Margin ratio {rest}", "risk"),
        "margin_usage": ("fraction", _LABELS["margin_usage"], "risk"),
        "health_factor": ("ratio", _LABELS["health_factor"], "risk"),
        "ltv": ("ratio", _LABELS["ltv"], "risk"),
    }
    unit, label, group = kinds[prefix]
    return ColumnInfo(name=name, unit=unit, label=label, group=group, trigger=level.breach if level else None)


def charts(columns: Iterable[ColumnInfo], used: Mapping[str, float], share_class: str) -> list[ChartInfo]:
    """Charts worth drawing, in the order of a run page.

    Args:
        columns: what the run has.
        used: attribution total of each cause: one that is 0 throughout is not worth a layer.
        share_class: unit of equity.
    """
    names = [column.name for column in columns]
    parts = [name for name in names if name.startswith("attribution.") and used.get(name.partition(".")[2])]
    assets = [name for name in names if name.startswith("exposure.") and name != f"exposure.{share_class}"]
    wanted = (
        ("equity", "Equity", ["equity", "capital"], share_class),
        ("drawdown", "Drawdown", ["drawdown"], "fraction"),
        ("attribution", "PnL by cause", parts, share_class),
        ("exposure", "Exposure by asset", assets, "USD"),
        ("net_delta", "Net delta", ["net_delta_usd"], "USD"),
        ("health_factor", "Health factor", ["health_factor"], "ratio"),
        ("ltv", "Loan to value", ["ltv"], "ratio"),
        (
            "margin_ratio",
            "Margin ratio by venue",
            [name for name in names if name.startswith("margin_ratio.")],
            "ratio",
        ),
    )
    lends = any(":debtToken:" in name for name in names)
    present = {name for name in names if lends or name not in {"health_factor", "ltv"}}
    return [
        ChartInfo(name=name, title=title, columns=[column for column in chosen if column in present], unit=unit)
        for name, title, chosen, unit in wanted
        if any(column in present for column in chosen)
    ]
