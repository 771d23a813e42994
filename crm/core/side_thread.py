"""Computations that must not block the event loop: in a thread, or on the loop but one piece of work at a time.

Python runs one thread at a time, so the thread makes nothing faster, but the event loop goes on in between.
docs/decisions/0022-what-runs-on-the-event-loop.md lists the work that runs in each, and the work that is refused.
"""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from crm.core.fair_line import FairLine

T = TypeVar("T")


class SideThread:
    """Runs one piece of work at a time. Viewers take turns: a hundred pieces of one viewer delay another by one."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="side")
        self._long = FairLine()
        self._short = FairLine()

    async def run(self, viewer: Hashable, work: Callable[..., T], *arguments: Any) -> T:
        """Run work in the thread, and return its result. If cancelled while it waits, the work is never begun."""
        await self._long.turn(viewer)
        running = asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
        running.add_done_callback(lambda _: self._long.pass_on())
        try:
            return await running
        finally:
            del running  # its error refers to this frame, which would refer to it: only the collector would free both

    async def run_short(self, viewer: Hashable, work: Callable[..., T], *arguments: Any) -> T:
        """Run work of some milliseconds on the event loop, which a hundred pieces in a row would block too.

        One piece runs in each turn of the loop.
        """
        await self._short.turn(viewer)
        asyncio.get_running_loop().call_soon(self._short.pass_on)
        return work(*arguments)
