"""Settings of a process: from ``BASIS_*`` environment variables, each field documented."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def project_folder(name: str) -> Path:
    """``./name`` where it exists, else the folder of that name in the workspace that this file is part of."""
    here = Path(name)
    workspace = Path(__file__).resolve().parents[5] / name
    return here if here.is_dir() or not workspace.is_dir() else workspace


class Settings(BaseSettings):
    """What a process needs to know of its surroundings; nothing of a run."""

    model_config = SettingsConfigDict(env_prefix="BASIS_", extra="ignore", frozen=True)

    nats_url: str = "nats://127.0.0.1:4222"
    """Server or comma-separated servers of the cluster."""
    nats_credentials_file: Path | None = None
    """File with ``user:password`` of this process at the NATS server; None = as the address says, or nobody in particular."""
    nats_ca_file: Path | None = None
    """Certificates, PEM, that the NATS server's must be signed by (``tls://``); None = those that the system trusts."""
    nats_connect_timeout_s: float = Field(default=10.0, gt=0)
    """How long a service waits for NATS at its start before it gives up, seconds."""
    request_timeout_s: float = Field(default=5.0, gt=0)
    """How long one request waits for its reply before it is sent again, seconds."""
    request_patience_s: float = Field(default=60.0, gt=0)
    """How long a request is repeated before the run fails with BUS-002, seconds."""
    logs_dir: Path = Path("logs")
    """Root of the run directories; written by the event-logger alone."""
    data_dir: Path = Path("data/synthetic")
    """Catalogue of market data; read by the venues service alone."""
    cache_dir: Path = Path(".cache/basis/columns")
    """Memory-mapped columns made from the catalogue, by content; safe to delete."""
    results_cache_dir: Path = Path(".cache/basis/results")
    """Curves of sealed runs as Parquet, made from their logs; safe to delete. Written by the gateway and the command line."""
    configs_dir: Path = Field(default_factory=lambda: project_folder("configs"))
    """Folder of modes, venues and share classes; read by the gateway and the command line."""
    gateway_host: str = "127.0.0.1"
    """Address that the HTTP API binds to."""
    gateway_port: int = Field(default=8001, ge=0, le=65_535)
    """Port that the HTTP API binds to; 0 picks a free one."""
    api_keys_file: Path | None = None
    """File with one hashed API key a line, as ``basis keys new`` prints them; None = no keys, or those of ``api_keys``."""
    api_keys: str = ""
    """Hashed API keys in place of a file, separated by newlines or semicolons."""
    gateway_open: bool = False
    """True serves without API keys although the address is not loopback: only where something else keeps strangers out,
    as in docker-compose.yml, whose port is published on 127.0.0.1 alone."""
    gateway_rate_per_s: float = Field(default=200.0, gt=0)
    """Requests a second that one key, or one address without a key, may make in the long run."""
    gateway_burst: int = Field(default=1000, ge=1)
    """Requests that it may make at once after a pause."""
    gateway_connections: int = Field(default=512, ge=1)
    """Connections that are open at once; one more is closed unread."""
    gateway_patience_s: float = Field(default=15.0, gt=0)
    """How long a client may take for its request, and for taking what it is sent, seconds."""
    live_trading: bool = False
    """True arms this process for real orders: the environment's part of arming, read by the venues service alone."""
    clock_file: Path | None = None
    """File that tells the time in place of the machine's clock (``SharedClock``): accelerated runs against local counterparts."""
    health_file: Path | None = None
    """File that the service touches while it can reach NATS; container health checks read its age."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Level of the process's own log on stderr."""
    fsync: bool = False
    """True syncs every batch of the event-logger to disk before it is acknowledged; always on for live runs."""
