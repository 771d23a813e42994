"""A limit on concurrent work, in which slow takers do not hold up quick ones."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_LONG_SECONDS: Final = 0.5


class FairSlots:
    """Slots that are freed after half a second at the latest; a taker that took longer before uses separate slots."""

    def __init__(self, most: int) -> None:
        self._quick = asyncio.Semaphore(most)
        self._long = asyncio.Semaphore(most)

    @asynccontextmanager
    async def turn(self, taker: "Taker") -> AsyncIterator[None]:
        """Wait for a slot, and hold it within the context."""
        clock = asyncio.get_running_loop().time
        semaphore = self._long if taker.is_long else self._quick
        await semaphore.acquire()
        began, slot = clock(), _Slot(semaphore)
        timer = None if taker.is_long else asyncio.get_running_loop().call_later(_LONG_SECONDS, slot.leave)
        try:
            yield
        finally:
            taker.is_long = clock() - began >= _LONG_SECONDS
            if timer is not None:
                timer.cancel()
            slot.leave()


class Taker:
    """A taker of turns, and whether its last turn took long."""

    is_long = False


class _Slot:
    """A slot that is freed once: at the end of the turn, or by the timer before."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._semaphore: asyncio.Semaphore | None = places

    def leave(self) -> None:
        places, self._semaphore = self._semaphore, None
        if places is not None:
            places.release()
