"""Leads in the API."""

from datetime import datetime
from typing import Annotated, Any

import strawberry
from sqlalchemy import ColumnElement, Text, collate, func, literal_column

from crm import graph
from crm.access.users import model as people
from crm.access.users.graphql import User, UserFilter
from crm.access.users.service import UserService
from crm.core.columns import crm_sort_key
from crm.db.many import refuse_common_version
from crm.db.query import Key
from crm.graph.declare.error_types import ErrorExtensions
from crm.graph.declare.filters import COUNT, TEXT_SEARCH, UNSET, DateTimeFilter, IntFilter, StringFilter, WhereInput
from crm.graph.declare.ids import IS_NUMBER, RecordId, record_id
from crm.graph.declare.inputs import (
    ExpectedVersion,
    ExpectedVersions,
    IdempotencyKey,
    expected_version,
    given,
    values_of,
)
from crm.graph.run.context import Info
from crm.sales.activities.graphql import Activity
from crm.sales.activities.service import ActivityKind, ActivityService
from crm.sales.history.graphql import Change
from crm.sales.history.service import ChangeService, check_cursor, check_types
from crm.sales.interactions import graphql as interactions
from crm.sales.interactions import model as interaction_model
from crm.sales.interactions.graphql import InteractionListFilter
from crm.sales.interactions.service import InteractionService
from crm.sales.leads import model
from crm.sales.leads.service import MOST_AT_ONCE, CreateLeadStatus, LeadService
from crm.sales.search.service import SearchService, check_text
from crm.sales.tasks import graphql as tasks
from crm.sales.tasks import model as task_model
from crm.sales.tasks.graphql import TaskListFilter
from crm.sales.tasks.service import TaskService

LeadId = Annotated[RecordId, record_id("The lead's id.")]
FixedLeadId = Annotated[int, strawberry.argument(description="The lead's id.")]
# Counted, looked up or ranked for each lead that the filter leaves, before they are ordered.
_COSTLY_ORDERS = {"open_task_count": 3000, "owner_name": 2000, "relevance": 2000}
_ORDER_COST = graph.order_cost(model.Lead, "next_due_at", "last_interaction_at", **_COSTLY_ORDERS)

_MANY = (
    "At most 1,000 leads. A value that does not fit its GraphQL type (a budget that is no number or out of range, "
    "an unknown status) refuses the whole request; everything else only the lead that it belongs to."
)


Row = type[model.Lead]


def _full_name(lead: Any) -> ColumnElement[str]:
    return func.concat_ws(literal_column("' '"), lead.first_name, lead.last_name, type_=Text())


def _full_name_key(lead: Any) -> Key:
    """By what full names sort: of both names the keys that the lead has, as a key made for each lead takes 5 µs."""
    key = lead.first_name_key.op("||")(literal_column("' '", Text())).op("||")(lead.last_name_key)
    return collate(key, "C"), crm_sort_key


graph.enum(CreateLeadStatus)


@graph.filter(model.Lead)
class LeadFilter(WhereInput):
    """Which leads."""

    owner: UserFilter | None = graph.across("By the owner.", people.User, lambda lead, user: user.id == lead.owner_id)
    tasks: TaskListFilter | None = graph.across(
        "By the tasks.", task_model.Task, lambda lead, task: task.lead_id == lead.id
    )
    interactions: InteractionListFilter | None = graph.across(
        "By the interactions.", interaction_model.Interaction, lambda lead, interaction: interaction.lead_id == lead.id
    )
    search: str | None = graph.text_filter(
        "Every word matches their names, company, job title, e-mail address or phone number, as it is or by its "
        "beginning: 2 to 200 characters. Null and blank texts search for nothing, so that all leads are found. Deleted "
        "leads never are. See `RELEVANCE` in the order.",
        lambda lead, text: SearchService.finds_lead(lead.id, text),
        points=TEXT_SEARCH,
        check=check_text,
    )
    full_name: StringFilter | None = graph.expression_filter(
        "By first and last name. Ranges are by their keys: leave particles such as `von` out.",
        lambda lead, compare: compare(_full_name(lead), key=_full_name_key(lead)),
    )
    next_due_at: DateTimeFilter | None = graph.expression_filter(
        "By when the first of the open tasks is due.",
        lambda lead, compare: LeadService.has_rollup(lead.id, compare(model.LeadRollup.next_due_at)),
    )
    last_interaction_at: DateTimeFilter | None = graph.expression_filter(
        "By when the last interaction with them happened.",
        lambda lead, compare: LeadService.has_rollup(lead.id, compare(model.LeadRollup.last_interaction_at)),
    )
    open_task_count: IntFilter | None = graph.expression_filter(
        "By how many tasks are to be done.",
        lambda lead, compare: compare(TaskService.open_count(lead.id)),
        points=COUNT,
    )


@graph.order(
    model.Lead,
    owner_name=("By the owner's name.", "budget"),
    next_due_at=(
        "By when the first of the open tasks is due. Served by an index when ascending, or with `nulls: FIRST`.",
        "activity_score",
    ),
    last_interaction_at=(
        "By when the last interaction with them happened. Served by an index when descending, or with `nulls: FIRST`.",
        "activity_score",
    ),
    open_task_count=("By how many tasks are to be done.", "activity_score"),
    relevance=(
        "By how well they match `filter.search` (not one within `and`; all alike without); best first if descending.",
        "id",
    ),
)
class LeadOrder:
    """What leads can be ordered by."""


Which = Annotated[LeadFilter | None, strawberry.argument(description="Which ones.")]
InOrder = Annotated[list[LeadOrder] | None, strawberry.argument(description="In which order; newest first if omitted.")]


@graph.type(model.Lead)
class Lead:
    """A person or company that may buy."""

    @graph.computed(never_null=True)
    def full_name(lead: Row) -> str:
        """First and last name."""
        return _full_name(lead)

    @graph.computed
    def last_interaction_at(lead: Row) -> datetime | None:
        """When the last interaction with them happened: a contact, or a note about them."""
        return LeadService.last_interaction(lead.id)

    @graph.computed
    def next_due_at(lead: Row) -> datetime | None:
        """When the first of its open tasks is due."""
        return LeadService.next_due(lead.id)

    @graph.computed(never_null=True)
    def open_task_count(lead: Row) -> int:
        """How many tasks are to be done: neither completed, dismissed nor deleted; suggestions apart."""
        return TaskService.open_count(lead.id)

    @graph.computed(never_null=True)
    def suggested_task_count(lead: Row) -> int:
        """How many suggested tasks wait for an answer."""
        return TaskService.suggested_count(lead.id)

    @graph.edge
    def owner(lead: Row) -> User | None:
        """Whose lead it is."""
        return UserService.with_id(lead.owner_id)

    @graph.edge
    def tasks_connection(
        lead: Row, filter: tasks.Which = None, order_by: tasks.InOrder = None
    ) -> graph.Connection[tasks.Task]:
        """Its tasks, page by page; dismissed ones too."""
        return TaskService.of_lead(lead.id, filter, order_by)

    @graph.edge
    def tasks(lead: Row, filter: tasks.Which = None, order_by: tasks.InOrder = None) -> list[tasks.Task]:
        """Its tasks, newest first; dismissed ones too."""
        return TaskService.of_lead(lead.id, filter, order_by)

    @graph.edge
    def interactions_connection(
        lead: Row, filter: interactions.Which = None, order_by: interactions.InOrder = None
    ) -> graph.Connection[interactions.Interaction]:
        """What happened with it, page by page."""
        return InteractionService.of_lead(lead.id, filter, order_by)

    @graph.edge
    def interactions(
        lead: Row, filter: interactions.Which = None, order_by: interactions.InOrder = None
    ) -> list[interactions.Interaction]:
        """What happened with it, newest first."""
        return InteractionService.of_lead(lead.id, filter, order_by)

    @graph.edge(usual_rows=20, takes=("limit",))
    def timeline(
        lead: Row,
        before: Annotated[str | None, graph.checked(check_cursor, "Older than this change's cursor.")] = None,
        types: Annotated[
            list[str] | None, graph.checked(check_types, "Only of these types, like `task.created`.")
        ] = None,
    ) -> list[Change]:
        """What changed about it, its tasks and interactions; newest first. For an audit; people read `activities`."""
        return ChangeService.of_lead(lead.id, before, types)

    @graph.edge
    def activities(
        lead: Row,
        kinds: Annotated[
            list[ActivityKind] | None, strawberry.argument(description="Only these kinds; all if omitted or empty.")
        ] = None,
    ) -> graph.Connection[Activity]:
        """What happened with it, page by page, the latest first: contacts, tasks done, changes of its status."""
        return ActivityService.of_lead(lead.id, kinds or ())


@graph.extend(User)
class UserLeads:
    """Whose leads are whose."""

    @graph.edge(extra_cost=_ORDER_COST, scans_table=True)
    def leads(user: type[people.User], filter: Which = None, order_by: InOrder = None) -> list[Lead]:
        """The leads that they own, newest first."""
        return LeadService.of_owner(user.id, filter, order_by)


@strawberry.input(description="A lead by one of its keys.", one_of=True)
class LeadKey:
    """A lead by one of its keys."""

    id: strawberry.ID | None = strawberry.field(description="By id.", default=UNSET, metadata=IS_NUMBER)
    email: str | None = strawberry.field(description="By e-mail address, in whatever case.", default=UNSET)
    phone: str | None = strawberry.field(description="By phone number, however it is spelled.", default=UNSET)


@graph.create_input(model.Lead)
class CreateLeadInput:
    """A new lead."""


@graph.update_input(model.Lead)
class UpdateLeadInput:
    """What to change about a lead; what is left out stays, null clears."""


@graph.type()
class CreateLeadResult:
    """What became of one of many leads."""

    index: int = strawberry.field(description="Its place in `inputs`, from 0.")
    status: CreateLeadStatus = strawberry.field(description="What became of it.")
    lead: Lead | None = strawberry.field(description="The lead, if it was saved.")
    message: str | None = strawberry.field(description="Why it was not saved.")
    field: str | None = strawberry.field(description="The first field at fault.")
    error: ErrorExtensions | None = strawberry.field(
        description="Why it was not saved, as the error of `createLead` would say it: with all `problems`."
    )
    existing_id: strawberry.ID | None = strawberry.field(description="The lead that has the address already.")
    duplicate_of_id: int | None = strawberry.field(
        description="The lead that has the address already.",
        deprecation_reason="Ids are of type `ID`: take `existingId`. Goes on 2027-12-01 at the earliest.",
    )


@graph.type()
class ChangeLeadResult:
    """What became of one of many leads."""

    id: strawberry.ID = strawberry.field(description="The lead's id.")
    saved: bool = strawberry.field(description="Whether it is as asked for now.")
    lead: Lead | None = strawberry.field(description="The lead as it is now; null if there is none.")
    message: str | None = strawberry.field(description="Why it was not saved, for people.")
    error: ErrorExtensions | None = strawberry.field(
        description="Why it was not saved, as the error of a mutation of this lead alone would say it."
    )


LeadIds = Annotated[list[RecordId], record_id("At most 500 leads; each once.")]


@strawberry.type
class LeadQuery:
    """Reads of leads."""

    @graph.rows
    def lead(id: FixedLeadId, include_deleted: graph.IncludeDeleted = False) -> Lead | None:
        """The lead with this id; null if there is none."""
        return LeadService.with_id(id, include_deleted=include_deleted)

    @graph.rows
    def lead_by(input: Annotated[LeadKey, strawberry.argument(description="Exactly one key.")]) -> Lead | None:
        """The lead with this id, e-mail address or phone number; null if there is none."""
        if input.email is not UNSET:
            return LeadService.with_email(input.email)
        if input.phone is not UNSET:
            return LeadService.with_phone(input.phone)
        return LeadService.with_id(input.id)

    @graph.rows(extra_cost=_ORDER_COST)
    def leads(
        filter: Which = None, order_by: InOrder = None, include_deleted: graph.IncludeDeleted = False
    ) -> list[Lead]:
        """Leads, newest first unless asked otherwise. All of them, up to 1,000; beyond that pass `limit`."""
        return LeadService.matching(filter, order_by, include_deleted=include_deleted)

    @graph.rows(extra_cost=_ORDER_COST)
    def leads_connection(
        filter: Which = None, order_by: InOrder = None, include_deleted: graph.IncludeDeleted = False
    ) -> graph.Connection[Lead]:
        """Leads, page by page."""
        return LeadService.matching(filter, order_by, include_deleted=include_deleted)


@strawberry.type
class LeadMutation:
    """Changes of leads."""

    @graph.mutation
    async def create_lead(
        self,
        info: Info,
        input: Annotated[CreateLeadInput, strawberry.argument(description="The lead.")],
        idempotency_key: IdempotencyKey = UNSET,
    ) -> Lead:
        """Add a lead."""
        return await info.context.write(LeadService.create, values_of(input), given(idempotency_key))

    @graph.mutation
    async def create_leads(
        self,
        info: Info,
        inputs: Annotated[list[CreateLeadInput], graph.at_most(MOST_AT_ONCE, _MANY)],
    ) -> list[CreateLeadResult]:
        """Add many leads at once: one result for each, in order; the valid ones are saved.

        What a single `createLead` refuses (a blank name, a malformed e-mail address, an owner that does not exist) is
        INVALID here, for its own index only.
        """
        return await info.context.write(LeadService.create_many, [values_of(lead) for lead in inputs])

    @graph.mutation
    async def update_lead(
        self,
        info: Info,
        id: LeadId,
        input: Annotated[UpdateLeadInput, strawberry.argument(description="What changes.")],
    ) -> Lead:
        """Change a lead."""
        return await info.context.write(
            LeadService.update, id, values_of(input, "expected_version"), expected_version(input)
        )

    @graph.mutation
    async def update_leads(
        self,
        info: Info,
        ids: LeadIds,
        input: Annotated[UpdateLeadInput, strawberry.argument(description="What changes, of all of them.")],
        expected_versions: ExpectedVersions = UNSET,
    ) -> list[ChangeLeadResult]:
        """Change many leads in the same way: one result for each, in order; the valid ones are saved.

        An input that is not valid refuses the whole.
        """
        refuse_common_version(expected_version(input))
        return await info.context.write(
            LeadService.update_many, ids, values_of(input, "expected_version"), given(expected_versions)
        )

    @graph.mutation
    async def delete_leads(
        self, info: Info, ids: LeadIds, expected_versions: ExpectedVersions = UNSET
    ) -> list[ChangeLeadResult]:
        """Delete many leads: one result for each, in order. `restoreLead` brings one back."""
        return await info.context.write(LeadService.delete_many, ids, given(expected_versions))

    @graph.mutation
    async def delete_lead(self, info: Info, id: LeadId, expected_version: ExpectedVersion = UNSET) -> Lead:
        """Delete a lead; its tasks and interactions hide with it. `restoreLead` brings all back."""
        return await info.context.write(LeadService.delete, id, given(expected_version))

    @graph.mutation
    async def restore_lead(self, info: Info, id: LeadId, expected_version: ExpectedVersion = UNSET) -> Lead:
        """Bring a deleted lead back, with its tasks and interactions."""
        return await info.context.write(LeadService.restore, id, given(expected_version))
