"""Configuration models of venues: what ``configs/venues/<venue>.yaml`` may hold, one class a kind of venue."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from basis.models.base import Fraction, FrozenModel, NonNegative, Positive

EMODE_TOKENS = frozenset({"WETH", "weETH", "wstETH"})
"""Reserves of the ETH-correlated e-mode."""


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
    deposit_delay_s: int = Field(default=0, ge=0)
    """Seconds until a withdrawal from an exchange is usable in the wallet; 0 = within the same tick."""


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

    def parameters(self, token: str) -> AaveReserveConfig | None:
        """Parameters of a reserve with the e-mode applied; None where there is no such reserve."""
        reserve = self.reserves.get(token)
        if reserve is None or self.emode is None or token not in EMODE_TOKENS:
            return reserve
        replaced = {"ltv", "liquidation_threshold", "liquidation_bonus"}
        return reserve.model_copy(update=self.emode.model_dump(include=replaced))


class StakingConfig(FrozenModel):
    """A liquid staking protocol."""

    kind: Literal["staking"]
    """Tells the venue configs apart."""
    lst: Literal["weETH", "wstETH"]
    """Token that stands for the stake."""
    unstake_queue_days: NonNegative = 0.0
    """Days from the unstake request to the ETH; 0 = at once."""
    king: dict[str, NonNegative] = Field(default_factory=dict)
    """Token -> amount that one KING unwraps into, where rewards are paid in KING; empty = paid in EIGEN and ETHFI."""


class MarginTier(FrozenModel):
    """One bracket of a perp's maintenance margin. Source: each exchange's public table of position tiers."""

    notional_cap: Positive | None
    """Largest position notional of the bracket, USD; null = without end (last bracket only)."""
    maintenance_rate: Fraction
    """Maintenance margin as a fraction of notional."""
    maintenance_amount: NonNegative = 0.0
    """Subtracted, so that margin is continuous between brackets, USD."""


class MarketConfig(FrozenModel):
    """Limits of one market. Source: each exchange's public instrument list."""

    kind: Literal["spot", "linear", "inverse"]
    """Spot, perp margined in the quote, or perp margined in the base (quantity in USD contracts)."""
    lot: Positive
    """Smallest step of the quantity: base units, or USD for inverse."""
    tick: Positive
    """Smallest step of the price, quote per base."""
    min_notional: NonNegative
    """Smallest order, quote currency (USD for inverse)."""
    max_leverage: Positive = 1.0
    """Initial margin is notional over this; perps only."""
    tiers: tuple[MarginTier, ...] = ()
    """Maintenance margin by notional, ascending; perps only."""

    @model_validator(mode="after")
    def _check_tiers(self) -> Self:
        if (self.kind == "spot") == bool(self.tiers):
            raise ValueError("tiers belong to perps: a perp needs at least one, a spot market takes none")
        caps = [tier.notional_cap for tier in self.tiers]
        if caps and (caps[-1] is not None or any(cap is None for cap in caps[:-1])):
            raise ValueError("tiers: the last notional_cap, and only the last, is null")
        known = [cap for cap in caps if cap is not None]
        if any(low >= high for low, high in pairwise(known)):
            raise ValueError("tiers: notional_cap must rise")
        return self


class CexConfig(FrozenModel):
    """A centralised exchange."""

    kind: Literal["cex"]
    """Tells the venue configs apart."""
    spot_taker_fee_bps: NonNegative
    """Taker fee on spot, basis points of notional."""
    perp_taker_fee_bps: NonNegative
    """Taker fee on perps, basis points of notional."""
    execution_cost_bps: dict[str, dict[str, NonNegative]] = Field(default_factory=dict)
    """Market -> notional in USD -> one-way cost in basis points (half spread and slippage); an assumption. The bucket is
    the smallest listed notional that is not below the order's; a larger order pays the largest."""
    markets: dict[str, MarketConfig] = Field(default_factory=dict)
    """Market -> limits: ``BTCUSDT`` for spot, ``BTCUSDT-PERP`` and ``BTCUSD-PERP`` for perps."""
    liquidation_fee_bps: NonNegative = 50.0
    """Charged on the notional of a liquidated position, basis points."""
    deposit_delay_s: int = Field(default=0, ge=0)
    """Seconds until a transfer to the venue is usable there; 0 = within the same tick."""
    withdrawal_fees: dict[str, NonNegative] = Field(default_factory=dict)
    """Token -> fee of a withdrawal, in the token; 0 where left out."""


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
