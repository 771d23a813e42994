"""Stored operations: named GraphQL documents in files of the program, run by the same engine as a client's."""

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

from crm.graph.compile.documents import Operation
from crm.graph.compile.parsing import InvalidDocument
from crm.graph.run.engine import Engine, Request
from crm.graph.run.error_fields import places


@dataclass(frozen=True)
class Variable:
    """A variable of a stored operation."""

    name: str
    kind: GraphQLInputType
    required: bool
    default: Any = None


@dataclass(frozen=True)
class StoredOperation:
    """A named operation with its document's text."""

    name: str
    text: str

    def request(self, variables: Mapping[str, Any] | None = None) -> Request:
        """A request to the engine for this operation."""
        return Request(self.text, self.name, variables or {})

    def checked(self, engine: Engine) -> "BoundOperation":
        """The operation, validated against the schema: a typo is an error when the program starts."""
        try:
            operation = engine.operation(self.request())
        except InvalidDocument as error:
            msg = f"The operation {self.name} does not fit the schema: {error.message}"
            raise ValueError(msg) from error
        return BoundOperation(self, operation)


@dataclass(frozen=True)
class BoundOperation:
    """A stored operation that is valid for the engine's schema."""

    named: StoredOperation
    operation: Operation

    @cached_property
    def root(self) -> str:
        """The response key of its only root field."""
        (field,) = self.operation.node.selection_set.selections
        assert isinstance(field, FieldNode)
        return (field.alias or field.name).value

    @cached_property
    def variables(self) -> Mapping[str, Variable]:
        """Its variables by name."""
        variables = {}
        for definition in self.operation.node.variable_definitions or ():
            graphql_type: Any = type_from_ast(self.operation.document.schema, definition.type)
            required = isinstance(definition.type, NonNullTypeNode) and definition.default_value is None
            name, default = definition.variable.name.value, definition.default_value
            variables[name] = Variable(
                name, graphql_type, required, None if default is None else value_from_ast(default, graphql_type)
            )
        return variables

    @cached_property
    def places(self) -> Mapping[str, str]:
        """The variable at each place in the operation, by the place's name in errors."""
        return places(self.operation.document.node)


class StoredOperations(dict[str, StoredOperation]):
    """The operations of a file, by name."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file; each operation gets only the fragments that it uses."""
        operations = cls()
        for name, document in separate_operations(parse(file.read_text("utf-8"))).items():
            assert any(isinstance(definition, OperationDefinitionNode) for definition in document.definitions)
            operations[name] = StoredOperation(name, text_of(document))
        return operations
