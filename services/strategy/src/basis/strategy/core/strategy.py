"""Strategy: the part of a decision that differs from mode to mode. A strategy is one module and one YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from basis.models.config import RunConfig
    from basis.strategy.core.strategy_manager import Plan
    from basis.strategy.core.view import TickView


class Strategy(Protocol):
    """What the StrategyManager asks of a mode. Pure: no clock, no I/O, no memory of its own."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Market columns that decisions look at; they are shown in every StrategyDecision."""
        ...

    def has_position(self, view: TickView) -> bool:
        """True once the mode is in its position."""
        ...

    def entry_full(self, view: TickView) -> list[Plan]:
        """Operations that enter with all there is; none where it is not worth it."""
        ...

    def retarget(self, view: TickView) -> list[Plan]:
        """Operations that bring the position back to target; none where it is there."""
        ...


class StrategyFactory(Protocol):
    """``make`` of a strategy module."""

    def __call__(self, config: RunConfig) -> Strategy:
        """The strategy for a configuration."""
        ...
