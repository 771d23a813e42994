"""So many at once, and who takes long keeps nobody from passing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_LONG_SECONDS: Final = 0.5


class Turns:
    """A semaphore whose places come free again after half a second at the latest."""

    def __init__(self, most: int) -> None:
        self._places = asyncio.Semaphore(most)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place, and have it for a while."""
        await self._places.acquire()
        place = _Place(self._places)
        timer = asyncio.get_running_loop().call_later(_LONG_SECONDS, place.leave)
        try:
            yield
        finally:
            timer.cancel()
            place.leave()


class _Place:
    """Left once, whoever does it first."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places

    def leave(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.release()
