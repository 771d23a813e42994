"""The worker: procrastinate runs the jobs, we run the followers and the chores, until told to stop.

What procrastinate does unexpectedly, and what is done about it here, is in docs/decisions/0007-jobs-and-followers.md.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import procrastinate
import psycopg
import psycopg_pool
import structlog
from procrastinate import exceptions
from procrastinate.job_context import AbortReason, JobContext
from procrastinate.jobs import Job as Running
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.worker import Worker as Driver

from crm.core import errors
from crm.db.capacity import PERIODIC_TASKS, QUEUE
from crm.db.connection import ConnectionLost, Statement, encode
from crm.db.database import Database
from crm.db.impatient import impatient
from crm.jobs.event_consumers import Following
from crm.jobs.worker_plan import MOST_RETRIES, Handler, PeriodicTask, RunLater, WorkerContext, WorkerPlan

log = structlog.get_logger()

_LONGEST_PAUSE: Final = 30.0
_AGAIN_SECONDS: Final = 1.0
# A driver that ends sooner than that ends for the same reason again, and is not started again at once.
_LONG_ENOUGH_SECONDS: Final = 1.0
# Procrastinate's statements take milliseconds: a server that does not answer them for so long is frozen.
_PATIENCE_SECONDS: Final = 5.0
_REST: Final = 50
# After the grace: for putting back what did not end.
_FAREWELL_SECONDS: Final = 10.0
_BEAT: Final = Statement("UPDATE procrastinate_workers SET last_heartbeat = clock_timestamp() WHERE id = $1::bigint")

_REACHABLE: Final = Statement("SELECT 1")
_OWN: Final = Statement("SELECT id::text FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = $1::bigint")

# A job whose worker died goes back, and so does one that a worker has taken but knows nothing of: the connection broke
# as it was handed over, or as its end was to be written. One that keeps killing its workers is given up.
_RESCUE: Final = Statement(
    """
    WITH lost AS (
      SELECT job.id, job.task_name, job.attempts, job.abort_requested FROM procrastinate_jobs AS job
      LEFT JOIN procrastinate_workers AS worker ON worker.id = job.worker_id
      WHERE job.status = 'doing' AND job.queue_name = ANY($2::text[])
        AND (worker.id IS NULL OR worker.last_heartbeat < clock_timestamp() - make_interval(secs => $1::float)
          OR job.id = ANY($4::bigint[]))
      FOR UPDATE OF job SKIP LOCKED
    )
    SELECT task_name, id::text, CASE WHEN attempts < $3::integer AND NOT abort_requested
      THEN procrastinate_retry_job_v2(id, now(), NULL, NULL, NULL) IS NOT NULL
      ELSE procrastinate_finish_job_v1(id, 'failed', true) IS NULL END, attempts < $3::integer
    FROM lost
    """
)


class Worker:
    """Does what a roster says."""

    def __init__(self, roster: WorkerPlan, shop: WorkerContext) -> None:
        self._shop = shop
        self._roster = roster
        self._stopping = asyncio.Event()
        self._driver: Driver | None = None
        # What goes on though its job went back: `Handler.outlives`.
        self._outliving: set[asyncio.Future[None]] = set()
        # The jobs that run, and those of this worker that did not run at the latest look.
        self._running: set[int] = set()
        self._forgotten: set[int] = set()

    def stop(self) -> None:
        """Take no more work, give what runs its time, put the rest back, and end."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to."""
        return self._stopping.is_set()

    async def run(self) -> None:
        """Work until `stop`."""
        following = [asyncio.create_task(Following(one, self._shop).run()) for one in self._roster.followers]
        aside = self._aside()
        chores = [asyncio.create_task(self._repeat(one, aside)) for one in [*self._roster.chores, self._rescue()]]
        driving = asyncio.create_task(self._drive())
        log.info("worker.started", handlers=len(self._roster.handlers), followers=len(following))
        try:
            await self._stopping.wait()
        finally:
            grace = self._shop.settings.worker_grace_seconds
            log.info("worker.stopping", grace_seconds=grace)
            await _ended(following)
            await asyncio.gather(self._driven(driving, grace), self._seen_off(grace))
            await _ended(chores)  # last: leases are kept until the jobs have ended
            aside.database.close()
            log.info("worker.stopped")

    def _aside(self) -> WorkerContext:
        """For chores: leases must be kept even when the jobs use up all other connections."""
        database = Database.for_program(self._shop.settings, self._shop.database.url, size=PERIODIC_TASKS)
        return replace(self._shop, database=database)

    # Jobs

    async def _drive(self) -> None:
        """Run procrastinate's worker; when it ends by itself (PostgreSQL was away), start it again."""
        settings = self._shop.settings
        queues = sorted({one.queue for one in self._roster.handlers})
        clock = asyncio.get_running_loop().time
        while queues and not self._stopping.is_set():
            await self._reached()
            began = clock()
            try:
                app = self._app()
                async with app.open_async():
                    self._driver = Driver(
                        app,
                        queues=queues,
                        concurrency=settings.worker_concurrency,
                        fetch_job_polling_interval=settings.worker_poll_seconds,
                        abort_job_polling_interval=settings.worker_poll_seconds,
                        shutdown_graceful_timeout=0,  # for what ends by itself; see `_driven`
                        update_heartbeat_interval=settings.worker_heartbeat_seconds,
                        stalled_worker_timeout=settings.worker_stalled_seconds,
                        delete_jobs="always",
                        install_signal_handlers=False,
                    )
                    await self._driver.run()  # type: ignore[no-untyped-call]
            except (exceptions.ProcrastinateException, psycopg.Error, OSError) as error:
                log.warning("worker.restarting", error=_cause(error))
            if clock() - began < _LONG_ENOUGH_SECONDS:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _reached(self) -> None:
        """Wait until PostgreSQL answers: the pool that procrastinate opens tries ever more seldom."""
        while True:
            try:
                await self._shop.feed.read(_REACHABLE, ())
            except (psycopg.Error, errors.CrmError):
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def _driven(self, driving: "asyncio.Task[None]", grace: float) -> None:
        """Being cancelled, procrastinate stops gracefully: it gives what runs so much time."""
        beating = asyncio.create_task(self._repeat(self._heartbeat(), self._shop))
        if self._driver is not None:
            self._driver.shutdown_graceful_timeout = grace
        driving.cancel()
        _, late = await asyncio.wait({driving}, timeout=grace + _FAREWELL_SECONDS)
        if late:  # PostgreSQL is away, say; what runs is found by its lease, or by its heartbeat
            log.error("worker.stopped_late", running=len(self._outliving))
        await _ended([beating])

    def _heartbeat(self) -> PeriodicTask:
        """Say that the jobs that still run are alive: procrastinate does not any more when it stops."""

        async def beat(shop: WorkerContext) -> None:
            key = self._driver.worker_id if self._driver is not None else None
            if key is not None:
                await shop.database.write(_BEAT, [encode(key)])

        return PeriodicTask("heartbeat", self._shop.settings.worker_heartbeat_seconds, beat)

    async def _seen_off(self, grace: float) -> None:
        """The same for what procrastinate does not know of any more."""
        if self._outliving:
            await asyncio.wait(self._outliving, timeout=grace)
        await _ended(list(self._outliving))

    def _app(self) -> procrastinate.App:
        settings, database = self._shop.settings, self._shop.database
        connector = procrastinate.PsycopgConnector(
            conninfo=partial(database.conninfo, settings.database_listen_url or database.url),
            min_size=1,
            max_size=QUEUE,
            timeout=settings.connect_timeout_seconds,
            pool_factory=partial(worker_pool, max(_PATIENCE_SECONDS, settings.connect_timeout_seconds)),
        )
        app = procrastinate.App(connector=connector)
        for handler in self._roster.handlers:
            self._register(app, handler)
        return app

    def _register(self, app: procrastinate.App, handler: Handler) -> None:
        async def run(context: JobContext, /, **arguments: Any) -> None:
            if handler.cron is not None:
                arguments = {}  # procrastinate's `timestamp`
            work = handler.run(self._shop, **arguments)
            key = context.job.id or 0
            self._running.add(key)
            try:
                await (self._outlived(context, work) if handler.survives_requeue else work)
            except asyncio.CancelledError:
                if context.abort_reason() is AbortReason.USER_REQUEST:
                    raise exceptions.JobAborted from None
                raise
            except RunLater:
                raise
            except Exception as error:
                log.exception("job.failed", job=handler.name, id=context.job.id, error=str(error)[:500])
                raise
            finally:
                self._running.discard(key)

        # One run of a periodic job at a time. No queueing lock: a retry would break it, and end as an error.
        task = app.task(
            name=handler.name,
            queue=handler.queue,
            pass_context=True,
            retry=_Retries(handler.retries),
            lock=handler.name if handler.cron is not None else None,
        )(run)
        if handler.cron is not None:
            app.periodic(cron=handler.cron, periodic_id=handler.name)(task)  # type: ignore[arg-type]  # it takes any arguments

    async def _outlived(self, context: JobContext, work: Awaitable[None]) -> None:
        running = asyncio.ensure_future(work)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            if context.abort_reason() is AbortReason.USER_REQUEST or self._stopping.is_set():
                await _ended([running])
                if not running.cancelled() and running.exception() is None:
                    return  # it has seen to what is left to do: its job may go
            else:
                self._outliving.add(running)
                running.add_done_callback(self._outlived_ended)
            raise

    def _outlived_ended(self, running: "asyncio.Future[None]") -> None:
        self._outliving.discard(running)
        error = None if running.cancelled() else running.exception()
        if error is not None and not isinstance(error, RunLater):  # whose job went back already
            log.error("job.failed", exc_info=error)

    def _rescue(self) -> PeriodicTask:
        """Find jobs whose worker says nothing any more, or does not know of them."""
        queues = sorted({one.queue for one in self._roster.handlers})
        seconds = self._shop.settings.worker_stalled_seconds

        async def rescue(shop: WorkerContext) -> None:
            params = [encode(seconds), encode(queues), encode(MOST_RETRIES), encode(await self._not_running(shop))]
            result = await shop.database.write(_RESCUE, params)
            for row in range(result.ntuples):
                name, key, _, again = (result.get_value(row, column) for column in range(4))
                told = log.warning if again == b"t" else log.error
                told(
                    "job.rescued" if again == b"t" else "job.given_up", job=(name or b"").decode(), id=int(key or b"0")
                )

        return PeriodicTask("rescue", min(1.0, seconds / 2), rescue)

    async def _not_running(self, shop: WorkerContext) -> list[int]:
        """The jobs that this worker has, and did not run at two looks: one that is just handed over is missing once."""
        if self._driver is None or self._driver.worker_id is None:
            return []
        result = await shop.database.read(_OWN, [encode(self._driver.worker_id)])
        # Until the end of a job is written, too; there is no public name for these.
        ending = {context.job.id for context in self._driver._running_jobs.values()}  # noqa: SLF001
        idle = {int(result.get_value(row, 0) or b"0") for row in range(result.ntuples)} - self._running - ending
        found, self._forgotten = sorted(idle & self._forgotten), idle
        return found

    # Chores

    async def _repeat(self, chore: PeriodicTask, shop: WorkerContext) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                await chore.run(shop)
            except (ConnectionLost, errors.Unavailable) as error:
                log.info("chore.waiting", chore=chore.name, error=str(error)[:200])
            except Exception:  # one that fails must not end the others
                log.exception("chore.failed", chore=chore.name)
            # With a long queue a look takes long: no chore takes more than a part of its time, and of PostgreSQL's.
            await asyncio.sleep(max(chore.seconds, min((clock() - began) * _REST, _LONGEST_PAUSE)))


def worker_pool(patience: float, **options: Any) -> "psycopg_pool.AsyncConnectionPool[Any]":
    """A pool that replaces all its connections when one of them turns out to be dead, or gets no answer.

    Mostly they died together; tried one by one, each dead one makes the pool wait twice as long as the one before.
    """
    replacing: set[asyncio.Task[None]] = set()

    def replace_all() -> None:
        task = asyncio.create_task(pool.drain())
        replacing.add(task)
        task.add_done_callback(replacing.discard)

    async def check(connection: "psycopg.AsyncConnection[Any]") -> None:
        try:
            await psycopg_pool.AsyncConnectionPool.check_connection(connection)
        except psycopg.Error:
            await pool.drain()
            raise

    ours = {"check": check, "connection_class": impatient(patience, replace_all)}
    pool: psycopg_pool.AsyncConnectionPool[Any] = psycopg_pool.AsyncConnectionPool(**{**options, **ours})
    return pool


class _Retries(BaseRetryStrategy):
    """1, 2, 4 ... at most 30 seconds between attempts; a job that was cut short by a stop goes back at once."""

    def __init__(self, most: int) -> None:
        self._most = most

    def get_retry_decision(self, *, exception: BaseException, job: Running) -> RetryDecision | None:
        """Whether, and when, to run a job again."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision()
        if job.attempts >= self._most:
            return None
        pause = exception.seconds if isinstance(exception, RunLater) else min(2.0**job.attempts, _LONGEST_PAUSE)
        return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=pause))


async def _ended(tasks: Sequence["asyncio.Future[None]"]) -> None:
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


def _cause(error: BaseException) -> str:
    """Procrastinate's own errors say little; what they came from says it."""
    return str(error.__cause__ or error).strip()[:200]
