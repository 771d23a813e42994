"""A line for a number of places, in which users take turns: a hundred callers of one delay another by one turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable


class FairLine:
    """The queue of callers that wait for a place, by user."""

    def __init__(self, places: int = 1) -> None:
        self._free = places
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    async def turn(self, user: Hashable) -> None:
        """Wait for a place; the caller must `pass_on` the place afterwards."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn came, and will not be taken
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Give the place to the user who has waited longest; that user's other callers wait for the next round."""
        while self._waiting:
            user, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[user] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
