"""Market feeds: which series of the catalogue a column of the market comes from, and when a value counts as known.

A *column* is what the rest of the system reads, e.g. ``liquidity_index:USDT``; a *series* is a Parquet file of the
catalogue, e.g. ``aave_v3/usdt``, with one or more *fields*. Availability rules: ``behaviour.md`` section 1.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self

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
    CLOSE = "close"
    """Bar stamped at its START: the close of the last bar that ended at or before T; settles funding."""
    HIGH = "high"
    """The highest price of the bars that lie in (T - step, T]; needs bars no longer than the step."""
    LOW = "low"
    """The lowest price of the bars that lie in (T - step, T]; needs bars no longer than the step."""
    EVENT_MEAN = "event_mean"
    """Mean of the payments stamped in (T - lookback, T]; at least one."""
    SIGNAL = "signal"
    """A model's output stamped at the instant from which it may be used: the last row at or before T."""


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

    lookback_s: int | None = Field(default=None, gt=0)
    """How far back a mean reaches, seconds; EVENT_MEAN only."""

    @model_validator(mode="after")
    def _check_lookback(self) -> Self:
        if (self.lookback_s is None) == (self.kind is FeedKind.EVENT_MEAN):
            raise ValueError(f"{self.column}: lookback_s belongs to event_mean, and only there")
        return self

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


SIGNAL_SERIES = "signals/btc"
"""Series that the signal columns read: the catalogue's own signals, or what the provider of the mode delivers."""
FUNDING_LOOKBACK_S = 3 * DAY_S
"""Stretch that ``funding_mean`` averages over (behaviour.md section 3, funding gate)."""
PERP_BAR_KINDS: Mapping[str, FeedKind] = MappingProxyType(
    {"perp_close": FeedKind.CLOSE, "perp_high": FeedKind.HIGH, "perp_low": FeedKind.LOW}
)
"""Columns that are read from the bars of ``perp:<venue>:<symbol>``, and follow its overrides."""


def _bar(column: str, series: str, kind: FeedKind = FeedKind.BAR, field: str = "open") -> Feed:
    return Feed(column=column, series=series, field=field, kind=kind, period_s=HOUR_S)


def _perp_feeds(venue: str, symbol: str) -> list[Feed]:
    """Bars and funding of one perp."""
    bars, funding = f"{venue}/{symbol.lower()}_perp_1h", f"{venue}/{symbol.lower()}_funding"
    found = [_bar(f"perp:{venue}:{symbol}", bars)]
    found += [
        _bar(f"{name}:{venue}:{symbol}", bars, kind, name.removeprefix("perp_"))
        for name, kind in PERP_BAR_KINDS.items()
    ]
    for column, kind, lookback in (
        ("funding", FeedKind.EVENT, None),
        ("funding_mean", FeedKind.EVENT_MEAN, FUNDING_LOOKBACK_S),
    ):
        found.append(
            Feed(
                column=f"{column}:{venue}:{symbol}",
                series=funding,
                field="funding_rate",
                kind=kind,
                period_s=8 * HOUR_S,
                lookback_s=lookback,
            )
        )
    return found


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
        feeds.append(snapshot(f"total_supplied:{token}", series, "total_supplied"))
        feeds.append(snapshot(f"total_debt:{token}", series, "total_variable_debt"))
    for venue in CEX_VENUES:
        for asset in ("BTC", "ETH"):
            feeds.append(_bar(f"spot:{venue}:{asset}USDT", f"{venue}/{asset.lower()}usdt_spot_1h"))
            feeds += _perp_feeds(venue, f"{asset}USDT")
    feeds += _perp_feeds("binance", "BTCUSD")
    feeds += [
        Feed(
            column=f"signal_{field}",
            series=SIGNAL_SERIES,
            field=field,
            kind=FeedKind.SIGNAL,
            period_s=HOUR_S,
        )
        for field in ("side", "confidence", "sd")
    ]
    feeds += [
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


class AssetPrice(NamedTuple):
    """Where the price of an asset comes from."""

    column: str
    """Market column."""
    quote: str
    """What the column is quoted in: USD, USDT or ETH."""


_ORACLE_PRICES: Mapping[str, AssetPrice] = MappingProxyType(
    {
        "USDT": AssetPrice("price_usd:USDT", "USD"),
        "ETH": AssetPrice("price_usd:ETH", "USD"),
        "EIGEN": AssetPrice("dex:EIGENWETH", "ETH"),
        "ETHFI": AssetPrice("dex:ETHFIWETH", "ETH"),
    }
)


def asset_prices(subscriptions: Iterable[str]) -> dict[str, AssetPrice]:
    """Asset -> price source of a mode: an exchange's spot price where the mode trades the asset there, else the oracle.

    One price an asset and mode, so that legs at several venues are valued alike. BTC has no oracle here.
    """
    found = dict(_ORACLE_PRICES)
    keys = set(subscriptions)
    for asset in ("ETH", "BTC"):
        traded = [
            venue
            for kind in (f"BaseToken:{asset}", f"Perp:{asset}USDT", f"Perp:{asset}USD")
            for venue in CEX_VENUES
            if f"{venue}:{kind}" in keys
        ]
        if traded or asset == "BTC":
            venue = traded[0] if traded else CEX_VENUES[0]
            found[asset] = AssetPrice(f"spot:{venue}:{asset}USDT", "USDT")
    return found


def price_columns(asset: str, prices: Mapping[str, AssetPrice]) -> set[str]:
    """Columns that the USD price of an asset is made of."""
    source = prices.get(asset)
    if source is None:
        return set()
    return {source.column} | (price_columns(source.quote, prices) if source.quote != "USD" else set())


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
    keys = tuple(subscriptions)
    prices = asset_prices(keys)
    columns = price_columns(share_class, prices)
    if needs_gas:
        columns |= {"gas_base_fee_gwei", "gas_priority_fee_gwei"}
    if not gas_from_eth:
        columns |= price_columns("ETH", prices)
    for key in keys:
        columns |= _columns_of(key, prices)
    return tuple(sorted(columns))


def _columns_of(key: str, prices: Mapping[str, AssetPrice]) -> set[str]:
    """Columns that one instrument needs for holding, valuing and settling it."""
    found = INSTRUMENTS[key]
    columns = price_columns(found.asset, prices)
    if found.type is InstrumentType.A_TOKEN:
        columns |= {f"{name}:{found.underlying}" for name in ("liquidity_index", "supply_apr", "total_supplied")}
    elif found.type is InstrumentType.DEBT_TOKEN and found.venue == "aave_v3":
        columns |= {f"{name}:{found.underlying}" for name in ("borrow_index", "borrow_apr", "total_debt")}
    elif found.type is InstrumentType.PERP:
        columns |= {f"{name}:{found.venue}:{found.symbol}" for name in ("perp", "perp_close", "funding")}
    elif found.venue in CEX_VENUES and found.symbol != "USDT":
        columns.add(f"spot:{found.venue}:{found.symbol}USDT")
    token = found.symbol if found.type is InstrumentType.LST else found.underlying
    if token in {"weETH", "wstETH"}:
        columns |= {f"oracle_price_eth:{token}", f"dex_price_eth:{token}"}
    if found.venue == "wallet" and found.symbol in {"EIGEN", "ETHFI"}:
        columns.add(f"reward_{found.symbol.lower()}_per_eeth")
    return columns
