"""AI tasks, as users create and change them; `lease.py` has the workers' side."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    func,
    select,
    type_coerce,
)
from sqlalchemy.types import Uuid

from crm.advice.ai_claims.model import AiClaim
from crm.ai.calls import new_id
from crm.ai_tasks import builtin_types as _  # noqa: F401  (registers the types)
from crm.ai_tasks.columns import in_line, is_final
from crm.ai_tasks.model import DEFAULTS, FINAL, RETRIABLE, AiTask, AiTaskAttempt, AiTaskPriority, AiTaskStatus
from crm.ai_tasks.task_types import TaskType, checked_input, task_type_of
from crm.core import errors, validate
from crm.core.language import Phrase
from crm.core.pacing import paced
from crm.core.problems import FieldProblem, Problem
from crm.core.validate import parse_uuid
from crm.db.missing import missing
from crm.db.query import Operand, Where, filtered, ordered, says_nothing
from crm.db.service import Service
from crm.db.statement import Statement, encode
from crm.jobs import Job, cancel, enqueue, prioritise
from crm.sales.leads.model import Lead
from crm.sales.tasks.model import Task
from crm.sales.tasks.service import TaskService

QUEUE: Final = "ai"
JOB: Final = "ai_task"
MOST_AT_ONCE: Final = 100
MOST_CANCELLED: Final = 1000
_MOST_INPUT: Final = 64 * 1024
_MANY: Final = Phrase("1 to {limit} tasks are allowed, not {length}.", "1 till {limit} uppgifter går, inte {length}.")
_LARGE: Final = Phrase(
    "{label}: at most {limit} bytes are allowed, not {size}.", "{label}: högst {limit} byte är tillåtna, inte {size}."
)
_SAME_KEY: Final = Phrase(
    "Two of these tasks have the same idempotency key.", "Två av uppgifterna har samma idempotensnyckel."
)
_OTHER_TASK: Final = Phrase(
    "The idempotency key {key} was used for another task: {task}.",
    "Idempotensnyckeln {key} har använts för en annan uppgift: {task}.",
)
_NOT_CANCELLED: Final = Phrase(
    "The task is {status}, so it cannot be cancelled.", "Uppgiften är {status}, så den kan inte avbrytas."
)
_NOT_RETRIED: Final = Phrase(
    "The task is {status}, so it cannot be retried.", "Uppgiften är {status}, så den kan inte köras om."
)
_NO_RESULT: Final = Phrase(
    "The task is {status}, so it has no result to rate.", "Uppgiften är {status}, så det finns inget att betygsätta."
)
_NO_PRIORITY: Final = Phrase(
    "The task is {status}, so it has no use for a priority any more.",
    "Uppgiften är {status}, så en prioritet gör ingen nytta längre.",
)
# procrastinate's priorities: higher is sooner. A task that has waited long goes before all others.
_LEVELS: Final = {
    AiTaskPriority.LOW: 10,
    AiTaskPriority.NORMAL: 20,
    AiTaskPriority.HIGH: 30,
    AiTaskPriority.URGENT: 40,
}
AGED: Final = 50
_CUT: Final = Statement(
    """
    WITH cut AS (
      UPDATE ai_task_attempts SET outcome = 'cancelled', finished_at = clock_timestamp()
      WHERE task_id = ANY($1::uuid[]) AND outcome IS NULL
    )
    SELECT clock_timestamp() AS now
    """
)


def job_for(key: UUID, priority: AiTaskPriority, due_at: datetime | None, *, aged: bool = False) -> Job:
    """The job that runs a task; its only argument is the task's id."""
    return Job(JOB, {"task": str(key)}, QUEUE, AGED if aged else _LEVELS[priority], due_at)


class AiTaskService(Service):
    """AI tasks and their life cycle, as their users see it."""

    @staticmethod
    def matching(where: Where | None = None, order_by: Sequence[Any] | None = None) -> Select[Any]:
        """AI tasks, newest first unless asked otherwise."""
        return ordered(filtered(select(AiTask), AiTask, where), AiTask, order_by, {"queue": in_line})

    @staticmethod
    def with_id(key: Operand) -> Select[Any]:
        """The AI task with this id."""
        return select(AiTask).where(AiTask.id == type_coerce(key, Uuid()))

    @staticmethod
    def named(id: Operand = None, lead_id: Operand = None) -> Select[Any] | None:  # noqa: A002, ARG004
        """The task that a subscription is about; None if it is about all of a user's tasks."""
        return None if id is None else AiTaskService.with_id(id)

    @staticmethod
    def attempts_of(task_id: Operand) -> Select[Any]:
        """A task's attempts, the first first."""
        return select(AiTaskAttempt).where(AiTaskAttempt.task_id == task_id).order_by(AiTaskAttempt.number)

    @staticmethod
    def suggested(task_id: Operand, where: Where | None = None, order_by: Sequence[Any] | None = None) -> Select[Any]:
        """The CRM's tasks that an AI task suggested."""
        claims = select(AiClaim.id).where(AiClaim.ai_task_id == task_id)
        return TaskService.matching(where, order_by).where(Task.generation_id.in_(claims))

    async def create(self, values: Mapping[str, Any]) -> AiTask:
        """Add a task and its job."""
        with errors.within("input"):
            task = self._checked(values)
        return (await self._added([task], ["input"]))[0]

    async def create_many(self, inputs: Sequence[Mapping[str, Any]]) -> list[AiTask]:
        """Add tasks and their jobs, all or none."""
        if not 0 < len(inputs) <= MOST_AT_ONCE:
            raise _wrong(FieldProblem.TOO_MANY, "inputs", _MANY, limit=MOST_AT_ONCE, length=len(inputs))
        tasks, places = [], [f"inputs.{index}" for index in range(len(inputs))]
        problems: list[Problem] = []
        async for values, place in paced(zip(inputs, places, strict=True)):
            with errors.gathered(problems, place):
                tasks.append(self._checked(values))
        if problems:
            raise errors.BadUserInput.of(problems)
        return await self._added(tasks, places)

    async def _added(self, tasks: Sequence[AiTask], places: Sequence[str]) -> list[AiTask]:
        """Add the tasks whose key is new; an error names its place in the input."""
        saved = await self._known(tasks, places)
        new = {place: task for place, task, kept in zip(places, tasks, saved, strict=True) if task is kept}
        await self._check_leads(new)
        jobs = (
            await enqueue(
                self.unit_of_work,
                *(job_for(task.id, task.priority, task.__dict__.get("due_at")) for task in new.values()),
            )
            if new
            else []
        )
        for task, job in zip(new.values(), jobs, strict=True):
            task.job_id = job
        # In the order of their keys: two batches with common keys must not wait for each other.
        for task in sorted(new.values(), key=lambda task: task.__dict__.get("idempotency_key") or ""):
            self.unit_of_work.add(task)
        return saved

    async def cancel(self, key: str) -> AiTask:
        """Cancel a task that has not ended; a running one is stopped."""
        task = await self._get_locked(key)
        if task.status in FINAL:
            raise _refused(task, _NOT_CANCELLED)
        await self._cancel([task])
        return task

    async def cancel_matching(self, where: Where) -> list[AiTask]:
        """Cancel tasks that match a filter and have not ended: at most 1,000 at once, the oldest first."""
        if says_nothing(where):
            message = "`filter` is empty: say which tasks, by `status` if you mean all of them."
            raise errors.BadUserInput(message, field="filter")
        wanted = filtered(select(AiTask), AiTask, where).where(~is_final(AiTask.status))
        tasks = await self.unit_of_work.all(wanted.order_by(AiTask.id).limit(MOST_CANCELLED).with_for_update(), AiTask)
        await self._cancel(tasks)
        return tasks

    async def retry(self, key: str) -> AiTask:
        """Run a task again that failed, was cancelled or timed out; it has all its retries again."""
        task = await self._get(key)
        if task.status not in RETRIABLE:
            raise _refused(task, _NOT_RETRIED)
        task.status = AiTaskStatus.QUEUED
        task.failures, task.losses, task.progress, task.aged, task.finished_at = 0, 0, 0.0, False, None
        now = (await self.unit_of_work.rows(select(func.now().label("now"))))[0]["now"]
        task.due_at = max(now, task.scheduled_for or now)
        (task.job_id,) = await enqueue(self.unit_of_work, job_for(task.id, task.priority, task.due_at))
        return task

    async def rate(self, key: str, score: float) -> AiTask:
        """Rate a result, 0 to 1."""
        task = await self._get(key)
        if task.status is not AiTaskStatus.COMPLETED:
            raise _refused(task, _NO_RESULT)
        if not 0 <= score <= 1:
            error = validate.out_of_range("score", score, 0, 1)
            raise error
        task.quality_score = score
        return task

    async def _cancel(self, tasks: Sequence[AiTask]) -> None:
        if not tasks:
            return
        jobs = [task.job_id for task in tasks if task.job_id is not None]
        now = (await self.unit_of_work.execute(_CUT, [encode([task.id for task in tasks])]))[0]["now"]
        for task in tasks:
            task.finished_at = now
            if task.status is AiTaskStatus.RUNNING:
                task.stopped_at = task.finished_at
            task.status, task.aged = AiTaskStatus.CANCELLED, False
            task.lease_token = task.lease_expires_at = task.job_id = None
        if jobs:
            await cancel(self.unit_of_work, jobs)

    async def prioritise(self, key: str, priority: AiTaskPriority) -> AiTask:
        """Change a task's priority; for a running task it counts for the next attempt."""
        task = await self._get(key)
        if task.status in FINAL:
            raise _refused(task, _NO_PRIORITY)
        task.priority = priority
        if task.job_id is not None:
            await prioritise(self.unit_of_work, [task.job_id], AGED if task.aged else _LEVELS[priority])
        return task

    async def _get(self, key: str) -> AiTask:
        return await self.unit_of_work.get(AiTask, parse_uuid(key, "id"))

    async def _get_locked(self, key: str) -> AiTask:
        """The task, locked: waits for attempts that are saving, which hold its row by `lease.guarded`."""
        statement = self.with_id(parse_uuid(key, "id")).with_for_update()
        task = await self.unit_of_work.first(statement, AiTask)
        if task is None:
            raise missing(AiTask, key)
        return task

    def _checked(self, values: Mapping[str, Any]) -> AiTask:
        values, task_type = _cleaned(values)
        if "idempotency_key" in values:
            values["fingerprint"] = _fingerprint(task_type, values)
        # A task without a schedule is due at once by PostgreSQL's clock, which may differ from this machine's.
        later = _later(values.get("scheduled_for"), self.unit_of_work.now())
        values |= {"due_at": later} if later else {}
        values.setdefault("priority", AiTaskPriority.NORMAL)
        return AiTask(id=new_id(), created_by=self.viewer.id, **values)

    async def _check_leads(self, tasks: Mapping[str, AiTask]) -> None:
        wanted = {place: key for place, task in tasks.items() if (key := task.__dict__.get("lead_id")) is not None}
        if not wanted:
            return
        keys = sorted(set(wanted.values()))
        existing = {row["id"] for row in await self.unit_of_work.rows(select(Lead.id).where(_any(Lead.id, keys)))}
        for place, key in wanted.items():
            if key not in existing:
                with errors.within(place):
                    raise missing(Lead, key, reference="lead_id")

    async def _known(self, tasks: Sequence[AiTask], places: Sequence[str]) -> list[AiTask]:
        """The same tasks, but for a key that was used before the task that it created."""
        keys = [key for task in tasks if (key := task.__dict__.get("idempotency_key"))]
        if not keys:
            return list(tasks)
        if len(set(keys)) < len(keys):
            raise _wrong(FieldProblem.TAKEN, "inputs", _SAME_KEY)
        wanted = select(AiTask).where(AiTask.created_by == self.viewer.id, _any(AiTask.idempotency_key, keys))
        before = {str(task.idempotency_key): task for task in await self.unit_of_work.all(wanted, AiTask)}
        saved = [before.get(task.__dict__.get("idempotency_key") or "", task) for task in tasks]
        for new, task, place in zip(tasks, saved, places, strict=True):
            if task is not new and new.fingerprint != (task.fingerprint or new.fingerprint):
                raise errors.Conflict(
                    _OTHER_TASK.of(key=repr(new.idempotency_key), task=str(task.id)),
                    conflict=errors.ConflictReason.KEY_REUSED,
                    problem=FieldProblem.TAKEN,
                    field=f"{place}.idempotencyKey",
                    existingId=str(task.id),
                )
        return saved


def _cleaned(values: Mapping[str, Any]) -> tuple[dict[str, Any], TaskType[Any]]:
    """A task's values by the columns' rules and those of its type, and the type; or one error for all mistakes."""
    cleaned, problems = validate.checked(values, AiTask.rules)
    task_type: TaskType[Any] | None = None
    if "task_type" in cleaned:
        with errors.gathered(problems):
            validate.require(cleaned, "task_type")
            task_type = task_type_of(cleaned["task_type"])
    if task_type is not None and task_type.needs_lead and cleaned.get("lead_id") is None:
        problems.append(Problem.of("leadId", FieldProblem.REQUIRED))
    with errors.gathered(problems):
        _check_size(cleaned.get("input"))
        if task_type is not None:
            cleaned["input"] = checked_input(task_type, cleaned.get("input"))
    if problems or task_type is None:
        raise errors.BadUserInput.of(problems or [Problem.of("taskType", FieldProblem.REQUIRED)])
    return {name: value for name, value in cleaned.items() if value is not None}, task_type


def _refused(task: AiTask, reason: Phrase) -> errors.Conflict:
    status = task.status.name
    return errors.Conflict(
        reason.of(status=status), conflict=errors.ConflictReason.WRONG_STATE, field="id", status=status
    )


def _wrong(reason: FieldProblem, field: str, phrase: Phrase | None = None, **values: Any) -> errors.BadUserInput:
    return errors.BadUserInput.of([Problem.of(field, reason, phrase, **values)])


def _later(moment: datetime | None, now: datetime) -> datetime | None:
    """When a task is due, if that is not now."""
    return moment if moment is not None and moment > now else None


def _check_size(task_input: object) -> None:
    size = len(json.dumps(task_input, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    if size > _MOST_INPUT:
        raise _wrong(FieldProblem.TOO_LONG, "input", _LARGE, limit=_MOST_INPUT, size=size)


def _fingerprint(task_type: TaskType[Any], values: Mapping[str, Any]) -> str:
    """A hash of a request: the same whether defaults, the task's or those of its input's fields, are written out."""
    request = {name: value for name, value in values.items() if DEFAULTS.get(name) != value}
    request["input"] = task_type.input.model_validate(values["input"]).model_dump(mode="json")
    return sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _any(column: Any, values: Sequence[object]) -> ColumnElement[bool]:
    is_any: ColumnElement[bool] = column == func.any(type_coerce(list(values), ARRAY(column.type)))
    return is_any
