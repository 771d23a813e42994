"""A limit on concurrent work, in which slow takers do not hold up quick ones, nor one user's takers another's."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

from crm.core.fair_line import FairLine

_LONG_SECONDS: Final = 0.5


class FairSlots:
    """Slots that are freed after half a second at the latest; a taker that took longer before uses separate slots."""

    def __init__(self, most: int) -> None:
        self._quick = FairLine(most)
        self._long = FairLine(most)

    @asynccontextmanager
    async def turn(self, taker: "Taker") -> AsyncIterator[None]:
        """Wait for a slot, and hold it within the context."""
        clock = asyncio.get_running_loop().time
        line = self._long if taker.is_long else self._quick
        await line.turn(taker.user)
        began, slot = clock(), _Slot(line)
        timer = None if taker.is_long else asyncio.get_running_loop().call_later(_LONG_SECONDS, slot.leave)
        try:
            yield
        finally:
            taker.is_long = clock() - began >= _LONG_SECONDS
            if timer is not None:
                timer.cancel()
            slot.leave()


class Taker:
    """A taker of turns for a user, and whether its last turn took long."""

    def __init__(self, user: Hashable) -> None:
        self.user = user
        self.is_long = False


class _Slot:
    """A slot that is freed once: at the end of the turn, or by the timer before."""

    def __init__(self, line: FairLine) -> None:
        self._line: FairLine | None = line

    def leave(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.pass_on()
