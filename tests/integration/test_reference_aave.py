"""Every Aave, oracle and leveraged-staking figure of ``reference.json``, reproduced through the real cores on real data.

Positions are opened by orders at a simulated venue on a market row that the catalogue reads; gas and costs are 0. What
they are worth later follows from the market row of that time and the valuer, health factors from Aave's own account data.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from tests.support.reference import DATA, WINDOWS, needs_reference
from tests.support.venues import at_tick, order, stretch_of, transact

from basis.models.instruments import holding_key
from basis.runtime.valuation import Valuer
from basis.testkit.runs import custom_config
from basis.venues.data.catalogue import Catalogue
from basis.venues.interfaces.aave_v3.simulated import account_data, health_factors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.order import Order
    from basis.venues.data.catalogue import Market

pytestmark = needs_reference
SECTIONS = ("aave", "oracle", "leveraged_staking_loop")
TOKENS = {"usdt": "USDT", "weth": "WETH", "weeth": "weETH", "wsteth": "wstETH"}
STAKING = {"weeth": "etherfi", "wsteth": "lido"}
TOLERANCE = 1e-9
DAY_S = 86_400
EMODE = {"ltv": 0.93, "liquidation_threshold": 0.95, "liquidation_bonus": 0.01, "reserve_factor": 0.15}
OWED = "morpho:debtToken:flashWETH"


class Figure(NamedTuple):
    """One number of the reference."""

    window: str
    """Name of the window."""
    path: tuple[str, ...]
    """Section, series, name, ..."""
    expected: float | None
    """The number; None where the reference has none (a health factor without debt)."""


def leaves(window: str, found: Any, path: tuple[str, ...]) -> list[Figure]:
    if isinstance(found, dict):
        return [leaf for name, inner in found.items() for leaf in leaves(window, inner, (*path, name))]
    return [Figure(window, path, found)]


FIGURES = [
    leaf for window, found in WINDOWS.items() for name in SECTIONS for leaf in leaves(window, found[name], (name,))
]


# ----------------------------------------------------------------------------------------------------- real market


@lru_cache
def config_of(*, emode: bool) -> RunConfig:
    """A mode that holds every reserve, both ways, and both LSTs; nothing costs anything."""
    keys = [f"{kind}{token}" for token in TOKENS.values() for kind in ("aave_v3:aToken:a", "aave_v3:debtToken:debt")]
    venues: dict[str, dict[str, Any]] = {
        "wallet": {"gas_price_gwei": 0.0},
        "aave_v3": {"emode": EMODE if emode else None},
        "morpho": {"fee": 0.0},
        "etherfi": {"unstake_queue_days": 0.0},
    }
    held = [*keys, *map(holding_key, TOKENS.values()), OWED]
    return custom_config(held, share_class="ETH", venues=venues)


@lru_cache
def market() -> Market:
    """The feeds of the mode without DEX prices: nothing is swapped, and they begin a day late."""
    feeds = tuple(feed for feed in config_of(emode=True).feeds() if not feed.column.startswith("dex"))
    return Catalogue(DATA).open(feeds)


@lru_cache
def columns(window: str) -> dict[str, NDArray[np.float64]]:
    """The market on each daily snapshot of a window, both ends included."""
    found = WINDOWS[window]
    return market().columns(start_ms(window), DAY_S * 1000, int(found["days"]) + 1)


def start_ms(window: str) -> int:
    begin = datetime.strptime(WINDOWS[window]["aave_and_oracle_from"], "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC)
    return int(begin.timestamp() * 1000)


def row(window: str, place: int) -> dict[str, float]:
    return {name: float(column[place]) for name, column in columns(window).items()}


# -------------------------------------------------------------------------------------------------------- positions


def run(orders: Sequence[Order], ledger: dict[str, float], window: str, place: int, *, emode: bool) -> dict[str, float]:
    """Execute as one transaction on a snapshot; all must be confirmed."""
    done = transact(orders, ledger, config_of(emode=emode), row(window, place))
    assert {answer.status for answer in done.handshakes} == {"confirmed"}, done.handshakes
    assert not any(answer.costs for answer in done.handshakes)
    return dict(done.ledger)


def aave(operation: str, amount: float, token: str, number: int = 0, group: str | None = None) -> Order:
    side = "source_token" if operation in {"supply", "repay"} else "target_token"
    return order(operation, "aave_v3", amount, number, group, **{side: token})


def supplied(token: str, window: str) -> float:
    """What 1 token becomes that is supplied at the beginning and withdrawn at the end."""
    held, key = holding_key(token), f"aave_v3:aToken:a{token}"
    ledger = run([aave("supply", 1.0, token)], {held: 1.0}, window, 0, emode=False)
    assert ledger[held] == 0.0
    everything = ledger[key] * row(window, -1)[f"liquidity_index:{token}"]
    after = run([aave("withdraw", everything, token)], ledger, window, -1, emode=False)
    assert after[key] == 0.0
    return after[held]


def borrowed(token: str, window: str) -> float:
    """What repays, at the end, a debt of 1 token made at the beginning."""
    held, key = holding_key(token), f"aave_v3:debtToken:debt{token}"
    collateral = "aave_v3:aToken:aWETH" if token == "USDT" else "aave_v3:aToken:aUSDT"
    ledger = run([aave("borrow", 1.0, token)], {collateral: 1e6}, window, 0, emode=False)
    assert ledger[held] == 1.0
    everything = ledger[key] * row(window, -1)[f"borrow_index:{token}"]
    after = run([aave("repay", everything, token)], ledger | {held: 10.0}, window, -1, emode=False)
    assert after[key] == 0.0
    return 10.0 - after[held]


def staked(name: str, window: str) -> float:
    """What 1 ETH becomes that is staked at the beginning and unstaked at the end."""
    venue, lst = STAKING[name], TOKENS[name]
    ether = "wallet:BaseToken:ETH"
    stake = order("stake", venue, 1.0, source_token="ETH", target_token=lst)
    ledger = run([stake], {ether: 1.0}, window, 0, emode=False)
    unstake = order("unstake", venue, ledger[holding_key(lst)], source_token=lst, target_token="ETH")
    return run([unstake], ledger, window, -1, emode=False)[ether]


@lru_cache
def looped(name: str, ltv: float, window: str) -> dict[str, float]:
    """The leveraged position on 1 ETH, opened in one atomic flash-loan group at the beginning."""
    venue, lst = STAKING[name], TOKENS[name]
    ether, rate = "wallet:BaseToken:ETH", row(window, 0)[f"oracle_price_eth:{lst}"]
    debt = ltv / (1.0 - ltv)
    whole = (1.0 + debt) / rate
    stake = order("stake", venue, 1.0 + debt, 1, "g", source_token="ETH", target_token=lst)
    steps = [stake.model_copy(update={"sequence_in_group": 0}), aave("supply", whole, lst, 2, "g")]
    if debt > 0.0:
        lent, repaid = order("flash_borrow", "morpho", debt, 0, "g"), order("flash_repay", "morpho", debt, 4, "g")
        steps = [lent, stake, aave("supply", whole, lst, 2, "g"), aave("borrow", debt, "WETH", 3, "g"), repaid]
    ledger = run(steps, {ether: 1.0}, window, 0, emode=True)
    assert ledger[ether] == pytest.approx(0.0, abs=1e-12)
    return ledger


@lru_cache
def looped_ten_times(name: str, ltv: float, window: str) -> dict[str, float]:
    """Stake and supply 1 ETH, then ten times: borrow, stake and supply what was borrowed."""
    venue, lst = STAKING[name], TOKENS[name]
    rate, part, ledger = row(window, 0)[f"oracle_price_eth:{lst}"], 1.0, {"wallet:BaseToken:ETH": 1.0}
    for loop in range(11):
        if loop:
            part *= ltv
            ledger = run([aave("borrow", part, "WETH")], ledger, window, 0, emode=True)
        stake = order("stake", venue, part, source_token="ETH", target_token=lst)
        ledger = run([stake], ledger, window, 0, emode=True)
        ledger = run([aave("supply", part / rate, lst)], ledger, window, 0, emode=True)
    assert ledger["wallet:BaseToken:ETH"] == pytest.approx(0.0, abs=1e-12)
    return ledger


def equity_eth(ledger: dict[str, float], found: dict[str, float]) -> float:
    valuer = Valuer.of(config_of(emode=True))
    return math.fsum(quantity * valuer.unit_share(key, found) for key, quantity in ledger.items())


def annual(growth: float, window: str) -> float:
    return float(growth ** (365.0 / WINDOWS[window]["days"]) - 1.0)


# ---------------------------------------------------------------------------------------------------------- figures


def aave_figure(token: str, name: str, window: str) -> float:
    if name.endswith("if_daily_spot_rate_were_held_24h"):
        # the shortcut that the reference warns of, from the rates that the catalogue reads
        rates = columns(window)[f"{name.partition('_')[0]}_apr:{token}"][:-1]
        is_supply = name.startswith("supply")
        return float(np.prod(1.0 + rates / 365.0) if is_supply else np.exp(rates.sum() / 365.0))
    growth = supplied(token, window) if name.startswith("supply") else borrowed(token, window)
    return annual(growth, window) if name.endswith("apy_annualised") else growth


def oracle_figure(series: str, name: str, window: str) -> float:
    asset, quote = series.split("_")
    if name in {"start", "end"}:
        found = row(window, 0 if name == "start" else -1)
        if quote == "eth":
            return Valuer.of(config_of(emode=True)).unit_share(holding_key(TOKENS[asset]), found)
        return Valuer.of(config_of(emode=True)).usd({"weth": "ETH", "usdt": "USDT"}[asset], found)
    growth = staked(asset, window)
    return growth if name == "growth_factor" else annual(growth, window)


def loop_figure(asset: str, variant: str, name: str, window: str) -> float | None:
    ltv = float(variant.rsplit("_", 1)[1])
    ledger = looped_ten_times(asset, ltv, window) if variant.startswith("finite") else looped(asset, ltv, window)
    config, first, last = config_of(emode=True), row(window, 0), row(window, -1)
    lst = TOKENS[asset]
    index = f"liquidity_index:{lst}"
    opened, closed = account_data(ledger, at_tick(config, first)), account_data(ledger, at_tick(config, last))
    match name:
        case "leverage":
            return opened.collateral / (opened.collateral - opened.debt)
        case "net_equity_growth_eth":
            return equity_eth(ledger, last) / equity_eth(ledger, first)
        case "net_equity_growth_eth_without_supply_interest":
            return equity_eth(ledger, last | {index: first[index]}) / equity_eth(ledger, first)
        case "end_ltv":
            return closed.debt / closed.collateral
        case "end_health_factor_lt_0.95":
            return closed.health_factor
        case "min_health_factor_lt_0.95":
            every = {key: np.concatenate((column[:1], column)) for key, column in columns(window).items()}
            lowest = float(health_factors(stretch_of(config, ledger, every, 1)).min())
            return None if math.isinf(lowest) else lowest
        case _:
            raise AssertionError(f"no way to reproduce {name!r}")


@pytest.mark.parametrize("figure", FIGURES, ids=lambda found: ".".join((found.window, *found.path)))
def test_figure_is_reproduced(figure: Figure) -> None:
    section, first, *rest = figure.path
    match section:
        case "aave":
            found: float | None = aave_figure(TOKENS[first], rest[0], figure.window)
        case "oracle":
            found = oracle_figure(first, rest[0], figure.window)
        case _:
            found = loop_figure(first, rest[0], rest[1], figure.window)
    if figure.expected is None:
        assert found is None
    else:
        assert found == pytest.approx(figure.expected, rel=TOLERANCE, abs=0.0)


def test_no_figure_is_left_out() -> None:
    """Each section of each window is there, with every series that it should have."""
    assert len(WINDOWS) == 4
    for window in WINDOWS:
        here = [figure.path for figure in FIGURES if figure.window == window]
        assert {path[0] for path in here} == set(SECTIONS)
        assert {path[1] for path in here if path[0] == "aave"} == set(TOKENS)
        assert {path[1] for path in here if path[0] == "leveraged_staking_loop"} == set(STAKING)
        assert len(here) == 4 * 6 + 2 * 4 + 2 * 2 + 2 * (6 * 6 + 2)


@pytest.mark.parametrize("token", TOKENS.values())
def test_held_spot_rate_would_not_have_passed(token: str) -> None:
    """If the shortcut and the index ever agreed, the figures above would prove nothing."""
    held = aave_figure(token, "supply_growth_if_daily_spot_rate_were_held_24h", "full")
    assert abs(held / supplied(token, "full") - 1.0) > 1e3 * TOLERANCE


@pytest.mark.parametrize("token", ["weETH", "wstETH"])
def test_index_between_two_snapshots_lies_between_them(token: str) -> None:
    """The hourly path of a supply: never falling, and on the snapshots exactly theirs."""
    begin = start_ms("full")
    hourly = market().columns(begin, 3_600_000, 24 * 30 + 1)[f"liquidity_index:{token}"]
    daily = columns("full")[f"liquidity_index:{token}"][:31]
    assert hourly[::24].tolist() == daily.tolist()
    assert np.all(np.diff(hourly) >= 0.0)
