"""The twelve domain events: what a run leaves behind, one class and one file each."""

from types import MappingProxyType
from typing import TYPE_CHECKING

from basis.models.events.atomic_operation_group import AtomicOperationGroupEvent, GroupStep
from basis.models.events.base import DomainEvent, Phase, Slot, execution_key, order_key, tick_keys
from basis.models.events.event_logging_operation import EventLoggingOperationEvent
from basis.models.events.execution_delta import ExecutionDelta, ExecutionDeltaEvent
from basis.models.events.exposure_snapshot import AssetExposure, ExposureSnapshot
from basis.models.events.operation_execution import OperationExecutionEvent, PositionDelta
from basis.models.events.order_event import OrderEvent
from basis.models.events.pnl_calculation import ATTRIBUTION, PnLCalculation
from basis.models.events.position_snapshot import PositionSnapshot
from basis.models.events.reconciliation import Mismatch, ReconciliationEvent
from basis.models.events.risk_assessment import RiskAssessment
from basis.models.events.strategy_decision import StrategyDecision
from basis.models.events.tight_loop_execution import TightLoopExecutionEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENT_MODELS: "Mapping[str, type[DomainEvent]]" = MappingProxyType(
    {
        model.event_type: model
        for model in (
            PositionSnapshot,
            ExposureSnapshot,
            RiskAssessment,
            PnLCalculation,
            StrategyDecision,
            OrderEvent,
            OperationExecutionEvent,
            AtomicOperationGroupEvent,
            ExecutionDeltaEvent,
            ReconciliationEvent,
            TightLoopExecutionEvent,
            EventLoggingOperationEvent,
        )
    }
)
"""event_type -> model. Adding an event type costs one class and one line here."""

WALL_CLOCK_FIELDS = frozenset(
    {"real_utc_time", "execution_time_ms", "reconciliation_time_ms", "total_time_ms", "duration_ms"}
)
"""Fields that differ between two equal runs: left out of the canonical log, with pid and correlation_id."""

__all__ = [
    "ATTRIBUTION",
    "EVENT_MODELS",
    "WALL_CLOCK_FIELDS",
    "AssetExposure",
    "AtomicOperationGroupEvent",
    "DomainEvent",
    "EventLoggingOperationEvent",
    "ExecutionDelta",
    "ExecutionDeltaEvent",
    "ExposureSnapshot",
    "GroupStep",
    "Mismatch",
    "OperationExecutionEvent",
    "OrderEvent",
    "Phase",
    "PnLCalculation",
    "PositionDelta",
    "PositionSnapshot",
    "ReconciliationEvent",
    "RiskAssessment",
    "Slot",
    "StrategyDecision",
    "TightLoopExecutionEvent",
    "execution_key",
    "order_key",
    "tick_keys",
]
