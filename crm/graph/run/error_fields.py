"""The field that an error of graphql-core is about: the error has only a message and a location in the document."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    GraphQLError,
    Node,
    ObjectFieldNode,
    OperationDefinitionNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
)
from graphql.language.ast import QUERY_DOCUMENT_KEYS

from crm.core.problems import shortened

MAX_MESSAGE: Final = 600  # graphql-core repeats the value that it complains about
_MAX_READ: Final = 2000
_MAX_LOCATIONS: Final = 10  # of an argument that is given a thousand times, say
# The field of an input, or the argument, that is missing or unknown.
_MEMBER: Final = re.compile(r"(?:required|unknown) field '([^']{1,100})'")
_MISSING: Final = re.compile(r"Argument '[^']*?(\w+):\)' of type")
_VARIABLE: Final = re.compile(r"Variable '\$\w+' has invalid value(?: at ([^:]*))?:")
_INDEX: Final = re.compile(r"\[(\d+)\]")

Path = tuple[str, ...]


def problems(graphql_errors: Sequence[GraphQLError], document: DocumentNode | None, code: str) -> list[dict[str, Any]]:
    """Errors of graphql-core as the response has them, each with the field at fault."""
    paths = _Paths(document)
    return [_problem(error, paths, code) for error in graphql_errors]


def places(document: DocumentNode) -> dict[str, str]:
    """The variable's name at each place where one is used, as errors name the place: `filter.status.in` -> `status`."""
    variables = {}
    for node, path in _arguments(document):
        if path and isinstance(node, VariableNode):
            variables[shortened(".".join(path))] = node.name.value
    return variables


def place_of_variable(name: str, within: Node) -> Path:
    """The path of the argument, or of the input's field, that takes a variable's value."""
    return _Paths(within).of_variable(name)


class _Paths:
    """The arguments of a document: walked once, when the first error needs it."""

    def __init__(self, document: Node | None) -> None:
        self._document = document

    @cached_property
    def _nodes(self) -> list[tuple[Node, Path]]:
        return [] if self._document is None else list(_arguments(self._document))

    def of(self, node: Node) -> Path:
        """The path that leads to a node."""
        return next((path for other, path in self._nodes if other is node), ())

    def of_variable(self, name: str) -> Path:
        """The path that leads to a variable where it is used first."""
        for node, path in self._nodes:
            if path and isinstance(node, VariableNode) and node.name.value == name:
                return path
        return (name,)


def _problem(error: GraphQLError, paths: _Paths, code: str) -> dict[str, Any]:
    rendered: dict[str, Any] = {"message": error.message[:MAX_MESSAGE]}
    if error.locations:
        rendered["locations"] = [location.formatted for location in error.locations[:_MAX_LOCATIONS]]
    extensions: dict[str, Any] = {"code": code}
    field = _field_at_fault(error, paths)
    if field:
        extensions["field"] = field
    return {**rendered, "extensions": extensions}


def _field_at_fault(error: GraphQLError, paths: _Paths) -> str | None:
    """The argument, as `filter.email.eq` or `inputs.3.email`, or else the field of a selection."""
    if not error.nodes:
        return None
    message = error.message[:_MAX_READ]
    node = next(
        (candidate for candidate in reversed(error.nodes) if not isinstance(candidate, OperationDefinitionNode)),
        error.nodes[0],
    )
    if isinstance(node, VariableDefinitionNode):
        path = _of_variable(node.variable.name.value, message, paths)
    else:
        path = _of_node(node, message, paths)
    member = None if isinstance(node, ObjectFieldNode) else _MEMBER.search(message)
    return shortened(".".join((*path, member[1]) if member else path)) or None


def _of_variable(name: str, message: str, paths: _Paths) -> Path:
    """The path of an error in a variable's value: where the operation uses the variable, then the place within it."""
    match = _VARIABLE.match(message)
    within = (match[1] if match else None) or ""
    below = [part for part in _INDEX.sub(r".\1", within).split(".") if part]
    return (*paths.of_variable(name), *below)


def _of_node(node: Node, message: str, paths: _Paths) -> Path:
    missing = _MISSING.match(message)
    if missing:
        return (missing[1],)
    if isinstance(node, FieldNode):
        return (node.name.value,)
    if isinstance(node, ValueNode | ObjectFieldNode | ArgumentNode):
        return paths.of(node)
    return ()


def _arguments(document: Node) -> Iterator[tuple[Node, Path]]:
    """Every node of a document, with the path of arguments and input fields that leads to it."""
    waiting: list[tuple[Node, Path]] = [(document, ())]
    while waiting:
        node, path = waiting.pop()
        if node is not document:
            yield node, path
        waiting.extend(reversed(list(_below(node, path))))


def _below(node: Node, path: Path) -> Iterator[tuple[Node, Path]]:
    for key in QUERY_DOCUMENT_KEYS.get(node.kind, ()):
        child = getattr(node, key, None)
        if isinstance(child, Node):
            yield child, _entered(child, path)
        elif child:
            for index, element in enumerate(child):
                yield element, _entered(element, (*path, str(index)) if key == "values" else path)


def _entered(node: Node, path: Path) -> Path:
    if isinstance(node, ArgumentNode):
        return (node.name.value,)
    return (*path, node.name.value) if isinstance(node, ObjectFieldNode) else path
