"""Users."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core import validate
from crm.core.columns import SortKey, column
from crm.core.identity import Role
from crm.core.model import CASE_COLLATION, SORT_KEY, Model
from crm.core.policy import EVERYBODY

# The address of a role's service user.
SERVICE_ADDRESS: Final = "service-{}@crm.invalid"


class User(Model):
    """Somebody who can sign in, own leads and be given tasks; or a service user that scripts act as."""

    __tablename__ = "users"
    policy = EVERYBODY
    entity = "user"
    internal = frozenset({"name_key"})
    noun = ("user", "användare")

    id: Mapped[UUID] = column("A UUID.", by="By id.", key=True, server_default=func.gen_random_uuid())
    email: Mapped[str] = column(
        "Unique, whatever the case.",
        by="By e-mail address.",
        label=("E-mail", "E-post"),
        rule=validate.email(required=True),
        input_words="Must be unique.",
    )
    name: Mapped[str] = column(
        "As colleagues know them.",
        by="By name.",
        sort_key=SortKey("name_key"),
        label=("Name", "Namn"),
        rule=validate.text(200, required=True),
    )
    role: Mapped[Role] = column(
        "What they may do.", by="By role.", label=("Role", "Roll"), rule=validate.given, default=Role.MEMBER
    )
    created_at: Mapped[datetime] = column(
        "When they were added.", by="By when they were added.", server_default=func.now()
    )
    disabled_at: Mapped[datetime | None] = column("Since when they are shut out.", by="By when they were disabled.")
    name_key: Mapped[str] = mapped_column(SORT_KEY, server_default=text("''"))  # kept by the trigger `users_sort_key`

    __table_args__ = (
        Index(
            "users_email_key",
            text(f"lower(email COLLATE {CASE_COLLATION})"),
            unique=True,
        ),
    )
