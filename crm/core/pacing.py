"""Pacing of long loops, so that the event loop runs other tasks in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

T = TypeVar("T")
_SECONDS: Final = 0.005


class Pace:
    """The pace of one loop: it lets other tasks run whenever it has gone on for some milliseconds."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def keep(self) -> None:
        """Let other tasks run if the loop has gone on for long enough."""
        if time.monotonic() - self._began > _SECONDS:
            await asyncio.sleep(0)
            self._began = time.monotonic()


async def paced(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items in order, letting other tasks run in between."""
    pace = Pace()
    for item in items:
        yield item
        await pace.keep()
