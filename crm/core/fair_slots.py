"""So many at once, and who takes long keeps nobody from passing who is quick."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_LONG_SECONDS: Final = 0.5


class FairSlots:
    """Places that come free again after half a second at the latest; who took longer before has others, to the end."""

    def __init__(self, most: int) -> None:
        self._quick = asyncio.Semaphore(most)
        self._long = asyncio.Semaphore(most)

    @asynccontextmanager
    async def turn(self, who: "Taker") -> AsyncIterator[None]:
        """Wait for a place, and have it for a while."""
        clock = asyncio.get_running_loop().time
        places = self._long if who.is_long else self._quick
        await places.acquire()
        began, place = clock(), _Place(places)
        timer = None if who.is_long else asyncio.get_running_loop().call_later(_LONG_SECONDS, place.leave)
        try:
            yield
        finally:
            who.is_long = clock() - began >= _LONG_SECONDS
            if timer is not None:
                timer.cancel()
            place.leave()


class Taker:
    """Somebody who takes turns, and whether the last one took long."""

    is_long = False


class _Place:
    """Left once, whoever does it first."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places

    def leave(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.release()
