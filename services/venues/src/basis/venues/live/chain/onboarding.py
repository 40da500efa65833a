"""What a wallet must have done once: deploy its executor, allow its targets, let it move tokens and borrow, set e-mode.

Run by a person (``python -m basis.venues.live.chain.onboarding``), not by a run: it is the only thing that gives permissions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from eth_abi.abi import encode

from basis.models.errors import ComponentError
from basis.runtime.clock import SystemClock
from basis.venues.live.chain import abi, plan
from basis.venues.live.chain.amounts import MAX
from basis.venues.live.chain.rpc import COMPONENT, Read, Rpc
from basis.venues.live.chain.sending import Call, sign
from basis.venues.live.chain.state import read_book, read_state
from basis.venues.live.chain.tracker import Fate, Tracker
from basis.venues.live.errors import Fatal, UnknownOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from basis.models.chain_config import OnChainConfig
    from basis.runtime.clock import Clock
    from basis.venues.live.chain.state import Book
    from basis.venues.live.chain.wallet import Wallet

ARTEFACT: Final = Path(__file__).with_name("contracts") / "AtomicExecutor.json"
"""Compiled by tools/compile_contracts.py with the pinned compiler; a test compiles it again and compares."""
_ENOUGH: Final = 2**128
"""A permission counts while so much of it is left."""


class Permission(NamedTuple):
    """Something that the wallet has to allow once."""

    what: str
    """In words."""
    check: Read
    """Asks whether it is there."""
    call: Call
    """Gives it."""


def permissions(config: OnChainConfig, book: Book, emode: int) -> list[Permission]:
    """Everything that the executor needs of a wallet."""
    return [*_allowed_targets(config, book), *_allowances(book), *_emode(config, book, emode)]


async def missing_permissions(rpc: Rpc, config: OnChainConfig, book: Book, emode: int) -> list[str]:
    """What is not there yet, in words.

    Raises:
        Fatal: CONFIG-003, the executor is none of ours, or belongs to another wallet or pool.
    """
    owner, pool = await rpc.read([Read(book.executor, abi.OWNER), Read(book.executor, abi.POOL)])
    if owner is None or not abi.same(owner, book.owner) or not abi.same(pool, config.aave.pool):
        raise Fatal("CONFIG-003", f"executor: {book.executor} is not this wallet's for this pool", COMPONENT)
    wanted = permissions(config, book, emode)
    answers = await rpc.read([one.check for one in wanted])
    return [one.what for one, answer in zip(wanted, answers, strict=True) if not _given(one, answer)]


async def onboard(config: OnChainConfig, rpc_url: SecretStr, wallet: Wallet, clock: Clock, *, emode: bool) -> str:
    """Deploy the executor where none is configured, and give every permission that is missing.

    Harmless to repeat.

    Returns:
        Address of the executor, for the configuration.

    Raises:
        VenueRefusal: not enough ether, gas above the cap.
        UnknownOutcome: a transaction is not confirmed yet: run it again later.
    """
    rpc = Rpc(rpc_url, config.request_timeout_s)
    try:
        executor = config.executor or await _deploy(rpc, config, wallet, clock)
        book = await read_book(rpc, config, wallet.address, executor)
        for one in permissions(config, book, config.aave.emode_category if emode else 0):
            (answer,) = await rpc.read([one.check])
            if not _given(one, answer):
                await _do(rpc, config, wallet, clock, book, one)
        return executor
    finally:
        await rpc.close()


def artefact() -> Mapping[str, str]:
    """The executor as compiled: bytecode, compiler, hash of its source."""
    return dict(json.loads(ARTEFACT.read_text(encoding="utf-8")))


async def _deploy(rpc: Rpc, config: OnChainConfig, wallet: Wallet, clock: Clock) -> str:
    args = encode(["address", "address", "address"], [wallet.address, config.aave.pool, config.tokens["WETH"]])
    book = await read_book(rpc, config, wallet.address, None)
    state = await read_state(rpc, config, book, clock.now().timestamp())
    call = Call("", artefact()["bytecode"] + args.hex(), 0)
    reference = await sign(rpc, wallet, config, state, call)
    outcome = await Tracker(rpc, config, clock).send(reference)
    if outcome.fate is not Fate.DONE or outcome.receipt is None:
        raise UnknownOutcome("VEN-010", f"deployment {reference.attempts[0].hash}: {outcome.reason}", COMPONENT)
    return abi.checksummed(str(outcome.receipt["contractAddress"]), "executor")


async def _do(rpc: Rpc, config: OnChainConfig, wallet: Wallet, clock: Clock, book: Book, one: Permission) -> None:
    state = await read_state(rpc, config, book, clock.now().timestamp())
    reference = await sign(rpc, wallet, config, state, one.call)
    outcome = await Tracker(rpc, config, clock).send(reference)
    if outcome.fate is not Fate.DONE:
        raise UnknownOutcome("VEN-010", f"{one.what}: {outcome.reason}", COMPONENT)


def _given(one: Permission, answer: object) -> bool:
    if one.check.function == abi.USER_EMODE:
        return answer == int(one.what.rsplit(" ", 1)[1])
    return answer is True or (isinstance(answer, int) and not isinstance(answer, bool) and answer >= _ENOUGH)


def _allowed_targets(config: OnChainConfig, book: Book) -> list[Permission]:
    pool = config.aave.pool
    targets: dict[int, list[str]] = {kind: [pool] for kind in (plan.SUPPLY, plan.BORROW, plan.REPAY, plan.WITHDRAW)}
    targets[plan.PULL] = [*book.tokens.values(), *book.a_tokens.values()]
    if config.uniswap is not None:
        targets[plan.SWAP] = [config.uniswap.router]
    if config.lido is not None:
        targets[plan.STAKE_LIDO] = [config.lido.wrapped]
        targets[plan.UNSTAKE_LIDO] = [config.lido.queue]
    if config.etherfi is not None:
        # eETH is handed on within a step; the wallet gives no allowance for it
        targets[plan.PULL].append(config.etherfi.rebasing)
        targets[plan.STAKE_ETHERFI] = targets[plan.UNSTAKE_ETHERFI] = [config.etherfi.pool]
    if config.flash is not None:
        targets[plan.FLASH_MORPHO if config.flash.kind == "morpho" else plan.FLASH_AAVE] = [config.flash.lender]
    found = []
    for kind, allowed in sorted(targets.items()):
        call = Call(book.executor, abi.ALLOW.data(kind, allowed, True), 0)
        found += [
            Permission(f"executor: step {kind} on {one}", Read(book.executor, abi.ALLOWED, (kind, one)), call)
            for one in allowed
        ]
    return found


def _allowances(book: Book) -> list[Permission]:
    """The executor takes tokens from the wallet and hands them back within a transaction; aTokens to withdraw, debt to borrow."""
    spent = {f"{name}": at for name, at in book.tokens.items()} | {f"a{name}": at for name, at in book.a_tokens.items()}
    found = [
        Permission(
            f"approve {name}",
            Read(at, abi.ALLOWANCE, (book.owner, book.executor)),
            Call(at, abi.APPROVE.data(book.executor, MAX), 0),
        )
        for name, at in spent.items()
    ]
    found += [
        Permission(
            f"approveDelegation debt{name}",
            Read(at, abi.BORROW_ALLOWANCE, (book.owner, book.executor)),
            Call(at, abi.APPROVE_DELEGATION.data(book.executor, MAX), 0),
        )
        for name, at in book.debts.items()
    ]
    return found


def _emode(config: OnChainConfig, book: Book, category: int) -> list[Permission]:
    read = Read(config.aave.pool, abi.USER_EMODE, (book.owner,))
    return [Permission(f"setUserEMode {category}", read, Call(config.aave.pool, abi.SET_EMODE.data(category), 0))]


def main() -> None:
    """Onboard the wallet of the environment; prints the executor's address."""
    from basis.venues.live.chain import factory  # noqa: PLC0415

    parser = argparse.ArgumentParser(description="Deploy the executor and give it its permissions. Harmless to repeat.")
    parser.add_argument("--emode", action="store_true", help="put the account into the configured e-mode")
    emode = parser.parse_args().emode
    try:
        config, node, wallet = factory.onboarding()
        executor = asyncio.run(onboard(config, node, wallet, SystemClock(), emode=emode))
    except ComponentError as error:
        sys.exit(str(error))
    print(f"executor: {executor}")


if __name__ == "__main__":
    main()
