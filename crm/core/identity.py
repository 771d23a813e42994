"""The viewer of a request, and the roles of users."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from crm.core.choice import Choice


class Role(Choice):
    """What a user may do."""

    ADMIN = "admin", "May do everything, users and deleted records included."
    MEMBER = "member", "May read, and write all but users."
    VIEWER = "viewer", "May read."

    def includes(self, other: "Role") -> bool:
        """Whether this role may do all that another may: admins include members, and members viewers."""
        return _RANK[self] >= _RANK[other]


class Via(Choice):
    """The way by which a change came."""

    API = "api", "By a request: GraphQL or REST."
    PROGRAM = "program", "By the program itself: a worker, a periodic task, a command."
    DEMO = "demo", "With the demo data, as if it had happened when it says so."
    SQL = "sql", "By another program that writes to the database."


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the changes of a unit of work come from; events keep it."""

    via: Via
    request_id: str | None = None


def new_request_id() -> str:
    """An id by which a request is found again; it guards nothing, so it need not cost a system call."""
    return f"{random.getrandbits(128):032x}"


_RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user that a request acts for; without an id, the program itself."""

    id: UUID | None
    role: Role
    expires_at: float | None = None
    # Finds the viewer of the same token, as it stands now.
    look: "Callable[[], Awaitable[Viewer]] | None" = field(default=None, compare=False, repr=False)

    async def now(self) -> "Viewer":
        """The viewer of the same token now; an error if the token has ended, or its user may not come in any more."""
        return self if self.look is None else await self.look()

    @property
    def owner(self) -> int:
        """The owner of the connections that are taken for this viewer (crm.db.lanes)."""
        return 0 if self.id is None else self.id.int


PROGRAM: Final = Viewer(None, Role.ADMIN)
OF_PROGRAM: Final = Origin(Via.PROGRAM)
