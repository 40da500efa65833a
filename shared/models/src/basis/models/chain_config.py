"""What the on-chain half of live trading is configured with: addresses, confirmations, fees, limits. No secrets.

The key and the address of the RPC service come from the environment, in the venues service alone.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from basis.models.base import Fraction, FrozenModel, NonNegative, Positive
from basis.models.instruments import AAVE_RESERVES, TOKEN_DECIMALS

Address = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
"""An Ethereum address; checked against EIP-55 where it is used."""


class AaveAddresses(FrozenModel):
    """The Aave v3 market."""

    pool: Address
    """Pool (proxy)."""
    oracle: Address
    """AaveOracle."""
    emode_category: int = Field(default=1, ge=0, le=255)
    """E-mode that the account uses; 0 = none."""
    feeds: dict[str, Address] = Field(default_factory=dict)
    """Reserve token -> Chainlink aggregator whose time decides whether the oracle is stale; tokens left out are not checked."""
    max_feed_age_s: int = Field(default=90_000, ge=1)
    """Oldest answer of a feed that is traded on, seconds (Chainlink's ETH/USD and USDT/USD heartbeats: 1 h and 24 h)."""


class LidoAddresses(FrozenModel):
    """Lido."""

    wrapped: Address
    """wstETH."""
    queue: Address
    """WithdrawalQueueERC721."""


class EtherfiAddresses(FrozenModel):
    """ether.fi."""

    wrapped: Address
    """weETH."""
    rebasing: Address
    """eETH."""
    pool: Address
    """LiquidityPool."""
    queue: Address
    """WithdrawRequestNFT."""


class UniswapAddresses(FrozenModel):
    """Uniswap v3."""

    factory: Address
    """UniswapV3Factory."""
    router: Address
    """SwapRouter02."""
    quoter: Address
    """QuoterV2."""
    fees: dict[str, int]
    """Token -> fee of its pool with WETH, hundredths of a basis point: 500 is 0.05 %."""


class FlashLender(FrozenModel):
    """Who lends within a transaction."""

    kind: Literal["morpho", "aave"]
    """Interface: Morpho Blue (no fee), or Aave's flashLoanSimple (the pool's premium)."""
    lender: Address
    """Morpho, or Aave's pool."""


class FeePolicy(FrozenModel):
    """EIP-1559 fees: where they start, how they rise, where they end."""

    tip_gwei: NonNegative = 1.0
    """Priority fee of the first attempt, gwei."""
    base_fee_factor: Positive = 2.0
    """The first attempt's max fee is the base fee of the last block times this, plus the tip."""
    cap_gwei: Positive = 100.0
    """Most that any attempt pays for a unit of gas, gwei; a base fee above it refuses the order (VEN-013)."""
    bumps: int = Field(default=4, ge=0, le=16)
    """Replacements that are signed beforehand, each paying ``bump_factor`` more, up to the cap."""
    bump_factor: Positive = 1.25
    """Ratio between one attempt's fees and the next one's; nodes refuse less than 1.1."""
    bump_after_s: Positive = 36.0
    """Seconds that an attempt may wait to be mined before the next is sent."""
    gas_margin: Positive = 1.25
    """Gas limit over the node's estimate."""

    @model_validator(mode="after")
    def _check_bump(self) -> Self:
        if self.bump_factor < 1.1:
            raise ValueError(f"bump_factor {self.bump_factor} is below 1.1: nodes refuse such a replacement")
        return self


class OnChainConfig(FrozenModel):
    """Ethereum as a venue: ``configs/live/<chain>.yaml``."""

    chain_id: int = Field(ge=1)
    """The node must answer the same, or nothing is opened."""
    tokens: dict[str, Address]
    """Token -> its ERC-20 contract; WETH stands for ETH."""
    aave: AaveAddresses
    """Lending."""
    lido: LidoAddresses | None = None
    """Staking for wstETH."""
    etherfi: EtherfiAddresses | None = None
    """Staking for weETH."""
    uniswap: UniswapAddresses | None = None
    """Swaps."""
    flash: FlashLender | None = None
    """Flash loans."""
    executor: Address | None = None
    """Our own executor contract; null until it is deployed (docs/how-to/go-live)."""
    destinations: dict[str, Address] = Field(default_factory=dict)
    """Where transfers may go: exchange or ``client`` -> its deposit address. Anything else is refused."""
    since_block: int = Field(default=0, ge=0)
    """Block before the wallet's first transaction: logs are searched from here on."""
    confirmations: int = Field(default=3, ge=1, le=100)
    """Blocks, its own included, after which a transaction counts as done."""
    poll_s: Positive = 1.0
    """Seconds between two looks at a transaction (web3's poll_latency)."""
    confirm_timeout_s: Positive = 180.0
    """Seconds after which an order that is not confirmed is answered as pending."""
    request_timeout_s: Positive = 10.0
    """Seconds that one request to the node may take."""
    deadline_s: int = Field(default=600, ge=30)
    """Seconds after which a signed transaction of the executor no longer does anything."""
    max_block_age_s: int = Field(default=180, ge=12)
    """Oldest last block that is traded on, seconds."""
    least_health_factor: Annotated[float, Field(ge=1)] = 1.03
    """Health factor that the executor demands after a transaction that leaves debt."""
    close_within: Fraction = 1e-5
    """A repayment, withdrawal, supply or swap within this fraction of all there is takes all of it: between the decision
    and the block indices and rates move by less."""
    fees: FeePolicy = Field(default_factory=FeePolicy)
    """Gas."""

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        unknown = set(self.tokens) - set(TOKEN_DECIMALS)
        if unknown or "WETH" not in self.tokens:
            raise ValueError(f"tokens: need WETH, and know {', '.join(TOKEN_DECIMALS)}; got {', '.join(self.tokens)}")
        missing = set(self.aave.feeds) - set(AAVE_RESERVES)
        if missing:
            raise ValueError(f"aave.feeds: {', '.join(sorted(missing))} are no reserves: {', '.join(AAVE_RESERVES)}")
        return self
