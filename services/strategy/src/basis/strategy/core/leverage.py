"""Leveraged staking: LST as collateral against WETH debt, opened and changed in one atomic flash-loan group. Pure.

Shared by eth_leveraged and usdt_market_neutral. Amounts in ETH; collateral and entries at the oracle rate, exits at the
market rate less the cost of the swap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.models.instruments import TOKEN_DECIMALS
from basis.models.operations import OperationType as Op
from basis.strategy.core.desk import spendable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from basis.models.config import LeveragedStrategyConfig, MarketNeutralStrategyConfig, RunConfig
    from basis.strategy.core.desk import Desk
    from basis.strategy.core.view import TickView

_WALLET = "wallet:BaseToken:ETH"
ENTRY_GROUP = (Op.FLASH_BORROW, Op.STAKE, Op.SUPPLY, Op.BORROW, Op.FLASH_REPAY)
"""Steps of a group that opens or grows the position."""
EXIT_GROUP = (Op.FLASH_BORROW, Op.REPAY, Op.WITHDRAW, Op.SWAP, Op.FLASH_REPAY)
"""Steps of a group that reduces or closes it."""
_ROUNDING = 1e-12
"""Left in the wallet as a fraction of what a group moves: in floats its steps do not cancel to the last digit."""
_DEBT_KEY = "aave_v3:debtToken:debtWETH"


class Account(NamedTuple):
    """Collateral and debt, ETH."""

    collateral: float
    """At the oracle rate."""
    debt: float
    """With its interest."""


class Leverage:
    """The collateral and debt of a mode.

    Args:
        config: configuration of the run.
        params: its strategy section.
        float_eth: ETH that stays in the wallet.
    """

    def __init__(
        self, config: RunConfig, params: LeveragedStrategyConfig | MarketNeutralStrategyConfig, float_eth: float = 0.0
    ) -> None:
        self._venue = params.staking_venue
        self.lst = config.lst(params.staking_venue)
        self._target = config.target_ltv
        self._params = params
        self._collateral_key = f"aave_v3:aToken:a{self.lst}"
        self._rate_column = f"oracle_price_eth:{self.lst}"
        self._index_column = f"liquidity_index:{self.lst}"
        self._gas_in_eth = config.gas_token == "ETH"
        self._float_eth = float_eth
        self.conditions = (self._rate_column, f"dex_price_eth:{self.lst}", "borrow_apr:WETH")

    # ------------------------------------------------------------------------------------------------ questions

    def is_open(self, view: TickView) -> bool:
        """True once there is collateral."""
        return view.position(self._collateral_key) > 0.0

    def opens(self, view: TickView) -> NDArray[np.bool_] | np.bool_:
        """:meth:`is_open` over the window."""
        return np.greater(view.position_column(self._collateral_key), 0.0)

    @staticmethod
    def near(view: TickView) -> NDArray[np.float64]:
        """LTV over the liquidation threshold, over the window."""
        return _near(view)

    def health(self, view: TickView) -> tuple[float, float]:
        """(health factor, LTV over the liquidation threshold); (infinite, 0) without debt."""
        near = float(view.derived("leverage.near", _near))
        return (1.0 / near if near > 0.0 else float("inf")), near

    def ltv(self, desk: Desk) -> float:
        """Debt over collateral."""
        account = self.account(desk)
        return account.debt / account.collateral if account.collateral > 0.0 else 0.0

    def account(self, desk: Desk) -> Account:
        """Collateral and debt after the orders so far."""
        market = desk.market
        units = desk.balance(self._collateral_key) * market[self._index_column]
        debt = desk.balance(_DEBT_KEY) * market["borrow_index:WETH"]
        return Account(units * market[self._rate_column], debt)

    # --------------------------------------------------------------------------------------------------- orders

    def entry_gas(self, desk: Desk) -> float:
        """Gas of an entry group, in the token that pays it."""
        return desk.gas(*ENTRY_GROUP)

    def grow(self, desk: Desk) -> None:
        """Stake what is free in the wallet, levered so that the whole position comes to the target LTV.

        New debt b and collateral e + b solve (D + b(1+f)) / (C + e + b) = l, e the free ETH less gas, f the loan's fee.
        """
        reserve = self.entry_gas(desk) if self._gas_in_eth else self._float_eth
        configured = self._params.gas_reserve
        if self._gas_in_eth and configured is not None:
            reserve = max(configured, reserve)
        balance = desk.balance(_WALLET)
        reserve += _ROUNDING * (balance + self.account(desk).collateral) / (1.0 - self._target)
        free = spendable(balance, reserve, TOKEN_DECIMALS["ETH"])
        if not desk.worth_sending(free, "ETH"):
            # borrowing more needs no money of our own, but its gas: what the wallet lacks comes out of the loan
            free = min(balance - reserve, 0.0) if self._gas_in_eth else 0.0
        account, target, fee = self.account(desk), self._target, desk.flash_fee()
        loan = (target * (account.collateral + free) - account.debt) / (1.0 + fee - target)
        if not desk.worth_sending(loan, "ETH"):
            if free > 0.0:  # at target or above: what is free lowers the LTV
                with desk.atomic():
                    desk.supply(self.lst, desk.stake(self._venue, free))
            return
        with desk.atomic():
            desk.flash_borrow(loan)
            lst = desk.stake(self._venue, free + loan)
            desk.supply(self.lst, lst)
            desk.borrow("WETH", loan * (1.0 + fee))
            desk.flash_repay(loan)

    def release(self, desk: Desk, amount: float) -> None:
        """Bring so much ETH to the wallet and the rest to the target LTV; everything where there is less.

        Repaid r and sold collateral c (ETH at the oracle rate), k the market's part of the oracle rate after costs, g gas:
        c*k = amount + r(1+f) + g and D - r = l(C - c).
        """
        account, fee = self.account(desk), desk.flash_fee()
        target = self._target
        gas = desk.gas(*EXIT_GROUP) if self._gas_in_eth else 0.0
        needs = max(amount, 0.0) + gas
        needs += _ROUNDING * account.collateral
        if amount <= 0.0:  # deleveraging pays its gas from what is free
            needs = max(needs - desk.balance(_WALLET), 0.0)
        part = self._proceeds(desk, account.collateral)
        repaid = (account.debt - target * account.collateral + target * needs / part) / (
            1.0 - target * (1.0 + fee) / part
        )
        sold = (repaid * (1.0 + fee) + needs) / part
        if repaid <= 0.0 and amount > 0.0:
            repaid, sold = 0.0, needs / part
        if repaid >= account.debt or sold >= account.collateral:
            self.close(desk)
        elif sold > 0.0:
            self._unwind(desk, repaid, sold / desk.market[self._rate_column])

    def close(self, desk: Desk) -> None:
        """Repay all debt, withdraw and sell all collateral."""
        account = self.account(desk)
        if account.collateral > 0.0:
            units = desk.balance(self._collateral_key) * desk.market[self._index_column]
            self._unwind(desk, account.debt, units)

    def _unwind(self, desk: Desk, repaid: float, units: float) -> None:
        """One group: repay so much WETH, withdraw and sell so many LST."""
        with desk.atomic():
            if repaid > 0.0:
                desk.flash_borrow(repaid)
                desk.repay("WETH", repaid)
            desk.withdraw(self.lst, units)
            desk.swap_to_eth(self.lst, units)
            if repaid > 0.0:
                desk.flash_repay(repaid)

    def _proceeds(self, desk: Desk, collateral: float) -> float:
        """ETH that a swap brings for collateral worth one ETH at the oracle rate; at the cost of the largest swap."""
        rate = desk.market[self._rate_column]
        return desk.swap_rate(self.lst, max(collateral, 0.0) / rate) / rate


def _near(view: TickView) -> NDArray[np.float64]:
    """Debt over the liquidation limit: the health factor upside down; 0 without debt, infinite without collateral."""
    debt, limit = view.figure_column("debt_usd"), view.figure_column("threshold_usd")
    secured = limit > 0.0
    bare = np.where(debt > 0.0, np.inf, 0.0)
    return np.where(secured, debt / np.where(secured, limit, 1.0), bare)
