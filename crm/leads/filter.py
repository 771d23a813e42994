"""Filters of leads."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Optional

import strawberry

from crm.graph import filters
from crm.graph.declare import enum
from crm.graph.filters import UNSET, Relation, Where
from crm.interactions.model import Interaction
from crm.leads.model import LeadStatus
from crm.people.filter import UserFilter
from crm.people.model import User
from crm.tasks.model import Task

if TYPE_CHECKING:
    from crm.interactions.filter import InteractionListFilter
    from crm.tasks.filter import TaskListFilter

enum(
    LeadStatus,
    NEW="Nobody has been in touch yet.",
    CONTACTED="Somebody has been in touch.",
    QUALIFIED="There is a need, and money for it.",
    PROPOSAL="A proposal has been sent.",
    WON="They bought.",
    LOST="They did not.",
)


@strawberry.input(description="Which leads.")
class LeadFilter(Where):
    """Which leads."""

    relations: ClassVar[Mapping[str, Relation]] = {
        "owner": Relation(lambda: User, lambda lead, user: user.id == lead.owner_id),
        "tasks": Relation(lambda: Task, lambda lead, task: task.lead_id == lead.id),
        "interactions": Relation(lambda: Interaction, lambda lead, interaction: interaction.lead_id == lead.id),
    }

    id: filters.IntFilter | None = strawberry.field(description="By id.", default=UNSET)
    first_name: filters.StringFilter | None = strawberry.field(description="By first name.", default=UNSET)
    last_name: filters.StringFilter | None = strawberry.field(description="By last name.", default=UNSET)
    email: filters.StringFilter | None = strawberry.field(description="By e-mail address.", default=UNSET)
    phone: filters.StringFilter | None = strawberry.field(description="By phone number.", default=UNSET)
    company: filters.StringFilter | None = strawberry.field(description="By company.", default=UNSET)
    job_title: filters.StringFilter | None = strawberry.field(description="By job title.", default=UNSET)
    status: filters.Filter[LeadStatus] | None = strawberry.field(description="By status.", default=UNSET)
    source: filters.StringFilter | None = strawberry.field(description="By where the lead came from.", default=UNSET)
    budget: filters.DecimalFilter | None = strawberry.field(description="By budget.", default=UNSET)
    currency: filters.StringFilter | None = strawberry.field(description="By currency.", default=UNSET)
    location: filters.StringFilter | None = strawberry.field(description="By location.", default=UNSET)
    tags: filters.StringListFilter | None = strawberry.field(description="By tags.", default=UNSET)
    owner_id: filters.IDFilter | None = strawberry.field(description="By the owner's id.", default=UNSET)
    summary: filters.StringFilter | None = strawberry.field(description="By the text of the summary.", default=UNSET)
    summary_generated_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when the summary was written.", default=UNSET
    )
    activity_score: filters.IntFilter | None = strawberry.field(description="By score.", default=UNSET)
    score_calculated_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when the score was calculated.", default=UNSET
    )
    version: filters.IntFilter | None = strawberry.field(description="By version.", default=UNSET)
    created_at: filters.DateTimeFilter | None = strawberry.field(description="By when it was created.", default=UNSET)
    updated_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when it was last changed.", default=UNSET
    )
    deleted_at: filters.DateTimeFilter | None = strawberry.field(description="By when it was deleted.", default=UNSET)
    owner: UserFilter | None = strawberry.field(description="By the owner.", default=UNSET)
    tasks: Annotated["TaskListFilter", strawberry.lazy("crm.tasks.filter")] | None = strawberry.field(
        description="By the tasks.", default=UNSET
    )
    interactions: Annotated["InteractionListFilter", strawberry.lazy("crm.interactions.filter")] | None = (
        strawberry.field(description="By the interactions.", default=UNSET)
    )
    and_: list["LeadFilter"] | None = strawberry.field(name="and", description="All of these.", default=UNSET)
    or_: list["LeadFilter"] | None = strawberry.field(name="or", description="At least one of these.", default=UNSET)
    not_: Optional["LeadFilter"] = strawberry.field(name="not", description="Not this.", default=UNSET)
