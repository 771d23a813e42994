"""The API as a subgraph of Apollo Federation 2: `_service`, `_entities`, and the SDL with the records' keys."""

import re
from base64 import b64encode
from typing import Annotated, Any, Final, Optional, Union

import strawberry
from graphql import GraphQLID, GraphQLInterfaceType
from strawberry.types.field import StrawberryField

from crm.core import errors
from crm.graph.declare.fields import answered, rows
from crm.graph.declare.ids import reads
from crm.graph.declare.node import Node, check_node_id, records_of
from crm.graph.declare.scalars import CONFIG, Representation
from crm.graph.run.context import Info
from crm.graph.sdl import sdl

_LINK: Final = (
    'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@shareable"])\n\n'
)
_KEY: Final = (re.compile(r"^(type \w+ implements Node) \{$", re.MULTILINE), r'\1 @key(fields: "id") {')
# Relay's type, which other subgraphs have too.
_SHARED: Final = (re.compile(r"^type PageInfo \{$", re.MULTILINE), "type PageInfo @shareable {")


def subgraph_sdl(api: strawberry.Schema) -> str:
    """The schema for a composition: each record has its `id` for key."""
    text = sdl(api)
    for pattern, replacement in (_KEY, _SHARED):
        text = pattern.sub(replacement, text)
    return _LINK + text


@strawberry.type(name="_Service", description="What a gateway is told of this subgraph.")
class Service:
    """What a gateway is told of this subgraph."""

    sdl: str = strawberry.field(description="The schema, with its keys.")


def _node_id(representation: Any, label: str) -> str:
    """The global id of the record that a gateway represents by its type and its `id`."""
    values = representation if isinstance(representation, dict) else {}
    kind, key = values.get("__typename"), values.get("id")
    are_texts = isinstance(kind, str) and isinstance(key, str | int) and not isinstance(key, bool)
    if not are_texts or not f"{kind}{key}".isascii():  # as are all names of types, and all ids
        message = f"`{label}` must name a record by `__typename` and `id`."
        raise errors.BadUserInput(message, field=label)
    node_id = b64encode(f"{kind}:{key}".encode()).decode()
    check_node_id(node_id, f"{label}.id")
    return node_id


def _node_ids(representations: Any, label: str) -> Any:
    return [_node_id(one, f"{label}.{index}") for index, one in enumerate(representations)]


def subgraph(api: strawberry.Schema) -> strawberry.Schema:
    """The schema with the two fields that gateways use."""
    text = subgraph_sdl(api)

    async def service(self: Any, info: Info) -> Service:  # noqa: ARG001  (as every field of its kind)
        """What a gateway composes."""
        return Service(sdl=text)

    def entities(
        representations: Annotated[
            list[Representation],
            strawberry.argument(
                description="Each with `__typename` and `id`; at most 1,000.", metadata=reads(_node_ids, GraphQLID)
            ),
        ],
    ) -> Any:
        """The records that a gateway asks for, in this order; null for each that there is none of."""
        return records_of(representations)

    entities.__annotations__["return"] = list[Optional[_entity(api)]]  # type: ignore[misc]  # noqa: UP045
    fields = {
        "service": _named("_service", answered()(service)),
        "entities": _named("_entities", rows(each="representations")(entities)),
    }
    query: Any = strawberry.type(type("Subgraph", (api.query,), fields), name="Query", description=api.query.__doc__)
    return strawberry.Schema(query, api.mutation, api.subscription, config=CONFIG)


def _entity(api: strawberry.Schema) -> Any:
    """The union of all records."""
    node = api._schema.type_map[Node.__name__]  # noqa: SLF001
    assert isinstance(node, GraphQLInterfaceType)
    records = [kind.extensions["strawberry-definition"].origin for kind in api._schema.get_possible_types(node)]  # noqa: SLF001
    return Annotated[Union[tuple(records)], strawberry.union("_Entity", description="Any record.")]  # noqa: UP007


def _named(name: str, field: Any) -> Any:
    assert isinstance(field, StrawberryField)
    field.graphql_name = name
    return field


__all__ = ["subgraph", "subgraph_sdl"]
