"""The on-chain venue of a run: addresses from a file, secrets from the environment or files that it names, never from the run.

| variable | what |
|---|---|
| ``BASIS_CHAIN_CONFIG`` | YAML of an ``OnChainConfig``; default ``configs/live/ethereum.yaml`` |
| ``BASIS_RPC_URL`` or ``BASIS_RPC_URL_FILE`` | JSON-RPC address of a node |
| ``BASIS_WALLET_KEY`` or ``BASIS_WALLET_KEY_FILE`` | private key of the wallet, hex |
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import yaml
from pydantic import SecretStr, ValidationError

from basis.models.chain_config import OnChainConfig
from basis.models.errors import ComponentError
from basis.models.instruments import Venue
from basis.models.venue_config import AaveConfig
from basis.runtime.settings import Settings
from basis.venues.live.chain.rpc import COMPONENT
from basis.venues.live.chain.venue import ChainVenue
from basis.venues.live.chain.wallet import Wallet

if TYPE_CHECKING:
    from basis.models.config import RunConfig
    from basis.runtime.clock import Clock

_OPEN: Final[WeakValueDictionary[tuple[object, ...], ChainVenue]] = WeakValueDictionary()


def make(venue: str, config: RunConfig, clock: Clock) -> ChainVenue:
    """The venue of a run; the same object for every on-chain venue of it.

    Raises:
        ComponentError: VEN-005, no key or no node is configured; CONFIG-003, the addresses are not right.
    """
    del venue
    aave = config.venues.get(Venue.AAVE_V3)
    emode = isinstance(aave, AaveConfig) and aave.emode is not None
    holds = frozenset(config.position_subscriptions)
    key = (id(clock), emode, holds, os.environ.get("BASIS_CHAIN_CONFIG"), os.environ.get("BASIS_RPC_URL"))
    found = _OPEN.get(key)
    if found is None:
        addresses = load_addresses()
        node, secret = _secret("BASIS_RPC_URL"), _secret("BASIS_WALLET_KEY")
        found = _OPEN[key] = ChainVenue(addresses, node, secret, clock, emode=emode, holds=holds)
    return found


def onboarding() -> tuple[OnChainConfig, SecretStr, Wallet]:
    """What the environment says, for :mod:`basis.venues.live.chain.onboarding`.

    Raises:
        ComponentError: as :func:`make`.
    """
    return load_addresses(), _secret("BASIS_RPC_URL"), Wallet(_secret("BASIS_WALLET_KEY"))


def load_addresses(path: Path | None = None) -> OnChainConfig:
    """Addresses and limits.

    Raises:
        ComponentError: CONFIG-003, the file is missing or not right; names what.
    """
    default = Settings().configs_dir / "live" / "ethereum.yaml"
    path = path or Path(os.environ.get("BASIS_CHAIN_CONFIG") or default)
    try:
        return OnChainConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ComponentError("CONFIG-003", f"{path}: {error}", COMPONENT) from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ComponentError("CONFIG-003", f"{path}: {where}: {first['msg']}", COMPONENT) from None


def _secret(name: str) -> SecretStr:
    """A secret from the environment, or from the file that ``<name>_FILE`` names."""
    value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if value is None and path is not None:
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ComponentError("VEN-005", f"{name}_FILE: {path}: {error.strerror}", COMPONENT) from None
    if not value:
        raise ComponentError("VEN-005", f"neither {name} nor {name}_FILE is set", COMPONENT)
    return SecretStr(value)
