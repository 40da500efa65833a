"""What each strategy is shown doing: entry, deposit, withdrawal, exits, triggers, dust."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from tools.specs.places import number
from tools.specs.stage import NOW, TICK, Acted, Scene, Settled, Stage, ether, scaled

from basis.models.config import (
    BasisStrategyConfig,
    CustomStrategyConfig,
    DirectionalStrategyConfig,
    LendingStrategyConfig,
    LeveragedStrategyConfig,
    MarketNeutralStrategyConfig,
    StakingStrategyConfig,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def lending(stage: Stage) -> Iterable[Scene]:
    """Enter, take a deposit in, pay a withdrawal, leave."""
    entry = enter(stage)
    yield entry
    yield _deposit(stage, entry.ledger)
    yield from _exits(stage, entry.ledger)


def basis(stage: Stage) -> Iterable[Scene]:
    """Enter, every trigger, exits."""
    params = stage.config.strategy
    assert isinstance(params, BasisStrategyConfig)
    entry = enter(stage)
    yield entry
    yield _deposit(stage, entry.ledger)
    yield from _hedge_triggers(stage, entry.ledger, 1.3)
    off = -2.0 * abs(params.funding_exit_threshold)
    text = f"The mean 8 h funding falls to {number(off)}, below {number(params.funding_exit_threshold)}."
    turned = {column: off if column.startswith("funding_mean") else value for column, value in stage.row.items()}
    yield stage.decide("exit_full: funding", text, entry.ledger, turned)
    yield _withdrawal(stage, entry.ledger)
    yield _funding(stage, entry.ledger)


def staking(stage: Stage) -> Iterable[Scene]:
    """Enter, rewards, exits by the queue and by a swap."""
    entry = enter(stage)
    yield entry
    yield _deposit(stage, entry.ledger)
    yield from _dust(stage, entry.ledger)
    withdrawn = _withdrawal(stage, entry.ledger)
    yield withdrawn
    yield stage.ordered(
        "exit_full", "The strategy is told to leave.", entry.ledger, stage.row, stage.strategy.exit_full
    )
    other = Stage(stage.config.mode, strategy__exit_route="swap")
    text = "The same with `strategy.exit_route: swap`."
    yield other.ordered("exit_full by a swap", text, entry.ledger, stage.row, other.strategy.exit_full)
    due = next(int(key.rsplit("@", 1)[1]) for key in withdrawn.ledger if ":unstaking:" in key)
    text = f"Tick {due}: the queue of the withdrawal above, asked for at tick {TICK}, is done."
    yield stage.settled("Arrival from the queue", text, withdrawn.ledger, stage.row, due)
    yield _reward(stage, entry.ledger)


def leveraged(stage: Stage) -> Iterable[Scene]:
    """Enter, grow back to target, deleverage, leave, rewards, exits."""
    entry = enter(stage)
    yield entry
    yield _deposit(stage, entry.ledger)
    risen = scaled(stage.row, 1.04, "oracle_price_eth", "dex_price_eth")
    text = "weETH has grown by 4 % against ETH, by the oracle and on the DEX: LTV fell, equity rose by more than 2 %."
    reference = stage.equity(entry.ledger, stage.row)
    yield stage.decide("Back to target", text, entry.ledger, risen, reference=reference)
    yield from _health_triggers(stage, entry.ledger)
    yield from _dust(stage, entry.ledger)
    yield from _exits(stage, entry.ledger)
    yield _reward(stage, entry.ledger)


def market_neutral(stage: Stage) -> Iterable[Scene]:
    """Enter, every trigger, rewards, exits."""
    params = stage.config.strategy
    assert isinstance(params, MarketNeutralStrategyConfig)
    entry = enter(stage)
    yield entry
    yield _deposit(stage, entry.ledger)
    yield from _hedge_triggers(stage, entry.ledger, 1.7)
    if params.leverage:
        yield from _health_triggers(stage, entry.ledger)
    yield from _dust(stage, entry.ledger)
    yield from _exits(stage, entry.ledger)
    yield _funding(stage, entry.ledger)
    yield _reward(stage, entry.ledger)


def directional(stage: Stage) -> Iterable[Scene]:
    """Enter, close, turn, pay, and what the exchange closes."""
    params = stage.config.strategy
    assert isinstance(params, DirectionalStrategyConfig)
    entry = enter(stage)
    yield entry
    order = entry.orders[0]
    neutral = stage.row | {"signal_side": 0.0}
    yield stage.decide("Signal neutral", "The signal turns neutral.", entry.ledger, neutral)
    short = stage.row | {"signal_side": -1.0}
    yield stage.decide("Signal turns", "The signal turns short with confidence 0.8.", entry.ledger, short)
    yield _withdrawal(stage, entry.ledger)
    yield stage.ordered(
        "exit_full", "The strategy is told to leave.", entry.ledger, stage.row, stage.strategy.exit_full
    )
    yield _funding(stage, entry.ledger)
    market = f"{params.venue}:{params.symbol}"
    for name, level, extreme in (("Take profit", order.take_profit, "high"), ("Stop loss", order.stop_loss, "low")):
        assert level is not None
        row = stage.row | {f"perp_{extreme}:{market}": level}
        mark = number(stage.row[f"perp:{market}"])
        text = f"The bar that ends at the tick touches {number(level)} and comes back to {mark}."
        yield stage.settled(name, text, entry.ledger, row)


def custom(stage: Stage) -> Iterable[Scene]:
    """Enter and leave: all that is known of a strategy of one's own."""
    entry = enter(stage)
    yield entry
    yield from _exits(stage, entry.ledger)


def enter(stage: Stage) -> Acted:
    """The entry with the share class's default capital."""
    text = f"Tick {TICK}, {number(stage.capital)} {stage.currency} under `{stage.config.initial_key()}`, no position."
    return stage.decide("entry_full", text, stage.empty(), stage.row)


def _deposit(stage: Stage, ledger: Mapping[str, float]) -> Acted:
    """A deposit of 10 % that arrives at the tick."""
    amount, key = stage.capital * 0.1, stage.config.initial_key()
    date = NOW + timedelta(seconds=TICK * stage.config.time_step_s)
    paid = Stage(stage.config.mode, capital_flows=[{"date": date.isoformat(), "amount": amount}])
    text = f"The client deposits {number(amount)} {stage.currency}; it is there at the tick."
    return paid.decide("entry_partial", text, dict(ledger) | {key: ledger.get(key, 0.0) + amount}, stage.row)


def _withdrawal(stage: Stage, ledger: Mapping[str, float]) -> Acted:
    wanted = stage.equity(ledger, stage.row) * 0.1
    wanted = math.floor(wanted * 1e4) / 1e4
    text = f"The client withdraws 10 % of equity, {number(wanted)} {stage.currency}."
    return stage.decide("exit_partial", text, ledger, stage.row, withdrawal=wanted)


def _exits(stage: Stage, ledger: Mapping[str, float]) -> Iterable[Acted]:
    yield _withdrawal(stage, ledger)
    yield stage.ordered("exit_full", "The strategy is told to leave.", ledger, stage.row, stage.strategy.exit_full)


def _hedge_triggers(stage: Stage, ledger: Mapping[str, float], rise: float) -> Iterable[Acted]:
    """One poor exchange, poor everywhere, net delta past its limits."""
    params = stage.config.strategy
    assert isinstance(params, BasisStrategyConfig | MarketNeutralStrategyConfig)
    venue, symbol = stage.config.perps()[-1]
    perp, money = f"{venue}:Perp:{symbol}", f"{venue}:BaseToken:USDT"
    size = -ledger[perp] * stage.row[f"perp:{venue}:{symbol}"]
    moved = ledger[money] - 0.15 * size
    poor = dict(ledger) | {money: 0.15 * size, "binance:BaseToken:USDT": ledger["binance:BaseToken:USDT"] + moved}
    text = f"{venue} has a margin ratio of 0.15, Binance the {number(moved)} USDT that are missing there."
    yield stage.decide("Margin, one exchange", text, poor, stage.row)
    text = f"The price of {stage.config.asset} is {number(100.0 * (rise - 1.0))} % higher: the shorts lose margin everywhere."
    risen = ether(stage.row, rise)
    yield stage.decide("Margin, all exchanges", text, ledger, risen, before=stage.row)
    lot = stage.config.market(venue, symbol, perp=True).lot
    for name, part in (("Net delta", 0.18), ("Net delta, emergency", 0.5)):
        less = math.floor(-ledger[perp] * part / lot) * lot
        text = f"The short at {venue} is {number(less)} {stage.config.asset} smaller than it should be."
        yield stage.decide(name, text, dict(ledger) | {perp: ledger[perp] + less}, stage.row)


def _health_triggers(stage: Stage, ledger: Mapping[str, float]) -> Iterable[Acted]:
    for name, factor in (("Deleverage", 0.74), ("Near liquidation", 0.71)):
        row = scaled(stage.row, factor, "oracle_price_eth", "dex_price_eth")
        text = f"weETH loses {number(100.0 * (1.0 - factor))} % against ETH, by the oracle and on the DEX."
        yield stage.decide(name, text, ledger, row)


def _dust(stage: Stage, ledger: Mapping[str, float]) -> Iterable[Acted]:
    amount = 300.0
    text = f"{number(amount)} EIGEN in the wallet, worth {number(amount * stage.row['dex:EIGENWETH'])} ETH."
    yield stage.decide("sell_dust", text, dict(ledger) | {"wallet:BaseToken:EIGEN": amount}, stage.row)


def _funding(stage: Stage, ledger: Mapping[str, float]) -> Settled:
    paid = {column: 1e-4 for column in stage.row if column.split(":")[0] == "funding"}
    return stage.settled("Funding", "A funding time with rate 0.0001 everywhere.", ledger, stage.row | paid)


def _reward(stage: Stage, ledger: Mapping[str, float]) -> Settled:
    row = stage.row | {"reward_eigen_per_eeth": 0.18}
    return stage.settled("Weekly reward", "ether.fi pays 0.18 EIGEN per eETH.", ledger, row)


SCENES: dict[type, Callable[[Stage], Iterable[Scene]]] = {
    LendingStrategyConfig: lending,
    BasisStrategyConfig: basis,
    StakingStrategyConfig: staking,
    LeveragedStrategyConfig: leveraged,
    MarketNeutralStrategyConfig: market_neutral,
    DirectionalStrategyConfig: directional,
    CustomStrategyConfig: custom,
}
