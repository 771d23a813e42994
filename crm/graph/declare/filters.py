"""Filters: one input per scalar, combined by and / or / not, across edges too."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar

import strawberry

from crm.core import errors
from crm.core.validate import parse_uuid
from crm.db import query
from crm.graph.declare.ids import IS_NUMBER

E = TypeVar("E")
UNSET: Any = strawberry.UNSET
# The points of a condition that counts rows for each row: see crm.graph.compile.prices.
COUNT: Final = 120
# The same of a search in an index of words, which may match many rows.
TEXT_SEARCH: Final = 60


def is_blank(value: object) -> bool:
    """Whether a value is a text of nothing but white space."""
    return isinstance(value, str) and not value.strip()


def _operator(description: str, name: str | None = None) -> Any:
    return strawberry.field(name=name, description=description, default=UNSET)


class InputObject:
    """The base of the API's input objects."""

    def present_fields(self) -> Mapping[str, Any]:
        """The fields that the caller set to a value, by their Python names."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if value is not UNSET and value is not None}


class Condition(InputObject):
    """The base of the scalar filters. `check` gets the raw operands, before any SQL."""

    @classmethod
    def check(cls, operands: Mapping[str, object], path: str) -> None:
        """Refuse operands that compare with nothing."""
        for name, operand in operands.items():
            if operand is None:
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


@strawberry.input(description="Compares a day.")
class DateFilter(Condition):
    """Compares a day."""

    eq: date | None = _operator("That day.")
    neq: date | None = _operator("Not that day; rows without a value are included.")
    in_: list[date] | None = _operator("One of.", "in")
    not_in: list[date] | None = _operator("None of; rows without a value are included.")
    gt: date | None = _operator("After.")
    gte: date | None = _operator("On that day or after.")
    lt: date | None = _operator("Before.")
    lte: date | None = _operator("On that day or before.")
    is_null: bool | None = _operator("Has no value (true), or has one (false).")


@strawberry.input(description="Compares text. `contains`, `startsWith` and `endsWith` ignore case.")
class StringFilter(Condition):
    """Compares text."""

    eq: str | None = _operator("Equal to, letter for letter.")
    neq: str | None = _operator("Not equal to; rows without a value are included.")
    in_: list[str] | None = _operator("One of.", "in")
    not_in: list[str] | None = _operator("None of; rows without a value are included.")
    gt: str | None = _operator("Sorts after; names as in orders.")
    gte: str | None = _operator("Sorts after, or equal; names as in orders.")
    lt: str | None = _operator("Sorts before; names as in orders.")
    lte: str | None = _operator("Sorts before, or equal; names as in orders.")
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
    def check(cls, operands: Mapping[str, object], path: str) -> None:
        """Refuse an operand that is not a UUID."""
        super().check(operands, path)
        for name, operand in operands.items():
            for text in operand if isinstance(operand, list) else [operand]:
                if isinstance(text, str | int) and not isinstance(text, bool):
                    parse_uuid(str(text), f"{path}.{name}")


def _number(description: str, name: str | None = None) -> Any:
    return strawberry.field(name=name, description=description, default=UNSET, metadata=IS_NUMBER)


@strawberry.input(name="IntIDFilter", description="Compares the id of a lead, a task or an interaction.")
class NumberIdFilter(Condition):
    """Compares an id that is a number."""

    eq: strawberry.ID | None = _number("Equal to.")
    neq: strawberry.ID | None = _number("Not equal to; rows without a value are included.")
    in_: list[strawberry.ID] | None = _number("One of.", "in")
    not_in: list[strawberry.ID] | None = _number("None of; rows without a value are included.")
    gt: strawberry.ID | None = _number("Greater than.")
    gte: strawberry.ID | None = _number("Greater than or equal to.")
    lt: strawberry.ID | None = _number("Less than.")
    lte: strawberry.ID | None = _number("Less than or equal to.")
    is_null: bool | None = _operator("Has no value (true), or has one (false).")


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


class CountInput(InputObject):
    """The base of the filters by a number of rows."""

    @classmethod
    def check(cls, operands: Mapping[str, object], path: str) -> None:
        """Refuse a count that is compared with nothing."""
        numbers = {name: operand for name, operand in operands.items() if name != "where"}
        for name in [name for name, operand in numbers.items() if operand is None] or ([] if numbers else ["gt"]):
            message = f"`{path}` compares a number of rows: say with what, `gt: 2` for example."
            raise errors.BadUserInput(message, field=f"{path}.{name}")


class WhereInput(InputObject, query.Where):
    """The base of every filter of the API."""
