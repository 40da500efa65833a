"""The table of all figures of ``reference.json``: which test reproduces each, none missing.

A line names a module and, where no mode or venue computes the figure, why not; such figures are statistics of the data alone
and are reproduced here, from the series that the catalogue reads. A figure without a line fails, as does a line that
matches nothing, and a figure that the module of its line does not really compare.
"""

from __future__ import annotations

import importlib
import inspect
import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from tests.integration.test_reference_aave import Figure, leaves
from tests.support.reference import DATA, REFERENCE, WINDOWS, needs_reference

from basis.venues.data.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

pytestmark = needs_reference
TOLERANCE = 1e-9
HOUR, FUNDING_PERIOD = timedelta(hours=1), timedelta(hours=8)
AAVE, PERPS, NEUTRAL, HERE = (
    f"tests.integration.test_reference_{name}" for name in ("aave", "perps", "market_neutral", "table")
)


class Line(NamedTuple):
    """Figures of one kind."""

    path: tuple[str, ...]
    """Section, series, name; ``*`` stands for any one part, ``a|b`` for either."""
    module: str
    """Test module that reproduces them."""
    why: str = ""
    """Why no mode or venue computes them; empty where one does."""


TABLE = (
    Line(("aave", "*", "*"), AAVE),
    Line(("oracle", "*", "*"), AAVE),
    Line(("leveraged_staking_loop", "*", "*", "*"), AAVE),
    Line(("funding", "*", "received_usdt_short_1_unit|sum_of_rates|negative_events"), PERPS),
    Line(
        ("funding", "*", "events_present|events_expected_every_8h|events_priced_with_stale_close"),
        HERE,
        "counts of rows: venues settle what is there, and refuse a missing event",
    ),
    Line(
        ("funding", "*", "received_usdt_if_close_of_bar_stamped_T_is_used"),
        HERE,
        "another convention than the venues': the price an hour after the settlement",
    ),
    Line(("funding", "*", "mean_annualised_rate"), HERE, "no mode annualises a rate; the gate looks at three days"),
    Line(("basis_perp_vs_spot", "*", "*"), HERE, "a statistic of closes: no mode decides on it"),
    Line(("delta_neutral_1_unit", "*", "*"), NEUTRAL),
    Line(("usdt_market_neutral_weeth_1_eth", "*", "*"), NEUTRAL),
    Line(("usdt_market_neutral_weeth_1_eth", "*", "*", "*"), NEUTRAL),
    Line(("daily_sign_rule", "*", "*"), NEUTRAL),
    Line(("benchmark_and_gas", "susde_growth|susde_mean_apy"), HERE, "a benchmark: no mode holds sUSDe"),
    Line(
        ("benchmark_and_gas", "gas_base_fee_gwei", "*"), HERE, "a statistic of samples: a mode pays the fee of its tick"
    ),
    Line(("days",), HERE, "the length of the window, which the other figures are computed over"),
)


@lru_cache
def figures() -> list[Figure]:
    """Every leaf of every window that is no text: numbers, and null where there is no number."""
    every = [leaf for window, found in WINDOWS.items() for leaf in leaves(window, found, ())]
    return [leaf for leaf in every if not isinstance(leaf.expected, str)]


def matches(line: Line, figure: Figure) -> bool:
    return len(line.path) == len(figure.path) and all(
        wanted == "*" or part in wanted.split("|") for wanted, part in zip(line.path, figure.path, strict=True)
    )


def line_of(figure: Figure) -> Line:
    (found,) = (line for line in TABLE if matches(line, figure))
    return found


def name_of(figure: Figure) -> str:
    return ".".join((figure.window, *figure.path))


# ----------------------------------------------------------------------------------------------------------- the table


def test_every_figure_has_one_line() -> None:
    lines = {name_of(figure): [line for line in TABLE if matches(line, figure)] for figure in figures()}
    assert {name: found for name, found in lines.items() if len(found) != 1} == {}
    assert len(lines) == len(figures()) > 900


def test_every_line_has_figures() -> None:
    assert [line for line in TABLE if not any(matches(line, figure) for figure in figures())] == []


def test_only_what_no_mode_computes_has_a_reason() -> None:
    assert {line.module for line in TABLE if line.why} == {HERE}
    assert {line.module for line in TABLE if not line.why} == {AAVE, PERPS, NEUTRAL}


def test_no_other_part_of_the_reference_holds_figures() -> None:
    """A new section must come into the table: outside ``windows`` there are words, and the hashes of the files."""
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    assert set(reference) == {"_about", "formulas", "windows", "files"}
    assert all(isinstance(leaf.expected, str) for leaf in leaves("", reference["formulas"], ()))


def test_every_text_names_a_series_or_a_time() -> None:
    every = [leaf for window, found in WINDOWS.items() for leaf in leaves(window, found, ())]
    texts = {leaf.path[-1] for leaf in every if isinstance(leaf.expected, str)}
    times = {"aave_and_oracle_from", "aave_and_oracle_to", "cex_open", "cex_close"}
    assert texts == times | {"price_series", "spot_series", "perp_series", "funding_price_series"}


def parametrised(module: str) -> dict[str, list[dict[str, Any]]]:
    """Test function of a module -> the arguments that pytest calls it with."""
    found = {}
    for name, function in vars(importlib.import_module(module)).items():
        if not name.startswith("test_"):
            continue
        calls: list[dict[str, Any]] = [{}]
        for mark in getattr(function, "pytestmark", []):
            if mark.name == "parametrize":
                calls = [call | {mark.args[0]: value} for call in calls for value in mark.args[1]]
        found[name] = calls
    return found


@pytest.mark.parametrize("module", [AAVE, NEUTRAL, HERE])
def test_every_figure_is_an_argument_of_a_test(module: str) -> None:
    """Not a pattern alone: pytest is given this very figure, with its value."""
    given = {call["figure"] for calls in parametrised(module).values() for call in calls if "figure" in call}
    wanted = {figure for figure in figures() if line_of(figure).module == module}
    assert wanted
    assert {name_of(figure) for figure in wanted - given} == set()


def test_every_figure_of_perps_is_compared() -> None:
    """That module has one test for a window and market: all must be given to it, and each figure named in its text."""
    name = "test_a_short_of_one_unit_earns_what_the_reference_says"
    given = {(call["window"], call["name"]) for call in parametrised(PERPS)[name]}
    source = inspect.getsource(getattr(importlib.import_module(PERPS), name))
    compared = {line.strip() for line in source.splitlines() if line.strip().startswith("assert ")}
    wanted = [figure for figure in figures() if line_of(figure).module == PERPS]
    assert len(wanted) == 4 * 3 * 3
    for figure in wanted:
        assert (figure.window, figure.path[1]) in given, name_of(figure)
        assert any(f'expected["{figure.path[-1]}"]' in line for line in compared), name_of(figure)


# ------------------------------------------------------------------------------------------------ statistics of the data


class Rows(NamedTuple):
    """Rows of a series within a stretch of time."""

    times: NDArray[np.int64]
    """Stamps, ms."""
    values: Floats
    """One field."""


@lru_cache
def series(name: str, field: str) -> Rows:
    """A series, whole."""
    found = Catalogue(DATA).series(name, (field,)).columns
    return Rows(found["timestamp"], found[field])


def moment(window: str, name: str) -> int:
    """An end of a window, ms."""
    begin = datetime.strptime(WINDOWS[window][name], "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC)
    return int(begin.timestamp() * 1000)


def within(rows: Rows, begin: int, end: int) -> Rows:
    """From the beginning on, before the end."""
    here = (rows.times >= begin) & (rows.times < end)
    return Rows(rows.times[here], rows.values[here])


def of_window(window: str, name: str, field: str) -> Rows:
    return within(series(name, field), moment(window, "aave_and_oracle_from"), moment(window, "aave_and_oracle_to"))


def milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def funding_figure(figure: Figure) -> float:
    """Of the settlements strictly between the ends, which are at no settlement's time."""
    _, market, name = figure.path
    venue, symbol = market.split("_")
    begin, end = moment(figure.window, "cex_open"), moment(figure.window, "cex_close")
    paid = within(series(f"{venue}/{symbol}_funding", "funding_rate"), begin + 1, end)
    bars = series(f"{venue}/{symbol}_perp_1h", "close")
    period = milliseconds(FUNDING_PERIOD)
    match name:
        case "events_present":
            return len(paid.times)
        case "events_expected_every_8h":
            return (end - 1) // period - begin // period
        case "events_priced_with_stale_close":
            return len(paid.times) - int(np.isin(paid.times - milliseconds(HOUR), bars.times).sum())
        case "mean_annualised_rate":
            return float(paid.values.mean() * 3.0 * 365.0)
        case "received_usdt_if_close_of_bar_stamped_T_is_used":
            # of the bar stamped at the settlement, or the latest before it
            last = np.searchsorted(bars.times, paid.times, side="right") - 1
            return float((paid.values * bars.values[last]).sum())
        case _:
            raise AssertionError(f"no way to reproduce {name!r}")


STATISTICS: dict[str, Callable[[Floats], float]] = {
    "hours": len,
    "samples": len,
    "mean": lambda values: float(values.mean()),
    "mean_bps": lambda values: float(values.mean()),
    "std_bps_population": lambda values: float(values.std()),
    "median": lambda values: float(np.median(values)),
    "median_bps": lambda values: float(np.median(values)),
    "p05_bps": lambda values: float(np.percentile(values, 5)),
    "p95_bps": lambda values: float(np.percentile(values, 95)),
    "min_bps": lambda values: float(values.min()),
    "max": lambda values: float(values.max()),
    "max_bps": lambda values: float(values.max()),
}


@lru_cache
def basis_bps(window: str, pair: str) -> Floats:
    """What perps are above spot, in basis points of spot, in each hour that both have."""
    perp, spot = (of_window(window, name, "close") for name in pair.split(" vs "))
    _, left, right = np.intersect1d(perp.times, spot.times, return_indices=True)
    return np.asarray(1e4 * (perp.values[left] / spot.values[right] - 1.0))


def benchmark_figure(figure: Figure) -> float:
    if figure.path[1] == "gas_base_fee_gwei":
        return STATISTICS[figure.path[2]](of_window(figure.window, "gas/ethereum_fees", "base_fee_gwei").values)
    apys = of_window(figure.window, "benchmark/susde_apy", "apy").values
    return float(np.prod((1.0 + apys) ** (1.0 / 365.0)) if figure.path[1] == "susde_growth" else apys.mean())


def statistic(figure: Figure) -> float:
    match figure.path[0]:
        case "funding":
            return funding_figure(figure)
        case "basis_perp_vs_spot":
            return STATISTICS[figure.path[2]](basis_bps(figure.window, figure.path[1]))
        case "benchmark_and_gas":
            return benchmark_figure(figure)
        case "days":
            ends = (moment(figure.window, f"aave_and_oracle_{name}") for name in ("to", "from"))
            last, first = ends
            return (last - first) / milliseconds(timedelta(days=1))
        case _:
            raise AssertionError(f"{name_of(figure)} is no statistic of the data")


OF_DATA = [figure for figure in figures() if any(matches(line, figure) for line in TABLE if line.module == HERE)]


@pytest.mark.parametrize("figure", OF_DATA, ids=name_of)
def test_statistic_of_the_data_is_reproduced(figure: Figure) -> None:
    assert statistic(figure) == pytest.approx(figure.expected, rel=TOLERANCE, abs=0.0)
