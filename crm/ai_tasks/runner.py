"""Runs AI tasks: one attempt for each job."""

import asyncio
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import structlog
from pydantic import ValidationError

from crm.ai.calls import current_attempt, new_id
from crm.ai_tasks import lease as leases
from crm.ai_tasks.aging import Fairness
from crm.ai_tasks.lease import AttemptEnd, TaskKey, TaskLease
from crm.ai_tasks.model import AiTaskOutcome
from crm.ai_tasks.task_types import TASK_TYPES, Failure, OutOfTime, TaskRun
from crm.ai_tasks.turns import FairTurns
from crm.core import errors
from crm.core.detached import KeptTasks
from crm.db.connection import ConnectionLost
from crm.db.sqlstates import translated
from crm.jobs import RunLater, WorkerContext

log = structlog.get_logger()

# Leases are renewed each time this share of their duration has passed.
RENEWAL: Final = 0.2
# How long the worker waits for the code of an attempt that it has cancelled.
_ABORT_SECONDS: Final = 2.0
_LONGEST_PAUSE: Final = 600.0
_AGAIN_SECONDS: Final = 1.0
_AWAY: Final = (ConnectionLost, errors.Unavailable)
# A task that is postponed more often than this fails.
_MOST_ATTEMPTS: Final = 50
_MOST_RESULT: Final = 1024 * 1024
_PROGRESS_DIGITS: Final = 3
# A task of a type that this worker does not know is left to other workers for so long.
_STRANGE_SECONDS: Final = 10.0
# Another attempt would fail with the same error.
LASTING: Final = (
    *(errors.BadUserInput, errors.NotFound, errors.Forbidden, errors.TooLarge, errors.TooComplex),
    errors.AiBudgetSpent,
)


@dataclass(eq=False)
class _Attempt:
    """One attempt under way in this process."""

    key: TaskKey
    work: "asyncio.Task[Any] | None" = None
    progress: float = 0.0
    recorded: float = 0.0
    # The id of the event with the recorded progress.
    event: int | None = None

    @property
    def runs(self) -> bool:
        """Whether its code is running."""
        return self.work is not None and not self.work.done()


class Runner:
    """Runs the attempts of one worker."""

    def __init__(self, context: WorkerContext, fairness: Fairness) -> None:
        self._context = context
        self._fairness = fairness
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._attempts: dict[UUID, _Attempt] = {}
        # As many at once as there are jobs; attempts whose job was put back count as well.
        self._slots = asyncio.Semaphore(context.settings.worker_concurrency)
        self._uncancelled = KeptTasks()
        self._turns = FairTurns(context.settings.worker_concurrency)
        self._sweeper = Sweeper(context)

    async def run(self, context: WorkerContext, *, task: str) -> None:
        """Claim the task of a job, run it, and record how that ended: the handler of the jobs."""
        async with self._slots:
            await self._run(context, TaskKey(UUID(task), new_id(), new_id()))

    async def _run(self, context: WorkerContext, key: TaskKey) -> None:
        attempt = self._attempts[key.token] = _Attempt(key)
        ended = AttemptEnd(AiTaskOutcome.RELEASED)
        lease: TaskLease | None = None

        async def claim(task_id: UUID) -> TaskLease | None:
            attempt.key = replace(key, task_id=task_id)
            return await leases.claim(context, attempt.key, self._name, context.settings.ai_task_lease_seconds)

        try:
            lease = await self._turns.take(context, key.task_id, claim)
            if lease is not None:
                self._fairness.started(aged=lease.aged)
                ended = await self._attempted(attempt, lease)
                await self._end(attempt, ended)
        except _AWAY as error:
            raise RunLater(_AGAIN_SECONDS) from error  # the job must stay while its task waits
        except asyncio.CancelledError:
            await self._abort(attempt)
            # Cancelled by the user: then the lease is gone, and only the cost is recorded. Or because the worker stops:
            # then the task waits again, with a new job, and this job may be deleted.
            await self._end(attempt, ended, context.settings.ai_task_lease_seconds)
        finally:
            del self._attempts[key.token]
            if lease is not None:
                self._turns.free(lease)

    async def _attempted(self, attempt: _Attempt, lease: TaskLease) -> AttemptEnd:
        """Run the code of the task's type, for as long as the task allows."""
        task_type = TASK_TYPES.get(lease.task_type)
        if task_type is None:  # this worker is of an older or a newer version
            text = f"The worker that took it does not know the task type {lease.task_type!r}."
            put_off = lease.attempt < _MOST_ATTEMPTS
            outcome = AiTaskOutcome.POSTPONED if put_off else AiTaskOutcome.FAILED
            return AttemptEnd(outcome, error=text, code="UNKNOWN_TYPE", pause=_STRANGE_SECONDS)
        if not lease.owner_may_write:
            text = "Its owner may not do this any more."
            return AttemptEnd(AiTaskOutcome.FAILED, error=text, code=errors.Forbidden.code, again=False)
        deadline = asyncio.get_running_loop().time() + lease.timeout_seconds
        run = TaskRun(
            lease.task_id,
            lease.attempt,
            lease.lead_id,
            lease.viewer,
            deadline,
            leases.guarded(self._context, attempt.key),
            lambda progress: _note(attempt, progress),
        )
        current_attempt.set(lease.attempt_id)  # in this job's own context: AI calls count as this attempt's
        attempt.work = asyncio.create_task(_called(task_type, run, lease.input))
        done, _ = await asyncio.wait({attempt.work}, timeout=lease.timeout_seconds)
        if not done:
            await self._abort(attempt)
            text = f"It took longer than {lease.timeout_seconds} s."
            return AttemptEnd(AiTaskOutcome.TIMED_OUT, error=text, code="TIMEOUT")
        return _end_of(attempt.work, lease, task_type)

    async def _abort(self, attempt: _Attempt) -> None:
        """Cancel the code, and wait a little for it to end; code that ignores that goes on unwatched."""
        work = attempt.work
        if work is None or work.done():
            return
        work.cancel()
        await asyncio.wait({work}, timeout=_ABORT_SECONDS)
        if not work.done():
            self._uncancelled.keep(work)
            log.error("ai_task.ignores_cancellation", task=str(attempt.key.task_id))

    async def _end(self, attempt: _Attempt, ended: AttemptEnd, give_up_after: float = inf) -> None:
        """Record an attempt's end; retry while PostgreSQL is away, since the attempt may have cost money."""
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + give_up_after
        while True:
            try:
                held_lease = await leases.end(self._context, attempt.key, ended, attempt.event)
                break
            except _AWAY:
                if clock() > give_up_at:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS / 2)
        if not held_lease and ended.outcome is not AiTaskOutcome.RELEASED:
            log.warning("ai_task.lease_lost", task=str(attempt.key.task_id), outcome=ended.outcome.value)

    # Periodic tasks

    async def keep(self, context: WorkerContext) -> None:
        """Renew the leases, and cancel attempts that have lost theirs."""
        attempts = self._claimed()
        if attempts:
            keys = [attempt.key for attempt in attempts]
            valid = await leases.renew(context, keys, context.settings.ai_task_lease_seconds)
            _cancel(attempt for attempt in attempts if attempt.key.token not in valid)

    def _claimed(self) -> list[_Attempt]:
        """Attempts that hold a lease; not those whose claim is still under way."""
        return [attempt for attempt in self._attempts.values() if attempt.work is not None]

    async def watch(self, context: WorkerContext) -> None:
        """Cancel attempts whose lease is gone, in case no notification came; record the progress of the others."""
        attempts = self._claimed()
        if attempts:
            valid = await leases.valid_tokens(context, [attempt.key for attempt in attempts])
            _cancel(attempt for attempt in attempts if attempt.key.token not in valid)
        for attempt in attempts:
            if attempt.progress != attempt.recorded and attempt.runs:
                attempt.recorded = attempt.progress
                attempt.event = await leases.record_progress(context, attempt.key, attempt.recorded, attempt.event)

    async def sweep(self, context: WorkerContext) -> None:
        """Rescue tasks of dead workers; renews its own leases first, in case this process was frozen."""
        try:
            await self.keep(context)
        except _AWAY:
            self._sweeper.put_off()
            raise
        await self._sweeper.sweep()


class Sweeper:
    """Puts back tasks whose worker died."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._from: float | None = None

    async def sweep(self, idle: float = 0) -> None:
        """Put back tasks whose lease ran out `idle` seconds ago; after an outage live workers renew theirs first."""
        clock = asyncio.get_running_loop().time
        pause = self._context.settings.ai_task_lease_seconds * RENEWAL
        if self._from is None:
            self._from = clock() + pause * 2
        if clock() < self._from:
            return
        asked = clock()
        try:
            lost = await leases.lost(self._context, idle)
            if clock() - asked > pause:  # it waited for PostgreSQL, as live workers did
                self.put_off()
                return
            count = await leases.end_lost(self._context, lost)
        except _AWAY:
            self.put_off()
            raise
        if count:
            log.warning("ai_task.rescued", tasks=count)

    def put_off(self) -> None:
        """Sweep no more before live workers have had the time to renew their leases: PostgreSQL was away."""
        self._from = asyncio.get_running_loop().time() + self._context.settings.ai_task_lease_seconds

    async def sweep_always(self) -> None:
        """Sweep for ever in a process without a worker: later than workers do, so only if there is none."""
        pause = self._context.settings.ai_task_lease_seconds * RENEWAL
        while True:
            try:
                await self.sweep(pause)
            except _AWAY as error:
                log.info("ai_task.sweep_waits", error=str(error)[:200])
            except Exception:  # a failed sweep must not end the loop
                log.exception("ai_task.sweep_failed")
            await asyncio.sleep(pause)


async def requeue(context: WorkerContext) -> None:
    """Give new jobs to tasks that have lost theirs."""
    count = await leases.requeue(context)
    if count:
        log.warning("ai_task.requeued", tasks=count)


def _cancel(attempts: Iterable[_Attempt]) -> None:
    for attempt in attempts:
        if attempt.work is not None:
            attempt.work.cancel()


def _note(attempt: _Attempt, progress: float) -> None:
    attempt.progress = round(min(1.0, max(attempt.progress, progress)), _PROGRESS_DIGITS)


def _completed(result: Any, task_type: Any) -> AttemptEnd:
    size = len(orjson.dumps(result))
    if size > _MOST_RESULT:
        message = f"Its result has {size:,} bytes; at most {_MOST_RESULT:,} are kept."
        raise errors.TooLarge(message)
    return AttemptEnd(AiTaskOutcome.COMPLETED, result=result, quality=task_type.quality(result))


async def _called(task_type: Any, run: TaskRun, task_input: Any) -> Any:
    try:
        valid_input = task_type.input.model_validate(task_input)
    except ValidationError:
        message = f"This version does not take such an input for the task type {task_type.name}."
        raise Failure(message, code=errors.BadUserInput.code, again=False) from None
    return await task_type.run(run, valid_input)


def _end_of(work: "asyncio.Task[Any]", lease: TaskLease, task_type: Any) -> AttemptEnd:
    """The end to record for an attempt whose code has ended."""
    if work.cancelled():
        return AttemptEnd(AiTaskOutcome.FAILED, error="It was cut short.", code="INTERRUPTED")
    error = work.exception()
    if error is None:
        try:
            return _completed(work.result(), task_type)
        except Exception as unfit:  # noqa: BLE001  (a result that cannot be kept is an error of ours)
            error = unfit
    error = _known(error)
    return _postponed(error, lease) or _failed(error, lease)


def _known(error: BaseException) -> BaseException:
    """The API's error for one of PostgreSQL's, unless that is a defect of ours."""
    if not isinstance(error, psycopg.Error):
        return error
    known = translated(error)
    return error if isinstance(known, errors.Internal) else known


def _postponed(error: BaseException, lease: TaskLease) -> AttemptEnd | None:
    """The end of an attempt whose error says when to retry: no failure, unless that happens too often."""
    if not isinstance(error, errors.CrmError) or lease.attempt >= _MOST_ATTEMPTS:
        return None
    pause = error.details.get("retryAfterSeconds")
    if not isinstance(pause, int | float):
        return None
    return AttemptEnd(
        AiTaskOutcome.POSTPONED, error=error.message, code=error.code, pause=min(float(pause), _LONGEST_PAUSE)
    )


def _failed(error: BaseException, lease: TaskLease) -> AttemptEnd:
    if isinstance(error, OutOfTime):
        text = f"There was no answer in time: an attempt may take {lease.timeout_seconds} s."
        return AttemptEnd(AiTaskOutcome.TIMED_OUT, error=text, code="TIMEOUT")
    if isinstance(error, errors.CrmError):
        again = not isinstance(error, LASTING)
        return AttemptEnd(AiTaskOutcome.FAILED, error=error.message, code=error.code, again=again)
    if isinstance(error, Failure):
        return AttemptEnd(AiTaskOutcome.FAILED, error=str(error), code=error.code, again=error.again)
    log.error("ai_task.broke", task=str(lease.task_id), type=lease.task_type, exc_info=error)
    return AttemptEnd(AiTaskOutcome.FAILED, error=errors.Internal().message, code=errors.Internal.code)
