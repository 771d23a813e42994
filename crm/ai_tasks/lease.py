"""Leases of AI tasks: a worker that claims a task writes its token into the row, and may write only while it is there.

Each step is one statement for the task, its attempt and its event. See `docs/decisions/0012-ai-tasks.md`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from crm.ai_tasks.costs import CALL_SUMS, SOURCE
from crm.ai_tasks.model import WAITING, AiTaskOutcome, AiTaskPriority, AiTaskStatus
from crm.ai_tasks.service import job_for
from crm.ai_tasks.task_types import Failure
from crm.core.identity import Role, Viewer
from crm.db.statement import Statement, encode
from crm.db.unit_of_work import UnitOfWork
from crm.jobs import WorkerContext, enqueue, forget

if TYPE_CHECKING:
    from psycopg import pq

_MOST_ERROR: Final = 2000
# A task may be what kills its workers: one that loses a worker more often than this fails.
_MOST_LOSSES: Final = 5
# NUL as JSON spells it (not after a backslash that is itself text): PostgreSQL cannot store it.
_NUL: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")

_CLAIM: Final = Statement(
    """
    WITH old AS (
      SELECT id, status FROM ai_tasks
      WHERE id = $1::uuid AND status IN ('queued', 'retrying') AND due_at <= clock_timestamp()
      FOR UPDATE
    ), claimed AS (
      UPDATE ai_tasks SET status = 'running', lease_token = $2::uuid, attempt = attempt + 1, progress = 0,
        lease_expires_at = clock_timestamp() + make_interval(secs => $5::float), started_at = clock_timestamp(),
        stopped_at = NULL, version = version + 1, updated_at = clock_timestamp()
      FROM old WHERE ai_tasks.id = old.id RETURNING ai_tasks.*, old.status AS was
    ), tried AS (
      INSERT INTO ai_task_attempts (id, task_id, number, worker, started_at)
      SELECT $3::uuid, id, attempt, $4::text, started_at FROM claimed
    ), logged AS (
      INSERT INTO events (type, entity, entity_id, lead_id, via, version, fields)
      SELECT 'ai_task.started', 'ai_task', id::text, lead_id, 'program', version, jsonb_build_array(
        jsonb_build_object('name', 'status', 'before', upper(was), 'after', upper(status)),
        jsonb_build_object('name', 'attempt', 'before', attempt - 1, 'after', attempt)
      ) FROM claimed
    )
    SELECT task_type, input::text, lead_id::text, created_by::text, attempt::text, timeout_seconds::text,
      (SELECT role FROM users WHERE users.id = created_by AND disabled_at IS NULL), aged::text
    FROM claimed
    """
)
# Ends an attempt. Its cost always counts; the rest is written only if the attempt still holds the lease ($3). The last
# event about its progress is deleted: no reader of the stream needs it any more.
_END: Final = Statement(
    f"""
    WITH old AS (
      SELECT *, coalesce(status = 'running' AND lease_token = $3::uuid, false) AS mine,
        failures + ($4::text IN ('failed', 'timed_out'))::integer AS failed,
        losses + ($4::text = 'lost')::integer AS lost
      FROM ai_tasks WHERE id = $1::uuid FOR UPDATE
    ), before AS (
      -- Locked: if two processes end one attempt (one of them too late), its cost is added once.
      SELECT attempt.* FROM old JOIN ai_task_attempts AS attempt ON attempt.task_id = old.id
      WHERE attempt.id = $2::uuid FOR UPDATE OF attempt
    ), calls AS ({CALL_SUMS} ai_task_attempt_id = $2::uuid
    ), bill AS (
      -- Costs only grow: sums read before the lock may be less than those in the row.
      SELECT greatest(calls.cost, before.cost_usd) AS cost, greatest(calls.tokens, before.tokens) AS tokens,
        CASE WHEN calls.cost >= before.cost_usd AND calls.source IS NOT NULL
          THEN calls.source ELSE before.cost_source END AS source,
        coalesce(calls.model, before.model) AS model
      FROM calls, before
    ), whole AS (
      SELECT {SOURCE} FROM (
        SELECT source AS cost_source FROM bill
        UNION ALL SELECT cost_source FROM ai_task_attempts WHERE task_id = $1::uuid AND id <> $2::uuid
      ) AS part
    ), closed AS (
      UPDATE ai_task_attempts AS attempt SET outcome = coalesce(before.outcome, $4::text),
        error = CASE WHEN before.outcome IS NULL THEN $6::text ELSE before.error END,
        error_code = CASE WHEN before.outcome IS NULL THEN $7::text ELSE before.error_code END,
        finished_at = coalesce(before.finished_at, clock_timestamp()),
        cost_usd = bill.cost, tokens = bill.tokens, cost_source = bill.source, model = bill.model
      FROM bill, before WHERE attempt.id = before.id
    ), verdict AS (
      SELECT old.*, CASE $4::text WHEN 'completed' THEN 'completed' WHEN 'released' THEN 'queued'
        WHEN 'postponed' THEN 'retrying'
        WHEN 'lost' THEN CASE WHEN lost <= $12::integer THEN 'retrying' ELSE 'failed' END
        ELSE CASE WHEN $9::boolean AND failed <= max_retries THEN 'retrying'
          WHEN $4::text = 'timed_out' THEN 'timed_out' ELSE 'failed' END END AS next,
        CASE WHEN $4::text = 'released' THEN 0
          ELSE coalesce($8::float, least(2.0 ^ (failed + lost - 1), 30)) END AS pause
      FROM old
    ), written AS (
      UPDATE ai_tasks AS task SET
        status = CASE WHEN mine THEN next ELSE task.status END,
        failures = CASE WHEN mine THEN failed ELSE task.failures END,
        losses = CASE WHEN mine THEN lost ELSE task.losses END,
        aged = task.aged AND NOT mine,
        result = CASE WHEN mine AND next = 'completed' THEN $5::jsonb ELSE task.result END,
        progress = CASE WHEN mine AND next = 'completed' THEN 1 ELSE task.progress END,
        error = CASE WHEN mine THEN $6::text ELSE task.error END,
        error_code = CASE WHEN mine THEN $7::text ELSE task.error_code END,
        quality_score = CASE WHEN mine THEN coalesce($10::float, task.quality_score) ELSE task.quality_score END,
        due_at = CASE WHEN mine AND next IN ('queued', 'retrying')
          THEN clock_timestamp() + make_interval(secs => pause) ELSE task.due_at END,
        stopped_at = CASE WHEN mine THEN clock_timestamp() ELSE task.stopped_at END,
        finished_at = CASE WHEN mine AND next NOT IN ('queued', 'retrying')
          THEN clock_timestamp() ELSE task.finished_at END,
        job_id = CASE WHEN mine THEN NULL ELSE task.job_id END,
        lease_token = CASE WHEN mine THEN NULL ELSE task.lease_token END,
        lease_expires_at = CASE WHEN mine THEN NULL ELSE task.lease_expires_at END,
        cost_usd = task.cost_usd + bill.cost - before.cost_usd,
        tokens = task.tokens + bill.tokens - before.tokens,
        cost_source = whole.source,
        model = coalesce(bill.model, task.model),
        version = task.version + 1, updated_at = clock_timestamp()
      FROM verdict, bill, whole, before
      WHERE task.id = verdict.id
        AND (mine OR (bill.cost, bill.tokens, bill.source) IS DISTINCT FROM
          (before.cost_usd, before.tokens, before.cost_source))
      RETURNING task.*
    ), logged AS (
      INSERT INTO events (type, entity, entity_id, lead_id, via, version, fields)
      SELECT 'ai_task.updated', 'ai_task', written.id::text, written.lead_id, 'program', written.version,
        jsonb_build_array(
          jsonb_build_object('name', 'status', 'before', upper(old.status), 'after', upper(written.status)),
          jsonb_build_object('name', 'progress', 'before', old.progress, 'after', written.progress),
          jsonb_build_object('name', 'costUsd', 'before', trim_scale(old.cost_usd)::text,
            'after', trim_scale(written.cost_usd)::text)
        ) FROM written, old
    ), progressed AS (
      DELETE FROM events WHERE id = $11::bigint
    )
    SELECT written.id, written.status, written.priority, written.due_at, old.job_id FROM written, old WHERE old.mine
    """  # noqa: S608  (constants of ours)
)
_QUEUED: Final = Statement("UPDATE ai_tasks SET job_id = $2::bigint WHERE id = $1::uuid")
# The stream keeps only an attempt's latest progress: subscribers want the state, not its history.
_PROGRESS: Final = Statement(
    """
    WITH before AS (
      DELETE FROM events WHERE id = $4::bigint
    ), old AS (
      SELECT id, progress FROM ai_tasks
      WHERE id = $1::uuid AND lease_token = $2::uuid AND status = 'running' FOR NO KEY UPDATE
    ), written AS (
      UPDATE ai_tasks SET progress = $3::float, version = version + 1, updated_at = clock_timestamp()
      FROM old WHERE ai_tasks.id = old.id RETURNING ai_tasks.id, lead_id, version
    )
    INSERT INTO events (type, entity, entity_id, lead_id, via, version, fields)
    SELECT 'ai_task.progressed', 'ai_task', written.id::text, lead_id, 'program', written.version, jsonb_build_array(
      jsonb_build_object('name', 'progress', 'before', old.progress, 'after', $3::float)
    ) FROM written, old
    RETURNING id::text
    """
)
_RENEW: Final = Statement(
    """
    UPDATE ai_tasks SET lease_expires_at = clock_timestamp() + make_interval(secs => $3::float)
    WHERE id = ANY($1::uuid[]) AND lease_token = ANY($2::uuid[]) AND status = 'running' RETURNING lease_token::text
    """
)
_VALID: Final = Statement(
    """
    SELECT lease_token::text FROM ai_tasks
    WHERE id = ANY($1::uuid[]) AND lease_token = ANY($2::uuid[]) AND status = 'running'
    """
)
# Tasks that have been due for a while without a job to run them: the task's row decides, whatever became of the job.
_JOBLESS: Final = Statement(
    """
    SELECT id, priority, due_at FROM ai_tasks AS task
    WHERE status IN ('queued', 'retrying') AND due_at < now() - interval '15 seconds'
      AND NOT EXISTS (
        SELECT FROM procrastinate_jobs AS job WHERE job.id = task.job_id AND job.status IN ('todo', 'doing')
      )
    ORDER BY due_at LIMIT 100 FOR UPDATE SKIP LOCKED
    """
)
# Cancelling or ending the task waits for a transaction that has run this check; renewing its lease or writing its
# progress does not (a plain FOR SHARE would hold up all leases of a worker).
_CHECK: Final = Statement(
    """
    SELECT 1 FROM ai_tasks WHERE id = $1::uuid AND lease_token = $2::uuid AND status = 'running' FOR KEY SHARE
    """
)
_LOST: Final = Statement(
    """
    SELECT task.id::text, task.lease_token::text, attempt.id::text, attempt.worker FROM ai_tasks AS task
    JOIN ai_task_attempts AS attempt ON attempt.task_id = task.id AND attempt.number = task.attempt
    WHERE task.status = 'running' AND task.lease_expires_at < clock_timestamp() - make_interval(secs => $1::float)
    ORDER BY task.lease_expires_at LIMIT 200
    """
)


@dataclass(frozen=True, slots=True)
class TaskLease:
    """A task that a worker has claimed for one attempt."""

    task_id: UUID
    attempt_id: UUID
    token: UUID
    task_type: str
    input: Any
    lead_id: int | None
    viewer: Viewer
    attempt: int
    timeout_seconds: int
    aged: bool

    @property
    def owner_may_write(self) -> bool:
        """Whether its owner may still do what the task does: not if they were disabled, or only read now."""
        return self.viewer.id is None or self.viewer.role.includes(Role.MEMBER)


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an attempt ended."""

    outcome: AiTaskOutcome
    result: Any = None
    error: str | None = None
    code: str | None = None
    # Seconds until the next attempt; if None, 1, 2, 4 ... 30.
    pause: float | None = None
    # Whether another attempt makes sense.
    again: bool = True
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class TaskKey:
    """The ids and the lease token by which an attempt is ended."""

    task_id: UUID
    attempt_id: UUID
    token: UUID


async def claim(context: WorkerContext, key: TaskKey, worker: str, seconds: float) -> TaskLease | None:
    """Claim a due task; None if another worker has it, or it was cancelled."""
    params = [key.task_id, key.token, key.attempt_id, worker, seconds]
    result = await context.database.write(_CLAIM, [encode(value) for value in params])
    if not result.ntuples:
        return None
    context.feed.announce()
    task_type, task_input, lead, user, attempt, timeout, role, aged = (_text(result, column) for column in range(8))
    viewer = Viewer(UUID(user) if user else None, Role(role) if role else Role.VIEWER)
    return TaskLease(
        key.task_id,
        key.attempt_id,
        key.token,
        task_type or "",
        orjson.loads(task_input or "{}"),
        int(lead) if lead else None,
        viewer,
        int(attempt or 0),
        int(timeout or 0),
        aged == "true",
    )


async def end(context: WorkerContext, key: TaskKey, ended: AttemptEnd, progress_event: int | None = None) -> bool:
    """Record how an attempt ended; False if it no longer held the lease, so that only its cost was recorded.

    `progress_event` is the id of the event with its latest progress.
    """
    params = [*_end_params(key, ended), encode(progress_event), encode(_MOST_LOSSES)]
    if ended.outcome is AiTaskOutcome.COMPLETED:
        result = await context.database.write(_END, params)
        context.feed.announce()
        return bool(result.ntuples)

    async def end_and_requeue(unit: UnitOfWork) -> bool:
        rows = await unit.execute(_END, params)
        for row in rows:
            if AiTaskStatus(row["status"]) in WAITING:
                await _enqueue(unit, row)
            if ended.outcome is AiTaskOutcome.LOST and row["job_id"] is not None:
                await forget(unit, [row["job_id"]])  # it would be rescued, and run beside the new job
        return bool(rows)

    return await context.writer().run(end_and_requeue)


async def _enqueue(unit: UnitOfWork, row: dict[str, Any]) -> None:
    due: datetime = row["due_at"]
    (job,) = await enqueue(unit, job_for(row["id"], AiTaskPriority(row["priority"]), due))
    await unit.execute(_QUEUED, [encode(row["id"]), encode(job)])


def guarded(context: WorkerContext, key: TaskKey) -> WorkerContext:
    """The context of one attempt: its writes commit only while the attempt holds its lease."""

    async def check_lease(unit: UnitOfWork) -> None:
        await unit.flush()
        wrote = unit.wrote
        if not await unit.execute(_CHECK, [encode(key.task_id), encode(key.token)]):
            message = "It was cancelled, or its worker was taken for dead: nothing more is saved."
            raise Failure(message, code="LEASE_LOST")
        unit.wrote = wrote  # the check wrote nothing

    return replace(context, commit_guard=check_lease)


async def record_progress(context: WorkerContext, key: TaskKey, progress: float, before: int | None) -> int | None:
    """Record an attempt's progress; returns its event's id, which replaces the event `before`."""
    params = [encode(value) for value in (key.task_id, key.token, progress, before)]
    result = await context.database.write(_PROGRESS, params)
    context.feed.announce()
    return int(_text(result, 0) or 0) if result.ntuples else None


async def renew(context: WorkerContext, keys: Sequence[TaskKey], seconds: float) -> set[UUID]:
    """Renew leases; returns the tokens of those that are still valid."""
    return _tokens(await context.database.write(_RENEW, [*_params_of(keys), encode(seconds)]))


async def valid_tokens(context: WorkerContext, keys: Sequence[TaskKey]) -> set[UUID]:
    """The tokens of the leases that are still valid."""
    return _tokens(await context.database.read(_VALID, _params_of(keys)))


async def lost(context: WorkerContext, idle: float = 0) -> list[tuple[TaskKey, str]]:
    """Attempts whose lease ran out at least `idle` seconds ago, with their workers' names."""
    result = await context.database.write(_LOST, [encode(idle)])
    rows = [[_text(result, column, row) or "" for column in range(4)] for row in range(result.ntuples)]
    return [(TaskKey(UUID(task), UUID(attempt), UUID(token)), worker) for task, token, attempt, worker in rows]


async def end_lost(context: WorkerContext, attempts: Iterable[tuple[TaskKey, str]]) -> int:
    """End lost attempts; returns how many there were."""
    ended = 0
    for key, worker in attempts:
        text = f"The worker that ran it ({worker}) died or froze."
        ended += await end(context, key, AttemptEnd(AiTaskOutcome.LOST, error=text, code="WORKER_LOST"))
    return ended


async def requeue(context: WorkerContext) -> int:
    """Give a job to tasks that have none; returns how many there were."""

    async def enqueue_jobs(unit: UnitOfWork) -> int:
        rows = await unit.execute(_JOBLESS)
        for row in rows:
            await _enqueue(unit, row)
        unit.wrote = False
        return len(rows)

    return await context.writer().run(enqueue_jobs)


def _end_params(key: TaskKey, ended: AttemptEnd) -> list[bytes | None]:
    # NUL, which JSON can spell and PostgreSQL cannot store, is left out.
    result = None if ended.result is None else _NUL.sub(rb"\1", orjson.dumps(ended.result))
    error = None if ended.error is None else ended.error.replace("\x00", "")[:_MOST_ERROR]
    values = [ended.outcome.value, result, error, ended.code, ended.pause, ended.again, ended.quality]
    return [encode(value) for value in (key.task_id, key.attempt_id, key.token, *values)]


def _params_of(keys: Sequence[TaskKey]) -> list[bytes | None]:
    return [encode([key.task_id for key in keys]), encode([key.token for key in keys])]


def _tokens(result: "pq.abc.PGresult") -> set[UUID]:
    return {UUID(_text(result, 0, row) or "") for row in range(result.ntuples)}


def _text(result: "pq.abc.PGresult", column: int, row: int = 0) -> str | None:
    value = result.get_value(row, column)
    return None if value is None else value.decode()
