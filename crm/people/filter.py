"""Filters of users."""

from typing import Optional

import strawberry

from crm.core.identity import Role
from crm.graph import filters
from crm.graph.declare import enum
from crm.graph.filters import UNSET, Where

enum(
    Role,
    ADMIN="May do everything, users and deleted records included.",
    MEMBER="May read and write leads, interactions and tasks.",
    VIEWER="May read.",
)


@strawberry.input(description="Which users.")
class UserFilter(Where):
    """Which users."""

    id: filters.IDFilter | None = strawberry.field(description="By id.", default=UNSET)
    email: filters.StringFilter | None = strawberry.field(description="By e-mail address.", default=UNSET)
    name: filters.StringFilter | None = strawberry.field(description="By name.", default=UNSET)
    role: filters.Filter[Role] | None = strawberry.field(description="By role.", default=UNSET)
    created_at: filters.DateTimeFilter | None = strawberry.field(description="By when they were added.", default=UNSET)
    disabled_at: filters.DateTimeFilter | None = strawberry.field(
        description="By when they were disabled.", default=UNSET
    )
    and_: list["UserFilter"] | None = strawberry.field(name="and", description="All of these.", default=UNSET)
    or_: list["UserFilter"] | None = strawberry.field(name="or", description="At least one of these.", default=UNSET)
    not_: Optional["UserFilter"] = strawberry.field(name="not", description="Not this.", default=UNSET)
