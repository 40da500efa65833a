"""What the monitors derive from a configuration once, and use for every tick of every window. Pure."""

from __future__ import annotations

from typing import NamedTuple

from basis.models.config import AaveConfig, RunConfig
from basis.models.instruments import InstrumentType, Venue
from basis.models.market import SHARE_PRICE_COLUMN
from basis.runtime.valuation import Valuation, valuation

_EMODE_TOKENS = frozenset({"WETH", "weETH", "wstETH"})


class Line(NamedTuple):
    """One instrument that the mode may hold."""

    key: str
    """Instrument key."""
    how: Valuation
    """How it is valued."""
    price_cause: str
    """Attribution part that a price move of it counts under."""
    liquidation_threshold: float
    """Collateral factor in the health factor; 0 where it is no collateral."""


class MonitorPlan(NamedTuple):
    """A configuration, compiled."""

    lines: tuple[Line, ...]
    """Instruments, in the order of the subscriptions."""
    share_class: str
    """Currency of the account."""
    share_price_column: str
    """USD price of the share class."""
    assets: tuple[str, ...]
    """Assets of the instruments, in order of first appearance."""
    venues: tuple[str, ...]
    """Venues of the instruments, in order of first appearance."""
    subscriptions: frozenset[str]
    """Keys that the mode may hold."""
    max_retries: int
    """Re-queries after a mismatch."""


def compile_plan(config: RunConfig) -> MonitorPlan:
    """Compile a configuration."""
    lines = tuple(_line(key, config) for key in config.position_subscriptions)
    currency = config.share_class.currency
    return MonitorPlan(
        lines=lines,
        share_class=currency,
        share_price_column=SHARE_PRICE_COLUMN[currency],
        assets=tuple(dict.fromkeys(line.how.instrument.asset for line in lines)),
        venues=tuple(dict.fromkeys(line.how.instrument.venue for line in lines)),
        subscriptions=frozenset(config.position_subscriptions),
        max_retries=config.execution_manager.max_retry_attempts,
    )


def _line(key: str, config: RunConfig) -> Line:
    how = valuation(key)
    return Line(key, how, _price_cause(how), _threshold(how, config))


def _price_cause(how: Valuation) -> str:
    if how.dex_column is not None:
        return "dust"
    return "delta" if how.instrument.type is InstrumentType.BASE_TOKEN else "price_effect"


def _threshold(how: Valuation, config: RunConfig) -> float:
    aave = config.venues.get(Venue.AAVE_V3)
    if how.instrument.type is not InstrumentType.A_TOKEN or not isinstance(aave, AaveConfig):
        return 0.0
    token = how.instrument.underlying
    if aave.emode is not None and token in _EMODE_TOKENS:
        return aave.emode.liquidation_threshold
    return aave.reserves[token].liquidation_threshold
