"""What happened to the account without an order of ours: arrivals, claims, liquidations. Read from the chain alone.

Ether arrives without a log where a contract sends it. So blocks in which the wallet's ether or nonce changed are found by
halving the range, and in each of them what our own transactions did is taken off; the rest has arrived.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from basis.models.instruments import LST_VENUES, TOKEN_DECIMALS, wallet_token
from basis.models.messages import Settlement
from basis.models.operations import SettlementKind
from basis.venues.live.chain import abi
from basis.venues.live.chain.amounts import to_tokens
from basis.venues.live.chain.receipts import ETH_KEY, decimals_of, in_tokens, read_logs
from basis.venues.live.chain.rpc import Read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from basis.models.chain_config import OnChainConfig
    from basis.venues.live.chain.receipts import Decoder
    from basis.venues.live.chain.rpc import Block, Rpc
    from basis.venues.live.chain.state import Book

_PROBES = 16
"""Blocks that are looked at in one request."""
_REWARDS = {"EIGEN": "etherfi", "ETHFI": "etherfi", "KING": "etherfi"}


class _Ends(NamedTuple):
    """Balance and nonce of the wallet after a block."""

    native: int
    nonce: int


class History:
    """The past of one account.

    Args:
        rpc: the node.
        config: addresses.
        book: addresses.
        decoder: reads receipts.
        holds: instruments of the mode, None = all.
    """

    def __init__(
        self, rpc: Rpc, config: OnChainConfig, book: Book, decoder: Decoder, holds: frozenset[str] | None = None
    ) -> None:
        self._rpc, self._config, self._book, self._decoder, self._holds = rpc, config, book, decoder, holds
        self._owner = book.owner.lower()
        self._topic = "0x" + self._owner.removeprefix("0x").rjust(64, "0")

    async def settlements(self, since: datetime, until: datetime) -> list[Settlement]:
        """Everything in the blocks with a time in (since, until], by time."""
        first, last = await self._range(since.timestamp(), until.timestamp())
        if last < first:
            return []
        # ether and nonce at both ends, tokens that came, liquidations: one request, and mostly all there is
        *ends, came, liquidated = await self._rpc.batch(
            [*self._end(first - 1), *self._end(last), *self._questions(first, last)]
        )
        before, after = (_Ends(*(int(one, 16) for one in pair)) for pair in (ends[:2], ends[2:]))
        found = [
            *await self._tokens(came),
            *await self._liquidations(liquidated),
            *await self._ether(first, last, before, after),
        ]
        return [settlement for _, settlement in sorted(found, key=lambda one: one[0])]

    # -------------------------------------------------------------------------------------------------- blocks

    async def _range(self, since: float, until: float) -> tuple[int, int]:
        """First and last block with a time in (since, until]; nothing is before the first block."""
        latest = await self._rpc.block()
        last = latest.number
        if latest.timestamp > until:
            last = await self._after(until, latest) - 1
        return max(await self._after(since, latest), 1), last

    async def _after(self, when: float, latest: Block) -> int:
        """Number of the first block later than a time; one beyond the last where there is none."""
        if latest.timestamp <= when:
            return latest.number + 1
        low, high = 0, latest.number
        probes = [latest.number - 4**power for power in range(16) if latest.number - 4**power > 0]
        while low < high:  # most questions are about the last few blocks: those are looked at first, many at once
            for one in await self._rpc.blocks(probes):
                if one.timestamp > when:
                    high = min(high, one.number)
                else:
                    low = max(low, one.number + 1)
            step = max((high - low) // _PROBES, 1)
            probes = list(range(low, high, step))
        return low

    def _end(self, block: int) -> list[tuple[str, list[Any]]]:
        """What asks for the wallet's ether and nonce after a block."""
        return [
            ("eth_getBalance", [self._book.owner, hex(block)]),
            ("eth_getTransactionCount", [self._book.owner, hex(block)]),
        ]

    async def _ends(self, block: int) -> _Ends:
        native, nonce = await self._rpc.batch(self._end(block))
        return _Ends(int(native, 16), int(nonce, 16))

    async def _changed(self, first: int, last: int, before: _Ends, after: _Ends) -> list[tuple[int, int]]:
        """Blocks in which ether or nonce changed, with the change of ether."""
        if before == after:
            return []
        if first == last:
            return [(first, after.native - before.native)]
        middle = (first + last) // 2
        between = await self._ends(middle)
        lower = await self._changed(first, middle, before, between)
        return lower + await self._changed(middle + 1, last, between, after)

    # ------------------------------------------------------------------------------------------------ arrivals

    def _questions(self, first: int, last: int) -> list[tuple[str, list[Any]]]:
        """What asks for tokens that came to the wallet, and for its liquidations."""
        stretch = {"fromBlock": hex(first), "toBlock": hex(last)}
        came = ["0x" + abi.TRANSFERRED.topic.hex(), None, self._topic]
        liquidated = ["0x" + abi.LIQUIDATED.topic.hex(), None, None, self._topic]
        tokens = [at.lower() for at in self._book.tokens.values()]
        return [
            ("eth_getLogs", [{**stretch, "address": tokens, "topics": came}]),
            ("eth_getLogs", [{**stretch, "address": self._config.aave.pool, "topics": liquidated}]),
        ]

    async def _ether(
        self, first: int, last: int, before: _Ends, after: _Ends
    ) -> list[tuple[tuple[int, int], Settlement]]:
        found = []
        for number, change in await self._changed(first, last, before, after):
            (block,) = await self._rpc.batch([("eth_getBlockByNumber", [hex(number), True])])
            mine = [one for one in block["transactions"] if one["from"].lower() == self._owner]
            receipts = await self._rpc.batch([("eth_getTransactionReceipt", [one["hash"]]) for one in mine])
            claimed = 0
            own = 0
            for sent, receipt in zip(mine, receipts, strict=True):
                own += self._own_ether(sent, receipt)
                gas = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
                for venue, amount, log in self._claims(receipt):
                    claimed += amount
                    found.append(self._claimed(number, int(block["timestamp"], 16), venue, (amount, gas), log))
            arrived = change - own - claimed
            if arrived > 0:
                stamp = int(block["timestamp"], 16)
                found.append(((number, -1), self._arrival(ETH_KEY, "ETH", arrived, stamp, f"{block['hash']}:ETH")))
        return found

    def _own_ether(self, sent: Mapping[str, Any], receipt: Mapping[str, Any]) -> int:
        """What a transaction of ours did to the wallet's ether, claims aside: gas, value, and what the executor gave back."""
        gas = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
        if int(receipt["status"], 16) != 1:
            return -gas
        back = 0
        for log in read_logs(receipt):
            ours = log.address == self._book.executor.lower()
            if ours and log.topics[0] == abi.DONE.topic:
                back = int(abi.DONE.read(log.topics, log.data)[3])
            elif log.address == self._book.tokens["WETH"].lower() and log.topics[0] == abi.WITHDRAWN.topic:
                holder, amount = abi.WITHDRAWN.read(log.topics, log.data)
                if abi.same(holder, self._book.executor):
                    back += int(amount)  # before the last step's event this is overwritten by it
        return back - int(sent["value"], 16) - gas

    def _claims(self, receipt: Mapping[str, Any]) -> list[tuple[str, int, int]]:
        """Protocol, ether and place of each claim in a receipt."""
        found = []
        for place, log in enumerate(read_logs(receipt)):
            if (
                self._config.lido
                and log.address == self._config.lido.queue.lower()
                and log.topics[0] == abi.LIDO_CLAIMED.topic
            ):
                _, owner, _, amount = abi.LIDO_CLAIMED.read(log.topics, log.data)
                if abi.same(owner, self._owner):
                    found.append(("lido", int(amount), place))
            if self._config.etherfi and log.address == self._config.etherfi.queue.lower():
                if log.topics[0] != abi.ETHERFI_CLAIMED.topic:
                    continue
                _, amount, _, owner, _ = abi.ETHERFI_CLAIMED.read(log.topics, log.data)
                if abi.same(owner, self._owner):
                    found.append(("etherfi", int(amount), place))
        return found

    async def _tokens(self, logs: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[int, int], Settlement]]:
        """Tokens sent to the wallet by transactions of others."""
        names = {at.lower(): name for name, at in self._book.tokens.items()}
        senders = (
            await self._rpc.batch([("eth_getTransactionByHash", [one["transactionHash"]]) for one in logs])
            if logs
            else []
        )
        found = []
        for log, sent in zip(logs, senders, strict=True):
            if sent["from"].lower() == self._owner:
                continue
            token, units = names[log["address"].lower()], int(log["data"], 16)
            key = f"{LST_VENUES[token]}:LST:{token}" if token in LST_VENUES else f"wallet:BaseToken:{token}"
            key = ETH_KEY if token == "WETH" else key
            number, place = int(log["blockNumber"], 16), int(log["logIndex"], 16)
            stamp = (await self._rpc.block(number)).timestamp
            ident = f"{log['transactionHash']}:{place}"
            found.append(((number, place), self._arrival(key, token, units, stamp, ident)))
        return found

    def _arrival(self, key: str, token: str, units: int, stamp: int, ident: str) -> Settlement:
        """A reward; what was in transit, where the mode holds that; else a deposit (which transfer it was, if any, is for the
        ledger of transfers to say)."""
        amount = to_tokens(units, TOKEN_DECIMALS[token])
        details: dict[str, JsonValue] = {"id": ident, "token": wallet_token(token), "amount": amount}
        if token in _REWARDS:
            return _settlement(_REWARDS[token], SettlementKind.REWARD, {key: amount}, stamp, details)
        transit = f"transit:BaseToken:{wallet_token(token)}"
        if self._holds is not None and transit not in self._holds:
            return _settlement("wallet", SettlementKind.DEPOSIT, {key: amount}, stamp, details)
        deltas = {key: amount} | ({transit: -amount} if self._holds is not None else {})
        return _settlement("wallet", SettlementKind.TRANSFER_ARRIVAL, deltas, stamp, details)

    def _claimed(
        self, number: int, stamp: int, venue: str, wei: tuple[int, int], place: int
    ) -> tuple[tuple[int, int], Settlement]:
        """A claim of ours: the ether, less the gas of claiming it, which is the settlement's fee."""
        amount, gas = to_tokens(wei[0], 18), to_tokens(wei[1], 18)
        deltas = {f"{venue}:BaseToken:ETH": -amount, ETH_KEY: to_tokens(wei[0] - wei[1], 18)}
        details: dict[str, JsonValue] = {"id": f"{number}:{place}", "token": "ETH", "amount": amount, "gas_fee": gas}
        kind = SettlementKind.UNSTAKE_ARRIVAL
        return (number, place), _settlement(venue, kind, deltas, stamp, details, {ETH_KEY: gas})

    # -------------------------------------------------------------------------------------------- liquidations

    async def _liquidations(self, logs: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[int, int], Settlement]]:
        found = []
        for log in logs:
            (receipt,) = await self._rpc.batch([("eth_getTransactionReceipt", [log["transactionHash"]])])
            number = int(log["blockNumber"], 16)
            deltas = self._decoder.changes(read_logs(receipt))
            details = await self._liquidation(log, number)
            stamp = (await self._rpc.block(number)).timestamp
            collateral = [key for key in deltas if ":aToken:" in key]
            fees = {
                key: -to_tokens(deltas[key], decimals_of(key)) * float(str(details["bonus_part"])) for key in collateral
            }
            settlement = _settlement("aave_v3", SettlementKind.LIQUIDATION, in_tokens(deltas), stamp, details, fees)
            found.append(((number, int(log["logIndex"], 16)), settlement))
        return found

    async def _liquidation(self, log: Mapping[str, Any], number: int) -> dict[str, JsonValue]:
        """What the event says, and which part of the collateral was the liquidator's bonus, at the oracle's prices."""
        names = {at.lower(): name for name, at in self._book.tokens.items()}
        topics = [bytes.fromhex(one[2:]) for one in log["topics"]]
        collateral, debt, _, repaid, seized, _, _ = abi.LIQUIDATED.read(topics, bytes.fromhex(log["data"][2:]))
        oracle = self._config.aave.oracle
        prices = await self._rpc.read([Read(oracle, abi.ASSET_PRICE, (one,)) for one in (collateral, debt)], number)
        taken, paid = names[collateral.lower()], names[debt.lower()]
        taken_usd = seized * prices[0] / 10 ** TOKEN_DECIMALS[taken]
        paid_usd = repaid * prices[1] / 10 ** TOKEN_DECIMALS[paid]
        return {
            "id": f"{log['transactionHash']}:{int(log['logIndex'], 16)}",
            "collateral_token": taken,
            "debt_token": paid,
            "seized": to_tokens(seized, TOKEN_DECIMALS[taken]),
            "repaid": to_tokens(repaid, TOKEN_DECIMALS[paid]),
            "bonus_part": max(1.0 - paid_usd / taken_usd, 0.0),
        }


def _settlement(
    venue: str,
    kind: SettlementKind,
    deltas: Mapping[str, float],
    stamp: int,
    details: Mapping[str, JsonValue],
    fees: Mapping[str, float] | None = None,
) -> Settlement:
    when = datetime.fromtimestamp(stamp, UTC).isoformat()
    return Settlement(
        tick=0,
        venue=venue,
        kind=kind,
        deltas=dict(deltas),
        fees=dict(fees or {}),
        details={**details, "timestamp": when},
    )
