"""What every simulated venue must do. Its tests inherit one of the suites and say what the venue offers.

* :class:`VenueConformance`: every venue;
* :class:`OnChainConformance`: venues whose operations may be steps of an atomic group;
* :class:`LendingConformance`: on-chain venues that lend against collateral;
* :class:`ExchangeConformance`: centralised exchanges.

Value is counted by :class:`basis.runtime.valuation.Valuer`. Tests are parametrised over the cases that a class names, so
a new case is a handful of new tests.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from basis.models.config import AaveConfig
from basis.models.errors import ERROR_REGISTRY, ComponentError
from basis.models.instruments import AAVE_RESERVES, CLIENT, INSTRUMENTS, InstrumentType, Venue
from basis.models.operations import TRADES, ExecutionMode, ExecutionStatus, OperationType, OrderSide, StrategyIntent
from basis.models.order import Order
from basis.runtime.fills import lots_to_quantity, market_config, trade_cost
from basis.runtime.gas import gas_fee, order_pays_gas
from basis.runtime.valuation import Valuer
from basis.testkit.strategies import cuts, floats, walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hypothesis.strategies import DataObject
    from numpy.typing import NDArray

    from basis.models.config import AaveReserveConfig, RunConfig
    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement

    Floats = NDArray[np.float64]

Ledger = dict[str, float]

TOLERANCE = 1e-9
"""Largest accepted gap between value before and after, as a part of the value moved."""
_WINDOW = 12
"""Ticks that settlement tests look at."""


class Case(NamedTuple):
    """Orders that a venue accepts, or refuses, on a ledger at a market."""

    name: str
    """What it is, for messages; unique within the class."""
    orders: tuple[Order, ...]
    """One order, or all steps of one atomic group."""
    ledger: Mapping[str, float]
    """Balances before."""
    market: Mapping[str, float]
    """Market row of the tick."""
    tick: int = 3
    """Tick at which they execute."""
    prices: Mapping[str, float] = {}
    """Instrument key -> USD value of one unit at the venue, where it is not the mode's common price."""


class Settled(NamedTuple):
    """What became of a ledger over some ticks without orders."""

    settlements: tuple[Settlement, ...]
    """What venues did on their own, by tick."""
    balances: Mapping[str, Floats]
    """Ledger entries that changed -> value after each tick, shape (ticks,)."""
    ledger: Mapping[str, float]
    """Balances after the last tick."""


class VenueConformance(ABC):
    """Inherit as ``class TestX(VenueConformance)`` and fill in the abstract methods."""

    @abstractmethod
    def transact(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float], tick: int = 3
    ) -> tuple[Sequence[ExecutionHandshake], Mapping[str, float]]:
        """Execute as one transaction, with all venues of :meth:`config`; handshakes and the ledger after."""

    @abstractmethod
    def settle(self, ledger: Mapping[str, float], market: Mapping[str, Floats], first_tick: int) -> Settled:
        """Let ticks pass without orders.

        Args:
            ledger: balances before the first tick; not changed.
            market: market column -> values, one more than ticks: the first is of the tick before.
            first_tick: index of the first tick, at least 1.
        """

    @abstractmethod
    def positions(self, ledger: Mapping[str, float]) -> Mapping[str, float]:
        """What the service answers when it is asked what the account holds."""

    @abstractmethod
    def config(self) -> RunConfig:
        """A mode that uses the venue."""

    @abstractmethod
    def name(self) -> str:
        """Name of the venue."""

    @abstractmethod
    def offered(self) -> frozenset[OperationType]:
        """Operations that the venue offers; every other is refused."""

    @abstractmethod
    def accepted(self) -> list[Case]:
        """Transactions that the venue accepts: at least one for each operation that it offers."""

    @abstractmethod
    def refused(self) -> list[tuple[Case, str]]:
        """Transactions that the venue refuses, each with its error code (of the refusal, not EXEC-005)."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test a case, refusal, and operation."""
        values: dict[str, tuple[Sequence[Any], Sequence[str]]] = {
            "case": (self.accepted(), [case.name for case in self.accepted()]),
            "refusal": (self.refused(), [case.name for case, _ in self.refused()]),
            "available": (sorted(self.offered()), sorted(self.offered())),
            "missing": ([one for one in OperationType if one not in self.offered()],) * 2,
        }
        for name, (found, ids) in values.items():
            if name in metafunc.fixturenames:
                assert len(set(ids)) == len(ids), f"{type(self).__name__}: two cases have the same name"
                metafunc.parametrize(name, found, ids=[str(one) for one in ids])

    # ------------------------------------------------------------------------------------------------------ offers

    def test_offered_operation_has_an_accepted_case(self, available: OperationType) -> None:
        """Every operation that is offered is accepted in some case."""
        assert available in {
            order.operation for case in self.accepted() for order in case.orders if order.venue == self.name()
        }

    def test_operation_that_is_not_offered_is_refused_with_ven_001(self, missing: OperationType) -> None:
        """An operation that the venue does not have never reaches its code."""
        case = self.accepted()[0]
        trade = {"side": OrderSide.BUY, "pair": "ETHUSDT"} if missing in TRADES else {}
        order = Order.model_validate(
            {
                "operation_id": "not-offered",
                "operation": missing,
                "venue": self.name(),
                "amount": 1.0,
                "strategy_intent": StrategyIntent.ENTRY_FULL,
                "strategy_id": "hand_made",
                **trade,
            }
        )
        (handshake,), after = self.transact((order,), case.ledger, case.market)
        assert (handshake.status, handshake.error_code) == (ExecutionStatus.FAILED, "VEN-001")
        assert after == case.ledger

    # --------------------------------------------------------------------------------------------------- acceptance

    def test_case_is_confirmed_and_moves_exactly_its_actual_deltas(self, case: Case) -> None:
        """Instruments of the ledger change by the handshakes' deltas and nothing else."""
        handshakes, after = self._transact(case)
        assert [h.status for h in handshakes] == [ExecutionStatus.CONFIRMED] * len(case.orders), handshakes
        expected = dict(case.ledger)
        for handshake in handshakes:
            for key, delta in handshake.actual_deltas.items():
                expected[key] = expected.get(key, 0.0) + delta
        assert _instruments(after) == _instruments(expected)

    def test_handshakes_answer_each_order_in_sequence(self, case: Case) -> None:
        """Ids come back, and a simulated fill says that it is one and when it was."""
        handshakes, _ = self._transact(case)
        assert [h.operation_id for h in handshakes] == [order.operation_id for order in case.orders]
        for handshake in handshakes:
            assert handshake.simulated
            assert handshake.executed_at == handshake.submitted_at
            assert handshake.error_code is None

    def test_deltas_are_on_instruments_that_the_mode_holds(self, case: Case) -> None:
        """A delta on any other key would be POS-002; one of no size says nothing."""
        handshakes, _ = self._transact(case)
        for handshake in handshakes:
            assert set(handshake.actual_deltas) <= set(self.config().position_subscriptions)
            assert all(math.isfinite(delta) for delta in handshake.actual_deltas.values())
            assert any(delta != 0.0 for delta in handshake.actual_deltas.values())

    def test_repeat_of_an_operation_on_the_same_ledger_gives_the_same_answer(self, case: Case) -> None:
        """A request that is sent twice is harmless."""
        assert self._transact(case) == self._transact(case)

    def test_operation_id_decides_nothing(self, case: Case) -> None:
        """A venue keeps no memory of its own: the id is only handed back, on the ledger before and on the one after."""
        other = [order.model_copy(update={"operation_id": f"{order.operation_id}-again"}) for order in case.orders]
        _, after = self._transact(case)
        for ledger in (case.ledger, after):
            one, ledger_one = self.transact(case.orders, ledger, case.market, case.tick)
            two, ledger_two = self.transact(other, ledger, case.market, case.tick)
            same = {"operation_id": "same"}
            assert [h.model_copy(update=same) for h in one] == [h.model_copy(update=same) for h in two]
            assert ledger_one == ledger_two

    def test_unknown_outcome_is_resolved_by_positions_and_by_asking_again(self, case: Case) -> None:
        """Where a handshake never arrives, the balances say whether it happened, and the same request has its answer."""
        handshakes, after = self._transact(case)  # lost on the way
        moved = {key for h in handshakes for key, delta in h.actual_deltas.items() if delta}
        before, now = self.positions(case.ledger), self.positions(after)
        assert set(before) == set(now) == set(self.config().position_subscriptions)
        net = {key for key in moved if after.get(key, 0.0) != case.ledger.get(key, 0.0)}
        assert net
        assert {key for key in now if now[key] != before[key]} == net
        again, after_again = self._transact(case)
        assert (list(again), dict(after_again)) == (list(handshakes), dict(after))

    def test_inputs_are_never_mutated(self, case: Case) -> None:
        """Orders, ledger and market of an accepted transaction stay as they were."""
        self._assert_untouched(case)

    def test_value_falls_by_the_stated_costs_and_nothing_else(self, case: Case) -> None:
        """Fees, gas, slippage and what was paid out to the client explain every change of value, order by order."""
        handshakes, _ = self._transact(case)
        for handshake in handshakes:
            values = [delta * self._unit(key, case) for key, delta in handshake.actual_deltas.items()]
            costs = [cost * self._unit(key, case) for kind in handshake.costs.values() for key, cost in kind.items()]
            gross = math.fsum(map(abs, values))
            assert abs(math.fsum([*values, *costs])) <= TOLERANCE * max(gross, 1e-6), handshake

    def test_costs_are_positive_and_on_instruments_that_the_mode_holds(self, case: Case) -> None:
        """A cost is an amount lost; a gain is none."""
        handshakes, _ = self._transact(case)
        for handshake in handshakes:
            for kind, by_key in handshake.costs.items():
                assert set(by_key) <= set(self.config().position_subscriptions), kind
                assert all(math.isfinite(cost) and cost > 0.0 for cost in by_key.values()), kind

    def test_gas_is_paid_by_transactions_of_the_wallet_and_by_nothing_else(self, case: Case) -> None:
        """Each on-chain operation pays its units at the tick's price; trades and withdrawals of an exchange pay none."""
        handshakes, _ = self._transact(case)
        for order, handshake in zip(case.orders, handshakes, strict=True):
            gas = sum(handshake.costs.get("gas", {}).values())
            expected = gas_fee(self.config(), case.market, order.operation).amount if order_pays_gas(order) else 0.0
            assert gas == expected, order.operation

    def test_capital_leaves_only_by_a_transfer_to_the_client(self, case: Case) -> None:
        """``external`` is what monitors lower the capital by: anything else there would hide a loss."""
        handshakes, _ = self._transact(case)
        for order, handshake in zip(case.orders, handshakes, strict=True):
            assert bool(handshake.costs.get("external")) == (order.target_venue == CLIENT), order

    def test_balances_are_never_negative(self, case: Case) -> None:
        """No token, aToken or debt is below zero after an accepted transaction."""
        _, after = self._transact(case)
        assert not _negative(after)

    def test_nothing_executes_on_an_empty_ledger(self, case: Case) -> None:
        """Without a balance there is nothing to give, pay gas with or put up as margin."""
        handshakes, after = self.transact(case.orders, {}, case.market, case.tick)
        assert after == {}
        assert all(not h.actual_deltas and h.error_code is not None for h in handshakes)

    @given(factor=floats(1e-6, 1e6), drain=floats(0.0, 1.0))
    @settings(max_examples=30)
    def test_any_size_on_any_balance_creates_no_value_and_no_negative_balance(
        self, case: Case, factor: float, drain: float
    ) -> None:
        """Whatever is asked for, the account never gets richer by it; what is refused moves nothing."""
        orders = tuple(self.resized(order, factor) for order in case.orders)
        ledger = {key: quantity * drain for key, quantity in case.ledger.items()}
        handshakes, after = self.transact(orders, ledger, case.market, case.tick)
        assert not _negative(after)
        if handshakes[0].status is not ExecutionStatus.CONFIRMED:
            assert after == ledger
        gross = sum(abs(q * self._unit(key, case)) for key, q in (*_items(ledger), *_items(after)))
        assert self._value(after, case) - self._value(ledger, case) <= TOLERANCE * gross

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

    # ----------------------------------------------------------------------------------------------------- refusals

    def test_refusal_names_its_code_and_leaves_the_ledger_as_it_was(self, refusal: tuple[Case, str]) -> None:
        """Failed alone, rolled back in a group; either way nothing moved and nothing was paid."""
        case, code = refusal
        handshakes, after = self._transact(case)
        atomic = case.orders[0].execution_mode is ExecutionMode.ATOMIC
        status = ExecutionStatus.ROLLED_BACK if atomic else ExecutionStatus.FAILED
        assert [h.status for h in handshakes] == [status] * len(case.orders), handshakes
        assert all(not h.actual_deltas and not h.costs and h.fee_amount == 0.0 for h in handshakes)
        assert after == case.ledger
        first = handshakes[0]
        named = str(first.error_message).split("[")[1].split("]")[0] if atomic else first.error_code
        assert named == code, first
        assert named in ERROR_REGISTRY

    def test_refusal_says_why(self, refusal: tuple[Case, str]) -> None:
        """A person can act on it, and asking again gets the same answer."""
        handshakes, _ = self._transact(refusal[0])
        assert all(len(str(h.error_message)) > 10 for h in handshakes)
        assert (handshakes, dict(refusal[0].ledger)) == self._transact(refusal[0])

    def test_refused_inputs_are_never_mutated(self, refusal: tuple[Case, str]) -> None:
        """Orders, ledger and market of a refused transaction stay as they were."""
        self._assert_untouched(refusal[0])

    @pytest.mark.parametrize("amount", [math.nan, math.inf, -math.inf, 0.0, -1.0])
    def test_amount_that_is_no_positive_number_is_no_order(self, amount: float) -> None:
        """Such an order cannot be built."""
        order = self.accepted()[0].orders[0]
        with pytest.raises(ValueError, match="amount"):
            Order.model_validate(order.model_dump() | {"amount": amount})

    # --------------------------------------------------------------------------------------------------- settlement

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=10)
    def test_empty_ledger_is_settled_with_nothing(self, seed: int) -> None:
        """An account that holds nothing is not paid, charged or liquidated."""
        market = walk(dict(self.accepted()[0].market), _WINDOW + 1, seed)
        settled = self.settle({}, market, 1)
        assert not settled.settlements
        assert not any(np.any(column) for column in settled.balances.values())
        assert not any(settled.ledger.values())

    @given(data=st.data(), seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=10)
    def test_settlement_does_not_depend_on_windows(self, case: Case, data: DataObject, seed: int) -> None:
        """The same ticks in one piece or in many give the same settlements and the same floats."""
        market = walk(dict(case.market), _WINDOW + 1, seed)
        _, ledger = self._transact(case)
        first = case.tick + 1
        whole = self.settle(ledger, market, first)
        columns: dict[str, list[Floats]] = {}
        settlements: list[Settlement] = []
        pieces: Mapping[str, float] = ledger
        done = 0
        for ticks in data.draw(cuts(_WINDOW)):
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
        market = walk(dict(case.market), _WINDOW + 1, seed)
        _, ledger = self._transact(case)
        untouched = copy.deepcopy(dict(ledger))
        settled = self.settle(ledger, market, case.tick + 1)
        assert ledger == untouched
        ticks = [settlement.tick for settlement in settled.settlements]
        assert ticks == sorted(ticks)
        held = set(self.config().position_subscriptions)
        for settlement in settled.settlements:
            assert case.tick < settlement.tick <= case.tick + _WINDOW
            assert set(settlement.deltas) | set(settlement.fees) <= held
            assert all(math.isfinite(delta) for delta in settlement.deltas.values())
            assert all(fee >= 0.0 for fee in settlement.fees.values())
        for key, column in settled.balances.items():
            assert column.shape == (_WINDOW,)
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

    # ------------------------------------------------------------------------------------------------------ helpers

    def resized(self, order: Order, factor: float) -> Order:
        """An order of another size."""
        return order.model_copy(update={"amount": order.amount * factor})

    def _transact(self, case: Case) -> tuple[list[ExecutionHandshake], dict[str, float]]:
        handshakes, after = self.transact(case.orders, case.ledger, case.market, case.tick)
        return list(handshakes), dict(after)

    def _assert_untouched(self, case: Case) -> None:
        ledger, market = dict(case.ledger), dict(case.market)
        before = copy.deepcopy((ledger, market, case.orders))
        self.transact(case.orders, ledger, market, case.tick)
        assert (ledger, market, case.orders) == before

    def _unit(self, key: str, case: Case) -> float:
        """USD value of one unit: the venue's own price where the case names one, else the mode's."""
        return case.prices[key] if key in case.prices else self._valuer().unit_usd(key, case.market)

    def _valuer(self) -> Valuer:
        """Values of the venue's configuration; it is the same whenever a suite is asked for it."""
        found = type(self).__dict__.get("_known_valuer")
        if not isinstance(found, Valuer):
            found = Valuer.of(self.config())
            type(self)._known_valuer = found
        return found

    _known_valuer: ClassVar[Valuer | None] = None

    def _value(self, ledger: Mapping[str, float], case: Case) -> float:
        return math.fsum(quantity * self._unit(key, case) for key, quantity in _items(ledger))


class OnChainConformance(VenueConformance):
    """A venue whose operations may be steps of an atomic group."""

    def test_group_with_an_impossible_last_step_leaves_every_balance(self, case: Case) -> None:
        """All or nothing: what the first steps moved is undone, entries included, and every step says so."""
        steps = [*case.orders, case.orders[-1].model_copy(update={"amount": 1e30, "operation_id": "impossible"})]
        handshakes, after = self.transact(_group(steps), case.ledger, case.market, case.tick)
        assert [h.status for h in handshakes] == [ExecutionStatus.ROLLED_BACK] * len(steps)
        assert {h.error_code for h in handshakes} == {"EXEC-005"}
        assert all(not h.actual_deltas and not h.costs for h in handshakes)
        assert after == case.ledger

    def test_group_of_a_case_does_what_its_steps_do_alone(self, case: Case) -> None:
        """An operation costs and moves the same inside a transaction of its own."""
        alone, ledger = self._transact(case)
        grouped, after = self.transact(_group(case.orders), case.ledger, case.market, case.tick)
        assert [h.status for h in grouped] == [ExecutionStatus.CONFIRMED] * len(case.orders)
        assert [h.actual_deltas for h in grouped] == [h.actual_deltas for h in alone]
        assert [h.costs for h in grouped] == [h.costs for h in alone]
        assert after == ledger


class LendingConformance(OnChainConformance):
    """A venue that lends against collateral."""

    @given(factor=floats(1e-3, 1e3), drain=floats(0.0, 1.0), seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=30)
    def test_no_operation_takes_a_health_factor_from_at_least_one_to_below(
        self, case: Case, factor: float, drain: float, seed: int
    ) -> None:
        """At any prices, sizes and balances; the health factor is computed here, not by the venue."""
        market = {name: float(column[-1]) for name, column in walk(dict(case.market), 8, seed, scale=0.1).items()}
        ledger = {key: quantity * (drain if "debtToken" in key else 1.0) for key, quantity in case.ledger.items()}
        before = self.health_factor(ledger, market)
        assume(before >= 1.0)
        orders = [order.model_copy(update={"amount": order.amount * factor}) for order in case.orders]
        _, after = self.transact(orders, ledger, market, case.tick)
        assert self.health_factor(after, market) >= 1.0 - 1e-12

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=10)
    def test_growing_indices_never_shrink_what_is_supplied_or_owed(self, case: Case, seed: int) -> None:
        """Interest is in the index: scaled balances stay, and what they stand for never falls."""
        market = {name: np.full(_WINDOW + 1, value) for name, value in case.market.items()}
        grown = walk(dict(case.market), _WINDOW + 1, seed)
        market |= {name: grown[name] for name in market if "_index:" in name}
        settled = self.settle(case.ledger, market, case.tick + 1)
        assert not settled.settlements
        for token in AAVE_RESERVES:
            for key, index in (
                (f"aave_v3:aToken:a{token}", f"liquidity_index:{token}"),
                (f"aave_v3:debtToken:debt{token}", f"borrow_index:{token}"),
            ):
                held = case.ledger.get(key, 0.0)
                assert settled.ledger.get(key, 0.0) == held
                if held:
                    assert np.all(np.diff(held * market[index]) >= 0.0)

    @given(fall=floats(0.05, 0.95), rise=floats(1.0, 3.0))
    @settings(max_examples=50)
    def test_liquidation_never_leaves_the_account_better_off(self, fall: float, rise: float) -> None:
        """Whatever prices do: equity falls by the bonus, no debt grows, and nothing is taken twice at one tick."""
        for case in self.under_water():
            row = {
                name: value * (fall if name == "price_usd:USDT" else rise if name == "price_usd:ETH" else 1.0)
                for name, value in case.market.items()
            }
            market = {name: np.array([case.market[name], row[name]]) for name in row}
            settled = self.settle(case.ledger, market, case.tick + 1)
            if self.health_factor(case.ledger, row) >= 1.0:
                assert not settled.settlements, case.name
                continue
            assert [settlement.kind for settlement in settled.settlements] == ["liquidation"], case.name
            at = case._replace(market=row)
            gain = self._value(settled.ledger, at) - self._value(case.ledger, at)
            (done,) = settled.settlements
            penalty = math.fsum(fee * self._unit(key, at) for key, fee in done.fees.items())
            gross = math.fsum(abs(delta * self._unit(key, at)) for key, delta in done.deltas.items())
            assert abs(gain + penalty) <= TOLERANCE * gross, case.name
            assert gain <= 0.0 or gain <= TOLERANCE * gross, case.name
            assert all(delta < 0.0 for delta in done.deltas.values()), case.name
            assert not _negative(settled.ledger), case.name

    @abstractmethod
    def under_water(self) -> list[Case]:
        """Accounts in USDT collateral and ETH debt, or the reverse, that falling or rising prices break; no orders."""

    def health_factor(self, ledger: Mapping[str, float], market: Mapping[str, float]) -> float:
        """Collateral x threshold over debt, computed from the configuration alone; infinite without debt."""
        valuer, aave = Valuer.of(self.config()), self.config().venues[Venue.AAVE_V3]
        assert isinstance(aave, AaveConfig)
        limit = debt = 0.0
        for key, quantity in _items(ledger):
            found = INSTRUMENTS[key]
            if found.venue == Venue.AAVE_V3 and found.type is InstrumentType.A_TOKEN and quantity:
                limit += quantity * valuer.unit_usd(key, market) * _threshold(aave, found.underlying)
            elif found.venue == Venue.AAVE_V3 and quantity:
                debt -= quantity * valuer.unit_usd(key, market)
        return limit / debt if debt > 0.0 else math.inf


class ExchangeConformance(VenueConformance):
    """A centralised exchange."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test a trade besides."""
        super().pytest_generate_tests(metafunc)
        if "trade" in metafunc.fixturenames:
            found = [case for case in self.accepted() if case.orders[0].operation in TRADES]
            metafunc.parametrize("trade", found, ids=[case.name for case in found])

    def resized(self, order: Order, factor: float) -> Order:
        """Trades in whole lots, at least one: any other size is refused before its effect could be wrong."""
        if order.operation not in TRADES:
            return super().resized(order, factor)
        perp = order.operation is OperationType.PERP_TRADE
        lot = market_config(self.config(), self.name(), str(order.pair), perp=perp).lot
        lots = max(round(order.amount * factor / lot), 1)
        return order.model_copy(update={"amount": lots_to_quantity(lots, lot)})

    def test_trade_is_never_a_step_of_an_atomic_group(self, case: Case) -> None:
        """Such an order cannot be built; a withdrawal is refused or executes, but is never half done."""
        for order in case.orders:
            fields = {"execution_mode": "atomic", "atomic_group_id": "g", "sequence_in_group": 0}
            if order.operation in TRADES:
                with pytest.raises(ValueError, match="never in an atomic group"):
                    Order.model_validate(order.model_dump() | fields)
                continue
            steps = [*case.orders, order.model_copy(update={"amount": 1e30, "operation_id": "impossible"})]
            _, after = self.transact(_group(steps), case.ledger, case.market, case.tick)
            assert after == case.ledger

    def test_size_that_is_no_whole_number_of_lots_is_refused_with_ven_007(self, trade: Case) -> None:
        """A real exchange would reject it before it trades; nothing is rounded silently."""
        (order,) = trade.orders
        odd = order.model_copy(update={"amount": order.amount * (1.0 + 1.234567e-7)})
        (handshake,), after = self.transact((odd,), trade.ledger, trade.market, trade.tick)
        assert (handshake.status, handshake.error_code) == (ExecutionStatus.FAILED, "VEN-007")
        assert after == trade.ledger

    def test_trade_is_refused_beyond_its_slippage_tolerance(self, trade: Case) -> None:
        """The fill is worse than the market price by the venue's cost; an order that accepts less is refused."""
        (order,) = trade.orders
        strict = order.model_copy(update={"slippage_tolerance": 1e-6})
        (handshake,), after = self.transact((strict,), trade.ledger, trade.market, trade.tick)
        assert (handshake.status, handshake.error_code) == (ExecutionStatus.FAILED, "VEN-009")
        assert after == trade.ledger

    def test_trade_pays_taker_fee_and_slippage_of_its_notional(self, trade: Case) -> None:
        """Both in the money that the trade settles in, by the rates of the venue's configuration."""
        (order,) = trade.orders
        perp = order.operation is OperationType.PERP_TRADE
        price = trade.market[f"{'perp' if perp else 'spot'}:{self.name()}:{order.pair}"]
        notional = order.amount * price
        cost = trade_cost(self.config(), self.name(), str(order.pair), notional, perp=perp)
        (handshake,), _ = self.transact((order,), trade.ledger, trade.market, trade.tick)
        sign = 1.0 if order.side is OrderSide.BUY else -1.0
        fee = notional * (1.0 + sign * cost.slippage) * cost.fee_rate
        key = f"{self.name()}:BaseToken:USDT"
        assert handshake.costs["fees"] == {key: pytest.approx(fee, rel=1e-12)}
        # the fill and the market price differ in a few digits alone
        assert handshake.costs["slippage"] == {key: pytest.approx(notional * cost.slippage, rel=1e-9)}

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=10)
    def test_perp_gains_move_into_the_margin_at_every_tick(self, case: Case, seed: int) -> None:
        """Between settlements a margin balance moves with the mark, and a perp's quantity not at all."""
        market = walk(dict(case.market), _WINDOW + 1, seed, scale=1e-3)
        market |= {name: np.zeros(_WINDOW + 1) for name in market if name.startswith("funding:")}
        _, ledger = self._transact(case)
        settled = self.settle(ledger, market, case.tick + 1)
        assert not [settlement for settlement in settled.settlements if settlement.venue == self.name()]
        margin = f"{self.name()}:BaseToken:USDT"
        gains = np.zeros(_WINDOW)
        for key, quantity in _items(ledger):
            found = INSTRUMENTS[key]
            if found.type is InstrumentType.PERP and found.venue == self.name() and found.symbol.endswith("USDT"):
                gains += quantity * np.diff(market[f"perp:{self.name()}:{found.symbol}"])
                assert settled.ledger[key] == quantity
        expected = ledger.get(margin, 0.0) + np.cumsum(gains)
        held = settled.balances.get(margin, np.full(_WINDOW, ledger.get(margin, 0.0)))
        assert held == pytest.approx(expected, rel=1e-9, abs=1e-6)


def _group(orders: Sequence[Order]) -> tuple[Order, ...]:
    """The orders as steps of one transaction."""
    fields = [
        {"execution_mode": ExecutionMode.ATOMIC, "atomic_group_id": "group", "sequence_in_group": place}
        for place in range(len(orders))
    ]
    return tuple(order.model_copy(update=found) for order, found in zip(orders, fields, strict=True))


def _threshold(aave: AaveConfig, token: str) -> float:
    reserve: AaveReserveConfig = aave.reserves[token]
    return aave.emode.liquidation_threshold if aave.emode and token != "USDT" else reserve.liquidation_threshold


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


def _items(ledger: Mapping[str, float]) -> list[tuple[str, float]]:
    """Instruments of a ledger, without entries of a venue's own."""
    return [(key, quantity) for key, quantity in ledger.items() if key in INSTRUMENTS]


def _instruments(ledger: Mapping[str, float]) -> dict[str, float]:
    return dict(_items(ledger))


def _negative(ledger: Mapping[str, float]) -> list[str]:
    return [key for key, held in _items(ledger) if held < 0.0 and INSTRUMENTS[key].type is not InstrumentType.PERP]
