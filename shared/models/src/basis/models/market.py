"""Market feeds: which series of the catalogue a column of the market comes from, and when a value counts as known.

A *column* is what the rest of the system reads, e.g. ``liquidity_index:USDT``; a *series* is a Parquet file of the
catalogue, e.g. ``aave_v3/usdt``, with one or more *fields*. Availability rules: ``behaviour.md`` section 1.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from basis.models.base import FrozenModel
from basis.models.instruments import (
    AAVE_RESERVES,
    CEX_VENUES,
    INSTRUMENTS,
    InstrumentType,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOUR_S = 3_600
DAY_S = 86_400


class FeedKind(StrEnum):
    """What a row of the series means, and so what is known of it at a tick T."""

    SNAPSHOT = "snapshot"
    """State at the stamped instant: the last row stamped at or before T."""
    INDEX = "index"
    """Growing index, snapshots at the stamped instants: interpolated geometrically between two of them."""
    BAR = "bar"
    """Bar stamped at its START: the open of the bar that holds T, or, from its end on, the close of the last bar."""
    EVENT = "event"
    """A payment at the stamped instant (funding rate): the value where a row lies in (T - step, T], else 0."""
    REWARD = "reward"
    """A payment without a fixed calendar: like an event, but its absence is not a fault."""


class Feed(FrozenModel):
    """Where one market column comes from."""

    column: str
    """Name that strategies, venues and monitors read, e.g. ``price_usd:ETH``."""
    series: str
    """Parquet file of the catalogue without ending, e.g. ``oracle/weth_usd``."""
    field: str
    """Column of that file, e.g. ``price_usd``; for bars the prefix is fixed: open and close are both read."""
    kind: FeedKind
    """What a row means."""
    period_s: int = Field(gt=0)
    """Regular distance of two rows, seconds."""
    max_staleness_s: int | None = Field(default=None, gt=0)
    """Oldest value that still counts as known, seconds; None means twice the period."""
    lead_s: int = Field(default=0, ge=0)
    """How long before the very first row of the series that row already stands, seconds. For sampled costs only (gas):
    nothing is decided on them, and a catalogue that begins at midnight need not hold a sample of midnight (ADR 0006)."""

    @model_validator(mode="after")
    def _check_lead(self) -> Self:
        if self.lead_s and self.kind is not FeedKind.SNAPSHOT:
            raise ValueError(f"{self.column}: lead_s is for snapshots of sampled costs, not for a {self.kind}")
        return self

    @property
    def staleness_s(self) -> int:
        """Oldest value that still counts as known, seconds."""
        return self.max_staleness_s if self.max_staleness_s is not None else 2 * self.period_s


class FeedOverride(FrozenModel):
    """A mode's own source for a column; fields left out keep the default feed's."""

    series: str | None = None
    """Parquet file of the catalogue without ending."""
    field: str | None = None
    """Column of that file."""
    kind: FeedKind | None = None
    """What a row means."""
    period_s: int | None = Field(default=None, gt=0)
    """Regular distance of two rows, seconds."""
    max_staleness_s: int | None = Field(default=None, gt=0)
    """Oldest value that still counts as known, seconds."""


def _default_feeds() -> list[Feed]:
    def snapshot(column: str, series: str, field: str, period_s: int = DAY_S) -> Feed:
        return Feed(column=column, series=series, field=field, kind=FeedKind.SNAPSHOT, period_s=period_s)

    def gas(column: str, field: str) -> Feed:
        # sampled in pairs 12 s apart, one pair every two hours
        period_s, kind = 2 * HOUR_S, FeedKind.SNAPSHOT
        return Feed(
            column=column, series="gas/ethereum_fees", field=field, kind=kind, period_s=period_s, lead_s=period_s
        )

    feeds = [
        snapshot("price_usd:USDT", "oracle/usdt_usd", "price_usd"),
        snapshot("price_usd:ETH", "oracle/weth_usd", "price_usd"),
        gas("gas_base_fee_gwei", "base_fee_gwei"),
        gas("gas_priority_fee_gwei", "priority_fee_p50_gwei"),
        snapshot("oracle_price_eth:weETH", "oracle/weeth_eth", "price_eth"),
        snapshot("oracle_price_eth:wstETH", "oracle/wsteth_eth", "price_eth"),
        snapshot("dex_price_eth:weETH", "lst_dex/weeth_eth_median24h", "price_eth_median24h", HOUR_S),
        snapshot("dex_price_eth:wstETH", "lst_dex/wsteth_eth_median24h", "price_eth_median24h", HOUR_S),
    ]
    for token in AAVE_RESERVES:
        series = f"aave_v3/{token.lower()}"
        feeds += [
            Feed(column=f"{column}:{token}", series=series, field=field, kind=FeedKind.INDEX, period_s=DAY_S)
            for column, field in (("liquidity_index", "liquidity_index"), ("borrow_index", "variable_borrow_index"))
        ]
        feeds.append(snapshot(f"supply_apr:{token}", series, "supply_apr"))
        feeds.append(snapshot(f"borrow_apr:{token}", series, "borrow_apr"))
    for venue in CEX_VENUES:
        for asset in ("BTC", "ETH"):
            pair = f"{asset}USDT"
            for market in ("spot", "perp"):
                feeds.append(
                    Feed(
                        column=f"{market}:{venue}:{pair}",
                        series=f"{venue}/{pair.lower()}_{market}_1h",
                        field="open",
                        kind=FeedKind.BAR,
                        period_s=HOUR_S,
                    )
                )
            feeds.append(
                Feed(
                    column=f"funding:{venue}:{pair}",
                    series=f"{venue}/{pair.lower()}_funding",
                    field="funding_rate",
                    kind=FeedKind.EVENT,
                    period_s=8 * HOUR_S,
                )
            )
    feeds += [
        Feed(
            column="perp:binance:BTCUSD",
            series="binance/btcusd_perp_1h",
            field="open",
            kind=FeedKind.BAR,
            period_s=HOUR_S,
        ),
        Feed(
            column="funding:binance:BTCUSD",
            series="binance/btcusd_funding",
            field="funding_rate",
            kind=FeedKind.EVENT,
            period_s=8 * HOUR_S,
        ),
        Feed(
            column="dex:EIGENWETH", series="uniswap_v3/eigen_weth_1h", field="open", kind=FeedKind.BAR, period_s=HOUR_S
        ),
        Feed(
            column="dex:ETHFIWETH", series="uniswap_v3/ethfi_weth_1h", field="open", kind=FeedKind.BAR, period_s=HOUR_S
        ),
        Feed(
            column="reward_eigen_per_eeth",
            series="etherfi/eigen_distributions",
            field="eigen_per_eeth_published",
            kind=FeedKind.REWARD,
            period_s=7 * DAY_S,
        ),
        Feed(
            column="reward_ethfi_per_eeth",
            series="etherfi/ethfi_topups",
            field="ethfi_per_eeth",
            kind=FeedKind.REWARD,
            period_s=7 * DAY_S,
        ),
    ]
    return feeds


DEFAULT_FEEDS: Mapping[str, Feed] = MappingProxyType({feed.column: feed for feed in _default_feeds()})
"""Column -> feed, the layout of the catalogue. A mode may override any of them under ``data.feeds``."""

SHARE_PRICE_COLUMN: Mapping[str, str] = MappingProxyType(
    {"USDT": "price_usd:USDT", "ETH": "price_usd:ETH", "BTC": "spot:binance:BTCUSDT"}
)
"""Asset -> column of its USD price (BTC: in USDT, its most liquid quote)."""


def required_columns(
    subscriptions: Iterable[str], share_class: str, *, needs_gas: bool, gas_from_eth: bool
) -> tuple[str, ...]:
    """Market columns that a mode needs, sorted: from what it may hold, its share class, and how it pays gas.

    Args:
        subscriptions: instrument keys the mode may hold; all must be registered.
        share_class: USDT, ETH or BTC.
        needs_gas: False where the gas price is fixed by the wallet's configuration.
        gas_from_eth: True where gas is paid in ETH (or in a share class of ETH), so that no conversion is needed.
    """
    columns = {SHARE_PRICE_COLUMN[share_class]}
    if needs_gas:
        columns |= {"gas_base_fee_gwei", "gas_priority_fee_gwei"}
    if not gas_from_eth:
        columns |= {SHARE_PRICE_COLUMN["ETH"], SHARE_PRICE_COLUMN[share_class]}
    for key in subscriptions:
        columns |= _columns_of(key)
    return tuple(sorted(columns))


def _columns_of(key: str) -> set[str]:
    """Columns that one instrument needs for holding, valuing and settling it."""
    found = INSTRUMENTS[key]
    columns: set[str] = set()
    if found.asset in SHARE_PRICE_COLUMN:
        columns.add(SHARE_PRICE_COLUMN[found.asset])
    if found.type is InstrumentType.A_TOKEN:
        columns |= {f"liquidity_index:{found.underlying}", f"supply_apr:{found.underlying}"}
    elif found.type is InstrumentType.DEBT_TOKEN and found.venue == "aave_v3":
        columns |= {f"borrow_index:{found.underlying}", f"borrow_apr:{found.underlying}"}
    elif found.type is InstrumentType.PERP:
        columns |= {f"perp:{found.venue}:{found.symbol}", f"funding:{found.venue}:{found.symbol}"}
    elif found.venue in CEX_VENUES and found.symbol != "USDT":
        columns.add(f"spot:{found.venue}:{found.symbol}USDT")
    token = found.symbol if found.type is InstrumentType.LST else found.underlying
    if token in {"weETH", "wstETH"}:
        columns |= {f"oracle_price_eth:{token}", f"dex_price_eth:{token}"}
    if found.venue == "wallet" and found.symbol in {"EIGEN", "ETHFI"}:
        columns |= {f"dex:{found.symbol}WETH", f"reward_{found.symbol.lower()}_per_eeth"}
    return columns
