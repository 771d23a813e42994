"""The event stream: one row for every change, written in the change's own transaction.

The timeline, the audit log, subscriptions and event consumers read this table. A reader has a cursor of (transaction
id, event id) and reads no further than the oldest transaction still open: so an event that is committed late never
appears behind a cursor that has passed it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from crm.core.identity import Via
from crm.core.model import Model
from crm.core.policy import EVERYBODY, INTERNAL


class Xid8(UserDefinedType[int]):
    """A 64-bit transaction id; it never wraps."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The type's name in PostgreSQL."""
        return "xid8"


class Event(Model):
    """One change to one record: the actor, the record, and its fields before and after."""

    __tablename__ = "events"
    policy = EVERYBODY

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    xid: Mapped[int] = mapped_column(Xid8, server_default=func.pg_current_xact_id())
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    type: Mapped[str]
    entity: Mapped[str]  # type: ignore[misc]  # a column here, a name elsewhere
    entity_id: Mapped[str]
    lead_id: Mapped[int | None]
    actor_id: Mapped[UUID | None]
    # A list of {"name", "before", "after"}, in GraphQL's spelling.
    fields: Mapped[list[dict[str, Any]]] = mapped_column(
        Model.type_annotation_map[dict[str, Any]], server_default=text("'[]'")
    )
    # The way by which the change came, and the request that brought it; null in events of earlier versions.
    via: Mapped[Via | None] = mapped_column(server_default=Via.SQL.value)
    request_id: Mapped[str | None]
    # The record's version after the change; null in events of earlier versions, and of records without versions.
    version: Mapped[int | None]
    # PostgreSQL's timeline that the event was written on, and the oldest transaction open then: after a failover they
    # tell which events readers may have seen that the promoted server does not have.
    server_timeline: Mapped[int] = mapped_column("timeline", Integer, server_default=func.crm_timeline())
    horizon: Mapped[int] = mapped_column(Xid8, server_default=text("pg_snapshot_xmin(pg_current_snapshot())"))

    __table_args__ = (
        Index("events_xid_id_idx", "xid", "id"),
        Index(
            "events_lead_id_id_idx",
            "lead_id",
            "id",
            postgresql_where=text("lead_id IS NOT NULL"),
        ),
        # Those of a lead that are activities; crm/sales/activities reads them.
        Index(
            "events_activities_idx",
            "lead_id",
            "occurred_at",
            "id",
            postgresql_where=text(
                "type = 'lead.updated' AND "
                '(fields @> \'[{"name": "status"}]\'::jsonb OR fields @> \'[{"name": "summary"}]\'::jsonb)'
            ),
        ),
        Index("events_occurred_at_idx", "occurred_at", postgresql_using="brin"),
    )


class StreamEpoch(Model):
    """The stream's epoch; it is renewed on another timeline of PostgreSQL, or by a restore from a backup."""

    __tablename__ = "event_epoch"
    policy = INTERNAL

    epoch: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Events of transactions up to this one may have been removed: a cursor from before it has expired.
    purged_xid: Mapped[int] = mapped_column(Xid8, server_default=text("'0'"))
    # PostgreSQL's timeline that the epoch belongs to; on any other timeline the epoch is over.
    server_timeline: Mapped[int] = mapped_column("timeline", Integer, server_default=func.crm_timeline())


class StreamFork(Model):
    """An epoch that is over, and the last transaction up to which it agrees with the present epoch."""

    __tablename__ = "event_forks"
    policy = INTERNAL

    epoch: Mapped[UUID] = mapped_column(primary_key=True)
    # The present epoch, unless that was renewed by hand: then no position of this epoch is valid any more.
    successor: Mapped[UUID]
    # A reader at this transaction or before it has seen only events that are in the present epoch.
    kept_xid: Mapped[int] = mapped_column(Xid8)
    forked_at: Mapped[datetime] = mapped_column(server_default=func.now())
