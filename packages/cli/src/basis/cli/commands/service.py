"""``basis service NAME``: one service as the main job of a process."""

from __future__ import annotations

import os
import sys

from basis.cli.imports import UNUSED, quick_imports


def command(name: str) -> int:
    """Run it; returns the exit code."""
    with quick_imports(_unused(name)):
        from basis.cli import services  # noqa: PLC0415
        from basis.runtime import subjects  # noqa: PLC0415
        from basis.runtime.settings import Settings  # noqa: PLC0415

        if name not in subjects.SERVICES:
            print(f"basis: unknown service {name!r}; known: {', '.join(subjects.SERVICES)}", file=sys.stderr)
            return 2
        services.preload((name,))
    return services.main_of(name, Settings())


def _unused(name: str) -> tuple[str, ...]:
    """A service that is started again holds up its runs for as long as it imports. ccxt and web3 speak HTTP through aiohttp."""
    has_use = name in {"gateway", "venues"} or "ws" in os.environ.get("BASIS_NATS_URL", "").partition(":")[0]
    return () if has_use else UNUSED
