"""Simulated Aave v3: scaled balances, so that interest needs no settlement; the index does the growing.

Source: Aave v3 Pool, ScaledBalanceTokenBase (balance = scaled x index), GenericLogic.calculateUserAccountData,
ValidationLogic (caps, e-mode, borrow limit), LiquidationLogic (close factor, bonus).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from basis.models.config import AaveConfig, AaveReserveConfig
from basis.models.instruments import AAVE_RESERVES, Venue, asset_of, holding_key
from basis.models.messages import Settlement
from basis.models.operations import OperationType, SettlementKind
from basis.models.venue_config import EMODE_TOKENS
from basis.venues.core.interface import At, PassiveVenue, Step, Stretch, VenueRefusal
from basis.venues.interfaces.tokens import require_held

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.messages import Detail
    from basis.models.order import Order
    from basis.runtime.valuation import Valuer

    Floats = NDArray[np.float64]

T = TypeVar("T", float, "NDArray[np.float64]")

_COMPONENT = "aave_v3"
# a repayment or withdrawal of "all", and a borrowing of the whole limit, are computed from the same floats on both
# sides; this much of it may be rounding
_ROUNDING = 1e-12
_CLOSE_ALL_BELOW = 0.95
"""Health factor below which all of a debt is liquidated (CLOSE_FACTOR_HF_THRESHOLD)."""
_CLOSE_FACTOR = 0.5
"""Part of the debt that a liquidation repays above that."""


class AccountData(NamedTuple):
    """``getUserAccountData``, in USD."""

    collateral: float
    """Value of all aTokens."""
    debt: float
    """Value of all debt."""
    borrow_limit: float
    """Sum of collateral x LTV."""
    liquidation_limit: float
    """Sum of collateral x liquidation threshold."""

    @property
    def health_factor(self) -> float | None:
        """liquidation_limit / debt; None without debt."""
        return self.liquidation_limit / self.debt if self.debt > 0.0 else None


def a_token_key(token: str) -> str:
    """Instrument key of a reserve's aToken."""
    return f"aave_v3:aToken:a{token}"


def debt_key(token: str) -> str:
    """Instrument key of a reserve's variable debt."""
    return f"aave_v3:debtToken:debt{token}"


def scaled(amount: float, index: float) -> float:
    """Underlying amount to scaled quantity."""
    return amount / index


def reserve_of(config: RunConfig, token: str) -> AaveReserveConfig:
    """Parameters of a reserve, e-mode applied.

    Raises:
        VenueRefusal: VEN-009, no such reserve.
    """
    aave = _aave(config)
    reserve = aave.parameters(token)
    if reserve is None:
        raise VenueRefusal("VEN-009", f"no reserve {token!r}; known: {', '.join(aave.reserves)}", _COMPONENT)
    return reserve


def account_data(ledger: Mapping[str, float], at: At) -> AccountData:
    """Collateral, debt and limits at a tick, at the mode's prices and the oracle's exchange rates, USD."""
    return AccountData(*_totals(ledger, at.market, 0.0, at.config, at.valuer))


def health_factors(stretch: Stretch, balances: Mapping[str, Floats] | None = None) -> Floats:
    """Health factor at each tick of a stretch, shape (ticks,); infinite without debt.

    Args:
        stretch: the ticks; their ledger counts for what ``balances`` does not name.
        balances: instrument key -> scaled balance at each tick, shape (ticks,).
    """
    _, debt, limit = _over(stretch, balances or {})
    factors = np.full(stretch.ticks, np.inf)
    with np.errstate(over="ignore"):  # a debt of next to nothing: infinite, as for one number
        np.divide(limit, debt, out=factors, where=debt > 0.0)
    return factors


class SimulatedAave(PassiveVenue):
    """Supply, borrow, repay, withdraw on the Core market, and liquidation below a health factor of 1."""

    operations = frozenset({OperationType.SUPPLY, OperationType.BORROW, OperationType.REPAY, OperationType.WITHDRAW})

    def execute(self, order: Order, ledger: Mapping[str, float], at: At) -> Step:
        """One Aave operation; signs and formulas of behaviour.md section 2.

        Raises:
            VenueRefusal: VEN-001, not held by the mode; VEN-008, more than there is; VEN-009, no such reserve, a cap,
                e-mode, borrowing off, borrow limit or health factor.
        """
        token = _reserve_token(order)
        reserve = reserve_of(at.config, token)
        match order.operation:
            case OperationType.SUPPLY:
                return _supply(order.amount, token, reserve, ledger, at)
            case OperationType.REPAY:
                return _repay(order.amount, token, ledger, at)
            case OperationType.WITHDRAW:
                step = _withdraw(order.amount, token, ledger, at)
            case _:
                step = _borrow(order.amount, token, reserve, ledger, at)
        _check_account(order.operation, _moved(ledger, step.deltas), at)
        return step

    def first_break(self, stretch: Stretch, balances: Mapping[str, Floats]) -> int | None:
        """First tick with a health factor below 1 and collateral to seize; an account without debt costs nothing."""
        if not any(stretch.ledger.get(key) or key in balances for key in map(debt_key, AAVE_RESERVES)):
            return None
        collateral, debt, limit = _over(stretch, balances)
        broken = np.flatnonzero((limit < debt) & (collateral > 0.0))
        return int(broken[0]) if broken.size else None

    def closings(self, ledger: Mapping[str, float], at: At) -> Sequence[tuple[Settlement, Mapping[str, float]]]:
        """One liquidation where the health factor is below 1: of half of the largest debt, all of it below 0.95.

        A liquidator repays it and takes the largest collateral for it, with the reserve's bonus on top; where there is
        less collateral, all of it, and repays so much less. Debt without collateral stays: nothing is left to take.
        """
        account = account_data(ledger, at)
        if not (account.liquidation_limit < account.debt and account.collateral > 0.0):
            return ()
        return ((_liquidation(account, ledger, at), {}),)


class _Holding(NamedTuple):
    """One aToken or debt of the account."""

    value: float
    """USD."""
    token: str
    """Reserve."""
    key: str
    """Instrument."""
    quantity: float
    """Scaled."""


def _liquidation(account: AccountData, ledger: Mapping[str, float], at: At) -> Settlement:
    debt, collateral = _largest(debt_key, ledger, at), _largest(a_token_key, ledger, at)
    bonus = reserve_of(at.config, collateral.token).liquidation_bonus
    part = 1.0 if account.liquidation_limit / account.debt < _CLOSE_ALL_BELOW else _CLOSE_FACTOR
    repaid, burnt = debt.value * part, debt.quantity * part
    taken = collateral.quantity * (repaid * (1.0 + bonus) / collateral.value)
    if repaid * (1.0 + bonus) >= collateral.value:
        taken, repaid = collateral.quantity, collateral.value / (1.0 + bonus)
        burnt = min(debt.quantity * (repaid / debt.value), burnt)
    penalty = taken * (bonus / (1.0 + bonus))
    deltas = {debt.key: -burnt, collateral.key: -taken}
    after = account_data(_moved(ledger, deltas), at)
    debt_index = at.market[f"borrow_index:{debt.token}"]
    index = at.market[f"liquidity_index:{collateral.token}"]
    details: dict[str, Detail] = {
        "health_factor_before": account.health_factor,
        "health_factor_after": after.health_factor,
        "debt_token": debt.token,
        "repaid": burnt * debt_index,
        "repaid_usd": repaid,
        "collateral_token": collateral.token,
        "seized": taken * index,
        "seized_usd": repaid * (1.0 + bonus),
        "liquidation_bonus": bonus,
        "bonus": penalty * index,
    }
    kind = SettlementKind.LIQUIDATION
    fees = {collateral.key: penalty}
    return Settlement(tick=at.tick, venue=Venue.AAVE_V3, kind=kind, deltas=deltas, fees=fees, details=details)


def _largest(key_of: Callable[[str], str], ledger: Mapping[str, float], at: At) -> _Holding:
    """The holding of the highest value; of equal ones the first in the order of the reserves."""
    keys = [(token, key_of(token)) for token in AAVE_RESERVES]
    held = [(token, key, ledger[key]) for token, key in keys if ledger.get(key, 0.0) > 0.0]
    found = [
        _Holding(abs(quantity * at.valuer.unit_usd(key, at.market)), token, key, quantity)
        for token, key, quantity in held
    ]
    return max(found, key=lambda holding: holding.value)


def _over(stretch: Stretch, balances: Mapping[str, Floats]) -> tuple[Floats, Floats, Floats]:
    """Collateral, debt and liquidation limit at each tick of a stretch, USD."""
    market = {name: column[1:] for name, column in stretch.market.items()}
    keys = [key for token in AAVE_RESERVES for key in (a_token_key(token), debt_key(token))]
    quantities = {key: np.full(stretch.ticks, stretch.ledger[key]) for key in keys if stretch.ledger.get(key)}
    quantities |= {key: balances[key] for key in keys if key in balances}
    found = _totals(quantities, market, np.zeros(stretch.ticks), stretch.config, stretch.valuer)
    return found[0], found[1], found[3]


def _totals(
    quantities: Mapping[str, T], market: Mapping[str, T], zero: T, config: RunConfig, valuer: Valuer
) -> tuple[T, T, T, T]:
    """Collateral, debt, borrow limit, liquidation limit: the same floats for one tick and for columns."""
    collateral, debt, borrow_limit, liquidation_limit = zero, zero, zero, zero
    for token in AAVE_RESERVES:
        a_tokens, owed = quantities.get(a_token_key(token)), quantities.get(debt_key(token))
        if _any(a_tokens) and a_tokens is not None:
            reserve = reserve_of(config, token)
            value = a_tokens * market[f"liquidity_index:{token}"] * _price_usd(token, market, valuer)
            collateral = collateral + value
            borrow_limit = borrow_limit + value * reserve.ltv
            liquidation_limit = liquidation_limit + value * reserve.liquidation_threshold
        if _any(owed) and owed is not None:
            debt = debt + owed * market[f"borrow_index:{token}"] * _price_usd(token, market, valuer)
    return collateral, debt, borrow_limit, liquidation_limit


def _any(quantity: float | Floats | None) -> bool:
    return quantity is not None and bool(np.any(quantity))


def _price_usd(token: str, market: Mapping[str, T], valuer: Valuer) -> T:
    """Price of a reserve token: its asset in this mode x the oracle's exchange rate of an LST, USD."""
    price = valuer.usd(asset_of(token), market)
    return price * market[f"oracle_price_eth:{token}"] if token in {"weETH", "wstETH"} else price


def _check_account(operation: OperationType, ledger: Mapping[str, float], at: At) -> None:
    """Aave's ValidationLogic: a borrowing may not exceed the LTV, a withdrawal not leave a health factor below 1.

    Whoever adds collateral or repays is never refused for the state of the account.
    """
    account = account_data(ledger, at)
    # written so that a NaN is refused
    if operation is OperationType.BORROW and not account.debt <= account.borrow_limit * (1.0 + _ROUNDING):
        message = f"debt {account.debt:.2f} USD would exceed the borrow limit {account.borrow_limit:.2f} USD"
        raise VenueRefusal("VEN-009", message, _COMPONENT)
    factor = account.health_factor
    if factor is not None and not factor >= 1.0:
        raise VenueRefusal("VEN-009", f"health factor would be {factor:.6f}, below 1", _COMPONENT)


def _moved(ledger: Mapping[str, float], deltas: Mapping[str, float]) -> dict[str, float]:
    return {**ledger, **{key: ledger.get(key, 0.0) + delta for key, delta in deltas.items()}}


def _supply(amount: float, token: str, reserve: AaveReserveConfig, ledger: Mapping[str, float], at: At) -> Step:
    key = a_token_key(token)
    require_held(at.config, key, holding_key(token), component=_COMPONENT)
    index = at.market[f"liquidity_index:{token}"]
    if reserve.supply_cap is not None:
        total = at.market[f"total_supplied:{token}"] + ledger.get(key, 0.0) * index + amount
        _check_cap("supply", token, total, reserve.supply_cap)
    deltas = {holding_key(token): -amount, key: scaled(amount, index)}
    return Step(deltas, {"liquidity_index": index, "amount": amount})


def _withdraw(amount: float, token: str, ledger: Mapping[str, float], at: At) -> Step:
    key = a_token_key(token)
    require_held(at.config, key, holding_key(token), component=_COMPONENT)
    index = at.market[f"liquidity_index:{token}"]
    shares = _at_most(scaled(amount, index), ledger.get(key, 0.0), f"withdraw {amount!r} {token}")
    return Step({key: -shares, holding_key(token): amount}, {"liquidity_index": index, "amount": amount})


def _borrow(amount: float, token: str, reserve: AaveReserveConfig, ledger: Mapping[str, float], at: At) -> Step:
    if not reserve.borrowing_enabled:
        raise VenueRefusal("VEN-009", f"{token}: borrowing is off", _COMPONENT)
    if _aave(at.config).emode is not None and token not in EMODE_TOKENS:
        known = ", ".join(name for name in AAVE_RESERVES if name in EMODE_TOKENS)
        raise VenueRefusal("VEN-009", f"{token}: in e-mode only {known} may be borrowed", _COMPONENT)
    key = debt_key(token)
    require_held(at.config, key, holding_key(token), component=_COMPONENT)
    index = at.market[f"borrow_index:{token}"]
    if reserve.borrow_cap is not None:
        total = at.market[f"total_debt:{token}"] + ledger.get(key, 0.0) * index + amount
        _check_cap("borrow", token, total, reserve.borrow_cap)
    deltas = {key: scaled(amount, index), holding_key(token): amount}
    return Step(deltas, {"variable_borrow_index": index, "amount": amount})


def _repay(amount: float, token: str, ledger: Mapping[str, float], at: At) -> Step:
    key = debt_key(token)
    require_held(at.config, key, holding_key(token), component=_COMPONENT)
    index = at.market[f"borrow_index:{token}"]
    shares = _at_most(scaled(amount, index), ledger.get(key, 0.0), f"repay {amount!r} {token}")
    return Step({key: -shares, holding_key(token): -amount}, {"variable_borrow_index": index, "amount": amount})


def _check_cap(kind: str, token: str, total: float, cap: float) -> None:
    """The reserve's total of the market data, our own and the order against a cap: our own is not in that data."""
    if total > cap:
        raise VenueRefusal("VEN-009", f"{token}: {total:g} would exceed the {kind} cap {cap:g}", _COMPONENT)


def _at_most(shares: float, held: float, what: str) -> float:
    """Shares to burn; within rounding of all there is, all of it."""
    if shares > held * (1.0 + _ROUNDING):
        raise VenueRefusal("VEN-008", f"{what}: {shares!r} scaled, but only {held!r} there", _COMPONENT)
    return held if abs(shares - held) <= held * _ROUNDING else shares


def _reserve_token(order: Order) -> str:
    """The reserve an order means: given for supply and repay, received for withdraw and borrow."""
    gives = order.operation in {OperationType.SUPPLY, OperationType.REPAY}
    token = (order.source_token if gives else order.target_token) or ""
    return "WETH" if token == "ETH" else token


def _aave(config: RunConfig) -> AaveConfig:
    found = config.venues.get(Venue.AAVE_V3)
    if not isinstance(found, AaveConfig):
        raise VenueRefusal("VEN-001", "the mode does not list the venue aave_v3", _COMPONENT)
    return found
