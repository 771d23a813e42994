"""Global ids (Relay's object identification): `nodeId` of every record, and `node` and `nodes`, which read by it.

A global id is the base64 of the record's type and id, so that the ids of two records are never equal. Clients take it
as it is: only this module makes and reads one.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, cast

import strawberry
from sqlalchemy import BigInteger, ColumnElement, Integer, Select, Text, Uuid, case, func, literal_column, select
from sqlalchemy import cast as as_type
from strawberry.types.base import get_object_definition

from crm.core import errors
from crm.core.columns import field_of
from crm.core.model import Model
from crm.graph.declare.fields import checked, computed, model_of, rows

_KEY: Final = re.compile(r"[A-Za-z]+:(0|[1-9]\d{0,9}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)
_BASE64: Final[ColumnElement[str]] = literal_column("'base64'")
_COLON: Final[ColumnElement[str]] = literal_column("':'")
_UTF8: Final[ColumnElement[str]] = literal_column("'UTF8'")


@strawberry.interface(description="A record, of whatever type.")
class Node:
    """A record, of whatever type."""

    node_id: strawberry.ID = strawberry.field(
        description="Its id among the records of all types: for `node`, and for caches. Take it as it is."
    )


def has_node_id(model: type[Model]) -> bool:
    """Whether a type made of this model is a `Node`: its `id` is in the API."""
    key = model.__table__.c.get("id")
    return key is not None and field_of(key) is not None


def node_id_of(type_name: str) -> Any:
    """The field `nodeId` of a type."""

    def node_id(record: Any) -> strawberry.ID:
        """Its id among the records of all types: for `node`, and for caches. Take it as it is."""
        return cast("strawberry.ID", global_id(_quoted(type_name), record.id))

    return computed(never_null=True)(node_id)


def global_id(type_name: ColumnElement[str], key: Any) -> ColumnElement[str]:
    """The `nodeId` of the record of a type with this id; null if there is no type."""
    text = type_name.op("||")(_COLON).op("||")(as_type(key, Text))
    return func.encode(func.convert_to(text, _UTF8), _BASE64)


def make_node(cls: type[Any]) -> None:
    """Make a type a `Node`; it has the field already."""
    definition = get_object_definition(cls, strict=True)
    definition.interfaces.append(get_object_definition(Node, strict=True))


def check_node_id(text: str, label: str) -> None:
    """Refuse a text that is nobody's global id."""
    try:
        key = b64decode(text, validate=True).decode("ascii")
    except ValueError:
        key = ""
    # One spelling only: base64 has several texts for the same bytes.
    if not _KEY.fullmatch(key) or b64encode(key.encode()).decode() != text:
        message = f"{text[:50]!r} is no record's `nodeId`."
        raise errors.BadUserInput(message, field=label)


def check_node_ids(texts: list[str], label: str) -> None:
    """Refuse a list with a text that is nobody's global id."""
    for index, text in enumerate(texts):
        check_node_id(text, f"{label}.{index}")


class _Records(Mapping[type[Any], Select[Any]]):
    """For each type, the statement of its record with a global id: no row if the id is another type's."""

    def __init__(self, node_id: Any) -> None:
        self._text = func.convert_from(func.decode(node_id, _BASE64), _UTF8)

    def __getitem__(self, cls: type[Any]) -> Select[Any]:
        model, name = model_of(cls), get_object_definition(cls, strict=True).name
        assert model is not None
        column = model.__table__.c.id
        kind, pattern = _KEYS[type(column.type)]
        is_ours = self._text.op("~")(_quoted(f"^{name}:{pattern}$"))
        key = func.substr(self._text, literal_column(str(len(name) + 2)))
        return select(model).where(column == case((is_ours, as_type(key, kind))))

    def __iter__(self) -> Iterator[type[Any]]:
        raise TypeError("The types are those of the schema.")  # noqa: EM101, TRY003

    def __len__(self) -> int:
        raise TypeError("The types are those of the schema.")  # noqa: EM101, TRY003


# By the type of a model's key: the type that its text is read as, and the text's pattern. A number may be larger than
# the column holds; no row has it then.
_KEYS: Final[Mapping[type[Any], tuple[Any, str]]] = {
    Integer: (BigInteger(), "[0-9]{1,10}"),
    BigInteger: (BigInteger(), "[0-9]{1,10}"),
    Uuid: (Uuid(), "[0-9a-f-]{36}"),
}


def records_of(node_id: Any) -> Mapping[type[Any], Select[Any]]:
    """For each type, the statement of its record with a global id: no row if the id is another type's."""
    return _Records(node_id)


def _quoted(text: str) -> ColumnElement[str]:
    return literal_column(f"'{text}'", Text())


# The functions get the argument's placeholder, as those of every wing do; here mypy has no exemption for it.
@strawberry.type
class NodeQuery:
    """Reads of records of any type."""

    @rows
    def node(  # type: ignore[misc]
        node_id: Annotated[strawberry.ID, checked(check_node_id, "The record's `nodeId`.")],  # noqa: N805
    ) -> Node | None:
        """The record with this global id, of whatever type; null if there is none."""
        return cast("Node", records_of(node_id))

    @rows(each="node_ids")
    def nodes(  # type: ignore[misc]
        node_ids: Annotated[list[strawberry.ID], checked(check_node_ids, "Their `nodeId`s, at most 1,000.")],  # noqa: N805
    ) -> list[Node | None]:
        """The records with these global ids, in this order; null for each that there is none of."""
        return cast("list[Node | None]", records_of(node_ids))
