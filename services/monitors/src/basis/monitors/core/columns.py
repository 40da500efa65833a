"""Helpers on columns that all monitors share. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from basis.models.errors import ComponentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from basis.runtime.valuation import Valuer

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]


def running(start: float, parts: Floats) -> Floats:
    """Cumulative sum that goes on from a carried value, strictly in sequence (np.cumsum adds one by one).

    So a run cut into other windows comes to the same floats.
    """
    return np.asarray(np.cumsum(np.concatenate(((start,), parts)))[1:])


class Extended(Mapping[str, "Floats"]):
    """Market columns with the row before in front: every change of the window is a plain difference.

    Args:
        row: market row of the tick before the window.
        market: column -> values, one a tick.
    """

    def __init__(self, row: Mapping[str, float], market: Mapping[str, Floats]) -> None:
        self._row = row
        self._market = market
        self._made: dict[str, Floats] = {}

    def __getitem__(self, name: str) -> Floats:
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = np.concatenate(((self._row[name],), self._market[name]))
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._market)

    def __len__(self) -> int:
        return len(self._market)

    def column(self, name: str) -> Floats:
        """A column.

        Raises:
            ComponentError: PNL-002, the market lacks it.
        """
        if name not in self._market:
            raise ComponentError("PNL-002", f"the market lacks column {name!r}", "pnl_monitor")
        return self[name]


class Prices:
    """Prices of assets over a window, from the tick before it to its last; each is made once.

    Args:
        valuer: prices of the mode.
        market: market columns.
    """

    def __init__(self, valuer: Valuer, market: Extended) -> None:
        self._valuer = valuer
        self._market = market
        self._share: dict[str, Floats] = {}
        self._moves: dict[str, Floats] = {}
        self._usd: dict[str, Floats] = {}
        self.share_usd: Floats = valuer.share_usd(market)
        """USD price of the share class."""

    def share(self, asset: str) -> Floats | None:
        """Price in the share class; None for the share class itself, where it is 1 and never moves."""
        if asset == self._valuer.currency:
            return None
        found = self._share.get(asset)
        if found is None:
            found = self._share[asset] = self._valuer.share(asset, self._market)
        return found

    def move(self, asset: str) -> Floats | None:
        """Change of :meth:`share` over each tick."""
        price = self.share(asset)
        if price is None:
            return None
        found = self._moves.get(asset)
        if found is None:
            found = self._moves[asset] = np.diff(price)
        return found

    def usd(self, asset: str) -> Floats:
        """USD price at each tick of the window."""
        found = self._usd.get(asset)
        if found is None:
            price = self.share(asset)
            usd = self.share_usd[1:]
            found = self._usd[asset] = usd if price is None else price[1:] * usd
        return found
