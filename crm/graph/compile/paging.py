"""A page of a connection: the rows from a cursor on, or back from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Select,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    tuple_,
    union_all,
)

from crm.db.merged import Merged, MergedPart
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


_MOMENT: Final = DateTime(timezone=True)
_MOST_ID: Final[ColumnElement[int]] = literal_column(str(2**63 - 1), BigInteger)
_LEAST_ID: Final[ColumnElement[int]] = literal_column("-1", BigInteger)


def merged_page(merged: Merged, paging: Paging, name: Callable[[str], str]) -> FromClause:
    """The rows of a page of a merged list and one more: at most so many of each part, then the first of them all."""
    keys = _merged_keys(column("occurred_at", _MOMENT), column("__rank", Integer), column("id", BigInteger))
    after = _key_values(keys, paging.after, "after")
    before = _key_values(keys, paging.before, "before")
    most = paging.size + literal_column("1", Integer)
    read = [_part_of_page(part, after, before, paging, most) for part in merged.parts]
    united = (union_all(*read) if len(read) > 1 else read[0]).subquery(name("u"))
    keys = _merged_keys(united.c.occurred_at, united.c["__rank"], united.c.id)
    ordered = select(united).order_by(*(key.clause(reverse=paging.backwards) for key in keys)).limit(most)
    return ordered.subquery(name("q"))


def _part_of_page(part: MergedPart, after: Any, before: Any, paging: Paging, most: Any) -> Select[Any]:
    moment, key = (part.statement.selected_columns[column_name] for column_name in ("occurred_at", "id"))
    moment, key = (getattr(labelled, "element", labelled) for labelled in (moment, key))
    rank: ColumnElement[int] = literal_column(str(part.rank), Integer)
    statement, place = part.statement, tuple_(moment, key)
    if after is not None:
        statement = statement.where(place < tuple_(after[0], _id_at(rank, after)))
    if before is not None:
        statement = statement.where(place > tuple_(before[0], _id_at(rank, before)))
    keys = _merged_keys(moment, rank, key)
    in_order = (sort_key.clause(reverse=paging.backwards) for sort_key in (keys[0], keys[2]))
    limited = statement.order_by(*in_order).limit(most)
    return limited.add_columns(rank.label("__rank"), cursor(keys, paging.bound_to).label("__cursor"))


def _id_at(rank: ColumnElement[int], values: Any) -> ColumnElement[int]:
    """The id of a part's rows at a cursor's moment that lies where the cursor does.

    So the condition on a part is one on two columns of its index, whichever part the cursor's own row is of.
    """
    return case((rank < values[1], _MOST_ID), (rank == values[1], values[2]), else_=_LEAST_ID)


def _merged_keys(moment: Any, rank: Any, key: Any) -> list[SortKey]:
    return [SortKey(part, descending=True, nulls_first=True, nullable=False) for part in (moment, rank, key)]


def _key_values(keys: Sequence[SortKey], values: Sequence[Any | None] | None, field: str) -> list[Any] | None:
    """The values of a cursor, if there is one."""
    if values is None:
        return None
    fits = len(keys) == len(values)
    if not fits or any(value is None and not key.nullable for key, value in zip(keys, values, strict=True)):
        raise not_a_cursor(field)
    return [None if value is None else cast(value, key.column.type) for key, value in zip(keys, values, strict=True)]
