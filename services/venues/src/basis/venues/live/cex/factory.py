"""Makes live exchanges: the entry-point group ``basis.venues.live``, and their configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from basis.models.errors import InputError
from basis.models.instruments import Venue
from basis.models.live_cex_config import CexLiveConfig
from basis.models.venue_config import CexConfig
from basis.runtime.settings import Settings
from basis.venues.live.cex.clients import Credentials
from basis.venues.live.cex.venue import LiveExchange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from basis.models.config import RunConfig
    from basis.runtime.clock import Clock


def read_config(venue: str, environ: Mapping[str, str] | None = None) -> CexLiveConfig:
    """``$BASIS_LIVE_DIR/<venue>.yaml`` (by default ``configs/live``) where there is one, under the environment.

    ``BASIS_<VENUE>_URL`` and ``BASIS_<VENUE>_TESTNET`` override it.

    Raises:
        InputError: CONFIG-003, the file or a variable is wrong; names it.
    """
    source = os.environ if environ is None else environ
    given: dict[str, object] = {}
    folder = source.get("BASIS_LIVE_DIR")
    path = (Path(folder) if folder else Settings().configs_dir / "live") / f"{venue}.yaml"
    if path.is_file():
        try:
            given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise InputError("CONFIG-003", f"{path} cannot be read: {type(error).__name__}", "live_cex") from None
    prefix = f"BASIS_{venue.upper()}_"
    if url := source.get(f"{prefix}URL"):
        given["base_url"] = url
    if testnet := source.get(f"{prefix}TESTNET"):
        given["testnet"] = testnet
    try:
        return CexLiveConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        message = f"live configuration of {venue} ({path}, environment): {where}: {first['msg']}"
        raise InputError("CONFIG-003", message, "live_cex") from None


def make(venue: str, config: RunConfig, clock: Clock) -> LiveExchange:
    """Factory of the entry-point group ``basis.venues.live``.

    Raises:
        InputError: VEN-005 some credentials are there and some are not; CONFIG-003 the live configuration is wrong.
    """
    found = config.venues.get(Venue(venue))
    markets = found.markets if isinstance(found, CexConfig) else {}
    keys, credentials = config.position_subscriptions, Credentials.read_if_any(venue)
    return LiveExchange(venue, keys, read_config(venue), credentials, clock, markets)
