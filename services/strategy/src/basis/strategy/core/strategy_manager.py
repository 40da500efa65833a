"""StrategyManager: what a tick calls for, and what each order is expected to change. Pure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pydantic import JsonValue

from basis.models.errors import ComponentError
from basis.models.instruments import split_key, wallet_token
from basis.models.operations import ExecutionMode, OperationType, OrderSide, StrategyIntent
from basis.models.order import Order
from basis.runtime.gas import gas_fee
from basis.runtime.timeline import operation_id
from basis.strategy.core.deltas import OperationParams

if TYPE_CHECKING:
    from basis.models.config import RunConfig
    from basis.models.messages import RunRef
    from basis.strategy.core.strategy import Strategy
    from basis.strategy.core.view import TickView

_COMPONENT = "strategy_manager"
_LST_VENUE = {"weETH": "etherfi", "wstETH": "lido"}
Deltas = dict[str, float]


class StrategyState(NamedTuple):
    """What a strategy remembers from tick to tick."""

    reference_equity: float | None = None
    """Equity at the last rebalance, share class; None before the first."""


class Plan(NamedTuple):
    """One operation that a strategy wants."""

    params: OperationParams
    """What, where, how much."""
    details: dict[str, JsonValue]
    """What the expectation is computed from; units named in the keys."""


class Decision(NamedTuple):
    """What a tick calls for."""

    decision_type: str
    """entry, exit, rebalance, hold, emergency_exit."""
    trigger_source: str
    """Rule that decided."""
    action: str
    """One of the five actions, or hold."""
    reasoning: str
    """For people."""
    orders: tuple[Order, ...] = ()
    """What follows."""
    state: StrategyState = StrategyState()
    """What to remember if nothing is ordered."""


class StrategyManager:
    """Decides for one mode.

    Args:
        config: configuration of the run.
        strategy: the mode's own part.
    """

    def __init__(self, config: RunConfig, strategy: Strategy) -> None:
        self._config = config
        self._strategy = strategy
        self._threshold = config.strategy.position_deviation_threshold
        self._hold = Decision("hold", "none", "hold", "within all limits")  # made once, not once a tick

    def decide(self, view: TickView, state: StrategyState, run: RunRef) -> Decision:
        """Decision at one tick, in the order of behaviour.md section 3."""
        strategy = self._strategy
        if not strategy.has_position(view):
            plans = strategy.entry_full(view)
            if not plans:
                return Decision("hold", "no_position", "hold", "nothing worth entering with", state=state)
            orders = self._orders(plans, view, run, StrategyIntent.ENTRY_FULL)
            return Decision(
                "entry", "no_position", "entry_full", "no position yet: enter with all there is", orders, state
            )
        reference = state.reference_equity
        equity = view.equity
        if reference is None or abs(equity - reference) > self._threshold * abs(reference):
            return self._retarget(view, state, run)
        if self._hold.state is not state:
            self._hold = Decision("hold", "none", "hold", "within all limits", state=state)
        return self._hold

    def _retarget(self, view: TickView, state: StrategyState, run: RunRef) -> Decision:
        plans = self._strategy.retarget(view)
        moved = "equity moved past the deviation threshold"
        if not plans:
            fresh = StrategyState(reference_equity=view.equity)
            return Decision("hold", "deviation", "hold", f"{moved}; already on target", state=fresh)
        orders = self._orders(plans, view, run, StrategyIntent.REBALANCE)
        return Decision("rebalance", "deviation", "entry_partial", moved, orders, state)

    @staticmethod
    def after_execution(equity: float) -> StrategyState:
        """What to remember once the orders of a tick are done."""
        return StrategyState(reference_equity=equity)

    def _orders(self, plans: list[Plan], view: TickView, run: RunRef, intent: StrategyIntent) -> tuple[Order, ...]:
        return tuple(self._order(plan, view, run, number, intent) for number, plan in enumerate(plans))

    def _order(self, plan: Plan, view: TickView, run: RunRef, number: int, intent: StrategyIntent) -> Order:
        params = plan.params
        details = dict(plan.details)
        if params.operation not in {OperationType.SPOT_TRADE, OperationType.PERP_TRADE}:
            fee = gas_fee(self._config, view.market_row(), params.operation)
            params = replace(params, gas_fee=fee.amount, gas_token=fee.token)
            details |= {"gas_units": fee.units, "gas_price_gwei": fee.price_gwei, "gas_fee": fee.amount}
        return make_order(
            params,
            operation_id=operation_id(run, view.tick, number),
            expected_deltas=self._calculate_expected_deltas(params),
            details=details,
            intent=intent,
            strategy_id=self._config.mode,
        )

    # ------------------------------------------------------------------------------------------ expected deltas

    def _calculate_expected_deltas(self, params: OperationParams) -> Deltas:
        """Instrument key -> signed change that an operation should make, gas included.

        Raises:
            ComponentError: STRAT-002, an amount, price, index or rate that is missing, not finite, or of the wrong sign.
        """
        calculate = {
            OperationType.SPOT_TRADE: self._calculate_spot_trade_deltas,
            OperationType.PERP_TRADE: self._calculate_perp_trade_deltas,
            OperationType.SUPPLY: self._calculate_supply_deltas,
            OperationType.BORROW: self._calculate_borrow_deltas,
            OperationType.REPAY: self._calculate_repay_deltas,
            OperationType.WITHDRAW: self._calculate_withdraw_deltas,
            OperationType.STAKE: self._calculate_stake_deltas,
            OperationType.UNSTAKE: self._calculate_unstake_deltas,
            OperationType.SWAP: self._calculate_swap_deltas,
            OperationType.FLASH_BORROW: self._calculate_flash_borrow_deltas,
            OperationType.FLASH_REPAY: self._calculate_flash_repay_deltas,
            OperationType.TRANSFER: self._calculate_transfer_deltas,
        }[params.operation]
        _positive(params, "amount")
        for name in ("slippage", "fee_rate", "withdrawal_fee", "gas_fee"):
            value = getattr(params, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ComponentError(
                    "STRAT-002", f"{params.operation}: {name} is {value!r}, expected 0 or more", _COMPONENT
                )
        deltas = calculate(params)
        if params.gas_fee > 0.0:
            _add(deltas, f"wallet:BaseToken:{wallet_token(params.gas_token)}", -params.gas_fee)
        for key, delta in deltas.items():
            split_key(key)
            if not math.isfinite(delta):
                raise ComponentError("STRAT-002", f"{params.operation}: {key} would change by {delta!r}", _COMPONENT)
        return deltas

    def _calculate_spot_trade_deltas(self, params: OperationParams) -> Deltas:
        """Buy: base +q, quote -qP(1+s) - fee. Sell: base -q, quote +qP(1-s) - fee. The fee is on the notional paid."""
        _positive(params, "price")
        buys = _buys(params)
        notional = params.amount * params.price * (1.0 + params.slippage if buys else 1.0 - params.slippage)
        fee = notional * params.fee_rate
        base = f"{params.venue}:BaseToken:{params.token}"
        quote = f"{params.venue}:BaseToken:{params.target_token}"
        if buys:
            return {base: params.amount, quote: -notional - fee}
        return {base: -params.amount, quote: notional - fee}

    def _calculate_perp_trade_deltas(self, params: OperationParams) -> Deltas:
        """Perp +-q; margin currency -fee. PnL settles on mark, so slippage shows at the next mark-to-market."""
        _positive(params, "price")
        sign = 1.0 if _buys(params) else -1.0
        fee = params.amount * params.price * params.fee_rate
        return {
            f"{params.venue}:Perp:{params.symbol}": sign * params.amount,
            f"{params.venue}:BaseToken:{params.target_token}": -fee,
        }

    def _calculate_supply_deltas(self, params: OperationParams) -> Deltas:
        """Holding -u; aToken +u/LI."""
        _positive(params, "index")
        return {_holding(params.token): -params.amount, f"aave_v3:aToken:a{params.token}": params.amount / params.index}

    def _calculate_withdraw_deltas(self, params: OperationParams) -> Deltas:
        """aToken -u/LI; holding +u."""
        _positive(params, "index")
        return {f"aave_v3:aToken:a{params.token}": -params.amount / params.index, _holding(params.token): params.amount}

    def _calculate_borrow_deltas(self, params: OperationParams) -> Deltas:
        """debtToken +b/BI; holding +b."""
        _positive(params, "index")
        return {
            f"aave_v3:debtToken:debt{params.token}": params.amount / params.index,
            _holding(params.token): params.amount,
        }

    def _calculate_repay_deltas(self, params: OperationParams) -> Deltas:
        """debtToken -b/BI; holding -b."""
        _positive(params, "index")
        return {
            f"aave_v3:debtToken:debt{params.token}": -params.amount / params.index,
            _holding(params.token): -params.amount,
        }

    def _calculate_stake_deltas(self, params: OperationParams) -> Deltas:
        """Wallet ETH -e; LST +e/X."""
        _positive(params, "exchange_rate")
        return {_holding("ETH"): -params.amount, _holding(params.token): params.amount / params.exchange_rate}

    def _calculate_unstake_deltas(self, params: OperationParams) -> Deltas:
        """LST -l; wallet ETH +l*X (after the queue, if it has one)."""
        _positive(params, "exchange_rate")
        return {_holding(params.token): -params.amount, _holding("ETH"): params.amount * params.exchange_rate}

    def _calculate_swap_deltas(self, params: OperationParams) -> Deltas:
        """In -q; out +q*P_in/P_out*(1-cost)."""
        _positive(params, "price")
        _positive(params, "target_price")
        received = params.amount * params.price / params.target_price * (1.0 - params.slippage)
        return {_holding(params.token): -params.amount, _holding(params.target_token): received}

    def _calculate_flash_borrow_deltas(self, params: OperationParams) -> Deltas:
        """Wallet WETH +D; owed +D."""
        return {_holding("WETH"): params.amount, f"{params.venue}:debtToken:flashWETH": params.amount}

    def _calculate_flash_repay_deltas(self, params: OperationParams) -> Deltas:
        """Wallet WETH -D(1+f); owed -D."""
        paid = params.amount * (1.0 + params.fee_rate)
        return {_holding("WETH"): -paid, f"{params.venue}:debtToken:flashWETH": -params.amount}

    def _calculate_transfer_deltas(self, params: OperationParams) -> Deltas:
        """Source -q; target +q - withdrawal fee."""
        if params.source_venue == params.target_venue:
            raise ComponentError("STRAT-002", f"transfer from {params.source_venue!r} to itself", _COMPONENT)
        token = wallet_token(params.token)
        arrives = params.amount - params.withdrawal_fee
        if arrives <= 0.0:
            message = f"transfer of {params.amount!r} {token}: the withdrawal fee {params.withdrawal_fee!r} eats it"
            raise ComponentError("STRAT-002", message, _COMPONENT)
        return {
            f"{params.source_venue}:BaseToken:{token}": -params.amount,
            f"{params.target_venue}:BaseToken:{token}": arrives,
        }


def make_order(
    params: OperationParams,
    *,
    operation_id: str,
    expected_deltas: Deltas,
    details: dict[str, JsonValue],
    intent: StrategyIntent,
    strategy_id: str,
    group: tuple[str, int] | None = None,
) -> Order:
    """An Order from its parameters; ``group`` is (atomic_group_id, sequence_in_group)."""
    source, target = _route(params)
    trade = params.operation in {OperationType.SPOT_TRADE, OperationType.PERP_TRADE}
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


def _holding(token: str) -> str:
    """Instrument key under which a token is held on chain."""
    venue = _LST_VENUE.get(token)
    return f"{venue}:LST:{token}" if venue else f"wallet:BaseToken:{wallet_token(token)}"


def _buys(params: OperationParams) -> bool:
    if params.side is None:
        raise ComponentError("STRAT-002", f"{params.operation}: side is missing", _COMPONENT)
    return params.side is OrderSide.BUY


def _positive(params: OperationParams, name: str) -> None:
    value = getattr(params, name)
    if not (math.isfinite(value) and value > 0.0):
        raise ComponentError("STRAT-002", f"{params.operation}: {name} is {value!r}, expected above 0", _COMPONENT)


def _add(deltas: Deltas, key: str, delta: float) -> None:
    deltas[key] = deltas.get(key, 0.0) + delta
