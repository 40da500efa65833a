"""What the engine of a run asks the other services, and what it tells whoever listens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from basis.models.errors import ComponentError
from basis.models.messages import (
    AdvanceReply,
    AdvanceRequest,
    AssessReply,
    AssessRequest,
    CommitReply,
    CommitRequest,
    OrdersReply,
    RunStart,
)
from basis.runtime import codec, health, subjects
from basis.runtime.bus import StreamMessage

if TYPE_CHECKING:
    from basis.models.messages import Checkpoint, OrdersRequest, RunEnd, RunRef, RunStatus, Window
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.strategy.core.run_state import Turn

_READY_PATIENCE_S = 15.0


class RunServices:
    """The services of one run. Each request raises what the service answered, or BUS-002 where none did.

    Args:
        bus: connection.
        clock: wall clock.
        correlation_id: run.
        order_patience_s: how long execution may take for each order, seconds.
    """

    def __init__(self, bus: Bus, clock: Clock, correlation_id: str, order_patience_s: float) -> None:
        self._bus = bus
        self._clock = clock
        self._cid = correlation_id
        self._order_patience_s = order_patience_s

    async def await_ready(self) -> None:
        """Every service that a run needs must be there and ready before its first tick.

        Raises:
            ComponentError: ENGINE-001, one of them is not.
        """
        deadline = self._clock.monotonic() + _READY_PATIENCE_S
        others = [name for name in subjects.RUN_CRITICAL if name != "strategy"]
        while True:
            answers = await asyncio.gather(*(health.ask(self._bus, name) for name in others))
            missing = [
                f"{name} ({answer.get('reason', 'not ready') if answer else 'no answer'})"
                for name, answer in zip(others, answers, strict=True)
                if not answer or not answer.get("ready")
            ]
            if not missing:
                return
            if self._clock.monotonic() > deadline:
                message = f"not ready within {_READY_PATIENCE_S:g} s: {', '.join(missing)}"
                raise ComponentError("ENGINE-001", message, "engine")
            await self._clock.sleep(0.1)

    async def advance(self, run: RunRef, ledger: dict[str, float], first_tick: int, ticks: int) -> Window:
        """The next ticks of a backtest, as many as asked for or fewer.

        Raises:
            ComponentError: ENGINE-002, these are other ticks.
        """
        request = AdvanceRequest(run=run, ledger=ledger, first_tick=first_tick, ticks=ticks)
        reply = await self._bus.request(subjects.venues_advance(self._cid), request, AdvanceReply)
        if reply.window.first_tick != first_tick or reply.window.ticks > ticks:
            raise ComponentError("ENGINE-002", f"asked for tick {first_tick}, got {reply.window.first_tick}", "engine")
        return reply.window

    async def read(self, run: RunRef, state: Checkpoint, tick: int, deposit: float) -> AdvanceReply:
        """One tick of a paper or live run; whoever has the request may have died with it, so it is asked again soon."""
        request = AdvanceRequest(
            run=run,
            ledger=state.ledger,
            first_tick=tick,
            ticks=1,
            after_tick=state.portfolio.tick,
            deposit=deposit,
        )
        return await self._bus.request(
            subjects.venues_advance(self._cid), request, AdvanceReply, timeout_s=subjects.LIVE_REQUEST_S
        )

    async def assess(self, run: RunRef, state: Checkpoint, window: Window) -> AssessReply:
        """What the ticks of a window are worth; nothing is published."""
        request = AssessRequest(run=run, portfolio=state.portfolio, window=window, ledger=state.ledger)
        return await self._bus.request(subjects.monitors_assess(self._cid), request, AssessReply)

    async def commit(self, turn: Turn) -> CommitReply:
        """Have the monitors publish their events of the ticks that count; returns once JetStream has them."""
        before = turn.before
        request = CommitRequest(
            run=turn.run,
            portfolio=before.portfolio,
            window=turn.window,
            ledger=before.ledger,
            ticks=turn.decided.ticks,
        )
        return await self._bus.request(subjects.monitors_commit(self._cid), request, CommitReply)

    async def execute(self, orders: OrdersRequest) -> OrdersReply:
        """Have the orders of a tick executed."""
        patience_s = self._order_patience_s * len(orders.orders)
        again_s = subjects.request_timeout_s(orders.run.run_mode)
        return await self._bus.request(
            subjects.orders(self._cid), orders, OrdersReply, patience_s=patience_s, timeout_s=again_s
        )

    async def tell(self, status: RunStatus) -> None:
        """Say how far the run is; nobody may be listening."""
        await self._bus.publish(subjects.progress(self._cid), status.model_dump_json().encode())


async def announce(bus: Bus, message: RunStart | RunEnd) -> None:
    """Publish the beginning or the end of a run among its events; announced again it counts once."""
    cid = message.correlation_id
    subject, what = (
        (subjects.run_start(cid), "start") if isinstance(message, RunStart) else (subjects.run_end(cid), "end")
    )
    header = {subjects.HEADER_MSG_ID: f"{cid}.{what}"}
    await bus.publish_stream([StreamMessage(subject, codec.encode(message), header)])
