"""What all tests share: hypothesis without deadlines (no timing is asserted), and ``tests.support`` importable."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
settings.register_profile(
    "basis",
    deadline=None,
    # conformance suites are inherited: one @given runs for several classes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
    print_blob=True,
)
settings.load_profile("basis")
