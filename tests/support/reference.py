"""The real market data and its reference figures: where they are, and the mark of tests that need them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import pytest

from basis.testkit.runs import REPO

DATA: Final = Path(os.environ.get("BASIS_DATA", REPO / ".." / "shared" / "market-data")).resolve()
"""Catalogue of real market data; the project ships none."""
REFERENCE: Final = DATA / "reference.json"
"""Figures that a correct engine must reproduce."""
WINDOWS: Final[dict[str, Any]] = (
    json.loads(REFERENCE.read_text(encoding="utf-8"))["windows"] if REFERENCE.is_file() else {}
)
"""Name of a window -> its figures; empty without the data."""
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_file(), reason=f"no market data with reference.json at {DATA}: set BASIS_DATA"
)
