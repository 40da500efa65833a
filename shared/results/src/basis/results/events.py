"""Events of a run page by page, in causal order, with a filter by type and text; a request reads a bounded part of the log."""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from basis.models.errors import InputError
from basis.models.events import EVENT_MODELS
from basis.results.lines import EventFile, order_of
from basis.results.models import EventLine, EventPage, TypedEventPage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from basis.results.directories import RunDir

MAX_LIMIT: Final = 1_000
"""Events of one page."""
MAX_PAGE_BYTES: Final = 4_000_000
"""A page ends after about so much, however many events were asked for."""
MAX_SCANNED: Final = 1_000_000
"""Lines that one request looks at when it searches for a text; the next page goes on there."""
_COMPONENT = "events"


class _Found(NamedTuple):
    """A line, or a stretch of lines that were looked at for nothing."""

    order: int
    """Order key of the last of them."""
    line: bytes
    """Empty for a stretch."""
    file: EventFile
    looked_at: int


def check_types(types: Sequence[str]) -> tuple[str, ...]:
    """Event types that exist.

    Raises:
        InputError: CONFIG-003, one does not; lists those that do.
    """
    for name in types:
        if name not in EVENT_MODELS:
            raise InputError(
                "CONFIG-003", f"type: no event type {name!r:.80}; there are {', '.join(EVENT_MODELS)}", _COMPONENT
            )
    return tuple(dict.fromkeys(types)) or tuple(EVENT_MODELS)


def page(
    run: RunDir,
    types: Sequence[str] = (),
    text: str = "",
    after: int = -1,
    limit: int = 100,
    max_scanned: int = MAX_SCANNED,
) -> EventPage:
    """Events by order key.

    Args:
        run: directory.
        types: event types; none means all.
        text: what the line on disk must contain, upper and lower case the same; empty means all.
        after: order key after which the page begins.
        limit: most events.
        max_scanned: most lines looked at.

    Raises:
        InputError: CONFIG-003, unknown event type.
        ComponentError: LOG-004, a line is no event.
    """
    wanted = text.encode().lower()
    items: list[EventLine] = []
    scanned, size, last = 0, 0, after
    with ExitStack() as stack:
        files = [stack.enter_context(EventFile(run.event_file(name))) for name in check_types(types)]
        streams = [_searched(file, after + 1, wanted) for file in files]
        for found in heapq.merge(*streams, key=lambda one: one.order):
            if len(items) >= limit or scanned >= max_scanned or size >= MAX_PAGE_BYTES:
                return EventPage(items=items, next=last, scanned=scanned)
            scanned, last = scanned + found.looked_at, found.order
            if found.line:
                size += len(found.line)
                event = found.file.parse(found.line)
                items.append(EventLine(type=found.file.path.stem, order=found.order, event=event))
    return EventPage(items=items, next=None, scanned=scanned)


def typed_page(run: RunDir, event_type: str, text: str = "", after: int = -1, limit: int = 100) -> TypedEventPage:
    """Events of one type by order key; arguments and errors as :func:`page`."""
    found = page(run, [event_type], text, after, limit)
    return TypedEventPage(items=[item.event for item in found.items], next=found.next)


def one(run: RunDir, event_type: str, order: int) -> bytes:
    """An event exactly as on disk, without its newline.

    Raises:
        InputError: CONFIG-003, unknown event type; RUN-001, no such event.
        ComponentError: LOG-004, a line is no event.
    """
    check_types([event_type])
    with EventFile(run.event_file(event_type)) as file:
        for line in file.lines(file.offset_of(order)):
            if order_of(line, file.path) == order:
                return line.rstrip(b"\n")
            break
    raise InputError("RUN-001", f"run {run.correlation_id} has no event {order} of {event_type}", _COMPONENT)


def between(run: RunDir, event_type: str, first: int, end: int) -> Iterator[dict[str, Any]]:
    """Events of one type from an order key up to, but without, another."""
    with EventFile(run.event_file(event_type)) as file:
        for line in file.lines(file.offset_of(first), file.offset_of(end)):
            yield file.parse(line)


def _searched(file: EventFile, order: int, wanted: bytes) -> Iterator[_Found]:
    """Lines from an order key on that hold a text; of a stretch without it only how far it reaches."""
    for block in file.blocks(file.offset_of(order)):
        if wanted and wanted not in block.lower():
            last = block[block.rfind(b"\n", 0, -1) + 1 :]
            yield _Found(order_of(last, file.path), b"", file, block.count(b"\n"))
            continue
        for line in block.splitlines(keepends=True):
            fits = not wanted or wanted in line.lower()
            yield _Found(order_of(line, file.path), line if fits else b"", file, 1)
