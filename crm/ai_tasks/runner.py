"""Runs AI tasks: one attempt each time procrastinate hands over a job."""

import asyncio
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from pydantic import ValidationError

from crm.ai.calls import for_attempt, new_id
from crm.ai_tasks import lease as leases
from crm.ai_tasks.aging import Fairness
from crm.ai_tasks.lease import AttemptEnd, TaskKey, TaskLease
from crm.ai_tasks.model import AiTaskOutcome
from crm.ai_tasks.task_types import TASK_TYPES, Failure, OutOfTime, TaskRun
from crm.ai_tasks.turns import FairTurns
from crm.core import errors
from crm.db.connection import ConnectionLost
from crm.jobs import RunLater, WorkerContext

log = structlog.get_logger()

# How often leases are renewed: each time this share of how long they last has passed.
RENEWAL: Final = 0.2
# How long an attempt that was told to stop may take to do so; then nobody waits for it any more.
_LETTING_GO_SECONDS: Final = 2.0
_LONGEST_PAUSE: Final = 600.0
_AGAIN_SECONDS: Final = 1.0
_AWAY: Final = (ConnectionLost, errors.Unavailable)
# What is put off again and again is a failure in the end.
_MOST_ATTEMPTS: Final = 50
_MOST_RESULT: Final = 1024 * 1024
_PROGRESS_DIGITS: Final = 3
# A type that this worker does not know is left to others for so long.
_STRANGE_SECONDS: Final = 10.0
# Trying again changes nothing about these.
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
    told: float = 0.0
    # The event that told so.
    event: int | None = None

    @property
    def runs(self) -> bool:
        """Whether its code is at work."""
        return self.work is not None and not self.work.done()


class Runner:
    """The attempts of one worker."""

    def __init__(self, context: WorkerContext, fairness: Fairness) -> None:
        self._context = context
        self._fairness = fairness
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._attempts: dict[UUID, _Attempt] = {}
        # No more at once than jobs: those that outlived theirs count as well.
        self._slots = asyncio.Semaphore(context.settings.worker_concurrency)
        self._stray: set[asyncio.Task[Any]] = set()
        self._turns = FairTurns(context.settings.worker_concurrency)
        self._sweeper = Sweeper(context)

    async def run(self, context: WorkerContext, *, task: str) -> None:
        """The handler of the jobs: take the task, run it, write down how that ended."""
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
            raise RunLater(_AGAIN_SECONDS) from error  # the job must not go while its task waits
        except asyncio.CancelledError:
            await self._let_go(attempt)
            # By the user: then the task is not ours any more, and only the bill counts. Or with the whole worker: then
            # it waits again, by a job of its own, and this one may go.
            await self._end(attempt, ended, context.settings.ai_task_lease_seconds)
        finally:
            del self._attempts[key.token]
            if lease is not None:
                self._turns.free(lease)

    async def _attempted(self, attempt: _Attempt, lease: TaskLease) -> AttemptEnd:
        """Run the code of the task's type, within its time."""
        kind = TASK_TYPES.get(lease.task_type)
        if kind is None:  # a worker of the version before, or of the one after
            text = f"The worker that took it does not know the task type {lease.task_type!r}."
            put_off = lease.attempt < _MOST_ATTEMPTS
            outcome = AiTaskOutcome.POSTPONED if put_off else AiTaskOutcome.FAILED
            return AttemptEnd(outcome, error=text, code="UNKNOWN_TYPE", pause=_STRANGE_SECONDS)
        deadline = asyncio.get_running_loop().time() + lease.timeout_seconds
        run = TaskRun(
            lease.task_id,
            lease.attempt,
            lease.lead_id,
            lease.viewer,
            deadline,
            leases.fenced(self._context, attempt.key),
            lambda progress: _note(attempt, progress),
        )
        for_attempt.set(lease.attempt_id)  # in this job's own context: what it asks the AI goes on its bill
        attempt.work = asyncio.create_task(_called(kind, run, lease.input))
        done, _ = await asyncio.wait({attempt.work}, timeout=lease.timeout_seconds)
        if not done:
            await self._let_go(attempt)
            text = f"It took longer than {lease.timeout_seconds} s."
            return AttemptEnd(AiTaskOutcome.TIMED_OUT, error=text, code="TIMEOUT")
        return _judged(attempt.work, lease, kind)

    async def _let_go(self, attempt: _Attempt) -> None:
        """Tell the code to stop, and wait a little; code that does not listen is left to itself."""
        work = attempt.work
        if work is None or work.done():
            return
        work.cancel()
        await asyncio.wait({work}, timeout=_LETTING_GO_SECONDS)
        if not work.done():
            self._stray.add(work)
            work.add_done_callback(self._stray.discard)
            log.error("ai_task.ignores_cancellation", task=str(attempt.key.task_id))

    async def _end(self, attempt: _Attempt, ended: AttemptEnd, patience: float = inf) -> None:
        """Write it down; while PostgreSQL is away again and again, for what was done may have cost money."""
        clock = asyncio.get_running_loop().time
        give_up = clock() + patience
        while True:
            try:
                mine = await leases.end(self._context, attempt.key, ended, attempt.event)
                break
            except _AWAY:
                if clock() > give_up:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS / 2)
        if not mine and ended.outcome is not AiTaskOutcome.RELEASED:
            log.warning("ai_task.lease_lost", task=str(attempt.key.task_id), outcome=ended.outcome.value)

    # What every worker does again and again

    async def keep(self, context: WorkerContext) -> None:
        """Renew the leases, and stop what lost its own."""
        attempts = self._taken()
        if attempts:
            kept = await leases.keep(context, [one.key for one in attempts], context.settings.ai_task_lease_seconds)
            _cut(one for one in attempts if one.key.token not in kept)

    def _taken(self) -> list[_Attempt]:
        """Those that have a lease by now: of one that is just taking it, nothing may be concluded."""
        return [one for one in self._attempts.values() if one.work is not None]

    async def watch(self, context: WorkerContext) -> None:
        """Stop what was cancelled, should nobody have told us so; write down how far the others are."""
        attempts = self._taken()
        if attempts:
            standing = await leases.standing(context, [one.key for one in attempts])
            _cut(one for one in attempts if one.key.token not in standing)
        for one in attempts:
            if one.progress != one.told and one.runs:
                one.told = one.progress
                one.event = await leases.tell_progress(context, one.key, one.told, one.event)

    async def sweep(self, context: WorkerContext) -> None:
        """Find tasks whose worker died; not those of our own, should we have been frozen."""
        await self.keep(context)
        await self._sweeper.sweep()


class Sweeper:
    """Finds tasks whose worker died."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._from: float | None = None

    async def sweep(self, idle: float = 0) -> None:
        """Give back what was lost so long ago. When PostgreSQL was away, those that live renew their leases first."""
        clock = asyncio.get_running_loop().time
        lease = self._context.settings.ai_task_lease_seconds
        if self._from is None:
            self._from = clock() + lease * RENEWAL * 2
        if clock() < self._from:
            return
        try:
            count = await leases.end_lost(self._context, idle)
        except _AWAY:
            self._from = clock() + lease
            raise
        if count:
            log.warning("ai_task.rescued", tasks=count)

    async def sweep_always(self) -> None:
        """For a process without a worker: after them, so only when there is none."""
        pause = self._context.settings.ai_task_lease_seconds * RENEWAL
        while True:
            try:
                await self.sweep(pause)
            except _AWAY as error:
                log.info("ai_task.sweep_waits", error=str(error)[:200])
            except Exception:  # one look that fails must not end the others
                log.exception("ai_task.sweep_failed")
            await asyncio.sleep(pause)


async def requeue(context: WorkerContext) -> None:
    """Find tasks that no job will run."""
    count = await leases.requeue(context)
    if count:
        log.warning("ai_task.requeued", tasks=count)


def _cut(attempts: Iterable[_Attempt]) -> None:
    for one in attempts:
        if one.work is not None:
            one.work.cancel()


def _note(attempt: _Attempt, progress: float) -> None:
    attempt.progress = round(min(1.0, max(attempt.progress, progress)), _PROGRESS_DIGITS)


def _completed(result: Any, kind: Any) -> AttemptEnd:
    size = len(orjson.dumps(result))
    if size > _MOST_RESULT:
        message = f"Its result has {size:,} bytes; at most {_MOST_RESULT:,} are kept."
        raise errors.TooLarge(message)
    return AttemptEnd(AiTaskOutcome.COMPLETED, result=result, quality=kind.quality(result))


async def _called(kind: Any, run: TaskRun, given: Any) -> Any:
    try:
        fitting = kind.input.model_validate(given)
    except ValidationError:
        message = f"This version does not take such an input for the task type {kind.name}."
        raise Failure(message, code=errors.BadUserInput.code, again=False) from None
    return await kind.run(run, fitting)


def _judged(work: "asyncio.Task[Any]", lease: TaskLease, kind: Any) -> AttemptEnd:
    """What an attempt that came to its end amounts to."""
    if work.cancelled():
        return AttemptEnd(AiTaskOutcome.FAILED, error="It was cut short.", code="INTERRUPTED")
    error = work.exception()
    if error is None:
        try:
            return _completed(work.result(), kind)
        except Exception as unfit:  # noqa: BLE001  (a result that cannot be kept is an error of ours)
            error = unfit
    return _postponed(error, lease) or _failed(error, lease)


def _postponed(error: BaseException, lease: TaskLease) -> AttemptEnd | None:
    """The end of an attempt whose error says when to come back: that is no failure, unless it says so for ever."""
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
