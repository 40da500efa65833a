"""``basis modes``: what can be run, and with what configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basis.cli.output import Rows, print_json, print_rows, refusal
from basis.models.errors import ComponentError
from basis.models.strategy_config import parameters_schema
from basis.runtime import config_loader
from basis.runtime.settings import Settings
from basis.strategy.strategies import is_built

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _guarded(work: Callable[[Settings], int], *, as_json: bool) -> int:
    try:
        return work(Settings())
    except ComponentError as error:
        return refusal(error, 2, as_json=as_json)


def list_modes(*, as_json: bool) -> int:
    """All modes, and whether this version can run them."""

    def work(settings: Settings) -> int:
        found = [
            config_loader.load(settings.configs_dir, name).config
            for name in config_loader.mode_names(settings.configs_dir)
        ]
        rows = [
            {
                "mode": config.mode,
                "share_class": config.share_class.currency,
                "asset": config.asset,
                "built": is_built(config.mode),
                "venues": [str(venue) for venue in config.venues],
                "description": config.description,
            }
            for config in found
        ]
        if as_json:
            return print_json(rows)
        names = ("mode", "share_class", "asset", "built", "description")
        return print_rows(Rows("modes", names, [[row[name] for name in names] for row in rows]))

    return _guarded(work, as_json=as_json)


def show(mode: str, overrides: Sequence[str], *, as_json: bool) -> int:
    """The merged configuration of a mode; without ``--json`` with the source of every value."""

    def work(settings: Settings) -> int:
        merged = config_loader.load(
            settings.configs_dir, mode, [config_loader.parse_override(text) for text in overrides]
        )
        if as_json:
            return print_json(merged.config.model_dump(mode="json"))
        rows = [
            [path, _value(merged.config.model_dump(mode="json"), path), source]
            for path, source in merged.sources.items()
        ]
        return print_rows(Rows(f"{mode}, sha256 {merged.sha256[:12]}", ("path", "value", "source"), rows))

    return _guarded(work, as_json=as_json)


def schema(mode: str, overrides: Sequence[str]) -> int:
    """JSON Schema of the mode's strategy parameters, with the mode's own values as defaults."""

    def work(settings: Settings) -> int:
        merged = config_loader.load(
            settings.configs_dir, mode, [config_loader.parse_override(text) for text in overrides]
        )
        return print_json(parameters_schema(merged.config.strategy))

    return _guarded(work, as_json=True)


def _value(config: object, path: str) -> object:
    for part in path.split("."):
        config = config[part] if isinstance(config, dict) else None
    return config
