"""``basis service NAME``: one service as the main job of a process."""

from __future__ import annotations

import sys

from basis.cli import services
from basis.runtime import bus as subjects
from basis.runtime.settings import Settings


def command(name: str) -> int:
    """Run it; returns the exit code."""
    if name not in subjects.SERVICES:
        print(f"basis: unknown service {name!r}; known: {', '.join(subjects.SERVICES)}", file=sys.stderr)
        return 2
    return services.main_of(name, Settings())
