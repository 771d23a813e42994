"""Users in the API."""

from typing import Annotated, Any
from uuid import UUID

import strawberry
from sqlalchemy import ColumnElement

from crm import graph
from crm.access.users import model
from crm.access.users.service import UserService
from crm.core.identity import Role
from crm.core.validate import parse_uuid
from crm.graph.declare.filters import WhereInput
from crm.graph.declare.inputs import values_of
from crm.graph.run.context import Info

UserId = Annotated[strawberry.ID, strawberry.argument(description="The user's id.")]


@graph.filter(model.User)
class UserFilter(WhereInput):
    """Which users."""


@graph.type(model.User)
class User:
    """Somebody who uses the CRM."""

    @graph.computed(never_null=True)
    def is_service(user: type[model.User]) -> bool:
        """Whether it is a service user, as which scripts act, not a person."""
        return UserService.is_service(user)


@graph.create_input(model.User)
class CreateUserInput:
    """A new user."""


@graph.update_input(model.User)
class UpdateUserInput:
    """What to change about a user; what is left out stays."""


@strawberry.type
class UserQuery:
    """Reads of users."""

    @graph.rows
    def me(viewer: ColumnElement[Any]) -> User | None:
        """The user this request acts for."""
        return UserService.with_id(viewer)

    @graph.rows
    def users(
        filter: Annotated[UserFilter | None, strawberry.argument(description="Which ones.")] = None,
    ) -> list[User]:
        """The people who use the CRM, by name: for owner and assignee pickers."""
        return UserService.matching(filter)


@strawberry.type
class UserMutation:
    """Changes of users; admins only."""

    @graph.mutation(role=Role.ADMIN)
    async def create_user(
        self, info: Info, input: Annotated[CreateUserInput, strawberry.argument(description="The user.")]
    ) -> User:
        """Add a user. Admins only."""
        return await info.context.write(UserService.create, values_of(input))

    @graph.mutation(role=Role.ADMIN)
    async def update_user(
        self,
        info: Info,
        id: UserId,
        input: Annotated[UpdateUserInput, strawberry.argument(description="What changes.")],
    ) -> User:
        """Change a user. Admins only."""
        return await info.context.write(UserService.update, _key(id), values_of(input))

    @graph.mutation(role=Role.ADMIN)
    async def disable_user(
        self,
        info: Info,
        id: UserId,
        disabled: Annotated[bool, strawberry.argument(description="False lets them in again.")] = True,
    ) -> User:
        """Shut a user out: their tokens stop working within seconds. What they did stays theirs. Admins only."""
        return await info.context.write(UserService.disable, _key(id), disabled=disabled)


def _key(text: str) -> UUID:
    return parse_uuid(text, "id")
