"""Sort keys of statements, and keyset paging by them: conditions and cursors."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Index,
    Select,
    Text,
    and_,
    cast,
    false,
    func,
    literal_column,
    or_,
    true,
    tuple_,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from crm.core import errors
from crm.core.api_json import json_value


@dataclass(frozen=True)
class SortKey:
    """One sort key of a statement."""

    column: ColumnElement[Any]
    descending: bool
    nulls_first: bool
    nullable: bool

    @classmethod
    def of(cls, clause: Any) -> "SortKey":
        """Read an ORDER BY element."""
        descending, nulls_first, explicit = False, None, clause
        while isinstance(explicit, UnaryExpression):
            if explicit.modifier is operators.desc_op:
                descending = True
            elif explicit.modifier is operators.nulls_first_op:
                nulls_first = True
            elif explicit.modifier is operators.nulls_last_op:
                nulls_first = False
            explicit = explicit.element
        if nulls_first is None:
            nulls_first = descending
        return cls(explicit, descending, nulls_first, bool(getattr(explicit, "nullable", True)))

    def clause(self, *, reverse: bool) -> ColumnElement[Any]:
        """The key as an ORDER BY element; in `reverse` the opposite order."""
        key = self.column.desc() if self.descending != reverse else self.column.asc()
        if not self.nullable:
            return key
        return key.nulls_first() if self.nulls_first != reverse else key.nulls_last()

    def text(self) -> ColumnElement[Any]:
        """The value in full precision, as text."""
        if isinstance(self.column.type, DateTime):
            return json_value(self.column)
        return cast(self.column, Text)


def keys_of(statement: Select[Any]) -> list[SortKey]:
    """A statement's sort keys."""
    return [SortKey.of(clause) for clause in statement._order_by_clauses]  # noqa: SLF001  (no public way to read them)


def ranges(
    keys: Sequence[SortKey], values: Sequence[ColumnElement[Any] | None], *, reverse: bool
) -> list[ColumnElement[bool]]:
    """The rows of `beyond` as ranges in order: rows with a value, then rows without, or the other way round.

    An index scan can start where one range starts, but not where either of two does: in an order by a nullable column,
    `beyond` would filter all rows before the cursor.
    """
    first, value = keys[0], values[0]
    nulls_come_later = first.nulls_first == reverse
    known = all(isinstance(key.column, Column) for key in keys)
    if not known or not first.nullable or not _is_indexed(first.column) or nulls_come_later == (value is None):
        return [beyond(keys, values, reverse=reverse)]
    if value is None:
        return [and_(first.column.is_(None), beyond(keys[1:], values[1:], reverse=reverse)), first.column.is_not(None)]
    valued = [replace(first, nullable=False), *keys[1:]]
    return [beyond(valued, values, reverse=reverse), first.column.is_(None)]


def _is_indexed(column: ColumnElement[Any]) -> bool:
    """Whether an index of the column's table begins with it."""
    table = getattr(column, "table", None)
    indexes = getattr(getattr(table, "element", table), "indexes", ())
    return any(_first_name(index) == getattr(column, "key", None) for index in indexes)


def _first_name(index: Index) -> str:
    """The name of an index's first column, without the direction that an expression in SQL text has."""
    first = index.expressions[0]
    return str(getattr(first, "key", None) or str(first).split()[0])


def beyond(
    keys: Sequence[SortKey], values: Sequence[ColumnElement[Any] | None], *, reverse: bool
) -> ColumnElement[bool]:
    """The rows that come after these values (before them, in reverse). A value of None is a null."""
    if values[0] is not None and keys[0].nulls_first != reverse:  # rows without a value came before this one
        keys = [replace(keys[0], nullable=False), *keys[1:]]
    if all(not key.nullable for key in keys) and len({key.descending for key in keys}) == 1:
        left = tuple_(*(key.column for key in keys))
        right = tuple_(*(value for value in values if value is not None))
        return left < right if keys[0].descending != reverse else left > right
    any_key: ColumnElement[bool] = false()
    tied: ColumnElement[bool] = true()
    for key, value in zip(keys, values, strict=True):
        any_key = or_(any_key, and_(tied, _after(key, value, reverse=reverse)))
        tied = and_(tied, key.column.is_(None) if value is None else key.column == value)
    return and_(_bound(keys[0], values[0], reverse=reverse), any_key)


def _after(key: SortKey, value: ColumnElement[Any] | None, *, reverse: bool) -> ColumnElement[bool]:
    nulls_come_later = key.nulls_first == reverse
    if value is None:
        return false() if nulls_come_later else key.column.is_not(None)
    beyond_value = key.column < value if key.descending != reverse else key.column > value
    return or_(beyond_value, key.column.is_(None)) if key.nullable and nulls_come_later else beyond_value


def _bound(key: SortKey, value: ColumnElement[Any] | None, *, reverse: bool) -> ColumnElement[bool]:
    """A condition on the first key alone, which an index can start from."""
    if value is None or (key.nullable and key.nulls_first == reverse):
        return true()
    return key.column <= value if key.descending != reverse else key.column >= value


# Cursors

_VERSION: Final = 2  # 1: before names had sort keys, whose values were the names
_MAX_CURSOR: Final = 4000
_FIRST_VALUE: Final = 2


def fingerprint(shape: object, values: Sequence[object]) -> str:
    """The fingerprint of the filter and order that a cursor is bound to."""
    return hashlib.blake2b(repr((shape, values)).encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


def cursor(keys: Sequence[SortKey], bound_to: ColumnElement[Any]) -> ColumnElement[Any]:
    """The cursor of a row, made in SQL."""
    payload = cast(
        func.json_build_array(_VERSION_SQL, bound_to, *(key.text() for key in keys)),
        Text,
    )
    encoded = func.encode(func.convert_to(payload, _UTF8), _BASE64)
    return func.translate(encoded, _URL_FROM, _URL_TO)


def payload(text: str, field: str = "after") -> list[Any]:
    """The members of a cursor: its version, the fingerprint that it is bound to, and the values of the sort keys."""
    try:
        members = orjson.loads(base64.urlsafe_b64decode(text[:_MAX_CURSOR] + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        members = None
    if (
        not isinstance(members, list)
        or len(members) <= _FIRST_VALUE
        or members[0] != _VERSION
        or not all(
            value is None or (isinstance(value, str) and "\x00" not in value) for value in members[_FIRST_VALUE:]
        )
    ):
        raise not_a_cursor(field)
    return members


def not_a_cursor(field: str) -> errors.BadUserInput:
    """The error for text that no connection gave out as a cursor."""
    return errors.BadUserInput("This is not a cursor; take `endCursor` or `startCursor` of a page.", field=field)


def decode(text: str, bound_to: str, field: str) -> list[str | None]:
    """The values of the sort keys in a cursor; an error if it is bound to another filter or order."""
    members = payload(text, field)
    if members[1] != bound_to:
        message = "This cursor belongs to another filter or order; start again without it."
        raise errors.BadUserInput(message, field=field)
    return members[_FIRST_VALUE:]


_VERSION_SQL: Final[ColumnElement[Any]] = literal_column(str(_VERSION))
_UTF8: Final[ColumnElement[Any]] = literal_column("'UTF8'")
_BASE64: Final[ColumnElement[Any]] = literal_column("'base64'")
# base64 to its URL-safe spelling, without padding and PostgreSQL's line breaks
_URL_FROM: Final[ColumnElement[Any]] = literal_column("E'+/=\\n'")
_URL_TO: Final[ColumnElement[Any]] = literal_column("'-_'")
