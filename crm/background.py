"""The worker process: its plan of jobs, event consumers and periodic tasks, on one screen."""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import structlog
import uvloop

from crm.ai.build import build as build_ai
from crm.ai.gateway import Ai
from crm.ai_tasks import jobs as ai_tasks
from crm.core.logs import configure
from crm.core.settings import Settings
from crm.core.stop_signals import stop_signals
from crm.core.terminal import leave_if_closed
from crm.db.capacity import Capacity
from crm.db.database import Database
from crm.db.event_feed import EventFeed
from crm.jobs import idempotency, statistics
from crm.jobs.worker import Worker
from crm.jobs.worker_plan import WorkerContext, WorkerPlan
from crm.sales.scoring import jobs as scoring

_EXIT_SECONDS: Final = 1.0

MakePlan = Callable[[WorkerContext], WorkerPlan]


def plan(context: WorkerContext) -> WorkerPlan:
    """Collect the plans that the nouns' `jobs.py` declare, a line each."""
    own = WorkerPlan([scoring.NIGHTLY, idempotency.FORGET_KEYS], [scoring.CONSUMER], [statistics.ANALYZE])
    return own + ai_tasks.plan(context)


def make(context: WorkerContext) -> Worker:
    """Make a worker that runs the whole plan."""
    return Worker(plan(context), context)


def work(config: Settings, make_plan: MakePlan = plan) -> None:
    """Run a worker until a signal asks it to stop."""
    configure(config)
    uvloop.run(_work(config, make_plan))


async def _work(config: Settings, make_plan: MakePlan) -> None:
    assert config.database_url is not None
    url = config.database_listen_url or config.database_url
    size = Capacity(config.pool_size, config.worker_concurrency).worker_pool
    database = Database.for_program(config, url, size=size)
    feed = EventFeed(database, url, config.event_retention_days)
    ai = build_ai(config, database)
    context = WorkerContext(database, feed, config, ai)
    worker = Worker(make_plan(context), context)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_unhandled)
    for number in stop_signals():
        loop.add_signal_handler(number, _stop, worker)
    feed.start()
    try:
        await worker.run()
    finally:
        # While PostgreSQL is frozen, psycopg waits for ten seconds to cancel what it was asked.
        await asyncio.wait({asyncio.create_task(_close(feed, ai))}, timeout=_EXIT_SECONDS)
        database.close()
        await _cancel_remaining_tasks()


async def _close(feed: EventFeed, ai: Ai) -> None:
    await feed.stop()
    await ai.close()


def _log_unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error of a task that no code awaits: so procrastinate ends a job that another worker has taken over."""
    error = context.get("exception")
    cause = getattr(error, "__cause__", None) or error or context["message"]
    structlog.get_logger().warning("worker.job_unsettled", error=f"{type(error).__name__}: {cause}"[:300])


def _stop(worker: Worker) -> None:
    """Stop gracefully on the first signal, at once on the second."""
    leave_if_closed()
    if worker.is_stopping:
        structlog.get_logger().warning("worker.stopped_at_once")
        os._exit(1)
    worker.stop()


async def _cancel_remaining_tasks() -> None:
    """Exit even if code ignores being cancelled: it would keep the process running for ever."""
    remaining = asyncio.all_tasks() - {asyncio.current_task()}
    for task in remaining:
        task.cancel()
    if remaining:
        _, uncancelled = await asyncio.wait(remaining, timeout=_EXIT_SECONDS)
        if uncancelled:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
