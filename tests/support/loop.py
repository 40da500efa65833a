"""A whole run over the pure cores alone: strategy, venues and monitors, on columns made by hand. No bus, no files.

The engine's loop without its shell: what a test needs to look at strategies on any market that it likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.execution.core.batches import is_confirmed, transactions
from basis.models.messages import PortfolioState
from basis.monitors.core import position_update_handler
from basis.monitors.core.assessment import assess
from basis.monitors.core.plan import compile_plan
from basis.runtime.domain_events import DomainEventLogger
from basis.runtime.timeline import tick_stamps, tick_time
from basis.runtime.valuation import Valuer
from basis.strategy.core.decisions import decide_window
from basis.strategy.core.strategy_manager import StrategyManager, StrategyState
from basis.strategy.core.view import TickView
from basis.strategy.strategies import make_strategy
from basis.testkit.runs import CID, START, market_row, run_ref
from basis.venues.core.execution import execute
from basis.venues.core.interface import At, Ledger, Stretch, is_own_entry
from basis.venues.core.settlement import settle
from basis.venues.manager import VenueInterfaceFactory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import Settlement
    from basis.models.order import Order


class Traded(NamedTuple):
    """One tick's orders and what became of them."""

    tick: int
    action: str
    trigger: str
    orders: tuple[Order, ...]
    handshakes: tuple[ExecutionHandshake, ...]
    equity_before: float
    equity: float


class Ran(NamedTuple):
    """A run."""

    trades: list[Traded]
    equity: list[float]
    """After each tick, share class."""
    figures: dict[str, list[float]]
    """Monitors' columns after each tick."""
    portfolio: PortfolioState
    ledger: Ledger
    settlements: list[Settlement]
    state: StrategyState

    def actions(self) -> list[str]:
        """Action of each tick that ordered."""
        return [trade.action for trade in self.trades]


def columns(config: RunConfig, ticks: int, **changes: object) -> dict[str, NDArray[np.float64]]:
    """A market that stands still, but for columns of its own (``spot__binance__BTCUSDT=[...]``, or one number)."""
    found = {name: np.full(ticks, value) for name, value in market_row(config).items()}
    for name, values in changes.items():
        column = name.replace("__", ":")
        if column not in found:
            raise KeyError(f"{column} is none of {', '.join(found)}")
        found[column] = np.broadcast_to(np.asarray(values, dtype=float), (ticks,)).copy()
    return found


def run(
    config: RunConfig,
    market: Mapping[str, NDArray[np.float64]],
    capital: float,
    window: int = 64,
    held: Mapping[str, float] | None = None,
) -> Ran:
    """Run a mode over columns, in windows of at most so many ticks; ``held``: what there is at first, worth the capital."""
    ticks = len(next(iter(market.values())))
    run_of = run_ref(config, initial_capital=capital, last_tick=ticks - 1)
    venues = VenueInterfaceFactory().simulated(config)
    valuer, plan = Valuer.of(config), compile_plan(config)
    strategy = make_strategy(config)
    manager = StrategyManager(config, strategy)
    held = dict(held or {config.initial_key(): capital})
    ledger: Ledger = dict(held)
    portfolio = PortfolioState(
        positions=held, capital=capital, attribution={}, pnl_by_venue={}, pnl_by_asset={}, market={}
    )
    state = StrategyState()
    done = Ran([], [], {}, portfolio, ledger, [], state)
    tick = 0
    while tick < ticks:
        count = min(window, ticks - tick)
        before = max(tick - 1, 0)
        here = {name: column[tick : tick + count] for name, column in market.items()}
        padded = {
            name: np.concatenate((column[before : before + 1], column[tick : tick + count]))
            for name, column in market.items()
        }
        stretch = Stretch(tick, count, START, config.time_step_s, padded, ledger, config, valuer)
        settled = settle(stretch, venues)
        seen = assess(plan, portfolio, here, tick, count, settled.columns, initial_capital=capital)
        view = TickView(
            tick,
            here,
            seen.columns(),
            portfolio.positions,
            seen.window.quantities,
            seen.risk.code.tobytes(),
        )
        logger = DomainEventLogger(CID, 7, START)
        stamps = tick_stamps(run_of, tick, count)
        decided = decide_window(manager, strategy.conditions, view, count, state, run_of, stamps)
        decided.log(logger)
        place = decided.ticks - 1
        done.settlements.extend(event for event in settled.settlements if event.tick <= tick + place)
        figures = seen.columns()
        for name, column in figures.items():
            done.figures.setdefault(name, []).extend(column[: place + 1].tolist())
        changed = {key: float(column[place]) for key, column in settled.balances.items()}
        merged = {**ledger, **changed}
        ledger = {key: value for key, value in merged.items() if value or not is_own_entry(key)}
        portfolio, state = seen.state_at(place), decided.state
        now = tick + place
        if decided.orders:
            made = manager.decide(view.at(place), state, run_of)
            at = At(
                now, config.time_step_s, {name: float(column[now]) for name, column in market.items()}, config, valuer
            )
            handshakes: list[ExecutionHandshake] = []
            for transaction in transactions(decided.orders):
                executed = execute(transaction.orders, ledger, at, venues, tick_time(run_of, now))
                ledger = executed.ledger
                updated = position_update_handler.update(
                    plan, portfolio, transaction.orders, executed.handshakes, ledger, capital
                )
                assert not updated.differences, [difference.words() for difference in updated.differences]
                portfolio = updated.portfolio
                handshakes += executed.handshakes
                if not is_confirmed(executed.handshakes):
                    break
            again = assess(plan, portfolio, {name: column[now : now + 1] for name, column in market.items()}, now, 1)
            after = again.columns()
            for name, column in after.items():
                done.figures[name][-1] = float(column[0])
            equity = float(after["equity"][0])
            state = manager.after_execution(equity, state, decided.orders, handshakes)
            portfolio = again.state_at(0)
            done.trades.append(
                Traded(
                    now,
                    made.action,
                    made.trigger_source,
                    decided.orders,
                    tuple(handshakes),
                    float(figures["equity"][place]),
                    equity,
                )
            )
        tick = now + 1
    return done._replace(portfolio=portfolio, ledger=ledger, state=state, equity=done.figures["equity"])
