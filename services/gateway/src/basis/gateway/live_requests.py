"""What a client asks of paper and live runs, checked as far as it can be without asking anyone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from basis.gateway.live_service import PreparedLive
from basis.gateway.requests import BacktestRequest, parse_time, refuse_own_files
from basis.models.base import FrozenModel
from basis.models.errors import InputError
from basis.models.instruments import CEX_VENUES, Venue
from basis.models.strategy_config import MarketNeutralStrategyConfig
from basis.runtime import config_loader

if TYPE_CHECKING:
    from pathlib import Path

    from basis.models.config import RunConfig

_COMPONENT = "live_service"
_OPERATORS = "live"
"""Section that arms and limits trading: not for clients."""


class LiveRequest(FrozenModel):
    """Body of ``POST /api/v1/live/start``."""

    model_config = ConfigDict(strict=True, defer_build=False)

    strategy_name: str = Field(examples=["btc_basis"])
    """Mode: a file of configs/modes."""
    mode: Literal["paper", "live"] = Field(default="paper", examples=["paper"])
    """``paper``: live market data, simulated venues. ``live``: real orders; must be armed."""
    initial_capital: float | None = Field(default=None, examples=[100000])
    """Capital of a paper run, share class; null = the share class's default. A live run has what its venues hold."""
    end_date: str | None = Field(default=None, examples=["2030-01-01"])
    """Time of the last tick, ISO 8601; null = until it is stopped."""
    config_overrides: dict[str, JsonValue] = Field(default_factory=dict, examples=[{"strategy.gas_reserve": 10}])
    """Dotted path in the merged configuration -> value; nothing of the section ``live``, which is the operator's."""


class EmergencyStopRequest(FrozenModel):
    """Body of ``POST /api/v1/live/{id}/emergency-stop``."""

    model_config = ConfigDict(strict=True, defer_build=False)

    unwind: bool = Field(default=False, examples=[False])
    """True closes all positions before the run ends; false leaves them as they are."""
    reason: str = Field(default="emergency stop on request", max_length=500, examples=["the oracle is wrong"])
    """Why; goes into the log."""


def prepare_live(request: LiveRequest, configs: Path, *, trusted: bool = False) -> PreparedLive:
    """Check a request and merge its configuration; the tick is that of ``live.time_step_s``.

    Args:
        request: what was asked for.
        configs: folder of configurations.
        trusted: True for the operator's own command line: it may set the section ``live`` and sources of signals.

    Raises:
        InputError: CONFIG-00x; names what was wrong, where, and what would be right.
    """
    overrides = dict(request.config_overrides)
    if not trusted:
        refuse_own_files(BacktestRequest(strategy_name=request.strategy_name, config_overrides=overrides))
        for path in overrides:
            if path.split(".")[0] == _OPERATORS:
                message = f"config_overrides: {path} is not for clients: arming and limits are set in configs/"
                raise InputError("CONFIG-003", message, _COMPONENT)
    plain = config_loader.load(configs, request.strategy_name, overrides.items())
    overrides.setdefault("time_step_s", plain.config.live.time_step_s)
    if request.mode == "live":
        overrides |= _in_flight(plain.config) | _real_gas(plain.config)
    merged = config_loader.load(configs, request.strategy_name, overrides.items())
    default = merged.config.share_class.default_capital
    capital = default if request.initial_capital is None else request.initial_capital
    if not (math.isfinite(capital) and capital > 0.0):
        raise InputError("CONFIG-003", f"initial_capital is {capital}, expected a finite number above 0", _COMPONENT)
    return PreparedLive(merged, request.mode, capital, parse_time(request.end_date, "end_date"))


def _real_gas(config: RunConfig) -> dict[str, Any]:
    """A real chain takes ether: modes in ETH keep some out of their entry, others leave some in the wallet beside it."""
    if config.wallet is None:
        return {}
    strategy = config.strategy
    if config.gas_token == "ETH":
        unset = getattr(strategy, "gas_reserve", 0.0) is None
        return {"strategy.gas_reserve": config.live.gas_eth} if unset else {}
    found: dict[str, Any] = {"venues.wallet.gas_price_gwei": 0}  # none in the share class
    if isinstance(strategy, MarketNeutralStrategyConfig) and strategy.gas_float_eth == 0.0:
        found["strategy.gas_float_eth"] = config.live.gas_eth
    return found


def _in_flight(config: RunConfig) -> dict[str, Any]:
    """Real transfers take time: what the mode moves between venues is held in transit meanwhile, and counted once."""
    between = [venue for venue in (Venue.WALLET, *CEX_VENUES) if venue in config.venues]
    if len(between) < 2:
        return {}
    tokens = {key.rpartition(":")[2] for key in config.position_subscriptions if ":BaseToken:" in key}
    transit = [f"transit:BaseToken:{token}" for token in ("USDT", "ETH", "BTC") if token in tokens]
    keys = [*config.position_subscriptions, *(key for key in transit if key not in config.position_subscriptions)]
    delays = {
        f"venues.{venue}.deposit_delay_s": config.live.time_step_s
        for venue in between
        if not getattr(config.venues[venue], "deposit_delay_s", 0)
    }
    return {"position_subscriptions": keys} | delays
