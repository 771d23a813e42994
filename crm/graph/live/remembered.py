"""How much of the events that were read is kept in memory, in all channels together."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from crm.graph.live.event_filter import ProjectedEvent

_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_PRIVATE_BYTES: Final = 32 * 1024 * 1024
# What a follower holds at a time, while its client takes it: so much, or one event.
_PORTION_BYTES: Final = 256 * 1024
# What an event takes besides its bytes.
_EACH: Final = 256


class Remembered:
    """The events that channels remember: the oldest are forgotten where they are too much."""

    def __init__(self) -> None:
        self._held = 0
        # By the item's identity: to hash an item would read all of its bytes.
        self._forgetters: OrderedDict[int, Callable[[], object]] = OrderedDict()

    def add(self, item: ProjectedEvent, forget: Callable[[], object]) -> None:
        """An item is remembered; `forget` forgets the oldest one of its channel."""
        self._forgetters[id(item)] = forget
        self._held += len(item.json) + _EACH
        while self._held > _MOST_BYTES and len(self._forgetters) > 1:
            next(iter(self._forgetters.values()))()

    def remove(self, item: ProjectedEvent) -> None:
        """An item was forgotten."""
        del self._forgetters[id(item)]
        self._held -= len(item.json) + _EACH


class Private:
    """The events that followers who are behind have read for themselves."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def held(self, items: Sequence[ProjectedEvent]) -> Iterator[deque[ProjectedEvent]]:
        """All of the items, for as long as it takes to send them; some, where others hold too much already."""
        size = sum(len(item.json) for item in items)
        if self._held + size > _MOST_PRIVATE_BYTES:
            items = first_of(items)
            size = sum(len(item.json) for item in items)
        self._held += size
        found = deque(items)
        del items
        try:
            yield found
        finally:
            self._held -= size


def first_of(items: Sequence[ProjectedEvent]) -> Sequence[ProjectedEvent]:
    """As many as a follower holds at a time: at least one."""
    size = 0
    for number, item in enumerate(items):
        size += len(item.json)
        if number and size > _PORTION_BYTES:
            return items[:number]
    return items
