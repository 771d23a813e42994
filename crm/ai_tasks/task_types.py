"""Types of AI tasks: what each takes, and what runs it. `work.py` has those that there are."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph.compile.arguments import check_text
from crm.jobs import WorkerContext

I = TypeVar("I", bound=BaseModel)  # noqa: E741  (an input)

Result = Mapping[str, Any]


class Failure(Exception):
    """The attempt failed: the message is for the user. Not `again`: another attempt would fail as well."""

    def __init__(self, message: str, *, code: str = "FAILED", again: bool = True) -> None:
        self.code = code
        self.again = again
        super().__init__(message)


class OutOfTime(Exception):
    """What the attempt waited for did not come within its time: it ends as one that takes too long does."""


@dataclass(frozen=True)
class TaskRun:
    """One attempt, as the code of a type sees it: `run(run, input)`."""

    task_id: UUID
    attempt: int
    lead_id: int | None
    # The user whose task it is: what it writes is theirs.
    viewer: Viewer
    # Until when, on the event loop's clock; then the attempt is cancelled.
    deadline: float
    # Its `write` and `writer` save nothing once the attempt was cancelled or is somebody else's; `database` would.
    context: WorkerContext
    # Tell how far it is, 0 to 1. It may be called as often as one likes.
    progress: Callable[[float], None]


@dataclass(frozen=True)
class TaskType(Generic[I]):
    """One type of AI task. `run` is an asyncio coroutine: whatever computes for long goes off the loop."""

    name: str
    description: str
    input: type[I]
    run: Callable[[TaskRun, I], Awaitable[Result]]
    needs_lead: bool = False
    # An automatic check of a result: 0 to 1, or None if there is nothing to say.
    quality: Callable[[Result], float | None] = lambda _: None


class TaskInput(BaseModel):
    """What a task takes; nothing beside it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


TASK_TYPES: Final[dict[str, TaskType[Any]]] = {}


def known(*kinds: TaskType[Any]) -> None:
    """Make types of AI tasks known, to those who create tasks and to those who run them."""
    TASK_TYPES.update((kind.name, kind) for kind in kinds)


def task_type_of(task_type: str) -> TaskType[Any]:
    """The type of this name."""
    found = TASK_TYPES.get(task_type)
    if found is None:
        message = f"There is no task type {task_type[:100]!r}; there are: {', '.join(sorted(TASK_TYPES))}."
        raise errors.BadUserInput(message, field="taskType", known=sorted(TASK_TYPES))
    return found


def checked_input(kind: TaskType[I], given: object) -> dict[str, Any]:
    """The input, as its type takes it."""
    try:
        found = kind.input.model_validate({} if given is None else given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(["input", *(str(part) for part in first["loc"])])
        message = f"`{place}`, for the task type {kind.name}: {first['msg']}."
        raise errors.BadUserInput(message, field=place) from None
    values = found.model_dump(mode="json", exclude_unset=True)
    for place, text in _texts(values, "input"):
        check_text(text, place)
    return values


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Each text within, and where it is."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(one, f"{place}.{key}")
