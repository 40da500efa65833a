"""Desk: builds the orders of one tick, each with its expected deltas, and keeps the balances that they lead to. Pure.

A later order of a tick is computed from the balances that the earlier ones leave, so that a transfer, the trade that it
pays for and the stake of what was bought fit together to the last digit.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from basis.models.config import StakingConfig
from basis.models.errors import ComponentError
from basis.models.instruments import CLIENT, LST_VENUES, TOKEN_DECIMALS, Venue, margin_token
from basis.models.operations import TRADES, ExecutionMode, OperationType, OrderSide, StrategyIntent
from basis.models.order import Order
from basis.runtime import fills
from basis.runtime.gas import gas_fee, pays_gas
from basis.runtime.timeline import atomic_group_id, operation_id
from basis.runtime.valuation import Valuer
from basis.strategy.core.deltas import OperationParams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import JsonValue

    from basis.models.config import RunConfig
    from basis.models.messages import RunRef
    from basis.strategy.core.view import TickView

_MARGIN_KEPT = 1.2
"""Initial margin of open perps, times this, is not paid out."""
_ROUNDING = 1e-12
"""Two amounts this close, as a fraction, are the same."""


class ExpectedDeltas(Protocol):
    """Who knows what an operation should change: the StrategyManager."""

    def expected_deltas(self, params: OperationParams) -> dict[str, float]:
        """Instrument key -> signed change."""
        ...


def spendable(balance: float, reserve: float, decimals: int) -> float:
    """Largest amount of whole smallest units that leaves at least the reserve, zero where there is none.

    ``(balance - amount) - reserve`` is never negative in floating point: the venue subtracts in that order.
    """
    unit = 10.0**-decimals
    # beyond 2**53 units a float has no whole units to cut to
    exact = balance < unit * 2**52
    amount = math.floor((balance - reserve) / unit) * unit if exact else balance - reserve
    amount = round(amount, decimals) if exact else amount
    while amount > 0.0 and (balance - amount) - reserve < 0.0:
        amount = round(amount - unit, decimals) if exact else math.nextafter(amount, 0.0)
    return max(amount, 0.0)


class Desk:
    """Orders of one tick in the making.

    Args:
        config: configuration of the run.
        manager: computes expected deltas.
        view: the tick.
        run: the run.
        intent: why the orders are sent.
    """

    def __init__(
        self, config: RunConfig, manager: ExpectedDeltas, view: TickView, run: RunRef, intent: StrategyIntent
    ) -> None:
        self.config = config
        self.view = view
        self.market = view.market_row()
        self.valuer = Valuer.of(config)
        self._manager = manager
        self._run = run
        self._intent = intent
        self._balances = view.positions()
        self._orders: list[Order] = []
        self._group: str | None = None
        self._groups = 0
        self._step = 0

    def orders(self) -> tuple[Order, ...]:
        """All orders so far, in sequence."""
        return tuple(self._orders)

    def balance(self, key: str) -> float:
        """Quantity of an instrument after the orders so far."""
        return self._balances.get(key, 0.0)

    def gas(self, *operations: OperationType) -> float:
        """Gas of operations, in the token that pays it."""
        return math.fsum(gas_fee(self.config, self.market, operation).amount for operation in operations)

    def usd(self, asset: str) -> float:
        """USD price of an asset."""
        return self.valuer.usd(asset, self.market)

    def price(self, asset: str) -> float:
        """Price of an asset in the share class."""
        return self.valuer.share(asset, self.market)

    def worth_sending(self, amount: float, asset: str) -> bool:
        """True for an amount of at least the smallest order worth sending."""
        return amount > 0.0 and amount * self.usd(asset) >= self.config.strategy.min_order_value

    # ------------------------------------------------------------------------------------------------- payments

    def payable(self) -> float:
        """Share class that can be paid out now, gas and margin kept back; what is on its way to that balance counts too.

        Negative where not even the gas of paying is there.
        """
        token = self.config.share_class.currency
        waiting = sum(self.balance(f"{venue}:BaseToken:{token}") for venue in ("transit", "etherfi", "lido"))
        return self.balance(self.config.initial_key()) - self._kept_back() + waiting

    def pay_out(self, amount: float) -> None:
        """Pay capital back to the client: as much of the amount as is free now."""
        key = self.config.initial_key()
        currency = self.config.share_class.currency
        paid = min(amount, spendable(self.balance(key), self._kept_back(), TOKEN_DECIMALS[currency]))
        if self.worth_sending(paid, currency):
            self.transfer(key.split(":", 1)[0], CLIENT, currency, paid)

    def _kept_back(self) -> float:
        """What a payment must leave: its gas, or on an exchange the margin of open perps."""
        venue = self.config.initial_key().split(":", 1)[0]
        if venue == "wallet":
            return self.gas(OperationType.TRANSFER)
        kept = 0.0
        for name, symbol in self.config.perps():
            if name == venue:
                mark = self.market[f"perp:{venue}:{symbol}"]
                notional = fills.perp_notional(symbol, self.balance(f"{venue}:Perp:{symbol}"), mark)
                leverage = self.config.market(venue, symbol, perp=True).max_leverage
                kept += _MARGIN_KEPT * fills.margin_units(symbol, notional, mark) / leverage
        return kept

    # ---------------------------------------------------------------------------------------------- operations

    def transfer(self, source: str, target: str, token: str, amount: float) -> float:
        """Move a token; returns what arrives (at once or later)."""
        fee = 0.0 if target == CLIENT else fills.withdrawal_fee(self.config, source, token)
        delayed = target != CLIENT and fills.deposit_delay_s(self.config, target) > 0
        params = OperationParams(
            OperationType.TRANSFER,
            source,
            amount,
            token,
            source_venue=source,
            target_venue=target,
            withdrawal_fee=fee,
            delayed=delayed,
        )
        self._add(params, {"withdrawal_fee": fee, "delayed": delayed})
        return amount - fee

    def spot(self, venue: str, asset: str, quantity: float) -> None:
        """Buy (positive) or sell (negative) so many base units for USDT at a venue's own spot price."""
        symbol = f"{asset}USDT"
        price = self.market[f"spot:{venue}:{symbol}"]
        amount = abs(quantity)
        held = self.balance(f"{venue}:BaseToken:{asset}")
        if quantity < 0.0 and held < amount <= held * (1.0 + _ROUNDING):
            amount = held  # whole lots are the nearest float to a decimal number, which may be an ulp above the balance
        cost = fills.trade_cost(self.config, venue, symbol, amount * price, perp=False)
        params = OperationParams(
            OperationType.SPOT_TRADE,
            venue,
            amount,
            asset,
            target_token="USDT",
            side=OrderSide.BUY if quantity > 0.0 else OrderSide.SELL,
            price=price,
            slippage=cost.slippage,
            fee_rate=cost.fee_rate,
        )
        self._add(params, {"price": price, "slippage": cost.slippage, "fee_rate": cost.fee_rate})

    def perp(
        self,
        venue: str,
        symbol: str,
        quantity: float,
        *,
        take_profit: float | None = None,
        stop_loss: float | None = None,
    ) -> None:
        """Buy (positive) or sell (negative) a perp at its mark: base units, or USD contracts where inverse."""
        mark = self.market[f"perp:{venue}:{symbol}"]
        amount = abs(quantity)
        notional = fills.perp_notional(symbol, amount, mark)
        cost = fills.trade_cost(self.config, venue, symbol, notional, perp=True)
        params = OperationParams(
            OperationType.PERP_TRADE,
            venue,
            amount,
            symbol.removesuffix("USDT").removesuffix("USD"),
            target_token=margin_token(symbol),
            side=OrderSide.BUY if quantity > 0.0 else OrderSide.SELL,
            symbol=symbol,
            price=mark,
            slippage=cost.slippage,
            fee_rate=cost.fee_rate,
        )
        self._add(
            params,
            {"mark": mark, "slippage": cost.slippage, "fee_rate": cost.fee_rate},
            take_profit=take_profit,
            stop_loss=stop_loss,
        )

    def supply(self, token: str, amount: float) -> None:
        """Supply to Aave."""
        self._aave(OperationType.SUPPLY, token, amount, "liquidity_index")

    def withdraw(self, token: str, amount: float) -> None:
        """Withdraw from Aave; the amount is in the underlying."""
        self._aave(OperationType.WITHDRAW, token, amount, "liquidity_index")

    def borrow(self, token: str, amount: float) -> None:
        """Borrow from Aave."""
        self._aave(OperationType.BORROW, token, amount, "borrow_index")

    def repay(self, token: str, amount: float) -> None:
        """Repay to Aave; the amount is in the underlying."""
        self._aave(OperationType.REPAY, token, amount, "borrow_index")

    def stake(self, venue: str, amount: float) -> float:
        """Stake ETH; returns the LST received."""
        lst, rate = self._lst(venue)
        self._add(OperationParams(OperationType.STAKE, venue, amount, lst, exchange_rate=rate), {"eth_per_lst": rate})
        return amount / rate

    def unstake(self, venue: str, amount: float) -> None:
        """Unstake so many LST at the protocol's rate, through its queue where it has one."""
        lst, rate = self._lst(venue)
        found = self.config.venues.get(Venue(venue))
        queued = isinstance(found, StakingConfig) and found.unstake_queue_days > 0.0
        self._add(
            OperationParams(OperationType.UNSTAKE, venue, amount, lst, exchange_rate=rate, delayed=queued),
            {"eth_per_lst": rate, "queued": queued},
        )

    def swap_rate(self, token: str, amount: float) -> float:
        """ETH received for one unit of a token in a swap of such an amount, cost included."""
        price = self.eth_price(token)
        cost = fills.swap_cost(self.config, token, "ETH", amount * price * self.usd("ETH"))
        return price * (1.0 - cost)

    def swap_to_eth(self, token: str, amount: float) -> float:
        """Swap a token to ETH on the DEX; returns the ETH received."""
        price = self.eth_price(token)
        cost = fills.swap_cost(self.config, token, "ETH", amount * price * self.usd("ETH"))
        params = OperationParams(
            OperationType.SWAP,
            "uniswap",
            amount,
            token,
            target_token="ETH",
            price=price,
            target_price=1.0,
            slippage=cost,
        )
        self._add(params, {"price_eth": price, "cost": cost})
        return amount * price * (1.0 - cost)

    def eth_price(self, token: str) -> float:
        """Market price of a token in ETH."""
        column = f"dex_price_eth:{token}" if token in LST_VENUES else f"dex:{token}WETH"
        return self.market[column]

    def flash_borrow(self, amount: float) -> None:
        """Borrow WETH for the length of the atomic group."""
        self._add(OperationParams(OperationType.FLASH_BORROW, "morpho", amount, "WETH"), {})

    def flash_repay(self, amount: float) -> None:
        """Repay the flash loan with its fee."""
        fee = self.flash_fee()
        self._add(OperationParams(OperationType.FLASH_REPAY, "morpho", amount, "WETH", fee_rate=fee), {"fee_rate": fee})

    def flash_fee(self) -> float:
        """Fee of a flash loan, a fraction."""
        return float(getattr(self.config.venues.get(Venue.MORPHO), "fee", 0.0))

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Orders made within are one transaction: all of them or none."""
        if self._group is not None:
            raise ComponentError("STRAT-003", "atomic groups do not nest", "strategy_manager")
        self._group = atomic_group_id(self._run, self.view.tick, self._groups)
        self._groups += 1
        self._step = 0
        yield
        self._group = None

    # --------------------------------------------------------------------------------------------------- inner

    def _lst(self, venue: str) -> tuple[str, float]:
        lst = self.config.lst(Venue(venue))
        return lst, self.market[f"oracle_price_eth:{lst}"]

    def _aave(self, operation: OperationType, token: str, amount: float, column: str) -> None:
        index = self.market[f"{column}:{token}"]
        name = column if column == "liquidity_index" else "variable_borrow_index"
        self._add(OperationParams(operation, "aave_v3", amount, token, index=index), {name: index})

    def _add(
        self,
        params: OperationParams,
        details: dict[str, JsonValue],
        take_profit: float | None = None,
        stop_loss: float | None = None,
    ) -> None:
        if pays_gas(params.operation, params.source_venue):
            fee = gas_fee(self.config, self.market, params.operation)
            params = replace(params, gas_fee=fee.amount, gas_token=fee.token)
            details = details | {"gas_units": fee.units, "gas_price_gwei": fee.price_gwei, "gas_fee": fee.amount}
        deltas = self._manager.expected_deltas(params)
        for key, delta in deltas.items():
            self._balances[key] = self._balances.get(key, 0.0) + delta
        group = None
        if self._group is not None:
            group = (self._group, self._step)
            self._step += 1
        self._orders.append(
            make_order(
                params,
                operation_id=operation_id(self._run, self.view.tick, len(self._orders)),
                expected_deltas=deltas,
                details=details,
                intent=self._intent,
                strategy_id=self.config.mode,
                group=group,
                take_profit=take_profit,
                stop_loss=stop_loss,
            )
        )


def make_order(
    params: OperationParams,
    *,
    operation_id: str,
    expected_deltas: dict[str, float],
    details: dict[str, JsonValue],
    intent: StrategyIntent,
    strategy_id: str,
    group: tuple[str, int] | None = None,
    take_profit: float | None = None,
    stop_loss: float | None = None,
) -> Order:
    """An Order from its parameters; ``group`` is (atomic_group_id, sequence_in_group)."""
    source, target = _route(params)
    trade = params.operation in TRADES
    pair = params.symbol or f"{params.token}{params.target_token}"
    return Order(
        operation_id=operation_id,
        operation=params.operation,
        venue=params.venue,
        source_venue=source[0],
        source_token=source[1],
        target_venue=target[0],
        target_token=target[1],
        amount=params.amount,
        side=params.side,
        pair=pair if trade else None,
        price=params.price if trade else None,
        expected_deltas=expected_deltas,
        operation_details=details,
        execution_mode=ExecutionMode.SEQUENTIAL if group is None else ExecutionMode.ATOMIC,
        atomic_group_id=None if group is None else group[0],
        sequence_in_group=None if group is None else group[1],
        take_profit=take_profit,
        stop_loss=stop_loss,
        strategy_intent=intent,
        strategy_id=strategy_id,
    )


def _route(params: OperationParams) -> tuple[tuple[str, str], tuple[str, str]]:
    """(venue, token) given and (venue, token) received."""
    wallet, venue, token = "wallet", params.venue, params.token
    routes: dict[OperationType, tuple[tuple[str, str], tuple[str, str]]] = {
        OperationType.SUPPLY: ((wallet, token), (venue, f"a{token}")),
        OperationType.WITHDRAW: ((venue, f"a{token}"), (wallet, token)),
        OperationType.BORROW: ((venue, f"debt{token}"), (wallet, token)),
        OperationType.REPAY: ((wallet, token), (venue, f"debt{token}")),
        OperationType.STAKE: ((wallet, "ETH"), (venue, token)),
        OperationType.UNSTAKE: ((venue, token), (wallet, "ETH")),
        OperationType.SWAP: ((wallet, token), (wallet, params.target_token)),
        OperationType.FLASH_BORROW: ((venue, "WETH"), (wallet, "WETH")),
        OperationType.FLASH_REPAY: ((wallet, "WETH"), (venue, "WETH")),
        OperationType.TRANSFER: ((params.source_venue, token), (params.target_venue, token)),
        OperationType.SPOT_TRADE: ((venue, params.target_token), (venue, token)),
        OperationType.PERP_TRADE: ((venue, params.target_token), (venue, params.symbol)),
    }
    given, received = routes[params.operation]
    sells_spot = params.operation is OperationType.SPOT_TRADE and params.side is OrderSide.SELL
    return (received, given) if sells_spot else (given, received)
