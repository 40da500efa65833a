"""Made-up market data from a seed: pure functions, vectorised.

One latent price per asset at five minutes drives spot, perp, DEX and oracle; one utilisation path per reserve drives
rates, indices and debt. Regimes bend the paths. Every series draws from its own stream, so adding one changes no other.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from basis.venues.data import signal_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    Table = dict[str, NDArray[Any]]

VERSION = 2
"""Raised whenever the same seed gives other data."""
START = date(2022, 1, 1)

_DAY_MS, _HOUR_MS, _FIVE_MIN_MS = 86_400_000, 3_600_000, 300_000
_PER_DAY, _PER_HOUR = 288, 12
_STEPS_A_YEAR = 365 * _PER_DAY
_FUNDING_DEFAULT, _FUNDING_DAMPER, _FUNDING_CAP = 0.0001, 0.0005, 0.0075
_START_MS = int(datetime(START.year, START.month, START.day, tzinfo=UTC).timestamp()) * 1000


class Regime(NamedTuple):
    """A stretch of days on which the market is not calm. What is 0 stays as in calm days."""

    name: str
    first_day: int
    """Days after the start."""
    last_day: int
    """Exclusive."""
    drift: float = 0.0
    """Added to the log return of BTC and ETH over the whole regime."""
    volatility: float = 0.0
    """Added to annual volatility."""
    premium: float = 0.0
    """Perp over spot, a fraction."""
    utilisation: float = 0.0
    """Added to the utilisation of USDT and WETH on Aave."""
    lst_discount: float = 0.0
    """LST on the DEX below its rate, a fraction."""
    usdt_discount: float = 0.0
    """USDT below one dollar, a fraction."""
    gas: float = 0.0
    """Added to the logarithm of the base fee."""


REGIMES = (
    Regime("rally", 55, 85, drift=0.35, premium=0.0009, utilisation=0.05, gas=0.5),
    Regime(
        "crash", 126, 136, drift=-0.6, volatility=0.9, premium=-0.0012, utilisation=0.1, usdt_discount=0.012, gas=1.5
    ),
    Regime("lst_depeg", 160, 176, drift=-0.15, volatility=0.2, lst_discount=0.055, utilisation=0.08),
    Regime("rate_spike", 205, 209, utilisation=0.19, gas=0.4),
    Regime("funding_flips", 250, 290, volatility=0.15, premium=-0.0009),
    Regime("recovery", 300, 345, drift=0.4, premium=0.0007),
    Regime("rally", 400, 440, drift=0.45, premium=0.001, utilisation=0.06, gas=0.6),
    Regime(
        "crash", 486, 494, drift=-0.45, volatility=0.8, premium=-0.001, utilisation=0.12, usdt_discount=0.006, gas=1.3
    ),
    Regime("rate_spike", 540, 543, utilisation=0.2, gas=0.3),
    Regime("funding_flips", 590, 620, volatility=0.1, premium=-0.0008),
    Regime("lst_depeg", 650, 658, lst_discount=0.03, volatility=0.15),
)
"""Two years of them; longer samples repeat them."""
_CYCLE_DAYS = 730


@dataclass(frozen=True)
class _Asset:
    price: float
    tick: float
    volume: float
    """Base units in five minutes."""
    beta: float = 1.0
    own_volatility: float = 0.0


_ASSETS = {
    "BTC": _Asset(46_300.0, 0.1, 90.0),
    "ETH": _Asset(3_680.0, 0.01, 1_300.0, beta=1.1, own_volatility=0.25),
    "EIGEN": _Asset(0.0011, 1e-9, 0.0, beta=0.0, own_volatility=0.8),
    "ETHFI": _Asset(0.0005, 1e-9, 0.0, beta=0.0, own_volatility=0.8),
}
_BTC_VOLATILITY = 0.45
_PULL = {"BTC": -0.15, "ETH": -0.1, "EIGEN": 0.0, "ETHFI": 0.0}
"""Log return a year of calm days, so that two years of regimes end at prices of the same order."""


@dataclass(frozen=True)
class _Reserve:
    supplied: float
    utilisation: float
    reserve_factor: float
    slope_low: float
    slope_high: float
    kink: float
    index: float
    follows_regime: bool


_RESERVES = {
    "usdt": _Reserve(6.0e8, 0.78, 0.10, 0.055, 0.60, 0.92, 1.031, True),
    "weth": _Reserve(1.1e6, 0.76, 0.15, 0.027, 0.80, 0.93, 1.012, True),
    "weeth": _Reserve(4.0e5, 0.02, 0.45, 0.070, 3.00, 0.45, 1.0002, False),
    "wsteth": _Reserve(8.0e5, 0.04, 0.15, 0.045, 0.80, 0.80, 1.0004, False),
}
_LST_RATES = {"weeth": (1.021, 0.033), "wsteth": (1.052, 0.036)}
"""ETH per token at the start, growth a year."""


@dataclass(frozen=True)
class _World:
    """What all series share: the calendar, the regimes along it and the latent prices."""

    seed: int
    days: int
    paths: dict[str, FloatArray] = field(default_factory=dict)
    """Asset -> price at every five minutes, first and last instant included."""

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def regime(self, attribute: str, per_day: int) -> FloatArray:
        """A regime's value at ``per_day`` instants a day, both ends of the calendar included, eased in over a day."""
        steps = np.zeros(self.days + 1)
        for item in REGIMES:
            for cycle in range(0, self.days, _CYCLE_DAYS):
                steps[cycle + item.first_day : cycle + item.last_day] = getattr(item, attribute)
        instants = np.arange(self.days * per_day + 1) / per_day
        return np.interp(instants, np.arange(self.days + 1) + 0.5, steps)

    def drift(self) -> FloatArray:
        """Log return of each five minutes that regimes add."""
        steps = np.zeros(self.days)
        for item in REGIMES:
            for cycle in range(0, self.days, _CYCLE_DAYS):
                length = item.last_day - item.first_day
                steps[cycle + item.first_day : cycle + item.last_day] = item.drift / length
        return np.repeat(steps / _PER_DAY, _PER_DAY)

    def stamps(self, step_ms: int, *, closing: bool) -> NDArray[np.int64]:
        """Regular stamps from the start; with ``closing``, one at the end too."""
        end = self.days * _DAY_MS + (1 if closing else 0)
        return _START_MS + np.arange(0, end, step_ms, dtype=np.int64)


def tables(seed: int, years: int) -> dict[str, Table]:
    """Series -> columns, ``timestamp`` and period dates as int64 ms, the rest float64.

    Args:
        seed: same seed, same numbers (on machines that round alike).
        years: calendar years from :data:`START`, at least 1.
    """
    days = (date(START.year + years, START.month, START.day) - START).days
    world = _World(seed, days)
    world.paths.update(_latent_prices(world))
    found: dict[str, Table] = {}
    for venue in ("binance", "bybit", "okx"):
        for asset in ("BTC", "ETH"):
            found |= _exchange(world, venue, asset)
    found |= _inverse(world)
    usdt = _usdt_usd(world)
    ratios = {token: _lst_ratio(world, token) for token in _LST_RATES}
    found |= _oracles(world, found["binance/ethusdt_spot_1h"], usdt, ratios)
    found |= {f"lst_dex/{token}_eth_median24h": _lst_dex(world, token, ratio) for token, ratio in ratios.items()}
    found |= {f"aave_v3/{token}": _reserve(world, token) for token in _RESERVES}
    found["gas/ethereum_fees"] = _gas(world)
    found |= _dex(world)
    found["etherfi/eigen_distributions"] = _eigen(world)
    found["etherfi/ethfi_topups"] = _ethfi(world)
    found["signals/btc"] = _signals(found)
    return found


def regimes(years: int) -> list[dict[str, str]]:
    """Name, first day and day after the last of each regime within the sample, in order of time."""
    end = date(START.year + years, START.month, START.day)
    found = []
    for cycle in range(0, (end - START).days, _CYCLE_DAYS):
        for item in REGIMES:
            first, last = (START + timedelta(days=cycle + day) for day in (item.first_day, item.last_day))
            if first < end:
                found.append({"name": item.name, "from": first.isoformat(), "to": min(last, end).isoformat()})
    return found


def _wander(rng: np.random.Generator, count: int, every: int, scale: float) -> FloatArray:
    """Noise without trend: normal knots ``every`` so many points, straight lines between them."""
    knots = rng.normal(0.0, scale, count // every + 2)
    return np.interp(np.arange(count) / every, np.arange(len(knots)), knots)


def _latent_prices(world: _World) -> dict[str, FloatArray]:
    count = world.days * _PER_DAY
    volatility = _BTC_VOLATILITY + world.regime("volatility", _PER_DAY)[:-1]
    market = world.rng("market").normal(0.0, 1.0, count) * volatility / np.sqrt(_STEPS_A_YEAR)
    paths = {}
    for name, asset in _ASSETS.items():
        own = world.rng(f"latent/{name}").normal(0.0, asset.own_volatility / np.sqrt(_STEPS_A_YEAR), count)
        returns = asset.beta * (market + world.drift()) + own + _PULL[name] / _STEPS_A_YEAR
        if asset.beta == 0.0:
            returns -= np.mean(returns)  # a token without a trend of its own ends where it began
        paths[name] = asset.price * np.exp(np.concatenate(([0.0], np.cumsum(returns))))
    return paths


def _bars(rng: np.random.Generator, path: FloatArray, tick: float, volume: float) -> Table:
    """Five-minute bars along a path of their ends: highs and lows reach a little beyond."""
    ends = np.round(path / tick) * tick
    opens, closes = ends[:-1], ends[1:]
    reach = np.abs(rng.normal(0.0, 0.0004, (2, len(opens))))
    high = np.ceil(np.maximum(opens, closes) * (1 + reach[0]) / tick) * tick
    low = np.floor(np.minimum(opens, closes) * (1 - reach[1]) / tick) * tick
    traded = np.round(volume * np.exp(rng.normal(0.0, 0.5, len(opens))), 3)
    bars = {"open": opens, "high": high, "low": low, "close": closes}
    decimals = max(0, round(-np.log10(tick)))
    rounded = {name: np.round(values, decimals) for name, values in bars.items()}
    return rounded | {"volume": traded, "quote_volume": np.round(traded * (opens + closes) / 2, 2)}


def _hourly(bars: Table) -> Table:
    """Hourly bars of five-minute bars."""
    grouped = {name: values.reshape(-1, _PER_HOUR) for name, values in bars.items()}
    return {
        "open": grouped["open"][:, 0],
        "high": grouped["high"].max(axis=1),
        "low": grouped["low"].min(axis=1),
        "close": grouped["close"][:, -1],
        "volume": np.round(grouped["volume"].sum(axis=1), 3),
        "quote_volume": np.round(grouped["quote_volume"].sum(axis=1), 2),
    }


def _stamped(world: _World, bars: Table, step_ms: int) -> Table:
    return {"timestamp": world.stamps(step_ms, closing=False)} | bars


def _market(world: _World, name: str, path: FloatArray, asset: _Asset, *, fine: bool) -> dict[str, Table]:
    """``<name>_1h`` and, where wanted, ``<name>_5m``."""
    bars = _bars(world.rng(name), path, asset.tick, asset.volume)
    found = {f"{name}_1h": _stamped(world, _hourly(bars), _HOUR_MS)}
    if fine:
        found[f"{name}_5m"] = _stamped(world, bars, _FIVE_MIN_MS)
    return found


def _premium(world: _World, name: str) -> FloatArray:
    """Perp over spot at every five minutes, a fraction; the sign flips where regimes say so."""
    count = world.days * _PER_DAY + 1
    rng = world.rng(f"{name}/premium")
    swing = _wander(rng, count, 3 * _PER_DAY, 0.0003) + _wander(rng, count, 8 * _PER_HOUR, 0.00015)
    return world.regime("premium", _PER_DAY) * (1 + _wander(rng, count, 2 * _PER_DAY, 0.6)) + 0.0001 + swing


def _funding(world: _World, premium: FloatArray) -> Table:
    """Rates every eight hours: mean premium plus the interest rate clamped around it, as exchanges state it."""
    block = 8 * _PER_HOUR
    mean = premium[1:].reshape(-1, block).mean(axis=1)
    past = np.concatenate((premium[:1], mean))
    damped = past + np.clip(_FUNDING_DEFAULT - past, -_FUNDING_DAMPER, _FUNDING_DAMPER)
    rates = np.round(np.clip(damped, -_FUNDING_CAP, _FUNDING_CAP), 8)
    return {"timestamp": world.stamps(8 * _HOUR_MS, closing=True), "funding_rate": rates}


def _exchange(world: _World, venue: str, asset: str) -> dict[str, Table]:
    """Spot, perp and funding of one pair at one exchange."""
    pair = f"{venue}/{asset.lower()}usdt"
    latent, traits = world.paths[asset], _ASSETS[asset]
    spot = latent * (1 + _wander(world.rng(f"{pair}/spot"), len(latent), 6, 0.00005))
    premium = _premium(world, pair)
    fine = venue == "binance" and asset == "BTC"
    found = _market(world, f"{pair}_spot", spot, traits, fine=fine)
    found |= _market(world, f"{pair}_perp", spot * (1 + premium), traits, fine=fine)
    return found | {f"{pair}_funding": _funding(world, premium)}


def _inverse(world: _World) -> dict[str, Table]:
    """The inverse BTC perp of Binance."""
    premium = _premium(world, "binance/btcusd")
    path = world.paths["BTC"] * (1 + premium)
    found = _market(world, "binance/btcusd_perp", path, _ASSETS["BTC"], fine=True)
    return found | {"binance/btcusd_funding": _funding(world, premium)}


def _usdt_usd(world: _World) -> FloatArray:
    """USDT in dollars at each midnight."""
    noise = _wander(world.rng("oracle/usdt_usd"), world.days + 1, 2, 0.0003)
    return np.round(1 + noise - world.regime("usdt_discount", 1), 8)


def _lst_ratio(world: _World, token: str) -> FloatArray:
    """ETH per token at each midnight; never falls."""
    first, growth = _LST_RATES[token]
    spread = world.rng(f"oracle/{token}_eth").uniform(0.6, 1.4, world.days)
    grown: FloatArray = first * np.exp(np.concatenate(([0.0], np.cumsum(spread * np.log1p(growth) / 365))))
    return grown


def _oracles(world: _World, spot: Table, usdt: FloatArray, ratios: Mapping[str, FloatArray]) -> dict[str, Table]:
    """Daily snapshots; ETH in dollars is its spot price at midnight times the dollar price of USDT."""
    stamps = world.stamps(_DAY_MS, closing=True)
    midnight = np.append(spot["open"][::24], spot["close"][-1])
    weth = np.round(midnight * usdt, 8)
    found = {"usdt_usd": ("price_usd", usdt), "weth_usd": ("price_usd", weth)}
    for token, ratio in ratios.items():
        found[f"{token}_eth"] = ("price_eth", ratio)
        found[f"{token}_usd"] = ("price_usd", weth * ratio)
    return {f"oracle/{name}": {"timestamp": stamps, field: values} for name, (field, values) in found.items()}


def _lst_dex(world: _World, token: str, ratio: FloatArray) -> Table:
    """Trailing 24-hour median of the DEX price, every hour."""
    hours = world.days * 24 + 1
    rate = np.interp(np.arange(hours) / 24, np.arange(world.days + 1), ratio)
    noise = _wander(world.rng(f"lst_dex/{token}"), hours, 5, 0.0004)
    price = rate * (1 - 0.0005 - world.regime("lst_discount", 24)) * (1 + noise)
    padded = np.concatenate((np.full(23, price[0]), price))
    median = np.median(np.lib.stride_tricks.sliding_window_view(padded, 24), axis=1)
    return {"timestamp": world.stamps(_HOUR_MS, closing=True), "price_eth_median24h": np.round(median, 10)}


def _reserve(world: _World, token: str) -> Table:
    """Daily snapshots of an Aave reserve: rates at the midnight, indices grown hour by hour."""
    traits, rng = _RESERVES[token], world.rng(f"aave_v3/{token}")
    hours = world.days * 24 + 1
    extra = world.regime("utilisation", 24) if traits.follows_regime else 0.0
    used = np.clip(traits.utilisation * (1 + _wander(rng, hours, 60, 0.05)) + extra, 0.005, 0.985)
    above = np.maximum(used - traits.kink, 0.0) / (1 - traits.kink)
    borrow = traits.slope_low * np.minimum(used / traits.kink, 1.0) + traits.slope_high * above
    supply = borrow * used * (1 - traits.reserve_factor)
    supplied = traits.supplied * np.exp(_wander(rng, hours, 24 * 20, 0.15))
    hour = 1 / (365 * 24)
    liquidity = traits.index * np.concatenate(([1.0], np.cumprod(1 + supply[:-1] * hour)))
    debt_index = (2 * traits.index - 0.99) * np.exp(np.concatenate(([0.0], np.cumsum(borrow[:-1] * hour))))
    columns = {
        "supply_apr": supply,
        "borrow_apr": borrow,
        "liquidity_index": liquidity,
        "variable_borrow_index": debt_index,
        "total_supplied": supplied,
        "total_variable_debt": supplied * used,
    }
    midnight = {name: np.ascontiguousarray(values[::24]) for name, values in columns.items()}
    return {"timestamp": world.stamps(_DAY_MS, closing=True)} | midnight


def _gas(world: _World) -> Table:
    """Two neighbouring blocks shortly before every even hour; the first pair lies before the start."""
    rng = world.rng("gas/ethereum_fees")
    pairs = world.days * 12 + 1
    second = _START_MS + np.arange(pairs) * 2 * _HOUR_MS - 12_000 * rng.integers(1, 7, pairs)
    level = np.log(18.0) + _wander(rng, pairs, 12, 0.5) + world.regime("gas", 12)
    base = np.exp(level[:, None] + rng.normal(0.0, 0.03, (pairs, 2))).ravel()
    median = np.exp(rng.normal(-0.4, 0.7, 2 * pairs))
    fees = {
        "base_fee_gwei": base,
        "priority_fee_p25_gwei": 0.4 * median,
        "priority_fee_p50_gwei": median,
        "priority_fee_p75_gwei": 1.8 * median,
    }
    stamps = np.stack((second - 12_000, second), axis=1).ravel().astype(np.int64)
    return {"timestamp": stamps} | {name: np.round(values, 2) for name, values in fees.items()}


def _dex(world: _World) -> dict[str, Table]:
    """Hourly Uniswap bars; they carry no base volume."""
    found = {}
    for name, asset, quote in (("weth_usdt", "ETH", 1e6), ("eigen_weth", "EIGEN", 20.0), ("ethfi_weth", "ETHFI", 20.0)):
        series = f"uniswap_v3/{name}"
        path, tick = world.paths[asset], _ASSETS[asset].tick
        bars = _market(world, series, path, _Asset(path[0], tick, quote / path[0] / _PER_HOUR), fine=False)[
            f"{series}_1h"
        ]
        found[f"{series}_1h"] = {key: values for key, values in bars.items() if key != "volume"}
    return found


def _weeks(world: _World) -> NDArray[np.int64]:
    return _START_MS + np.arange(7, world.days + 1, 7, dtype=np.int64) * _DAY_MS


def _eigen(world: _World) -> Table:
    """Weekly staking rewards in EIGEN; stamped at the end of the period."""
    rng, stamps = world.rng("etherfi/eigen_distributions"), _weeks(world)
    restaked = np.round(1.5e6 * np.exp(_wander(rng, len(stamps), 6, 0.1)))
    idle = np.round(restaked * rng.uniform(0.22, 0.38, len(stamps)))
    per_token = np.round(0.17 * np.exp(_wander(rng, len(stamps), 4, 0.1)), 3)
    return {
        "timestamp": stamps,
        "period_start": stamps - 6 * _DAY_MS,
        "eigen_earned": np.round(per_token * (restaked + idle)),
        "eth_restaked": restaked,
        "eth_not_restaked": idle,
        "eigen_per_eeth_published": per_token,
    }


def _ethfi(world: _World) -> Table:
    """Weekly top-ups in ETHFI, paid five days after the end of their period."""
    rng, ends = world.rng("etherfi/ethfi_topups"), _weeks(world)[:-1]
    per_token = np.round(0.14 * np.exp(_wander(rng, len(ends), 4, 0.2)), 3)
    return {
        "timestamp": ends + 5 * _DAY_MS,
        "period_start": ends - 6 * _DAY_MS,
        "period_end": ends,
        "ethfi_amount": np.round(per_token * 2.1e6),
        "ethfi_per_eeth": per_token,
    }


def _signals(found: Mapping[str, Table]) -> Table:
    """What a model makes of the BTC perp of Binance, hour by hour; no look-ahead, hence ``data_until``."""
    return signal_model.signals(found["binance/btcusdt_perp_5m"], found["binance/btcusdt_funding"])._asdict()
