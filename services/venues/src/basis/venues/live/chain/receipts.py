"""What a transaction did, from its receipt: changes of every instrument, order by order. Pure; integers only.

Ours are the wallet and the executor together: what moves between them is no change. Each step of the executor ends with an
event of its own, so that what the logs say before it belongs to that step's order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hexbytes import HexBytes

from basis.models.instruments import TOKEN_DECIMALS, holding_key
from basis.venues.live.chain import abi
from basis.venues.live.chain.amounts import ray_div, to_tokens
from basis.venues.live.chain.plan import END, FLASH_AAVE, FLASH_MORPHO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from basis.models.chain_config import OnChainConfig
    from basis.venues.live.chain.state import Book

ETH_KEY: Final = "wallet:BaseToken:ETH"
OWED_KEY: Final = "morpho:debtToken:flashWETH"

Units = dict[str, int]
"""Instrument key -> signed change in smallest units; scaled for aTokens and debt."""


class Log(NamedTuple):
    """One entry of a receipt."""

    address: str
    """Contract, lower case."""
    topics: list[bytes]
    """First the event's, then its indexed arguments."""
    data: bytes
    """The other arguments."""


class Effect(NamedTuple):
    """What one order did."""

    units: Units
    """Changes, without gas."""
    brought: int
    """What its last step brought, smallest units: amount staked, received, repaid."""
    indices: Mapping[str, int]
    """Reserve -> index that Aave used, in rays."""


def read_logs(receipt: Mapping[str, Any]) -> list[Log]:
    """Entries of a receipt as web3 gives it."""
    return [
        Log(
            str(one["address"]).lower(),
            [bytes(HexBytes(topic)) for topic in one["topics"]],
            bytes(HexBytes(one["data"])),
        )
        for one in receipt["logs"]
    ]


class Decoder:
    """Reads logs for one account.

    Args:
        config: addresses of protocols.
        book: addresses of tokens.
    """

    def __init__(self, config: OnChainConfig, book: Book) -> None:
        self._ours = {one.lower() for one in (book.owner, book.executor) if one}
        self._owner = book.owner.lower()
        self._executor = book.executor.lower()
        self._keys = {at.lower(): holding_key(token) for token, at in book.tokens.items()}
        self._weth = book.tokens["WETH"].lower()
        self._scaled = {at.lower(): (f"aave_v3:aToken:a{token}", token) for token, at in book.a_tokens.items()}
        self._scaled |= {at.lower(): (f"aave_v3:debtToken:debt{token}", token) for token, at in book.debts.items()}
        self._lido = config.lido.queue.lower() if config.lido else ""
        self._etherfi = config.etherfi.queue.lower() if config.etherfi else ""

    def effects(self, logs: Sequence[Log], owners: Sequence[int], orders: int, value: int) -> tuple[Effect, ...]:
        """What each order of an executor's transaction did.

        Args:
            logs: of the receipt.
            owners: index of the order that each step belongs to.
            orders: how many there are.
            value: ether that the transaction carried.

        Raises:
            ValueError: the logs are not those of a transaction of the executor, or do not add up.
        """
        units: list[Units] = [{} for _ in range(orders)]
        brought, indices = [0] * orders, [dict[str, int]() for _ in range(orders)]
        pending: list[Log] = []
        native, began, loan = value, False, 0
        for log in logs:
            if log.address == self._executor and log.topics[0] == abi.BEGAN.topic:
                (native,), began = abi.BEGAN.read(log.topics, log.data), True
            elif log.address == self._executor and log.topics[0] == abi.DONE.topic:
                index, kind, got, after = abi.DONE.read(log.topics, log.data)
                place = owners[index]
                for one in pending:
                    self._add(one, units[place], indices[place])
                pending = []
                _change(units[place], ETH_KEY, after - native)
                native = after
                if kind in {FLASH_MORPHO, FLASH_AAVE}:
                    loan = got
                    _change(units[place], OWED_KEY, loan)
                elif kind == END:
                    _change(units[place], OWED_KEY, -loan)
                brought[place] = got or brought[place]
            else:
                pending.append(log)
        if not began:
            raise ValueError("no event of the executor in the receipt")
        rest: Units = {}
        for one in pending:  # what is left over goes to the owner: between ours, so that nothing may change
            if one.topics[0] not in {abi.WITHDRAWN.topic, abi.DEPOSITED.topic}:
                self._add(one, rest, {})
        if any(rest.values()):
            raise ValueError(f"the end of the transaction moved {rest}")
        return tuple(
            Effect({key: change for key, change in one.items() if change}, got, index)
            for one, got, index in zip(units, brought, indices, strict=True)
        )

    def changes(self, logs: Sequence[Log]) -> Units:
        """What logs of any transaction did to ours; without ether, which leaves no log, and without ours' own WETH."""
        found: Units = {}
        for log in logs:
            self._add(log, found, {})
        return {key: change for key, change in found.items() if change}

    def _add(self, log: Log, units: Units, indices: dict[str, int]) -> None:
        if not log.topics:
            return
        topic = log.topics[0]
        if log.address in self._scaled:
            self._add_scaled(log, units, indices)
        elif log.address in self._keys and topic == abi.TRANSFERRED.topic and len(log.topics) == 3:
            source, target, amount = abi.TRANSFERRED.read(log.topics, log.data)
            sign = (target.lower() in self._ours) - (source.lower() in self._ours)
            _change(units, self._keys[log.address], sign * amount)
        elif log.address == self._weth and topic in {abi.DEPOSITED.topic, abi.WITHDRAWN.topic}:
            event, sign = (abi.DEPOSITED, 1) if topic == abi.DEPOSITED.topic else (abi.WITHDRAWN, -1)
            holder, amount = event.read(log.topics, log.data)
            if holder.lower() in self._ours:
                _change(units, ETH_KEY, sign * amount)
        elif log.address == self._lido and topic == abi.LIDO_REQUESTED.topic:
            _, _, owner, amount, _ = abi.LIDO_REQUESTED.read(log.topics, log.data)
            if owner.lower() in self._ours:
                _change(units, "lido:BaseToken:ETH", amount)
        elif log.address == self._etherfi and topic == abi.ETHERFI_REQUESTED.topic:
            _, amount, _, owner, _ = abi.ETHERFI_REQUESTED.read(log.topics, log.data)
            if owner.lower() in self._ours:
                _change(units, "etherfi:BaseToken:ETH", amount)

    def _add_scaled(self, log: Log, units: Units, indices: dict[str, int]) -> None:
        """Aave's ScaledBalanceTokenBase: the events carry amounts with the interest since the last action mixed in.

        Mint: value = amount + interest; Burn: value = amount - interest (a Burn smaller than the interest is logged as a
        Mint, whose amount comes out negative here). The scaled change is amount / index, rounded as the contract does.
        """
        key, token = self._scaled[log.address]
        if log.topics[0] == abi.SCALED_MINT.topic:
            _, holder, value, interest, index = abi.SCALED_MINT.read(log.topics, log.data)
            amount = value - interest
        elif log.topics[0] == abi.SCALED_BURN.topic:
            holder, _, value, interest, index = abi.SCALED_BURN.read(log.topics, log.data)
            amount = -(value + interest)
        else:
            # aTokens that move between ours carry interest events above, whose amount is none
            return
        indices[token] = index
        if holder.lower() in self._ours:
            sign = 1 if amount >= 0 else -1
            _change(units, key, sign * ray_div(abs(amount), index))


def _change(units: Units, key: str, amount: int) -> None:
    units[key] = units.get(key, 0) + amount


def decimals_of(key: str) -> int:
    """Decimals of an instrument's smallest unit on chain."""
    symbol = key.rsplit(":", 1)[1]
    for prefix in ("flash", "debt", "a"):
        if symbol.removeprefix(prefix) in TOKEN_DECIMALS and symbol not in TOKEN_DECIMALS:
            symbol = symbol.removeprefix(prefix)
            break
    return TOKEN_DECIMALS[symbol]


def in_tokens(units: Mapping[str, int]) -> dict[str, float]:
    """Changes in tokens, as the rest of the system counts."""
    return {key: to_tokens(amount, decimals_of(key)) for key, amount in units.items()}
