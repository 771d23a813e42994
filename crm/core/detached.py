"""Tasks that nobody awaits."""

import asyncio
from collections.abc import Coroutine
from typing import Any

# The event loop itself holds its tasks weakly.
_tasks: set[asyncio.Task[None]] = set()


def detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start work that goes on without whoever started it."""
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
