"""Room for large things, which their owners share: who finds none waits in line, and none can take all of it."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class SharedRoom:
    """Room of a certain size, of which one owner may take half. What is larger than that takes half."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._share = size // 2
        self._taken: Counter[Hashable] = Counter()
        self._waiting: deque[tuple[Place, asyncio.Future[None]]] = deque()

    async def take(self, owner: Hashable, size: int) -> "Place":
        """Wait for a place, which the caller must `free`."""
        place = Place(self, owner, min(size, self._share))
        ready = asyncio.get_running_loop().create_future()
        self._waiting.append((place, ready))
        self._admit()
        try:
            await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled():  # the place was given, and will not be taken
                place.free()
            raise
        return place

    @asynccontextmanager
    async def taken(self, owner: Hashable, size: int) -> AsyncIterator[None]:
        """Wait for a place, and hold it within the context."""
        place = await self.take(owner, size)
        try:
            yield
        finally:
            place.free()

    def give_back(self, owner: Hashable, size: int) -> None:
        """Give a place back; `Place.free` calls this."""
        self._left += size
        self._taken[owner] -= size
        if not self._taken[owner]:
            del self._taken[owner]
        self._admit()

    def _admit(self) -> None:
        """Give places to those in line, in order, but past owners who have their half."""
        passed: deque[tuple[Place, asyncio.Future[None]]] = deque()
        while self._waiting:
            place, ready = self._waiting.popleft()
            if ready.done():  # it was cancelled
                continue
            if self._taken[place.owner] + place.size > self._share:
                passed.append((place, ready))
            elif place.size > self._left:
                passed.append((place, ready))
                break
            else:
                self._left -= place.size
                self._taken[place.owner] += place.size
                ready.set_result(None)
        self._waiting.extendleft(reversed(passed))


class Place:
    """A place in a room, until it is freed."""

    def __init__(self, room: SharedRoom, owner: Hashable, size: int) -> None:
        self.owner = owner
        self.size = size
        self._room: SharedRoom | None = room

    def free(self) -> None:
        """Free the place, once."""
        room, self._room = self._room, None
        if room is not None:
            room.give_back(self.owner, self.size)
