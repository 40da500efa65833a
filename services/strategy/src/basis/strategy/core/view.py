"""TickView: what a strategy sees at one tick. A light cursor over the window's columns; nothing is built per tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LEVELS = ("low", "medium", "high", "critical")


class TickView:
    """One tick of a window; move it with :meth:`at`. A strategy never sees beyond its tick.

    Args:
        first_tick: index of the window's first tick.
        market: market column -> values.
        figures: monitors' column (equity, debt_usd, ...) -> values.
        positions: instrument key -> quantity before the window.
        changing: instrument key -> quantities, where settlements change it within the window.
        risk_levels: one code a tick.
    """

    __slots__ = (
        "_changing",
        "_changing_columns",
        "_derived",
        "_figure_columns",
        "_figures",
        "_first_tick",
        "_i",
        "_market",
        "_market_columns",
        "_positions",
        "_risk_levels",
    )

    def __init__(
        self,
        first_tick: int,
        market: Mapping[str, Floats],
        figures: Mapping[str, Floats],
        positions: Mapping[str, float],
        changing: Mapping[str, Floats],
        risk_levels: bytes,
    ) -> None:
        self._first_tick = first_tick
        self._market_columns = market
        self._figure_columns = figures
        # scalars are read from lists: an element of an array costs ten times as much
        self._market: dict[str, list[float]] = {name: column.tolist() for name, column in market.items()}
        self._figures: dict[str, list[float]] = {name: column.tolist() for name, column in figures.items()}
        self._positions = positions
        self._changing_columns = changing
        self._changing: dict[str, list[float]] = {key: column.tolist() for key, column in changing.items()}
        self._derived: dict[str, list[Any]] = {}
        self._risk_levels = risk_levels
        self._i = 0

    def at(self, place: int) -> TickView:
        """Move to a place of the window; returns itself."""
        self._i = place
        return self

    @property
    def tick(self) -> int:
        """Index of the tick in the run."""
        return self._first_tick + self._i

    @property
    def equity(self) -> float:
        """Assets less debts plus unrealised perp PnL, share class."""
        return self._figures["equity"][self._i]

    @property
    def risk_level(self) -> str:
        """Worst of all risk measures at the tick."""
        return _LEVELS[self._risk_levels[self._i]]

    def figure(self, name: str) -> float:
        """A monitors' figure, e.g. ``debt_usd``."""
        return self._figures[name][self._i]

    def market(self, column: str) -> float:
        """A market column at the tick.

        Raises:
            ComponentError: STRAT-001, the mode does not have that column.
        """
        values = self._market.get(column)
        if values is None:
            raise ComponentError("STRAT-001", f"the market has no column {column!r}", "strategy_manager")
        return values[self._i]

    def market_column(self, column: str) -> Floats:
        """A market column over the window, for the log of decisions alone.

        Raises:
            ComponentError: STRAT-001, the mode does not have that column.
        """
        self.market(column)
        return self._market_columns[column]

    def figure_column(self, name: str) -> Floats:
        """A monitors' figure over the window, for the log of decisions alone."""
        return self._figure_columns[name]

    def market_columns(self) -> Mapping[str, Floats]:
        """All market columns over the window, for :meth:`derived`."""
        return self._market_columns

    def position_column(self, key: str) -> Floats | float:
        """Quantity of an instrument over the window, one number where it does not change; for :meth:`derived`."""
        changing = self._changing_columns.get(key)
        return self._positions.get(key, 0.0) if changing is None else changing

    def derived(self, name: str, compute: Callable[[TickView], Any]) -> Any:
        """A value at the tick of a column that a strategy computes once a window: ten times as quick as once a tick.

        Args:
            name: of the column, unique within the strategy.
            compute: the column from the view's columns (``figure_column``, ``market_column``, ``position_column``), element
                by element: what it says of a tick may depend on nothing but that tick (``basis analyze lookahead``).
        """
        values = self._derived.get(name)
        if values is None:
            ticks = len(next(iter(self._figure_columns.values())))
            values = self._derived[name] = np.broadcast_to(compute(self), (ticks,)).tolist()
        return values[self._i]

    def market_row(self) -> dict[str, float]:
        """All market columns at the tick."""
        return {name: values[self._i] for name, values in self._market.items()}

    def position(self, key: str) -> float:
        """Quantity held of an instrument; scaled for aTokens and debt."""
        changing = self._changing.get(key)
        return self._positions.get(key, 0.0) if changing is None else changing[self._i]

    def positions(self) -> dict[str, float]:
        """All quantities."""
        return {**self._positions, **{key: values[self._i] for key, values in self._changing.items()}}
