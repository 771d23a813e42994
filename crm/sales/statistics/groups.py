"""Groups of rows and their numbers: what every aggregate of a noun is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, Text, cast, func, literal_column, null, select, type_coerce
from sqlalchemy.types import TypeEngine

from crm.core.choice import Choice
from crm.core.model import Model
from crm.db.query import Where, compared, filtered

_TEXT: Final = Text()
_UTC: Final[Any] = literal_column("'UTC'")
_WEEK: Final[Any] = literal_column("""'IYYY-"W"IW'""")
_ZERO: Final[Any] = literal_column("0")


@dataclass(frozen=True)
class Key:
    """What rows are grouped by."""

    value: Callable[[Any], ColumnElement[Any]]
    type: TypeEngine[Any] = _TEXT
    is_time: bool = False


def week_of(name: str) -> Key:
    """The week (ISO 8601, UTC) of a column's moment."""
    return Key(lambda row: func.to_char(func.timezone(_UTC, row[name]), _WEEK), is_time=True)


def column_of(name: str, type_: TypeEngine[Any] | None = None) -> Key:
    """The value of a column."""
    return Key(lambda row: row[name], type_ or _TEXT)


def grouped(
    model: type[Model],
    keys: Mapping[Choice, Key],
    numbers: Mapping[str, ColumnElement[Any]],
    group_by: Sequence[Choice],
    where: Where | None,
) -> Select[Any]:
    """One row a group with its numbers; without groups one row over everything."""
    row = model.__table__.c
    chosen = {group: key.value(row) for group, key in keys.items() if group in group_by}
    columns = (
        chosen[group].label(group.value) if group in chosen else cast(null(), key.type).label(group.value)
        for group, key in keys.items()
    )
    statement = select(*columns, *(number.label(name) for name, number in numbers.items()))
    return filtered(statement, model, where).group_by(*chosen.values())


def in_order(
    statement: Select[Any], keys: Mapping[Choice, Key], group_by: Sequence[Choice], having: Any
) -> Select[Any]:
    """The groups whose numbers are like `having`: those of a time in its order, and the largest first."""
    groups = statement.subquery("groups")
    chosen = [group for group in keys if group in group_by]
    times = [groups.c[group.value] for group in chosen if keys[group].is_time]
    others = [groups.c[group.value] for group in chosen if not keys[group].is_time]
    ordered = [*(time.asc().nulls_last() for time in times), groups.c["count"].desc()]
    return matching(select(groups), groups.c, having).order_by(*ordered, *(key.asc().nulls_last() for key in others))


def matching(statement: Select[Any], numbers: Any, having: Any) -> Select[Any]:
    """The statement with the conditions on the groups' numbers."""
    conditions = having.present_fields() if having is not None else {}
    return statement.where(*(compared(numbers[name], value) for name, value in conditions.items()))


def count_of(condition: ColumnElement[bool] | None = None) -> ColumnElement[int]:
    """How many rows of a group there are, or are like the condition."""
    count: Any = func.count() if condition is None else func.count().filter(condition)
    return cast(count, Integer)


def total_of(number: Any) -> ColumnElement[int]:
    """All numbers of a group together; 0 without any."""
    return type_coerce(cast(func.coalesce(func.sum(number), _ZERO), Integer), Integer())
