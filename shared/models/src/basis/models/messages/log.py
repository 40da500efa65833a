"""The log of a run: its start, its end, its seal, its removal."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field, JsonValue

from basis.models.base import CorrelationId, FrozenModel, Positive, Sha256
from basis.models.messages.run import RunMode, RunResult


class RunStart(FrozenModel):
    """Engine to event-logger through the event stream: open the run's directory. Becomes ``run_metadata.json``."""

    correlation_id: CorrelationId
    """Run."""
    pid: int = Field(ge=1)
    """Process id of the run's engine at its start."""
    mode: RunMode
    """Kind of the run."""
    strategy: str
    """Name of the mode's configuration."""
    initial_capital: Positive
    """Capital at tick 0, share class."""
    share_class: str
    """Currency of the account."""
    config: dict[str, JsonValue]
    """Merged configuration."""
    config_sha256: Sha256
    """SHA-256 of the configuration as JSON."""
    data_path: str
    """Folder of the catalogue."""
    data_sha256: Sha256
    """SHA-256 over the series that the run reads."""
    data_notes: tuple[str, ...] = ()
    """How data was read where a choice was made, e.g. the interpolation of indices."""
    code_version: str
    """Version of Basis."""
    start_time: AwareDatetime
    """Time of tick 0."""
    end_time: AwareDatetime | None
    """Time of the last tick; None = until it is stopped (paper and live)."""
    started_at: AwareDatetime
    """Wall clock of the start."""


class RunEnd(FrozenModel):
    """Engine to event-logger through the event stream: seal the run."""

    correlation_id: CorrelationId
    """Run."""
    pid: int = Field(ge=1)
    """Process id of the run's engine at its start."""
    status: Literal["completed", "failed", "cancelled"]
    """How it ended."""
    last_tick: int = Field(ge=0)
    """Last committed tick; orders the event-logger's own events."""
    timestamp: AwareDatetime
    """Engine time of the end."""
    ticks: int = Field(ge=0)
    """Ticks committed."""
    counts: dict[str, int]
    """Event type -> events that the run published."""
    error_code: str | None = None
    """Code of the error registry where it failed."""
    error: str | None = None
    """Why it failed."""
    result: RunResult | None = None
    """What it came to; None where it failed before its first tick."""
    ended_at: AwareDatetime
    """Wall clock of the end."""


class FileSeal(FrozenModel):
    """One file of a sealed run."""

    count: int = Field(ge=0)
    """Lines."""
    bytes: int = Field(ge=0)
    """Size."""
    sha256: Sha256
    """SHA-256 of the content."""


class RunMetadata(RunStart):
    """``run_metadata.json``: what a run was and, once sealed, what its files must be."""

    status: Literal["running", "completed", "failed", "cancelled"]
    """How it ended; running until sealed."""
    ended_at: AwareDatetime | None = None
    """Wall clock of the end; None until sealed."""
    ticks: int = Field(default=0, ge=0)
    """Ticks committed."""
    counts: dict[str, int] = Field(default_factory=dict)
    """Event type -> events in its file; empty until sealed."""
    files: dict[str, FileSeal] = Field(default_factory=dict)
    """Path relative to the run's directory -> seal; empty until sealed."""
    event_hash: Sha256 | None = None
    """SHA-256 of the canonical log; None until sealed."""
    result: RunResult | None = None
    """What it came to."""
    error_code: str | None = None
    """Code of the error registry where it failed."""
    error: str | None = None
    """Why it failed."""
    sealed_at: AwareDatetime | None = None
    """Wall clock of the sealing."""
    seal_error: str | None = None
    """What did not add up at the sealing (LOG-005); None where all did."""


class RunSealed(FrozenModel):
    """Event-logger to engine: the run is on disk."""

    correlation_id: CorrelationId
    """Run."""
    log_directory: str
    """Directory of the run, as the event-logger names it."""
    event_hash: Sha256
    """SHA-256 of the canonical log."""
    counts: dict[str, int]
    """Event type -> events in the files."""
    error_code: str | None = None
    """LOG-005 where counts do not match, else None."""
    error: str | None = None
    """What did not add up."""


class RemoveRequest(FrozenModel):
    """Gateway to event-logger: take the directory of a run away."""

    correlation_id: CorrelationId
    """Run."""


class RemoveReply(FrozenModel):
    """Event-logger to gateway, once it is gone."""

    removed: int = Field(ge=0)
    """Directories taken away: 0 where there was none."""
