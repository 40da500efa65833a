"""What the monitors derive from a configuration once, and use for every tick of every window. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.models.config import AaveConfig, RiskConfig, RunConfig, Scenario
from basis.models.instruments import InstrumentType, Venue, asset_of, is_inverse, margin_key, margin_token
from basis.runtime import fills
from basis.runtime.valuation import Valuation, Valuer, valuation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.messages import RunMode
    from basis.monitors.core.columns import Floats

_REWARD_TOKENS = frozenset({"EIGEN", "ETHFI", "KING"})


class Line(NamedTuple):
    """One instrument that the mode may hold and that has a value: all but perps."""

    key: str
    """Instrument key."""
    how: Valuation
    """How it is valued."""
    price_cause: str
    """Attribution part that a price move of it counts under: ``delta``, or ``dust`` for reward tokens."""
    liquidation_threshold: float
    """Collateral factor in the health factor; 0 where it is no collateral."""
    shocks: tuple[float, ...]
    """What a unit of it is worth after each scenario, as a factor on today's USD value."""


class PerpLine(NamedTuple):
    """One perp that the mode may hold."""

    key: str
    """Instrument key."""
    venue: str
    """Exchange."""
    symbol: str
    """Symbol at the exchange."""
    asset: str
    """Asset that it follows."""
    margin_key: str
    """Balance that it settles into."""
    mark_column: str
    """Market column of its mark, quote per base."""
    inverse: bool
    """True where the quantity is USD contracts."""
    caps: Floats
    """Largest notional of each bracket, quote currency; the last is infinite."""
    rates: Floats
    """Maintenance rate of each bracket."""
    amounts: Floats
    """Maintenance amount of each bracket, quote currency."""
    shocks: tuple[float, ...]
    """Price of the asset after each scenario, as a factor on today's."""


class MarginAccount(NamedTuple):
    """Perps of one exchange that share a margin balance."""

    venue: str
    """Exchange."""
    key: str
    """Margin balance."""
    token: str
    """Token of the margin."""
    perps: tuple[PerpLine, ...]
    """What it backs."""


class Slack(NamedTuple):
    """How far two figures may be apart that should agree (behaviour.md section 4)."""

    fraction: float
    """Of what is held or moved."""
    usd: float
    """Or so much in USD, where that is more."""
    gap: float
    """Largest attribution gap, as a fraction of capital."""


EXACT = Slack(1e-9, 0.0, 1e-6)
"""Backtests: simulated venues and monitors compute the same."""
_REAL = Slack(1e-4, 1.0, 1e-3)
"""Paper and live: max(1 USD, 1 bp); real rates differ from the row's by what happened since it was read (ADR 0025)."""


class MonitorPlan(NamedTuple):
    """A configuration, compiled."""

    lines: tuple[Line, ...]
    """Instruments with a value, in the order of the subscriptions."""
    places: Mapping[str, int]
    """Key -> place in ``lines``."""
    perps: tuple[PerpLine, ...]
    """Perps, in the order of the subscriptions."""
    accounts: tuple[MarginAccount, ...]
    """Margin balances that back perps."""
    keys: tuple[str, ...]
    """All instruments, in the order of the subscriptions."""
    valuer: Valuer
    """Prices of the mode."""
    share_class: str
    """Currency of the account."""
    assets: tuple[str, ...]
    """Assets of the instruments, in order of first appearance."""
    venues: tuple[str, ...]
    """Venues of the instruments, in order of first appearance, then those that the mode only trades at."""
    subscriptions: frozenset[str]
    """Keys that the mode may hold."""
    max_retries: int
    """Re-queries after a mismatch."""
    risk: RiskConfig
    """What to warn of."""
    watches_delta: bool
    """True where net delta is a risk: the mode is meant to be market neutral."""
    slack: Slack = EXACT
    """How far figures may be apart."""

    def usd_floor(self, key: str, market: Mapping[str, float]) -> float:
        """``slack.usd`` as a quantity of an instrument, at a market row; 0 in a backtest."""
        if self.slack.usd == 0.0:
            return 0.0
        perp = next((found for found in self.perps if found.key == key), None)
        if perp is None:
            unit = abs(self.valuer.unit_usd(key, market))
        else:
            unit = 1.0 if perp.inverse else market[perp.mark_column] * self.valuer.usd("USDT", market)
        return self.slack.usd / unit if unit > 0.0 else 0.0

    def margin_floor(self, key: str, market: Mapping[str, float], quantities: Mapping[str, float]) -> float:
        """What a margin balance may be off because its perps were marked a moment later; 0 in a backtest."""
        if self.slack.usd == 0.0:
            return 0.0
        backed = (perp for account in self.accounts if account.key == key for perp in account.perps)
        return self.slack.fraction * sum(
            fills.margin_units(
                perp.symbol,
                fills.perp_notional(perp.symbol, quantities.get(perp.key, 0.0), market[perp.mark_column]),
                market[perp.mark_column],
            )
            for perp in backed
        )


def compile_plan(config: RunConfig, run_mode: RunMode = "backtest") -> MonitorPlan:
    """Compile a configuration; the kind of the run decides how far figures may be apart.

    Raises:
        ComponentError: VEN-001, a perp whose market the venue's configuration does not list.
    """
    found = [(key, valuation(key)) for key in config.position_subscriptions]
    scenarios = config.risk.scenarios
    perps = tuple(_perp(key, how, config) for key, how in found if how.instrument.type is InstrumentType.PERP)
    instruments = [how.instrument for _, how in found]
    lines = tuple(
        _line(key, how, config, scenarios) for key, how in found if how.instrument.type is not InstrumentType.PERP
    )
    return MonitorPlan(
        lines=lines,
        places={line.key: place for place, line in enumerate(lines)},
        perps=perps,
        accounts=_accounts(perps),
        keys=config.position_subscriptions,
        valuer=Valuer.of(config),
        share_class=config.share_class.currency,
        assets=tuple(dict.fromkeys(entry.asset for entry in instruments)),
        venues=tuple(dict.fromkeys([*(str(entry.venue) for entry in instruments), *map(str, config.venues)])),
        subscriptions=frozenset(config.position_subscriptions),
        max_retries=config.execution_manager.max_retry_attempts,
        risk=config.risk,
        watches_delta=config.share_class.market_neutral and config.strategy.family != "directional",
        slack=EXACT if run_mode == "backtest" else _REAL,
    )


def shock(token: str, scenario: Scenario) -> float:
    """USD price of a token after a scenario, as a factor on today's: an LST falls against ETH, and with it."""
    asset = asset_of(token)
    if asset == "BTC":
        return 1.0 + scenario.btc_move
    if asset != "ETH":
        return 1.0
    ether = (1.0 - scenario.eth_fall) * (1.0 + scenario.eth_rise)
    return ether * (1.0 - scenario.lst_depeg) if token in {"weETH", "wstETH"} else ether


def _line(key: str, how: Valuation, config: RunConfig, scenarios: tuple[Scenario, ...]) -> Line:
    found = how.instrument
    token = found.symbol if found.type is InstrumentType.LST else found.underlying
    cause = "dust" if found.asset in _REWARD_TOKENS else "delta"
    return Line(key, how, cause, _threshold(how, config), tuple(shock(token, scenario) for scenario in scenarios))


def _perp(key: str, how: Valuation, config: RunConfig) -> PerpLine:
    found = how.instrument
    tiers = fills.market_config(config, found.venue, found.symbol, perp=True).tiers
    return PerpLine(
        key=key,
        venue=str(found.venue),
        symbol=found.symbol,
        asset=found.asset,
        margin_key=margin_key(found.venue, found.symbol),
        mark_column=f"perp:{found.venue}:{found.symbol}",
        inverse=is_inverse(found.symbol),
        caps=np.array([np.inf if tier.notional_cap is None else tier.notional_cap for tier in tiers]),
        rates=np.array([tier.maintenance_rate for tier in tiers]),
        amounts=np.array([tier.maintenance_amount for tier in tiers]),
        shocks=tuple(shock(found.asset, scenario) for scenario in config.risk.scenarios),
    )


def _accounts(perps: tuple[PerpLine, ...]) -> tuple[MarginAccount, ...]:
    keys = dict.fromkeys(perp.margin_key for perp in perps)
    groups = [tuple(perp for perp in perps if perp.margin_key == key) for key in keys]
    return tuple(
        MarginAccount(group[0].venue, group[0].margin_key, margin_token(group[0].symbol), group) for group in groups
    )


def _threshold(how: Valuation, config: RunConfig) -> float:
    aave = config.venues.get(Venue.AAVE_V3)
    if how.instrument.type is not InstrumentType.A_TOKEN or not isinstance(aave, AaveConfig):
        return 0.0
    reserve = aave.parameters(how.instrument.underlying)
    assert reserve is not None, "RunConfig refuses an aToken without its reserve"
    return reserve.liquidation_threshold
