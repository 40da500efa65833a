"""A synthetic catalogue: made-up market data for trying things out, never a statement about a real market."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MARKER = "SYNTHETIC.json"


def is_synthetic(folder: Path) -> bool:
    """True where the catalogue says that a generator made it."""
    return (folder / MARKER).is_file()
