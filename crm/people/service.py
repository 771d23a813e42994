"""Users."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select

from crm.core import errors, validate
from crm.core.database import on_violation
from crm.core.identity import Role
from crm.core.service import Service
from crm.graph.filters import filtered
from crm.people.filter import UserFilter
from crm.people.model import User

_NAME: Final = 200
_RULES: Final = {
    "email": validate.email(required=True),
    "name": validate.text(_NAME, required=True),
    "role": validate.given,
}

on_violation(
    "users_email_key",
    lambda _: errors.Conflict("Another user has this e-mail address.", field="email"),
)


class UserService(Service):
    """The people who use the CRM."""

    @staticmethod
    def matching(where: UserFilter | None = None) -> Select[Any]:
        """Users by name."""
        return filtered(select(User), User, where).order_by(User.name, User.id)

    @staticmethod
    def with_id(key: ColumnElement[Any]) -> Select[Any]:
        """The user with this id."""
        return select(User).where(User.id == key)

    async def create(self, values: Mapping[str, Any]) -> User:
        """Add a user."""
        validate.require(values, "email", "name")
        return self.unit.add(User(**validate.clean(values, _RULES)))

    async def update(self, key: UUID, values: Mapping[str, Any]) -> User:
        """Change a user's name, address or role."""
        user = await self.unit.get(User, key)
        cleaned = validate.clean(values, _RULES)
        if user.role is Role.ADMIN and cleaned.get("role", Role.ADMIN) is not Role.ADMIN:
            await self._keep_an_admin(user)
        for name, value in cleaned.items():
            setattr(user, name, value)
        return user

    async def disable(self, key: UUID, *, disabled: bool) -> User:
        """Shut a user out, or let them in again. What they did stays theirs."""
        user = await self.unit.get(User, key)
        if disabled and user.id == self.viewer.id:
            message = "You cannot disable yourself."
            raise errors.Conflict(message, field="id")
        if disabled and user.disabled_at is None:
            await self._keep_an_admin(user)
            user.disabled_at = self.unit.now()
        elif not disabled:
            user.disabled_at = None
        return user

    async def _keep_an_admin(self, user: User) -> None:
        """Refuse to leave the CRM without an admin who can sign in."""
        if user.role is not Role.ADMIN:
            return
        others = await self.unit.rows(
            select(func.count().label("count")).where(
                User.role == Role.ADMIN, User.disabled_at.is_(None), User.id != user.id
            )
        )
        if not others[0]["count"]:
            message = "This is the last admin."
            raise errors.Conflict(message, field="id")
