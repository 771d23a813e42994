"""Who is asking, and what their role allows."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from crm.core.choice import Choice


class Role(Choice):
    """What a user may do."""

    ADMIN = "admin", "May do everything, users and deleted records included."
    MEMBER = "member", "May read and write leads, interactions and tasks."
    VIEWER = "viewer", "May read."

    def includes(self, other: "Role") -> bool:
        """Admins may do what members may, and members what viewers may."""
        return _RANK[self] >= _RANK[other]


_RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user a request acts for; without an id, the program itself."""

    id: UUID | None
    role: Role
    expires_at: float | None = None

    @property
    def owner(self) -> int:
        """As whose the connections count that are taken for this viewer."""
        return 0 if self.id is None else self.id.int


PROGRAM: Final = Viewer(None, Role.ADMIN)
