"""A strategy on stage: a market row of round numbers, the real strategy, the simulated venues, the monitors."""

from __future__ import annotations

import itertools
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tools.specs.places import CLOSE, CONFIGS, number

from basis.models.config import RunConfig
from basis.models.messages import PortfolioState, RunRef
from basis.models.operations import StrategyIntent
from basis.monitors.core.exposure_monitor import ExposureMonitor
from basis.monitors.core.plan import compile_plan
from basis.monitors.core.position_monitor import value_window
from basis.monitors.core.risk_monitor import RiskMonitor
from basis.runtime import config_loader
from basis.runtime.valuation import Valuer
from basis.strategy.core.desk import Desk
from basis.strategy.core.strategy_manager import StrategyManager, StrategyState
from basis.strategy.core.view import TickView
from basis.strategy.strategies import make_strategy
from basis.venues.core.execution import execute
from basis.venues.core.interface import At, Stretch
from basis.venues.core.settlement import settle
from basis.venues.manager import VenueInterfaceFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement
    from basis.models.order import Order
    from basis.monitors.core.position_monitor import ValuedWindow

NOW = datetime(2024, 5, 12, tzinfo=UTC)
TICK = 1
PRICES = {"BTC": 60_000.0, "ETH": 3_000.0}
_ROW = {
    "gas_base_fee_gwei": 9.0,
    "gas_priority_fee_gwei": 1.0,
    "liquidity_index": 1.05,
    "borrow_index": 1.02,
    "supply_apr": 0.04,
    "borrow_apr": 0.025,
    "total_supplied": 1e6,
    "total_debt": 8e5,
    "funding": 0.0,
    "funding_mean": 1e-4,
    "oracle_price_eth": 1.04,
    "dex_price_eth": 1.039,
    "dex": 1e-3,
    "reward_eigen_per_eeth": 0.0,
    "reward_ethfi_per_eeth": 0.0,
    "signal_side": 1.0,
    "signal_confidence": 0.8,
    "signal_sd": 0.01,
}
"""Column, or what stands before its first colon -> value of the documented row."""


def market_row(config: RunConfig) -> dict[str, float]:
    """The documented market row of a mode: every column that it reads, in round numbers."""
    row = {}
    for feed in config.feeds():
        kind, _, rest = feed.column.partition(":")
        if kind == "price_usd":
            row[feed.column] = {"USDT": 1.0}.get(rest) or PRICES[rest]
        elif kind in {"spot", "perp", "perp_close", "perp_high", "perp_low"}:
            row[feed.column] = next(price for asset, price in PRICES.items() if asset in rest)
        else:
            row[feed.column] = _ROW[kind]
    return row


def scaled(row: Mapping[str, float], factor: float, *kinds: str) -> dict[str, float]:
    """A row with the columns of some kinds, all their prices, multiplied."""
    return {column: value * factor if column.split(":")[0] in kinds else value for column, value in row.items()}


_MARKET = ("spot", "perp", "perp_close", "perp_high", "perp_low")
_ETHER = (*_MARKET, "price_usd")


def ether(row: Mapping[str, float], factor: float) -> dict[str, float]:
    """A row with the price of the mode's asset moved at every venue and the oracle; USDT stays at one dollar."""
    return scaled(row, factor, *_ETHER) | {column: row[column] for column in ("price_usd:USDT",) if column in row}


class Acted(NamedTuple):
    """One action, worked through."""

    title: str
    situation: str
    """What holds when it is decided."""
    decision: str
    """What the strategy decided, in its own words."""
    orders: tuple[Order, ...]
    handshakes: tuple[ExecutionHandshake, ...]
    ledger: dict[str, float]
    """Balances after it, entries of venues' own included."""
    state: str
    """Figures after it."""


class _Refused(Exception):
    """A venue refused an order; what and why, in words."""


class Settled(NamedTuple):
    """What venues do on their own at one tick."""

    title: str
    situation: str
    settlements: tuple[Settlement, ...]


class Stage:
    """A mode with its real strategy, manager, venues and monitors.

    Args:
        mode: file of ``configs/modes``.
        **overrides: path with ``__`` for dots -> value.
    """

    def __init__(self, mode: str, **overrides: Any) -> None:
        changes = {path.replace("__", "."): value for path, value in overrides.items()}
        self.config = config_loader.load(CONFIGS, mode, changes.items()).config
        self.row = market_row(self.config)
        self.capital = self.config.share_class.default_capital
        self.currency = self.config.share_class.currency
        self.strategy = make_strategy(self.config)
        self.manager = StrategyManager(self.config, self.strategy)
        self._venues = VenueInterfaceFactory().simulated(self.config)
        self._plan = compile_plan(self.config)
        payload = self.config.model_dump_json().encode()
        self._run = RunRef(
            correlation_id="0" * 32,
            pid=1,
            config_sha256="0" * 64,
            config=payload,
            start=NOW,
            time_step_s=self.config.time_step_s,
            last_tick=1000,
            initial_capital=self.capital,
            data_sha256="0" * 64,
        )

    def empty(self) -> dict[str, float]:
        """Balances before the first order."""
        return {self.config.initial_key(): self.capital}

    def decide(
        self,
        title: str,
        situation: str,
        ledger: Mapping[str, float],
        row: Mapping[str, float],
        *,
        before: Mapping[str, float] | None = None,
        withdrawal: float = 0.0,
        reference: float | None = None,
    ) -> Acted:
        """What the StrategyManager decides at a tick, executed.

        Args:
            title: heading.
            situation: what holds.
            ledger: balances at the tick before.
            row: market at the tick.
            before: market at the tick before, where perps settle the way between the two.
            withdrawal: amount that the client asks for.
            reference: equity at the last rebalance; that of now where left out.
        """

        def attempt(held: Mapping[str, float], situation: str) -> Acted:
            window, view = self._view(held, row, before)
            state = StrategyState(view.equity if reference is None else reference, withdrawal)
            decision = self.manager.decide(view, state, self._run)
            if not decision.orders:
                raise SystemExit(f"{self.config.mode}: {title}: no orders, but: {decision.reasoning}")
            kind = (
                f"decision `{decision.decision_type}`, trigger `{decision.trigger_source}`, action `{decision.action}`"
            )
            words = f"{kind}: {decision.reasoning}"
            return self._executed(title, situation, words, decision.orders, self._marked(held, window), row)

        return self._with_gas(attempt, ledger, situation)

    def ordered(
        self,
        title: str,
        situation: str,
        ledger: Mapping[str, float],
        row: Mapping[str, float],
        build: Callable[[Desk], None],
    ) -> Acted:
        """What one action of the strategy orders by itself, executed."""

        def attempt(held: Mapping[str, float], situation: str) -> Acted:
            _, view = self._view(held, row, None)
            desk = Desk(self.config, self.manager, view, self._run, StrategyIntent.EXIT_FULL)
            build(desk)
            return self._executed(title, situation, "action `exit_full`", desk.orders(), dict(held), row)

        return self._with_gas(attempt, ledger, situation)

    def _with_gas(
        self, attempt: Callable[[Mapping[str, float], str], Acted], ledger: Mapping[str, float], situation: str
    ) -> Acted:
        """An attempt; where a venue refuses it, the page says so, and shows it with money for gas in the wallet."""
        try:
            return attempt(ledger, situation)
        except _Refused as refusal:
            token = self.config.gas_token
            key, spare = f"wallet:BaseToken:{token}", {"ETH": 0.05}.get(token, 200.0)
            more = dict(ledger) | {key: ledger.get(key, 0.0) + spare}
            told = f"{situation} **As it stands this is refused:** {refusal}. With {number(spare)} {token} more in the wallet:"
            return attempt(more, told)

    def settled(
        self, title: str, situation: str, ledger: Mapping[str, float], row: Mapping[str, float], first_tick: int = 2
    ) -> Settled:
        """What venues settle at a tick whose market is ``row``, the one before being the documented row."""
        columns = {name: np.array([self.row[name], row[name]]) for name in self.row}
        valuer = Valuer.of(self.config)
        stretch = Stretch(first_tick, 1, NOW, self.config.time_step_s, columns, ledger, self.config, valuer)
        found = settle(stretch, self._venues).settlements
        if not found:
            raise SystemExit(f"{self.config.mode}: {title}: nothing settled")
        return Settled(title, situation, found)

    def equity(self, ledger: Mapping[str, float], row: Mapping[str, float]) -> float:
        """Equity of balances, share class."""
        return self._view(ledger, row, None)[1].equity

    def _view(
        self, ledger: Mapping[str, float], row: Mapping[str, float], before: Mapping[str, float] | None
    ) -> tuple[ValuedWindow, TickView]:
        """The monitors' figures at one tick, as the strategy sees them."""
        positions = {key: ledger.get(key, 0.0) for key in self.config.position_subscriptions}
        portfolio = PortfolioState(
            positions=positions,
            capital=self.capital,
            attribution={},
            pnl_by_venue={},
            pnl_by_asset={},
            market=dict(before or row),
        )
        columns = {name: np.array([value]) for name, value in row.items()}
        window = value_window(self._plan, portfolio, columns, TICK, 1)
        exposure = ExposureMonitor.assess(window)
        risk = RiskMonitor.assess(window, exposure)
        figures = {
            "equity": window.equity,
            "capital": window.capital,
            "total_value_usd": window.total_value_usd,
            "net_delta_usd": exposure.net_delta_usd,
            "collateral_usd": risk.collateral,
            "debt_usd": risk.debt,
            "threshold_usd": risk.threshold,
            **{f"margin:{venue}": column for venue, column in risk.margin.items()},
            **{f"notional:{venue}": column for venue, column in risk.notional.items()},
        }
        return window, TickView(TICK, columns, figures, positions, window.quantities, risk.code.tobytes())

    @staticmethod
    def _marked(ledger: Mapping[str, float], window: ValuedWindow) -> dict[str, float]:
        """Balances with the tick's mark-to-market in them."""
        return dict(ledger) | {key: float(column[0]) for key, column in window.quantities.items()}

    def _executed(
        self,
        title: str,
        situation: str,
        words: str,
        orders: tuple[Order, ...],
        ledger: dict[str, float],
        row: Mapping[str, float],
    ) -> Acted:
        at = At(TICK, self.config.time_step_s, row, self.config, Valuer.of(self.config))
        handshakes: list[ExecutionHandshake] = []
        for _, group in itertools.groupby(orders, key=lambda order: order.atomic_group_id or order.operation_id):
            done = execute(tuple(group), ledger, at, self._venues, NOW)
            handshakes += done.handshakes
            ledger = done.ledger
        for order, handshake in zip(orders, handshakes, strict=True):
            require_as_expected(f"{self.config.mode}: {title}", order, handshake)
        return Acted(title, situation, words, orders, tuple(handshakes), ledger, self._state(ledger, row))

    def _state(self, ledger: Mapping[str, float], row: Mapping[str, float]) -> str:
        """The monitors' figures of balances, in words."""
        _, view = self._view(ledger, row, None)
        parts = [f"equity {number(view.equity)} {self.currency}"]
        if self.config.perps() and self.config.strategy.family != "directional":
            part = view.figure("net_delta_usd") / view.figure("total_value_usd")
            parts.append(f"net delta {number(100.0 * part, 4)} % of equity")
        debt, limit, collateral = (view.figure(name) for name in ("debt_usd", "threshold_usd", "collateral_usd"))
        if debt > 0.0:
            parts.append(f"LTV {number(debt / collateral, 4)}, health factor {number(limit / debt, 4)}")
        for venue, _ in self.config.perps():
            size = view.figure(f"notional:{venue}")
            if size > 0.0:
                parts.append(f"margin ratio of {venue} {number(view.figure(f'margin:{venue}') / size, 4)}")
        return ", ".join(parts)


def require_as_expected(where: str, order: Order, handshake: ExecutionHandshake) -> None:
    if handshake.status != "confirmed":
        message = re.sub(r"would be -?[\d.e+-]+", "would be negative", str(handshake.error_message))
        raise _Refused(f"`{order.operation}` at {order.venue}, {handshake.error_code}, {message}")
    keys = {*order.expected_deltas, *handshake.actual_deltas}
    for key in sorted(keys):
        expected, actual = order.expected_deltas.get(key, 0.0), handshake.actual_deltas.get(key, 0.0)
        if not math.isclose(expected, actual, rel_tol=CLOSE, abs_tol=1e-12):
            raise SystemExit(f"{where}: {order.operation}: {key} was expected {expected!r}, was {actual!r}")


Scene = Acted | Settled
