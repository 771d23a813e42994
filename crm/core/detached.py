"""Tasks that nobody awaits where they are started."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final


class KeptTasks(set[asyncio.Task[Any]]):
    """Tasks under way. The event loop itself holds its tasks weakly."""

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start work, and hold its task until it ends."""
        return self.keep(asyncio.create_task(work))

    def keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        """Hold a task until it ends."""
        self.add(task)
        task.add_done_callback(self.discard)
        return task


_detached: Final = KeptTasks()


def detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start work that goes on without whoever started it."""
    return _detached.start(work)
