"""RiskMonitor: LTV, health factor, margin, net delta, and the level of all together; and what a shock would do. Pure.

HF = sum(collateral value x liquidation threshold) / debt value (Aave v3, GenericLogic.calculateUserAccountData).
Margin ratio = margin balance / perp notional, both in the margin token, as the exchange sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from basis.models.instruments import InstrumentType
from basis.runtime import fills
from basis.runtime.column_lines import Chosen, Each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from basis.monitors.core.columns import Floats
    from basis.monitors.core.exposure_monitor import Exposure
    from basis.monitors.core.plan import Line, MarginAccount, PerpLine
    from basis.monitors.core.position_monitor import MarkedPerp, ValuedWindow
    from basis.runtime.domain_events import DomainEventLogger

    Flags = NDArray[np.bool_]

RISK_LEVELS = ("low", "medium", "high", "critical")
"""Risk levels by code."""
DUST_USD = 1e-12
"""Value that is rounding, not debt or collateral: a ratio over it would be infinite."""
MAX_USAGE = 1e6
"""Largest margin usage that is shown, also where the margin balance is zero or less."""


class Finding(NamedTuple):
    """One measure that is past a limit at some ticks."""

    words: str
    """Name of the measure and the limit."""
    breach: bool
    """True for a breach, False for a warning."""
    where: Flags
    """At which ticks."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a shock would do at each tick."""

    health_factor: Floats
    """Infinite where there is no debt."""
    margin_ratio: Floats
    """Of the worst exchange; infinite where there is no position."""
    liquidated: Flags
    """True where a venue would liquidate something."""


@dataclass(frozen=True, slots=True)
class Risk:
    """Risk at each tick, values in USD."""

    collateral: Floats
    """Value of all aTokens."""
    debt: Floats
    """Value of all debt, positive."""
    threshold: Floats
    """Sum of collateral x liquidation threshold."""
    margin: Mapping[str, Floats]
    """Venue -> margin balance, USD; venues with perps in the subscriptions."""
    notional: Mapping[str, Floats]
    """Venue -> notional of its perps, USD."""
    margin_ratio: Mapping[str, Floats]
    """Venue -> margin balance / notional; infinite where there is no position."""
    margin_usage: Floats
    """Maintenance margin / margin balance of the worst exchange; infinite where there is no position at any."""
    scenarios: Mapping[str, Scenario]
    """Name -> what a shock would do."""
    code: NDArray[np.uint8]
    """Index into RISK_LEVELS."""
    findings: tuple[Finding, ...]
    """Measures past their limits at one tick at least."""


class _Account(NamedTuple):
    """A margin balance and the perps that it backs, in the margin token."""

    account: MarginAccount
    balance: Floats
    perps: tuple[MarkedPerp, ...]
    """Those that are held at some tick."""
    notional: Floats
    maintenance: Floats


class _Loans(NamedTuple):
    """Collateral and debt of the lending market, USD."""

    collateral: list[tuple[Line, Floats]]
    debt: list[tuple[Line, Floats]]


class RiskMonitor:
    """Computes and reports risk."""

    @staticmethod
    def assess(window: ValuedWindow, exposure: Exposure) -> Risk:
        """Collateral, debt, margin, scenarios and level at each tick."""
        plan, zeros = window.plan, np.zeros(window.ticks)
        loans = _loans(window)
        collateral = sum((value for _, value in loans.collateral), zeros)
        threshold = sum((value * line.liquidation_threshold for line, value in loans.collateral), zeros)
        debt = sum((value for _, value in loans.debt), zeros)
        accounts = [_account(account, window, zeros) for account in plan.accounts]
        margin: dict[str, Floats] = {}
        notional: dict[str, Floats] = {}
        ratios: dict[str, Floats] = {}
        for found in accounts:
            venue, usd = found.account.venue, window.prices.usd(found.account.token)
            margin[venue] = margin.get(venue, zeros) + found.balance * usd
            notional[venue] = notional.get(venue, zeros) + (found.notional * usd if found.perps else zeros)
            ratio = _over(found.balance, found.notional) if found.perps else np.full(window.ticks, np.inf)
            ratios[venue] = np.minimum(ratios[venue], ratio) if venue in ratios else ratio
        code, findings = _level(window, exposure, (collateral, debt, threshold), accounts, ratios)
        return Risk(
            collateral,
            debt,
            threshold,
            margin,
            notional,
            ratios,
            _usage(accounts, window.ticks),
            {
                scenario.name: _scenario(place, loans, accounts, window.ticks)
                for place, scenario in enumerate(plan.risk.scenarios)
            },
            code,
            findings,
        )

    @staticmethod
    def emit(risk: Risk, orders: Sequence[int], stamps: Sequence[str], logger: DomainEventLogger) -> None:
        """Log one RiskAssessment for each order key."""
        ticks = len(orders)
        warnings, breaches = _named_columns(risk, ticks)
        fields: dict[str, Any] = {
            "health_factor": _optional(_over(np.maximum(risk.threshold, 0.0), risk.debt), ticks),
            "ltv_ratio": _optional(_over(np.maximum(risk.debt, 0.0), risk.collateral), ticks),
            "liquidation_threshold": _optional(_over(risk.threshold, risk.collateral), ticks),
            "margin_usage": _optional(risk.margin_usage, ticks),
            "risk_level": Chosen(RISK_LEVELS, risk.code[:ticks].tobytes()),
            "warnings": warnings,
            "breaches": breaches,
        }
        if risk.scenarios or risk.margin_ratio:
            fields["metadata"] = {
                "scenarios": {name: _scenario_fields(found, ticks) for name, found in risk.scenarios.items()},
                "margin_ratio": {venue: _optional(ratio, ticks) for venue, ratio in risk.margin_ratio.items()},
            }
        logger.write_columns("risk_assessments", orders, stamps, fields)


def maintenance(perp: PerpLine, notional: Floats) -> Floats:
    """Maintenance margin of positions, quote currency: :func:`basis.runtime.fills.maintenance_margin` on columns."""
    bracket = np.searchsorted(perp.caps, notional, side="left")
    return np.maximum(notional * perp.rates[bracket] - perp.amounts[bracket], 0.0)


def _loans(window: ValuedWindow) -> _Loans:
    usd = window.prices.share_usd[1:]
    loans = _Loans([], [])
    for holding in window.holdings:
        kind = holding.line.how.instrument.type
        if not holding.idle and kind is InstrumentType.A_TOKEN:
            loans.collateral.append((holding.line, holding.value * usd))
        elif not holding.idle and kind is InstrumentType.DEBT_TOKEN:
            loans.debt.append((holding.line, -holding.value * usd))
    return loans


def _account(account: MarginAccount, window: ValuedWindow, zeros: Floats) -> _Account:
    holding = window.holding(account.key)
    perps = tuple(perp for perp in window.perps if perp.line.margin_key == account.key and not perp.idle)
    notional, needed = zeros, zeros
    for perp in perps:
        mark = perp.mark[1:]
        size = fills.perp_notional(perp.line.symbol, perp.quantity, mark)
        notional = notional + fills.margin_units(perp.line.symbol, size, mark)
        needed = needed + fills.margin_units(perp.line.symbol, maintenance(perp.line, size), mark)
    return _Account(account, zeros if holding is None else holding.quantity, perps, notional, needed)


def _over(above: Floats, below: Floats) -> Floats:
    """A ratio, infinite where there is nothing below."""
    exists = below > DUST_USD
    return np.where(exists, above / np.where(exists, below, 1.0), np.inf)


def _usage(accounts: Sequence[_Account], ticks: int) -> Floats:
    worst = np.full(ticks, -np.inf)
    for found in accounts:
        if found.perps:
            ends = found.balance * MAX_USAGE > found.maintenance
            usage = np.where(ends, found.maintenance / np.where(ends, found.balance, 1.0), MAX_USAGE)
            worst = np.maximum(worst, np.where(found.notional > DUST_USD, usage, -np.inf))
    return np.where(worst == -np.inf, np.inf, worst)


def _scenario(place: int, loans: _Loans, accounts: Sequence[_Account], ticks: int) -> Scenario:
    """What the shock at a place of the plan would do at each tick, with everything else as it is."""
    factor, ratio = np.full(ticks, np.inf), np.full(ticks, np.inf)
    liquidated = np.zeros(ticks, dtype=np.bool_)
    if loans.debt:
        zeros = np.zeros(ticks)
        limit = sum(
            (value * (line.liquidation_threshold * line.shocks[place]) for line, value in loans.collateral), zeros
        )
        owed = sum((value * line.shocks[place] for line, value in loans.debt), zeros)
        factor = _over(limit, owed)
        liquidated = factor < 1.0
    for found in accounts:
        if not found.perps:
            continue
        balance, notional, needed = found.balance, np.zeros(ticks), np.zeros(ticks)
        for perp in found.perps:
            symbol, mark = perp.line.symbol, perp.mark[1:]
            # a price of exactly 0 has no inverse: the smallest that still has one
            after = mark * max(perp.line.shocks[place], 1e-9)
            size = fills.perp_notional(symbol, perp.quantity, after)
            balance = balance + fills.perp_pnl(symbol, perp.quantity, mark, after)
            notional = notional + fills.margin_units(symbol, size, after)
            needed = needed + fills.margin_units(symbol, maintenance(perp.line, size), after)
        ratio = np.minimum(ratio, _over(balance, notional))
        liquidated = liquidated | ((notional > DUST_USD) & (balance < needed))
    return Scenario(factor, ratio, liquidated)


def _level(
    window: ValuedWindow,
    exposure: Exposure,
    loans: tuple[Floats, Floats, Floats],
    accounts: Sequence[_Account],
    ratios: Mapping[str, Floats],
) -> tuple[NDArray[np.uint8], tuple[Finding, ...]]:
    """Worst level of all measures at each tick, and what is past its limit."""
    limits = window.plan.risk
    code = np.zeros(window.ticks, dtype=np.uint8)
    findings: list[Finding] = []

    def note(level: int, words: str | None, where: Flags) -> None:
        if where.any():
            code[where] = np.maximum(code[where], level)
            if words is not None:
                findings.append(Finding(words, level > 1, where))

    collateral, debt, threshold = loans
    owes = debt > DUST_USD
    if owes.any():
        factor = _over(threshold, debt)
        breach = factor < limits.hf_breach
        note(1, f"health_factor below {limits.hf_warn:g}", (factor < limits.hf_warn) & ~breach)
        note(2, f"health_factor below {limits.hf_breach:g}", breach)
        note(
            2,
            f"debt above {limits.ltv_breach:g} of the liquidation limit",
            owes & (debt > limits.ltv_breach * threshold),
        )
        note(3, None, (factor < 1.0) | (owes & (collateral <= 0.0)))
    for venue, ratio in ratios.items():
        breach = ratio < limits.margin_breach
        note(1, f"margin_ratio of {venue} below {limits.margin_warn:g}", (ratio < limits.margin_warn) & ~breach)
        note(2, f"margin_ratio of {venue} below {limits.margin_breach:g}", breach)
    for found in accounts:
        if found.perps:
            short = (found.notional > DUST_USD) & (found.balance < found.maintenance)
            note(3, f"margin of {found.account.venue} below maintenance", short)
    if window.plan.watches_delta:
        delta, equity = np.abs(exposure.net_delta_usd), np.maximum(window.total_value_usd, DUST_USD)
        breach = delta > limits.delta_breach * equity
        note(1, f"net_delta above {limits.delta_warn:g} of equity", (delta > limits.delta_warn * equity) & ~breach)
        note(2, f"net_delta above {limits.delta_breach:g} of equity", breach)
    return code, tuple(findings)


def _named_columns(risk: Risk, ticks: int) -> tuple[Chosen | tuple[()], Chosen | tuple[()]]:
    """Warnings and breaches of each tick; nothing at all where no tick has one."""
    found = [finding for finding in risk.findings if finding.where[:ticks].any()]
    if not found:
        return (), ()
    masks = np.zeros(ticks, dtype=np.int64)
    for place, finding in enumerate(found):
        masks |= finding.where[:ticks].astype(np.int64) << place
    which, inverse = np.unique(masks, return_inverse=True)
    places = inverse.tolist()

    def named(*, breach: bool) -> Chosen:
        return Chosen(
            [
                [finding.words for place, finding in enumerate(found) if mask >> place & 1 and finding.breach is breach]
                for mask in which.tolist()
            ],
            places,
        )

    return named(breach=False), named(breach=True)


def _scenario_fields(found: Scenario, ticks: int) -> dict[str, Any]:
    return {
        "health_factor": _optional(found.health_factor, ticks),
        "margin_ratio": _optional(found.margin_ratio, ticks),
        "liquidated": Chosen((False, True), found.liquidated[:ticks].tobytes()),
    }


def _optional(column: Floats, ticks: int) -> Floats | Each | None:
    """A column whose infinite entries do not exist."""
    column = column[:ticks]
    there = np.isfinite(column)
    if there.all():
        return column
    if not there.any():
        return None
    return Each([value if exists else None for value, exists in zip(column.tolist(), there.tolist(), strict=True)])
