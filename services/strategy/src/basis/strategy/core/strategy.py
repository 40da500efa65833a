"""Strategy: the part of a decision that differs from mode to mode. A strategy is one module and one YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from basis.models.errors import InputError
from basis.models.operations import StrategyIntent
from basis.models.strategy_config import StrategyConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.strategy.core.desk import Desk
    from basis.strategy.core.view import TickView

P = TypeVar("P", bound=StrategyConfig)
_DECISION_TYPES = {
    StrategyIntent.ENTRY_FULL: "entry",
    StrategyIntent.ENTRY_PARTIAL: "entry",
    StrategyIntent.EXIT_FULL: "exit",
    StrategyIntent.EXIT_PARTIAL: "exit",
    StrategyIntent.SELL_DUST: "rebalance",
    StrategyIntent.REBALANCE: "rebalance",
    StrategyIntent.RISK_OVERRIDE: "emergency_exit",
}


class Call(NamedTuple):
    """Something to do. Orders are built only where it comes to it."""

    action: str
    """entry_full, entry_partial, exit_partial, exit_full, sell_dust (the five actions) or rebalance."""
    intent: StrategyIntent
    """Why its orders are sent."""
    trigger: str
    """Rule that called for it."""
    reasoning: str
    """For people."""
    build: Callable[[Desk], None]
    """Puts the orders on the desk; none where there is nothing worth doing."""
    violated: tuple[str, ...] = ()
    """Limits that are broken."""

    @property
    def decision_type(self) -> str:
        """entry, exit, rebalance or emergency_exit."""
        return _DECISION_TYPES[self.intent]


class Rest(NamedTuple):
    """Ticks at which a strategy does nothing, for one reason."""

    where: NDArray[np.bool_] | bool
    """One a tick of the window."""
    waits: str | None
    """What :meth:`Strategy.entry_full` says there; None where the strategy is in its position and calls for nothing."""


class Strategy(Protocol):
    """What the StrategyManager asks of a mode. Pure: no clock, no I/O, no memory of its own.

    Questions (``has_position``, ``risk_override``, ``trigger``, ``sell_dust``) are asked at every tick and read the view
    alone; whatever builds orders gets a desk. Each action brings the mode to a state, not through a script: asked again at
    the next tick (money still in transit, an order failed), it goes on from what there is.
    """

    @property
    def conditions(self) -> tuple[str, ...]:
        """Market columns that decisions look at; they are shown in every StrategyDecision."""
        ...

    def has_position(self, view: TickView) -> bool:
        """True once the mode is in its position."""
        ...

    def risk_override(self, view: TickView) -> Call | None:
        """What a broken risk limit calls for; may only reduce."""
        ...

    def rests(self, view: TickView) -> Sequence[Rest]:
        """Ticks of the window at which nothing needs to be asked, in columns: a hundred times as quick as asking.

        What it says of a tick follows from that tick alone, and is what the questions would say: ``has_position``, and that
        ``risk_override``, ``trigger`` and ``sell_dust`` call for nothing; or for ticks that wait, that ``risk_override`` does
        not and ``entry_full`` gives this reason. A tick that is left out is asked about.
        """
        ...

    def entry_full(self, view: TickView) -> Call | str:
        """Enter with all there is, or why not."""
        ...

    def entry_partial(self, view: TickView) -> Call | None:
        """Put a deposit to work."""
        ...

    def exit_partial(self, desk: Desk, amount: float) -> None:
        """Unwind 1:1 until so much more of the share class is free in the balance that pays out, arrivals included."""
        ...

    def exit_full(self, desk: Desk) -> None:
        """Unwind everything."""
        ...

    def trigger(self, view: TickView) -> Call | None:
        """What a limit of the mode's own calls for."""
        ...

    def retarget(self, desk: Desk) -> None:
        """Bring the position back to target; nothing where it is there."""
        ...

    def sell_dust(self, view: TickView) -> Call | None:
        """Sell reward tokens that are worth selling."""
        ...


class QuietStrategy:
    """Answers of a strategy that has nothing of the kind to say; base of those that do."""

    def rests(self, view: TickView) -> Sequence[Rest]:
        """Every tick is asked about."""
        del view
        return ()

    def risk_override(self, view: TickView) -> Call | None:
        """No limit of its own."""
        del view
        return None

    def trigger(self, view: TickView) -> Call | None:
        """No trigger of its own."""
        del view
        return None

    def sell_dust(self, view: TickView) -> Call | None:
        """Holds no reward tokens."""
        del view
        return None


def parameters(config: RunConfig, kind: type[P]) -> P:
    """The strategy section of a configuration, as the class of its family.

    Raises:
        InputError: CONFIG-003, the section is of another family.
    """
    found = config.strategy
    if not isinstance(found, kind):
        message = f"mode {config.mode!r}: strategy.family is {found.family!r}, which its module cannot read"
        raise InputError("CONFIG-003", message, "strategy_manager")
    return found


class StrategyFactory(Protocol):
    """``make`` of a strategy module."""

    def __call__(self, config: RunConfig) -> Strategy:
        """The strategy for a configuration."""
        ...
