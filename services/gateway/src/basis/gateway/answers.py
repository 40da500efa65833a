"""Bodies of the HTTP answers that are not models of the system anyway."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from basis.models.base import CorrelationId, FrozenModel, Sha256
from basis.models.messages import RunStatusName

_EXAMPLE_ID = "4f0c7a9e5d2b4c1e8a6f3b2d1c0e9f8a"


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


class Accepted(FrozenModel):
    """A run was accepted."""

    model_config = _example(request_id=_EXAMPLE_ID, correlation_id=_EXAMPLE_ID, status="queued")

    request_id: CorrelationId
    """The same as correlation_id."""
    correlation_id: CorrelationId
    """Run."""
    status: RunStatusName
    """Where it is."""


class Strategy(FrozenModel):
    """A mode in short."""

    model_config = _example(
        mode="pure_lending_usdt",
        description="Supply USDT to Aave v3",
        share_class="USDT",
        asset="USDT",
        venues=["wallet", "aave_v3"],
        position_subscriptions=["wallet:BaseToken:USDT", "aave_v3:aToken:aUSDT"],
        time_step_s=3600,
        target_apy=0.05,
        max_drawdown=0.01,
        default_capital=100000,
    )

    mode: str
    """Name: what a backtest request gives as strategy_name."""
    description: str
    """What it does."""
    share_class: str
    """Currency of the account."""
    asset: str
    """What it is about."""
    venues: tuple[str, ...]
    """Where it acts."""
    position_subscriptions: tuple[str, ...]
    """Instrument keys that it may hold."""
    time_step_s: int
    """Seconds between two ticks."""
    target_apy: float
    """What it aims for, a fraction a year."""
    max_drawdown: float
    """What it must not fall below, a fraction."""
    default_capital: float
    """Initial capital of a backtest where none is given, share class."""


class StrategyConfig(FrozenModel):
    """The merged configuration of a mode, and where each value comes from."""

    mode: str
    """Name."""
    sha256: Sha256
    """SHA-256 of the configuration: runs without overrides carry the same."""
    config: dict[str, JsonValue]
    """Mode, share class and venues merged, defaults filled in."""
    sources: dict[str, str]
    """Dotted path of each value -> file below the configs folder, or ``default``."""


class Health(FrozenModel):
    """The gateway itself."""

    model_config = _example(status="ok", service="gateway", version="0.1.0", nats_connected=True, uptime_s=12.5)

    status: Literal["ok"] = "ok"
    """It answers."""
    service: Literal["gateway"] = "gateway"
    """Who."""
    version: str
    """Version of Basis."""
    nats_connected: bool
    """Whether its connection to NATS is up."""
    uptime_s: float = Field(ge=0)
    """Since its start, seconds."""


class ServiceHealth(FrozenModel):
    """One service, as a NATS round trip found it."""

    ready: bool
    """It answered, and says that it can work."""
    ms: float | None
    """Duration of the round trip, milliseconds; null where no answer came."""
    reason: str | None
    """Why it is not ready."""
    details: dict[str, JsonValue]
    """What it says of itself."""


class DetailedHealth(FrozenModel):
    """Every service."""

    status: Literal["ok", "degraded"]
    """``ok`` where all are ready."""
    services: dict[str, ServiceHealth]
    """By name."""
