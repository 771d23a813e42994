"""Types, inputs, filters and orders made of a model's columns, whose words and rules are stated only in the model.

Fields that a class declares itself are kept, and take precedence over those made of the columns.
"""

import builtins
from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from inspect import get_annotations
from typing import Any, Final, ForwardRef, TypeVar, dataclass_transform, get_origin
from uuid import UUID

import strawberry
from graphql import GraphQLString
from sqlalchemy import Column

from crm.core.choice import Choice
from crm.core.columns import DerivedChoice, Field, fields_of, kind_of
from crm.core.model import Model
from crm.db.query import Compare, Computed, Direction, Nulls, Relation, compared
from crm.graph.declare import filters
from crm.graph.declare.fields import (
    Price,
    computed,
    enum,
    first_paragraph,
    is_registered,
    price_of_order,
    remember_model,
)
from crm.graph.declare.filters import UNSET, WhereInput, is_blank
from crm.graph.declare.ids import reads
from crm.graph.declare.inputs import remember_rules
from crm.graph.declare.node import has_node_id, make_node, node_id_of
from crm.graph.declare.scalars import JSON

T = TypeVar("T")
L = TypeVar("L", bound=filters.InputObject)
W = TypeVar("W", bound=WhereInput)

_RELATION: Final = "crm_relation"
_COMPUTED: Final = "crm_computed"
_CONDITIONS: Final[dict[Any, Any]] = {
    int: filters.IntFilter,
    str: filters.StringFilter,
    bool: filters.BooleanFilter,
    Decimal: filters.DecimalFilter,
    datetime: filters.DateTimeFilter,
    date: filters.DateFilter,
    UUID: filters.IDFilter,
    list[str]: filters.StringListFilter,
}
_VERSION: Final = "The version you saw; CONFLICT if what this changes was changed since."
_KEY_OF_ORDER: Final = "One key of an order; `id` always breaks ties."

for _choice in (Direction, Nulls):
    enum(_choice, structural=True)

# A field to add to a class: its name, its type, and Strawberry's declaration.
NewField = tuple[str, Any, Any]


@dataclass_transform(field_specifiers=(strawberry.field,))
def type(
    model: builtins.type[Model] | None = None, *, name: str | None = None
) -> Callable[[builtins.type[T]], builtins.type[T]]:
    """A GraphQL type with every public column of the model; without a model, with the class's own fields.

    If the model's `id` is public the type is a `Node`, with a `nodeId`.
    """
    if model is not None and not model.policy.public:
        msg = f"{model.__name__} is for the program alone (`policy = INTERNAL`): no type of the API is made of it"
        raise TypeError(msg)

    def decorate(cls: builtins.type[T]) -> builtins.type[T]:
        if model is not None:
            _add(cls, [(column.name, *_value(column, field)) for column, field in fields_of(model)])
            _add(
                cls,
                [(name, _choice_of(choice), _choice_value(choice)) for name, choice in model.derived_choices.items()],
            )
        is_node = model is not None and has_node_id(model)
        if is_node:
            cls.node_id = node_id_of(name or cls.__name__)  # type: ignore[attr-defined]
        decorated = strawberry.type(cls, name=name, description=first_paragraph(cls))
        remember_model(decorated, model)
        if is_node:
            make_node(decorated)
        return decorated

    return decorate


def create_input(model: builtins.type[Model]) -> Callable[[builtins.type[T]], builtins.type[T]]:
    """An input for a new record: every column with a rule, required if it has no default and cannot be null."""

    def made() -> Iterable[NewField]:
        for column, field in fields_of(model):
            if field.rule is not None:
                yield column.name, *_new_value(column, field)

    return lambda cls: _ruled_input(cls, model, made())


def update_input(model: builtins.type[Model]) -> Callable[[builtins.type[T]], builtins.type[T]]:
    """An input for a change: every column with a rule that is not fixed, and the version that the caller saw."""

    def made() -> Iterable[NewField]:
        for column, field in fields_of(model):
            if field.rule is not None and not field.fixed:
                yield column.name, *_optional(_api_type(column, taken=True), field.input_words)
        if "version" in model.__table__.columns:
            yield "expected_version", *_optional(int, _VERSION)

    return lambda cls: _ruled_input(cls, model, made())


def filter(model: builtins.type[Model]) -> Callable[[builtins.type[W]], builtins.type[W]]:
    """A filter: every column that says `by`, `and`, `or` and `not`; edges are written, with `across`."""

    def decorate(cls: builtins.type[W]) -> builtins.type[W]:
        metadata = {name: getattr(member, "metadata", {}) for name, member in vars(cls).items()}
        cls.relations = {name: words[_RELATION] for name, words in metadata.items() if _RELATION in words}
        cls.computed = {name: words[_COMPUTED] for name, words in metadata.items() if _COMPUTED in words}
        cls.derived_choices = {name: choice for name, choice in model.derived_choices.items() if choice.by}
        cls.sort_keys = {column.name: field.sort_key for column, field in fields_of(model) if field.sort_key}
        name = cls.__name__
        return _input(
            cls,
            [
                *((column.name, *_optional(_condition(column), field.by)) for column, field in _filtered(model)),
                *(
                    (name, *_optional(filters.Filter[_choice_of(choice)], choice.by))  # type: ignore[misc]
                    for name, choice in cls.derived_choices.items()
                ),
                ("and_", *_optional(list[name], "All of these.", name="and")),  # type: ignore[valid-type]
                ("or_", *_optional(list[name], "At least one of these.", name="or")),  # type: ignore[valid-type]
                ("not_", *_optional(ForwardRef(name), "Not this.", name="not")),
            ],
        )

    return decorate


def across(description: str, model: builtins.type[Model], on: Callable[[Any, Any], Any]) -> Any:
    """An edge in a filter: the model at its other end, and the condition that joins its rows with ours."""
    metadata = {_RELATION: Relation(lambda: model, on)}
    return strawberry.field(description=description, default=UNSET, metadata=metadata)


def expression_filter(description: str, condition: Callable[[Any, Compare], Any], *, points: int = 0) -> Any:
    """A filter by something that is no column: `condition` gets the row, and what compares an expression.

    `points` are added to the price of the comparison.
    """

    def holds(row: Any, value: Any) -> Any:
        return condition(row, partial(compared, value=value))

    return strawberry.field(description=description, default=UNSET, metadata={_COMPUTED: Computed(holds, points)})


def text_filter(
    description: str, condition: Callable[[Any, Any], Any], *, points: int = 0, check: Callable[[str, str], None]
) -> Any:
    """A filter by a text: `condition` gets the row and the text's placeholder, and `points` are its price.

    A blank text is as good as null: it is what a search box holds most of the time. Others must pass the check.
    """

    def read(value: Any, label: str) -> Any:
        if is_blank(value):
            return None
        if value is not None:
            check(value, label)
        return value

    metadata = {_COMPUTED: Computed(condition, points), **reads(read, GraphQLString)}
    return strawberry.field(description=description, default=UNSET, metadata=metadata)


def list_filter(of: builtins.type[WhereInput]) -> Callable[[builtins.type[L]], builtins.type[L]]:
    """A filter by the rows at the other end of an edge: by some, none or every of them, or by how many they are."""

    def decorate(cls: builtins.type[L]) -> builtins.type[L]:
        return _input(
            cls,
            [
                ("some", *_optional(of, "At least one is like this.")),
                ("none", *_optional(of, "None is like this.")),
                ("every", *_optional(of, "All are like this; true of no rows at all.")),
                ("count", *_optional(_count_filter(of), "By how many there are, or are like `where`.")),
            ],
        )

    return decorate


def _count_filter(of: builtins.type[WhereInput]) -> Any:
    """The filter by a number of rows of a filter's model."""
    name = f"{of.__name__.removesuffix('Filter')}CountFilter"
    made = builtins.type(name, (filters.CountInput,), {"__module__": of.__module__, "__annotations__": {}})
    comparisons = {
        "eq": "So many.",
        "neq": "Not so many.",
        "gt": "More than so many.",
        "gte": "So many or more.",
        "lt": "Fewer than so many.",
        "lte": "So many or fewer.",
    }
    return _input(
        made,
        [
            ("where", *_optional(of, "Which of them are counted; all, if left out.")),
            *((operator, *_optional(int, words)) for operator, words in comparisons.items()),
        ],
        description="Compares how many there are.",
    )


def order(model: builtins.type[Model], **computed: tuple[str, str]) -> Callable[[builtins.type[T]], builtins.type[T]]:
    """One key of an order, by any column that says `order`; the class's docstring describes the enum of the fields.

    `computed` keys are not columns: each has its description, and the name of the column that it follows.
    """

    def decorate(cls: builtins.type[T]) -> builtins.type[T]:
        words = dict(_orders(model))
        for name, (described, after) in computed.items():
            place = list(words).index(after) + 1
            words = dict([*list(words.items())[:place], (name, described), *list(words.items())[place:]])
        make_enum: Any = Choice  # mypy knows no enums that are made of a mapping
        fields = make_enum(
            f"{cls.__name__}Field", {name.upper(): (name, words_of_field) for name, words_of_field in words.items()}
        )
        fields.__doc__ = first_paragraph(cls)
        enum(fields, structural=True)
        nulls = "Where rows without a value stand; last unless said otherwise."
        made = [
            ("field", fields, strawberry.field(description="What to order by.")),
            ("direction", Direction, strawberry.field(description="Which end comes first.", default=Direction.ASC)),
            ("nulls", *_optional(Nulls, nulls)),
        ]
        return _input(cls, made, description=_KEY_OF_ORDER)

    return decorate


def order_cost(model: builtins.type[Model], *served: str, **dear: int) -> Price:
    """The price of an order by a model's columns, and by keys that are none: `served` by an index, or `dear`."""
    return price_of_order({column.name for column, field in fields_of(model) if field.served} | {*served}, dear)


def _value(column: Column[Any], field: Field) -> tuple[Any, Any]:
    api_type = _api_type(column)
    return api_type | None if column.nullable else api_type, strawberry.field(description=field.words)


def _new_value(column: Column[Any], field: Field) -> tuple[Any, Any]:
    kind = _api_type(column, taken=True)
    if field.default is not None:
        return kind, strawberry.field(description=field.input_words, default=field.default)
    if column.nullable or column.server_default is not None:
        return _optional(kind, field.input_words)
    return kind, strawberry.field(description=field.input_words)


def _optional(kind: Any, description: str, name: str | None = None) -> tuple[Any, Any]:
    return kind | None, strawberry.field(name=name, description=description, default=UNSET)


def _is_number_id(column: Column[Any]) -> bool:
    """Whether a column holds the id of a record, which is a number."""
    return kind_of(column) is int and bool(column.primary_key or column.foreign_keys)


def _api_type(column: Column[Any], *, taken: bool = False) -> Any:
    """The type of a column's values in the API; the type in which they are `taken` is `ID` for every id."""
    kind = kind_of(column)
    if column.primary_key or kind is UUID or (taken and _is_number_id(column)):
        return strawberry.ID
    if get_origin(kind) is dict:
        return JSON
    return _registered(kind)


def _condition(column: Column[Any]) -> Any:
    """The filter of a column's values."""
    if _is_number_id(column):
        return filters.NumberIdFilter
    kind = kind_of(column)
    return _CONDITIONS[kind] if kind in _CONDITIONS else filters.Filter[_registered(kind)]  # type: ignore[misc]


def _registered(kind: Any) -> Any:
    """A type that Strawberry knows: an enum is registered with its first column."""
    if isinstance(kind, builtins.type) and issubclass(kind, Choice) and not is_registered(kind):
        enum(kind)
    return kind


def _choice_of(choice: DerivedChoice) -> Any:
    """The enum of a field that follows from columns: its values are part of a statement's shape."""
    if not is_registered(choice.kind):
        enum(choice.kind, structural=True)
    return choice.kind


def _choice_value(choice: DerivedChoice) -> Any:
    def value(row: Any) -> Any:
        return choice.value(row)

    value.__annotations__["return"] = choice.kind
    value.__doc__ = choice.words
    return computed(never_null=True)(value)


def _filtered(model: builtins.type[Model]) -> Iterable[tuple[Column[Any], Field]]:
    return ((column, field) for column, field in fields_of(model) if field.by)


def _orders(model: builtins.type[Model]) -> Iterable[tuple[str, str]]:
    yield from ((column.name, field.order) for column, field in fields_of(model) if field.order)
    yield from ((name, choice.order) for name, choice in model.derived_choices.items() if choice.order)


def _input(cls: builtins.type[T], made: Iterable[NewField], description: str | None = None) -> builtins.type[T]:
    _add(cls, made)
    return strawberry.input(cls, description=description or first_paragraph(cls))


def _ruled_input(cls: builtins.type[T], model: builtins.type[Model], made: Iterable[NewField]) -> builtins.type[T]:
    """An input whose texts are left to its columns' rules: they find all that is wrong with them."""
    remember_rules(cls, model.rules)
    return _input(cls, made)


def _add(cls: builtins.type[Any], made: Iterable[NewField]) -> None:
    """Add fields to a class, before its own; fields that the class declares itself are skipped."""
    own, annotations = get_annotations(cls), {}
    for name, kind, field in made:
        if name not in own and name not in vars(cls):
            annotations[name] = kind
            setattr(cls, name, field)
    cls.__annotations__ = {**annotations, **own}


__all__ = [
    "across",
    "create_input",
    "expression_filter",
    "filter",
    "list_filter",
    "order",
    "order_cost",
    "text_filter",
    "type",
    "update_input",
]
