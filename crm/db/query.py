"""Filters and orders as SQL: services build statements with these."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Final

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    cast,
    collate,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects import postgresql

from crm.core.choice import Choice
from crm.core.columns import DerivedChoice, SortKey, field_of, kind_of
from crm.core.model import CASE_COLLATION, Model

# A value of an argument in a statement: a placeholder, or the column that it comes from.
Operand = Any

_LIKE_SPECIAL: Final = ("\\", "%", "_")


class Direction(Choice):
    """Which end comes first."""

    ASC = "asc", "Smallest, earliest or A first."
    DESC = "desc", "Largest, latest or Z first."


class Nulls(Choice):
    """Where rows without a value stand."""

    FIRST = "first", "Before all others."
    LAST = "last", "After all others."


class Where:
    """A model's filter: conditions by its columns' names, `and_ or_ not_`, relations, and what is no column."""

    relations: ClassVar[Mapping[str, "Relation"]] = {}
    derived_choices: ClassVar[Mapping[str, DerivedChoice]] = {}
    computed: ClassVar[Mapping[str, "Computed"]] = {}
    sort_keys: ClassVar[Mapping[str, SortKey]] = {}

    def present_fields(self) -> Mapping[str, Any]:
        """The filter's members that have a value, by their Python names."""
        raise NotImplementedError


class Relation:
    """An edge to filter across: the model at the other end, and the condition that joins its rows with ours."""

    def __init__(
        self,
        model: Callable[[], type[Model]],
        on: Callable[[Any, Any], ColumnElement[bool]],
    ) -> None:
        self.model = model
        self.on = on


# How an expression sorts if not by itself: the expression that does, and what makes the same of an operand.
Key = tuple[ColumnElement[Any], Callable[[Any], ColumnElement[Any]]]
# A comparison of an expression, which may have a `key`, with the operands of a scalar filter.
Compare = Callable[..., ColumnElement[bool]]


@dataclass(frozen=True)
class Computed:
    """A filter by something that is no column of the model: the condition on a row and a value, and its points."""

    condition: Callable[[Any, Any], ColumnElement[bool]]
    points: int


@dataclass(frozen=True)
class JoinedKey:
    """A key of an order in a table that has one row for each of the model's, and an index of that key and the id."""

    column: Any
    id: Any


def filtered(statement: Select[Any], model: type[Model], where: Where | None) -> Select[Any]:
    """The statement with a filter's conditions."""
    if not where:
        return statement
    return statement.where(condition(model.__table__.c, where))


def says_nothing(where: Where) -> bool:
    """Whether a filter is empty, so that it matches all rows."""
    return not where.present_fields()


def condition(row: Any, where: Where, depth: int = 0) -> ColumnElement[bool]:
    """A filter as a condition on a row's columns; `depth` counts the edges that lead to the row."""
    conditions: list[ColumnElement[bool]] = []
    for name, value in where.present_fields().items():
        if name == "and_":
            conditions.append(and_(true(), *(condition(row, operand, depth) for operand in value)))
        elif name == "or_":
            conditions.append(or_(false(), *(condition(row, operand, depth) for operand in value)))
        elif name == "not_":
            conditions.append(not_(func.coalesce(condition(row, value, depth), false())))
        elif name in where.relations:
            conditions.append(_across(row, where.relations[name], value, depth))
        elif name in where.derived_choices:
            conditions.append(_is_choice(row, where.derived_choices[name], value))
        elif name in where.computed:
            conditions.append(where.computed[name].condition(row, value))
        elif name in where.sort_keys:
            sort_key = where.sort_keys[name]
            conditions.append(compared(row[name], value, key=(row[sort_key.column], sort_key.made_of)))
        else:
            conditions.append(compared(row[name], value))
    return and_(true(), *conditions)


@cache
def _alias(table: FromClause, _depth: int) -> FromClause:
    """A table's alias in conditions across so many edges: the same for all conditions side by side."""
    return table.alias()


def _across(row: Any, relation: Relation, value: Any, depth: int) -> ColumnElement[bool]:
    other = _alias(relation.model().__table__, depth)
    tie = relation.on(row, other.c)

    def some(where: Where, *, holds: bool = True) -> ColumnElement[bool]:
        inner = condition(other.c, where, depth + 1)
        if not holds:
            inner = not_(func.coalesce(inner, false()))
        return exists(select(literal_column("1")).select_from(other).where(tie, inner).correlate_except(other))

    if isinstance(value, Where):
        return some(value)
    quantified = value.present_fields()
    conditions = []
    if "some" in quantified:
        conditions.append(some(quantified["some"]))
    if "none" in quantified:
        conditions.append(not_(some(quantified["none"])))
    if "every" in quantified:
        conditions.append(not_(some(quantified["every"], holds=False)))
    if "count" in quantified:
        conditions.append(_counted(other, tie, quantified["count"].present_fields(), depth))
    return and_(true(), *conditions)


def _counted(other: FromClause, tie: ColumnElement[bool], value: Mapping[str, Any], depth: int) -> ColumnElement[bool]:
    """A comparison with the number of rows at the other end of an edge that are like `where`."""
    inner = condition(other.c, value["where"], depth + 1) if "where" in value else true()
    count = select(func.count(type_=Integer())).select_from(other).where(tie, inner).correlate_except(other)
    number = count.scalar_subquery()
    comparisons = (_OPERATORS[name](number, operand) for name, operand in value.items() if name != "where")
    return and_(true(), *comparisons)


def compared(column: ColumnElement[Any], value: Any, *, key: Key | None = None) -> ColumnElement[bool]:
    """A scalar filter as a condition on an expression; ranges are those of the order, so by its key if it has one."""
    conditions = []
    for name, operand in value.present_fields().items():
        if key is not None and name in _RANGES:
            # As a subquery the operand's key is made once, not for each row, and an index of the column serves.
            by, made_of = key
            conditions.append(_OPERATORS[name](by, select(made_of(operand)).scalar_subquery()))
        else:
            conditions.append(_OPERATORS[name](column, operand))
    return and_(true(), *conditions)


def _is_choice(row: Any, choice: DerivedChoice, value: Any) -> ColumnElement[bool]:
    """A condition on a field that follows from columns; its operands are known when the statement is made."""
    operators: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "eq": lambda operand: choice.among(row, [operand]),
        "neq": lambda operand: not_(choice.among(row, [operand])),
        "in_": lambda operand: choice.among(row, operand),
        "not_in": lambda operand: not_(choice.among(row, operand)),
        "is_null": lambda operand: false() if operand else true(),
    }
    return and_(true(), *(operators[name](operand) for name, operand in value.present_fields().items()))


def _like(column: Any, operand: Any, before: str, after: str) -> ColumnElement[bool]:
    """LIKE with the operand's own special characters made literal, in SQL: the operand is a placeholder."""
    text = func.lower(collate(operand, CASE_COLLATION))
    for special in _LIKE_SPECIAL:
        text = func.replace(text, literal_column(f"'{special}'"), literal_column(f"'\\{special}'"))
    pattern = literal_column(f"'{before}'").concat(text).concat(literal_column(f"'{after}'"))
    return func.lower(collate(column, CASE_COLLATION)).like(pattern)


def _typed(operand: Any, column: Any) -> Any:
    return type_coerce(operand, column.type)


def _in(column: Any, operand: Any) -> ColumnElement[bool]:
    # Not SQLAlchemy's any_(), which drops the coercion: PostgreSQL would compare a uuid with text. Nor `==`, which puts
    # ANY first where the column is a function's value.
    matches: ColumnElement[bool] = column.bool_op("=")(func.any(type_coerce(operand, ARRAY(column.type))))
    return matches


def _is_null(column: Any, operand: Any) -> ColumnElement[bool]:
    # Part of the statement's shape, so a plain bool here.
    condition: ColumnElement[bool] = column.is_(None) if operand else column.is_not(None)
    return condition


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], ColumnElement[bool]]]] = {
    "eq": lambda column, operand: column == _typed(operand, column),
    "neq": lambda column, operand: column.is_distinct_from(_typed(operand, column)),
    "in_": _in,
    "not_in": lambda column, operand: not_(func.coalesce(_in(column, operand), false())),
    "gt": lambda column, operand: column > _typed(operand, column),
    "gte": lambda column, operand: column >= _typed(operand, column),
    "lt": lambda column, operand: column < _typed(operand, column),
    "lte": lambda column, operand: column <= _typed(operand, column),
    "contains": lambda column, operand: _like(column, operand, "%", "%"),
    "starts_with": lambda column, operand: _like(column, operand, "", "%"),
    "ends_with": lambda column, operand: _like(column, operand, "%", ""),
    "is_null": _is_null,
    "has": lambda column, operand: column.contains(cast(postgresql.array([operand]), column.type)),
    "has_any": lambda column, operand: column.overlap(_typed(operand, column)),
    "has_all": lambda column, operand: column.contains(_typed(operand, column)),
}

_RANGES: Final = frozenset({"gt", "gte", "lt", "lte"})


def ordered(
    statement: Select[Any],
    model: type[Model],
    order_by: Sequence[Any] | None,
    computed: Mapping[str, Callable[[Any], ColumnElement[Any] | JoinedKey]] | None = None,
) -> Select[Any]:
    """The statement in this order: newest first unless asked otherwise, ties always broken by `id`.

    `order_by` holds {field, direction, nulls}; a field's value is a column's name, or that of one of `computed`.
    """
    row = model.__table__.c
    key_of_row: ColumnElement[Any] = row.id
    keys: list[ColumnElement[Any]] = []
    descending, by_id = True, False
    seen = set()
    for order in order_by or ():
        descending = order.direction == Direction.DESC
        if order.field in seen:  # it adds no order; the condition of a cursor grows with the square of the keys
            continue
        seen.add(order.field)
        name = order.field.value
        key = computed[name](row) if computed and name in computed else _key(model, name)
        if isinstance(key, JoinedKey):
            statement = statement.where(key.id == row.id).add_columns(key.column, key.id)
            key_of_row = key_of_row if keys else key.id
            key = key.column
        by_id = by_id or name == "id"
        keys.append(_directed(key, descending=descending, nulls=order.nulls or None))
        if by_id:
            break  # nothing after a unique key can matter
    if not by_id:
        keys.append(key_of_row.desc() if descending else key_of_row.asc())
    return statement.order_by(*keys)


def _key(model: type[Model], name: str) -> ColumnElement[Any]:
    """The expression to order by a column: if the model says so, an enum's rank, or a name's sort key."""
    if name in model.derived_choices:
        return model.derived_choices[name].rank(model.__table__.c)
    columns = model.__table__.columns
    column = columns[name]
    field = field_of(column)
    if field is None:
        return column
    if field.sort_key:
        return columns[field.sort_key.column]
    return rank(column, kind_of(column)) if field.ranked else column


def rank(column: ColumnElement[Any], enum_: type[StrEnum]) -> ColumnElement[Any]:
    """An enum's column in the order in which its values are declared."""
    values = ", ".join(f"'{member.value}'" for member in enum_)
    return func.array_position(literal_column(f"ARRAY[{values}]"), column, type_=Integer())


def _directed(column: ColumnElement[Any], *, descending: bool, nulls: Nulls | None) -> ColumnElement[Any]:
    key = column.desc() if descending else column.asc()
    if not getattr(column, "nullable", True):
        return key
    return key.nulls_first() if nulls == Nulls.FIRST else key.nulls_last()
