"""JSON objects as SQL expressions."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, cast, func, literal_column

_LONGEST_KEY: Final = 63
_NULL: Final[ColumnElement[Any]] = literal_column("'null'")
MOST_PAIRS: Final = 50  # a function takes 100 arguments


def has_long_key(fields: Sequence[tuple[str, Any]]) -> bool:
    """Whether a key is longer than an identifier may be."""
    return any(len(key) > _LONGEST_KEY for key, _ in fields)


def text_object(fields: Sequence[tuple[str, Any]]) -> ColumnElement[Any]:
    """A JSON object put together as text."""
    if not fields:  # @skip and @include left nothing
        return literal_column("'{}'::json")
    pairs = [
        func.concat(
            literal_column(f"'\"{key}\":'"),
            func.coalesce(cast(func.to_json(value), Text), _NULL),
        )
        for key, value in fields
    ]
    comma: ColumnElement[Any] = literal_column("','")
    chunks = [pairs[start : start + MOST_PAIRS] for start in range(0, len(pairs), MOST_PAIRS)]
    joined = func.concat_ws(comma, *(func.concat_ws(comma, *chunk) for chunk in chunks))
    return func.concat(literal_column("'{'"), joined, literal_column("'}'")).op("::")(literal_column("json"))


def quoted(text: str) -> ColumnElement[str]:
    """A name of GraphQL's alphabet as an SQL literal."""
    return literal_column(f"'{text}'")


def typename(name: str) -> ColumnElement[Any]:
    """The value of `__typename`: typed, since to_json() takes no literal of an unknown type."""
    return literal_column(f"'{name}'::text")


def flag(value: Any) -> ColumnElement[Any]:
    """A boolean that is known now, or an expression."""
    return literal_column("true" if value else "false") if isinstance(value, bool) else value
