"""Bounds on the projected events kept in memory, for all channels together."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from crm.graph.live.event_filter import ProjectedEvent

_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_PRIVATE_BYTES: Final = 32 * 1024 * 1024
# The bytes that a follower holds while it sends them to its client; a single event may be larger.
_PORTION_BYTES: Final = 256 * 1024
# The bytes that an event takes in memory besides its JSON.
_EACH: Final = 256


class EventMemory:
    """Counts the events that channels keep: beyond the limit the oldest are dropped."""

    def __init__(self) -> None:
        self._held = 0
        # By the item's identity: hashing an item would read all of its bytes.
        self._forgetters: OrderedDict[int, Callable[[], object]] = OrderedDict()

    def add(self, item: ProjectedEvent, forget: Callable[[], object]) -> None:
        """Count an item that a channel keeps; `forget` makes the channel drop its oldest item."""
        self._forgetters[id(item)] = forget
        self._held += len(item.json) + _EACH
        while self._held > _MOST_BYTES and len(self._forgetters) > 1:
            next(iter(self._forgetters.values()))()

    def remove(self, item: ProjectedEvent) -> None:
        """Count an item no longer: its channel dropped it."""
        del self._forgetters[id(item)]
        self._held -= len(item.json) + _EACH


class PrivateMemory:
    """Counts the events that followers behind their channel have read for themselves."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def held(self, items: Sequence[ProjectedEvent]) -> Iterator[deque[ProjectedEvent]]:
        """Hold the items while they are sent: all of them, or the first few if other followers hold too many bytes."""
        size = sum(len(item.json) for item in items)
        if self._held + size > _MOST_PRIVATE_BYTES:
            items = first_of(items)
            size = sum(len(item.json) for item in items)
        self._held += size
        pending = deque(items)
        del items
        try:
            yield pending
        finally:
            self._held -= size


def first_of(items: Sequence[ProjectedEvent]) -> Sequence[ProjectedEvent]:
    """The first items, as many as a follower may hold at a time: at least one."""
    size = 0
    for number, item in enumerate(items):
        size += len(item.json)
        if number and size > _PORTION_BYTES:
            return items[:number]
    return items
