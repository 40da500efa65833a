"""Configuration models: venues, share classes, modes, and the merged configuration that a run travels with.

Files: ``configs/modes/<mode>.yaml`` (:class:`ModeConfig`; its ``strategy:`` section is in ``strategy_config``),
``configs/venues/<venue>.yaml`` (``venue_config``), ``configs/share_classes/<currency>.yaml`` (:class:`ShareClassConfig`). An
unknown key is an error (CONFIG-003).
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from basis.models.base import Fraction, FrozenModel, NonNegative, Positive
from basis.models.errors import InputError
from basis.models.instruments import CEX_VENUES, INSTRUMENTS, InstrumentType, Venue, margin_key
from basis.models.live_config import LiveConfig, TradingLimits
from basis.models.market import (
    DEFAULT_FEEDS,
    PERP_BAR_KINDS,
    AssetPrice,
    Feed,
    FeedKind,
    FeedOverride,
    asset_prices,
    required_columns,
)
from basis.models.strategy_config import (
    BasisStrategyConfig,
    CustomStrategyConfig,
    DirectionalStrategyConfig,
    LendingStrategyConfig,
    LeveragedStrategyConfig,
    MarketNeutralStrategyConfig,
    StakingStrategyConfig,
    StrategyConfig,
    StrategyParameters,
)
from basis.models.venue_config import (
    AaveConfig,
    AaveReserveConfig,
    CexConfig,
    DexConfig,
    FlashLoanConfig,
    GasUnits,
    MarginTier,
    MarketConfig,
    StakingConfig,
    VenueConfig,
    WalletConfig,
)

__all__ = [
    "AaveConfig",
    "AaveReserveConfig",
    "BasisStrategyConfig",
    "CapitalFlow",
    "CexConfig",
    "CustomStrategyConfig",
    "DataConfig",
    "DexConfig",
    "DirectionalStrategyConfig",
    "EngineConfig",
    "ExecutionManagerConfig",
    "FlashLoanConfig",
    "GasUnits",
    "LendingStrategyConfig",
    "LeveragedStrategyConfig",
    "LiveConfig",
    "MarginTier",
    "MarketConfig",
    "MarketNeutralStrategyConfig",
    "ModeConfig",
    "RiskConfig",
    "RunConfig",
    "Scenario",
    "ShareClass",
    "ShareClassConfig",
    "StakingConfig",
    "StakingStrategyConfig",
    "StrategyConfig",
    "StrategyParameters",
    "TradingLimits",
    "VenueConfig",
    "WalletConfig",
]

ShareClass = Literal["USDT", "ETH", "BTC"]


class ShareClassConfig(FrozenModel):
    """Currency of the account and of PnL."""

    currency: ShareClass
    """Token that capital, equity and PnL are counted in."""
    decimals: int = Field(ge=0, le=18)
    """Decimals of its smallest unit."""
    market_neutral: bool
    """True where the strategy takes no view on the price of anything but the share class."""
    default_capital: Positive
    """Initial capital of a backtest where none is given, in the currency."""


class EngineConfig(FrozenModel):
    """How the engine advances a run; changes speed, never results."""

    max_window: int = Field(default=1024, ge=1, le=4096)
    """Most ticks that one window asks for."""
    initial_window: int = Field(default=64, ge=1, le=4096)
    """Ticks of the first window, and the least that one asks for after orders."""


class ExecutionManagerConfig(FrozenModel):
    """Patience of the tight loop."""

    max_retry_attempts: int = Field(default=3, ge=0, le=10)
    """Re-queries after a reconciliation mismatch or an unknown outcome."""
    retry_backoff_s: tuple[NonNegative, ...] = (1.0, 2.0, 4.0)
    """Seconds before each re-query; the last one repeats."""
    execution_timeout_s: Positive = 30.0
    """Longest wait for a venue's answer, seconds."""
    reconciliation_timeout_s: Positive = 10.0
    """Longest wait for a reconciliation, seconds."""
    tight_loop_timeout_s: Positive = 120.0
    """Longest time for all of one order, seconds."""


class DataConfig(FrozenModel):
    """Where the market columns come from."""

    feeds: dict[str, FeedOverride] = Field(default_factory=dict)
    """Column -> what differs from its default feed."""

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        for column in self.feeds:
            if column not in DEFAULT_FEEDS:
                raise ValueError(f"feed {column!r} is unknown; known: {', '.join(sorted(DEFAULT_FEEDS))}")
        return self


class CapitalFlow(FrozenModel):
    """A deposit or withdrawal of the client during the run."""

    date: AwareDatetime
    """It takes effect at the first tick at or after this time."""
    amount: float
    """Share class; positive = deposit, negative = withdrawal."""

    @model_validator(mode="after")
    def _check_amount(self) -> Self:
        if self.amount == 0.0:
            raise ValueError("amount is 0: expected above 0 for a deposit, below 0 for a withdrawal")
        return self


class Scenario(FrozenModel):
    """A shock whose consequences the risk monitor shows at every tick."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Name in the log."""
    lst_depeg: Fraction = 0.0
    """Fall of each LST against ETH."""
    eth_fall: Fraction = 0.0
    """Fall of ETH against USD."""
    btc_move: float = Field(default=0.0, gt=-1.0)
    """Relative move of BTC against USD; positive = rise."""
    eth_rise: NonNegative = 0.0
    """Rise of ETH against USD, what a short perp suffers from."""


class RiskConfig(FrozenModel):
    """What the risk monitor warns of."""

    hf_warn: Positive = 1.25
    """Health factor below which it warns."""
    hf_breach: Positive = 1.1
    """Health factor below which it is a breach."""
    ltv_breach: Fraction = 0.95
    """Debt over the liquidation limit above which it is a breach."""
    margin_warn: Fraction = 0.30
    """Margin ratio of a venue below which it warns."""
    margin_breach: Fraction = 0.20
    """Margin ratio of a venue below which it is a breach."""
    delta_warn: Fraction = 0.005
    """|net delta| over equity above which it warns; market-neutral share classes only."""
    delta_breach: Fraction = 0.05
    """|net delta| over equity above which it is a breach; market-neutral share classes only."""
    scenarios: tuple[Scenario, ...] = ()
    """Liquidation simulation: what if."""


class _RunBase(FrozenModel):
    """What a mode file and the merged configuration have in common."""

    mode: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """Name of the mode and of its strategy module."""
    description: str
    """One line for people."""
    asset: Literal["USDT", "ETH", "BTC"]
    """Asset whose yield the mode earns."""
    position_subscriptions: tuple[str, ...] = Field(min_length=1)
    """Instrument keys that the mode may hold; a delta on any other is an error (POS-002)."""
    time_step_s: int = Field(default=3600, ge=60, le=86_400)
    """Seconds between two ticks."""
    target_apy: Fraction
    """What the mode aims for, per year."""
    max_drawdown: Fraction
    """Largest acceptable fall of equity from its peak."""
    strategy: StrategyParameters
    """Parameters of the strategy; ``family`` decides which there are."""
    capital_flows: tuple[CapitalFlow, ...] = ()
    """Deposits and withdrawals during the run, by date."""
    risk: RiskConfig = Field(default_factory=RiskConfig)
    """What the risk monitor warns of."""
    execution_manager: ExecutionManagerConfig = Field(default_factory=ExecutionManagerConfig)
    """Patience of the tight loop."""
    engine: EngineConfig = Field(default_factory=EngineConfig)
    """How the engine advances the run."""
    data: DataConfig = Field(default_factory=DataConfig)
    """Where the market columns come from."""
    live: LiveConfig = Field(default_factory=LiveConfig)
    """Paper and live trading: disabled unless said otherwise."""

    @model_validator(mode="after")
    def _check_subscriptions(self) -> Self:
        unknown = [key for key in self.position_subscriptions if key not in INSTRUMENTS]
        if unknown:
            raise ValueError(f"position_subscriptions: unknown instrument {unknown[0]!r}")
        if len(set(self.position_subscriptions)) != len(self.position_subscriptions):
            raise ValueError("position_subscriptions: an instrument is named twice")
        return self


class ModeConfig(_RunBase):
    """``configs/modes/<mode>.yaml``."""

    share_class: ShareClass
    """Currency of the account: a file of ``configs/share_classes``."""
    venues: tuple[Venue, ...] = Field(min_length=1)
    """Venues that the mode uses: files of ``configs/venues``."""
    venue_overrides: dict[Venue, dict[str, Any]] = Field(default_factory=dict)
    """Venue -> what differs from its file, e.g. the e-mode that the account is in."""

    @model_validator(mode="after")
    def _check_venues(self) -> Self:
        for venue in self.venue_overrides:
            if venue not in self.venues:
                raise ValueError(f"venue_overrides.{venue}: the mode does not list that venue")
        for key in self.position_subscriptions:
            if INSTRUMENTS[key].venue not in {*self.venues, Venue.TRANSIT}:
                raise ValueError(f"position_subscriptions: {key!r} is at a venue that the mode does not list")
        return self


class RunConfig(_RunBase):
    """The merged configuration of a run: the mode with its venues and share class written out, and overrides applied."""

    share_class: ShareClassConfig
    """Currency of the account."""
    venues: dict[Venue, VenueConfig]
    """Venue -> its configuration."""

    @model_validator(mode="after")
    def _check_venue_kinds(self) -> Self:
        kinds = {Venue.WALLET: "wallet", Venue.AAVE_V3: "aave_v3", Venue.UNISWAP: "dex", Venue.MORPHO: "flash_loan"}
        kinds |= {Venue.LIDO: "staking", Venue.ETHERFI: "staking"} | dict.fromkeys(CEX_VENUES, "cex")
        for venue, config in self.venues.items():
            if config.kind != kinds[venue]:
                raise ValueError(f"venues.{venue}.kind is {config.kind!r}, expected {kinds[venue]!r}")
        return self

    @property
    def wallet(self) -> WalletConfig | None:
        """Configuration of the wallet, None where the mode has none."""
        found = self.venues.get(Venue.WALLET)
        return found if isinstance(found, WalletConfig) else None

    @model_validator(mode="after")
    def _check_strategy(self) -> Self:
        """What the strategy asks for must be held, and its limits must make sense with the venues' parameters."""
        for key in self.strategy.required_keys(self.asset, self.share_class.currency):
            if key not in self.position_subscriptions:
                raise ValueError(f"strategy of family {self.strategy.family!r} needs {key!r} in position_subscriptions")
        for venue, symbol in self.perps():
            if margin_key(venue, symbol) not in self.position_subscriptions:
                raise ValueError(f"{venue}:Perp:{symbol} needs {margin_key(venue, symbol)!r} in position_subscriptions")
            if 8 * 3600 % self.time_step_s:
                raise ValueError(f"time_step_s {self.time_step_s} does not divide the eight hours between two fundings")
        self._check_transit()
        leverage = self.leveraged_strategy
        if leverage is not None:
            self._check_leverage(leverage)
        return self

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        """Every market column that the mode needs must have a feed."""
        try:
            self.feeds()
        except KeyError as error:
            known = ", ".join(sorted(DEFAULT_FEEDS))
            raise ValueError(f"no feed for market column {error.args[0]!r}; known: {known}") from error
        return self

    @model_validator(mode="after")
    def _check_reserves(self) -> Self:
        """What may be held on Aave needs the parameters of its reserve."""
        aave = self.venues.get(Venue.AAVE_V3)
        for key in self.position_subscriptions:
            entry = INSTRUMENTS[key]
            if entry.venue == Venue.AAVE_V3 and not (
                isinstance(aave, AaveConfig) and entry.underlying in aave.reserves
            ):
                raise ValueError(f"venues.aave_v3.reserves has no {entry.underlying}, which {key!r} needs")
        return self

    def _check_transit(self) -> None:
        for venue, config in self.venues.items():
            delayed = isinstance(config, CexConfig | WalletConfig) and config.deposit_delay_s > 0
            held = any(key.startswith("transit:") for key in self.position_subscriptions)
            if delayed and not held:
                raise ValueError(
                    f"venues.{venue}.deposit_delay_s is above 0: add transit:BaseToken:<token> to position_subscriptions"
                )

    def _check_leverage(self, strategy: LeveragedStrategyConfig | MarketNeutralStrategyConfig) -> None:
        """The health factor at target must be above the deleverage trigger (behaviour.md section 3)."""
        aave = self.venues.get(Venue.AAVE_V3)
        if not isinstance(aave, AaveConfig):
            raise ValueError("a leveraged strategy needs the venue aave_v3")  # noqa: TRY004 - pydantic wants a ValueError
        lst = self.lst(strategy.staking_venue)
        reserve = aave.parameters(lst)
        if reserve is None:
            raise ValueError(f"venues.aave_v3.reserves has no {lst}")
        target = self.target_ltv
        factor = reserve.liquidation_threshold / target
        if factor <= strategy.hf_deleverage:
            raise ValueError(
                f"health factor at target is {factor:.4f} (threshold {reserve.liquidation_threshold} over LTV {target:.4f}), "
                f"not above strategy.hf_deleverage {strategy.hf_deleverage}: lower strategy.target_ltv"
            )

    @property
    def leveraged_strategy(self) -> LeveragedStrategyConfig | MarketNeutralStrategyConfig | None:
        """Parameters of the strategy where it borrows on Aave, else None."""
        found = self.strategy
        if isinstance(found, LeveragedStrategyConfig):
            return found
        return found if isinstance(found, MarketNeutralStrategyConfig) and found.leverage else None

    @property
    def target_ltv(self) -> float:
        """LTV that a leveraged mode aims for: target, capped by max_ltv and by Aave's LTV less the stake spread."""
        strategy = self.leveraged_strategy
        aave = self.venues.get(Venue.AAVE_V3)
        if strategy is None or not isinstance(aave, AaveConfig):
            return 0.0
        reserve = aave.parameters(self.lst(strategy.staking_venue))
        limit = 0.0 if reserve is None else reserve.ltv
        return min(strategy.target_ltv, strategy.max_ltv, limit * (1.0 - strategy.max_stake_spread_move))

    def lst(self, venue: Venue) -> str:
        """LST of a staking venue of the mode: weETH or wstETH."""
        found = self.venues.get(venue)
        if not isinstance(found, StakingConfig):
            message = f"strategy.staking_venue is {venue}, which the mode does not list in venues"
            raise ValueError(message)  # noqa: TRY004 - pydantic wants a ValueError
        return found.lst

    def perps(self) -> tuple[tuple[Venue, str], ...]:
        """(venue, symbol) of each perp that the mode may hold, in the order of the subscriptions."""
        entries = (INSTRUMENTS[key] for key in self.position_subscriptions)
        return tuple((Venue(e.venue), e.symbol) for e in entries if e.type is InstrumentType.PERP)

    def market(self, venue: str, symbol: str, *, perp: bool) -> MarketConfig:
        """Limits of a market.

        Raises:
            ValueError: the venue is no exchange of the mode, or does not list the market.
        """
        config = self.venues.get(Venue(venue))
        name = f"{symbol}-PERP" if perp else symbol
        if not isinstance(config, CexConfig) or name not in config.markets:
            raise ValueError(f"venues.{venue}.markets has no {name}")
        return config.markets[name]

    def initial_key(self) -> str:
        """Instrument that capital starts in, and that deposits reach: the share class in the wallet, else on a CEX.

        Raises:
            InputError: CONFIG-003, the mode may hold its share class nowhere.
        """
        currency = self.share_class.currency
        for venue in ("wallet", *CEX_VENUES):
            key = f"{venue}:BaseToken:{currency}"
            if key in self.position_subscriptions:
                return key
        message = f"mode {self.mode!r} holds its share class {currency} nowhere: add it to position_subscriptions"
        raise InputError("CONFIG-003", message, "config")

    def prices(self) -> dict[str, AssetPrice]:
        """Asset -> where its price comes from in this mode."""
        return asset_prices(self.position_subscriptions)

    @property
    def gas_token(self) -> str:
        """Wallet token that gas is paid in (ADR 0012).

        ETH in modes whose share class is ETH; else the share class at the ETH price: there the wallet holds ETH only in
        passing, and the first transfers are sent before it holds any.
        """
        return self.share_class.currency

    def feeds(self) -> tuple[Feed, ...]:
        """Market feeds that the run needs, sorted by column, overrides applied."""
        wallet = self.wallet
        fixed = wallet is None or wallet.gas_price_gwei is not None
        free = wallet is None or wallet.gas_price_gwei == 0
        columns = {
            *required_columns(
                self.position_subscriptions,
                self.share_class.currency,
                needs_gas=not fixed,
                gas_from_eth=free or self.gas_token == "ETH",
            ),
            *self.strategy.required_columns(self.position_subscriptions),
        }
        return tuple(self._feed(column) for column in sorted(columns))

    def _feed(self, column: str) -> Feed:
        """The default feed with its overrides; a perp's closes, highs and lows follow its bars, signals their largest age."""
        name, _, market = column.partition(":")
        feed = DEFAULT_FEEDS[column].model_dump()
        if name in PERP_BAR_KINDS and (bars := self.data.feeds.get(f"perp:{market}")) is not None:
            feed |= bars.model_dump(exclude_none=True, exclude={"field", "kind"})
        if feed["kind"] is FeedKind.SIGNAL and isinstance(self.strategy, DirectionalStrategyConfig):
            feed["max_staleness_s"] = self.strategy.signals.max_age_s
        if (override := self.data.feeds.get(column)) is not None:
            feed |= override.model_dump(exclude_none=True)
        found = Feed.model_validate(feed)
        if found.kind in {FeedKind.HIGH, FeedKind.LOW} and found.period_s > self.time_step_s:
            raise ValueError(
                f"{column}: bars of {found.period_s} s are longer than a tick of {self.time_step_s} s; "
                f"set data.feeds.perp:{market} to finer bars"
            )
        return found
