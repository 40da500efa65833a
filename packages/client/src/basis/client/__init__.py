"""Basis from Python: submit a run, wait for it, take its result as data frames.

from basis.client import Client

with Client() as client:
    run = client.submit("pure_lending_usdt", start="2022-01-01", end="2022-03-01")
    report = run.wait()
    equity = run.curves("equity", "drawdown")
"""

from basis.client.client import Client
from basis.client.errors import (
    BasisError,
    ConflictError,
    DeniedError,
    NotFoundError,
    Problem,
    RefusedError,
    RunFailedError,
    TooManyRequestsError,
    UnavailableError,
)
from basis.client.run import Run

__all__ = [
    "BasisError",
    "Client",
    "ConflictError",
    "DeniedError",
    "NotFoundError",
    "Problem",
    "RefusedError",
    "Run",
    "RunFailedError",
    "TooManyRequestsError",
    "UnavailableError",
]
