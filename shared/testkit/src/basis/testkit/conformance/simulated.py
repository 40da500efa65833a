"""What only a simulated venue can be asked.

It is a pure function of a ledger and of market columns: a test makes up both, lets ticks pass in pieces of any length, and puts
values into a column that no market has. A chain or an exchange has a history of its own, in which nobody else can set a price to
NaN or repeat an hour; what becomes of a live account over time is tested where it happens (``tests/chain``,
``tests/integration/live``).
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basis.models.errors import ComponentError
from basis.models.instruments import INSTRUMENTS
from basis.testkit.conformance.adapter import SimulatedAdapter
from basis.testkit.conformance.cases import TOLERANCE, Case
from basis.testkit.conformance.venue import VenueConformance
from basis.testkit.strategies import cuts, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypothesis.strategies import DataObject

    from basis.models.messages import Settlement
    from basis.testkit.conformance.cases import Floats

WINDOW = 12
"""Ticks that settlement tests look at."""


class SimulatedConformance(SimulatedAdapter, VenueConformance):
    """Any simulated venue: inherit it, or the suite of its kind, after what answers the adapter's questions."""

    # ----------------------------------------------------------------------------------------------- poisoned columns

    def test_nan_in_any_market_column_never_reaches_the_ledger(self, case: Case) -> None:
        """A value that is no number ends in a refusal or an error, never in a balance."""
        for column in case.market:
            poisoned = {**case.market, column: math.nan}
            try:
                handshakes, after = self.transact(case.orders, case.ledger, poisoned, case.tick)
            except ValueError:
                continue  # a handshake that holds NaN cannot be built
            except ComponentError as error:
                assert error.error_code == "ENGINE-002", column
                continue
            assert all(math.isfinite(quantity) for quantity in after.values()), (column, handshakes)
            deltas = [delta for h in handshakes for delta in h.actual_deltas.values()]
            assert all(math.isfinite(delta) for delta in deltas), (column, handshakes)

    # --------------------------------------------------------------------------------------------------- settlement

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=10)
    def test_empty_ledger_is_settled_with_nothing(self, seed: int) -> None:
        """An account that holds nothing is not paid, charged or liquidated."""
        market = walk(dict(self.accepted()[0].market), WINDOW + 1, seed)
        settled = self.settle({}, market, 1)
        assert not settled.settlements
        assert not any(np.any(column) for column in settled.balances.values())
        assert not any(settled.ledger.values())

    @given(data=st.data(), seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=10)
    def test_settlement_does_not_depend_on_windows(self, case: Case, data: DataObject, seed: int) -> None:
        """The same ticks in one piece or in many give the same settlements and the same floats."""
        market = walk(dict(case.market), WINDOW + 1, seed)
        _, ledger = self._transact(case)
        first = case.tick + 1
        whole = self.settle(ledger, market, first)
        columns: dict[str, list[Floats]] = {}
        settlements: list[Settlement] = []
        pieces: Mapping[str, float] = ledger
        done = 0
        for ticks in data.draw(cuts(WINDOW)):
            part = {name: column[done : done + ticks + 1] for name, column in market.items()}
            settled = self.settle(pieces, part, first + done)
            for key in whole.balances:
                values = settled.balances.get(key, np.full(ticks, pieces.get(key, 0.0)))
                columns.setdefault(key, []).append(values)
            settlements += settled.settlements
            pieces, done = settled.ledger, done + ticks
        assert tuple(settlements) == whole.settlements
        assert dict(pieces) == dict(whole.ledger)
        for key, column in whole.balances.items():
            assert np.concatenate(columns[key]).tolist() == column.tolist(), key

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=10)
    def test_settlements_move_what_the_mode_holds_by_finite_amounts(self, case: Case, seed: int) -> None:
        """In the order of their ticks, on subscribed keys, penalties positive and the same when asked again."""
        market = walk(dict(case.market), WINDOW + 1, seed)
        _, ledger = self._transact(case)
        untouched = copy.deepcopy(dict(ledger))
        settled = self.settle(ledger, market, case.tick + 1)
        assert ledger == untouched
        ticks = [settlement.tick for settlement in settled.settlements]
        assert ticks == sorted(ticks)
        held = set(self.config().position_subscriptions)
        for settlement in settled.settlements:
            assert case.tick < settlement.tick <= case.tick + WINDOW
            assert set(settlement.deltas) | set(settlement.fees) <= held
            assert all(math.isfinite(delta) for delta in settlement.deltas.values())
            assert all(fee >= 0.0 for fee in settlement.fees.values())
        for key, column in settled.balances.items():
            assert column.shape == (WINDOW,)
            assert column[-1] == settled.ledger.get(key, 0.0), key
        assert self.settle(ledger, market, case.tick + 1).ledger == settled.ledger

    def test_own_ledger_entries_are_never_zero_and_go_when_they_are_due(self, case: Case) -> None:
        """A ledger does not grow with the number of orders: what arrives at a tick is forgotten after it."""
        _, ledger = self._transact(case)
        own = {key: value for key, value in ledger.items() if key not in INSTRUMENTS}
        assert all(own.values()), own
        pending = _pending(own)
        for holder, amount in pending.items():
            assert ledger[holder] == pytest.approx(amount, rel=TOLERANCE), holder
        due = max((int(key.rsplit("@", 1)[1]) for key in own if "@" in key), default=case.tick + 1)
        market = {name: np.full(due - case.tick + 1, value) for name, value in case.market.items()}
        settled = self.settle(ledger, market, case.tick + 1)
        assert not [key for key in settled.ledger if "@" in key]
        for holder in pending:
            assert settled.ledger[holder] == 0.0, holder


def _pending(entries: Mapping[str, float]) -> dict[str, float]:
    """Instrument that holds what is on its way -> how much that is, by the entries that say when it arrives."""
    found: dict[str, float] = {}
    for entry, amount in entries.items():
        venue, kind, rest = entry.split(":")
        token, at, _ = rest.partition("@")
        if at:
            holder = "transit" if kind == "arriving" else venue
            key = f"{holder}:BaseToken:{token}"
            found[key] = found.get(key, 0.0) + amount
    return found
