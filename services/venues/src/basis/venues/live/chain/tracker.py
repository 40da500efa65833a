"""From a signed transaction to a proven outcome: broadcast, replace, wait for confirmations, survive reorganisations.

All attempts of an operation were signed beforehand with one nonce, so at most one is ever mined, whoever broadcasts them how
often. What is proven: mined and deep enough; or the nonce is used, deep enough, by a transaction that is none of them.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hexbytes import HexBytes
from pydantic import Field

from basis.models.base import FrozenModel
from basis.venues.live.chain.rpc import COMPONENT
from basis.venues.live.errors import LiveVenueError, ProvedFailure, Retryable, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.chain_config import OnChainConfig
    from basis.venues.live.chain.rpc import Rpc


_HARMLESS = ("already known", "already imported", "nonce too low", "underpriced", "block base fee", "fee cap")
"""What nodes say where a look at the chain says more: it has it, the nonce is used, or its fees are too low for now."""
_RECENT_BLOCKS = 120
"""Blocks whose state every node keeps, archive or not (geth: 128)."""


class SignedAttempt(FrozenModel):
    """One signed transaction of a reference."""

    hash: str
    """Its hash, hex."""
    raw: str
    """The signed transaction, hex; no secret: whoever has it can only make it happen."""
    max_fee: int
    """Most it pays for a unit of gas, wei."""
    tip: int
    """Priority fee for a unit of gas, wei."""


class Reference(FrozenModel):
    """``Prepared.reference`` of an on-chain order: enough to finish it in another process."""

    kind: str = "transaction"
    """Tells it from an exchange's."""
    chain_id: int
    """Chain that it is for."""
    sender: str
    """Wallet."""
    nonce: int
    """The one nonce of all attempts."""
    to: str
    """Contract or receiver."""
    value: str
    """Ether sent along, wei, as text: JSON numbers end at 2**53 for many readers."""
    deadline: int | None
    """Chain time after which it can no longer do anything, seconds; None for a plain transfer."""
    owners: tuple[int, ...]
    """Index of the order that each step of the executor belongs to; empty for a plain transfer."""
    attempts: tuple[SignedAttempt, ...] = Field(min_length=1)
    """In the order in which they are sent."""


class Fate(Enum):
    """What became of a transaction."""

    DONE = auto()
    """Mined and confirmed."""
    REVERTED = auto()
    """Mined and confirmed, without effect but its gas."""
    NEVER = auto()
    """Not there; the same attempts may be sent (again)."""
    GONE = auto()
    """Can never happen any more: its nonce is used, or its deadline has passed."""
    OPEN = auto()
    """Not known yet."""


class Outcome(NamedTuple):
    """A fate with its proof."""

    fate: Fate
    """What became of it."""
    receipt: Mapping[str, Any] | None = None
    """Where it was mined."""
    reason: str = ""
    """Why it is not done."""


class Waiting(Protocol):
    """Patience; the clock of the runtime has it."""

    def monotonic(self) -> float:
        """Seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Tracker:
    """Follows transactions of one wallet.

    Args:
        rpc: the node.
        config: confirmations, polling, fees.
        waiting: patience, in real seconds.
    """

    def __init__(self, rpc: Rpc, config: OnChainConfig, waiting: Waiting) -> None:
        self._rpc, self._config, self._waiting = rpc, config, waiting

    async def send(self, reference: Reference) -> Outcome:
        """Broadcast, replace where it takes too long, and wait; ``OPEN`` after ``confirm_timeout_s``."""
        start = self._waiting.monotonic()
        sent, problem = 0, ""
        while True:
            elapsed = self._waiting.monotonic() - start
            due = 1 + int(elapsed / self._config.fees.bump_after_s)
            try:
                while sent < min(due, len(reference.attempts)):
                    await self._broadcast(reference.attempts[sent])
                    sent += 1
                outcome = await self.look(reference)
                if outcome.fate is Fate.NEVER:  # dropped from the pool: the last attempt once more
                    await self._broadcast(reference.attempts[max(sent - 1, 0)])
                elif outcome.fate is not Fate.OPEN:
                    return outcome
                problem = outcome.reason or problem
            except (Retryable, UnknownOutcome) as error:
                problem = error.message
            except ProvedFailure as error:
                if await self._certainly_not_there(reference, sent):
                    return Outcome(Fate.GONE, reason=error.message)
                problem = error.message
            if self._waiting.monotonic() - start > self._config.confirm_timeout_s:
                return Outcome(Fate.OPEN, reason=problem or "not confirmed yet")
            await self._waiting.sleep(self._config.poll_s)

    async def settle(self, reference: Reference) -> Outcome:
        """Wait, without broadcasting, until it is known; ``OPEN`` after ``confirm_timeout_s``."""
        start = self._waiting.monotonic()
        outcome = Outcome(Fate.OPEN)
        while True:
            try:
                outcome = await self.look(reference)
                if outcome.fate is not Fate.OPEN:
                    return outcome
            except Retryable as error:
                outcome = Outcome(Fate.OPEN, reason=error.message)
            if self._waiting.monotonic() - start > self._config.confirm_timeout_s:
                return outcome
            await self._waiting.sleep(self._config.poll_s)

    async def look(self, reference: Reference) -> Outcome:
        """One look at the chain.

        Raises:
            Retryable: the node did not answer.
        """
        hashes = [attempt.hash for attempt in reference.attempts]
        requests = [("eth_getTransactionReceipt", [one]) for one in hashes]
        requests += [("eth_getTransactionByHash", [one]) for one in hashes]
        *answers, count, head = await self._rpc.batch(
            [
                *requests,
                ("eth_getTransactionCount", [reference.sender, "latest"]),
                ("eth_getBlockByNumber", ["latest", False]),
            ]
        )
        receipts, known = answers[: len(hashes)], answers[len(hashes) :]
        height = int(head["number"], 16)
        mined = next((one for one in receipts if one is not None), None)
        if mined is not None:
            depth = height - int(mined["blockNumber"], 16) + 1
            if depth < self._config.confirmations:
                return Outcome(Fate.OPEN, mined, f"mined, {depth} of {self._config.confirmations} confirmations")
            fate = Fate.DONE if int(mined["status"], 16) == 1 else Fate.REVERTED
            return Outcome(fate, mined)
        if int(count, 16) > reference.nonce:
            return await self._taken(reference, height)
        if reference.deadline is not None and int(head["timestamp"], 16) > reference.deadline:
            return await self._expired(reference, reference.deadline, height)
        if any(one is not None for one in known):
            return Outcome(Fate.OPEN, reason="waits to be mined")
        return Outcome(Fate.NEVER, reason="the node does not know it and its nonce is free")

    async def _expired(self, reference: Reference, deadline: int, height: int) -> Outcome:
        """No block from now on may hold it: proven once the first such block is deep enough, and it is in none before."""
        deep = max(height - self._config.confirmations + 1, 0)
        (block,) = await self._rpc.batch([("eth_getBlockByNumber", [hex(deep), False])])
        if block is None or int(block["timestamp"], 16) <= deadline:
            return Outcome(Fate.OPEN, reason="its deadline passes, not confirmed yet")
        if await self._mined(reference):  # asked before the head was, it was not there
            return Outcome(Fate.OPEN, reason="just mined")
        return Outcome(Fate.GONE, reason="its deadline has passed: it can do nothing any more")

    async def _mined(self, reference: Reference) -> bool:
        receipts = await self._rpc.batch([("eth_getTransactionReceipt", [one.hash]) for one in reference.attempts])
        return any(one is not None for one in receipts)

    async def _taken(self, reference: Reference, height: int) -> Outcome:
        """The nonce is used: by another transaction, which is proven by that transaction itself, in a block that is deep enough.

        A node may count a transaction before it shows its receipt (anvil does for a moment, and so do two nodes behind one
        address): a count and a missing receipt alone would call an order dead that has just been mined.
        """
        unproven = Outcome(Fate.OPEN, reason="its nonce was used by another transaction, not confirmed yet")
        deep = height - self._config.confirmations + 1
        if deep < 0 or await self._count_at(reference.sender, deep) <= reference.nonce:
            return unproven
        low = max(deep - _RECENT_BLOCKS, 0)
        if await self._count_at(reference.sender, low) > reference.nonce:  # long ago: a receipt would be there by now
            if await self._mined(reference):
                return Outcome(Fate.OPEN, reason="just mined")
            return Outcome(Fate.GONE, reason=f"nonce {reference.nonce} was used before block {low}")
        while deep - low > 1:  # the nonce is free at low and used at deep
            middle = (low + deep) // 2
            if await self._count_at(reference.sender, middle) > reference.nonce:
                deep = middle
            else:
                low = middle
        (block,) = await self._rpc.batch([("eth_getBlockByNumber", [hex(deep), True])])
        ours = {attempt.hash.lower() for attempt in reference.attempts}
        for one in block["transactions"] if block else ():
            if one["from"].lower() == reference.sender.lower() and int(one["nonce"], 16) == reference.nonce:
                if one["hash"].lower() in ours:
                    return Outcome(Fate.OPEN, reason="just mined")
                return Outcome(Fate.GONE, reason=f"nonce {reference.nonce} was used by transaction {one['hash']}")
        return unproven

    async def _count_at(self, sender: str, block: int) -> int:
        (count,) = await self._rpc.batch([("eth_getTransactionCount", [sender, hex(block)])])
        return int(count, 16)

    async def _certainly_not_there(self, reference: Reference, sent: int) -> bool:
        """What a node refuses is not there; but what was sent before may be, and be why: then only its nonce proves it."""
        try:
            return (await self.look(reference)).fate in ({Fate.GONE} if sent else {Fate.NEVER, Fate.GONE})
        except LiveVenueError:
            return False

    async def _broadcast(self, attempt: SignedAttempt) -> None:
        """Hand it to the node; that it has it already, or that its nonce is used, is for :meth:`look` to find out.

        Raises:
            ProvedFailure: the node refused it.
            Retryable: no answer; it may have arrived.
        """
        try:
            await self._rpc.ask(self._rpc.w3.eth.send_raw_transaction(HexBytes(attempt.raw)))
        except ProvedFailure as error:
            said = error.message.lower()
            if any(text in said for text in _HARMLESS):
                return
            if "insufficient funds" in said:
                raise ProvedFailure("VEN-008", "the wallet's ether does not pay for value and gas", COMPONENT) from None
            raise
