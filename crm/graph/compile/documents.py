"""Documents: GraphQL text parsed, measured and validated once, and its operations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, Final

from graphql import (
    BREAK,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLType,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    type_from_ast,
    validate,
    visit,
)
from graphql.execution import get_variable_values

from crm.core import errors
from crm.core.bounded import BoundedDict
from crm.core.problems import Problem
from crm.core.settings import Settings
from crm.graph.compile.limits import check_document, root_names
from crm.graph.compile.mistakes import mistakes_in
from crm.graph.compile.parsing import InvalidDocument, parsed
from crm.graph.compile.positions import RULES
from crm.graph.compile.variables import Counter
from crm.graph.declare.fields import most_of
from crm.graph.run.error_fields import place_of_variable

_MAX_FLAGS: Final = 8
_MAX_PLANS: Final = 32  # for one operation: what its flags and the roles make of it
# The name of the argument by which a mutation takes many records at once; it has a limit of its own.
_BULK_ARGUMENT: Final = "inputs"
# Values in all the variables of an operation; objects and values in those that hold many records.
_MAX_VALUES: Final = 10_000
_MAX_BULK_OBJECTS: Final = 20_000
_MAX_BULK_VALUES: Final = 100_000
_INT_RANGE: Final = range(-(2**31), 2**31)


class InvalidVariables(errors.BadUserInput):
    """The variables are not valid: one error for all mistakes, as for those that a mutation finds."""

    def __init__(self, found: Sequence[tuple[VariableDefinitionNode, Problem]], most: int) -> None:
        first = errors.BadUserInput.of([problem for _, problem in found])
        super().__init__(first.phrase, problems=first.problems, **first.details)
        self.nodes = list({id(node): node for node, _ in found}.values())[:most]


def aware_of_one_of(schema: GraphQLSchema) -> GraphQLSchema:
    """Mark @oneOf inputs for graphql-core too, whose errors name the field at fault: Strawberry does not."""
    for graphql_type in schema.type_map.values():
        if isinstance(graphql_type, GraphQLInputObjectType):
            graphql_type.is_one_of = graphql_type.extensions["strawberry-definition"].is_one_of
    return schema


@dataclass(frozen=True, slots=True)
class Definitions:
    """The text and the definitions of a document, which its operations share.

    They do not refer to the operations: a reference cycle would stay in memory until a full garbage collection.
    """

    text: str
    node: DocumentNode
    fragments: Mapping[str, FragmentDefinitionNode]
    schema: GraphQLSchema
    limits: Settings


def _drop_share(plan: Any) -> None:
    """A plan that goes is no longer counted with its document."""
    plan.weigh.drop()


class Operation:
    """One operation of a document."""

    def __init__(
        self, document: Definitions, node: OperationDefinitionNode, flag_names: tuple[str, ...], *, introspects: bool
    ) -> None:
        self.document = document
        self.node = node
        self.kind = node.operation
        self.name = node.name.value if node.name else None
        self.plans: BoundedDict[object, Any] = BoundedDict(_MAX_PLANS, _drop_share)
        self._simple = self._simple_variables()
        self._kinds = self._variables()
        self._bulk = self._bulk_variables()
        self.flag_names = flag_names
        self.introspects = introspects

    def coerce(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The variables coerced by the schema, after counting them."""
        variables = self.coerce_simply(raw)
        if variables is None:
            self.count(raw)
            variables = self.coerce_counted(raw)
        return variables

    def declared(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values of the variables that the operation declares; others are left out."""
        names = {name for name, _ in self._kinds}
        return raw if raw.keys() <= names else {name: raw[name] for name in names & raw.keys()}

    def coerce_simply(self, raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The variables, if they are a few plain values; None if they need the full coercion."""
        return None if self._simple is None else _coerce_simply(self._simple, raw)

    def count(self, raw: Mapping[str, Any]) -> int:
        """The estimated work of coercing these values, or an error if that is too much.

        A filter is as much work as the selection that it filters, so objects are limited as fields are. Records to be
        saved may be more, but not deeper.
        """
        limits = self.document.limits
        few = Counter(limits.max_fields, limits.max_depth, _MAX_VALUES)
        many = Counter(_MAX_BULK_OBJECTS, limits.max_depth, _MAX_BULK_VALUES)
        for name, graphql_type in self._kinds:
            if isinstance(raw.get(name), dict | list):
                most = self._bulk.get(name)
                counter = few if most is None else many
                counter.add(graphql_type, raw[name], partial(place_of_variable, name, self.document.node), most)
        return few.work + many.work

    def coerce_counted(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The variables coerced by the schema, for values that have been counted."""
        values = get_variable_values(
            self.document.schema,
            self.node.variable_definitions or (),
            dict(raw),
            max_errors=self.document.limits.max_validation_errors,
            hide_suggestions=True,
        )
        if isinstance(values, list):
            found = self._mistakes(raw)
            most = self.document.limits.max_validation_errors
            raise InvalidVariables(found, most) if found else InvalidDocument(values[:most], self.document.node)
        for name in self.flag_names:
            if values.coerced.get(name, False) is None:  # nullable, with a default, and null all the same
                message = f"`${name}` is null; @skip and @include need true or false."
                raise errors.BadUserInput(message, field=name)
        return values.coerced

    def _mistakes(self, raw: Mapping[str, Any]) -> list[tuple[VariableDefinitionNode, Problem]]:
        """All mistakes in the values, each with the definition of its variable."""
        found = []
        for definition, (name, kind) in zip(self.node.variable_definitions or (), self._kinds, strict=True):
            if name in raw or not definition.default_value:
                place = place_of_variable(name, self.document.node)
                found += [(definition, problem) for problem in mistakes_in(kind, raw.get(name), place)]
        return found

    def flags(self, variables: Mapping[str, Any]) -> dict[str, bool]:
        """The values of the variables that decide what is selected."""
        return {name: bool(variables.get(name)) for name in self.flag_names}

    @cached_property
    def is_bulk(self) -> bool:
        """Whether the operation adds many records at once: such requests may be larger than others."""
        if self.kind is not OperationType.MUTATION:
            return False
        roots = root_names(self.node, self.document.fragments)
        return not roots.isdisjoint(_bulk_inputs(self.document.schema))

    def _variables(self) -> list[tuple[str, Any]]:
        """Each variable's name and type."""
        return [
            (definition.variable.name.value, type_from_ast(self.document.schema, definition.type))
            for definition in self.node.variable_definitions or ()
        ]

    def _bulk_variables(self) -> dict[str, int]:
        """The variables that hold many records, and how many they may hold."""
        most = dict(_bulk_inputs(self.document.schema).values())
        records = {name: _record_of(kind) for name, kind in self._kinds}
        return {name: most[record] for name, record in records.items() if record in most}

    def _simple_variables(self) -> "tuple[tuple[str, str, bool], ...] | None":
        """Names, scalars and nullability, if all variables are plain scalars without defaults."""
        variables = []
        for definition in self.node.variable_definitions or ():
            graphql_type = type_from_ast(self.document.schema, definition.type)
            never_null = isinstance(graphql_type, GraphQLNonNull)
            bare = graphql_type.of_type if isinstance(graphql_type, GraphQLNonNull) else graphql_type
            if definition.default_value or not isinstance(bare, GraphQLScalarType) or bare.name not in _SIMPLE:
                return None
            variables.append((definition.variable.name.value, bare.name, never_null))
        return tuple(variables)


class Document:
    """A document that has been parsed, measured and validated."""

    def __init__(self, text: str, node: DocumentNode, schema: GraphQLSchema, limits: Settings) -> None:
        self.text = text
        flag_names = _flag_names(node) if "@" in text else ()
        if len(flag_names) > _MAX_FLAGS:
            message = f"More than {_MAX_FLAGS} variables decide @skip and @include."
            raise errors.TooComplex(message, limit=_MAX_FLAGS, what="flags")
        introspects = "__" in text and _introspects(node)
        fragments = {
            fragment.name.value: fragment
            for fragment in node.definitions
            if isinstance(fragment, FragmentDefinitionNode)
        }
        definitions = Definitions(text, node, fragments, schema, limits)
        self.operations = [
            Operation(definitions, definition, flag_names, introspects=introspects)
            for definition in node.definitions
            if isinstance(definition, OperationDefinitionNode)
        ]

    @classmethod
    def read(cls, text: str, schema: GraphQLSchema, limits: Settings, *, introspection: bool) -> "Document":
        """Parse, measure and validate a document, or raise its errors."""
        too_deep = False
        try:
            node = parsed(text, limits)
            check_document(node, limits)
            rules = RULES if introspection else (*RULES, NoSchemaIntrospectionCustomRule)
            graphql_errors = validate(
                schema,
                node,
                rules,
                max_errors=limits.max_validation_errors,
                hide_suggestions=not introspection,
            )
        except RecursionError:
            too_deep = True
        if too_deep:  # outside of the handler: the error would keep all the frames of the recursion
            message = "The document nests too deeply."
            raise errors.TooComplex(message, limit=limits.max_depth, what="levels")
        if graphql_errors:
            raise InvalidDocument(graphql_errors[: limits.max_validation_errors], node)
        return cls(text, node, schema, limits)

    def operation(self, name: str | None) -> Operation:
        """The operation of this name, or the only one."""
        if name is not None:
            for operation in self.operations:
                if operation.name == name:
                    return operation
            message = f"The document has no operation named {name[:100]!r}."
            raise errors.BadUserInput(message, field="operationName")
        if len(self.operations) != 1:
            message = (
                "The document has several operations: say which by `operationName`."
                if self.operations
                else "The document has no operation."
            )
            raise errors.BadUserInput(message, field="operationName")
        return self.operations[0]


@lru_cache(maxsize=8)
def _bulk_inputs(schema: GraphQLSchema) -> Mapping[str, tuple[str, int]]:
    """The mutations that take many records at once, by name: the records' type, and the most of them."""
    roots = schema.mutation_type.fields if schema.mutation_type else {}
    arguments = {name: field.args.get(_BULK_ARGUMENT) for name, field in roots.items()}
    inputs = {name: (_record_of(argument.type), most_of(argument)) for name, argument in arguments.items() if argument}
    return {name: (record, most) for name, (record, most) in inputs.items() if record is not None}


def _record_of(kind: GraphQLType | None) -> str | None:
    """The name of the type of a list's input objects; None for other types."""
    list_type = _bare(kind)
    record_type = _bare(list_type.of_type) if isinstance(list_type, GraphQLList) else None
    return record_type.name if isinstance(record_type, GraphQLInputObjectType) else None


def _bare(kind: GraphQLType | None) -> GraphQLType | None:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


def _flag_names(node: DocumentNode) -> tuple[str, ...]:
    names: set[str] = set()

    class Flags(Visitor):
        def enter_directive(self, directive: Any, *_: object) -> None:
            if directive.name.value in ("skip", "include"):
                values = [argument.value for argument in directive.arguments or ()]
                names.update(value.name.value for value in values if isinstance(value, VariableNode))

    visit(node, Flags())
    return tuple(sorted(names))


def _introspects(node: DocumentNode) -> bool:
    is_found = False

    class Introspects(Visitor):
        def enter_field(self, field: Any, *_: object) -> Any:
            nonlocal is_found
            if field.name.value in ("__schema", "__type"):
                is_found = True
                return BREAK
            return None

    visit(node, Introspects())
    return is_found


# Most operations have a few plain scalars for variables, which need no full coercion.

_SIMPLE: Final[dict[str, Any]] = {
    "Int": lambda value: value if type(value) is int and value in _INT_RANGE else None,
    "String": lambda value: value if type(value) is str else None,
    "Boolean": lambda value: value if type(value) is bool else None,
    "ID": lambda value: value if type(value) is str else None,
}


def _coerce_simply(simple: "tuple[tuple[str, str, bool], ...]", raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values, or None if any is out of the ordinary: then the full coercion raises the right error."""
    coerced_values: dict[str, Any] = {}
    for name, scalar, never_null in simple:
        if name not in raw:
            if never_null:
                return None
            continue
        value = raw[name]
        if value is None:
            if never_null:
                return None
            coerced_values[name] = None
            continue
        coerced = _SIMPLE[scalar](value)
        if coerced is None:
            return None
        coerced_values[name] = coerced
    return coerced_values
