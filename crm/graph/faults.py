"""Which field an error of graphql-core is about: it says so only in words and by a place in the document."""

import re
from collections.abc import Iterator
from typing import Final

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

_MAX_FIELD: Final = 200
_WRAPPER: Final = "input."
# The member of an input, or the argument, that is missing or too much.
_MEMBER: Final = re.compile(r"(?:required|unknown) field '([^']{1,100})'")
_MISSING: Final = re.compile(r"Argument '[^']*?(\w+):\)' of type")
_VARIABLE: Final = re.compile(r"Variable '\$\w+' has invalid value(?: at ([^:]*))?:")
_INDEX: Final = re.compile(r"\[(\d+)\]")

Path = tuple[str, ...]


def field_at_fault(error: GraphQLError, document: DocumentNode | None) -> str | None:
    """The argument, as `filter.email.eq` or `inputs.3.email`, or else the field of a selection."""
    if not error.nodes:
        return None
    node = next((one for one in reversed(error.nodes) if not isinstance(one, OperationDefinitionNode)), error.nodes[0])
    if isinstance(node, VariableDefinitionNode):
        path = _of_variable(node.variable.name.value, error.message, document)
    else:
        path = _of_node(node, error.message, document)
    member = None if isinstance(node, ObjectFieldNode) else _MEMBER.search(error.message)
    return shortened(".".join((*path, member[1]) if member else path)) or None


def places(document: DocumentNode) -> dict[str, str]:
    """Where variables stand, as errors name it, and which one it is: `filter.status.in` and `status`."""
    found = {}
    for node, path in _arguments(document, ()):
        if path and isinstance(node, VariableNode):
            found[shortened(".".join(path))] = node.name.value
    return found


def shortened(field: str) -> str:
    """A path without the `input` that every mutation wraps its fields in."""
    return field.removeprefix(_WRAPPER)[:_MAX_FIELD]


def _of_variable(name: str, message: str, document: DocumentNode | None) -> Path:
    """A variable's value: where the operation uses the variable, and on to the place within."""
    told = _VARIABLE.match(message)
    within = (told[1] if told else None) or ""
    below = [part for part in _INDEX.sub(r".\1", within).split(".") if part]
    return (*_place_of_variable(name, document), *below)


def _of_node(node: Node, message: str, document: DocumentNode | None) -> Path:
    missing = _MISSING.match(message)
    if missing:
        return (missing[1],)
    if isinstance(node, FieldNode):
        return (node.name.value,)
    if isinstance(node, ValueNode | ObjectFieldNode | ArgumentNode) and document is not None:
        return next((path for one, path in _arguments(document, ()) if one is node), ())
    return ()


def _place_of_variable(name: str, document: DocumentNode | None) -> Path:
    """The argument, or the field of an input, that takes a variable's value."""
    for node, path in _arguments(document, ()) if document is not None else ():
        if path and isinstance(node, VariableNode) and node.name.value == name:
            return path
    return (name,)


def _arguments(node: Node, path: Path) -> Iterator[tuple[Node, Path]]:
    """Every node below this one, with the path of arguments and input fields that leads to it."""
    for key in QUERY_DOCUMENT_KEYS.get(node.kind, ()):
        below = getattr(node, key, None)
        if isinstance(below, Node):
            yield from _entered(below, path)
        elif below:
            for index, one in enumerate(below):
                yield from _entered(one, (*path, str(index)) if key == "values" else path)


def _entered(node: Node, path: Path) -> Iterator[tuple[Node, Path]]:
    if isinstance(node, ArgumentNode):
        path = (node.name.value,)
    elif isinstance(node, ObjectFieldNode):
        path = (*path, node.name.value)
    yield node, path
    yield from _arguments(node, path)
