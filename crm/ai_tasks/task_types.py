"""Types of AI tasks: the input that each takes and the code that runs it. `builtin_types.py` registers them."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.language import Phrase
from crm.core.problems import FieldProblem, Problem
from crm.graph.compile.arguments import check_text
from crm.jobs import WorkerContext

I = TypeVar("I", bound=BaseModel)  # noqa: E741  (an input)

Result = Mapping[str, Any]


class Failure(Exception):
    """The attempt failed; the message is for the user. `again=False`: another attempt would fail as well."""

    def __init__(self, message: str, *, code: str = "FAILED", again: bool = True) -> None:
        self.code = code
        self.again = again
        super().__init__(message)


class OutOfTime(Exception):
    """The attempt waited in vain for as long as it may take: it ends as a timeout."""


@dataclass(frozen=True)
class TaskRun:
    """One attempt, passed to the code of a type: `run(run, input)`."""

    task_id: UUID
    attempt: int
    lead_id: int | None
    # The user whose task it is, in whose name it writes.
    viewer: Viewer
    # When the attempt is cancelled, on the event loop's clock.
    deadline: float
    # Its `write` and `writer` save nothing once the attempt has lost its lease; `database` would.
    context: WorkerContext
    # Reports how far it is, 0 to 1; may be called as often as needed.
    progress: Callable[[float], None]


@dataclass(frozen=True)
class TaskType(Generic[I]):
    """One type of AI task. `run` is a coroutine function: long computations must run in a thread."""

    name: str
    description: str
    input: type[I]
    run: Callable[[TaskRun, I], Awaitable[Result]]
    needs_lead: bool = False
    # An automatic check of a result: 0 to 1, or None if it cannot tell.
    quality: Callable[[Result], float | None] = lambda _: None


_UNFIT: Final = Phrase("{label}, for the task type {type}: {words}.", "{label}, för typen {type}: {words}.")
_REASONS: Final = {"missing": FieldProblem.REQUIRED, "extra_forbidden": FieldProblem.UNKNOWN_FIELD}


class TaskInput(BaseModel):
    """The input of a task; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


TASK_TYPES: Final[dict[str, TaskType[Any]]] = {}


def register(*task_types: TaskType[Any]) -> None:
    """Make types of AI tasks known to the API and to workers."""
    TASK_TYPES.update((task_type.name, task_type) for task_type in task_types)


def task_type_of(name: str) -> TaskType[Any]:
    """The type of this name."""
    task_type = TASK_TYPES.get(name)
    if task_type is None:
        known = sorted(TASK_TYPES)
        problem = Problem.of("taskType", FieldProblem.NOT_A_CHOICE, known=known, given=repr(name[:100]))
        raise errors.BadUserInput.of([problem])
    return task_type


def checked_input(task_type: TaskType[I], task_input: object) -> dict[str, Any]:
    """The input, validated by the task's type."""
    try:
        valid_input = task_type.input.model_validate({} if task_input is None else task_input)
    except ValidationError as error:
        raise errors.BadUserInput.of([_unfit(task_type, found) for found in error.errors(include_url=False)]) from None
    values = valid_input.model_dump(mode="json", exclude_unset=True)
    for place, text in _texts(values, "input"):
        check_text(text, place)
    return values


def _unfit(task_type: TaskType[Any], found: ErrorDetails) -> Problem:
    """A mistake that the model of a type's input found, in its words."""
    field = ".".join(["input", *(str(part) for part in found["loc"])])
    reason = _REASONS.get(found["type"], FieldProblem.MALFORMED)
    return Problem.of(field, reason, _UNFIT, type=task_type.name, words=found["msg"])


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Each text within a value, and its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(part, f"{place}.{key}")
