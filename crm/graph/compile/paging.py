"""A page of a connection: the rows from a cursor on, or back from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import FromClause, Integer, Select, cast, func, literal_column, select, union_all

from crm.graph.compile.keyset import SortKey, beyond, cursor, not_a_cursor, ranges


@dataclass(frozen=True)
class Paging:
    """A connection's placeholders."""

    size: Any
    backwards: bool
    bound_to: Any
    after: Sequence[Any | None] | None
    before: Sequence[Any | None] | None


def page_of(statement: Select[Any], keys: Sequence[SortKey], paging: Paging, name: Callable[[str], str]) -> FromClause:
    """The rows of a page and one more, read from the cursor on, or back from it."""
    after = _key_values(keys, paging.after, "after")
    before = _key_values(keys, paging.before, "before")
    start, end = (before, after) if paging.backwards else (after, before)
    if end is not None:
        statement = statement.where(beyond(keys, end, reverse=not paging.backwards))
    parts = [statement]
    if start is not None:
        parts = [statement.where(condition) for condition in ranges(keys, start, reverse=paging.backwards)]
    most = paging.size + literal_column("1", Integer)
    limited = [
        part.order_by(None)
        .order_by(*(key.clause(reverse=paging.backwards) for key in keys))
        .limit(most)
        .add_columns(cursor(keys, paging.bound_to).label("__cursor"))
        for part in parts
    ]
    if len(limited) == 1:
        return limited[0].subquery(name("q"))
    # The second range is read only when the first holds less than a page: all its rows may be hidden ones.
    first = limited[0].cte(name("c"), nesting=True).prefix_with("MATERIALIZED")
    is_short = select(func.count()).select_from(first).scalar_subquery() < most
    united = union_all(select(first), *(part.where(is_short) for part in limited[1:])).subquery(name("u"))
    united_keys = [replace(key, column=united.c[str(key.column.key)]) for key in keys]
    ordered = select(united).order_by(*(key.clause(reverse=paging.backwards) for key in united_keys)).limit(most)
    return ordered.subquery(name("q"))


def _key_values(keys: Sequence[SortKey], values: Sequence[Any | None] | None, field: str) -> list[Any] | None:
    """The values of a cursor, if there is one."""
    if values is None:
        return None
    fits = len(keys) == len(values)
    if not fits or any(value is None and not key.nullable for key, value in zip(keys, values, strict=True)):
        raise not_a_cursor(field)
    return [None if value is None else cast(value, key.column.type) for key, value in zip(keys, values, strict=True)]
