"""Columns with words: all that the API shows, takes, filters and orders of a model's field is said in its column.

`graph.type`, `graph.create_input`, `graph.update_input`, `graph.filter` and `graph.order` are made from it. A column
without words is nobody's business: it is in the database alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from inspect import get_annotations
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

from sqlalchemy import Column, Table, text
from sqlalchemy.orm import Mapped, MappedColumn, mapped_column

from crm.core.validate import Rule

if TYPE_CHECKING:
    from crm.core.model import Model

_FIELD: Final = "field"
_KIND: Final = "kind"


@dataclass(frozen=True, kw_only=True)
class Field:
    """What the API says of a column, and how it may be used."""

    words: str
    input_words: str
    by: str
    order: str
    served: bool
    ranked: bool
    rule: Rule | None
    fixed: bool
    default: Any


def column(  # noqa: PLR0913  (each is one thing that may be said of a field)
    words: str,
    *items: Any,
    by: str = "",
    order: str = "",
    served: bool | str = False,
    ranked: bool = False,
    rule: Rule | None = None,
    input_words: str = "",
    fixed: bool = False,
    default: StrEnum | bool | int | None = None,
    key: bool = False,
    **options: Any,
) -> MappedColumn[Any]:
    """A column that the API shows. `items` and `options` are those of SQLAlchemy's `mapped_column`.

    `by` describes it in the filter, `order` in the order: without them there is none. An order that is `served` by an
    index costs nothing more (a text says when: "when descending"); one that is `ranked` follows an enum's values as
    they are declared. What has a `rule` can be given in inputs, described by `input_words` if those differ; what is
    `fixed` can be given once, when the record is created.
    """
    if served:
        order += f" Served by an index{'' if served is True else f' {served}'}."
    said = Field(
        words=words,
        input_words=input_words or words,
        by=by,
        order=order,
        served=bool(served),
        ranked=ranked,
        rule=rule,
        fixed=fixed,
        default=default,
    )
    if default is not None:
        options["server_default"] = default.value if isinstance(default, StrEnum) else text(str(default).lower())
    return mapped_column(*items, primary_key=key, info={_FIELD: said}, **options)


def field_of(of: Column[Any]) -> Field | None:
    """What the API says of a column; None if it is not in the API."""
    found: Field | None = of.info.get(_FIELD)
    return found


def kind_of(of: Column[Any]) -> Any:
    """The Python type of a column's values."""
    return of.info[_KIND]


def fields_of(model: "type[Model]") -> Iterator[tuple[Column[Any], Field]]:
    """A model's columns that the API shows, in the order in which they are declared."""
    for each in model.__table__.columns:
        said = field_of(each)
        if said is not None:
            yield each, said


def declared_kinds(cls: type[Any]) -> dict[str, Any]:
    """The Python types of the columns that a model's own class declares, by name."""
    annotations: dict[str, Any] = {name: kind for name, kind in get_annotations(cls).items() if _is_column(kind)}
    return {name: _bare(get_args(kind)[0]) for name, kind in annotations.items()}


def remember_kinds(table: Table, kinds: dict[str, Any]) -> None:
    """Keep the Python types of a table's columns with them."""
    for name in kinds.keys() & table.columns.keys():
        table.columns[name].info[_KIND] = kinds[name]


def _is_column(annotation: Any) -> bool:
    origin: object = get_origin(annotation)
    return origin is Mapped


def _bare(kind: Any) -> Any:
    """A type without `| None`."""
    if get_origin(kind) in {UnionType, Union}:
        [kind] = [one for one in get_args(kind) if one is not NoneType]
    return kind
