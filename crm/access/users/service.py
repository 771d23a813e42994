"""Users."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Uuid,
    any_,
    bindparam,
    collate,
    func,
    literal,
    literal_column,
    select,
)

from crm.access.users.model import SERVICE_ADDRESS, User
from crm.core import errors, validate
from crm.core.identity import Role
from crm.core.language import Phrase
from crm.core.model import CASE_COLLATION
from crm.core.problems import FieldProblem, Problem
from crm.db.query import Operand, Where, filtered
from crm.db.service import Service
from crm.db.sqlstates import on_violation

_WITH_IDS: Final = select(User.id).where(User.id == any_(bindparam("ids", type_=ARRAY(Uuid()))))
_NO_USER: Final = Phrase("{label}: there is no user with this id.", "{label}: det finns ingen användare med det id:t.")
_TAKEN: Final = Phrase("Another user has this e-mail address.", "En annan användare har den e-postadressen.")
_NO_WRITER: Final = Phrase(
    "Who asked for this may not do it any more.", "Den som bad om detta får inte göra det längre."
)
_NO_ADMIN: Final = Phrase("You are not an admin any more.", "Du är inte administratör längre.")
_YOURSELF: Final = Phrase("You cannot disable yourself.", "Du kan inte stänga av dig själv.")
_LAST_ADMIN: Final = Phrase("This is the last admin.", "Det här är den sista administratören.")


def unknown_user(field: str) -> errors.BadUserInput:
    """The error for a field that names a user who does not exist."""
    return errors.BadUserInput.of([Problem.of(field, FieldProblem.UNKNOWN_REFERENCE, _NO_USER)])


def _taken(user_id: UUID | None) -> errors.Conflict:
    """The conflict with a user who has the address; the id is not known if that was saved a moment ago."""
    return errors.Conflict(
        _TAKEN,
        conflict=errors.ConflictReason.TAKEN,
        problem=FieldProblem.TAKEN,
        field="email",
        existingId=None if user_id is None else str(user_id),
    )


on_violation(
    "users_email_key",
    lambda _: _taken(None),
)


class UserService(Service):
    """The users of the CRM."""

    @staticmethod
    def matching(where: Where | None = None) -> Select[Any]:
        """Users by name."""
        return filtered(select(User), User, where).order_by(User.name_key, User.id)

    @staticmethod
    def with_id(key: Operand) -> Select[Any]:
        """The user with this id."""
        return select(User).where(User.id == key)

    @staticmethod
    def is_service(user: Any) -> ColumnElement[bool]:
        """Whether a user is one of those that `crm token` makes for scripts."""
        found: ColumnElement[bool] = user.email.like(literal_column(f"'{SERVICE_ADDRESS.format('%')}'"))
        return found

    async def known(self, keys: Collection[UUID]) -> set[UUID]:
        """Which of these users exist."""
        if not keys:
            return set()
        return {row["id"] for row in await self.unit_of_work.rows(_WITH_IDS, ids=list(keys))}

    async def require_writer(self) -> None:
        """Refuse a viewer who was disabled, or may only read now: for what is saved long after it was asked for."""
        if self.viewer.id is None:
            return
        role = select(User.role).where(User.id == self.viewer.id, User.disabled_at.is_(None))
        rows = await self.unit_of_work.rows(role)
        if not rows or not Role(rows[0]["role"]).includes(Role.MEMBER):
            raise errors.Forbidden(_NO_WRITER)

    async def create(self, values: Mapping[str, Any]) -> User:
        """Add a user."""
        validate.require(values, "email", "name")
        await self._admins()
        return self.unit_of_work.add(User(**await self.cleaned(User, values, self._duplicate)))

    async def update(self, key: UUID, values: Mapping[str, Any]) -> User:
        """Change a user's name, address or role."""
        admins = await self._admins()
        cleaned = await self.cleaned(User, values, partial(self._duplicate, key=key))
        if cleaned.get("role", Role.ADMIN) is not Role.ADMIN:
            _require_another(admins, key)
        user = await self.unit_of_work.get(User, key)
        for name, value in cleaned.items():
            setattr(user, name, value)
        return user

    async def disable(self, key: UUID, *, disabled: bool) -> User:
        """Disable or enable a user. Their records keep their name."""
        if disabled and key == self.viewer.id:
            raise errors.Conflict(_YOURSELF, conflict=errors.ConflictReason.OWN_ACCOUNT, field="id")
        admins = await self._admins()
        if disabled:
            _require_another(admins, key)
        user = await self.unit_of_work.get(User, key)
        if disabled and user.disabled_at is None:
            user.disabled_at = self.unit_of_work.now()
        elif not disabled:
            user.disabled_at = None
        return user

    async def _duplicate(self, values: Mapping[str, Any], key: UUID | None = None) -> errors.Conflict | None:
        """The conflict with another user who has the address, in whatever case."""
        if values.get("email") is None:
            return None
        folded = [func.lower(collate(address, CASE_COLLATION)) for address in (User.email, literal(values["email"]))]
        rows = await self.unit_of_work.rows(select(User.id).where(folded[0] == folded[1]))
        return _taken(rows[0]["id"]) if rows and rows[0]["id"] != key else None

    async def _admins(self) -> set[UUID]:
        """The enabled admins, of whom the viewer must still be one.

        A request knows its user's role as it was some seconds ago: enough for an admin who is shut out to undo it.
        All admins' rows are locked until the transaction ends, in one order: two such changes cannot pass at once.
        """
        admins = select(User.id).where(User.role == Role.ADMIN, User.disabled_at.is_(None)).order_by(User.id)
        found = {row["id"] for row in await self.unit_of_work.rows(admins.with_for_update(key_share=True))}
        if self.viewer.id not in found:
            raise errors.Forbidden(_NO_ADMIN)
        return found


def _require_another(admins: set[UUID], key: UUID) -> None:
    """Refuse a change that would leave the CRM without an enabled admin."""
    if admins == {key}:
        raise errors.Conflict(_LAST_ADMIN, conflict=errors.ConflictReason.LAST_ADMIN, field="id")
