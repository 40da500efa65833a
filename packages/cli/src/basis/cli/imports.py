"""Starting quickly: what libraries import where they find it, and we have no use for, is not there while they load."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNUSED = ("aiohttp",)
"""nats-py takes it for WebSockets; it takes longer to load than NumPy."""


@contextmanager
def quick_imports(unused: Sequence[str]) -> Iterator[None]:
    """A third of the start-up time: no collection of what stays anyway, and nothing that is of no use."""
    absent = [name for name in unused if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        for name in absent:
            del sys.modules[name]
