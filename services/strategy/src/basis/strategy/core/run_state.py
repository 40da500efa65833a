"""The state of a run: its beginning, how a window and its orders change it, and what it comes to. Pure."""

from __future__ import annotations

import math
import struct
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.models.instruments import INSTRUMENTS
from basis.models.messages import (
    AssessReply,
    Balances,
    Checkpoint,
    Columns,
    OrdersRequest,
    PortfolioState,
    RunResult,
    RunStatistics,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from basis.models.config import EngineConfig, RunConfig
    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Control, OrdersReply, RunRef
    from basis.models.order import Order
    from basis.runtime.domain_events import DomainEventLogger
    from basis.strategy.core.decisions import Decided
    from basis.strategy.core.strategy_manager import StrategyState

_FLOAT = struct.Struct("<d")
YEAR_S = 365 * 86_400
"""Seconds of the year that rates are annualised with."""
_REQUESTS_REMEMBERED = 200


class Turn(NamedTuple):
    """One turn of the engine's loop: a window, what it is worth, and what the strategy made of it."""

    run: RunRef
    before: Checkpoint
    """State before the window."""
    window: Window
    assessed: AssessReply
    """Without the orders."""
    decided: Decided
    """Of its ticks those count that are decided."""
    logger: DomainEventLogger
    """Takes the engine's own events of the ticks that count."""

    @property
    def last_place(self) -> int:
        """Place of the last tick that counts, within the window."""
        return self.decided.ticks - 1

    @property
    def last_tick(self) -> int:
        """The last tick that counts: the one that orders, if any does."""
        return self.window.first_tick + self.last_place


def initial_checkpoint(
    config: RunConfig, capital: float, pid: int, started_at: datetime, balances: Balances | None = None
) -> Checkpoint:
    """State before tick 0, the same at the venue and in the portfolio: all capital in one balance, or what there was."""
    held = {config.initial_key(): capital} if balances is None else balances
    return Checkpoint(
        pid=pid,
        started_at=started_at,
        next_tick=0,
        window=1,  # tick 0 nearly always orders: a longer first window would be thrown away
        ledger=held,
        portfolio=PortfolioState(
            positions=held, capital=capital, attribution={}, pnl_by_venue={}, pnl_by_asset={}, market={}
        ),
    )


def grown(window: int, engine: EngineConfig) -> int:
    """Ticks to ask for after a window without orders."""
    return min(max(2 * window, engine.initial_window), engine.max_window)


def after_orders(between: int, engine: EngineConfig) -> int:
    """Ticks to ask for after a window with orders: orders come in spells, so about as far apart as the last ones.

    Twice as many, so that one window mostly reaches them: what is thrown away behind them costs little, for most of what a
    window costs does not depend on its ticks (docs/performance.md).

    Args:
        between: ticks from the orders before these, or the run's start, to these.
        engine: bounds.
    """
    return min(max(2 * between, engine.initial_window), engine.max_window)


def ledger_at(ledger: Balances, window: Window, place: int) -> Balances:
    """Venue-side balances after the tick at a place of the window; a venue's own entries that are done are left out."""
    if not window.balances:
        return ledger
    changed = _row(window.balances, place)
    merged = ledger | changed
    done = [key for key, value in changed.items() if value == 0.0 and key not in INSTRUMENTS]
    for key in done:
        del merged[key]
    return merged


def portfolio_at(before: PortfolioState, window: Window, assessed: AssessReply, place: int) -> PortfolioState:
    """The monitors' state after the tick at a place of the window."""
    row = partial(_row, place=place)
    return PortfolioState(
        positions=before.positions | row(assessed.positions),
        capital=_value(assessed.columns["capital"], place),
        market=row(window.market),
        tick=window.first_tick + place,
        **{name: row(columns) for name, columns in assessed.sums.items()},
    )


def after_window(turn: Turn, engine: EngineConfig) -> Checkpoint:
    """State after a whole window without orders."""
    before, place, memory = turn.before, turn.last_place, turn.decided.state
    return before.model_copy(
        update={
            "next_tick": turn.last_tick + 1,
            "window": grown(before.window, engine),
            "since_orders": before.since_orders + turn.decided.ticks,
            "ledger": ledger_at(before.ledger, turn.window, place),
            "portfolio": portfolio_at(before.portfolio, turn.window, turn.assessed, place),
            "reference_equity": memory.reference_equity,
            "pending_withdrawal": memory.pending_withdrawal,
            "statistics": with_equity(before.statistics, *equity_and_capital(turn.assessed.columns)),
        }
    )


def orders_request(turn: Turn) -> OrdersRequest:
    """The orders of a turn, with the state right before them."""
    before, place = turn.before, turn.last_place
    return OrdersRequest(
        run=turn.run,
        tick=turn.last_tick,
        orders=turn.decided.orders,
        ledger=ledger_at(before.ledger, turn.window, place),
        portfolio=portfolio_at(before.portfolio, turn.window, turn.assessed, place),
        window=single_tick(turn.window, place),
    )


def after_trade(turn: Turn, traded: OrdersReply, memory: StrategyState, engine: EngineConfig) -> Checkpoint:
    """State after the ticks through the one that ordered.

    Args:
        turn: with the orders.
        traded: what they came to.
        memory: what the strategy remembers after them.
        engine: bounds of a window.
    """
    before, orders = turn.before, turn.decided.orders
    equity, capital = equity_and_capital(turn.assessed.columns, turn.last_place)
    after = before.model_copy(
        update={
            "next_tick": turn.last_tick + 1,
            "window": after_orders(before.since_orders + turn.decided.ticks, engine),
            "since_orders": 0,
            "ledger": traded.ledger,
            "portfolio": traded.portfolio,
            "reference_equity": memory.reference_equity,
            "pending_withdrawal": memory.pending_withdrawal,
            "statistics": with_equity(
                before.statistics, [*equity, traded.equity], [*capital, traded.portfolio.capital]
            ),
        }
    )
    return with_orders(after, orders, traded.handshakes)


def into_tick(state: Checkpoint, tick: int, requests: Sequence[Control]) -> tuple[Checkpoint, float, tuple[str, ...]]:
    """A tick of a paper or live run begins.

    Args:
        state: after the last committed tick.
        tick: this one; those in between are skipped.
        requests: to be obeyed at it.

    Returns:
        State into the tick; capital that the client puts in, share class; ids of requests done after it.
    """
    deposit = sum(request.amount for request in requests if request.command == "deposit")
    withdrawal = sum(request.amount for request in requests if request.command == "withdraw")
    rebalance = any(request.command == "rebalance" for request in requests)
    done = (*state.requests_done, *(request.request_id for request in requests if request.request_id))
    here = state.model_copy(
        update={
            "next_tick": tick,
            "window": 1,
            "skipped": state.skipped + tick - state.next_tick,
            "pending_withdrawal": state.pending_withdrawal + withdrawal,
            "reference_equity": None if rebalance else state.reference_equity,
        }
    )
    return here, deposit, done[-_REQUESTS_REMEMBERED:]


def _row(columns: Columns, place: int) -> dict[str, float]:
    return {name: _value(column, place) for name, column in columns.items()}


def _value(column: bytes, place: int) -> float:
    (value,) = _FLOAT.unpack_from(column, 8 * place)
    return float(value)


def single_tick(window: Window, place: int) -> Window:
    """The tick at a place of the window, once more, without its settlements."""
    cut = slice(8 * place, 8 * place + 8)
    return Window(
        first_tick=window.first_tick + place,
        ticks=1,
        market={name: column[cut] for name, column in window.market.items()},
        balances={},
    )


def equity_and_capital(columns: Columns, ticks: int | None = None) -> tuple[list[float], list[float]]:
    """Equity and capital of the first ticks of an assessment, all of them where none are named."""
    equity, capital = (np.frombuffer(columns[name], dtype="<f8")[:ticks] for name in ("equity", "capital"))
    return equity.tolist(), capital.tolist()


def with_equity(statistics: RunStatistics, equity: Sequence[float], capital: Sequence[float]) -> RunStatistics:
    """Statistics after more ticks; sums run strictly in sequence, so windows do not show.

    A return is measured on what was there before: a deposit or withdrawal at the tick (a change of capital) is not one.
    The peak of the drawdown follows deposits and withdrawals in proportion.
    """
    peak, deepest, last = statistics.peak, statistics.max_drawdown, statistics.equity
    count, total, squares = statistics.returns, statistics.return_sum, statistics.return_square_sum
    growth, paid_in = statistics.growth, statistics.capital
    for value, put_in in zip(equity, capital, strict=True):
        if last:  # neither before the first tick nor after everything was lost
            flow = 0.0 if put_in == paid_in else put_in - (paid_in or 0.0)
            change = (value - flow) / last - 1.0
            growth *= 1.0 + change
            count += 1
            total += change
            squares += change * change
            if flow and value - flow > 0.0:
                peak *= value / (value - flow)
            elif flow:  # all was lost before this deposit: a new beginning
                deepest = min(deepest, (value - flow) / peak - 1.0)
                peak = value
        elif last is None and put_in:
            growth = value / put_in  # what the orders of the first tick cost
        last, paid_in = value, put_in
        if value > peak:
            peak = value
        elif value / peak - 1.0 < deepest:
            deepest = value / peak - 1.0
    return RunStatistics(
        returns=count,
        return_sum=total,
        return_square_sum=squares,
        peak=peak,
        max_drawdown=deepest,
        equity=last,
        capital=paid_in,
        growth=growth,
    )


def with_orders(
    checkpoint: Checkpoint, orders: Sequence[Order], handshakes: Sequence[ExecutionHandshake]
) -> Checkpoint:
    """Checkpoint with the orders of a tick counted; orders after a failed one were never tried."""
    by_type = dict(checkpoint.orders_by_type)
    failed = checkpoint.failed_orders
    for order, handshake in zip(orders, handshakes, strict=False):
        if handshake.status == "confirmed":
            by_type[order.operation] = by_type.get(order.operation, 0) + 1
        else:
            failed += 1
    return checkpoint.model_copy(update={"orders_by_type": by_type, "failed_orders": failed})


def result(run: RunRef, config: RunConfig, state: Checkpoint) -> RunResult | None:
    """What the committed ticks came to; None before the first.

    Formulas: annualised return (1 + r) ** (year / period) - 1; volatility and Sharpe from per-tick returns with the
    run's true ticks a year, sample standard deviation, risk-free rate 0.
    """
    statistics, capital = state.statistics, run.initial_capital
    if statistics.equity is None:
        return None
    final = statistics.equity
    flows = state.portfolio.capital - capital
    # time-weighted where capital flowed; the plain ratio is the same number with less rounding where none did
    growth = final / capital if flows == 0.0 else statistics.growth
    period = timedelta(seconds=run.time_step_s * max(state.next_tick - 1, 1)) / timedelta(seconds=YEAR_S)
    per_year = YEAR_S / run.time_step_s
    count = statistics.returns
    mean = statistics.return_sum / count if count else 0.0
    variance = (statistics.return_square_sum - count * mean * mean) / (count - 1) if count > 1 else 0.0
    volatility = math.sqrt(max(variance, 0.0) * per_year)
    attribution = state.portfolio.attribution
    return RunResult(
        initial_capital=capital,
        final_value=final,
        total_return=growth - 1.0,
        annualized_return=_annualized(growth, period),
        volatility=volatility,
        sharpe=mean * per_year / volatility if volatility > 0.0 else None,
        max_drawdown=statistics.max_drawdown,
        target_apy=config.target_apy,
        share_class=config.share_class.currency,
        orders_by_type=state.orders_by_type,
        failed_orders=state.failed_orders,
        fees={kind: 0.0 - attribution.get(kind, 0.0) for kind in ("fees", "gas", "slippage")},
        attribution=attribution,
        attribution_gap=final - state.portfolio.capital - sum(attribution.values()),
        net_flows=flows,
        final_positions={key: state.portfolio.positions.get(key, 0.0) for key in config.position_subscriptions},
        requested_flows=state.flows,
    )


def _annualized(growth: float, years: float) -> float:
    """Growth over a period as a yearly rate; -1 where nothing is left; the plain return where it would overflow."""
    if growth <= 0.0:
        return -1.0
    exponent = math.log(growth) / years
    return math.expm1(exponent) if exponent < 700.0 else growth - 1.0
