"""What AI tasks do, type by type."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Annotated, Concatenate, Final, ParamSpec, TypeVar

from pydantic import Field, create_model

from crm.advice.ai_claims.service import for_task
from crm.advice.recommendations.service import RecommendationService
from crm.advice.summaries.service import SummaryService
from crm.ai.provider import Outcome
from crm.ai_tasks.task_types import TASK_TYPES, Failure, OutOfTime, Result, TaskInput, TaskRun, TaskType, known
from crm.core import errors
from crm.db.row_lock import LockTaken
from crm.db.workflow import Workflow, WorkflowService, Write, run_workflow, time_to_save, write_of
from crm.sales.scoring.recalculation import Recalculation
from crm.sales.scoring.service import ScoreService

T = TypeVar("T")
P = ParamSpec("P")
W = TypeVar("W", bound=WorkflowService)

_STEP_SECONDS: Final = 0.1
_LONGEST_PAUSE: Final = 30
_LONGEST_ECHO: Final = 3600
# So little time left is none: a question is given up a moment before its deadline.
_NO_SECONDS: Final = 0.1


class EchoInput(TaskInput):
    """For trying things out: how long it takes, and how often it fails first."""

    message: Annotated[str, Field(max_length=10_000)] = ""
    seconds: Annotated[float, Field(ge=0, le=_LONGEST_ECHO)] = 0
    failures: Annotated[int, Field(ge=0, le=20)] = 0


async def _echo(run: TaskRun, given: EchoInput) -> Result:
    clock = asyncio.get_running_loop().time
    began = clock()
    while (left := began + given.seconds - clock()) > 0:
        run.progress(1 - left / given.seconds)
        await asyncio.sleep(min(left, _STEP_SECONDS))
    if run.attempt <= given.failures:
        message = f"It was asked to fail {given.failures} times."
        raise Failure(message)
    return {"message": given.message}


class RecommendationsInput(TaskInput):
    """Nothing: the lead says it all."""


async def _recommend(run: TaskRun, _: RecommendationsInput) -> Result:
    tasks = await _held(run, RecommendationService.generate, _lead_of(run))
    complete = sum(1 for task in tasks if task.ai_reasoning and task.due_date)
    return {"taskIds": [task.id for task in tasks], "complete": complete}


def _completeness(result: Result) -> float | None:
    """Of the suggestions, how many come with a reason and a date."""
    count = len(result["taskIds"])
    return result["complete"] / count if count else None


class SummaryInput(TaskInput):
    """Whether to write it anew even if nothing happened since."""

    force: bool = False


async def _summarise(run: TaskRun, given: SummaryInput) -> Result:
    lead = await _held(run, SummaryService.regenerate, _lead_of(run), given.force)
    return {"leadId": lead.id}


class ScoresInput(TaskInput):
    """Nothing: one lead's score with `leadId`, all of them without."""


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
    except LockTaken as taken:  # nobody knows for how long: look soon, and then ever more rarely
        raise errors.Conflict(taken.message, retryAfterSeconds=min(run.attempt, _LONGEST_PAUSE)) from taken
    return {key: value for key, value in asdict(done).items() if key in ("count", "failed", "changed")}


def _lead_of(run: TaskRun) -> int:
    """The lead that a task is about, of a type that is always about one."""
    assert run.lead_id is not None
    return run.lead_id


async def _held(
    run: TaskRun, method: Callable[Concatenate[W, P], Awaitable[Write[T]]], *arguments: P.args, **keywords: P.kwargs
) -> T:
    """Do what a mutation does while its caller waits. There a silent model is a warning; here it fails the attempt."""
    context = run.context
    for_task.set(run.task_id)  # in this attempt's own context
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
    """Whether it is about time alone: an answer that did not come, from the model or from who was at it before."""
    return isinstance(error, errors.Conflict) or error.details.get("reason") == Outcome.TIMEOUT.name


known(
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
    """Take no echo that lasts longer: it does nothing all that time, and holds a slot that others' work waits for."""
    limited = create_model("EchoInput", __base__=EchoInput, seconds=(Annotated[float, Field(ge=0, le=seconds)], 0))
    known(replace(TASK_TYPES["echo"], input=limited))
