"""Changes in the API."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import strawberry
from sqlalchemy import ColumnElement, Integer, Text, Uuid, case, cast, column, false, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from crm import graph
from crm.access.users.graphql import User
from crm.access.users.service import UserService
from crm.core.choice import Choice
from crm.core.identity import Role, Via
from crm.core.policy import viewer_is
from crm.db import events
from crm.db.query import Operand
from crm.graph.declare.ids import RecordId, record_id
from crm.graph.declare.node import global_id
from crm.graph.declare.scalars import JSON
from crm.sales.history.service import SHOWN, ChangeService, check_types
from crm.sales.interactions.service import InteractionService
from crm.sales.leads.service import LeadService
from crm.sales.tasks.service import TaskService

if TYPE_CHECKING:
    from crm.sales.interactions.graphql import Interaction
    from crm.sales.leads.graphql import Lead
    from crm.sales.tasks.graphql import Task


class Entity(Choice):
    """Of what kind a record is."""

    LEAD = "lead", "A lead."
    TASK = "task", "A task."
    INTERACTION = "interaction", "An interaction."
    USER = "user", "A user."
    RECALCULATION = "recalculation", "A recalculation of all scores; one change for each of its batches."


Row = type[events.Event]
# The types of records that are nodes.
_NODES: Final = {
    Entity.LEAD: "Lead",
    Entity.TASK: "Task",
    Entity.INTERACTION: "Interaction",
    Entity.USER: "User",
}
_ONE: Final[ColumnElement[Any]] = literal_column("1")


graph.enum(Entity)
graph.enum(Via)


@graph.type()
class FieldChange:
    """One field of a change."""

    name: str = strawberry.field(description="The field, as the API spells it; `ChangedField.field` is the same.")
    before: JSON | None = strawberry.field(description="Its value before; null if it had none.")
    after: JSON | None = strawberry.field(description="Its value after; null if it has none.")


@graph.type(events.Event)
class Change:
    """One change to one record."""

    id: strawberry.ID = strawberry.field(description="Goes up, but not without gaps; page and resume by `cursor`.")
    type: str = strawberry.field(description="The kind of record and what happened: `lead.created`, `task.deleted`.")
    entity_id: strawberry.ID = strawberry.field(description="The record's id, among those of its kind.")
    occurred_at: datetime = strawberry.field(description="When.")
    lead_id: int | None = strawberry.field(description="The lead it concerns.")
    actor_id: strawberry.ID | None = strawberry.field(description="Who did it.")
    via: Via | None = strawberry.field(description="By which way it came; null if that was not noted yet.")
    request_id: str | None = strawberry.field(
        description="What one request changed has the same, and so has its INTERNAL error; null if none did."
    )
    version: int | None = strawberry.field(
        description="The record's version after it; null if that was not noted yet, or it has no versions."
    )

    @graph.computed(never_null=True)
    def cursor(event: Row) -> str:
        """Where it stands in the stream: `after` of the subscription, `before` of the timeline."""
        return ChangeService.cursor(event)

    @graph.computed(never_null=True)
    def entity(event: Row) -> Entity:
        """The kind of record."""
        return func.upper(event.entity)

    @graph.computed
    def entity_node_id(event: Row) -> strawberry.ID | None:
        """The `nodeId` of the record that changed, by which caches keep it; null if it is no record."""
        types = [(_is_of(event, entity), literal_column(f"'{name}'", Text())) for entity, name in _NODES.items()]
        return global_id(case(*types), event.entity_id)

    @graph.edge
    def actor(event: Row) -> User | None:
        """Who did it."""
        return UserService.with_id(event.actor_id)

    @graph.edge(usual_rows=5, takes=())
    def fields(event: Row) -> list[FieldChange]:
        """What changed; empty once the record is deleted, except for admins."""
        each = (
            func.jsonb_to_recordset(event.fields)
            .table_valued(column("name", Text), column("before", JSONB), column("after", JSONB), name="field")
            .render_derived(with_types=True)
        )
        public = select(each.c.name, each.c.before, each.c.after).where(ChangeService.is_public(each.c.name))
        return public.where(or_(viewer_is(Role.ADMIN), _sees_record(event)))

    @graph.edge
    def lead(event: Row) -> Annotated["Lead", strawberry.lazy("crm.sales.leads.graphql")] | None:
        """The lead it concerns, as it is now; null when deleted."""
        return LeadService.with_id(event.lead_id)

    @graph.edge
    def task(event: Row) -> Annotated["Task", strawberry.lazy("crm.sales.tasks.graphql")] | None:
        """The task that changed, as it is now; null when deleted."""
        return TaskService.with_id(_number(event, Entity.TASK))

    @graph.edge
    def interaction(
        event: Row,
    ) -> Annotated["Interaction", strawberry.lazy("crm.sales.interactions.graphql")] | None:
        """The interaction that changed, as it is now; null when deleted."""
        return InteractionService.with_id(_number(event, Entity.INTERACTION))


@graph.type()
class ChangeStream:
    """All changes, in the order in which the subscription `changes` tells them."""

    cursor: str = strawberry.field(
        description="Where they end for now: `after` of the subscription. From there on it tells all that the rest of "
        "the same request does not show yet, and perhaps some that it does."
    )


@strawberry.type
class ChangeQuery:
    """Reads of the stream of changes."""

    @graph.rows
    def change_stream() -> ChangeStream | None:
        """Where a screen starts to follow what it shows: ask for it in the same request."""
        return ChangeService.end()


@strawberry.type
class ChangeSubscription:
    """What happens, live."""

    @graph.stream(entities=SHOWN)
    def changes(
        after_xid: ColumnElement[Any],
        after_id: ColumnElement[Any],
        until_xid: ColumnElement[Any],
        lead_id: Annotated[RecordId | None, record_id("Only about this lead.")] = None,
        types: Annotated[
            list[str] | None, graph.checked(check_types, "Only of these types, like `task.created`.")
        ] = None,
    ) -> AsyncIterator[Change]:
        """Every change, in order, once. With `after` a client that was away misses nothing."""
        return ChangeService.between(after_xid, after_id, until_xid, lead_id, types)


def _sees_record(event: Row) -> ColumnElement[bool]:
    """Whether the viewer sees the record that changed, as it is now; false for kinds that are not named here."""
    records = {
        Entity.LEAD: LeadService.with_id(_number(event, Entity.LEAD)),
        Entity.TASK: TaskService.with_id(_number(event, Entity.TASK)),
        Entity.INTERACTION: InteractionService.with_id(_number(event, Entity.INTERACTION)),
        Entity.USER: UserService.with_id(case((_is_of(event, Entity.USER), cast(event.entity_id, Uuid)))),
    }
    # SQLAlchemy correlates a subquery with the SELECT around it; this one refers to a row one SELECT further out.
    source = event.entity.table
    shows = {
        _is_of(event, entity): record.with_only_columns(_ONE, maintain_column_froms=True).correlate(source).exists()
        for entity, record in records.items()
    }
    return case(*shows.items(), else_=false())


def _is_of(event: Row, entity: Entity) -> ColumnElement[bool]:
    return event.entity == literal_column(f"'{entity.value}'")


def _number(event: Row, entity: Entity) -> Operand:
    """The record's id, if it is of this kind."""
    return case((_is_of(event, entity), cast(event.entity_id, Integer)))
