"""The built-in types of AI tasks: their inputs, and the code that runs them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Concatenate, Final

from pydantic import Field, create_model

from crm.advice.ai_claims.service import current_ai_task
from crm.advice.recommendations.service import RecommendationService
from crm.advice.summaries.service import SummaryService
from crm.ai.provider import Outcome
from crm.ai_tasks.task_types import TASK_TYPES, Failure, OutOfTime, Result, TaskInput, TaskRun, TaskType, register
from crm.core import errors
from crm.db.row_lock import LockTaken
from crm.db.workflow import P, T, W, Workflow, Write, run_workflow, time_to_save, write_of
from crm.sales.scoring.recalculation import Recalculation
from crm.sales.scoring.service import ScoreService

_STEP_SECONDS: Final = 0.1
_LONGEST_PAUSE: Final = 30
_LONGEST_ECHO: Final = 3600
# With less than this left, the time counts as used up: a question is given up a moment before its deadline.
_NO_SECONDS: Final = 0.1


class EchoInput(TaskInput):
    """The input of a task for trying things out: how long it takes, and how often it fails first."""

    message: Annotated[str, Field(max_length=10_000)] = ""
    seconds: Annotated[float, Field(ge=0, le=_LONGEST_ECHO)] = 0
    failures: Annotated[int, Field(ge=0, le=20)] = 0


async def _echo(run: TaskRun, options: EchoInput) -> Result:
    clock = asyncio.get_running_loop().time
    began = clock()
    while (left := began + options.seconds - clock()) > 0:
        run.progress(1 - left / options.seconds)
        await asyncio.sleep(min(left, _STEP_SECONDS))
    if run.attempt <= options.failures:
        message = f"It was asked to fail {options.failures} times."
        raise Failure(message)
    return {"message": options.message}


class RecommendationsInput(TaskInput):
    """An empty input: `leadId` is all that the task needs."""


async def _recommend(run: TaskRun, _: RecommendationsInput) -> Result:
    tasks = await _run_in_attempt(run, RecommendationService.generate, _lead_of(run))
    complete = sum(1 for task in tasks if task.ai_reasoning and task.due_date)
    return suggested([task.id for task in tasks], complete)


def suggested(tasks: Sequence[int], complete: int) -> dict[str, Any]:
    """What recommendations came to: the tasks' ids, by their old name as numbers, and how many tasks have all parts."""
    return {"suggestedTaskIds": [str(number) for number in tasks], "taskIds": list(tasks), "complete": complete}


def _completeness(result: Result) -> float | None:
    """The share of suggestions that have a reason and a date."""
    count = len(result["taskIds"])
    return result["complete"] / count if count else None


class SummaryInput(TaskInput):
    """The input of a summary: whether to write it anew even if nothing happened since."""

    force: bool = False


async def _summarise(run: TaskRun, options: SummaryInput) -> Result:
    lead = await _run_in_attempt(run, SummaryService.regenerate, _lead_of(run), options.force)
    return {"leadId": lead.id}


class ScoresInput(TaskInput):
    """An empty input: with `leadId` one lead is scored, without it all are."""


async def _score(run: TaskRun, _: ScoresInput) -> Result:
    context = run.context
    if run.lead_id is not None:
        changed = await context.writer(run.viewer).run(write_of(ScoreService.follow, [run.lead_id]))
        return {"count": 1, "failed": 0, "changed": len(changed)}
    recalculation = Recalculation(
        context.database,
        run.viewer.id,
        context.feed.announce,
        lambda count, total: run.progress(count / max(total, 1)),
        holder=run.task_id,
        pause=context.settings.recalculation_pause_seconds,
        commit_guard=context.commit_guard,
    )
    try:
        done = await recalculation.run()
    except LockTaken as taken:  # for an unknown time: retry soon, and then ever more rarely
        pause = min(run.attempt, _LONGEST_PAUSE)
        raise errors.Conflict(taken.phrase, conflict=errors.ConflictReason.BUSY, retryAfterSeconds=pause) from taken
    return {key: value for key, value in asdict(done).items() if key in ("count", "failed", "changed")}


def _lead_of(run: TaskRun) -> int:
    """The lead that a task is about, of a type that is always about one."""
    assert run.lead_id is not None
    return run.lead_id


async def _run_in_attempt(
    run: TaskRun, method: Callable[Concatenate[W, P], Awaitable[Write[T]]], *arguments: P.args, **keywords: P.kwargs
) -> T:
    """Run a workflow as a mutation does, except that a model that gives no answer fails the attempt, not just warns."""
    context = run.context
    current_ai_task.set(run.task_id)  # in this attempt's own context
    saving = time_to_save(run.deadline - asyncio.get_running_loop().time())
    workflow = Workflow(context.writer(run.viewer), context.ai, run.deadline - saving, saving=saving)
    try:
        result = await run_workflow(workflow, method, *arguments, **keywords)
        for warning in workflow.warnings:
            if isinstance(warning, errors.AiUnavailable) and "answeredBy" not in warning.details:
                raise warning
    except (errors.AiUnavailable, errors.Conflict) as error:
        if workflow.seconds_left() < _NO_SECONDS and _is_late(error):
            raise OutOfTime from error
        raise
    return result


def _is_late(error: errors.CrmError) -> bool:
    """Whether the error is a timeout: of the model, or of another request's run that this one waited for."""
    return isinstance(error, errors.Conflict) or error.details.get("reason") == Outcome.TIMEOUT.name


register(
    TaskType("echo", "Gives its message back: for trying things out.", EchoInput, _echo),
    TaskType(
        "task_recommendations",
        "Suggests up to three tasks for a lead.",
        RecommendationsInput,
        _recommend,
        needs_lead=True,
        quality=_completeness,
    ),
    TaskType("lead_summary", "Writes a lead's summary.", SummaryInput, _summarise, needs_lead=True),
    TaskType("score_recalculation", "Calculates a lead's score anew, or all leads'.", ScoresInput, _score),
)


def limit_echo(seconds: float) -> None:
    """Limit how long an `echo` may last: it holds a slot all that time, and real work waits."""
    limited = create_model("EchoInput", __base__=EchoInput, seconds=(Annotated[float, Field(ge=0, le=seconds)], 0))
    register(replace(TASK_TYPES["echo"], input=limited))
