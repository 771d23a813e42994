"""Policies: which rows of a model exist for a viewer. Every model names its own, in its class, as `policy`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Boolean, ColumnElement, Uuid, and_, bindparam, false, or_

from crm.core.identity import Role, Viewer

if TYPE_CHECKING:
    from crm.core.model import Model

# The parameters of a statement that stand for the viewer; they are bound when the statement runs.
VIEWER: Final = "viewer"
VIEWER_IS: Final[Mapping[Role, str]] = {role: f"viewer_is_{role.value}" for role in Role}


class Scope(Enum):
    """How many of a model's rows a role sees."""

    NONE = "none"
    OWN = "own"  # the rows whose `owner` column holds the viewer's id
    ALL = "all"


def by_role(*, admin: Scope, member: Scope, viewer: Scope) -> Mapping[Role, Scope]:
    """Name the scope of every role."""
    return {Role.ADMIN: admin, Role.MEMBER: member, Role.VIEWER: viewer}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Which rows a viewer sees: those that exist for anybody, whose parent row shows, within the role's scope."""

    # For all viewers: the condition on a row's columns, such as "not deleted".
    exists: Callable[[Any], ColumnElement[bool]] | None = None
    # The model of a row's parent, and the column with the parent's id: a row is visible only if its parent is.
    belongs_to: "type[Model] | None" = None
    by: str = ""
    # The column with the id of the user whose row it is.
    owner: str = ""
    scopes: Mapping[Role, Scope] = field(
        default_factory=lambda: by_role(admin=Scope.ALL, member=Scope.ALL, viewer=Scope.ALL)
    )
    # Whether a type of the API may be made of the model.
    public: bool = True

    def __post_init__(self) -> None:
        if Scope.OWN in self.scopes.values() and not self.owner:
            msg = "A policy with the scope OWN names the `owner` column"
            raise TypeError(msg)
        if (self.belongs_to is None) != (not self.by):
            msg = "A policy names both `belongs_to` and `by`, or neither"
            raise TypeError(msg)

    def is_personal(self, role: Role) -> bool:
        """Whether two viewers of this role may see different rows."""
        parent = self.belongs_to
        return self.scopes[role] is Scope.OWN or (parent is not None and parent.policy.is_personal(role))

    def within_scope(self, row: Any) -> ColumnElement[bool] | None:
        """The condition that keeps a row to the viewer's scope; None if every role sees all rows."""
        sees_all = self._roles(Scope.ALL)
        if len(sees_all) == len(Role):
            return None
        conditions: list[ColumnElement[bool]] = []
        sees_own = self._roles(Scope.OWN)
        if sees_own:
            is_own = row[self.owner] == bindparam(VIEWER, type_=Uuid(), required=True)
            others = len(sees_all) + len(sees_own) < len(Role)
            conditions.append(and_(or_(false(), *map(viewer_is, sees_own)), is_own) if others else is_own)
        return or_(false(), *conditions, *map(viewer_is, sees_all))

    def _roles(self, scope: Scope) -> list[Role]:
        return [role for role in Role if self.scopes[role] is scope]


# Every row, to every role that may use the API.
EVERYBODY: Final = Policy()
# For the program alone: no type of the API is made of the model.
INTERNAL: Final = Policy(public=False)
# Every row to admins, none to others.
ADMINS: Final = Policy(scopes=by_role(admin=Scope.ALL, member=Scope.NONE, viewer=Scope.NONE))


def viewer_is(role: Role) -> ColumnElement[bool]:
    """Whether the viewer has this role; bound when the statement runs."""
    return bindparam(VIEWER_IS[role], type_=Boolean(), required=True)


def viewer_values(viewer: Viewer) -> dict[str, object]:
    """The values of the parameters that stand for the viewer."""
    return {VIEWER: viewer.id, **{name: viewer.role is role for role, name in VIEWER_IS.items()}}
