"""Hypothesis strategies: orders, handshakes, ledgers, market rows and windows, configurations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from basis.models.execution import ExecutionHandshake
from basis.models.instruments import INSTRUMENTS, InstrumentType
from basis.models.operations import (
    TRADES,
    ExecutionMode,
    ExecutionStatus,
    OperationType,
    OrderSide,
    OrderType,
    StrategyIntent,
)
from basis.models.order import Order
from basis.testkit.runs import mode_config, typical_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy
    from numpy.typing import NDArray

    from basis.models.config import RunConfig

KEYS = tuple(INSTRUMENTS)
"""Every registered instrument key."""
MODES = (
    "pure_lending_usdt",
    "pure_lending_eth",
    "btc_basis",
    "eth_basis",
    "eth_staking_only",
    "eth_leveraged",
    "usdt_market_neutral_no_leverage",
    "usdt_market_neutral",
    "ml_btc_directional_usdt_margin",
    "ml_btc_directional_btc_margin",
)
"""The ten modes of behaviour.md section 3."""


def floats(low: float, high: float) -> SearchStrategy[float]:
    """Finite floats of a range, both ends included."""
    return st.floats(low, high, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def amounts() -> SearchStrategy[float]:
    """Order sizes, from dust to a whole reserve."""
    return floats(1e-6, 1e9)


def prices() -> SearchStrategy[float]:
    """Prices, quote per base."""
    return floats(1e-2, 1e6)


def indices() -> SearchStrategy[float]:
    """Aave indices: they begin at 1 and grow."""
    return floats(1.0, 5.0)


def not_finite() -> SearchStrategy[float]:
    """NaN and both infinities."""
    return st.sampled_from([float("nan"), float("inf"), float("-inf")])


def moments() -> SearchStrategy[datetime]:
    """UTC times of whole seconds within the range that runs use."""
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    return st.integers(0, 10 * 365 * 86_400).map(lambda seconds: begin + timedelta(seconds=seconds))


@st.composite
def orders(draw: DrawFn, operations: Sequence[OperationType] = tuple(OperationType)) -> Order:
    """Valid orders of any operation, sequential or atomic, with or without exits."""
    operation = draw(st.sampled_from(operations))
    trade = operation in TRADES
    fields: dict[str, Any] = {
        "operation_id": draw(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=40)),
        "operation": operation,
        "venue": draw(st.sampled_from(["aave_v3", "wallet", "morpho", "binance"])),
        "amount": draw(amounts()),
        "expected_deltas": draw(st.dictionaries(st.sampled_from(KEYS), floats(-1e9, 1e9), max_size=3)),
        "strategy_intent": draw(st.sampled_from(StrategyIntent)),
        "strategy_id": "hand_made",
        "slippage_tolerance": draw(floats(0.0, 1.0)),
    }
    if trade:
        fields |= draw(_trade_fields())
    elif draw(st.booleans()):
        group = {"atomic_group_id": "group", "sequence_in_group": draw(st.integers(0, 9))}
        fields |= {"execution_mode": ExecutionMode.ATOMIC, **group}
    return Order.model_validate(fields)


@st.composite
def _trade_fields(draw: DrawFn) -> dict[str, Any]:
    side = draw(st.sampled_from(OrderSide))
    price = draw(floats(1.0, 1e5))
    below, above = price * draw(floats(0.5, 0.99)), price * draw(floats(1.01, 2.0))
    stop, target = (below, above) if side is OrderSide.BUY else (above, below)
    return {
        "pair": draw(st.sampled_from(["BTCUSDT", "ETHUSDT"])),
        "side": side,
        "order_type": draw(st.sampled_from(OrderType)),
        "price": price,
        "stop_loss": draw(st.sampled_from([None, stop])),
        "take_profit": draw(st.sampled_from([None, target])),
    }


@st.composite
def handshakes(draw: DrawFn, operation_id: str = "op") -> ExecutionHandshake:
    """Valid handshakes of any status."""
    status = draw(st.sampled_from(ExecutionStatus))
    confirmed = status is ExecutionStatus.CONFIRMED
    refused = status in {ExecutionStatus.FAILED, ExecutionStatus.ROLLED_BACK}
    fee = draw(floats(0.0, 10.0)) if confirmed else 0.0
    submitted = draw(moments())
    deltas = draw(st.dictionaries(st.sampled_from(KEYS), floats(-1e9, 1e9), max_size=4)) if confirmed else {}
    return ExecutionHandshake(
        operation_id=operation_id,
        status=status,
        actual_deltas=deltas,
        fee_amount=fee,
        fee_currency="USDT" if fee else None,
        error_code="VEN-009" if refused else None,
        error_message="refused" if refused else None,
        submitted_at=submitted,
        executed_at=submitted + timedelta(seconds=draw(st.integers(0, 60))) if confirmed else None,
        simulated=True,
    )


@st.composite
def ledgers(draw: DrawFn, keys: Iterable[str] = KEYS, high: float = 1e6) -> dict[str, float]:
    """Balances of the given keys: zero or above, perps of either sign."""
    return {key: draw(floats(-high if INSTRUMENTS[key].type is InstrumentType.PERP else 0.0, high)) for key in keys}


@st.composite
def market_rows(draw: DrawFn, config: RunConfig) -> dict[str, float]:
    """Market rows with every column that a configuration needs, within a factor of three of a typical value."""
    columns = [feed.column for feed in config.feeds()]
    return {column: draw(_around(column)) for column in columns}


def _around(column: str) -> SearchStrategy[float]:
    typical = typical_value(column)
    if column.startswith(("liquidity_index", "borrow_index", "oracle_price_eth")):
        return floats(1.0, 3.0 * typical)
    if column.startswith("funding"):
        return floats(-1e-3, 1e-3)
    return floats(typical / 3, typical * 3)


@st.composite
def market_windows(
    draw: DrawFn, config: RunConfig, min_ticks: int = 1, max_ticks: int = 24
) -> dict[str, NDArray[np.float64]]:
    """Market columns over some ticks: indices never fall, prices walk."""
    ticks = draw(st.integers(min_ticks, max_ticks))
    start = draw(market_rows(config))
    seed = draw(st.integers(0, 2**32 - 1))
    return walk(start, ticks, seed)


def walk(start: dict[str, float], ticks: int, seed: int, scale: float = 0.01) -> dict[str, NDArray[np.float64]]:
    """A market that begins with a row: indices and rates of LSTs grow, everything else wanders."""
    rng = np.random.default_rng(seed)
    columns: dict[str, NDArray[np.float64]] = {}
    for column, value in start.items():
        steps = rng.normal(0.0, scale, ticks)
        if column.startswith(("liquidity_index", "borrow_index")):
            steps = np.abs(steps) / 100
        steps[0] = 0.0
        columns[column] = value * np.exp(np.cumsum(steps))
    return columns


@st.composite
def cuts(draw: DrawFn, ticks: int) -> list[int]:
    """Lengths of consecutive windows that add up to ``ticks``."""
    marks = sorted(draw(st.sets(st.integers(1, ticks - 1), max_size=ticks - 1))) if ticks > 1 else []
    return [end - begin for begin, end in zip([0, *marks], [*marks, ticks], strict=True)]


@st.composite
def run_configs(draw: DrawFn, modes: Sequence[str] = MODES) -> RunConfig:
    """Configurations of real modes with a few parameters changed."""
    return _changed(draw, draw(st.sampled_from(modes)))


def _changed(draw: DrawFn, mode: str) -> RunConfig:
    changes: dict[str, Any] = {
        "engine.max_window": draw(st.integers(1, 4096)),
        "engine.initial_window": draw(st.integers(1, 64)),
        "strategy.position_deviation_threshold": draw(floats(0.0, 1.0)),
        "execution_manager.max_retry_attempts": draw(st.integers(0, 10)),
    }
    if mode_config(mode).wallet is not None:
        changes["venues.wallet.gas_price_gwei"] = draw(st.none() | floats(0.0, 1e3))
    return mode_config(mode, changes)
