"""``basis service NAME``: one service as the main job of a process."""

from __future__ import annotations

import gc
import logging
import sys

import uvloop

from basis.cli import services
from basis.models.errors import ComponentError
from basis.runtime import bus as subjects
from basis.runtime.settings import Settings


def command(name: str) -> int:
    """Run it; returns the exit code."""
    if name not in subjects.SERVICES:
        print(f"basis: unknown service {name!r}; known: {', '.join(subjects.SERVICES)}", file=sys.stderr)
        return 2
    settings = Settings()
    logging.basicConfig(
        level=settings.log_level, format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s", stream=sys.stderr
    )
    gc.freeze()  # what is loaded now stays: the collector need not look at it again
    try:
        uvloop.run(services.serve_until_told(name, settings))
    except ComponentError as error:
        print(f"basis: {error}", file=sys.stderr)
        return 1
    return 0
