"""Probes of a server that leaves a statement without an answer: it may be slow, or frozen for good."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import psycopg

from crm.core import errors
from crm.db.statement import Statement

if TYPE_CHECKING:
    from crm.db.pool import Pool

_AGAIN_SECONDS: Final = 1.0
_ALIVE: Final = Statement("SELECT 1")


class Liveness:
    """Probes a server when its pool is in doubt, and abandons its connections if it does not answer."""

    def __init__(self, pool: "Pool", seconds: float, on_silence: Callable[[], None]) -> None:
        self._pool = pool
        self._seconds = seconds
        self._on_silence = on_silence
        self._asking: asyncio.Task[None] | None = None
        pool.on_doubt = self._ask

    def close(self) -> None:
        """Stop probing."""
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        if not await self._answers():
            self._on_silence()
            self._pool.lose_all()
        await asyncio.sleep(_AGAIN_SECONDS)

    async def _answers(self) -> bool:
        """Whether the server answers in time; an error is an answer too."""
        try:
            async with asyncio.timeout(self._seconds), self._pool.spare() as connection:
                await connection.execute(_ALIVE)
        except TimeoutError:
            return False
        except (psycopg.Error, errors.CrmError, OSError):
            return True
        return True
