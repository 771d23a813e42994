"""Everything that is done in the background, on one screen."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

import structlog
import uvloop

from crm.ai.build import build as build_ai
from crm.ai_tasks import jobs as ai_tasks
from crm.core.logs import configure
from crm.core.settings import Settings
from crm.db.capacity import Capacity
from crm.db.database import Database
from crm.db.event_feed import EventFeed
from crm.jobs import statistics
from crm.jobs.worker import Worker
from crm.jobs.worker_plan import WorkerContext, WorkerPlan
from crm.sales.scoring import jobs as scoring

_LEAVING_SECONDS: Final = 1.0

Assemble = Callable[[WorkerContext], WorkerPlan]


def roster(shop: WorkerContext) -> WorkerPlan:
    """What the domains' `jobs.py` declare: a line each."""
    return WorkerPlan([scoring.NIGHTLY], [scoring.FOLLOWER], [statistics.CHORE]) + ai_tasks.roster(shop)


def make(shop: WorkerContext) -> Worker:
    """A worker that does all of it."""
    return Worker(roster(shop), shop)


def work(config: Settings, assemble: Assemble = roster) -> None:
    """Run a worker until SIGTERM or ctrl-C."""
    configure(config)
    uvloop.run(_work(config, assemble))


async def _work(config: Settings, assemble: Assemble) -> None:
    assert config.database_url is not None
    url = config.database_listen_url or config.database_url
    size = Capacity(config.pool_size, config.worker_concurrency).worker_pool
    database = Database.for_program(config, url, size=size)
    feed = EventFeed(database, url, config.event_retention_days)
    ai = build_ai(config, database)
    shop = WorkerContext(database, feed, config, ai)
    worker = Worker(assemble(shop), shop)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unsettled)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, worker)
    feed.start()
    try:
        await worker.run()
    finally:
        await feed.stop()
        await ai.close()
        database.close()
        await _leave_behind()


def _unsettled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody awaits: procrastinate's way to end a job that is not its own any more."""
    error = context.get("exception")
    cause = getattr(error, "__cause__", None) or error or context["message"]
    structlog.get_logger().warning("worker.job_unsettled", error=f"{type(error).__name__}: {cause}"[:300])


def _stop(worker: Worker) -> None:
    """The first signal asks; the second does not."""
    if worker.is_stopping:
        structlog.get_logger().warning("worker.stopped_at_once")
        os._exit(1)
    worker.stop()


async def _leave_behind() -> None:
    """Code that ignores being cancelled would keep the process for ever."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        _, stubborn = await asyncio.wait(left, timeout=_LEAVING_SECONDS)
        if stubborn:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
