"""Configuration models: venues, share classes, modes, and the merged configuration that a run travels with.

Files: ``configs/modes/<mode>.yaml`` (:class:`ModeConfig`), ``configs/venues/<venue>.yaml`` (one of the venue configs),
``configs/share_classes/<currency>.yaml`` (:class:`ShareClassConfig`). An unknown key is an error (CONFIG-003).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from basis.models.base import Fraction, FrozenModel, NonNegative, Positive
from basis.models.instruments import CEX_VENUES, INSTRUMENTS, Venue
from basis.models.market import DEFAULT_FEEDS, Feed, FeedOverride, required_columns

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


class GasUnits(FrozenModel):
    """Gas used by each on-chain operation, units. Source: behaviour.md section 2 (typical mainnet receipts)."""

    supply: int = Field(default=200_000, ge=21_000, le=5_000_000)
    """Aave supply."""
    withdraw: int = Field(default=220_000, ge=21_000, le=5_000_000)
    """Aave withdraw."""
    borrow: int = Field(default=250_000, ge=21_000, le=5_000_000)
    """Aave borrow."""
    repay: int = Field(default=180_000, ge=21_000, le=5_000_000)
    """Aave repay."""
    stake: int = Field(default=150_000, ge=21_000, le=5_000_000)
    """Stake ETH for an LST."""
    unstake: int = Field(default=200_000, ge=21_000, le=5_000_000)
    """Unstake an LST."""
    swap: int = Field(default=180_000, ge=21_000, le=5_000_000)
    """Swap on a DEX."""
    transfer: int = Field(default=65_000, ge=21_000, le=5_000_000)
    """Token transfer (21,000 for ETH itself)."""
    flash_borrow: int = Field(default=80_000, ge=21_000, le=5_000_000)
    """Flash-loan overhead of an atomic group."""
    flash_repay: int = Field(default=21_000, ge=21_000, le=5_000_000)
    """Repayment step of an atomic group."""


class WalletConfig(FrozenModel):
    """The on-chain account."""

    kind: Literal["wallet"]
    """Tells the venue configs apart."""
    gas_price_gwei: NonNegative | None = None
    """Fixed gas price in gwei; null = market data (base fee + median priority fee), 0 = no gas."""
    gas_units: GasUnits = Field(default_factory=GasUnits)
    """Gas used by each operation."""


class AaveReserveConfig(FrozenModel):
    """Parameters of one Aave v3 reserve. Source: Aave's public parameters page, 2025-09-26."""

    ltv: Fraction
    """Most that can be borrowed per unit of collateral value."""
    liquidation_threshold: Fraction
    """Collateral counts with this factor in the health factor."""
    liquidation_bonus: Fraction
    """Discount that a liquidator gets."""
    reserve_factor: Fraction
    """Share of borrow interest that the protocol keeps."""
    supply_cap: Positive | None = None
    """Most that the reserve takes in, tokens; null = no cap."""
    borrow_cap: NonNegative | None = None
    """Most that the reserve lends, tokens; null = no cap."""
    borrowing_enabled: bool = True
    """False refuses every borrow."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.ltv > self.liquidation_threshold:
            raise ValueError(f"ltv {self.ltv} is above liquidation_threshold {self.liquidation_threshold}")
        return self


class AaveConfig(FrozenModel):
    """Aave v3 Ethereum Core market."""

    kind: Literal["aave_v3"]
    """Tells the venue configs apart."""
    reserves: dict[str, AaveReserveConfig]
    """Token -> reserve parameters."""
    emode: AaveReserveConfig | None = None
    """ETH-correlated e-mode: replaces ltv, threshold and bonus for WETH, weETH and wstETH; null = off."""


class StakingConfig(FrozenModel):
    """A liquid staking protocol."""

    kind: Literal["staking"]
    """Tells the venue configs apart."""
    lst: Literal["weETH", "wstETH"]
    """Token that stands for the stake."""
    unstake_queue_days: NonNegative = 0.0
    """Days from the unstake request to the ETH."""


class CexConfig(FrozenModel):
    """A centralised exchange."""

    kind: Literal["cex"]
    """Tells the venue configs apart."""
    spot_taker_fee_bps: NonNegative
    """Taker fee on spot, basis points of notional."""
    perp_taker_fee_bps: NonNegative
    """Taker fee on perps, basis points of notional."""
    execution_cost_bps: dict[str, dict[str, NonNegative]] = Field(default_factory=dict)
    """Pair -> notional in USD -> one-way cost in basis points (half spread and slippage); an assumption."""


class DexConfig(FrozenModel):
    """A decentralised exchange."""

    kind: Literal["dex"]
    """Tells the venue configs apart."""
    execution_cost_bps: dict[str, dict[str, NonNegative]] = Field(default_factory=dict)
    """Pair -> notional in USD -> one-way cost in basis points; an assumption."""


class FlashLoanConfig(FrozenModel):
    """A flash-loan lender."""

    kind: Literal["flash_loan"]
    """Tells the venue configs apart."""
    fee: Fraction = 0.0
    """Fee as a fraction of the loan; Morpho takes none."""


VenueConfig = Annotated[
    WalletConfig | AaveConfig | StakingConfig | CexConfig | DexConfig | FlashLoanConfig, Field(discriminator="kind")
]


class EngineConfig(FrozenModel):
    """How the engine advances a run; changes speed, never results."""

    max_window: int = Field(default=512, ge=1, le=4096)
    """Most ticks that one window asks for."""
    initial_window: int = Field(default=64, ge=1, le=4096)
    """Ticks of the first window, and the least that a window falls to after orders."""


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


class StrategyConfig(FrozenModel):
    """Parameters that every strategy shares (behaviour.md section 3)."""

    position_deviation_threshold: Fraction = 0.02
    """Equity move since the last rebalance, as a fraction, above which the mode re-targets."""
    gas_reserve: NonNegative | None = None
    """Share class kept out of an entry for gas; null = exactly the gas of the entry at its tick."""
    min_order_value: NonNegative = 1.0
    """Smallest order worth sending, USD."""


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
    strategy: StrategyConfig = Field(default_factory=StrategyConfig)
    """Parameters of the strategy."""
    execution_manager: ExecutionManagerConfig = Field(default_factory=ExecutionManagerConfig)
    """Patience of the tight loop."""
    engine: EngineConfig = Field(default_factory=EngineConfig)
    """How the engine advances the run."""
    data: DataConfig = Field(default_factory=DataConfig)
    """Where the market columns come from."""

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

    @model_validator(mode="after")
    def _check_venues(self) -> Self:
        for key in self.position_subscriptions:
            if INSTRUMENTS[key].venue not in self.venues:
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

    @property
    def gas_token(self) -> str:
        """Wallet token that gas is paid in: ETH where subscribed, else the share class."""
        return "ETH" if "wallet:BaseToken:ETH" in self.position_subscriptions else self.share_class.currency

    def feeds(self) -> tuple[Feed, ...]:
        """Market feeds that the run needs, sorted by column, overrides applied."""
        wallet = self.wallet
        fixed = wallet is None or wallet.gas_price_gwei is not None
        free = wallet is None or wallet.gas_price_gwei == 0
        columns = required_columns(
            self.position_subscriptions,
            self.share_class.currency,
            needs_gas=not fixed,
            gas_from_eth=free or self.gas_token == "ETH",
        )
        return tuple(self._feed(column) for column in columns)

    def _feed(self, column: str) -> Feed:
        override = self.data.feeds.get(column)
        if override is None:
            return DEFAULT_FEEDS[column]
        changes = override.model_dump(exclude_none=True)
        return Feed.model_validate(DEFAULT_FEEDS[column].model_dump() | changes)
