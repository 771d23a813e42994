"""Introspection (`__schema`, `__type`): graphql-core answers it, in the side thread."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from graphql import DocumentNode, FieldNode, GraphQLSchema, OperationDefinitionNode, SelectionSetNode, execute_sync

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.side_thread import SideThread
from crm.graph.compile.caches import SecondUseCache
from crm.graph.compile.documents import Operation

# The query of common tools resolves some 10,000 fields; one of 1 KB could resolve over 100,000, and took 1.4 s.
_MAX_FIELDS: Final = 30_000
_MAX_KEPT_BYTES: Final = 4 * 1024 * 1024

Answers = Mapping[str, bytes]


class _TooManyFields(BaseException):
    """Not an Exception: graphql-core would report that as the error of one field, and go on with the next."""


class Introspection:
    """Answers `__schema` and `__type`; answers that are asked for again are cached by the document's text."""

    def __init__(self, schema: GraphQLSchema, side: SideThread) -> None:
        self._schema = schema
        self._side = side
        self._kept: SecondUseCache[tuple[str, str | None], Answers] = SecondUseCache(_MAX_KEPT_BYTES, 1000)

    async def answers(
        self, operation: Operation, nodes: Sequence[FieldNode], variables: Mapping[str, Any], viewer: Viewer
    ) -> Answers:
        """The JSON of these fields, by their keys."""
        key = (operation.document.text, operation.name)
        answers = self._kept.get(key)
        if answers is None:
            answers = await self._side.run(viewer.id, self._executed, operation, nodes, variables)
            if not operation.node.variable_definitions:
                self._kept.offer(key, answers, len(key[0]) + sum(map(len, answers.values())))
        return answers

    def _executed(self, operation: Operation, nodes: Sequence[FieldNode], variables: Mapping[str, Any]) -> Answers:
        definition = OperationDefinitionNode(
            operation=operation.node.operation,
            name=operation.node.name,
            variable_definitions=operation.node.variable_definitions,
            selection_set=SelectionSetNode(selections=tuple(nodes)),
        )
        document = DocumentNode(definitions=(definition, *operation.document.fragments.values()))
        try:
            result = execute_sync(self._schema, document, variable_values=dict(variables), middleware=[_counting()])
        except _TooManyFields:
            message = f"The answer about the schema has more than {_MAX_FIELDS:,} fields. Ask for fewer at once."
            raise errors.TooComplex(message, limit=_MAX_FIELDS, what="fields of the schema") from None
        return {key: orjson.dumps(value) for key, value in (result.data or {}).items()}


def _counting() -> Callable[..., Any]:
    """A middleware that counts fields as they are resolved."""
    left = _MAX_FIELDS

    def counted(resolve: Callable[..., Any], source: Any, info: Any, **arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooManyFields
        return resolve(source, info, **arguments)

    return counted
