"""Declarations by which a Strawberry type maps to SQL: columns by name, computed fields, edges.

A declared function never runs for a request: it is called once, when a plan is made, with columns for the row and
placeholders for the arguments, and returns SQL. So it must not branch on an argument's value, only on whether the
argument was passed.
"""

import builtins
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import (
    Annotated,
    Any,
    Final,
    TypeVar,
    dataclass_transform,
    get_origin,
    overload,
)

import strawberry
from graphql import GraphQLArgument

from crm.core.choice import Choice
from crm.core.identity import Role
from crm.core.model import Model
from crm.graph.declare.pages import Connection

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

# The points that a field costs, from its arguments.
Price = Callable[[dict[str, Any]], int]

KEY: Final = "crm"
CHECK: Final = "crm_check"
MOST: Final = "crm_most"
_MODEL: Final = "__crm_model__"
_DOCUMENT: Final = "__crm_document__"
MAX_ROWS: Final = 1000
DEFAULT_PAGE: Final = 50

Limit = Annotated[
    int | None,
    strawberry.argument(description="At most this many, 0 to 1,000. Without it all, and an error beyond 1,000."),
]
Offset = Annotated[
    int | None,
    strawberry.argument(description="Skip this many first. For deep pages use a connection."),
]
First = Annotated[
    int | None,
    strawberry.argument(description="The first so many after `after`, 0 to 1,000; default 50."),
]
After = Annotated[str | None, strawberry.argument(description="Start after this cursor.")]
Last = Annotated[int | None, strawberry.argument(description="The last so many before `before`, 0 to 1,000.")]
Before = Annotated[str | None, strawberry.argument(description="End before this cursor.")]
IncludeDeleted = Annotated[bool, strawberry.argument(description="Deleted ones too; admins only.")]

AfterChange = Annotated[
    str | None,
    strawberry.argument(description="Start after this change's `cursor`; without it, with what happens from now on."),
]


def checked(check: Callable[[Any, str], None], description: str) -> Any:
    """Describe an argument whose value `check` may refuse, before any SQL; `check` gets the value and the label."""
    return strawberry.argument(description=description, metadata={CHECK: check})


def at_most(count: int, description: str) -> Any:
    """Describe an argument that takes many records at once: a longer list is refused before it is coerced."""
    return strawberry.argument(description=description, metadata={MOST: count})


def most_of(argument: GraphQLArgument) -> int:
    """The most values that a list passed for an argument may hold."""
    most: int = argument.extensions["strawberry-definition"].metadata.get(MOST, MAX_ROWS)
    return most


_LIST: Final = {"limit": Limit, "offset": Offset}
_CONNECTION: Final = {"first": First, "after": After, "last": Last, "before": Before}


@dataclass(frozen=True)
class Declaration:
    """How a field becomes SQL (`kind`: computed, one, many, connection) or Python (`python`)."""

    kind: str
    function: Callable[..., Any]
    role: Role = Role.VIEWER
    # Computed: the expression is never null, though its columns may be nullable.
    never_null: bool = False
    # The rows that a list without a limit is estimated at, in an operation's cost.
    usual_rows: int = 10
    # Points that a field costs by itself, from its arguments: an order without an index, a search.
    extra_cost: Price | None = None
    # The kinds of records that a stream's events are about; None: any.
    entities: frozenset[str] | None = None
    # Of a stream: the statement of its first row, from its arguments.
    first: Callable[..., Any] | None = None
    pulse_seconds: float = 0.0
    # The function has a parameter `viewer`: it gets a placeholder for the viewer's id.
    wants_viewer: bool = False
    # Of a list with an element for each value of an argument: that argument's name.
    each: str = ""
    # Of an edge: a share of a table, as large as the table perhaps, where others lead to the few rows of a record.
    scans_table: bool = False
    # Of a computed field: what it is worked out of is the row's alone, so that the rows of a list share a table.
    shares: bool = False
    # Of Python: it writes records.
    writes: bool = False


def remember_model(cls: builtins.type[Any], model: builtins.type[Model] | None) -> None:
    """Store on a type the model that it is made of."""
    setattr(cls, _MODEL, model)


def model_of(cls: builtins.type[Any]) -> builtins.type[Model] | None:
    """The model that a type is made of."""
    model: builtins.type[Model] | None = getattr(cls, _MODEL, None)
    return model


@dataclass_transform(field_specifiers=(strawberry.field,))
def document(cls: builtins.type[T]) -> builtins.type[T]:
    """A GraphQL type whose fields are the members of a JSON object, by their Python names; enums in lower case.

    A computed field of jsonb leads to a document: `-> X | None` if it is an object, `-> list[X] | None` if an array.
    The code that writes the JSON must give every non-null field a value.
    """
    decorated = strawberry.type(cls, description=first_paragraph(cls))
    setattr(decorated, _DOCUMENT, True)
    return decorated


def is_document(cls: object) -> bool:
    """Whether a type was declared as a document."""
    return bool(getattr(cls, _DOCUMENT, False))


def enum(kind: builtins.type[Choice], *, structural: bool = False) -> None:
    """Make an enum part of the API, each value with its words.

    `structural`: its values change a statement's shape (an order, a grouping), so they are never bound.
    """
    decorated = strawberry.enum(kind, description=first_paragraph(kind))
    for value in decorated.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = kind[value.name].words
    if structural:
        kind.__crm_structural__ = True  # type: ignore[attr-defined]


def is_registered(kind: builtins.type[Enum]) -> bool:
    """Whether an enum is part of the API already."""
    return hasattr(kind, "__strawberry_definition__")


def is_structural(enum: object) -> bool:
    """Whether an enum's values are part of a statement's shape."""
    return bool(getattr(enum, "__crm_structural__", False))


@overload
def edge(function: F) -> F: ...
@overload
def edge(
    *,
    role: Role = ...,
    usual_rows: int = ...,
    takes: Sequence[str] = ...,
    extra_cost: Price | None = ...,
    scans_table: bool = ...,
) -> Callable[[F], F]: ...
def edge(  # noqa: PLR0913
    function: F | None = None,
    *,
    role: Role = Role.VIEWER,
    usual_rows: int = 10,
    takes: Sequence[str] = ("limit", "offset"),
    extra_cost: Price | None = None,
    scans_table: bool = False,
) -> Any:
    """A field that leads to other rows: the function gets the row's columns, and returns a statement.

    A field of `list[X]` has the arguments `limit` and `offset`, or those of the two that `takes` names (without a limit
    all rows are returned, so something else must bound them); `X | None` is one row. Where X is an interface or a
    union, the function returns a statement for each type that may stand for it: `{Lead: select(...), Task: ...}`.

    An edge that `scans_table` leads to a share of a table, a user's say: its conditions cost what they do at the root.
    """
    price: dict[str, Any] = {"usual_rows": usual_rows, "extra_cost": extra_cost, "scans_table": scans_table}
    return _declared(function, skip=1, takes=takes, role=role, **price)


@overload
def computed(function: F) -> F: ...
@overload
def computed(
    *, role: Role = ..., never_null: bool = ..., extra_cost: Price | None = ..., shares: bool = ...
) -> Callable[[F], F]: ...
def computed(
    function: F | None = None,
    *,
    role: Role = Role.VIEWER,
    never_null: bool = False,
    extra_cost: Price | None = None,
    shares: bool = False,
) -> Any:
    """A field that is an SQL expression over the row's columns: jsonb, if its type is a `document` or a list.

    One that `shares` has what it is worked out of for itself, so that for all rows of a list together this is no more
    than a table: `extra_cost` is the table's, and counts once for the list.
    """

    def declare(function: F) -> Any:
        options: dict[str, Any] = {"never_null": never_null, "extra_cost": extra_cost, "shares": shares}
        return _field(function, "computed", skip=1, extra={}, role=role, **options)

    return declare if function is None else declare(function)


@overload
def rows(function: F) -> F: ...
@overload
def rows(
    *, role: Role = ..., usual_rows: int = ..., extra_cost: Price | None = ..., each: str = ...
) -> Callable[[F], F]: ...
def rows(
    function: F | None = None,
    *,
    role: Role = Role.VIEWER,
    usual_rows: int = 100,
    extra_cost: Price | None = None,
    each: str = "",
) -> Any:
    """A root field that is a read: the function returns a statement. A parameter `viewer` is the viewer's id.

    A list of interfaces or unions has an element for each value of the argument `each`: the function gets one of these
    values in place of the list, and returns a statement for each type as `edge` has it.
    """
    return _declared(function, skip=0, role=role, usual_rows=usual_rows, extra_cost=extra_cost, each=each)


@overload
def mutation(function: F) -> F: ...
@overload
def mutation(*, role: Role = ..., usual_rows: int = ..., extra_cost: Price | None = ...) -> Callable[[F], F]: ...
def mutation(
    function: F | None = None,
    *,
    role: Role = Role.MEMBER,
    usual_rows: int = 1,
    extra_cost: Price | None = None,
) -> Any:
    """A root field that changes something: a coroutine that returns `info.context.write(...)`."""

    def declare(function: F) -> Any:
        return _python(
            function, Declaration("python", function, role, usual_rows=usual_rows, extra_cost=extra_cost, writes=True)
        )

    return declare if function is None else declare(function)


def answered(*, role: Role = Role.VIEWER) -> Callable[[F], F]:
    """A root field of queries that a coroutine answers, because its data is not in the database."""
    return lambda function: _python(function, Declaration("python", function, role, usual_rows=1))


def _python(function: F, declaration: Declaration) -> Any:
    return strawberry.field(resolver=function, description=first_paragraph(function), metadata={KEY: declaration})


@overload
def stream(function: F) -> F: ...
@overload
def stream(
    *, entities: Sequence[str], resumes: bool = ..., first: Callable[..., Any] | None = ...
) -> Callable[[F], F]: ...
def stream(
    function: F | None = None,
    *,
    entities: Sequence[str] | None = None,
    resumes: bool = True,
    first: Callable[..., Any] | None = None,
) -> Any:
    """A subscription: the function gets a position in the event stream and a watermark, and selects the events between.

    The rows may be others than events, if they have columns `stream_xid` and `stream_id`, the position of each in the
    stream. `entities` are the kinds of records whose events the field selects. With `resumes` the field takes `after`.
    `first` returns, for the arguments, a statement of one row that is sent before the first event, or None; if its row
    does not exist, the subscription fails with NOT_FOUND.
    """
    kinds = None if entities is None else frozenset(entities)

    def declare(function: F) -> Any:
        extra = {"after": AfterChange} if resumes else {}
        return _field(function, "stream", skip=3, extra=extra, entities=kinds, first=first)

    return declare if function is None else declare(function)


def pulse(*, entities: Sequence[str], seconds: float = 5.0) -> Callable[[F], F]:
    """A subscription to one row: sent at once, after changes to these kinds of records, and every `seconds` seconds."""

    def declare(function: F) -> Any:
        return _field(function, "pulse", skip=0, extra={}, entities=frozenset(entities), pulse_seconds=seconds)

    return declare


# An order that no index serves sorts every row that the filter leaves.
UNINDEXED_ORDER: Final = 1000
# All rows that the filter leaves are counted. At 300,000 leads that takes 40 to 80 ms, as long as it takes to find no
# lead with a text in a column (110 ms, 250 points), or to order them without an index (100 ms, 1,000). A list of a
# record is as much cheaper as its conditions are.
TOTAL_COUNT: Final = 500


def price_of_order(served: Collection[str], dear: Mapping[str, int]) -> Price:
    """The price of an order: nothing for the `served` columns, which have an index; more for what is `dear`."""

    def price(arguments: dict[str, Any]) -> int:
        order = arguments.get("order_by")
        if not isinstance(order, list) or not order:
            return 0
        keys = [key["field"].value for key in order]
        unserved = 0 if keys[0] in served else UNINDEXED_ORDER
        return max(unserved, sum(dear.get(key, 0) for key in dict.fromkeys(keys)))

    return price


def _declared(function: F | None, *, skip: int, takes: Sequence[str] = tuple(_LIST), **options: Any) -> Any:
    def declare(function: F) -> Any:
        kind, extra = ("each", {}) if options.get("each") else _shape(function)
        if kind == "many":
            extra = {name: extra[name] for name in takes}
        return _field(function, kind, skip=skip, extra=extra, **options)

    return declare if function is None else declare(function)


def _shape(function: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    origin: object = get_origin(function.__annotations__["return"])
    if origin is list:
        return "many", _LIST
    if origin is Connection:
        return "connection", _CONNECTION
    return "one", {}


def _field(function: Callable[..., Any], kind: str, *, skip: int, extra: dict[str, Any], **options: Any) -> Any:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[skip:]
    names = {parameter.name for parameter in parameters}
    parameters = [parameter for parameter in parameters if parameter.name != "viewer"]
    parameters = [
        parameter.replace(default=strawberry.UNSET) if parameter.default is None else parameter
        for parameter in parameters
    ]
    parameters += [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=strawberry.UNSET,
        )
        for name, annotation in extra.items()
        if name not in names
    ]

    def never_called(**_: object) -> None:
        message = f"{function.__qualname__} is compiled, not called"
        raise TypeError(message)

    never_called.__name__ = function.__name__
    never_called.__qualname__ = function.__qualname__
    never_called.__module__ = function.__module__
    never_called.__annotations__ = function.__annotations__
    never_called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return strawberry.field(
        resolver=never_called,
        description=first_paragraph(function),
        is_subscription=kind in ("stream", "pulse"),
        metadata={KEY: Declaration(kind, function, wants_viewer="viewer" in names, **options)},
    )


def first_paragraph(described: object) -> str:
    """The first paragraph of a docstring, on one line."""
    text = inspect.getdoc(described) or ""
    return " ".join(text.split("\n\n")[0].split())
