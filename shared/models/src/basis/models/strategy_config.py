"""Parameters of the strategies, one class a family (behaviour.md section 3).

Modes of one family share code and parameters; ``family`` in a mode's ``strategy:`` section decides which class reads it.
Each class also says what it needs: instruments to hold and market columns to look at, so that a configuration that
cannot work is refused before a run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, model_validator

from basis.models.base import Fraction, FrozenModel, NonNegative, Positive
from basis.models.instruments import CEX_VENUES, INSTRUMENTS, LST_OF, InstrumentType, Venue

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUM_TOLERANCE = 1e-9


class StrategyConfig(FrozenModel):
    """Parameters that every strategy shares."""

    family: str
    """Which strategy code reads the section."""
    position_deviation_threshold: Fraction = 0.02
    """Equity move since the last rebalance, as a fraction, above which the mode re-targets."""
    min_order_value: NonNegative = 1.0
    """Smallest order worth sending, USD."""

    def required_keys(self, asset: str, currency: str) -> tuple[str, ...]:
        """Instrument keys without which the strategy cannot work.

        Args:
            asset: asset whose yield the mode earns.
            currency: share class.
        """
        del asset, currency
        return ()

    def required_columns(self, subscriptions: Iterable[str]) -> tuple[str, ...]:
        """Market columns that decisions look at, besides those that holding and valuing need."""
        del subscriptions
        return ()


class _OnChain(StrategyConfig):
    """Sends transactions from the wallet."""

    gas_reserve: NonNegative | None = None
    """Share class kept out of an entry for gas; null = exactly the gas of the entry at its tick."""


class Rewarded(StrategyConfig):
    """Receives staking rewards."""

    dust_equity_fraction: Fraction = 0.002
    """Reward tokens are sold once they are worth more than this part of equity ..."""
    dust_gas_multiple: NonNegative = 100.0
    """... and more than this many times the gas of selling them."""


class LendingStrategyConfig(_OnChain):
    """Supply one token to Aave v3."""

    family: Literal["lending"]
    """Lending."""

    def required_keys(self, asset: str, currency: str) -> tuple[str, ...]:
        """The wallet's token and its aToken."""
        token = "WETH" if asset == "ETH" else asset
        return (f"wallet:BaseToken:{currency}", f"aave_v3:aToken:a{token}")


class _Hedged(_OnChain):
    """Perp shorts on several exchanges."""

    hedge_allocation: dict[Venue, Fraction] = Field(
        default_factory=lambda: {Venue.BINANCE: 0.4, Venue.BYBIT: 0.3, Venue.OKX: 0.3}
    )
    """Exchange -> part of the short; sums to 1, 0 skips a venue."""
    margin_ratio_target: Positive = 0.5
    """Margin balance over perp notional that each venue is brought to."""
    margin_ratio_trigger: Positive = 0.20
    """Margin ratio of any venue below which money is moved, then legs reduced."""
    net_delta_trade: Fraction = 0.02
    """|net delta| over equity above which perps alone are traded."""
    net_delta_emergency: Fraction = 0.05
    """|net delta| over equity above which it is a risk override."""

    @model_validator(mode="after")
    def _check_hedge(self) -> Self:
        total = math.fsum(self.hedge_allocation.values())
        if abs(total - 1.0) > _SUM_TOLERANCE:
            raise ValueError(f"hedge_allocation sums to {total:g}, expected 1")
        if any(venue not in CEX_VENUES for venue in self.hedge_allocation):
            raise ValueError(f"hedge_allocation: expected only {', '.join(CEX_VENUES)}")
        if self.margin_ratio_trigger >= self.margin_ratio_target:
            raise ValueError("margin_ratio_trigger must be below margin_ratio_target")
        return self

    def hedge_venues(self) -> tuple[Venue, ...]:
        """Exchanges with a part of the short, in the order in which orders are sent to them."""
        return tuple(venue for venue in CEX_VENUES if self.hedge_allocation.get(venue, 0.0) > 0.0)

    def _hedge_keys(self, asset: str) -> tuple[str, ...]:
        perps = (f"{venue}:Perp:{asset}USDT" for venue in self.hedge_venues())
        margins = (f"{venue}:BaseToken:USDT" for venue in self.hedge_venues())
        return (*perps, *margins)

    def required_columns(self, subscriptions: Iterable[str]) -> tuple[str, ...]:
        """Mean funding of each perp."""
        entries = [INSTRUMENTS[key] for key in subscriptions]
        return tuple(f"funding_mean:{e.venue}:{e.symbol}" for e in entries if e.type is InstrumentType.PERP)


class BasisStrategyConfig(_Hedged):
    """Long spot on one exchange, short perps on several."""

    family: Literal["basis"]
    """Spot-perp basis."""
    spot_venue: Venue = Venue.BINANCE
    """Exchange that the spot is bought on."""
    funding_threshold: float = 0.0
    """Enter when the allocation-weighted 8 h funding, averaged over 3 days, is at least this, a fraction."""
    funding_exit_threshold: float = -0.00005
    """Leave when that mean falls below this, a fraction."""

    @model_validator(mode="after")
    def _check_hysteresis(self) -> Self:
        if self.funding_exit_threshold > self.funding_threshold:
            raise ValueError("funding_exit_threshold must not be above funding_threshold")
        return self

    def required_keys(self, asset: str, currency: str) -> tuple[str, ...]:
        """Wallet, spot with its money, perps with their margin."""
        spot = (f"{self.spot_venue}:BaseToken:{asset}", f"{self.spot_venue}:BaseToken:USDT")
        return (f"wallet:BaseToken:{currency}", *spot, *self._hedge_keys(asset))


class StakingStrategyConfig(Rewarded, _OnChain):
    """Stake ETH."""

    family: Literal["staking"]
    """Staking."""
    staking_venue: Literal[Venue.ETHERFI, Venue.LIDO] = Venue.ETHERFI
    """Protocol."""
    exit_route: Literal["queue", "swap"] = "queue"
    """Unstake at the protocol's rate and wait, or swap at the DEX price at once."""

    def required_keys(self, asset: str, currency: str) -> tuple[str, ...]:
        """Wallet ETH, the LST, and the claim in the queue where the exit goes through it."""
        del asset
        lst = f"{self.staking_venue}:LST:{LST_OF[self.staking_venue]}"
        queue = (f"{self.staking_venue}:BaseToken:ETH",) if self.exit_route == "queue" else ()
        return (f"wallet:BaseToken:{currency}", lst, *queue)


class _Leverage(Rewarded, _OnChain):
    """Leveraged staking in one atomic flash-loan group."""

    staking_venue: Literal[Venue.ETHERFI, Venue.LIDO] = Venue.ETHERFI
    """Protocol."""
    target_ltv: Annotated[float, Field(gt=0, lt=1)] = 0.65
    """Debt over collateral that the position is brought to."""
    max_ltv: Annotated[float, Field(gt=0, lt=1)] = 0.91
    """Cap of target_ltv."""
    max_stake_spread_move: Fraction = 0.0225
    """Aave's LTV limit is reduced by this fraction as a cap of target_ltv: room for an LST that moves against ETH."""
    hf_deleverage: Annotated[float, Field(gt=1)] = 1.1
    """Health factor below which the position is brought back to target."""
    ltv_exit: Fraction = 0.95
    """LTV over the liquidation threshold above which all is unwound."""

    def _leverage_keys(self) -> tuple[str, ...]:
        lst = LST_OF[self.staking_venue]
        return (
            "wallet:BaseToken:ETH",
            f"{self.staking_venue}:LST:{lst}",
            f"aave_v3:aToken:a{lst}",
            "aave_v3:debtToken:debtWETH",
            "morpho:debtToken:flashWETH",
        )


class LeveragedStrategyConfig(_Leverage):
    """Leveraged staking."""

    family: Literal["leveraged"]
    """Leveraged staking."""

    def required_keys(self, asset: str, currency: str) -> tuple[str, ...]:
        """Wallet, LST, collateral, debt, flash loan."""
        del asset, currency
        return self._leverage_keys()


class MarketNeutralStrategyConfig(_Hedged, _Leverage):
    """Staked ETH, leveraged or not, hedged with perps."""

    family: Literal["market_neutral"]
    """Market neutral."""
    leverage: bool
    """True runs the leveraged atomic group on the staked part, False stakes it plainly."""
    stake_allocation: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Part of equity that is staked; the rest is margin."""
    gas_float_eth: NonNegative = 0.0
    """ETH that stays in the wallet for the gas of a real chain: never staked, sold or sent. A live run sets it from
    ``live.gas_eth``; 0 where gas is paid in the share class."""
    spot_venue: Venue = Venue.BINANCE
    """Exchange that the ETH is bought on."""

    def required_keys(self, asset: str, currency: str) -> tuple[str, ...]:
        """Wallet in both tokens, spot with its money, perps with their margin, and the staked side."""
        del asset
        lst = f"{self.staking_venue}:LST:{LST_OF[self.staking_venue]}"
        staked = self._leverage_keys() if self.leverage else ("wallet:BaseToken:ETH", lst)
        spot = (f"{self.spot_venue}:BaseToken:ETH", f"{self.spot_venue}:BaseToken:USDT")
        return (f"wallet:BaseToken:{currency}", *staked, *spot, *self._hedge_keys("ETH"))


class SignalsConfig(FrozenModel):
    """Where the signals come from."""

    provider: Literal["catalogue", "file", "http"] = "catalogue"
    """The catalogue's series ``signals/btc``, a file, or an HTTP endpoint."""
    location: str | None = None
    """Path of a Parquet or CSV file, or URL; file and http only."""
    max_age_s: int = Field(default=7_200, gt=0)
    """Oldest signal that still counts, seconds: an older one stops the run (DATA-003), a gap in the file refuses it."""

    @model_validator(mode="after")
    def _check_location(self) -> Self:
        if (self.location is None) != (self.provider == "catalogue"):
            raise ValueError(f"provider {self.provider!r}: location is for file and http, and they need it")
        return self


class DirectionalStrategyConfig(StrategyConfig):
    """One BTC perp, side by a model's signals."""

    family: Literal["directional"]
    """Directional."""
    venue: Venue = Venue.BINANCE
    """Exchange of the perp."""
    symbol: Literal["BTCUSDT", "BTCUSD"]
    """Linear (USDT margin) or inverse (BTC margin)."""
    max_position_size: Positive = 1.0
    """Notional of the position over equity."""
    signal_threshold: Fraction = 0.65
    """Least confidence that opens or turns a position."""
    sd_multiple: Positive = 2.0
    """Take profit and stop loss at this many standard deviations from entry."""
    sd_bps_min: Positive = 10.0
    """Smallest standard deviation used, basis points."""
    sd_bps_max: Positive = 1000.0
    """Largest standard deviation used, basis points."""
    signals: SignalsConfig = Field(default_factory=SignalsConfig)
    """Where the signals come from."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.sd_bps_min > self.sd_bps_max:
            raise ValueError("sd_bps_min must not be above sd_bps_max")
        if self.sd_multiple * self.sd_bps_max >= 10_000:
            raise ValueError("sd_multiple x sd_bps_max must be below 10000 bps: a price cannot fall to zero")
        return self

    def required_keys(self, asset: str, currency: str) -> tuple[str, ...]:
        """The perp and its margin."""
        del asset
        return (f"{self.venue}:Perp:{self.symbol}", f"{self.venue}:BaseToken:{currency}")

    def required_columns(self, subscriptions: Iterable[str]) -> tuple[str, ...]:
        """Signals, and the extremes of each bar for take profit and stop loss."""
        del subscriptions
        bars = (f"perp_{extreme}:{self.venue}:{self.symbol}" for extreme in ("high", "low"))
        return ("signal_side", "signal_confidence", "signal_sd", *bars)


class CustomStrategyConfig(StrategyConfig):
    """A strategy of your own: its module reads ``parameters`` as it likes."""

    family: Literal["custom"]
    """Custom."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """Anything that the strategy's module reads."""
    columns: tuple[str, ...] = ()
    """Market columns that its decisions look at, besides those that holding and valuing need."""

    def required_columns(self, subscriptions: Iterable[str]) -> tuple[str, ...]:
        """The columns named."""
        del subscriptions
        return self.columns


StrategyParameters = Annotated[
    LendingStrategyConfig
    | BasisStrategyConfig
    | StakingStrategyConfig
    | LeveragedStrategyConfig
    | MarketNeutralStrategyConfig
    | DirectionalStrategyConfig
    | CustomStrategyConfig,
    Field(discriminator="family"),
]
"""Parameters of any strategy."""


def parameters_schema(parameters: StrategyConfig) -> dict[str, Any]:
    """JSON Schema of a mode's strategy parameters: types, bounds and meanings of its family, defaults of the mode itself.

    Descriptions are there where :func:`basis.models.base.document_fields` was called before this module was imported.

    Args:
        parameters: the ``strategy`` section of the mode.
    """
    schema = type(parameters).model_json_schema(mode="validation")
    values = parameters.model_dump(mode="json")
    for name, field in schema["properties"].items():
        field["default"] = values[name]
    return schema
