"""anvil and a thin, synchronous client of it: calls, transactions of unlocked accounts, deployments, time, snapshots."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, Self

from eth_abi.abi import decode, encode
from eth_utils.abi import function_abi_to_4byte_selector, get_abi_input_types, get_abi_output_types
from eth_utils.address import to_checksum_address

from basis.runtime.nats_server import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from basis.testkit.chain.install import Artifact, Installation

GENESIS = 1_715_000_000
"""Time of the first block, seconds."""
CHAIN_ID = 31_337
"""The test chain's own: nothing signed for it is worth anything elsewhere."""
_START_TIMEOUT_S = 20.0
_GAS = 16_000_000
"""Gas limit of a set-up transaction: the most that one may have since Osaka."""


class RpcError(RuntimeError):
    """The node refused."""


class Node:
    """One anvil on a free loopback port; runs while the context is open. A block for each transaction, unless told otherwise.

    Args:
        installation: where the program is.
    """

    def __init__(self, installation: Installation) -> None:
        self._binary = installation.anvil
        self._ids = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.accounts: list[str] = []

    @property
    def url(self) -> str:
        """Its JSON-RPC address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        flags = ["--port", str(self.port), "--chain-id", str(CHAIN_ID), "--timestamp", str(GENESIS), "--silent"]
        flags += ["--order", "fifo", "--base-fee", "1000000000"]
        # a node that is killed would leave its states in ~/.foundry
        self._cache = tempfile.TemporaryDirectory(prefix="basis-anvil-")
        flags += ["--cache-path", self._cache.name]
        self._process = subprocess.Popen([str(self._binary), *flags], preexec_fn=die_with_parent)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError):
                self._http = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                self.accounts = [to_checksum_address(one) for one in self.rpc("eth_accounts")]
                self.rpc("anvil_setBlockTimestampInterval", 1)  # its time is its own, not the machine's
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RpcError("anvil did not start")
            time.sleep(0.01)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._cache.cleanup()

    def rpc(self, method: str, *params: object) -> Any:
        """One request.

        Raises:
            RpcError: the node's refusal.
        """
        body = json.dumps({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        try:
            self._http.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = json.loads(self._http.getresponse().read())
        except http.client.HTTPException as error:  # the connection had been idle for too long
            self._http.close()
            raise OSError(str(error)) from error
        if "error" in answer:
            raise RpcError(f"{method}: {answer['error']}")
        return answer["result"]

    # ------------------------------------------------------------------------------------------------ transactions

    def send(self, sender: str, to: str | None, data: str = "0x", value: int = 0) -> Mapping[str, Any]:
        """A transaction of an unlocked account, mined at once; its receipt.

        Raises:
            RpcError: it reverted.
        """
        fields = {"from": sender, "data": data, "value": hex(value), "gas": hex(_GAS)} | ({"to": to} if to else {})
        digest = self.rpc("eth_sendTransaction", fields)
        receipt = self.receipt(digest)
        if receipt["status"] != "0x1":
            self.rpc("eth_call", fields, hex(int(receipt["blockNumber"], 16) - 1))  # raises with the reason
            raise RpcError(f"transaction to {to} reverted")
        return receipt

    def receipt(self, digest: str) -> Mapping[str, Any]:
        """Receipt of a transaction that is being mined."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while (found := self.rpc("eth_getTransactionReceipt", digest)) is None:
            if time.monotonic() > deadline:
                raise RpcError(f"transaction {digest} is not mined")
            time.sleep(0.001)
        return dict(found)

    def deploy(self, artifact: Artifact, *args: object, libraries: Mapping[str, str] | None = None) -> Contract:
        """Deploy a contract with its libraries put in."""
        code = artifact.bytecode
        for library, places in artifact.links.items():
            for place in places:
                address = (libraries or {})[library].removeprefix("0x").lower()
                code = code[: 2 * place] + address + code[2 * place + 40 :]
        constructor = next((one for one in artifact.abi if one["type"] == "constructor"), None)
        types = get_abi_input_types(constructor) if constructor else []  # type: ignore[arg-type]
        owner = self.accounts[0]
        receipt = self.send(owner, None, "0x" + code + encode(types, args).hex())
        return Contract(self, to_checksum_address(receipt["contractAddress"]), artifact.abi, owner)

    # -------------------------------------------------------------------------------------------------- the chain

    @property
    def time(self) -> int:
        """Time of the last block, seconds."""
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    @property
    def height(self) -> int:
        """Number of the last block."""
        return int(self.rpc("eth_blockNumber"), 16)

    def warp(self, seconds: int) -> int:
        """A block so many seconds after the last; its time."""
        self.rpc("evm_setNextBlockTimestamp", self.time + seconds)
        self.rpc("evm_mine")
        return self.time

    def mine(self, blocks: int = 1) -> None:
        """Blocks, a second apart."""
        self.rpc("anvil_mine", hex(blocks), hex(1))

    def fund(self, address: str, wei: int) -> None:
        """Set a balance of native ether."""
        self.rpc("anvil_setBalance", address, hex(wei))

    def balance(self, address: str) -> int:
        """Native ether, wei."""
        return int(self.rpc("eth_getBalance", address, "latest"), 16)

    @contextlib.contextmanager
    def unmined(self) -> Iterator[None]:
        """No block is made until the end, unless asked for."""
        self.rpc("evm_setAutomine", False)
        try:
            yield
        finally:
            self.rpc("evm_setAutomine", True)

    @contextlib.contextmanager
    def as_sender(self, address: str) -> Iterator[str]:
        """Transactions of any address, e.g. of a contract."""
        self.rpc("anvil_impersonateAccount", address)
        try:
            yield address
        finally:
            self.rpc("anvil_stopImpersonatingAccount", address)


class Contract:
    """A contract on a node.

    Args:
        node: the chain.
        address: where it is.
        abi: its interface.
        owner: sender where none is named.
    """

    def __init__(self, node: Node, address: str, abi: list[dict[str, Any]], owner: str) -> None:
        self._node, self.address, self.abi, self._owner = node, address, abi, owner

    def encode(self, name: str, *args: object) -> str:
        """Call data in hex; of overloads the first that takes the arguments."""
        found = self._function(name, len(args))
        return "0x" + function_abi_to_4byte_selector(found).hex() + encode(get_abi_input_types(found), args).hex()

    def call(self, name: str, *args: object) -> Any:
        """What a function answers: a value, or a tuple of several."""
        found = self._function(name, len(args))
        raw = self._node.rpc("eth_call", {"to": self.address, "data": self.encode(name, *args)}, "latest")
        values = decode(get_abi_output_types(found), bytes.fromhex(raw[2:]))
        return values[0] if len(values) == 1 else values

    def send(self, name: str, *args: object, sender: str | None = None, value: int = 0) -> Mapping[str, Any]:
        """A transaction; its receipt."""
        return self._node.send(sender or self._owner, self.address, self.encode(name, *args), value)

    def _function(self, name: str, count: int) -> Any:
        return next(
            one for one in self.abi if one["type"] == "function" and one["name"] == name and len(one["inputs"]) == count
        )
