"""What travels on the bus: run, window, execution and reconciliation messages.

On the wire each is one msgpack map (``basis.runtime.codec``). *Columns* are raw little-endian float64, one entry a tick,
under the name of what they hold; a missing name means that the value does not change within the window.


A module a conversation; all names are imported from here.
"""

from __future__ import annotations

from basis.models.messages.live import Halt, HaltReply, ReadyReply, ReadyRequest
from basis.models.messages.log import FileSeal, RemoveReply, RemoveRequest, RunEnd, RunMetadata, RunSealed, RunStart
from basis.models.messages.orders import (
    AfterOrders,
    ExecutedTransaction,
    ExecuteReply,
    ExecuteRequest,
    Lines,
    LogLine,
    OrdersReply,
    OrdersRequest,
    Outcome,
    PositionsReply,
    PositionsRequest,
    ReconcileReply,
    ReconcileRequest,
)
from basis.models.messages.run import (
    OPEN_END,
    Balances,
    Columns,
    Control,
    RequestedFlow,
    RunMode,
    RunOutcome,
    RunRef,
    RunResult,
    RunStatus,
    RunStatusName,
    RunSubmit,
)
from basis.models.messages.state import Checkpoint, InHand, RunRecord, RunStatistics, Trading
from basis.models.messages.window import (
    AdvanceReply,
    AdvanceRequest,
    AssessReply,
    AssessRequest,
    CommitReply,
    CommitRequest,
    CoverageReply,
    CoverageRequest,
    Detail,
    PortfolioState,
    Settlement,
    Window,
)

__all__ = [
    "OPEN_END",
    "AdvanceReply",
    "AdvanceRequest",
    "AfterOrders",
    "AssessReply",
    "AssessRequest",
    "Balances",
    "Checkpoint",
    "Columns",
    "CommitReply",
    "CommitRequest",
    "Control",
    "CoverageReply",
    "CoverageRequest",
    "Detail",
    "ExecuteReply",
    "ExecuteRequest",
    "ExecutedTransaction",
    "FileSeal",
    "Halt",
    "HaltReply",
    "InHand",
    "Lines",
    "LogLine",
    "OrdersReply",
    "OrdersRequest",
    "Outcome",
    "PortfolioState",
    "PositionsReply",
    "PositionsRequest",
    "ReadyReply",
    "ReadyRequest",
    "ReconcileReply",
    "ReconcileRequest",
    "RemoveReply",
    "RemoveRequest",
    "RequestedFlow",
    "RunEnd",
    "RunMetadata",
    "RunMode",
    "RunOutcome",
    "RunRecord",
    "RunRef",
    "RunResult",
    "RunSealed",
    "RunStart",
    "RunStatistics",
    "RunStatus",
    "RunStatusName",
    "RunSubmit",
    "Settlement",
    "Trading",
    "Window",
]
