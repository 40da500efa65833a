"""The node behind web3's async provider: batched reads at one block, and every way to fail named by an error of ours.

The address of an RPC service holds its key: it is in no message of ours, and what a library says of it is cut out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from aiohttp import ClientConnectorError, ClientError, ClientResponseError, ClientSession, TCPConnector
from eth_abi.exceptions import DecodingError
from hexbytes import HexBytes
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import (
    ContractLogicError,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.types import RPCEndpoint

from basis.venues.live.errors import LiveVenueError, ProvedFailure, Retryable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from pydantic import SecretStr

    from basis.venues.live.chain.abi import Function

T = TypeVar("T")
COMPONENT = "ethereum"
_SILENT = logging.CRITICAL + 1
_KEPT_S = 5.0
"""How long an idle connection is kept: less than services do, so that none is used that the other end has just closed."""
_BATCH = 100
"""Reads in one request; services refuse much larger ones."""


class Reverted(ProvedFailure):
    """The EVM said no; ``reason`` is what the contract said."""

    def __init__(self, reason: str) -> None:
        super().__init__("VEN-012", f"the transaction would revert: {reason}", COMPONENT)
        self.reason = reason


class Read(NamedTuple):
    """One view call."""

    to: str
    """Contract."""
    function: Function
    """What is asked."""
    args: tuple[object, ...] = ()
    """With what."""


class Block(NamedTuple):
    """A block, as far as it matters."""

    number: int
    """Height."""
    timestamp: int
    """Seconds."""
    base_fee: int
    """Wei a unit of gas."""
    digest: str
    """Hash."""


class Rpc:
    """A node.

    Args:
        url: address of its JSON-RPC, http or https; a secret, for it may hold a key.
        timeout_s: how long one request may take.
    """

    def __init__(self, url: SecretStr, timeout_s: float) -> None:
        self._url = url
        logging.getLogger("web3").setLevel(_SILENT)  # it logs the address, at INFO when a connection is closed
        provider = AsyncHTTPProvider(
            url.get_secret_value(), request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None
        )
        self.w3 = AsyncWeb3(provider)
        self._provider = provider
        self._session: ClientSession | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return "Rpc(<address withheld>)"

    async def close(self) -> None:
        """Let go of connections."""
        await self._provider.disconnect()
        self._session = None

    async def _connect(self) -> None:
        """web3's own session shakes hands anew for every request: one that keeps its connection for a while instead."""
        async with self._opening:
            if self._session is None:
                mine = ClientSession(raise_for_status=True, connector=TCPConnector(keepalive_timeout=_KEPT_S))
                self._session = await self._provider.cache_async_session(mine)

    async def ask(self, question: Awaitable[T]) -> T:
        """Await a request; its failures become ours.

        Raises:
            Reverted: a call that the EVM refused.
            Retryable: VEN-002 no answer in time, VEN-003 no connection or an answer that is none, VEN-006 too many requests.
        """
        if self._session is None:
            await self._connect()
        try:
            return await question
        except ContractLogicError as error:
            raise Reverted(self._clean(error.message or str(error))) from None
        except TransactionNotFound:
            raise
        except TimeoutError:
            raise Retryable("VEN-002", "the node did not answer in time", COMPONENT) from None
        except ClientConnectorError:
            raise Retryable("VEN-003", "the node cannot be reached", COMPONENT) from None
        except ClientResponseError as error:
            code = "VEN-006" if error.status == 429 else "VEN-003"
            raise Retryable(code, f"the node answered HTTP {error.status}", COMPONENT) from None
        except Web3RPCError as error:
            raise self._refusal(error) from None
        except (ClientError, OSError, ValueError, DecodingError, Web3Exception) as error:
            message = f"the node's answer is no answer: {type(error).__name__}: {self._clean(str(error))}"
            raise Retryable("VEN-003", message, COMPONENT) from None

    async def call(self, fields: Mapping[str, Any], block: int | str = "latest") -> bytes:
        """``eth_call``."""
        return bytes(await self.ask(self.w3.eth.call(dict(fields), block)))  # type: ignore[arg-type]

    async def read(self, reads: Sequence[Read], block: int | str = "latest") -> list[Any]:
        """Answers of view calls, all at one block, in as few requests as may be; None where a call reverted."""
        where = hex(block) if isinstance(block, int) else block
        requests = [
            (RPCEndpoint("eth_call"), [{"to": one.to, "data": one.function.data(*one.args)}, where]) for one in reads
        ]
        replies = await self._batch(requests)
        return [self._answer(one, reply) for one, reply in zip(reads, replies, strict=True)]

    async def batch(self, requests: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Results of several requests in one; None where one has none.

        Raises:
            Retryable: one of them failed.
        """
        replies = await self._batch([(RPCEndpoint(method), params) for method, params in requests])
        for (method, _), reply in zip(requests, replies, strict=True):
            if "error" in reply:
                raise Retryable("VEN-003", f"{method}: {self._clean(str(reply['error']))}", COMPONENT)
        return [reply.get("result") for reply in replies]

    async def block(self, number: int | str = "latest") -> Block:
        """A block."""
        return (await self.blocks([number]))[0]

    async def blocks(self, numbers: Sequence[int | str]) -> list[Block]:
        """Several, in one request.

        Raises:
            Retryable: the node does not have one of them.
        """
        wanted = [hex(one) if isinstance(one, int) else one for one in numbers]
        rows = await self.batch([("eth_getBlockByNumber", [one, False]) for one in wanted])
        if None in rows:
            raise Retryable("VEN-003", f"the node has no block {wanted[rows.index(None)]}", COMPONENT)
        return [
            Block(int(row["number"], 16), int(row["timestamp"], 16), int(row["baseFeePerGas"], 16), row["hash"])
            for row in rows
        ]

    async def _batch(self, requests: Sequence[tuple[RPCEndpoint, Any]]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(requests), _BATCH):
            asked = list(requests[start : start + _BATCH])
            replies = await self.ask(self._provider.make_batch_request(asked))
            if not isinstance(replies, list) or len(replies) != len(asked):
                message = f"the node refused a batch of {len(asked)}: {self._clean(str(replies))}"
                raise Retryable("VEN-003", message, COMPONENT)
            found += replies
        return found

    def _answer(self, read: Read, reply: Mapping[str, Any]) -> Any:
        if "error" in reply:
            said = str(reply["error"]).lower().replace(" ", "")
            if "revert" in said or "outofgas" in said:  # a quote for more than all that a pool has runs out of gas
                return None
            raise Retryable("VEN-003", f"{read.function.name}: {self._clean(str(reply['error']))}", COMPONENT)
        raw = bytes(HexBytes(reply["result"]))
        if not raw:
            return None
        try:
            return read.function.read(raw)
        except DecodingError:
            raise Retryable(
                "VEN-003", f"{read.function.name} at {read.to}: not its kind of answer", COMPONENT
            ) from None

    def _refusal(self, error: Web3RPCError) -> LiveVenueError:
        said = self._clean(str(error.message or error))
        if "429" in said or "rate limit" in said.lower():
            return Retryable("VEN-006", said, COMPONENT)
        if "revert" in said.lower():
            return Reverted(said)
        return ProvedFailure("VEN-009", said, COMPONENT)

    def _clean(self, text: str) -> str:
        """What a library said, without the node's address; not too long."""
        secret = self._url.get_secret_value()
        for piece in (secret, secret.split("://", 1)[-1]):
            text = text.replace(piece, "<node>")
        return text[:500]
