"""Activities in the API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import strawberry
from sqlalchemy import ColumnElement, Text, cast, func, literal_column

from crm import graph
from crm.access.users.graphql import User
from crm.access.users.service import UserService
from crm.sales.activities.service import ActivityKind
from crm.sales.interactions.graphql import Interaction
from crm.sales.interactions.service import InteractionService
from crm.sales.leads.model import LeadStatus
from crm.sales.tasks.graphql import Task
from crm.sales.tasks.service import TaskService

Row = Any

graph.enum(ActivityKind, structural=True)
graph.enum(LeadStatus)


@graph.type()
class Activity:
    """Something that happened with a lead, as a person reads it."""

    large: ClassVar[Mapping[str, int]] = {"text": 80_000}

    occurred_at: datetime = strawberry.field(description="When it happened.")
    title: str | None = strawberry.field(description="The subject of a contact, the title of a task.")
    text: str | None = strawberry.field(
        description="What was said, what a task is about, why it was suggested, or what the summary said."
    )
    duration_minutes: int | None = strawberry.field(description="How long a contact took.")

    @graph.computed(never_null=True)
    def id(activity: Row) -> strawberry.ID:
        """Its own: no two activities share one."""
        return func.concat(activity.kind, _DASH, cast(activity.id, Text))

    @graph.computed(never_null=True)
    def kind(activity: Row) -> ActivityKind:
        """What it is."""
        return func.upper(activity.kind)

    @graph.computed
    def status_before(activity: Row) -> LeadStatus | None:
        """Where the lead stood before its status changed."""
        return activity.status_before

    @graph.computed
    def status_after(activity: Row) -> LeadStatus | None:
        """Where the lead stood after its status changed."""
        return activity.status_after

    @graph.edge
    def user(activity: Row) -> User | None:
        """Who logged the contact, whose task it was, who decided on the suggestion, changed the status, summarised."""
        return UserService.with_id(activity.user_id)

    @graph.edge
    def interaction(activity: Row) -> Interaction | None:
        """The contact, if it is one."""
        return InteractionService.with_id(activity.interaction_id)

    @graph.edge
    def task(activity: Row) -> Task | None:
        """The task that was done or suggested."""
        return TaskService.with_id(activity.task_id)


_DASH: ColumnElement[str] = literal_column("'-'")
