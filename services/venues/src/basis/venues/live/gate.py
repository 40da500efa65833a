"""May an order be sent now? Arming, halts, the dead-man switch and the day's notional; asked right before every send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from pydantic import Field

from basis.models.base import FrozenModel, NonNegative
from basis.models.messages import Halt
from basis.models.operations import StrategyIntent
from basis.runtime import subjects
from basis.venues.core import limits
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats.js.kv import KeyValue

    from basis.models.config import RunConfig
    from basis.models.order import Order
    from basis.runtime.bus import Bus
    from basis.runtime.clock import Clock
    from basis.runtime.settings import Settings
    from basis.runtime.valuation import Valuer
    from basis.venues.core.limits import Standing

_COMPONENT = "trading_limits"


class Spent(FrozenModel):
    """Notional of the orders of one UTC day: entry ``<correlation_id>.day`` of the bucket ``trading``."""

    day: str
    """ISO date."""
    operations: dict[str, NonNegative] = Field(default_factory=dict)
    """First operation_id of each order or group -> notional, USD: one that is asked for twice counts once."""

    @property
    def total_usd(self) -> float:
        """Sum of the day."""
        return sum(self.operations.values())


class Heartbeats:
    """When each run's engine was last heard; monotonic seconds.

    A run that is first asked about counts as heard then: a venues service that has just started gives its engine time.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: dict[str, float] = {}

    def beat(self, correlation_id: str) -> None:
        """Its engine is there."""
        self._last[correlation_id] = self._monotonic()

    def silence_s(self, correlation_id: str) -> float:
        """Seconds since its engine was heard."""
        return self._monotonic() - self._last.setdefault(correlation_id, self._monotonic())

    def forget(self, correlation_id: str) -> None:
        """The run has ended."""
        self._last.pop(correlation_id, None)


class Gate:
    """Lets orders through, or refuses them before anything is sent.

    Args:
        bus: for the bucket ``trading``.
        settings: whether this process is armed.
        clock: for the UTC day.
        heartbeats: of the engines.
    """

    def __init__(self, bus: Bus, settings: Settings, clock: Clock, heartbeats: Heartbeats) -> None:
        self._settings = settings
        self._clock = clock
        self._heartbeats = heartbeats
        self._bucket = Bucket(bus, subjects.KV_TRADING)
        self._days: dict[str, tuple[Spent, int]] = {}
        """Run -> its day as this replica last wrote it, and the revision; a write on it fails where another wrote since."""

    def require_armed(self, config: RunConfig) -> None:
        """Configuration and environment must both arm trading.

        Raises:
            VenueRefusal: VEN-016; says which does not.
        """
        if not config.live.enabled:
            message = f"{config.mode} is not armed for live trading: set live.enabled to true in its configuration"
            raise VenueRefusal("VEN-016", message, _COMPONENT)
        if not self._settings.live_trading:
            message = "the venues service is not armed for live trading: set BASIS_LIVE_TRADING=true in its environment"
            raise VenueRefusal("VEN-016", message, _COMPONENT)

    async def require_open(self, correlation_id: str, orders: Sequence[Order], config: RunConfig) -> None:
        """Armed, not halted, and the engine is there: the last look before something is sent.

        Raises:
            VenueRefusal: VEN-016.
        """
        self.require_heard(correlation_id, config)
        halt = await self.halt(correlation_id)
        if halt is not None:
            leaves = all(order.strategy_intent is StrategyIntent.EXIT_FULL for order in orders)
            if not (halt.unwind and leaves):
                raise VenueRefusal("VEN-016", f"trading is halted: {halt.reason or 'emergency stop'}", _COMPONENT)

    def require_heard(self, correlation_id: str, config: RunConfig) -> None:
        """Armed, and the engine is there; asks no one.

        Raises:
            VenueRefusal: VEN-016.
        """
        self.require_armed(config)
        silence = self._heartbeats.silence_s(correlation_id)
        if silence > config.live.dead_man_s:
            message = f"the engine has been silent for {silence:.1f} s, live.dead_man_s is {config.live.dead_man_s:g}"
            raise VenueRefusal("VEN-016", message, _COMPONENT)

    async def halt(self, correlation_id: str) -> Halt | None:
        """The run's emergency stop; None where there is none."""
        found = await self._bucket.value(subjects.halt_key(correlation_id))
        return None if found is None else Halt.model_validate_json(found)

    async def admit(
        self, correlation_id: str, orders: Sequence[Order], standing: Standing, config: RunConfig, valuer: Valuer
    ) -> None:
        """Check the limits, and count the notional to the day before anything is sent.

        Args:
            correlation_id: run.
            orders: one order, or the steps of an atomic group.
            standing: where the run stands; its ``spent_usd`` is filled in here.
            config: configuration of the run.
            valuer: prices of the mode.

        Raises:
            VenueRefusal: VEN-015.
        """
        bucket, key = await self._bucket.open(), f"{correlation_id}.day"
        operation = orders[0].operation_id
        while True:
            spent, revision = self._days.get(key) or await self._spent(bucket, key)
            today = self._clock.now().date().isoformat()
            if spent.day != today:
                spent = Spent(day=today)
            counted = spent.operations.get(operation)
            # another engine may have decided this tick anew, and to more
            if counted is not None and limits.notional_of(orders, standing.market, valuer) <= counted:
                return
            others = spent.total_usd - (counted or 0.0)
            notional = limits.check(orders, standing._replace(spent_usd=others), config, valuer)
            with_it = Spent(day=spent.day, operations=spent.operations | {operation: notional})
            try:
                written = await bucket.update(key, with_it.model_dump_json().encode(), last=revision)
            except KeyWrongLastSequenceError:
                self._days.pop(key, None)
                await asyncio.sleep(0)  # another order of the run was counted meanwhile: look again
                continue
            self._days[key] = with_it, written
            return

    def forget(self, correlation_id: str) -> None:
        """The run has ended."""
        self._days.pop(f"{correlation_id}.day", None)

    @staticmethod
    async def _spent(bucket: KeyValue, key: str) -> tuple[Spent, int]:
        try:
            entry = await bucket.get(key)
        except KeyNotFoundError:
            return Spent(day=""), 0
        return Spent.model_validate_json(entry.value or b""), entry.revision or 0
