"""Root fields that Python answers: the call of a resolver, and the rendering of its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import strawberry
from graphql import Undefined

from crm.core.identity import Viewer, new_request_id
from crm.graph.compile.arguments import plain
from crm.graph.compile.plan import Plan
from crm.graph.compile.selection import Selected
from crm.graph.run import answers as answer
from crm.graph.run.context import Context, Info, Projected
from crm.graph.run.projection import MutationProjection

if TYPE_CHECKING:
    from crm.graph.run.engine import Engine

# Making so many records takes 5 ms, which may block the event loop. More are made in the side thread.
_MANY_RECORDS: Final = 50


@dataclass(slots=True)
class OperationRun:
    """One run of an operation: the values that its root resolvers share, and their warnings."""

    variables: Mapping[str, Any]
    viewer: Viewer
    deadline: float
    bytes_left: int  # of the answer
    request_id: str = field(default_factory=new_request_id)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    changed: bool = False


async def resolve(engine: "Engine", root: Selected, plan: Plan, run: OperationRun) -> bytes:
    """Call a root field's resolver, and return its result as finished JSON, which counts as a part of the answer."""
    if root.key in plan.rejected:
        plan.refuse(root.key)
    shape = root.shape
    assert shape is not None
    if any(isinstance(value, list) and len(value) > _MANY_RECORDS for value in run.variables.values()):
        keywords = await engine.side.run(run.viewer.id, _keywords, root, run.variables)
    else:
        keywords = _keywords(root, run.variables)
    projection = _projection(root, plan)
    context = Context(engine, run.viewer, projection, run.variables, run.deadline, run.request_id, run.bytes_left)
    try:
        result = await shape.resolver(None, Info(context), **keywords)
    finally:
        run.warnings += [answer.rendered_warning(warning, [root.key]) for warning in context.warnings]
        run.changed = run.changed or context.changed
    json = result.json if isinstance(result, Projected) else await projection.answer(result, [], run.bytes_left)
    run.bytes_left -= len(json)
    return json


def _projection(root: Selected, plan: Plan) -> MutationProjection:
    if root.projection is None:
        root.projection = MutationProjection(root, plan.weigh, plan.budget)
    projection: MutationProjection = root.projection
    return projection


def _keywords(root: Selected, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a root field for its resolver, checked."""
    assert root.shape is not None
    keywords = {}
    for argument in root.arguments:
        value = argument.value(variables)
        if value is not strawberry.UNSET and value is not Undefined:
            keywords[argument.name] = plain(argument.kind, value, argument.name, argument.label)
            root.shape.check(argument.name, argument.label, value)
    return keywords
