"""Columns with words: a model's column states all that the API shows, takes, filters and orders of its field.

`graph.type`, `graph.create_input`, `graph.update_input`, `graph.filter` and `graph.order` are made from it. A column
without words is not in the API, only in the database.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from inspect import get_annotations
from itertools import chain
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    Table,
    Text,
    case,
    collate,
    false,
    func,
    literal_column,
    or_,
    text,
    type_coerce,
)
from sqlalchemy.orm import Mapped, MappedColumn, mapped_column
from sqlalchemy.sql.visitors import iterate

from crm.core.choice import Choice, EnumText
from crm.core.labels import Label
from crm.core.validate import Rule

if TYPE_CHECKING:
    from crm.core.model import Model

_FIELD: Final = "field"
_KIND: Final = "kind"


def crm_sort_key(name: Any) -> ColumnElement[str]:
    """The key by which a name sorts, as PostgreSQL makes it (docs/decisions/0037)."""
    return collate(func.crm_sort_key(type_coerce(name, Text), type_=Text()), "C")


def crm_last_name_key(name: Any) -> ColumnElement[str]:
    """The same of a last name: particles at its beginning do not count."""
    return collate(func.crm_last_name_key(type_coerce(name, Text), type_=Text()), "C")


@dataclass(frozen=True)
class SortKey:
    """How a name sorts: by the column beside it that a trigger fills, with what a SQL function makes of the name."""

    column: str
    made_of: Callable[[Any], ColumnElement[str]] = crm_sort_key


@dataclass(frozen=True, kw_only=True)
class Field:
    """The API's description of a column, and the ways in which it may be used."""

    words: str
    input_words: str
    label: Label | None
    by: str
    order: str
    served: bool
    ranked: bool
    rule: Rule | None
    fixed: bool
    sort_key: SortKey | None
    default: Any


@dataclass(frozen=True, kw_only=True)
class DerivedChoice:
    """A field that is no column: a choice that follows from the row's columns, as one condition for each value says.

    Of the conditions exactly one holds, and none is null. A filter by a value is its condition, so that the indexes of
    the columns serve it.
    """

    kind: type[Choice]
    words: str
    by: str
    order: str
    when: Mapping[Choice, Callable[[Any], ColumnElement[bool]]]

    def value(self, row: Any) -> ColumnElement[Any]:
        """The value of a row."""
        values: list[tuple[Any, Any]] = [
            (holds(row), literal_column(f"'{choice.value}'")) for choice, holds in self.when.items()
        ]
        return type_coerce(case(*values), EnumText(self.kind))

    def columns(self, row: Any) -> frozenset[str]:
        """The names of the columns that the value follows from."""
        elements = chain.from_iterable(iterate(holds(row)) for holds in self.when.values())
        return frozenset(element.key for element in elements if isinstance(element, Column))

    def rank(self, row: Any) -> ColumnElement[int]:
        """The place of a row's value among all: the order in which they are declared."""
        return case(*((holds(row), literal_column(str(n), Integer)) for n, holds in enumerate(self.when.values())))

    def among(self, row: Any, choices: Sequence[Any]) -> ColumnElement[bool]:
        """Whether a row's value is one of these."""
        return or_(false(), *(self.when[choice](row) for choice in dict.fromkeys(choices)))


def column(  # noqa: PLR0913  (each is one property of a field)
    words: str,
    *items: Any,
    by: str = "",
    order: str = "",
    served: bool | str = False,
    ranked: bool = False,
    rule: Rule | None = None,
    label: Label | None = None,
    input_words: str = "",
    fixed: bool = False,
    sort_key: SortKey | None = None,
    default: StrEnum | bool | int | None = None,
    key: bool = False,
    **options: Any,
) -> MappedColumn[Any]:
    """A column that the API shows. `items` and `options` are those of SQLAlchemy's `mapped_column`.

    `by` describes the column in the filter, `order` in the order: without them it is in neither. An order `served` by
    an index costs nothing more (a text tells when: "when descending"); a `ranked` one follows an enum's values as they
    are declared, one with a `sort_key` that, as ranges in filters do. A column with a `rule` is in inputs, described by
    `input_words` if those differ; messages call it by its `label`, in English and in Swedish. One that is `fixed` is
    only in the input that creates a record.
    """
    if rule is not None and label is None:
        msg = f"A column with a rule needs a label, as messages about it name it: {words!r}"
        raise TypeError(msg)
    if served:
        order += f" Served by an index{'' if served is True else f' {served}'}."
    field = Field(
        words=words,
        input_words=input_words or words,
        label=label,
        by=by,
        order=order,
        served=bool(served),
        ranked=ranked,
        rule=rule,
        fixed=fixed,
        sort_key=sort_key,
        default=default,
    )
    if default is not None:
        options["server_default"] = default.value if isinstance(default, StrEnum) else text(str(default).lower())
    return mapped_column(*items, primary_key=key, info={_FIELD: field}, **options)


def field_of(column: Column[Any]) -> Field | None:
    """The API's description of a column; None if it is not in the API."""
    field: Field | None = column.info.get(_FIELD)
    return field


def kind_of(column: Column[Any]) -> Any:
    """The Python type of a column's values."""
    return column.info[_KIND]


def fields_of(model: "type[Model]") -> Iterator[tuple[Column[Any], Field]]:
    """A model's columns that are in the API, in the order in which they are declared."""
    for column in model.__table__.columns:
        field = field_of(column)
        if field is not None:
            yield column, field


def declared_kinds(cls: type[Any]) -> dict[str, Any]:
    """The Python types of the columns that a model's own class declares, by name."""
    annotations: dict[str, Any] = {name: kind for name, kind in get_annotations(cls).items() if _is_column(kind)}
    return {name: _bare(get_args(kind)[0]) for name, kind in annotations.items()}


def remember_kinds(table: Table, kinds: dict[str, Any]) -> None:
    """Store the Python types of a table's columns in their `info`."""
    for name in kinds.keys() & table.columns.keys():
        table.columns[name].info[_KIND] = kinds[name]


def _is_column(annotation: Any) -> bool:
    origin: object = get_origin(annotation)
    return origin is Mapped


def _bare(kind: Any) -> Any:
    """A type without `| None`."""
    if get_origin(kind) in {UnionType, Union}:
        [kind] = [member for member in get_args(kind) if member is not NoneType]
    return kind
