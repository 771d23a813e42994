"""A worker process for the tests: the real worker, with handlers that write down what they did.

`python -m tests.jobs.crew '{"pause": 0.2}'`: the settings come by the environment, as for `crm worker`.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from crm.background import work
from crm.core.settings import Settings
from crm.db.statement import Statement, encode
from crm.db.unit_of_work import UnitOfWork
from crm.jobs.statistics import ANALYZE
from crm.jobs.worker_plan import EventConsumer, Handler, PeriodicTask, RunLater, WorkerContext, WorkerPlan

OPTIONS = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
_NOTE = Statement(
    "INSERT INTO journal (what, about, process, at) VALUES ($1::text, $2::text, $3::integer, clock_timestamp())"
)


def _params(what, about):
    return [encode(what), encode(about), encode(os.getpid())]


async def note(context: WorkerContext, what: str, about: str) -> None:
    await context.database.write(_NOTE, _params(what, about))


async def echo(context: WorkerContext, *, about: str) -> None:
    await note(context, "ran", about)


async def slow(context: WorkerContext, *, about: str, seconds: float = 0, go: str = "") -> None:
    """Take so long, or until the test has made the file `go`."""
    await note(context, "began", about)
    try:
        await asyncio.sleep(seconds)
        while go and not Path(go).exists():  # noqa: ASYNC240
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        await note(context, "cut", about)
        raise
    await note(context, "ended", about)


_STEADY = set()


async def steady(context: WorkerContext, *, about: str, go: str) -> None:
    """A second job finds the first at work."""
    if about not in _STEADY:
        _STEADY.add(about)
        await slow(context, about=about, go=go)


async def fail(context: WorkerContext, *, about: str) -> None:
    await note(context, "failed", about)
    message = "on purpose"
    raise ValueError(message)


async def later(context: WorkerContext, *, about: str) -> None:
    await note(context, "postponed", about)
    raise RunLater(0.2)


async def kill(context: WorkerContext, *, about: str) -> None:
    await note(context, "killing", about)
    os.kill(os.getpid(), 9)


async def tick(context: WorkerContext) -> None:
    await note(context, "tick", "")


async def look(context: WorkerContext) -> None:
    await note(context, "chore", "")


async def copy(unit: UnitOfWork, events) -> None:
    """Copies what it follows: a twin or a gap shows."""
    for event in events:
        if OPTIONS.get("poison") == event.entity_id:
            message = "poison"
            raise ValueError(message)
        await unit.execute(_NOTE, _params("followed", event.entity_id))
    if OPTIONS.get("think"):
        await asyncio.sleep(OPTIONS["think"])


def plan(_: WorkerContext) -> WorkerPlan:
    handlers = [
        Handler("echo", echo),
        Handler("slow", slow),
        Handler("steady", steady, survives_requeue=True),
        Handler("fail", fail, retries=2),
        Handler("later", later, retries=2),
        Handler("kill", kill),
    ]
    if OPTIONS.get("tick"):
        handlers.append(Handler("tick", tick, cron="* * * * * *"))
    consumer = EventConsumer(
        "copy", ["note.created"], copy, batch=OPTIONS.get("batch", 200), pause=0.02, longest_pause=0.1
    )
    return WorkerPlan(
        handlers,
        [consumer] if OPTIONS.get("follow") else [],
        [
            *([PeriodicTask("look", 0.1, look)] if OPTIONS.get("chore") else []),
            *([ANALYZE] if OPTIONS.get("analyze") else []),
        ],
    )


if __name__ == "__main__":
    work(Settings(), plan)
