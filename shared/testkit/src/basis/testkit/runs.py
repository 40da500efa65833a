"""Configurations and runs for tests: real files of ``configs/`` with overrides, or modes made by hand."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import yaml

from basis.models.config import RunConfig
from basis.models.messages import PortfolioState, RunRef
from basis.runtime import config_loader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REPO: Final = Path(__file__).resolve().parents[5]
"""Root of the workspace."""
CONFIGS: Final = REPO / "configs"
"""The project's own configuration files."""
CID: Final = "0123456789abcdef0123456789abcdef"
"""A correlation_id."""
START: Final = datetime(2024, 5, 12, tzinfo=UTC)
"""Time of tick 0."""


def mode_config(mode: str = "pure_lending_usdt", overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Merged configuration of a mode of ``configs/modes``; overrides are dotted path -> value."""
    return config_loader.load(CONFIGS, mode, (overrides or {}).items()).config


def custom_config(
    subscriptions: Iterable[str],
    *,
    share_class: str = "USDT",
    asset: str = "ETH",
    venues: Mapping[str, Mapping[str, Any]] | None = None,
    **fields: Any,
) -> RunConfig:
    """A mode that has no file: venues follow from the subscriptions, with the project's own venue files.

    Args:
        subscriptions: instrument keys.
        share_class: a file of ``configs/share_classes``.
        asset: asset of the mode.
        venues: venue -> what differs from its file; a venue without a subscription is added by naming it.
        **fields: further fields of RunConfig.
    """
    keys = tuple(subscriptions)
    changes = venues or {}
    names = dict.fromkeys([*(key.split(":")[0] for key in keys if not key.startswith("transit:")), *changes])
    return RunConfig.model_validate(
        {
            "mode": "hand_made",
            "description": "made by a test",
            "asset": asset,
            "position_subscriptions": keys,
            "strategy": {"family": "custom"},
            "target_apy": 0.05,
            "max_drawdown": 0.1,
            "share_class": _file("share_classes", share_class.lower()),
            "venues": {name: _file("venues", name) | dict(changes.get(name, {})) for name in names},
            **fields,
        }
    )


def run_ref(config: RunConfig, **fields: Any) -> RunRef:
    """A run of a configuration: hourly ticks from START unless the fields say otherwise."""
    payload = orjson.dumps(config.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    values: dict[str, Any] = {
        "correlation_id": CID,
        "pid": 7,
        "config_sha256": hashlib.sha256(payload).hexdigest(),
        "config": payload,
        "start": START,
        "time_step_s": config.time_step_s,
        "last_tick": 1000,
        "initial_capital": config.share_class.default_capital,
        "data_sha256": "0" * 64,
    }
    return RunRef.model_validate(values | fields)


def portfolio(
    positions: Mapping[str, float], *, market: Mapping[str, float], capital: float, tick: int = -1, **fields: Any
) -> PortfolioState:
    """Monitors' state that holds what it is told, with nothing earned so far."""
    return PortfolioState(
        positions=dict(positions),
        capital=capital,
        attribution=fields.pop("attribution", {}),
        pnl_by_venue=fields.pop("pnl_by_venue", {}),
        pnl_by_asset=fields.pop("pnl_by_asset", {}),
        market=dict(market),
        tick=tick,
        **fields,
    )


def market_row(config: RunConfig, **changes: float) -> dict[str, float]:
    """A plausible market row with every column that a configuration needs; ``price_usd__ETH=...`` changes one."""
    row = {feed.column: typical_value(feed.column) for feed in config.feeds()}
    return row | {name.replace("__", ":"): value for name, value in changes.items()}


def typical_value(column: str) -> float:
    """A plausible value of a market column."""
    kind, _, rest = column.partition(":")
    if kind == "price_usd":
        return {"USDT": 0.999, "ETH": 3000.0}[rest]
    if kind in {"spot", "perp", "perp_close", "perp_high", "perp_low"}:
        return 60_000.0 if "BTC" in rest else 3000.0
    return _TYPICAL[kind]


_TYPICAL: Final[dict[str, float]] = {
    "gas_base_fee_gwei": 20.0,
    "gas_priority_fee_gwei": 1.0,
    "liquidity_index": 1.05,
    "borrow_index": 1.08,
    "supply_apr": 0.04,
    "borrow_apr": 0.05,
    "funding": 1e-4,
    "funding_mean": 1e-4,
    "total_supplied": 1e6,
    "total_debt": 8e5,
    "signal_side": 0.0,
    "signal_confidence": 0.5,
    "signal_sd": 0.01,
    "oracle_price_eth": 1.04,
    "dex_price_eth": 1.039,
    "dex": 1e-3,
    "reward_eigen_per_eeth": 1e-4,
    "reward_ethfi_per_eeth": 1e-4,
}


@cache
def _file(folder: str, name: str) -> dict[str, Any]:
    """One of the project's own files; read once, for conformance suites ask thousands of times. Not to be changed."""
    found: dict[str, Any] = yaml.safe_load((CONFIGS / folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return found
