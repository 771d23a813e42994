"""A worker process with types of AI tasks that misbehave, beside the real ones."""

import asyncio
import os
import time
from contextlib import suppress

from crm.ai_tasks.task_types import Failure, TaskInput, TaskRun, TaskType, register
from crm.background import work
from crm.core.settings import Settings
from crm.db.statement import Statement


class NoInput(TaskInput):
    """Nothing."""


async def hang(_: TaskRun, __: NoInput):
    await asyncio.sleep(3600)


async def stubborn(_: TaskRun, __: NoInput):
    """Ignores being cancelled."""
    end = time.monotonic() + float(os.environ.get("STUBBORN_SECONDS", "8"))
    while time.monotonic() < end:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)
    return {"stubborn": True}


async def freeze(_: TaskRun, __: NoInput):
    """Blocks the whole worker for longer than its leases last."""
    time.sleep(4)  # noqa: ASYNC251
    return {"frozen": True}


async def poison(_: TaskRun, __: NoInput):
    os.kill(os.getpid(), 9)


async def broken(_: TaskRun, __: NoInput):
    return {}["nothing"]


async def cut(run: TaskRun, _: NoInput):
    """Waits for PostgreSQL when its connection is cut."""
    async with run.context.database.primary.connection() as connection:
        await connection.execute(Statement("SELECT pg_terminate_backend(pg_backend_pid())"))


async def hopeless(_: TaskRun, __: NoInput):
    message = "It never works."
    raise Failure(message, code="HOPELESS", again=False)


async def unfit(_: TaskRun, __: NoInput):
    return {"what JSON cannot": object()}


async def steps(run: TaskRun, _: NoInput):
    for step in range(1, 21):
        run.progress(step / 20)
        await asyncio.sleep(0.1)
    return {"steps": 20}


KINDS = [
    TaskType(one.__name__, "A test's.", NoInput, one) for one in (hang, stubborn, freeze, poison, broken, cut, hopeless)
]
KINDS += [TaskType(one.__name__, "A test's.", NoInput, one) for one in (unfit, steps)]


if __name__ == "__main__":
    register(*KINDS)
    work(Settings())
