"""From what is to be called to a reference: dry run, gas, fees, nonce, signatures. Sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from basis.venues.core.interface import VenueRefusal
from basis.venues.live.chain.amounts import part
from basis.venues.live.chain.rpc import COMPONENT, Reverted
from basis.venues.live.chain.tracker import Reference, SignedAttempt
from basis.venues.live.chain.wallet import Attempt, Fees, fee_ladder
from basis.venues.live.errors import Retryable

if TYPE_CHECKING:
    from basis.models.chain_config import OnChainConfig
    from basis.venues.live.chain.rpc import Rpc
    from basis.venues.live.chain.state import State
    from basis.venues.live.chain.wallet import Wallet

_REASONS: Final = {
    "26": ("VEN-009", "invalid amount"),
    "27": ("VEN-009", "the reserve is inactive"),
    "28": ("VEN-009", "the reserve is frozen"),
    "29": ("VEN-009", "the reserve is paused"),
    "30": ("VEN-009", "borrowing is off"),
    "32": ("VEN-008", "more than is supplied"),
    "34": ("VEN-009", "no collateral to borrow against"),
    "35": ("VEN-009", "health factor would be below 1"),
    "36": ("VEN-009", "debt would exceed the borrow limit"),
    "50": ("VEN-009", "the reserve's borrow cap is reached"),
    "51": ("VEN-009", "the reserve's supply cap is reached"),
    "57": ("VEN-009", "collateral without borrow power is in the way"),
    "60": ("VEN-009", "the asset is not borrowable in this e-mode"),
    "100": ("VEN-009", "the asset is not borrowable in this e-mode"),
    "health factor": ("VEN-009", "health factor would be below what the configuration demands"),
    "too little": ("VEN-009", "a step would bring less than its least"),
    "Too little received": ("VEN-009", "the pool would pay less than the least"),
    "target not allowed": ("VEN-009", "a target is not on the executor's allow-list: onboard the wallet"),
    "not owner": ("VEN-005", "the executor belongs to another wallet"),
}
"""What contracts say -> code and meaning (Aave v3: Errors library)."""


class Call(NamedTuple):
    """A transaction without gas, fees and nonce."""

    to: str
    """Contract or receiver; empty creates a contract."""
    data: str
    """Call data, hex."""
    value: int
    """Ether, wei."""

    def fields(self) -> dict[str, Any]:
        """As a transaction names them."""
        found: dict[str, Any] = {"data": self.data, "value": self.value}
        return found | {"to": self.to} if self.to else found


def gas_reserve(state: State, config: OnChainConfig, steps: int) -> int:
    """Ether that has to stay in the wallet for the gas of a transaction with so many orders, about, wei."""
    highest = fee_ladder(state.block.base_fee, config.fees)[0].highest
    return min(450_000 + 350_000 * steps, 3_000_000) * highest


async def sign(
    rpc: Rpc,
    wallet: Wallet,
    config: OnChainConfig,
    state: State,
    call: Call,
    owners: tuple[int, ...] = (),
    deadline: int | None = None,
) -> Reference:
    """Try a call out against the state of now, and sign it at rising fees.

    Raises:
        VenueRefusal: VEN-013 gas above the cap; VEN-008 not enough ether for value and gas; VEN-009, VEN-012 it would revert.
        Retryable: VEN-010, another transaction of the wallet waits to be mined.
    """
    if state.pending > state.nonce:
        message = f"transaction {state.nonce} of the wallet waits to be mined: resolve or cancel it first"
        raise Retryable("VEN-010", message, COMPONENT)
    ladder = fee_ladder(state.block.base_fee, config.fees)
    await dry_run(rpc, wallet.address, call)
    gas = part(await _estimate(rpc, wallet.address, call), config.fees.gas_margin)
    left = state.native - call.value
    affordable = tuple(fees for fees in ladder if gas * fees.highest <= left)
    if not affordable:
        need, eth = gas * ladder[0].highest, 10**18
        message = f"gas may cost {need / eth:.6f} ETH, but the wallet has {max(left, 0) / eth:.6f} ETH left for it"
        raise VenueRefusal("VEN-008", message, COMPONENT)
    fields = {"chainId": config.chain_id, "nonce": state.nonce, "gas": gas}
    attempts = wallet.sign(fields | call.fields(), affordable)
    return reference_of(config, wallet, state.nonce, call, attempts, owners, deadline)


def reference_of(
    config: OnChainConfig,
    wallet: Wallet,
    nonce: int,
    call: Call,
    attempts: tuple[Attempt, ...],
    owners: tuple[int, ...] = (),
    deadline: int | None = None,
) -> Reference:
    """What is recorded before anything is broadcast."""
    return Reference(
        chain_id=config.chain_id,
        sender=wallet.address,
        nonce=nonce,
        to=call.to,
        value=str(call.value),
        deadline=deadline,
        owners=owners,
        attempts=tuple(
            SignedAttempt(hash=one.digest, raw=one.raw, max_fee=one.fees.highest, tip=one.fees.tip) for one in attempts
        ),
    )


async def dry_run(rpc: Rpc, sender: str, call: Call, block: int | str = "latest") -> bytes:
    """``eth_call`` of a transaction.

    Raises:
        VenueRefusal: it would revert; says why.
    """
    fields = {"from": sender} | call.fields()
    try:
        return await rpc.call(fields, block)
    except Reverted as error:
        raise refusal(error.reason) from None


def refusal(reason: str) -> VenueRefusal:
    """What a contract said, as a refusal of ours."""
    said = reason.removeprefix("execution reverted").strip(": ")
    code, meaning = _REASONS.get(said, ("VEN-012", "the transaction would revert"))
    return VenueRefusal(code, f"{meaning} ({said})" if said else meaning, COMPONENT)


def cancelling(config: OnChainConfig, wallet: Wallet, nonce: int, base_fee: int, above: Fees) -> Reference:
    """An empty transaction with a nonce, to push another out of the node's pool: its fees start above the other's.

    It may pay more than the cap: what is stuck at the cap can be pushed out by nothing cheaper.
    """
    highest = max(round(above.highest * config.fees.bump_factor), 2 * base_fee)
    tip = max(round(above.tip * config.fees.bump_factor), above.tip + 1)
    ladder = [Fees(max(highest, tip), tip)]
    for _ in range(config.fees.bumps):
        last = ladder[-1]
        ladder.append(
            Fees(round(last.highest * config.fees.bump_factor), round(last.tip * config.fees.bump_factor) + 1)
        )
    call = Call(wallet.address, "0x", 0)
    fields = {"chainId": config.chain_id, "nonce": nonce, "gas": 21_000, "to": wallet.address, "value": 0, "data": "0x"}
    return reference_of(config, wallet, nonce, call, wallet.sign(fields, tuple(ladder)))


async def _estimate(rpc: Rpc, sender: str, call: Call) -> int:
    fields: Any = {"from": sender} | call.fields()
    try:
        return int(await rpc.ask(rpc.w3.eth.estimate_gas(fields)))
    except Reverted as error:
        raise refusal(error.reason) from None
