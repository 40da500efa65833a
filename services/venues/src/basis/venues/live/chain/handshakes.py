"""Outcomes to handshakes: deltas from the receipt, gas as a cost of its own, nothing assumed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hexbytes import HexBytes

from basis.models.execution import CostKind, ExecutionHandshake
from basis.models.instruments import CLIENT, TOKEN_DECIMALS, holding_key, wallet_token
from basis.models.operations import ExecutionMode, ExecutionStatus, OperationType
from basis.models.venue_config import GasUnits
from basis.venues.core.interface import VenueRefusal
from basis.venues.live.chain import abi
from basis.venues.live.chain.amounts import RAY, WAD, to_tokens
from basis.venues.live.chain.plan import fair_units, swapped
from basis.venues.live.chain.receipts import ETH_KEY, Decoder, Effect, decimals_of, in_tokens, read_logs
from basis.venues.live.chain.rpc import COMPONENT, Read
from basis.venues.live.chain.sending import Call, dry_run
from basis.venues.live.chain.tracker import Fate, Outcome, Reference
from basis.venues.live.errors import LiveVenueError, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from basis.models.order import Order
    from basis.runtime.clock import Clock
    from basis.venues.live.chain.rpc import Rpc
    from basis.venues.live.chain.state import Book

_CODES: Final = {Fate.NEVER: "VEN-014", Fate.GONE: "VEN-017", Fate.REVERTED: "VEN-012"}
_UNITS: Final = GasUnits()


class _Mined(NamedTuple):
    receipt: Mapping[str, Any]
    block: int
    time: datetime
    gas_used: int
    gas_price: int

    @property
    def gas(self) -> int:
        """Wei."""
        return self.gas_used * self.gas_price


class Handshakes:
    """Answers for one account.

    Args:
        rpc: the node.
        decoder: reads receipts.
        book: addresses.
        clock: wall clock.
        holds: instruments of the mode, None = all.
    """

    def __init__(self, rpc: Rpc, decoder: Decoder, book: Book, clock: Clock, holds: frozenset[str] | None) -> None:
        self._rpc, self._decoder, self._book, self._clock = rpc, decoder, book, clock
        self._pays_gas = holds is None or ETH_KEY in holds
        self._holds = holds

    async def answer(
        self, orders: Sequence[Order], reference: Reference, outcome: Outcome, submitted: datetime
    ) -> tuple[ExecutionHandshake, ...]:
        """One handshake an order."""
        if outcome.fate is Fate.DONE and outcome.receipt is not None:
            mined = await self._mined(outcome.receipt)
            return await self._confirmed(orders, reference, mined, submitted)
        if outcome.fate is Fate.OPEN:
            metadata = {"transaction": reference.attempts[0].hash, "nonce": reference.nonce}
            return tuple(
                ExecutionHandshake(
                    operation_id=order.operation_id,
                    status=ExecutionStatus.PENDING,
                    error_message=outcome.reason or None,
                    submitted_at=submitted,
                    venue_metadata=metadata,
                    simulated=False,
                )
                for order in orders
            )
        return await self._failed(orders, reference, outcome, submitted)

    async def _confirmed(
        self, orders: Sequence[Order], reference: Reference, mined: _Mined, submitted: datetime
    ) -> tuple[ExecutionHandshake, ...]:
        effects = [self._in_flight(*one) for one in zip(orders, self._effects(orders, reference, mined), strict=True)]
        shares = _shares(mined.gas, orders)
        found = []
        for order, effect, gas in zip(orders, effects, shares, strict=True):
            units = dict(effect.units)
            costs: dict[CostKind, dict[str, float]] = {}
            for kind, amounts in (await self._costs(order, effect, mined)).items():
                if amounts:
                    costs[kind] = amounts
            if self._pays_gas and gas:
                units[ETH_KEY] = units.get(ETH_KEY, 0) - gas
                costs["gas"] = {ETH_KEY: to_tokens(gas, 18)}
            found.append(
                ExecutionHandshake(
                    operation_id=order.operation_id,
                    status=ExecutionStatus.CONFIRMED,
                    actual_deltas=in_tokens({key: change for key, change in units.items() if change}),
                    execution_details=self._details(effect, gas, mined),
                    fee_amount=to_tokens(gas, 18),
                    fee_currency="ETH",
                    costs=costs,
                    submitted_at=submitted,
                    executed_at=max(mined.time, submitted),
                    venue_metadata=_metadata(reference, mined) | {"units": {k: str(v) for k, v in units.items()}},
                    simulated=False,
                )
            )
        return tuple(found)

    def _effects(self, orders: Sequence[Order], reference: Reference, mined: _Mined) -> tuple[Effect, ...]:
        logs = read_logs(mined.receipt)
        if reference.owners:
            try:
                return self._decoder.effects(logs, reference.owners, len(orders), int(reference.value))
            except ValueError as error:
                raise UnknownOutcome("VEN-010", f"{reference.attempts[0].hash}: {error}", COMPONENT) from None
        units = self._decoder.changes(logs)
        if int(reference.value):
            units[ETH_KEY] = units.get(ETH_KEY, 0) - int(reference.value)
        return (Effect(units, sum(abs(one) for one in units.values()), {}),)

    def _in_flight(self, order: Order, effect: Effect) -> Effect:
        """What left for an exchange is in transit, where the mode holds that, else already counted there."""
        if order.operation is not OperationType.TRANSFER or order.target_venue == CLIENT or self._holds is None:
            return effect
        units = dict(effect.units)
        for key, change in effect.units.items():
            token = key.rsplit(":", 1)[1]
            transit = f"transit:BaseToken:{token}"
            target = transit if transit in self._holds else f"{order.target_venue}:BaseToken:{token}"
            units[target] = units.get(target, 0) - change
        return effect._replace(units=units)

    async def _costs(self, order: Order, effect: Effect, mined: _Mined) -> dict[CostKind, dict[str, float]]:
        """Fee of a flash loan, adverse price of a swap, capital paid out."""
        if order.operation is OperationType.FLASH_REPAY:
            borrowed = -effect.units.get("morpho:debtToken:flashWETH", 0)
            fee = -effect.units.get(ETH_KEY, 0) - borrowed
            return {"fees": {ETH_KEY: to_tokens(fee, 18)}} if fee > 0 else {}
        if order.operation is OperationType.TRANSFER and order.target_venue == CLIENT:
            return {"external": {key: to_tokens(-one, decimals_of(key)) for key, one in effect.units.items()}}
        if order.operation is OperationType.SWAP:
            return await self._slippage(order, effect, mined)
        return {}

    async def _slippage(self, order: Order, effect: Effect, mined: _Mined) -> dict[CostKind, dict[str, float]]:
        """What a swap lost against the staker's rate; where the pool paid more than that, or for other tokens, against the
        pool's price before it: as the simulated venue counts."""
        source, target = swapped(order, self._book)
        given, received = holding_key(source), holding_key(target)
        spent, got = -effect.units.get(given, 0), effect.units.get(received, 0)
        other = target if source == "WETH" else source
        before = mined.block - 1
        fair = 0
        if other in {"weETH", "wstETH"}:
            ask = abi.GET_RATE if other == "weETH" else abi.STETH_PER_TOKEN
            (rate,) = await self._rpc.read([Read(self._book.tokens[other], ask)], before)
            fair = spent * rate // WAD if source == other else spent * WAD // rate
        if fair <= got:
            (slot,) = await self._rpc.read([Read(self._book.pools[other], abi.SLOT0)], before)
            fair = fair_units(source, target, spent, {other: slot[0]}, self._book)
        if fair <= got:
            return {}
        return {"slippage": {received: to_tokens(fair - got, TOKEN_DECIMALS[wallet_token(target)])}}

    async def _failed(
        self, orders: Sequence[Order], reference: Reference, outcome: Outcome, submitted: datetime
    ) -> tuple[ExecutionHandshake, ...]:
        code, reason = _CODES[outcome.fate], outcome.reason
        metadata: dict[str, JsonValue] = {"nonce": reference.nonce}
        gas = 0
        if outcome.fate is Fate.REVERTED and outcome.receipt is not None:
            mined = await self._mined(outcome.receipt)
            metadata, gas = _metadata(reference, mined), mined.gas
            reason = await self._why(reference, mined)
        undone = outcome.fate is Fate.REVERTED and orders[0].execution_mode is ExecutionMode.ATOMIC
        return tuple(
            ExecutionHandshake(
                operation_id=order.operation_id,
                status=ExecutionStatus.ROLLED_BACK if undone else ExecutionStatus.FAILED,
                error_code="EXEC-005" if undone else code,
                error_message=f"[{code}] {reason}" if undone else reason,
                execution_details={"gas_fee_eth": to_tokens(share, 18)} if share else {},
                submitted_at=submitted,
                venue_metadata=metadata,
                simulated=False,
            )
            for order, share in zip(orders, _shares(gas, orders), strict=True)
        )

    async def _why(self, reference: Reference, mined: _Mined) -> str:
        """Why a mined transaction reverted: the same call on the block before says it, if it still does."""
        where = f"reverted in block {mined.block}"
        try:
            raw = await self._rpc.batch([("eth_getTransactionByHash", [mined.receipt["transactionHash"]])])
            call = Call(reference.to, raw[0]["input"], int(reference.value))
            await dry_run(self._rpc, reference.sender, call, mined.block - 1)
        except VenueRefusal as error:
            return f"{where}: {error.message}"
        except (LiveVenueError, TypeError, KeyError):
            return f"{where}: the node does not say why"
        return f"{where}: the state had moved since the dry run"

    async def _mined(self, receipt: Mapping[str, Any]) -> _Mined:
        number = int(receipt["blockNumber"], 16)
        block = await self._rpc.block(number)
        when = datetime.fromtimestamp(block.timestamp, UTC)
        return _Mined(receipt, number, when, int(receipt["gasUsed"], 16), int(receipt["effectiveGasPrice"], 16))

    def _details(self, effect: Effect, gas: int, mined: _Mined) -> dict[str, JsonValue]:
        details: dict[str, JsonValue] = {
            "gas_units": mined.gas_used,
            "gas_price_gwei": mined.gas_price / 10**9,
            "gas_fee": to_tokens(gas, 18),
        }
        for token, index in effect.indices.items():
            details[f"index:{token}"] = index / RAY
        return details


def _shares(gas: int, orders: Sequence[Order]) -> list[int]:
    """Gas of a transaction over its orders, by the units that each would take alone; the last bears the rounding."""
    weights = [int(getattr(_UNITS, order.operation)) for order in orders]
    found = [gas * weight // sum(weights) for weight in weights]
    found[-1] += gas - sum(found)
    return found


def _metadata(reference: Reference, mined: _Mined) -> dict[str, JsonValue]:
    return {
        "transaction": str(HexBytes(mined.receipt["transactionHash"]).to_0x_hex()),
        "nonce": reference.nonce,
        "block": mined.block,
        "block_time": mined.time.isoformat(),
        "gas_used": mined.gas_used,
    }
