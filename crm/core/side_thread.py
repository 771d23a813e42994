"""A thread for Python that computes longer than the event loop may be held.

Python runs one thread at a time, so nothing gets faster by it: the event loop goes on in between.
docs/decisions/0022-what-runs-on-the-event-loop.md says what runs here, what stays on the loop, and what is refused.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class SideThread:
    """Runs one piece of work at a time. Viewers take turns: one with a hundred pieces delays another by one of them."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="side")
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self._is_busy = False

    async def run(self, viewer: Hashable, work: Callable[..., T], *arguments: Any) -> T:
        """What the work returns or raises. Cancelled while it waits, it is never begun."""
        await self._turn(viewer)
        running = asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
        running.add_done_callback(lambda _: self._next())
        return await running

    async def _turn(self, viewer: Hashable) -> None:
        if not self._is_busy:
            self._is_busy = True
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(viewer, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given its turn, and will not take it
                self._next()
            raise

    def _next(self) -> None:
        """Give the turn to the viewer who has waited longest for one; others of theirs wait for the next round."""
        while self._waiting:
            viewer, line = self._waiting.popitem(last=False)
            turn = line.popleft()
            if line:
                self._waiting[viewer] = line
            if not turn.done():
                turn.set_result(None)
                return
        self._is_busy = False
