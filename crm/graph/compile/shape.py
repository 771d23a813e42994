"""The schema's types and fields as the engine uses them, and how each field becomes SQL."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
    get_named_type,
    is_abstract_type,
)
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine
from strawberry.types.arguments import StrawberryArgument

from crm.core.choice import EnumText
from crm.core.identity import Role
from crm.core.model import Model
from crm.graph.compile.arguments import SQL_TYPES
from crm.graph.declare.fields import CHECK, KEY, Declaration, is_document, model_of
from crm.graph.declare.pages import Connection, Edge, PageInfo

_PARTS: Final = {Connection: "connection", Edge: "edge", PageInfo: "page_info"}
_DOCUMENT: Final = "document"
_CONNECTION: Final = "connection"
# The most bytes of a value, by its type; a value that may have `_LONG` bytes or more is long.
_TEXT_BYTES: Final = 1200
_JSON_BYTES: Final = 100_000
_PLAIN_BYTES: Final = 40
_ELEMENTS: Final = 20
_LONG: Final = 40_000
_PLAIN: Final = frozenset({"Int", "Float", "String", "Boolean"})


@dataclass(frozen=True)
class FieldShape:
    """One field."""

    name: str
    python_name: str
    declaration: Declaration | None
    target: str | None  # the name of the type it leads to
    possible: Sequence[str]  # or the names of the types that it may lead to
    many: bool
    never_null: bool
    is_id: bool
    arguments: Mapping[str, tuple[str, GraphQLArgument]]  # by the API's name: the function's name, and the argument
    resolver: Any = None
    checks: Mapping[str, Callable[[Any, str], None]] = field(default_factory=dict)  # by the function's name
    member: TypeEngine[Any] | None = None  # of a document: the SQL type of its JSON member
    most_bytes: int = 0  # of a plain value: its greatest length
    is_text: bool = False  # a column of text
    is_total: bool = False  # a connection's count of all rows
    pages: str = ""  # of a list: the root field that pages through rows of this name

    @property
    def kind(self) -> str:
        """column, computed, one, any (one of several types), many, each (one for each key), connection or python."""
        if self.declaration is not None:
            return self.declaration.kind
        return "column" if self.resolver is None else "python"

    @property
    def is_long(self) -> bool:
        """Whether a value may be so long that the field has a price of its own."""
        return self.most_bytes >= _LONG

    @property
    def each(self) -> str:
        """Of a list with an element for each key: the function's argument with the keys."""
        return self.declaration.each if self.declaration is not None else ""

    def leading_to(self, kind: "TypeShape") -> "FieldShape":
        """Of a field that leads to one of several types: the same field where it leads to this one."""
        assert self.declaration is not None
        function = self.declaration.function

        def rows(*row: Any, **arguments: Any) -> Any:
            return function(*row, **arguments)[kind.origin]

        declaration = replace(self.declaration, kind="one", function=rows)
        return replace(self, target=kind.name, possible=(), declaration=declaration)

    def of_one_key(self) -> "FieldShape":
        """Of a list with an element for each key: the field that leads to one of them from a row with its key."""
        assert self.declaration is not None
        function, each = self.declaration.function, self.each

        def rows(row: Any) -> Any:
            return function(**{each: row.key})

        declaration = replace(self.declaration, kind="any", function=rows, each="")
        return replace(self, many=False, arguments={}, declaration=declaration)

    def check(self, name: str, label: str, value: Any) -> None:
        """Refuse an argument's value if its declaration says so."""
        if name in self.checks and value is not None and value is not Undefined:
            self.checks[name](value, label)


@dataclass(frozen=True)
class TypeShape:
    """One object type."""

    name: str
    origin: type[Any] | None
    model: type[Model] | None
    part: str | None  # connection, edge, page_info or document
    fields: dict[str, FieldShape] = field(default_factory=dict)


class SchemaShape:
    """Every object type of a schema."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.schema = schema
        # Of each interface and union, the types that may stand for it.
        self.possible = {
            abstract.name: tuple(concrete.name for concrete in schema.get_possible_types(abstract))
            for abstract in schema.type_map.values()
            if is_abstract_type(abstract)
        }
        roots = schema.query_type.fields if schema.query_type else {}
        self.types = {
            graphql_type.name: _type_shape(graphql_type, self.possible, roots)
            for graphql_type in schema.type_map.values()
            if isinstance(graphql_type, GraphQLObjectType)
            and "strawberry-definition" in (graphql_type.extensions or {})
        }
        for graphql_type in self.types.values():
            _check_nulls(graphql_type)
            self._check_documents(graphql_type)
            self._check_possible(graphql_type)

    def _check_possible(self, kind: TypeShape) -> None:
        """Check at start-up: only one row, or one for each key, may be of several types, each of which has a model."""
        for shape in kind.fields.values():
            models = [self.types[name].model for name in shape.possible]
            if models and (shape.kind not in ("any", "each") or None in models):
                msg = f"{kind.name}.{shape.name} leads to several types: that takes one row, of types made of models"
                raise TypeError(msg)

    def _check_documents(self, kind: TypeShape) -> None:
        """Check at start-up: JSON and documents belong together; a document holds values and other documents."""
        for shape in kind.fields.values():
            target = self.types.get(shape.target or "")
            leads_to_document = target is not None and target.part == _DOCUMENT
            if kind.part == _DOCUMENT:
                fits = leads_to_document if target is not None else shape.member is not None
            else:
                fits = leads_to_document == (shape.kind == "computed" and target is not None)
            if not fits:
                msg = f"{kind.name}.{shape.name}: computed fields and members of documents are values or documents"
                raise TypeError(msg)

    def root(self, operation: str) -> TypeShape:
        """The type of queries, mutations or subscriptions."""
        return self.types[operation.title()]


def _type_shape(
    graphql_type: GraphQLObjectType, possible: Mapping[str, Sequence[str]], roots: Container[str]
) -> TypeShape:
    definition = graphql_type.extensions["strawberry-definition"]
    origin = definition.origin
    generic = definition.concrete_of.origin if definition.concrete_of else origin
    part = _DOCUMENT if is_document(origin) else _PARTS.get(generic)
    shape = TypeShape(graphql_type.name, origin, model_of(origin), part)
    large = shape.model.large if shape.model is not None else getattr(origin, "large", {})
    for name, graphql_field in graphql_type.fields.items():
        field_shape = _field_shape(name, graphql_field, large, possible)
        pages = f"{name}Connection"
        shape.fields[name] = replace(
            field_shape,
            is_total=part == _CONNECTION and field_shape.python_name == "total_count",
            pages=pages if pages in roots else "",
        )
    return shape


def _field_shape(
    name: str, graphql_field: GraphQLField, large: Mapping[str, int], possible: Mapping[str, Sequence[str]]
) -> FieldShape:
    definition = graphql_field.extensions["strawberry-definition"]
    declaration = (definition.metadata or {}).get(KEY)
    bare = graphql_field.type.of_type if isinstance(graphql_field.type, GraphQLNonNull) else graphql_field.type
    named = get_named_type(graphql_field.type)
    if named.name in possible and declaration is not None and declaration.kind == "one":
        declaration = replace(declaration, kind="any")
    return FieldShape(
        name=name,
        python_name=definition.python_name,
        declaration=declaration,
        target=named.name if isinstance(named, GraphQLObjectType) else None,
        possible=possible.get(named.name, ()),
        many=isinstance(bare, GraphQLList),
        never_null=isinstance(graphql_field.type, GraphQLNonNull),
        is_id=named.name == "ID",
        arguments={
            label: (argument.extensions["strawberry-definition"].python_name, argument)
            for label, argument in graphql_field.args.items()
        },
        resolver=declaration.function if declaration and declaration.kind == "python" else None,
        checks=_checks([argument.extensions["strawberry-definition"] for argument in graphql_field.args.values()]),
        member=_member(named, many=isinstance(bare, GraphQLList)),
        is_text=named.name == "String" and declaration is None and not isinstance(bare, GraphQLList),
        most_bytes=large.get(definition.python_name, _most_bytes(named, many=isinstance(bare, GraphQLList))),
    )


def _most_bytes(named: GraphQLNamedType, *, many: bool) -> int:
    """The most bytes of a value whose model sets no limit: text has 300 characters at most."""
    if named.name == "JSON":
        return _JSON_BYTES
    return (_TEXT_BYTES if named.name == "String" else _PLAIN_BYTES) * (_ELEMENTS if many else 1)


def _member(named: GraphQLNamedType, *, many: bool) -> TypeEngine[Any] | None:
    """The SQL type of a document's member; None if the type cannot be a member. Lists of plain values stay JSON."""
    if isinstance(named, GraphQLEnumType):
        return None if many else EnumText(named.extensions["strawberry-definition"].wrapped_cls)
    if named.name == "JSON" or (many and named.name in _PLAIN):
        return JSONB()
    return None if many else SQL_TYPES.get(named.name)


def _checks(arguments: Sequence[StrawberryArgument]) -> dict[str, Callable[[Any, str], None]]:
    return {argument.python_name: argument.metadata[CHECK] for argument in arguments if CHECK in argument.metadata}


def _check_nulls(kind: TypeShape) -> None:
    """Check at start-up: a non-null field must be a column that is never null, or be declared `never_null`."""
    if kind.model is None:
        return
    table = kind.model.__table__
    assert isinstance(table, Table)
    for shape in kind.fields.values():
        if shape.kind == "column" and shape.python_name not in table.c:
            msg = f"{kind.name}.{shape.name}: {table.name} has no column {shape.python_name}"
            raise TypeError(msg)
        if shape.kind == "column" and shape.never_null and table.c[shape.python_name].nullable:
            msg = f"{kind.name}.{shape.name} is non-null, but {table.name}.{shape.python_name} is nullable"
            raise TypeError(msg)
        if shape.kind == "computed" and shape.never_null and not (shape.declaration and shape.declaration.never_null):
            msg = f"{kind.name}.{shape.name} is non-null: say so with `graph.computed(never_null=True)`"
            raise TypeError(msg)
        if shape.kind in ("one", "any") and shape.never_null:
            msg = f"{kind.name}.{shape.name} leads to one row, which may not be there: make it nullable"
            raise TypeError(msg)


def allowed(shape: FieldShape, role: Role) -> bool:
    """Whether a role may use a field."""
    return shape.declaration is None or role.includes(shape.declaration.role)
