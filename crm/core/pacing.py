"""Loops over many records that let the event loop go on in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

T = TypeVar("T")
_SECONDS: Final = 0.005


async def paced(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, in order; whenever they have taken some milliseconds, everything else has a turn first."""
    turn = time.monotonic()
    for item in items:
        yield item
        if time.monotonic() - turn > _SECONDS:
            await asyncio.sleep(0)
            turn = time.monotonic()
