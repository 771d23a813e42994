"""Named operations: documents of our own, in files, run by the same engine as a client's."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from graphql import (
    FieldNode,
    GraphQLInputType,
    NonNullTypeNode,
    OperationDefinitionNode,
    parse,
    separate_operations,
    type_from_ast,
    value_from_ast,
)
from graphql import print_ast as text_of

from crm.graph.compile.documents import InvalidDocument, Operation
from crm.graph.run.engine import Engine, Request
from crm.graph.run.error_fields import places


@dataclass(frozen=True)
class Variable:
    """What a named operation takes."""

    name: str
    kind: GraphQLInputType
    required: bool
    default: Any = None


@dataclass(frozen=True)
class StoredOperation:
    """One of our own operations."""

    name: str
    text: str

    def request(self, variables: Mapping[str, Any] | None = None) -> Request:
        """What the engine runs."""
        return Request(self.text, self.name, variables or {})

    def checked(self, engine: Engine) -> "BoundOperation":
        """The operation as the schema has it. A typo is found here, when the program starts."""
        try:
            operation = engine.operation(self.request())
        except InvalidDocument as error:
            msg = f"The operation {self.name} does not fit the schema: {error.message}"
            raise ValueError(msg) from error
        return BoundOperation(self, operation)


@dataclass(frozen=True)
class BoundOperation:
    """One of our own operations, valid for the schema."""

    named: StoredOperation
    operation: Operation

    @cached_property
    def root(self) -> str:
        """The key of its one field."""
        (field,) = self.operation.node.selection_set.selections
        assert isinstance(field, FieldNode)
        return (field.alias or field.name).value

    @cached_property
    def variables(self) -> Mapping[str, Variable]:
        """What it takes."""
        found = {}
        for definition in self.operation.node.variable_definitions or ():
            kind: Any = type_from_ast(self.operation.document.schema, definition.type)
            required = isinstance(definition.type, NonNullTypeNode) and definition.default_value is None
            name, default = definition.variable.name.value, definition.default_value
            found[name] = Variable(name, kind, required, None if default is None else value_from_ast(default, kind))
        return found

    @cached_property
    def places(self) -> Mapping[str, str]:
        """Where its variables stand, as errors name it."""
        return places(self.operation.document.node)


class StoredOperations(dict[str, StoredOperation]):
    """The operations of a file, by name."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Each with the fragments it needs, and no more."""
        found = cls()
        for name, document in separate_operations(parse(file.read_text("utf-8"))).items():
            assert any(isinstance(one, OperationDefinitionNode) for one in document.definitions)
            found[name] = StoredOperation(name, text_of(document))
        return found
