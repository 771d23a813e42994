"""Headers of events, and the filter of a subscription's arguments over them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crm.db.stream_position import Position
from crm.graph.compile.selection import Selected

# An answer in parts: the bytes before the projected event, the event, and those after it; subscribers share the event.
Parts = tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class ProjectedEvent:
    """One projected event."""

    position: Position
    json: bytes


@dataclass(frozen=True, slots=True)
class EventHeader:
    """The columns of an event by which subscriptions are filtered."""

    position: Position
    lead_id: int | None
    type: str
    entity: str
    entity_id: str


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The events that a stream's arguments ask for; None is any."""

    lead_id: int | None
    types: frozenset[str] | None
    entities: frozenset[str] | None
    entity_id: str | None

    @classmethod
    def of(cls, root: Selected, variables: Mapping[str, Any]) -> "EventFilter":
        """The filter of these arguments. A filter that is too wide costs a read; a narrower one would lose events."""
        values = {argument.name: argument.value(variables) for argument in root.arguments}
        lead_id, types, key = values.get("lead_id"), values.get("types"), values.get("id")
        declaration = root.shape.declaration if root.shape is not None else None
        return cls(
            lead_id if isinstance(lead_id, int) else None,
            frozenset(types) if isinstance(types, list | tuple) else None,
            declaration.entities if declaration is not None else None,
            key.lower() if isinstance(key, str) else None,
        )

    def includes(self, head: EventHeader) -> bool:
        """Whether an event is asked for."""
        return (
            self.lead_id in (None, head.lead_id)
            and self.entity_id in (None, head.entity_id)
            and (self.types is None or head.type in self.types)
            and (self.entities is None or head.entity in self.entities)
        )
