"""The conformance suite's questions, answered by a live exchange whose account is set to what a case says.

Before each transaction the local exchange is made new: balances and positions are the case's ledger (a perp's entry is its
mark, because a ledger's margin has its PnL inside), prices its market row, fees and spreads the mode's configuration. Then the
order goes the real way: prepare, send over HTTP through ccxt, trades read back, balances asked. Both clocks stand still at the
case's tick, so that the same question has the same answer.

``on_the_row`` is the venues service's own: it settles a perp's slippage against the row, as live runs do.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import settings
from pydantic import SecretStr
from tests.support.live_cex import ADDRESS, HOME, live_config

from basis.models.execution import ExecutionHandshake
from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.models.operations import TRADES, ExecutionMode, ExecutionStatus, OperationType
from basis.runtime.fills import trade_cost
from basis.testkit.conformance.adapter import VenueAdapter
from basis.testkit.exchange import ExchangeServer
from basis.testkit.runs import START
from basis.venues.core.interface import VenueRefusal
from basis.venues.core.live_fills import on_the_row
from basis.venues.live.cex.clients import Credentials
from basis.venues.live.cex.ids import LENGTH
from basis.venues.live.cex.venue import LiveExchange

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.config import RunConfig
    from basis.models.order import Order
    from basis.testkit.conformance.cases import Case

WIRE = 1e-9
"""Largest relative difference between a balance that went over the wire as decimal text, through ccxt's floats, and ours."""


class StoppedClock:
    """Engine time, set by hand; patience is the machine's."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, moment: datetime) -> None:
        raise NotImplementedError


class LiveStage:
    """A venue, its mode, and the account that the next case is played on."""

    def __init__(self, config: RunConfig, venue: str) -> None:
        self.config, self.venue = config, venue
        self.clock = StoppedClock()
        self.server = ExchangeServer(venue, clock=lambda: round(self.clock.time.timestamp() * 1000))
        self.server.__enter__()
        self._runner = asyncio.Runner()
        self._reset({}, {})
        keys = self.server.credentials
        addresses = {token: {"address": ADDRESS, "network": "ERC20"} for token in ("USDT", "ETH")}
        live = live_config(
            self.server.url,
            fill_wait_s=0.01,
            withdrawal_addresses={"wallet": addresses, "client": addresses},
        )
        secrets = Credentials(SecretStr(keys.key), SecretStr(keys.secret), SecretStr(keys.password))
        cex: Any = config.venues[venue]  # type: ignore[index]
        self.live = LiveExchange(venue, config.position_subscriptions, live, secrets, self.clock, cex.markets)
        self._runner.run(self.live.open())

    def close(self) -> None:
        self._runner.run(self.live.close())
        self._runner.close()
        self.server.__exit__()

    def _reset(self, ledger: Mapping[str, float], market: Mapping[str, float]) -> None:
        """The account and the prices of a case."""
        self.server.reset()
        exchange = self.server.exchange
        exchange.fee_asset = "quote"
        cex: Any = self.config.venues[self.venue]  # type: ignore[index]
        for kind, bps in (("spot", cex.spot_taker_fee_bps), ("linear", cex.perp_taker_fee_bps)):
            exchange.fees[kind] = (Decimal(repr(bps)) / 10_000,) * 2
        for (symbol, kind), _ in exchange.listings.items():
            column = f"{'spot' if kind == 'spot' else 'perp'}:{self.venue}:{symbol}"
            if column in market:
                exchange.set_price(symbol, kind, repr(market[column]))
        for key, quantity in ledger.items():
            found = INSTRUMENTS.get(key)
            if found is None or found.venue != self.venue:
                continue
            if found.type is InstrumentType.PERP:
                held = exchange.account.positions[found.symbol, "linear"]
                held.amount = Decimal(repr(quantity))
                held.entry = exchange.mark(exchange.listings[found.symbol, "linear"])
            else:
                wallet = HOME[self.venue] if found.symbol == "USDT" or self.venue != "binance" else "spot"
                exchange.deposit(wallet, found.symbol, repr(quantity))

    def _told(self) -> Mapping[str, float]:
        """Balances as the exchange says them."""
        return self._runner.run(self.live.balances(self.config.position_subscriptions))

    def positions(self, ledger: Mapping[str, float]) -> dict[str, float]:
        """What the service answers when it is asked."""
        self._reset(ledger, {})
        told = self._told()
        known = {key: _snap(value, ledger.get(key, 0.0)) for key, value in told.items()}
        return {key: known.get(key, ledger.get(key, 0.0)) for key in self.config.position_subscriptions}

    def transact(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float], tick: int
    ) -> tuple[list[ExecutionHandshake], dict[str, float]]:
        """One transaction on an account that is set to the ledger."""
        self.clock.time = datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(hours=tick)
        self._reset(ledger, market)
        self._set_spread(orders[0], market)
        self.live._wallets.touch("USDT", "ETH", "BTC")
        handshakes = self._runner.run(self._execute(orders))
        if handshakes[0].status is ExecutionStatus.CONFIRMED:
            handshakes = [on_the_row(orders[0], handshakes[0], market)]
        expected = dict(ledger)
        for handshake in handshakes:
            for key, delta in handshake.actual_deltas.items():
                expected[key] = expected.get(key, 0.0) + delta
        # what is no instrument of the exchange is not its to say: other venues, and the simulation's own entries
        after = dict(expected)
        for key, value in self._told().items():
            if value != 0.0 or key in expected:
                after[key] = _snap(value, expected.get(key, 0.0))
        return handshakes, after

    async def _execute(self, orders: Sequence[Order]) -> list[ExecutionHandshake]:
        try:
            prepared = await self.live.prepare(orders)
        except VenueRefusal as refusal:
            return [self._refused(order, refusal) for order in orders]
        return list(await self.live.send(orders, prepared))

    def _refused(self, order: Order, refusal: VenueRefusal) -> ExecutionHandshake:
        """What the service makes of a refusal."""
        atomic = order.execution_mode is ExecutionMode.ATOMIC
        return ExecutionHandshake(
            operation_id=order.operation_id,
            status=ExecutionStatus.ROLLED_BACK if atomic else ExecutionStatus.FAILED,
            error_code="EXEC-005" if atomic else refusal.error_code,
            error_message=f"[{refusal.error_code}] {refusal.message}" if atomic else refusal.message,
            submitted_at=self.clock.now(),
            simulated=False,
        )

    def _set_spread(self, order: Order, market: Mapping[str, float]) -> None:
        """The configured cost of an order of this size is the exchange's half spread."""
        if order.operation not in TRADES:
            return
        perp = order.operation is OperationType.PERP_TRADE
        price = market.get(f"{'perp' if perp else 'spot'}:{self.venue}:{order.pair}")
        if price is not None:
            cost = trade_cost(self.config, self.venue, str(order.pair), order.amount * price, perp=perp)
            self.server.exchange.half_spread = Decimal(repr(round(cost.slippage, 12)))


class LiveExchangeCore(VenueAdapter):
    """Answers the questions of a conformance suite with a live exchange; inherit it before the cases."""

    SIMULATED = False
    EVIDENCE: ClassVar[Mapping[str, str]] = {"client_order_id": f"[a-z0-9]{{{LENGTH}}}"}
    GAS_ROUNDING = 0.0
    _stages: ClassVar[dict[str, LiveStage]] = {}

    @property
    def stage(self) -> LiveStage:
        """One a venue, for all tests."""
        venue = self.name()
        if venue not in self._stages:
            self._stages[venue] = LiveStage(self.config(), venue)
        return self._stages[venue]

    @classmethod
    def close(cls) -> None:
        """Let go of all stages."""
        while cls._stages:
            cls._stages.popitem()[1].close()

    def transact(
        self, orders: Sequence[Order], ledger: Mapping[str, float], market: Mapping[str, float], tick: int = 3
    ) -> tuple[Sequence[ExecutionHandshake], Mapping[str, float]]:
        """One transaction on an account that is set to the ledger."""
        return self.stage.transact(orders, ledger, market, tick)

    def positions(self, ledger: Mapping[str, float]) -> Mapping[str, float]:
        """The exchange's own balances; what others hold is not its to say."""
        return self.stage.positions(ledger)

    def forget(self) -> None:
        """Nothing is remembered: each question is traded anew."""

    def examples(self, wanted: int) -> settings:
        """Three: each is some twenty HTTP requests."""
        return settings(max_examples=min(wanted, 3))

    def gas_of(self, handshakes: Sequence[ExecutionHandshake], case: Case) -> list[float]:
        """An exchange takes fees, and pays the gas of what it sends itself."""
        del handshakes
        return [0.0 for _ in case.orders]

    def without_id(self, handshake: ExecutionHandshake) -> ExecutionHandshake:
        """The client order id is the operation_id, hashed."""
        metadata = {name: value for name, value in handshake.venue_metadata.items() if name != "client_order_id"}
        return handshake.model_copy(update={"operation_id": "", "venue_metadata": metadata})


def _snap(told: float, expected: float) -> float:
    """The expected float where what came over the wire is the same number."""
    return expected if abs(told - expected) <= WIRE * max(1.0, abs(expected)) else told
