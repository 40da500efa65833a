"""What all tests share: hypothesis without deadlines (no timing is asserted), and ``tests.support`` importable."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
settings.register_profile("basis", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("basis")
