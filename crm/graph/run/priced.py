"""Answers that say what their operation cost."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crm.core.identity import Viewer
from crm.graph.compile.documents import Operation
from crm.graph.run.answers import Answer, with_cost

if TYPE_CHECKING:
    from crm.graph.run.engine import Engine, Request


def asks_for_cost(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request's headers ask for what its operation costs."""
    return headers.get(b"x-cost") == b"1"


async def run_priced(
    engine: "Engine", request: "Request", viewer: Viewer, *, operation: Operation | None = None, **options: Any
) -> Answer:
    """`Engine.run`, with the operation's points in `extensions`, of one that is refused as too complex, too.

    An operation that cannot be read, or whose variables are not valid, has no price. The price comes first: nothing may
    fail, or wait, between what is saved and the answer that says so.
    """
    points = None
    try:
        operation = operation or await engine.opened(request, viewer)
        variables = await engine.coerced(operation, request.variables, viewer)
        points = engine.plan(operation, variables, viewer).cost(variables)
    except Exception:  # noqa: BLE001, S110  (the run meets it again and answers with it, if it is the operation's)
        pass
    answered = await engine.run(request, viewer, operation=operation, **options)
    return answered if points is None else with_cost(answered, points, engine.settings.max_cost)
