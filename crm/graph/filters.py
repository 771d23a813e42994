"""Filters: one input per scalar, combined by and / or / not, across edges too."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, ClassVar, Final, Generic, TypeVar
from uuid import UUID

import strawberry
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
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

from crm.core import errors
from crm.core.model import CASE_COLLATION, Model

E = TypeVar("E")
UNSET: Any = strawberry.UNSET
_UUID_LENGTH: Final = 36
_LIKE_SPECIAL: Final = ("\\", "%", "_")


def _operator(description: str, name: str | None = None) -> Any:
    return strawberry.field(name=name, description=description, default=UNSET)


class Condition:
    """What every scalar filter shares. `check` sees the raw values, before any SQL."""

    @classmethod
    def check(cls, given: Mapping[str, object], path: str) -> None:
        """Refuse what cannot mean anything."""
        for name, value in given.items():
            if value is None:
                message = f"`{name}: null` compares with nothing; use `isNull: true`."
                raise errors.BadUserInput(message, field=f"{path}.{name}")


@strawberry.input(description="Compares a whole number.")
class IntFilter(Condition):
    """Compares a whole number."""

    eq: int | None = _operator("Equal to.")
    neq: int | None = _operator("Not equal to; rows without a value are included.")
    in_: list[int] | None = _operator("One of.", "in")
    not_in: list[int] | None = _operator("None of; rows without a value are included.")
    gt: int | None = _operator("Greater than.")
    gte: int | None = _operator("Greater than or equal to.")
    lt: int | None = _operator("Less than.")
    lte: int | None = _operator("Less than or equal to.")
    is_null: bool | None = _operator("Has no value (true), or has one (false).")


@strawberry.input(description="Compares an exact number.")
class DecimalFilter(Condition):
    """Compares an exact number."""

    eq: Decimal | None = _operator("Equal to.")
    neq: Decimal | None = _operator("Not equal to; rows without a value are included.")
    in_: list[Decimal] | None = _operator("One of.", "in")
    not_in: list[Decimal] | None = _operator("None of; rows without a value are included.")
    gt: Decimal | None = _operator("Greater than.")
    gte: Decimal | None = _operator("Greater than or equal to.")
    lt: Decimal | None = _operator("Less than.")
    lte: Decimal | None = _operator("Less than or equal to.")
    is_null: bool | None = _operator("Has no value (true), or has one (false).")


@strawberry.input(description="Compares a moment.")
class DateTimeFilter(Condition):
    """Compares a moment."""

    eq: datetime | None = _operator("Equal to.")
    neq: datetime | None = _operator("Not equal to; rows without a value are included.")
    in_: list[datetime] | None = _operator("One of.", "in")
    not_in: list[datetime] | None = _operator("None of; rows without a value are included.")
    gt: datetime | None = _operator("After.")
    gte: datetime | None = _operator("At or after.")
    lt: datetime | None = _operator("Before.")
    lte: datetime | None = _operator("At or before.")
    is_null: bool | None = _operator("Has no value (true), or has one (false).")


@strawberry.input(description="Compares text. `contains`, `startsWith` and `endsWith` ignore case.")
class StringFilter(Condition):
    """Compares text."""

    eq: str | None = _operator("Equal to, letter for letter.")
    neq: str | None = _operator("Not equal to; rows without a value are included.")
    in_: list[str] | None = _operator("One of.", "in")
    not_in: list[str] | None = _operator("None of; rows without a value are included.")
    gt: str | None = _operator("Sorts after.")
    gte: str | None = _operator("Sorts after, or equal.")
    lt: str | None = _operator("Sorts before.")
    lte: str | None = _operator("Sorts before, or equal.")
    contains: str | None = _operator("Contains this, in any case.")
    starts_with: str | None = _operator("Starts with this, in any case.")
    ends_with: str | None = _operator("Ends with this, in any case.")
    is_null: bool | None = _operator("Has no value (true), or has one (false).")


@strawberry.input(description="Compares a flag.")
class BooleanFilter(Condition):
    """Compares a flag."""

    eq: bool | None = _operator("Equal to.")
    neq: bool | None = _operator("Not equal to; rows without a value are included.")
    is_null: bool | None = _operator("Has no value (true), or has one (false).")


@strawberry.input(description="Compares a user's id.")
class IDFilter(Condition):
    """Compares an id."""

    eq: strawberry.ID | None = _operator("Equal to.")
    neq: strawberry.ID | None = _operator("Not equal to; rows without a value are included.")
    in_: list[strawberry.ID] | None = _operator("One of.", "in")
    not_in: list[strawberry.ID] | None = _operator("None of; rows without a value are included.")
    is_null: bool | None = _operator("Has no value (true), or has one (false).")

    @classmethod
    def check(cls, given: Mapping[str, object], path: str) -> None:
        """Every id must look like one."""
        super().check(given, path)
        for name, value in given.items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, str):
                    parse_uuid(one, f"{path}.{name}")


@strawberry.input(description="Compares one of a few values.")
class Filter(Condition, Generic[E]):
    """Compares an enum."""

    eq: E | None = _operator("Equal to.")
    neq: E | None = _operator("Not equal to; rows without a value are included.")
    in_: list[E] | None = _operator("One of.", "in")
    not_in: list[E] | None = _operator("None of; rows without a value are included.")
    is_null: bool | None = _operator("Has no value (true), or has one (false).")


@strawberry.input(description="Looks into a list of texts.")
class StringListFilter(Condition):
    """Looks into an array."""

    has: str | None = _operator("Has this element.")
    has_any: list[str] | None = _operator("Has at least one of these.")
    has_all: list[str] | None = _operator("Has all of these.")


def parse_uuid(text: str, field: str) -> UUID:
    """An id that is a UUID, or an error that names the field."""
    try:
        # One spelling: what UUID() takes beside it (no dashes, braces, urn:) would be another text for the same id.
        if len(text) != _UUID_LENGTH:
            raise ValueError  # noqa: TRY301
        return UUID(text)
    except ValueError:
        message = f"{text[:50]!r} is not an id; ids of this kind look like 0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10."
        raise errors.BadUserInput(message, field=field) from None


class Where:
    """The base of a model's filter: fields named like its columns, `and_ or_ not_`, and relations."""

    relations: ClassVar[Mapping[str, "Relation"]] = {}


class Relation:
    """An edge to filter across: the model at the other end, and what ties a row of it to ours."""

    def __init__(
        self,
        model: Callable[[], type[Model]],
        on: Callable[[Any, Any], ColumnElement[bool]],
    ) -> None:
        self.model = model
        self.on = on


def filtered(statement: Select[Any], model: type[Model], where: Where | None) -> Select[Any]:
    """The statement with a filter's conditions."""
    if not where:
        return statement
    return statement.where(condition(model.__table__.c, where))


def says_nothing(where: Where) -> bool:
    """Whether a filter leaves everything, because nothing stands in it."""
    return all(getattr(where, field.name) in (UNSET, None) for field in fields(where))  # type: ignore[arg-type]


def condition(row: Any, where: Where, depth: int = 0) -> ColumnElement[bool]:
    """A filter as a condition on a row's columns; `depth` counts the edges that lead to it."""
    found: list[ColumnElement[bool]] = []
    for name in (field.name for field in fields(where)):  # type: ignore[arg-type]
        value = getattr(where, name)
        if value is UNSET or value is None:
            continue
        if name == "and_":
            found.append(and_(true(), *(condition(row, each, depth) for each in value)))
        elif name == "or_":
            found.append(or_(false(), *(condition(row, each, depth) for each in value)))
        elif name == "not_":
            found.append(not_(func.coalesce(condition(row, value, depth), false())))
        elif name in where.relations:
            found.append(_across(row, where.relations[name], value, depth))
        else:
            found.append(_compared(row[name], value))
    return and_(true(), *found)


@cache
def _alias(table: FromClause, _depth: int) -> FromClause:
    """The rows that a condition across so many edges is about: one alias for all such conditions, side by side."""
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
    conditions = []
    if value.some:
        conditions.append(some(value.some))
    if value.none:
        conditions.append(not_(some(value.none)))
    if value.every:
        conditions.append(not_(some(value.every, holds=False)))
    return and_(true(), *conditions)


def _compared(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    return and_(
        true(),
        *(_OPERATORS[name](column, operand) for name, operand in given.items() if operand is not UNSET),
    )


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
    # Not SQLAlchemy's any_(), which drops the coercion: PostgreSQL would compare a uuid with text.
    matches: ColumnElement[bool] = column == func.any(type_coerce(operand, ARRAY(column.type)))
    return matches


def _is_null(column: Any, operand: Any) -> ColumnElement[bool]:
    # Part of the statement's shape, so a plain bool here.
    found: ColumnElement[bool] = column.is_(None) if operand else column.is_not(None)
    return found


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
