"""What a subscription is told of: heads of events, and which of them it asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crm.db.stream_position import Position
from crm.graph.compile.selection import Selected

# An answer in parts: what comes before the projected event, the event, what follows. All who are shown it share them.
Parts = tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class ProjectedEvent:
    """One projected event."""

    position: Position
    json: bytes


@dataclass(frozen=True, slots=True)
class EventHeader:
    """As much of an event as tells who waits for it."""

    position: Position
    lead_id: int | None
    type: str
    entity: str
    entity_id: str


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events a stream's arguments ask for; None is any."""

    lead_id: int | None
    types: frozenset[str] | None
    entities: frozenset[str] | None
    entity_id: str | None

    @classmethod
    def of(cls, root: Selected, variables: Mapping[str, Any]) -> "EventFilter":
        """What these arguments ask for. More than they do costs a read; less would lose events."""
        given = {argument.name: argument.given(variables) for argument in root.arguments}
        lead_id, types, key = given.get("lead_id"), given.get("types"), given.get("id")
        declared = root.shape.declaration if root.shape is not None else None
        return cls(
            lead_id if isinstance(lead_id, int) else None,
            frozenset(types) if isinstance(types, list | tuple) else None,
            declared.entities if declared is not None else None,
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
