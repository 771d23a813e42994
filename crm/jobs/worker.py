"""The worker: procrastinate runs the jobs; event consumers and periodic tasks run beside it, until it is stopped.

docs/decisions/0007-jobs-and-followers.md lists what procrastinate does unexpectedly, and the remedy here.
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
from procrastinate.jobs import Job as ProcrastinateJob
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.worker import Worker as ProcrastinateWorker

from crm.core import errors
from crm.core.detached import detached
from crm.db.capacity import PERIODIC_TASKS, QUEUE
from crm.db.connection import ConnectionLost
from crm.db.database import Database
from crm.db.impatient import impatient
from crm.db.statement import Statement, encode
from crm.jobs.event_consumers import ConsumerRunner
from crm.jobs.worker_plan import MOST_RETRIES, Handler, PeriodicTask, RunLater, WorkerContext, WorkerPlan

log = structlog.get_logger()

_LONGEST_PAUSE: Final = 30.0
_AGAIN_SECONDS: Final = 1.0
# If procrastinate's worker ends sooner than that, it would do so again: wait before starting it anew.
_LONG_ENOUGH_SECONDS: Final = 1.0
# Procrastinate's statements take milliseconds: a server that gives no answer for so long is frozen.
_PATIENCE_SECONDS: Final = 5.0
# A periodic task that is not steady pauses for so many times as long as it took.
_PAUSE_FACTOR: Final = 50
# After the grace period: for putting jobs back that did not end.
_PUT_BACK_SECONDS: Final = 10.0
_BEAT: Final = Statement("UPDATE procrastinate_workers SET last_heartbeat = clock_timestamp() WHERE id = $1::bigint")

_REACHABLE: Final = Statement("SELECT 1")
_OWN: Final = Statement("SELECT id::text FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = $1::bigint")

# Puts back jobs whose worker died, and jobs that a worker has but does not run ($4): the connection broke as the job
# was handed over, or before its end was written. A job that keeps killing its workers is given up.
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
    """Runs a plan: its jobs, event consumers and periodic tasks."""

    def __init__(self, plan: WorkerPlan, context: WorkerContext) -> None:
        self._context = context
        self._plan = plan
        self._stopping = asyncio.Event()
        self._procrastinate: ProcrastinateWorker | None = None
        # Runs that went on when their job was put back: `Handler.survives_requeue`.
        self._survivors: set[asyncio.Future[None]] = set()
        # Ids of the jobs that run, and of those that this worker has in PostgreSQL but did not run at the last check.
        self._running: set[int] = set()
        self._idle: set[int] = set()

    def stop(self) -> None:
        """Take no more jobs, let running ones end within the grace period, put the rest back, and end `run`."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    async def run(self) -> None:
        """Work until `stop`."""
        consumers = [
            asyncio.create_task(ConsumerRunner(consumer, self._context).run()) for consumer in self._plan.consumers
        ]
        periodic_context = self._periodic_context()
        periodic = [*self._plan.periodic_tasks, self._rescue()]
        periodic_tasks = [asyncio.create_task(self._repeat(task, periodic_context)) for task in periodic]
        running = asyncio.create_task(self._run_procrastinate())
        log.info("worker.started", handlers=len(self._plan.handlers), followers=len(consumers))
        try:
            await self._stopping.wait()
        finally:
            grace = self._context.settings.worker_grace_seconds
            log.info("worker.stopping", grace_seconds=grace)
            await _cancel_all(consumers)
            await asyncio.gather(self._stop_procrastinate(running, grace), self._finish_survivors(grace))
            await _cancel_all(periodic_tasks)  # last: leases are kept until the jobs have ended
            periodic_context.database.close()
            log.info("worker.stopped")

    def _periodic_context(self) -> WorkerContext:
        """A context with connections of its own: leases must be renewed even when jobs use up all others."""
        database = Database.for_program(self._context.settings, self._context.database.url, size=PERIODIC_TASKS)
        return replace(self._context, database=database)

    # Jobs

    async def _run_procrastinate(self) -> None:
        """Run procrastinate's worker; start it again when it ends by itself, because PostgreSQL was away."""
        settings = self._context.settings
        queues = sorted({handler.queue for handler in self._plan.handlers})
        clock = asyncio.get_running_loop().time
        while queues and not self._stopping.is_set():
            await self._wait_for_postgresql()
            if self._stopping.is_set():
                return
            began = clock()
            try:
                app = self._app()
                async with app.open_async():
                    self._procrastinate = ProcrastinateWorker(
                        app,
                        queues=queues,
                        concurrency=settings.worker_concurrency,
                        fetch_job_polling_interval=settings.worker_poll_seconds,
                        abort_job_polling_interval=settings.worker_poll_seconds,
                        shutdown_graceful_timeout=0,  # when it ends by itself; `_stop_procrastinate` sets another
                        update_heartbeat_interval=settings.worker_heartbeat_seconds,
                        stalled_worker_timeout=settings.worker_stalled_seconds,
                        delete_jobs="always",
                        install_signal_handlers=False,
                    )
                    await self._procrastinate.run()  # type: ignore[no-untyped-call]
            except (exceptions.ProcrastinateException, psycopg.Error, OSError) as error:
                log.warning("worker.restarting", error=_cause(error))
            if clock() - began < _LONG_ENOUGH_SECONDS:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _wait_for_postgresql(self) -> None:
        """Wait until PostgreSQL answers: procrastinate's own pool would try ever more seldom."""
        while not self._stopping.is_set():
            try:
                await self._context.feed.read(_REACHABLE, ())
            except (psycopg.Error, errors.CrmError):
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def _stop_procrastinate(self, running: "asyncio.Task[None]", grace: float) -> None:
        """Cancel procrastinate's worker: it then lets running jobs end, within the grace period."""
        beating = asyncio.create_task(self._repeat(self._heartbeat(), self._context))
        clock = asyncio.get_running_loop().time
        end = clock() + grace + _PUT_BACK_SECONDS
        running.cancel()
        while (late := not running.done()) and clock() < end:
            if self._procrastinate is not None:  # a cancellation is lost if it lands in a step of starting
                self._procrastinate.shutdown_graceful_timeout = grace
                self._procrastinate.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait({running}, timeout=_AGAIN_SECONDS)
        if late:  # for example, PostgreSQL is away; other workers find these jobs by their lease or heartbeat
            log.error("worker.stopped_late", running=len(self._survivors))
        await _cancel_all([beating])

    def _heartbeat(self) -> PeriodicTask:
        """Renew the worker's heartbeat while the last jobs run: procrastinate stops doing so when it stops."""

        async def beat(context: WorkerContext) -> None:
            key = self._procrastinate.worker_id if self._procrastinate is not None else None
            if key is not None:
                await context.database.write(_BEAT, [encode(key)])

        return PeriodicTask("heartbeat", self._context.settings.worker_heartbeat_seconds, beat, steady=True)

    async def _finish_survivors(self, grace: float) -> None:
        """Let runs end whose jobs were put back, which procrastinate no longer knows."""
        if self._survivors:
            await asyncio.wait(self._survivors, timeout=grace)
        await _cancel_all(list(self._survivors))

    def _app(self) -> procrastinate.App:
        settings, database = self._context.settings, self._context.database
        connector = procrastinate.PsycopgConnector(
            conninfo=partial(database.conninfo, settings.database_listen_url or database.url),
            min_size=1,
            max_size=QUEUE,
            timeout=settings.connect_timeout_seconds,
            pool_factory=partial(worker_pool, max(_PATIENCE_SECONDS, settings.connect_timeout_seconds)),
        )
        app = procrastinate.App(connector=connector)
        for handler in self._plan.handlers:
            self._register(app, handler)
        return app

    def _register(self, app: procrastinate.App, handler: Handler) -> None:
        async def run(job_context: JobContext, /, **arguments: Any) -> None:
            if handler.cron is not None:
                arguments = {}  # without procrastinate's `timestamp`
            work = handler.run(self._context, **arguments)
            key = job_context.job.id or 0
            self._running.add(key)
            try:
                await (self._run_past_requeue(job_context, work) if handler.survives_requeue else work)
            except asyncio.CancelledError:
                if job_context.abort_reason() is AbortReason.USER_REQUEST:
                    raise exceptions.JobAborted from None
                raise
            except RunLater:
                raise
            except Exception as error:
                log.exception("job.failed", job=handler.name, id=job_context.job.id, error=str(error)[:500])
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

    async def _run_past_requeue(self, job_context: JobContext, work: Awaitable[None]) -> None:
        """Await the run of a job; if only the job was put back, leave the run going."""
        running = asyncio.ensure_future(work)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            if job_context.abort_reason() is AbortReason.USER_REQUEST or self._stopping.is_set():
                await _cancel_all([running])
                if not running.cancelled() and running.exception() is None:
                    return  # the run ended in good order: delete its job
            else:
                self._survivors.add(running)
                running.add_done_callback(self._survivor_ended)
            raise

    def _survivor_ended(self, running: "asyncio.Future[None]") -> None:
        self._survivors.discard(running)
        error = None if running.cancelled() else running.exception()
        if error is not None and not isinstance(error, RunLater):  # its job was put back already
            log.error("job.failed", exc_info=error)

    def _rescue(self) -> PeriodicTask:
        """Put back jobs whose worker sends no heartbeat any more, or does not run them."""
        queues = sorted({handler.queue for handler in self._plan.handlers})
        seconds = self._context.settings.worker_stalled_seconds

        async def rescue(context: WorkerContext) -> None:
            params = [encode(seconds), encode(queues), encode(MOST_RETRIES), encode(await self._not_running(context))]
            result = await context.database.write(_RESCUE, params)
            for row in range(result.ntuples):
                name, key, _, again = (result.get_value(row, column) for column in range(4))
                write_log = log.warning if again == b"t" else log.error
                write_log(
                    "job.rescued" if again == b"t" else "job.given_up", job=(name or b"").decode(), id=int(key or b"0")
                )

        return PeriodicTask("rescue", min(1.0, seconds / 2), rescue, longest_pause=seconds / 2)

    async def _not_running(self, context: WorkerContext) -> list[int]:
        """The jobs that this worker has but ran at neither of two checks: one just handed over is missing at one."""
        if self._procrastinate is None or self._procrastinate.worker_id is None:
            return []
        result = await context.database.read(_OWN, [encode(self._procrastinate.worker_id)])
        # Includes jobs that have ended until their end is written; there is no public name for these.
        ending = {running.job.id for running in self._procrastinate._running_jobs.values()}  # noqa: SLF001
        idle = {int(result.get_value(row, 0) or b"0") for row in range(result.ntuples)} - self._running - ending
        twice_idle, self._idle = sorted(idle & self._idle), idle
        return twice_idle

    # Periodic tasks

    async def _repeat(self, periodic_task: PeriodicTask, context: WorkerContext) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            began, pause = clock(), periodic_task.seconds
            try:
                await periodic_task.run(context)
            except (ConnectionLost, errors.Unavailable) as error:
                log.info("chore.waiting", chore=periodic_task.name, error=str(error)[:200])
            except Exception:  # a task that fails must not end the others
                log.exception("chore.failed", chore=periodic_task.name)
            else:
                if not periodic_task.steady:
                    pause = max(pause, min((clock() - began) * _PAUSE_FACTOR, periodic_task.longest_pause))
            await asyncio.sleep(pause)


def worker_pool(patience: float, **options: Any) -> "psycopg_pool.AsyncConnectionPool[Any]":
    """A pool that replaces all its connections when one of them is dead, or gets no answer.

    Mostly they die together; if each were tried, each dead one would make the pool wait twice as long as the last.
    """

    def replace_all() -> None:
        detached(pool.drain())

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
    """Retries after 1, 2, 4 ... at most 30 seconds; at once if a stop of the worker cut the job short."""

    def __init__(self, most: int) -> None:
        self._most = most

    def get_retry_decision(self, *, exception: BaseException, job: ProcrastinateJob) -> RetryDecision | None:
        """Whether, and when, to run a job again."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision()
        if job.attempts >= self._most:
            return None
        pause = exception.seconds if isinstance(exception, RunLater) else min(2.0**job.attempts, _LONGEST_PAUSE)
        return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=pause))


async def _cancel_all(tasks: Sequence["asyncio.Future[None]"]) -> None:
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


def _cause(error: BaseException) -> str:
    """The text of an error's cause, if it has one: procrastinate's own errors say little."""
    return str(error.__cause__ or error).strip()[:200]
