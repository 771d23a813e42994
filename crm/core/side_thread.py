"""Where Python computes that the event loop must not be held by: in a thread, or on the loop but one piece at a time.

Python runs one thread at a time, so nothing gets faster by the thread: the event loop goes on in between.
docs/decisions/0022-what-runs-on-the-event-loop.md says what runs where, and what is refused.
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
        self._long = _Line()
        self._short = _Line()

    async def run(self, viewer: Hashable, work: Callable[..., T], *arguments: Any) -> T:
        """What the work returns or raises. Cancelled while it waits, it is never begun."""
        await self._long.turn(viewer)
        running = asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
        running.add_done_callback(lambda _: self._long.pass_on())
        return await running

    async def run_short(self, viewer: Hashable, work: Callable[..., T], *arguments: Any) -> T:
        """The same for work of some milliseconds, on the event loop: there a hundred pieces at once would be long too.

        Each time that the loop comes round, one of them is done.
        """
        await self._short.turn(viewer)
        asyncio.get_running_loop().call_soon(self._short.pass_on)
        return work(*arguments)


class _Line:
    """Those who wait for a turn, by viewer."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self._is_taken = False

    async def turn(self, viewer: Hashable) -> None:
        """Wait for a turn; whoever got it passes it on."""
        if not self._is_taken:
            self._is_taken = True
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(viewer, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn came, and will not be taken
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Give the turn to the viewer who has waited longest for one; others of theirs wait for the next round."""
        while self._waiting:
            viewer, line = self._waiting.popitem(last=False)
            turn = line.popleft()
            if line:
                self._waiting[viewer] = line
            if not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
