"""Strategies: one module a mode, found by the mode's name. Each has ``make(config) -> Strategy``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from basis.models.errors import InputError

if TYPE_CHECKING:
    from basis.models.config import RunConfig
    from basis.strategy.core.strategy import Strategy


def is_built(mode: str) -> bool:
    """True where the mode has a strategy module."""
    return find_spec(f"{__name__}.{mode}") is not None


def built_modes() -> list[str]:
    """Modes that have a strategy module, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def make_strategy(config: RunConfig) -> Strategy:
    """The strategy of a mode.

    Raises:
        InputError: CONFIG-001, no module of that name.
    """
    if not is_built(config.mode):
        raise InputError("CONFIG-001", f"mode {config.mode!r} has no strategy in this version", "strategy_manager")
    strategy: Strategy = import_module(f"{__name__}.{config.mode}").make(config)
    return strategy
