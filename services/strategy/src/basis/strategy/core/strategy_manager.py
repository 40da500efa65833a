"""StrategyManager: what a tick calls for, and what each order is expected to change. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from basis.models.errors import ComponentError
from basis.models.instruments import CLIENT, holding_key, is_inverse, margin_token, split_key, wallet_token
from basis.models.operations import ExecutionStatus, OperationType, OrderSide, StrategyIntent
from basis.strategy.core.desk import Desk
from basis.strategy.core.strategy import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from basis.models.config import RunConfig
    from basis.models.execution import ExecutionHandshake
    from basis.models.messages import MissingExit, RunRef
    from basis.models.order import Order
    from basis.strategy.core.deltas import OperationParams
    from basis.strategy.core.strategy import Strategy
    from basis.strategy.core.view import TickView

_COMPONENT = "strategy_manager"
_PAID = 1e-9
"""Part of a withdrawal that may be left unpaid as rounding."""
_NOTHING_LEFT = 0.01
"""Equity below this part of a payment is what unwinding everything leaves: lots, dust, rewards not worth selling."""
Deltas = dict[str, float]


class StrategyState(NamedTuple):
    """What a strategy remembers from tick to tick."""

    reference_equity: float | None = None
    """Equity at the last rebalance, share class; None before the first."""
    pending_withdrawal: float = 0.0
    """Withdrawals asked for and not yet paid out, share class."""
    deposited: bool = False
    """A deposit arrived with this tick (paper and live; a backtest has ``capital_flows``)."""
    unwinding: bool = False
    """An emergency stop asked for everything to be unwound: nothing else is done until the run ends."""
    exits_missing: tuple[MissingExit, ...] = ()
    """Take profits and stop losses that are not at their venue (live)."""


class Decision(NamedTuple):
    """What a tick calls for."""

    decision_type: str
    """entry, exit, rebalance, hold, emergency_exit."""
    trigger_source: str
    """Rule that decided."""
    action: str
    """One of the five actions, rebalance, or hold."""
    reasoning: str
    """For people."""
    orders: tuple[Order, ...] = ()
    """What follows."""
    state: StrategyState = StrategyState()
    """What to remember if nothing is ordered."""
    violated: tuple[str, ...] = ()
    """Limits that are broken: why a risk override acts."""


class Resting:
    """Decisions of the ticks of a window that need no asking.

    Args:
        ticks: length of the window.
        found: decision -> the ticks that it is the decision of; later ones go before earlier ones.
    """

    def __init__(self, ticks: int, found: Sequence[tuple[Decision, NDArray[np.bool_]]]) -> None:
        self._decisions = [decision for decision, _ in found]
        which = np.full(ticks, -1)
        for number, (_, where) in enumerate(found):
            which[where] = number
        ends = np.append(np.flatnonzero(np.diff(which)) + 1, ticks)
        self._ends: list[int] = ends.tolist()
        self._which: list[int] = which[ends - 1].tolist()
        self._at = 0

    def from_place(self, place: int) -> tuple[Decision | None, int]:
        """The decision of all ticks from a place up to another; None where they must be asked. Places only ever grow."""
        while self._ends[self._at] <= place:
            self._at += 1
        number = self._which[self._at]
        return (None if number < 0 else self._decisions[number]), self._ends[self._at]


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
        self._flows: dict[int, tuple[float, float]] | None = None

    def resting(self, view: TickView, state: StrategyState, ticks: int) -> Resting:
        """Ticks of the window that :meth:`decide` need not be asked about in this state, and what it would say."""
        if (
            self._config.capital_flows
            or state.pending_withdrawal > 0.0
            or state.deposited
            or state.unwinding
            or state.exits_missing
        ):
            return Resting(ticks, ())
        reference, equity = state.reference_equity, view.figure_column("equity")
        found: list[tuple[Decision, NDArray[np.bool_]]] = []
        for rest in self._strategy.rests(view):
            where = np.broadcast_to(rest.where, equity.shape)
            if rest.waits is not None:
                found.append((Decision("hold", "no_position", "hold", rest.waits, state=state), where))
            elif reference is not None:
                still = np.abs(equity - reference) <= self._threshold * abs(reference)
                found.append((self._hold_in(state), where & still))
        return Resting(ticks, found)

    def _hold_in(self, state: StrategyState) -> Decision:
        if self._hold.state is not state:
            self._hold = Decision("hold", "none", "hold", "within all limits", state=state)
        return self._hold

    def decide(self, view: TickView, state: StrategyState, run: RunRef) -> Decision:
        """Decision at one tick, in the order of behaviour.md section 3; an emergency stop goes before all of it."""
        if state.unwinding:
            return self._unwind(view, state, run)
        if not state.exits_missing:
            return self._weigh(view, state, run)
        decision = self._past_exit(view, state, run) or self._weigh(view, state, run)
        missing = dict.fromkeys(f"{one.purpose}_missing" for one in state.exits_missing)
        return decision._replace(violated=(*decision.violated, *missing))

    def _past_exit(self, view: TickView, state: StrategyState, run: RunRef) -> Decision | None:
        """The market is past a level that the venue does not keep: the position is closed as the venue would have."""
        past = next((one for one in state.exits_missing if one.crossed), None)
        if past is None:
            return None
        intent = StrategyIntent.RISK_OVERRIDE
        call = Call("exit_full", intent, "exit_missing", past.words, self._strategy.exit_full)
        decision = self._act(call, view, state, run)
        return decision if decision.orders else None

    def _weigh(self, view: TickView, state: StrategyState, run: RunRef) -> Decision:
        deposited, state = self._due_flows(view.tick, state, run)
        if state.deposited:
            deposited, state = True, state._replace(deposited=False)
        if (decision := self._first(self._reductions(view, state), view, state, run)) is not None:
            return decision
        if not self._strategy.has_position(view):
            return self._enter(view, state, run)
        if (decision := self._first(self._changes(view, deposited=deposited), view, state, run)) is not None:
            return decision
        reference = state.reference_equity
        if reference is None or abs(view.equity - reference) > self._threshold * abs(reference):
            return self._retarget(view, state, run)
        dust = self._strategy.sell_dust(view)
        if dust is not None and (decision := self._act(dust, view, state, run)).orders:
            return decision
        return self._hold_in(state)

    def _reductions(self, view: TickView, state: StrategyState) -> Iterator[Call | None]:
        """What goes before everything else: risk overrides, then withdrawals."""
        yield self._strategy.risk_override(view)
        if state.pending_withdrawal > 0.0:
            yield self._withdrawal(view, state)

    def _changes(self, view: TickView, *, deposited: bool) -> Iterator[Call | None]:
        """What a position calls for: a deposit to put to work, then triggers of the mode."""
        if deposited:
            yield self._strategy.entry_partial(view)
        yield self._strategy.trigger(view)

    def _first(
        self, calls: Iterable[Call | None], view: TickView, state: StrategyState, run: RunRef
    ) -> Decision | None:
        """Decision of the first call that comes to orders."""
        for call in calls:
            if call is not None and (decision := self._act(call, view, state, run)).orders:
                return decision
        return None

    def after_execution(
        self,
        equity: float,
        before: StrategyState,
        orders: Sequence[Order],
        handshakes: Sequence[ExecutionHandshake],
    ) -> StrategyState:
        """What to remember once the orders of a tick are done.

        Args:
            equity: after them, share class.
            before: state that they were decided in.
            orders: what was ordered.
            handshakes: what became of it; orders after a failed one have none.
        """
        paid = sum(
            order.amount
            for order, handshake in zip(orders, handshakes, strict=False)
            if order.target_venue == CLIENT and handshake.status is ExecutionStatus.CONFIRMED
        )
        left = before.pending_withdrawal - paid
        # who asks for more than there is gets what there is: the rest is not owed by a later deposit
        done = left <= _PAID * max(before.pending_withdrawal, 1.0) or equity <= _NOTHING_LEFT * paid
        return StrategyState(equity, 0.0 if done else left)

    def _due_flows(self, tick: int, state: StrategyState, run: RunRef) -> tuple[bool, StrategyState]:
        """Whether a deposit arrives at this tick, and the state with this tick's withdrawals asked for."""
        if not self._config.capital_flows:
            return False, state
        if self._flows is None:
            self._flows = _schedule(self._config, run)
        deposit, withdrawal = self._flows.get(tick, (0.0, 0.0))
        if withdrawal > 0.0:
            state = state._replace(pending_withdrawal=state.pending_withdrawal + withdrawal)
        return deposit > 0.0, state

    def _unwind(self, view: TickView, state: StrategyState, run: RunRef) -> Decision:
        """Leave every position; nothing to order means that it is done."""
        text = "emergency stop: unwind everything"
        call = Call("exit_full", StrategyIntent.EXIT_FULL, "emergency_stop", text, self._strategy.exit_full)
        decision = self._act(call, view, state, run)
        return decision if decision.orders else Decision("hold", "emergency_stop", "hold", "nothing left", state=state)

    def _enter(self, view: TickView, state: StrategyState, run: RunRef) -> Decision:
        call = self._strategy.entry_full(view)
        if isinstance(call, str):
            return Decision("hold", "no_position", "hold", call, state=state)
        decision = self._act(call, view, state, run)
        if decision.orders:
            return decision
        return Decision("hold", "no_position", "hold", "nothing worth entering with", state=state)

    def _retarget(self, view: TickView, state: StrategyState, run: RunRef) -> Decision:
        moved = "equity moved past the deviation threshold"
        decision = self._act(
            Call("rebalance", StrategyIntent.REBALANCE, "deviation", moved, self._strategy.retarget), view, state, run
        )
        if decision.orders:
            return decision
        fresh = state._replace(reference_equity=view.equity)
        return Decision("hold", "deviation", "hold", f"{moved}; already on target", state=fresh)

    def _withdrawal(self, view: TickView, state: StrategyState) -> Call:
        """Pay out of what is free, after unwinding what is missing."""
        wanted = state.pending_withdrawal

        def build(desk: Desk) -> None:
            missing = wanted - desk.payable()
            if missing > _PAID * wanted:
                self._strategy.exit_partial(desk, missing)
            desk.pay_out(wanted)

        text = f"withdrawal of {wanted:.8g} {self._config.share_class.currency}: free balance first, else unwind 1:1"
        return Call("exit_partial", StrategyIntent.EXIT_PARTIAL, "withdrawal", text, build)

    def _act(self, call: Call, view: TickView, state: StrategyState, run: RunRef) -> Decision:
        """Build the orders of a call."""
        desk = Desk(self._config, self, view, run, call.intent)
        call.build(desk)
        orders = desk.orders()
        if not orders:
            return self._hold
        return Decision(call.decision_type, call.trigger, call.action, call.reasoning, orders, state, call.violated)

    def expected_deltas(self, params: OperationParams) -> Deltas:
        """:meth:`_calculate_expected_deltas`, for the desk."""
        return self._calculate_expected_deltas(params)

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
        """Perp +-q; margin currency -fee, and the fill's distance from the mark at once, for PnL settles on mark.

        Linear: q base at P(1+-s). Inverse: q USD contracts; fee and distance in the base asset.
        """
        _positive(params, "price")
        buys = _buys(params)
        sign = 1.0 if buys else -1.0
        fill = params.price * (1.0 + params.slippage if buys else 1.0 - params.slippage)
        if is_inverse(params.symbol):
            lost = params.amount * abs(1.0 / params.price - 1.0 / fill)
            fee = params.amount / fill * params.fee_rate
        else:
            lost = params.amount * abs(fill - params.price)
            fee = params.amount * fill * params.fee_rate
        return {
            f"{params.venue}:Perp:{params.symbol}": sign * params.amount,
            f"{params.venue}:BaseToken:{margin_token(params.symbol)}": -fee - lost,
        }

    def _calculate_supply_deltas(self, params: OperationParams) -> Deltas:
        """Holding -u; aToken +u/LI."""
        _positive(params, "index")
        return {
            holding_key(params.token): -params.amount,
            f"aave_v3:aToken:a{params.token}": params.amount / params.index,
        }

    def _calculate_withdraw_deltas(self, params: OperationParams) -> Deltas:
        """aToken -u/LI; holding +u."""
        _positive(params, "index")
        return {
            f"aave_v3:aToken:a{params.token}": -params.amount / params.index,
            holding_key(params.token): params.amount,
        }

    def _calculate_borrow_deltas(self, params: OperationParams) -> Deltas:
        """debtToken +b/BI; holding +b."""
        _positive(params, "index")
        return {
            f"aave_v3:debtToken:debt{params.token}": params.amount / params.index,
            holding_key(params.token): params.amount,
        }

    def _calculate_repay_deltas(self, params: OperationParams) -> Deltas:
        """debtToken -b/BI; holding -b."""
        _positive(params, "index")
        return {
            f"aave_v3:debtToken:debt{params.token}": -params.amount / params.index,
            holding_key(params.token): -params.amount,
        }

    def _calculate_stake_deltas(self, params: OperationParams) -> Deltas:
        """Wallet ETH -e; LST +e/X."""
        _positive(params, "exchange_rate")
        return {holding_key("ETH"): -params.amount, holding_key(params.token): params.amount / params.exchange_rate}

    def _calculate_unstake_deltas(self, params: OperationParams) -> Deltas:
        """LST -l; wallet ETH +l*X, or a claim of as much on the protocol until the queue is done."""
        _positive(params, "exchange_rate")
        target = f"{params.venue}:BaseToken:ETH" if params.delayed else holding_key("ETH")
        return {holding_key(params.token): -params.amount, target: params.amount * params.exchange_rate}

    def _calculate_swap_deltas(self, params: OperationParams) -> Deltas:
        """In -q; out +q*P_in/P_out*(1-cost)."""
        _positive(params, "price")
        _positive(params, "target_price")
        received = params.amount * params.price / params.target_price * (1.0 - params.slippage)
        return {holding_key(params.token): -params.amount, holding_key(params.target_token): received}

    def _calculate_flash_borrow_deltas(self, params: OperationParams) -> Deltas:
        """Wallet WETH +D; owed +D."""
        return {holding_key("WETH"): params.amount, f"{params.venue}:debtToken:flashWETH": params.amount}

    def _calculate_flash_repay_deltas(self, params: OperationParams) -> Deltas:
        """Wallet WETH -D(1+f); owed -D."""
        paid = params.amount * (1.0 + params.fee_rate)
        return {holding_key("WETH"): -paid, f"{params.venue}:debtToken:flashWETH": -params.amount}

    def _calculate_transfer_deltas(self, params: OperationParams) -> Deltas:
        """Source -q; target +q - withdrawal fee, in transit first where it takes time; nothing arrives at the client."""
        if params.source_venue == params.target_venue:
            raise ComponentError("STRAT-002", f"transfer from {params.source_venue!r} to itself", _COMPONENT)
        token = wallet_token(params.token)
        source = f"{params.source_venue}:BaseToken:{token}"
        if params.target_venue == CLIENT:
            return {source: -params.amount}
        arrives = params.amount - params.withdrawal_fee
        if arrives <= 0.0:
            message = f"transfer of {params.amount!r} {token}: the withdrawal fee {params.withdrawal_fee!r} eats it"
            raise ComponentError("STRAT-002", message, _COMPONENT)
        target = "transit" if params.delayed else params.target_venue
        return {source: -params.amount, f"{target}:BaseToken:{token}": arrives}


def _schedule(config: RunConfig, run: RunRef) -> dict[int, tuple[float, float]]:
    """Tick -> (deposits, withdrawals) that take effect at it, both positive, share class."""
    found: dict[int, tuple[float, float]] = {}
    for flow in config.capital_flows:
        tick = max(math.ceil((flow.date - run.start).total_seconds() / run.time_step_s), 0)
        deposit, withdrawal = found.get(tick, (0.0, 0.0))
        found[tick] = (deposit + max(flow.amount, 0.0), withdrawal + max(-flow.amount, 0.0))
    return found


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
