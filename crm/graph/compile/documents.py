"""Documents: text to something that can be planned, once."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, Final

from graphql import (
    BREAK,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLSyntaxError,
    GraphQLType,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    Source,
    SourceLocation,
    VariableNode,
    Visitor,
    parse,
    specified_rules,
    type_from_ast,
    validate,
    visit,
)
from graphql.execution import get_variable_values

from crm.core import errors
from crm.core.bounded import BoundedDict
from crm.core.settings import Settings
from crm.graph.compile.limits import check_document, root_names
from crm.graph.compile.variables import Counter
from crm.graph.declare.fields import most_of
from crm.graph.run.error_fields import MAX_MESSAGE, place_of_variable, problems

_MAX_FLAGS: Final = 8
_MAX_PLANS: Final = 32  # for one operation: what its flags and the roles make of it
# What the argument is called by which a mutation takes many records at once: it has a limit of its own for them.
_BULK_ARGUMENT: Final = "inputs"
# Values in all the variables of an operation; objects and values in those that hold many records.
_MAX_VALUES: Final = 10_000
_MAX_BULK_OBJECTS: Final = 20_000
_MAX_BULK_VALUES: Final = 100_000
_TOO_MANY_TOKENS: Final = "Document contains more than"
_TOO_DEEP: Final = "nested too deeply"
_LINE_BREAK: Final = re.compile(r"\r\n|[\n\r]")
_INT_RANGE: Final = range(-(2**31), 2**31)


class InvalidDocument(errors.BadUserInput):
    """The document, or its variables, are not valid GraphQL for this schema."""

    def __init__(self, found: list[GraphQLError], document: DocumentNode | None = None) -> None:
        super().__init__(found[0].message[:MAX_MESSAGE])
        # At once, since it takes a walk of the document: where that was read there is time for it.
        self.problems = problems(found, document, self.code)


class _Text(Source):
    """A document's text, which finds lines by bisection.

    Each error of an execution asks for its place: sixty of them after 250,000 line breaks took graphql-core 0.4 s.
    """

    def __init__(self, body: str) -> None:
        super().__init__(body)
        self._starts = [0, *(found.end() for found in _LINE_BREAK.finditer(body))]

    def get_location(self, position: int) -> SourceLocation:
        """The line and column of a place."""
        line = bisect_right(self._starts, position)
        return SourceLocation(line, position + 1 - self._starts[line - 1])


def aware_of_one_of(schema: GraphQLSchema) -> GraphQLSchema:
    """Strawberry checks @oneOf by itself and does not tell graphql-core, which knows the field at fault."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            kind.is_one_of = kind.extensions["strawberry-definition"].is_one_of
    return schema


@dataclass(frozen=True, slots=True)
class Definitions:
    """The text and the definitions of a document, which its operations share.

    They do not know the operations: a circle would stay in memory until the garbage collector comes to what is old.
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

    def coerce(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The variables as the schema understands them; counted first."""
        found = self.coerce_simply(given)
        if found is None:
            self.count(given)
            found = self.coerce_counted(given)
        return found

    def declared(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of these values, those of the variables that the operation declares."""
        names = {name for name, _ in self._kinds}
        return given if given.keys() <= names else {name: given[name] for name in names & given.keys()}

    def coerce_simply(self, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The variables, if they are a few plain values; None if it takes more to find out."""
        return None if self._simple is None else _coerce_simply(self._simple, given)

    def count(self, given: Mapping[str, Any]) -> int:
        """About how much work it is to coerce these, or an error if that is too much.

        A filter is as much work as the selection that it filters, so objects are limited as fields are. Of records to
        be saved there may be more; no deeper ones, though.
        """
        limits = self.document.limits
        few = Counter(limits.max_fields, limits.max_depth, _MAX_VALUES)
        many = Counter(_MAX_BULK_OBJECTS, limits.max_depth, _MAX_BULK_VALUES)
        for name, kind in self._kinds:
            if isinstance(given.get(name), dict | list):
                most = self._bulk.get(name)
                counter = few if most is None else many
                counter.add(kind, given[name], partial(place_of_variable, name, self.document.node), most)
        return few.work + many.work

    def coerce_counted(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same for what has been counted."""
        values = get_variable_values(
            self.document.schema,
            self.node.variable_definitions or (),
            dict(given),
            max_errors=self.document.limits.max_validation_errors,
            hide_suggestions=True,
        )
        if isinstance(values, list):
            raise InvalidDocument(values[: self.document.limits.max_validation_errors], self.document.node)
        for name in self.flag_names:
            if values.coerced.get(name, False) is None:  # nullable, with a default, and null all the same
                message = f"`${name}` is null; @skip and @include need true or false."
                raise errors.BadUserInput(message, field=name)
        return values.coerced

    def flags(self, variables: Mapping[str, Any]) -> dict[str, bool]:
        """The values of the variables that decide what is selected."""
        return {name: bool(variables.get(name)) for name in self.flag_names}

    @cached_property
    def is_bulk(self) -> bool:
        """Whether it adds many records at once, which takes a larger request than anything else."""
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
        found = []
        for definition in self.node.variable_definitions or ():
            kind = type_from_ast(self.document.schema, definition.type)
            never_null = isinstance(kind, GraphQLNonNull)
            bare = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
            if definition.default_value or not isinstance(bare, GraphQLScalarType) or bare.name not in _SIMPLE:
                return None
            found.append((definition.variable.name.value, bare.name, never_null))
        return tuple(found)


class Document:
    """A document that has been parsed, measured and validated."""

    def __init__(self, text: str, node: DocumentNode, schema: GraphQLSchema, limits: Settings) -> None:
        self.text = text
        flag_names = _flag_names(node) if "@" in text else ()
        if len(flag_names) > _MAX_FLAGS:
            message = f"More than {_MAX_FLAGS} variables decide @skip and @include."
            raise errors.TooComplex(message, limit=_MAX_FLAGS, what="flags")
        introspects = "__" in text and _introspects(node)
        fragments = {one.name.value: one for one in node.definitions if isinstance(one, FragmentDefinitionNode)}
        definitions = Definitions(text, node, fragments, schema, limits)
        self.operations = [
            Operation(definitions, definition, flag_names, introspects=introspects)
            for definition in node.definitions
            if isinstance(definition, OperationDefinitionNode)
        ]

    @classmethod
    def read(cls, text: str, schema: GraphQLSchema, limits: Settings, *, introspection: bool) -> "Document":
        """Parse, measure and validate, or say what is wrong."""
        try:
            node = _parsed(text, limits)
            check_document(node, limits)
            rules = specified_rules if introspection else (*specified_rules, NoSchemaIntrospectionCustomRule)
            found = validate(
                schema,
                node,
                rules,
                max_errors=limits.max_validation_errors,
                hide_suggestions=not introspection,
            )
        except RecursionError:
            message = "The document nests too deeply."
            raise errors.TooComplex(message, limit=limits.max_depth, what="levels") from None
        if found:
            raise InvalidDocument(found[: limits.max_validation_errors], node)
        return cls(text, node, schema, limits)

    def operation(self, name: str | None) -> Operation:
        """The operation to run."""
        if name is not None:
            for one in self.operations:
                if one.name == name:
                    return one
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


def _parsed(text: str, limits: Settings) -> DocumentNode:
    try:
        node = parse(_Text(text), max_tokens=limits.max_tokens, allow_empty_selection_sets=False)
    except GraphQLSyntaxError as error:
        if _TOO_DEEP in error.message:
            raise RecursionError from None
        if _TOO_MANY_TOKENS not in error.message:
            raise InvalidDocument([error]) from None
        message = f"The document has more than {limits.max_tokens:,} tokens."
        raise errors.TooComplex(message, limit=limits.max_tokens, what="tokens") from None
    _unchain(node)
    return node


def _unchain(node: DocumentNode) -> None:
    """Cut the chain of tokens, which refer to each other: the syntax tree is then freed with its last user."""
    token = node.loc.start_token if node.loc is not None else None
    while token is not None:
        following = token.next
        token.prev = token.next = None
        token = following


@lru_cache(maxsize=8)
def _bulk_inputs(schema: GraphQLSchema) -> Mapping[str, tuple[str, int]]:
    """The mutations that take many records at once: the type of these, and how many."""
    roots = schema.mutation_type.fields if schema.mutation_type else {}
    arguments = {name: field.args.get(_BULK_ARGUMENT) for name, field in roots.items()}
    found = {name: (_record_of(argument.type), most_of(argument)) for name, argument in arguments.items() if argument}
    return {name: (record, most) for name, (record, most) in found.items() if record is not None}


def _record_of(kind: GraphQLType | None) -> str | None:
    """What a list of input objects is a list of."""
    many = _bare(kind)
    one = _bare(many.of_type) if isinstance(many, GraphQLList) else None
    return one.name if isinstance(one, GraphQLInputObjectType) else None


def _bare(kind: GraphQLType | None) -> GraphQLType | None:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


def _flag_names(node: DocumentNode) -> tuple[str, ...]:
    names: set[str] = set()

    class Flags(Visitor):
        def enter_directive(self, directive: Any, *_: object) -> None:
            if directive.name.value in ("skip", "include"):
                values = [one.value for one in directive.arguments or ()]
                names.update(value.name.value for value in values if isinstance(value, VariableNode))

    visit(node, Flags())
    return tuple(sorted(names))


def _introspects(node: DocumentNode) -> bool:
    found = False

    class Introspects(Visitor):
        def enter_field(self, field: Any, *_: object) -> Any:
            nonlocal found
            if field.name.value in ("__schema", "__type"):
                found = True
                return BREAK
            return None

    visit(node, Introspects())
    return found


# Most operations have a few plain scalars for variables; these need no machinery.

_SIMPLE: Final[dict[str, Any]] = {
    "Int": lambda value: value if type(value) is int and value in _INT_RANGE else None,
    "String": lambda value: value if type(value) is str else None,
    "Boolean": lambda value: value if type(value) is bool else None,
    "ID": lambda value: value if type(value) is str else None,
}


def _coerce_simply(simple: "tuple[tuple[str, str, bool], ...]", given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values, or None when anything is out of the ordinary: then the full coercion finds the words for it."""
    found: dict[str, Any] = {}
    for name, kind, never_null in simple:
        if name not in given:
            if never_null:
                return None
            continue
        value = given[name]
        if value is None:
            if never_null:
                return None
            found[name] = None
            continue
        coerced = _SIMPLE[kind](value)
        if coerced is None:
            return None
        found[name] = coerced
    return found
