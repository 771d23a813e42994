"""An answer shared by all requests within a second: a flood of requests is one read a second."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_SECONDS: Final = 1.0


class Recent(Generic[T]):
    """The latest result of a read, which is repeated on request once it is a second old."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._reading: asyncio.Task[T] | None = None
        self._expires = 0.0

    async def get(self) -> T:
        """The latest result, or that of the read under way, which goes on if its first caller is cancelled."""
        if self._reading is None or (self._reading.done() and asyncio.get_running_loop().time() >= self._expires):
            self._reading = asyncio.create_task(self._again())
        return await asyncio.shield(self._reading)

    async def _again(self) -> T:
        try:
            return await self._read()
        finally:
            self._expires = asyncio.get_running_loop().time() + _SECONDS
