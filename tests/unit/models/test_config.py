"""Configuration models: what is refused, and what follows from a configuration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from basis.models.config import AaveReserveConfig, DataConfig, EngineConfig, GasUnits, ModeConfig, RunConfig
from basis.models.operations import TRADES, OperationType
from basis.testkit import strategies as bst
from basis.testkit.runs import custom_config, mode_config

MODE: dict[str, Any] = {
    "mode": "made",
    "description": "x",
    "asset": "USDT",
    "share_class": "USDT",
    "venues": ["wallet", "aave_v3"],
    "position_subscriptions": ["wallet:BaseToken:USDT", "aave_v3:aToken:aUSDT"],
    "target_apy": 0.05,
    "max_drawdown": 0.01,
    "strategy": {"family": "lending"},
}
RESERVE: dict[str, Any] = {"ltv": 0.7, "liquidation_threshold": 0.8, "liquidation_bonus": 0.05, "reserve_factor": 0.1}


def test_minimal_mode_takes_the_common_defaults_of_behaviour_section_3() -> None:
    found = ModeConfig.model_validate(MODE)
    assert found.time_step_s == 3600
    assert found.strategy.position_deviation_threshold == 0.02
    manager = found.execution_manager
    assert manager.max_retry_attempts == 3
    assert (manager.execution_timeout_s, manager.reconciliation_timeout_s, manager.tight_loop_timeout_s) == (
        30,
        10,
        120,
    )
    assert manager.retry_backoff_s == (1, 2, 4)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"mode": "Bad-Name"}, "mode"),
        ({"mode": "../x"}, "mode"),
        ({"asset": "DOGE"}, "asset"),
        ({"share_class": "EUR"}, "share_class"),
        ({"venues": ["kraken"]}, "venues"),
        ({"venues": []}, "venues"),
        ({"position_subscriptions": []}, "position_subscriptions"),
        ({"position_subscriptions": ["wallet:BaseToken:DOGE"]}, "unknown instrument"),
        ({"position_subscriptions": ["wallet:BaseToken:USDT"] * 2}, "named twice"),
        ({"position_subscriptions": ["binance:BaseToken:USDT"]}, "does not list"),
        ({"time_step_s": 59}, "time_step_s"),
        ({"time_step_s": 86_401}, "time_step_s"),
        ({"target_apy": 1.5}, "target_apy"),
        ({"max_drawdown": float("nan")}, "max_drawdown"),
        ({"strategy": {"family": "lending", "position_deviation_threshold": -0.1}}, "position_deviation_threshold"),
        ({"strategy": {"family": "lending", "gas_reserve": -1}}, "gas_reserve"),
        ({"strategy": {"family": "lending", "typo": 1}}, "typo"),
        ({"strategy": {"family": "magic"}}, "family"),
        ({"engine": {"max_window": 0}}, "max_window"),
        ({"execution_manager": {"max_retry_attempts": 11}}, "max_retry_attempts"),
        ({"data": {"feeds": {"price_usd:DOGE": {}}}}, "price_usd:DOGE"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_mode_that_makes_no_sense_raises_and_names_the_place(change: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        ModeConfig.model_validate(MODE | change)


def test_reserve_whose_ltv_is_above_its_threshold_raises() -> None:
    with pytest.raises(ValidationError, match="above liquidation_threshold"):
        AaveReserveConfig.model_validate(RESERVE | {"ltv": 0.81})


def test_reserve_whose_ltv_equals_its_threshold_is_accepted() -> None:
    assert AaveReserveConfig.model_validate(RESERVE | {"ltv": 0.8}).ltv == 0.8


@pytest.mark.parametrize("venue", ["wallet", "aave_v3"])
def test_venue_with_the_config_of_another_kind_raises(venue: str) -> None:
    raw = mode_config().model_dump(mode="json")
    raw["venues"][venue] = {"kind": "flash_loan", "fee": 0.0}
    with pytest.raises(ValidationError, match=f"venues.{venue}.kind"):
        RunConfig.model_validate(raw)


def test_unknown_kind_of_venue_raises() -> None:
    raw = mode_config().model_dump(mode="json")
    raw["venues"]["wallet"] = {"kind": "bank"}
    with pytest.raises(ValidationError, match="bank"):
        RunConfig.model_validate(raw)


def test_gas_units_lie_within_behaviour_section_2() -> None:
    units = GasUnits()
    assert (units.stake, units.unstake, units.swap) == (150_000, 200_000, 180_000)
    assert all(150_000 <= getattr(units, name) <= 250_000 for name in ("supply", "borrow", "repay", "withdraw"))
    assert 21_000 <= units.transfer <= 65_000
    assert set(GasUnits.model_fields) == {str(operation) for operation in set(OperationType) - TRADES}


def test_gas_token_is_eth_where_the_mode_holds_it() -> None:
    assert mode_config("pure_lending_eth").gas_token == "ETH"
    assert mode_config("pure_lending_usdt").gas_token == "USDT"


def test_feeds_without_gas_leave_gas_and_eth_price_out() -> None:
    with_gas = {feed.column for feed in mode_config().feeds()}
    free = {feed.column for feed in mode_config(overrides={"venues.wallet.gas_price_gwei": 0}).feeds()}
    fixed = {feed.column for feed in mode_config(overrides={"venues.wallet.gas_price_gwei": 30}).feeds()}
    assert {"gas_base_fee_gwei", "gas_priority_fee_gwei", "price_usd:ETH"} <= with_gas
    assert with_gas - fixed == {"gas_base_fee_gwei", "gas_priority_fee_gwei"}
    assert fixed - free == {"price_usd:ETH"}


def test_mode_without_a_wallet_needs_no_gas() -> None:
    config = custom_config(["binance:BaseToken:USDT", "binance:Perp:BTCUSDT"], asset="BTC")
    assert config.wallet is None
    assert not [feed.column for feed in config.feeds() if feed.column.startswith("gas")]


def test_feed_override_changes_what_it_names_and_nothing_else() -> None:
    override = {"feeds": {"price_usd:USDT": {"period_s": 60, "max_staleness_s": 90}}}
    config = mode_config().model_copy(update={"data": DataConfig.model_validate(override)})
    before = {feed.column: feed for feed in mode_config().feeds()}
    after = {feed.column: feed for feed in config.feeds()}
    changed = after["price_usd:USDT"]
    assert (changed.period_s, changed.staleness_s, changed.series) == (60, 90, "oracle/usdt_usd")
    assert {column for column in before if before[column] != after[column]} == {"price_usd:USDT"}


def test_engine_window_bounds() -> None:
    assert EngineConfig().initial_window <= EngineConfig().max_window
    with pytest.raises(ValidationError, match="max_window"):
        EngineConfig(max_window=4097)


@given(bst.run_configs())
def test_any_run_config_survives_json_and_its_feeds_are_sorted(config: RunConfig) -> None:
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    columns = [feed.column for feed in config.feeds()]
    assert columns == sorted(set(columns))
