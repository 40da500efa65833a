"""TickView: what a strategy sees at one tick. A light cursor over the window's columns; nothing is built per tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from basis.models.errors import ComponentError
from basis.runtime.column_lines import Chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LEVELS = ("low", "medium", "high", "critical")


class _Lists(dict[str, list[float]]):
    """Columns as lists, each made when it is first read."""

    def __init__(self, columns: Mapping[str, Floats]) -> None:
        self._columns = columns

    def __missing__(self, name: str) -> list[float]:
        values: list[float] = self._columns[name].tolist()
        self[name] = values
        return values


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
        self._market = _Lists(market)
        self._figures = _Lists(figures)
        self._positions = positions
        self._changing_columns = changing
        self._changing = _Lists(changing)
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

    def risk_levels(self) -> Chosen:
        """:attr:`risk_level` over the window, for the log of decisions alone."""
        return Chosen(_LEVELS, self._risk_levels)

    def figure(self, name: str) -> float:
        """A monitors' figure, e.g. ``debt_usd``."""
        return self._figures[name][self._i]

    def market(self, column: str) -> float:
        """A market column at the tick.

        Raises:
            ComponentError: STRAT-001, the mode does not have that column.
        """
        if column not in self._market_columns:
            raise ComponentError("STRAT-001", f"the market has no column {column!r}", "strategy_manager")
        return self._market[column][self._i]

    def market_column(self, column: str) -> Floats:
        """A market column over the window, for the log of decisions alone.

        Raises:
            ComponentError: STRAT-001, the mode does not have that column.
        """
        if column not in self._market_columns:
            raise ComponentError("STRAT-001", f"the market has no column {column!r}", "strategy_manager")
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
        return {name: self._market[name][self._i] for name in self._market_columns}

    def position(self, key: str) -> float:
        """Quantity held of an instrument; scaled for aTokens and debt."""
        if key in self._changing_columns:
            return self._changing[key][self._i]
        return self._positions.get(key, 0.0)

    def positions(self) -> dict[str, float]:
        """All quantities."""
        return {**self._positions, **{key: self._changing[key][self._i] for key in self._changing_columns}}
