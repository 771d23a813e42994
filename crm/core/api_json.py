"""Columns as JSON, in the same way for events and for the API."""

from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Numeric,
    Text,
    cast,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from crm.core.choice import EnumText

# Parameters as $1, which is libpq's own form.
DIALECT: Final = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_RFC3339: Final[ColumnElement[str]] = literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""")
_CENTS: Final = 2
_UTC: Final[ColumnElement[str]] = literal_column("'UTC'")


def json_value(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column in the API's format: enums by name, times in UTC, money as text."""
    column_type = column.type
    if isinstance(column_type, DateTime):
        return func.to_char(func.timezone(_UTC, column), _RFC3339)
    if isinstance(column_type, EnumText):
        return func.upper(column)
    if isinstance(column_type, Numeric) and column_type.asdecimal:
        # Cents as stored; of finer numbers, no trailing zeros.
        return cast(func.trim_scale(column) if (column_type.scale or 0) > _CENTS else column, Text)
    return column


@lru_cache(maxsize=1000)
def camel(name: str) -> str:
    """`due_date` as `dueDate`."""
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def sql_text(element: Any) -> str:
    """An element without parameters as SQL."""
    return str(element.compile(dialect=DIALECT))
