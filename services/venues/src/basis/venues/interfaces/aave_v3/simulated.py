"""Simulated Aave v3: scaled balances, so that interest needs no settlement; the index does the growing.

Source: Aave v3 Pool, ScaledBalanceTokenBase (balance = scaled x index), GenericLogic.calculateUserAccountData.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from basis.models.config import AaveConfig, AaveReserveConfig
from basis.models.instruments import AAVE_RESERVES, Venue, wallet_token
from basis.models.operations import OperationType
from basis.venues.core.interface import Step, VenueRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig
    from basis.models.order import Order

_COMPONENT = "aave_v3"
_LST_VENUE = {"weETH": "etherfi", "wstETH": "lido"}
_EMODE_TOKENS = frozenset({"WETH", "weETH", "wstETH"})
# a repayment or withdrawal of "all" is computed from the same floats on both sides; this much of it may be rounding
_ROUNDING = 1e-12


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


def holding_key(token: str) -> str:
    """Where a token is before it is supplied: the LST of its protocol, else the wallet."""
    venue = _LST_VENUE.get(token)
    return f"{venue}:LST:{token}" if venue else f"wallet:BaseToken:{wallet_token(token)}"


def scaled(amount: float, index: float) -> float:
    """Underlying amount to scaled quantity."""
    return amount / index


def reserve_of(config: RunConfig, token: str) -> AaveReserveConfig:
    """Parameters of a reserve, e-mode applied.

    Raises:
        VenueRefusal: VEN-009, no such reserve.
    """
    aave = _aave(config)
    reserve = aave.reserves.get(token)
    if reserve is None:
        raise VenueRefusal("VEN-009", f"no reserve {token!r}; known: {', '.join(aave.reserves)}", _COMPONENT)
    if aave.emode is None or token not in _EMODE_TOKENS:
        return reserve
    return reserve.model_copy(
        update={
            "ltv": aave.emode.ltv,
            "liquidation_threshold": aave.emode.liquidation_threshold,
            "liquidation_bonus": aave.emode.liquidation_bonus,
        }
    )


def account_data(ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig) -> AccountData:
    """Collateral, debt and limits at the oracle's prices, USD."""
    collateral = debt = borrow_limit = liquidation_limit = 0.0
    for token in AAVE_RESERVES:
        a_tokens = ledger.get(f"aave_v3:aToken:a{token}", 0.0)
        if a_tokens:
            reserve = reserve_of(config, token)
            value = a_tokens * market[f"liquidity_index:{token}"] * _price_usd(token, market)
            collateral += value
            borrow_limit += value * reserve.ltv
            liquidation_limit += value * reserve.liquidation_threshold
        debt_tokens = ledger.get(f"aave_v3:debtToken:debt{token}", 0.0)
        if debt_tokens:
            debt += debt_tokens * market[f"borrow_index:{token}"] * _price_usd(token, market)
    return AccountData(collateral, debt, borrow_limit, liquidation_limit)


class SimulatedAave:
    """Supply, borrow, repay, withdraw on the Core market."""

    operations = frozenset({OperationType.SUPPLY, OperationType.BORROW, OperationType.REPAY, OperationType.WITHDRAW})

    def execute(
        self, order: Order, ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig
    ) -> Step:
        """One Aave operation; signs and formulas of behaviour.md section 2."""
        token = _reserve_token(order)
        reserve = reserve_of(config, token)
        if order.operation is OperationType.SUPPLY:
            return _supply(order.amount, token, reserve, ledger, market)
        if order.operation is OperationType.REPAY:
            return _repay(order.amount, token, ledger, market)
        if order.operation is OperationType.WITHDRAW:
            step = _withdraw(order.amount, token, ledger, market)
        else:
            step = _borrow(order.amount, token, reserve, ledger, market)
        _check_account(order.operation, _moved(ledger, step.deltas), market, config)
        return step

    def check(self, ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig) -> None:
        """Nothing at the end of a transaction: Aave checks each withdrawal and borrowing on its own."""
        del ledger, market, config


def _check_account(
    operation: OperationType, ledger: Mapping[str, float], market: Mapping[str, float], config: RunConfig
) -> None:
    """Aave's ValidationLogic: a borrowing may not exceed the LTV, a withdrawal not leave a health factor below 1.

    Whoever adds collateral or repays is never refused for the state of the account.
    """
    account = account_data(ledger, market, config)
    if operation is OperationType.BORROW and account.debt > account.borrow_limit:
        message = f"debt {account.debt:.2f} USD would exceed the borrow limit {account.borrow_limit:.2f} USD"
        raise VenueRefusal("VEN-009", message, _COMPONENT)
    factor = account.health_factor
    if factor is not None and factor < 1.0:
        raise VenueRefusal("VEN-009", f"health factor would be {factor:.6f}, below 1", _COMPONENT)


def _moved(ledger: Mapping[str, float], deltas: Mapping[str, float]) -> dict[str, float]:
    return {**ledger, **{key: ledger.get(key, 0.0) + delta for key, delta in deltas.items()}}


def _supply(
    amount: float, token: str, reserve: AaveReserveConfig, ledger: Mapping[str, float], market: Mapping[str, float]
) -> Step:
    index = market[f"liquidity_index:{token}"]
    key = f"aave_v3:aToken:a{token}"
    held = ledger.get(key, 0.0) * index + amount
    if reserve.supply_cap is not None and held > reserve.supply_cap:
        raise VenueRefusal(
            "VEN-009", f"{token}: {held:g} would exceed the supply cap {reserve.supply_cap:g}", _COMPONENT
        )
    deltas = {holding_key(token): -amount, key: scaled(amount, index)}
    return Step(deltas, {"liquidity_index": index, "amount": amount})


def _withdraw(amount: float, token: str, ledger: Mapping[str, float], market: Mapping[str, float]) -> Step:
    index = market[f"liquidity_index:{token}"]
    key = f"aave_v3:aToken:a{token}"
    shares = _at_most(scaled(amount, index), ledger.get(key, 0.0), f"withdraw {amount!r} {token}")
    return Step({key: -shares, holding_key(token): amount}, {"liquidity_index": index, "amount": amount})


def _borrow(
    amount: float, token: str, reserve: AaveReserveConfig, ledger: Mapping[str, float], market: Mapping[str, float]
) -> Step:
    if not reserve.borrowing_enabled:
        raise VenueRefusal("VEN-009", f"{token}: borrowing is off", _COMPONENT)
    index = market[f"borrow_index:{token}"]
    key = f"aave_v3:debtToken:debt{token}"
    owed = ledger.get(key, 0.0) * index + amount
    if reserve.borrow_cap is not None and owed > reserve.borrow_cap:
        raise VenueRefusal(
            "VEN-009", f"{token}: {owed:g} would exceed the borrow cap {reserve.borrow_cap:g}", _COMPONENT
        )
    deltas = {key: scaled(amount, index), holding_key(token): amount}
    return Step(deltas, {"variable_borrow_index": index, "amount": amount})


def _repay(amount: float, token: str, ledger: Mapping[str, float], market: Mapping[str, float]) -> Step:
    index = market[f"borrow_index:{token}"]
    key = f"aave_v3:debtToken:debt{token}"
    shares = _at_most(scaled(amount, index), ledger.get(key, 0.0), f"repay {amount!r} {token}")
    return Step({key: -shares, holding_key(token): -amount}, {"variable_borrow_index": index, "amount": amount})


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


def _price_usd(token: str, market: Mapping[str, float]) -> float:
    """The oracle's price of a reserve token, USD."""
    if token == "USDT":
        return market["price_usd:USDT"]
    ratio = 1.0 if token == "WETH" else market[f"oracle_price_eth:{token}"]
    return ratio * market["price_usd:ETH"]


def _aave(config: RunConfig) -> AaveConfig:
    found = config.venues.get(Venue.AAVE_V3)
    if not isinstance(found, AaveConfig):
        raise VenueRefusal("VEN-001", "the mode does not list the venue aave_v3", _COMPONENT)
    return found
