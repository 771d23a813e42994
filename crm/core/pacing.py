"""Loops over much that let the event loop go on in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

T = TypeVar("T")
_SECONDS: Final = 0.005


class Pace:
    """Of one loop: everything else has a turn whenever the loop has gone on for some milliseconds."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def keep(self) -> None:
        """Give others their turn if it is time for that."""
        if time.monotonic() - self._began > _SECONDS:
            await asyncio.sleep(0)
            self._began = time.monotonic()


async def paced(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, in order, at that pace."""
    pace = Pace()
    for item in items:
        yield item
        await pace.keep()
