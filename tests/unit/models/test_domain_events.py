"""The twelve domain events: registry, order keys, strictness, round trips, documentation."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from tests.support.documentation import undocumented

from basis.models import events
from basis.models.base import FrozenModel
from basis.models.events import EVENT_MODELS, WALL_CLOCK_FIELDS, DomainEvent, Phase, Slot, execution_key, order_key
from basis.models.events.base import PHASE_SPAN, SLOTS, TICK_SPAN
from basis.testkit import strategies as bst

CID = "0123456789abcdef0123456789abcdef"
NOW = "2024-05-12T00:00:00+00:00"
HEAD: dict[str, Any] = {"correlation_id": CID, "pid": 7, "real_utc_time": NOW, "order": 5, "timestamp": NOW}
OPERATION: dict[str, Any] = {
    "operation_id": "op",
    "order_id": "op",
    "operation_type": "supply",
    "venue": "aave_v3",
    "source_venue": "wallet",
    "target_venue": "aave_v3",
    "source_token": "USDT",
    "target_token": "aUSDT",
    "atomic_group_id": None,
    "sequence_in_group": None,
}
BODIES: dict[str, dict[str, Any]] = {
    "positions": {
        "positions": {"wallet:BaseToken:USDT": 1.0},
        "total_value_usd": 1.0,
        "position_type": "portfolio",
        "trigger_source": "tick",
    },
    "exposures": {
        "net_delta_usd": 0.0,
        "asset_exposures": {"USDT": {"quantity": 1.0, "usd_value": 1.0, "percentage": 1.0}},
        "total_value_usd": 1.0,
        "share_class_value": 1.0,
    },
    "risk_assessments": {
        "health_factor": 1.5,
        "ltv_ratio": 0.5,
        "liquidation_threshold": 0.8,
        "margin_usage": None,
        "risk_level": "low",
        "warnings": ["w"],
        "breaches": [],
    },
    "pnl_calculations": {
        "realized_pnl": 0.0,
        "unrealized_pnl": 1.0,
        "total_pnl": 1.0,
        "fees_paid": 0.0,
        "funding_received": 0.0,
        "pnl_by_venue": {"aave_v3": 1.0},
        "pnl_by_asset": {"USDT": 1.0},
        "attribution": {"supply": 1.0},
        "attribution_gap": 0.0,
    },
    "strategy_decisions": {
        "decision_type": "hold",
        "trigger_source": "none",
        "orders_generated": 0,
        "action_taken": "hold",
        "reasoning": "within all limits",
        "market_conditions": {"liquidity_index:USDT": 1.05},
        "portfolio_state": {"equity": 1.0},
        "risk_level": "low",
        "constraints_violated": [],
    },
    "orders": OPERATION
    | {
        "amount": 1.0,
        "expected_deltas": {"wallet:BaseToken:USDT": -1.0},
        "strategy_intent": "entry_full",
        "strategy_id": "pure_lending_usdt",
    },
    "operation_executions": OPERATION
    | {
        "status": "confirmed",
        "operation_details": {"liquidity_index": 1.05},
        "position_deltas": [{"instrument_key": "wallet:BaseToken:USDT", "delta": -1.0, "expected": -1.0}],
        "executed_amount": 1.0,
        "fee_amount": 0.1,
        "fee_currency": "USDT",
        "error_code": None,
        "error_message": None,
        "submitted_at": NOW,
        "executed_at": NOW,
        "execution_time_ms": 1.5,
        "venue_metadata": {},
        "simulated": True,
    },
    "atomic_operation_groups": {
        "atomic_group_id": "g",
        "total_operations": 1,
        "operations": [
            {
                "operation_id": "op",
                "operation_type": "stake",
                "venue": "etherfi",
                "status": "confirmed",
                "sequence_in_group": 0,
            }
        ],
        "group_status": "completed",
        "total_gas_fees": 0.1,
        "execution_time_ms": 1.0,
        "rollback_triggered": False,
        "rollback_reason": None,
    },
    "execution_deltas": {
        "source_operation_id": "op",
        "operation_type": "supply",
        "deltas": [
            {
                "instrument_key": "wallet:BaseToken:USDT",
                "delta_amount": -1.0,
                "source": "execution",
                "price": 1.0,
                "fee": 0.0,
            }
        ],
    },
    "reconciliations": {
        "trigger_source": "op",
        "reconciliation_type": "order",
        "success": False,
        "simulated_positions": {"wallet:BaseToken:USDT": 1.0},
        "real_positions": {"wallet:BaseToken:USDT": 2.0},
        "mismatches": [
            {
                "instrument_key": "wallet:BaseToken:USDT",
                "expected": 1.0,
                "actual": 2.0,
                "kind": "balance",
                "tolerance": 1e-9,
            }
        ],
        "retry_attempt": 0,
        "max_retries": 3,
        "execution_deltas_applied": {"wallet:BaseToken:USDT": -1.0},
    },
    "tight_loop_executions": {
        "batch_id": "b",
        "order_number": 1,
        "total_orders": 1,
        "order_id": "op",
        "operation_id": "op",
        "execution_success": True,
        "execution_status": "confirmed",
        "reconciliation_success": True,
        "reconciliation_attempts": 1,
        "retry_attempts": 0,
        "max_retries": 3,
        "execution_time_ms": 1.0,
        "reconciliation_time_ms": 1.0,
        "total_time_ms": 2.0,
        "system_failure_triggered": False,
        "failure_reason": None,
    },
    "event_logger_operations": {
        "operation_type": "seal",
        "event_type": "positions",
        "success": True,
        "events_count": 3,
        "file_path": "events/positions.jsonl",
        "error_code": None,
        "error_message": None,
        "duration_ms": 1.0,
    },
}
TYPES = sorted(EVENT_MODELS)


def test_there_are_twelve_events_and_every_one_has_an_example_here() -> None:
    assert len(EVENT_MODELS) == 12
    assert set(BODIES) == set(EVENT_MODELS)


def test_every_event_class_is_registered_under_its_own_type() -> None:
    classes = {found for found in vars(events).values() if isinstance(found, type) and issubclass(found, DomainEvent)}
    assert classes - {DomainEvent} == set(EVENT_MODELS.values())
    assert all(model.event_type == name for name, model in EVENT_MODELS.items())


@pytest.mark.parametrize("event_type", TYPES)
def test_json_round_trip(event_type: str) -> None:
    model = EVENT_MODELS[event_type]
    found = model.model_validate(HEAD | BODIES[event_type])
    assert model.model_validate_json(found.model_dump_json(by_alias=True)) == found


@pytest.mark.parametrize("event_type", TYPES)
def test_unknown_field_raises(event_type: str) -> None:
    with pytest.raises(ValidationError, match="surprise"):
        EVENT_MODELS[event_type].model_validate(HEAD | BODIES[event_type] | {"surprise": 1})


@pytest.mark.parametrize("event_type", TYPES)
def test_event_is_frozen(event_type: str) -> None:
    found = EVENT_MODELS[event_type].model_validate(HEAD | BODIES[event_type])
    with pytest.raises(ValidationError, match="frozen"):
        found.order = 6  # type: ignore[misc]


@pytest.mark.parametrize("event_type", TYPES)
def test_every_field_is_required_but_metadata(event_type: str) -> None:
    body = HEAD | BODIES[event_type]
    for name in body:
        with pytest.raises(ValidationError):
            EVENT_MODELS[event_type].model_validate({key: value for key, value in body.items() if key != name})
    assert EVENT_MODELS[event_type].model_validate(body).metadata == {}


def _numbers(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _numbers(inner, (*path, key))]
    if isinstance(value, list):
        return [found for place, inner in enumerate(value) for found in _numbers(inner, (*path, place))]
    return [path] if isinstance(value, float) else []


def _put(value: Any, path: tuple[Any, ...], number: float) -> Any:
    if not path:
        return number
    inner = _put(value[path[0]], path[1:], number)
    if isinstance(value, dict):
        return value | {path[0]: inner}
    return [inner if place == path[0] else old for place, old in enumerate(value)]


@pytest.mark.parametrize("event_type", TYPES)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_in_any_number_raise(event_type: str, number: float) -> None:
    body = BODIES[event_type]
    for path in _numbers(body):
        with pytest.raises(ValidationError):
            EVENT_MODELS[event_type].model_validate(HEAD | _put(body, path, number))


@pytest.mark.parametrize(
    "change",
    [
        {"correlation_id": "../etc"},
        {"correlation_id": CID.upper().replace("0", "A")},
        {"pid": 0},
        {"order": -1},
        {"timestamp": "2024-05-12T00:00:00"},
        {"real_utc_time": "yesterday"},
    ],
)
def test_head_that_makes_no_sense_raises(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        EVENT_MODELS["positions"].model_validate(HEAD | BODIES["positions"] | change)


def _nested(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, FrozenModel) and kind not in found:
                found |= _nested(kind)
    return found


@pytest.mark.parametrize("event_type", TYPES)
def test_every_field_is_documented(event_type: str) -> None:
    model = EVENT_MODELS[event_type]
    assert model.title.strip()
    assert not [name for part in _nested(model) for name in undocumented(part)]


def test_wall_clock_fields_exist_and_no_other_duration_does() -> None:
    names = {name for model in EVENT_MODELS.values() for name in model.model_fields}
    assert names >= WALL_CLOCK_FIELDS
    assert {name for name in names if name.endswith("_ms")} <= WALL_CLOCK_FIELDS


class TestOrderKeys:
    @given(
        a=st.tuples(st.integers(0, 10**6), st.sampled_from(Phase), st.integers(0, PHASE_SPAN - 1)),
        b=st.tuples(st.integers(0, 10**6), st.sampled_from(Phase), st.integers(0, PHASE_SPAN - 1)),
    )
    def test_keys_sort_as_tick_phase_position(self, a: tuple[int, Phase, int], b: tuple[int, Phase, int]) -> None:
        assert (order_key(*a) < order_key(*b)) == (a < b)
        assert (order_key(*a) == order_key(*b)) == (a == b)

    @given(
        a=st.tuples(st.integers(0, PHASE_SPAN // SLOTS - 1), st.sampled_from(Slot)),
        b=st.tuples(st.integers(0, PHASE_SPAN // SLOTS - 1), st.sampled_from(Slot)),
        tick=st.integers(0, 10**6),
    )
    def test_execution_keys_sort_as_order_number_then_slot(
        self, a: tuple[int, Slot], b: tuple[int, Slot], tick: int
    ) -> None:
        assert (execution_key(tick, *a) < execution_key(tick, *b)) == (a < b)

    @given(tick=st.integers(0, 10**6), number=st.integers(0, PHASE_SPAN // SLOTS - 1), attempt=st.integers(0, 10))
    def test_execution_keys_lie_between_orders_and_the_second_snapshot(
        self, tick: int, number: int, attempt: int
    ) -> None:
        key = execution_key(tick, number, Slot.RECONCILIATION, attempt)
        assert order_key(tick, Phase.ORDER, PHASE_SPAN - 1) < key < order_key(tick, Phase.AFTER_POSITION)

    @given(attempts=st.integers(0, 10))
    def test_reconciliation_attempts_never_collide_with_another_slot(self, attempts: int) -> None:
        key = execution_key(3, 2, Slot.RECONCILIATION, attempts)
        others = {execution_key(3, 2, slot) for slot in Slot if slot is not Slot.RECONCILIATION}
        others |= {execution_key(3, 3, slot) for slot in Slot}
        assert key not in others

    @given(position=st.integers(-(10**6), 10**6), tick=st.integers(0, 100))
    def test_position_outside_its_phase_raises(self, position: int, tick: int) -> None:
        assume(not 0 <= position < PHASE_SPAN)
        with pytest.raises(ValueError, match="too many events"):
            order_key(tick, Phase.ORDER, position)

    def test_last_phase_fits_into_a_tick(self) -> None:
        assert order_key(0, max(Phase), PHASE_SPAN - 1) < TICK_SPAN == order_key(1, 0)

    def test_a_year_of_minutes_fits_into_a_signed_64_bit_integer(self) -> None:
        assert order_key(366 * 1440, max(Phase), PHASE_SPAN - 1) < 2**63


@given(number=bst.floats(-1e12, 1e12))
def test_floats_survive_json_bit_for_bit(number: float) -> None:
    model = EVENT_MODELS["positions"]
    found = model.model_validate(HEAD | BODIES["positions"] | {"positions": {"wallet:BaseToken:USDT": number}})
    again = model.model_validate_json(found.model_dump_json())
    assert again.positions["wallet:BaseToken:USDT"].hex() == number.hex()  # type: ignore[attr-defined]


def test_wall_clock_fields_but_the_stamp_end_in_ms_as_the_fast_canonical_path_expects() -> None:
    from basis.models.events import WALL_CLOCK_FIELDS

    assert all(name.endswith("_ms") for name in WALL_CLOCK_FIELDS - {"real_utc_time"})
