"""Settlements in columns: thousands of fundings a run are a handful of arrays a window, not a model each. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from basis.models.messages import Settlement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from basis.models.messages import Detail
    from basis.models.operations import SettlementKind

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SettlementColumns:
    """Settlements of one venue and kind that change the same keys, at most one a tick; see ``Settlement`` for the fields.

    Those of a window come in such a sequence that within each tick the first of them comes first.
    """

    venue: str
    kind: SettlementKind
    ticks: NDArray[np.int64]
    """Tick of each, ascending, no two alike; never empty."""
    deltas: Mapping[str, Floats]
    """Instrument key -> signed changes, net of fees."""
    fees: Mapping[str, Floats] = field(default_factory=dict)
    """Instrument key -> fees, positive; already inside ``deltas``."""
    details: Mapping[str, Detail | Floats] = field(default_factory=dict)
    """Facts about all of them, or about each where it is an array."""

    def __len__(self) -> int:
        return len(self.ticks)

    def before(self, tick: int) -> SettlementColumns | None:
        """Those of the ticks before one; None where there are none."""
        count = int(np.searchsorted(self.ticks, tick))
        if count in {0, len(self.ticks)}:
            return self if count else None
        return replace(
            self,
            ticks=self.ticks[:count],
            deltas={key: values[:count] for key, values in self.deltas.items()},
            fees={key: values[:count] for key, values in self.fees.items()},
            details={
                name: value[:count] if isinstance(value, np.ndarray) else value for name, value in self.details.items()
            },
        )

    def rows(self) -> Iterator[Settlement]:
        """One by one."""
        for place, tick in enumerate(self.ticks.tolist()):
            yield Settlement(
                tick=tick,
                venue=self.venue,
                kind=self.kind,
                deltas={key: float(values[place]) for key, values in self.deltas.items()},
                fees={key: float(values[place]) for key, values in self.fees.items()},
                details={
                    name: float(value[place]) if isinstance(value, np.ndarray) else value
                    for name, value in self.details.items()
                },
            )


def in_columns(settlements: Iterable[Settlement]) -> tuple[SettlementColumns, ...]:
    """Settlements that are few: each in columns of its own, so that their sequence stays as it is."""
    return tuple(
        SettlementColumns(
            venue=found.venue,
            kind=found.kind,
            ticks=np.array([found.tick]),
            deltas={key: np.array([delta]) for key, delta in found.deltas.items()},
            fees={key: np.array([fee]) for key, fee in found.fees.items()},
            details=found.details,
        )
        for found in settlements
    )


def in_rows(columns: Iterable[SettlementColumns]) -> tuple[Settlement, ...]:
    """All settlements of a window one by one: by tick, then in the sequence of the columns."""
    return tuple(sorted((row for found in columns for row in found.rows()), key=lambda row: row.tick))
