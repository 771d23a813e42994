"""Answers that say what their operation cost."""

from typing import TYPE_CHECKING, Any

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph.run.answers import Answer, with_cost

if TYPE_CHECKING:
    from crm.graph.run.engine import Engine, Request


async def run_priced(engine: "Engine", request: "Request", viewer: Viewer, **options: Any) -> Answer:
    """`Engine.run`, with the operation's points in `extensions`, of one that is refused as too complex, too.

    An operation that cannot be read, or whose variables are not valid, has no price.
    """
    answered = await engine.run(request, viewer, **options)
    try:
        operation = options.get("operation") or await engine.opened(request, viewer)
        variables = await engine.coerced(operation, request.variables, viewer)
        points = engine.plan(operation, variables, viewer).cost(variables)
    except errors.CrmError:
        return answered
    return with_cost(answered, points, engine.settings.max_cost)
