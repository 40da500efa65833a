"""What a strategy says of a window in columns is what it says when it is asked tick by tick."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basis.models.instruments import InstrumentType, split_key
from basis.strategy.core.strategy_manager import StrategyManager, StrategyState
from basis.strategy.core.view import TickView
from basis.strategy.strategies import built_modes, make_strategy
from basis.testkit.runs import market_row, mode_config, run_ref

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from basis.models.config import RunConfig

    Floats = NDArray[np.float64]

TICKS = 60
REFERENCE = 1000.0


def figures(config: RunConfig, rng: np.random.Generator) -> dict[str, Floats]:
    """Monitors' columns on both sides of every limit."""
    equity = REFERENCE * rng.uniform(0.975, 1.025, TICKS)
    found = {
        "equity": equity,
        "total_value_usd": equity,
        "net_delta_usd": equity * rng.normal(0.0, 0.01, TICKS) * rng.integers(0, 2, TICKS),
        "collateral_usd": np.full(TICKS, 2000.0),
        "threshold_usd": np.full(TICKS, 1600.0) * rng.integers(0, 2),
        "debt_usd": rng.uniform(0.0, 1600.0, TICKS) * rng.integers(0, 2),
    }
    for venue in config.venues:
        found[f"margin:{venue}"] = rng.uniform(-10.0, 1000.0, TICKS)
        found[f"notional:{venue}"] = np.full(TICKS, 1000.0) * rng.integers(0, 2)
    return found


def market(config: RunConfig, rng: np.random.Generator) -> dict[str, Floats]:
    found = {}
    for name, value in market_row(config).items():
        if name == "signal_side":
            found[name] = rng.integers(-1, 2, TICKS).astype(float)
        elif name == "signal_confidence":
            found[name] = rng.uniform(0.3, 1.0, TICKS)
        elif name.startswith("funding_mean"):
            found[name] = rng.normal(0.0, 1e-4, TICKS)
        else:
            found[name] = value * rng.uniform(0.99, 1.01, TICKS)
    return found


def holdings(config: RunConfig, rng: np.random.Generator) -> tuple[dict[str, float], dict[str, Floats]]:
    """Positions before the window, and those that change within it; half of all are empty."""
    sizes = {}
    for key in config.position_subscriptions:
        scale = rng.choice([0.0, 0.0, 1e-3, 1.0])
        sizes[key] = float(scale * rng.uniform(0.5, 1.5)) * (-1 if split_key(key).type is InstrumentType.PERP else 1)
    changing: dict[str, Floats] = {
        key: np.asarray(size * rng.integers(0, 2, TICKS)) for key, size in sizes.items() if rng.random() < 0.3
    }
    return sizes, changing


def scene(config: RunConfig, seed: int) -> TickView:
    rng = np.random.default_rng(seed)
    positions, changing = holdings(config, rng)
    return TickView(0, market(config, rng), figures(config, rng), positions, changing, bytes(TICKS))


def resting_ticks(config: RunConfig, seed: int, state: StrategyState) -> int:
    """Compare each tick that rests with the question itself; returns how many there were."""
    seen, run = scene(config, seed), run_ref(config)
    manager = StrategyManager(config, make_strategy(config))
    resting, found, place = manager.resting(seen, state, TICKS), 0, 0
    while place < TICKS:
        decision, until = resting.from_place(place)
        assert until > place
        if decision is not None:
            assert not decision.orders
            for tick in range(place, until):
                assert manager.decide(seen.at(tick), state, run) == decision
                found += 1
        place = until
    return found


@pytest.mark.parametrize("mode", built_modes())
@given(seed=st.integers(0, 2**32), entered=st.booleans())
def test_a_tick_that_rests_is_decided_alike_when_asked(mode: str, seed: int, entered: bool) -> None:
    resting_ticks(mode_config(mode), seed, StrategyState(REFERENCE if entered else None))


@pytest.mark.parametrize("mode", built_modes())
def test_ticks_do_rest(mode: str) -> None:
    config, state = mode_config(mode), StrategyState(REFERENCE)
    assert sum(resting_ticks(config, seed, state) for seed in range(60)) > 0


@pytest.mark.parametrize("mode", built_modes())
def test_nothing_rests_while_money_is_to_be_paid_out(mode: str) -> None:
    config, owing = mode_config(mode), StrategyState(REFERENCE, 10.0)
    assert [resting_ticks(config, seed, owing) for seed in range(20)] == [0] * 20
