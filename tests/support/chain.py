"""The test chain: one node a worker, set back for every test; a wallet that is onboarded; a clock that is the chain's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from eth_utils.crypto import keccak
from pydantic import SecretStr

from basis.models.chain_config import OnChainConfig
from basis.models.venue_config import AaveConfig
from basis.runtime.clock import SystemClock
from basis.testkit.chain.aave import WAD
from basis.testkit.chain.install import ensure
from basis.testkit.chain.world import World, describe, running_world
from basis.venues.live.chain.onboarding import onboard
from basis.venues.live.chain.tracker import Reference
from basis.venues.live.chain.venue import ChainVenue
from basis.venues.live.chain.wallet import Wallet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from basis.models.execution import ExecutionHandshake
    from basis.models.order import Order
    from basis.runtime.clock import Clock
    from basis.venues.live.interface import Prepared

Opened = Callable[..., Awaitable[ChainVenue]]
"""Opens a live venue with changes to the configuration."""
KEY = keccak(text="the wallet of the basis tests").hex()
"""Private key of the wallet; worth nothing anywhere."""
ETHER = 100
"""Native ether of the wallet before every test."""
_CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def aave_terms() -> AaveConfig:
    """The reserves of configs/venues/aave_v3.yaml."""
    return AaveConfig.model_validate(yaml.safe_load((_CONFIGS / "venues" / "aave_v3.yaml").read_text(encoding="utf-8")))


class ChainClock(SystemClock):
    """Wall clock: the chain's last block; patience: the machine's."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        """Time of the last block."""
        return datetime.fromtimestamp(self._world.node.time, UTC)


class Account:
    """A wallet on the test chain.

    Args:
        world: the chain.
        key: its private key, hex.
    """

    def __init__(self, world: World, key: str = KEY) -> None:
        self.world, self.node = world, world.node
        self.key = SecretStr(key)
        self.wallet = Wallet(self.key)
        self.address = self.wallet.address
        self.clock = ChainClock(world)
        self.exchange = self.node.accounts[7]
        self.client = self.node.accounts[8]
        fields = {
            "confirmations": 1,
            "poll_s": 0.005,
            "confirm_timeout_s": 20.0,
            "request_timeout_s": 20.0,
            "max_block_age_s": 3600,
            "destinations": {"binance": self.exchange, "client": self.client},
        }
        self.config = OnChainConfig.model_validate(describe(world) | fields)

    def onboard(self, **changes: Any) -> None:
        """Deploy the executor and give it all permissions, e-mode on."""
        self.node.fund(self.address, ETHER * WAD)
        self.config = self.changed(**changes)
        executor = asyncio.run(onboard(self.config, SecretStr(self.node.url), self.wallet, self.clock, emode=True))
        self.config = self.changed(executor=executor)
        self.node.fund(self.address, ETHER * WAD)

    def changed(self, **changes: Any) -> OnChainConfig:
        """The configuration with other values."""
        return OnChainConfig.model_validate(self.config.model_dump() | changes)

    def venue(
        self,
        url: str | None = None,
        *,
        emode: bool = True,
        holds: frozenset[str] | None = None,
        clock: Clock | None = None,
        **changes: Any,
    ) -> ChainVenue:
        """The live venue, not open yet."""
        node = SecretStr(url or self.node.url)
        return ChainVenue(self.changed(**changes), node, self.key, clock or self.clock, emode=emode, holds=holds)

    def secrets(self) -> tuple[SecretStr, SecretStr]:
        """Address of the node, key of the wallet."""
        return SecretStr(self.node.url), self.key

    def units(self, token: str) -> int:
        """Balance of the wallet."""
        return self.world.units(token, self.address)

    def everything(self) -> dict[str, int]:
        """Every balance of the wallet and the executor, scaled on Aave, ether apart."""
        world = self.world
        found: dict[str, int] = {}
        for holder in (self.address, self.config.executor or self.address):
            found |= {f"{token}@{holder}": world.units(token, holder) for token in world.tokens}
            for token in ("USDT", "WETH", "weETH", "wstETH"):
                found[f"a{token}@{holder}"] = world.a_token(token).call("scaledBalanceOf", holder)
                found[f"debt{token}@{holder}"] = world.debt_token(token).call("scaledBalanceOf", holder)
        return found


@contextlib.contextmanager
def impatient(venue: ChainVenue, confirm_s: float = 0.6) -> Iterator[None]:
    """Silence is soon taken for what it is. Only around calls that meet it: a loaded machine must not look like a silent one."""
    kwargs: Any = venue._rpc._provider._request_kwargs
    tracker = venue._tracker
    before = dict(kwargs), tracker._config
    kwargs["timeout"] = 0.3
    tracker._config = tracker._config.model_copy(update={"confirm_timeout_s": confirm_s})
    try:
        yield
    finally:
        kwargs.update(before[0])
        tracker._config = before[1]


def begin(account: Account) -> datetime:
    """When a run on the chain may begin: a minute after its last block."""
    return datetime.fromtimestamp(account.node.time + 60, UTC)


async def execute(venue: ChainVenue, *orders: Order) -> tuple[ExecutionHandshake, ...]:
    """Prepare and send."""
    return await venue.send(orders, await venue.prepare(orders))


def reference(prepared: Prepared) -> Reference:
    """The reference of something prepared."""
    return Reference.model_validate(prepared.reference)


@contextlib.contextmanager
def chain_of_tests() -> Iterator[Account]:
    """The chain with an onboarded wallet, saved.

    Raises:
        ChainUnavailable: it cannot be set up here.
    """
    with running_world(ensure(), aave_terms()) as world:
        account = Account(world)
        account.onboard()
        world.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        world.set_prices(3000.0)
        world.save()
        yield account
