"""``/strategies``: modes and their configurations."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import APIRouter, Path

from basis.gateway.answers import Strategy, StrategyConfig
from basis.gateway.problems import responses
from basis.gateway.routes import Ctx
from basis.models.strategy_config import parameters_schema
from basis.runtime import config_loader

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from basis.runtime.config_loader import MergedConfig

router = APIRouter(prefix="/strategies", tags=["strategies"])
Mode = Annotated[str, Path(max_length=100, examples=["pure_lending_usdt"], description="A file of configs/modes")]


@router.get("/", operation_id="list_strategies", responses=responses(422))
async def list_strategies(context: Ctx) -> list[Strategy]:
    """All modes that have a configuration."""
    return await asyncio.to_thread(_all, context.settings.configs_dir)


@router.get("/{mode}", operation_id="get_strategy", responses=responses(422))
async def strategy(mode: Mode, context: Ctx) -> Strategy:
    """One mode in short: where it acts, what it may hold, what it aims for."""
    return _short(await asyncio.to_thread(config_loader.load, context.settings.configs_dir, mode))


@router.get("/{mode}/config", operation_id="get_strategy_config", responses=responses(422))
async def config(mode: Mode, context: Ctx) -> StrategyConfig:
    """The merged configuration of a mode, with the source of every value."""
    folder = context.settings.configs_dir
    merged = await asyncio.to_thread(config_loader.load, folder, mode)
    return StrategyConfig(
        mode=mode,
        sha256=merged.sha256,
        config=orjson.loads(merged.payload),
        sources={path: source.removeprefix(f"{folder}/") for path, source in merged.sources.items()},
    )


_SCHEMA: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON Schema, draft 2020-12",
        "content": {
            "application/json": {
                "example": {
                    "type": "object",
                    "properties": {
                        "reserve_gas": {"type": "boolean", "default": True, "description": "Keep gas back."}
                    },
                }
            }
        },
    }
}


@router.get("/{mode}/schema", operation_id="get_strategy_schema", responses=responses(422) | _SCHEMA)
async def schema(mode: Mode, context: Ctx) -> dict[str, Any]:
    """JSON Schema of the mode's strategy parameters; its defaults are the mode's own values."""
    merged = await asyncio.to_thread(config_loader.load, context.settings.configs_dir, mode)
    return parameters_schema(merged.config.strategy)


def _all(configs: FilePath) -> list[Strategy]:
    files = sorted(configs.rglob("*.yaml"))
    return _all_of(configs, tuple((file, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=4)
def _all_of(configs: FilePath, _files: tuple[tuple[FilePath, int], ...]) -> list[Strategy]:
    """Half a second's work, done again where a file has changed."""
    return [_short(config_loader.load(configs, mode)) for mode in config_loader.mode_names(configs)]


def _short(merged: MergedConfig) -> Strategy:
    found = merged.config
    return Strategy(
        mode=found.mode,
        description=found.description,
        share_class=found.share_class.currency,
        asset=found.asset,
        venues=tuple(str(venue) for venue in found.venues),
        position_subscriptions=tuple(str(key) for key in found.position_subscriptions),
        time_step_s=found.time_step_s,
        target_apy=found.target_apy,
        max_drawdown=found.max_drawdown,
        default_capital=found.share_class.default_capital,
    )
