"""A worker process whose `echo` does what its message says, and keeps a journal of it in a file.

`{"do": "note", "seconds": 0.5}`: the message of a task. Everything else about the worker is the product's.
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from crm.ai_tasks.builtin_types import EchoInput
from crm.ai_tasks.task_types import TASK_TYPES, TaskRun, TaskType, register
from crm.background import work
from crm.core.settings import Settings


def note(run: TaskRun, what: str) -> None:
    """One line, whole or not at all, that outlives the process."""
    line = json.dumps({"task": str(run.task_id), "attempt": run.attempt, "what": what, "process": os.getpid()})
    with open(os.environ["FAULT_JOURNAL"], "ab", buffering=0) as journal:  # noqa: PTH123
        journal.write(line.encode() + b"\n")


async def sleep(given: dict, _: TaskRun) -> None:
    await asyncio.sleep(given.get("seconds", 0))


async def wait(_: dict, __: TaskRun) -> None:
    """Wait until the test has made this file."""
    while not Path(os.environ["FAULT_JOURNAL"] + ".go").exists():  # noqa: ASYNC240
        await asyncio.sleep(0.05)


async def die_during(_: dict, run: TaskRun) -> None:
    """The first attempt kills its worker in the middle of the call."""
    await asyncio.sleep(0.02)
    if run.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


async def die_after(_: dict, run: TaskRun) -> None:
    """The first attempt kills its worker when the call has returned, before anything of it can be written down."""
    if run.attempt == 1:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGKILL)


ACTS = {one.__name__: one for one in (sleep, wait, die_during, die_after)}


async def echo(run: TaskRun, given: EchoInput) -> dict:
    message = json.loads(given.message)
    note(run, "began")
    await ACTS[message["do"]](message, run)
    note(run, "ended")
    return {"attempt": run.attempt, "process": os.getpid()}


def dying_after(kind: TaskType) -> TaskType:
    """The real thing, whose first attempt dies when it has saved its work, before its end is written down."""

    async def run(run: TaskRun, given: object) -> Mapping:
        result = await kind.run(run, given)
        await die_after({}, run)
        return result

    return replace(kind, run=run)


if __name__ == "__main__":
    if os.environ.get("FAULT_DIES_AFTER"):
        register(dying_after(TASK_TYPES[os.environ["FAULT_DIES_AFTER"]]))
    register(TaskType("echo", "A test's.", EchoInput, echo))
    work(Settings())
